"""A measured scan as it would have been at a lower dose."""

from __future__ import annotations

import math

import numpy as np

from ..checks import number
from ..dose.noise import ELECTRONIC_NOISE
from ..errors import DataError
from .noisy_views import NoisyViews
from .scan import Scan, derived_uid

__all__ = ["at_dose"]

_ROUNDING = 1e-9  # of a dose fraction


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
        The measured scan, with the quanta of its exposure.
    mas : float, optional
        The exposure to simulate [mAs per rotation], at most that of the scan.
    dose_fraction : float, optional
        Instead of ``mas``, the part of the scan's exposure: above 0, at most 1.
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
        If the exposure exceeds the scan's, or that is not known; if both or neither of the two are
        given.

    Examples
    --------
    >>> import numpy as np, recon
    >>> from recon import HelicalScan, Scan
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
    if not math.isfinite(scan.mas):
        raise DataError(
            "the exposure of the scan is not known",
            expected="tube current (0018,1151) and rotation time (0018,1150) in its files",
        )
    name, value = ("dose_fraction", dose_fraction) if mas is None else ("mas", mas)
    fraction = number(name, value) / (scan.mas if name == "mas" else 1.0)
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
    noisy = NoisyViews(
        source=scan.line_integrals,
        photons=scan.photons,
        dose_fraction=fraction,
        electronic_noise=electronic_noise,
        seed=seed,
        series=scan.series_uid,
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
