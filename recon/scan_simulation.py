"""A scan of something that is known: line integrals, tube, and the noise of a measurement."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .dose import ELECTRONIC_NOISE, FLOOR_QUANTA, sample_transmission
from .errors import DataError
from .lazy_views import LazyViews
from .scan import LineIntegrals, Scan, derived_uid, quanta_from_tube
from .scan_dose import value_range
from .scan_geometry import HelicalScan
from .streams import stream_index

__all__ = ["SampledViews", "simulate_scan"]

_SIGMAS = 8.0


@dataclass
class SampledViews(LazyViews):
    """Measurements of noise-free line integrals: ``[i:j]`` takes those views.

    The noise of a ray depends on the seed, the series, the view and the ray alone.
    """

    source: LineIntegrals
    photons: np.ndarray
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
        n0, most = float(self.photons.min()), float(self.photons.max())
        bright = n0 * math.exp(-low)
        spread = _SIGMAS * math.hypot(math.sqrt(bright), self.electronic_noise)
        return -math.log((bright + spread) / n0), max(math.log(most / FLOOR_QUANTA), 0.0)

    def make(self, start: int, stop: int) -> np.ndarray:
        """Measure the views from ``start`` up to ``stop``."""
        p = np.asarray(self.source[start:stop], dtype=np.float32)
        one_row = p.shape[1] == 1  # then a view is a plain line of rays
        photons = self.photons[start:stop]
        noisy = sample_transmission(
            torch.from_numpy(p[:, 0] if one_row else p),
            photons=photons if one_row else photons[:, None, :],
            electronic_noise=self.electronic_noise,
            seed=self.seed,
            first_view=start,
            image=self.stream,
        )
        return noisy.numpy().reshape(p.shape)


def simulate_scan(
    line_integrals: LineIntegrals,
    geometry: HelicalScan,
    *,
    mas: Any,
    kvp: float,
    mu_water: float,
    name: str,
    seed: int | None,
    electronic_noise: float = ELECTRONIC_NOISE,
    rotation_time: float = 0.5,
    vendor: str = "",
) -> Scan:
    """Measure noise-free line integrals with the tube and the bowtie of `recon.tube`.

    Parameters
    ----------
    line_integrals : lazy sequence, shape (views, rows, cols)
        Of the object, without noise.
    geometry : HelicalScan
        Where its rays ran.
    mas : float or array, shape (views,)
        Tube current × rotation time [mAs per rotation]; one value a view modulates the current.
    kvp : float
        Tube voltage [kV].
    mu_water : float
        Attenuation of water in the line integrals [1/mm].
    name : str
        What was scanned; enters the UIDs.
    seed : int or None
        Seed of the noise; None for a scan without noise.
    electronic_noise : float
        σe [quanta].
    rotation_time : float
        Time of a turn [s].
    vendor : str
        Whose files it should be written as.

    Returns
    -------
    Scan
        Its views are measured when they are asked for.
    """
    exposures = np.broadcast_to(np.asarray(mas, dtype=np.float64), (len(geometry),))
    if not (np.isfinite(exposures).all() and np.all(exposures > 0)):
        raise DataError("exposure is not positive", where="mas", expected="mAs > 0", got=mas)
    photons = quanta_from_tube(geometry, exposures, kvp=kvp)
    uid = derived_uid("simulated", name, repr(geometry), f"{exposures.mean():.9g}", kvp, seed)
    rays: LineIntegrals = line_integrals
    if seed is not None:
        rays = SampledViews(
            source=line_integrals,
            photons=photons,
            electronic_noise=float(electronic_noise),
            seed=stream_index("seed", seed, bits=64),
            stream=zlib.crc32(uid.encode()),
        )
    return Scan(
        line_integrals=rays,
        geometry=geometry,
        photons=photons,
        exposures=exposures,
        kvp=kvp,
        mu_water=mu_water,
        series_uid=uid,
        rotation_time=rotation_time,
        vendor=vendor,
    )
