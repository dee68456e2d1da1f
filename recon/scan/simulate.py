"""A scan of something that is known: line integrals, tube, and the noise of a measurement."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from ..dose.noise import ELECTRONIC_NOISE
from ..errors import DataError
from .helix import HelicalScan
from .noisy_views import NoisyViews
from .scan import LineIntegrals, Scan, derived_uid, quanta_from_tube

__all__ = ["simulate_scan"]


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
        Noise-free line integrals of the object.
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
    current = zlib.crc32(exposures.tobytes())
    uid = derived_uid("simulated", name, repr(geometry), f"{current:08x}", kvp, seed)
    rays: LineIntegrals = line_integrals
    if seed is not None:
        rays = NoisyViews(
            source=line_integrals,
            photons=photons,
            electronic_noise=electronic_noise,
            seed=seed,
            series=uid,
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
