"""A measured scan as it would have been at a lower dose."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch

from .dose import ELECTRONIC_NOISE, FLOOR_QUANTA, insert_noise
from .errors import DataError
from .lazy_views import LazyViews
from .scan import VIEWS_AT_ONCE, LineIntegrals, Scan, derived_uid
from .streams import stream_index

__all__ = ["NoisyViews", "at_dose", "value_range"]

_ROUNDING = 1e-9  # of a dose fraction
_SIGMAS = 8.0  # beyond which no noise value is expected in a scan


@dataclass
class NoisyViews(LazyViews):
    """Line integrals of a scan with noise added: ``[i:j]`` reads and adds it to those views.

    The noise of a ray depends on the seed, the series, the view and the ray alone.

    Attributes
    ----------
    source : lazy sequence, shape (views, rows, cols)
        The line integrals as they were measured.
    photons : np.ndarray, shape (views, cols)
        Quanta N0 at the dose of the source.
    dose_fraction, electronic_noise, seed, stream
        As `recon.insert_noise` takes them; ``stream`` is its image number.
    """

    source: LineIntegrals
    photons: np.ndarray
    dose_fraction: float
    electronic_noise: float
    seed: int
    stream: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        views, rows, cols = self.source.shape
        return views, rows, cols

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest line integral to be expected."""
        low, _ = value_range(self.source)
        n0 = float(self.photons.min()) * self.dose_fraction
        bright = n0 * math.exp(-low)
        brighter = bright + _SIGMAS * math.hypot(math.sqrt(bright), self.electronic_noise)
        most = float(self.photons.max()) * self.dose_fraction
        return -math.log(brighter / n0), max(math.log(most / FLOOR_QUANTA), 0.0)

    def make(self, start: int, stop: int) -> np.ndarray:
        """Read the views from ``start`` up to ``stop`` and add their noise."""
        measured = np.asarray(self.source[start:stop], dtype=np.float32)
        one_row = measured.shape[1] == 1  # then a view is a plain line of rays
        photons = self.photons[start:stop]
        noisy = insert_noise(
            torch.from_numpy(measured[:, 0] if one_row else measured),
            photons=photons if one_row else photons[:, None, :],
            dose_fraction=self.dose_fraction,
            electronic_noise=self.electronic_noise,
            seed=self.seed,
            first_view=start,
            image=self.stream,
        )
        return noisy.numpy().reshape(measured.shape)


def value_range(source: LineIntegrals) -> tuple[float, float]:
    """Smallest and largest value, as the source states it or as it has it."""
    stated = getattr(source, "range", None)
    if stated is not None:
        return stated
    low, high = math.inf, -math.inf
    for i in range(0, source.shape[0], VIEWS_AT_ONCE):
        chunk = source[i : i + VIEWS_AT_ONCE]
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    return low, high


def at_dose(
    scan: Scan,
    *,
    mas: float | None = None,
    dose_fraction: float | None = None,
    seed: int,
    electronic_noise: float = ELECTRONIC_NOISE,
) -> Scan:
    """Return a measured scan at a lower exposure: the noise it lacks is added to its native rays.

    ``y_a = a·y + N(0, a(1-a)·y + (1-a²)·σe²)`` in quanta, with ``a`` the dose fraction
    (`recon.insert_noise`). Nothing is computed until views are asked for; any views, in any order
    and in any pieces, then have the same noise. Scans at several doses are made from one.

    Parameters
    ----------
    scan : Scan
        As measured, with the quanta of its exposure.
    mas : float, optional
        The exposure to simulate [mAs per rotation], at most that of the scan.
    dose_fraction : float, optional
        In its place, the part of the scan's exposure: above 0, at most 1.
    seed : int
        Seed of the noise.
    electronic_noise : float
        σe of the scanner [quanta].

    Returns
    -------
    Scan
        With quanta and exposures scaled, and a series UID of its own. At a fraction of 1 its line
        integrals are those of the scan bit for bit.

    Raises
    ------
    DataError
        If the exposure exceeds the scan's, or both or neither of the two are given.

    Examples
    --------
    >>> import numpy as np, recon
    >>> from recon.scan import Scan
    >>> from recon.scan_geometry import HelicalScan
    >>> helix = HelicalScan(
    ...     angles=np.arange(8) * np.pi / 4, z=np.arange(8.0), src_iso=595, src_det=1085.6,
    ...     n_rows=4, n_cols=16, row_pitch=1.1, col_pitch=1.3, views_per_rotation=8)
    >>> scan = Scan(
    ...     line_integrals=np.ones((8, 4, 16), np.float32), geometry=helix, kvp=120,
    ...     photons=np.full((8, 16), 1e5), exposures=np.full(8, 200.0), mu_water=0.0193,
    ...     series_uid="1.2.3")
    >>> low = at_dose(scan, mas=10, seed=1)
    >>> low.mas, float(low.photons[0, 0]), low.line_integrals[2:4].shape
    (10.0, 5000.0, (2, 4, 16))
    """
    if (mas is None) == (dose_fraction is None):
        raise DataError("give one of mas and dose_fraction", got=f"{mas} and {dose_fraction}")
    name, value = ("dose_fraction", dose_fraction) if mas is None else ("mas", mas)
    try:
        fraction = float(value) / (scan.mas if name == "mas" else 1.0)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DataError(f"{name} is not a number", where=name, got=repr(value)) from None
    if abs(fraction - 1.0) < _ROUNDING:
        fraction = 1.0
    if not 0.0 < fraction <= 1.0:
        top = f"{scan.mas:g} mAs, the scan's own" if name == "mas" else "1"
        raise DataError(
            "exposure cannot be simulated from this scan",
            where=name,
            expected=f"above 0 and at most {top}",
            got=value,
            remedy="noise can be added to a measurement but not taken from it",
        )
    if not 0.0 <= float(electronic_noise) < math.inf:
        raise DataError(
            "electronic noise", where="electronic_noise", expected="σe ≥ 0", got=electronic_noise
        )
    noisy = NoisyViews(
        source=scan.line_integrals,
        photons=scan.photons,
        dose_fraction=fraction,
        electronic_noise=float(electronic_noise),
        seed=stream_index("seed", seed, bits=64),
        stream=zlib.crc32(scan.series_uid.encode()),
    )
    return scan.changed(
        line_integrals=scan.line_integrals if fraction == 1.0 else noisy,
        photons=scan.photons * np.float32(fraction),
        exposures=scan.exposures * fraction,
        ctdi_vol=None if scan.ctdi_vol is None else scan.ctdi_vol * fraction,
        series_uid=derived_uid(
            "dose", scan.series_uid, f"{fraction:.12g}", f"{electronic_noise:g}", seed
        ),
    )
