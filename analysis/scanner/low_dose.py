"""R⁻¹𝒫R of whole slices, each on its own grid: low-dose series from high-dose ones."""

from __future__ import annotations

import numpy as np
import torch

from recon import (
    AIR_HU,
    ELECTRONIC_NOISE,
    FanBeam,
    ImageGrid,
    flash_axial,
    hu_to_mu,
    mu_to_hu,
    mu_water,
    operator,
    photons_per_column,
    sample_transmission,
)

from .slice_scanner import chunks

__all__ = ["low_dose_slices"]

_CHUNK = 16


def low_dose_slices(
    hu: np.ndarray,
    spacing: tuple[float, float],
    *,
    mas: float | None,
    kvp: float,
    slice_thickness: float | np.ndarray,
    window: str = "hann",
    electronic_noise: float = ELECTRONIC_NOISE,
    seed: int,
    geometry: FanBeam | None = None,
    progress: str | None = None,
) -> np.ndarray:
    """R⁻¹𝒫R of every slice on its own grid: (n, rows, cols) [HU] in, the same out.

    The thickness [mm] is one for all or one a slice; quanta are proportional to it. Slice i has the
    noise of image i, draw 0: that of a `SliceScanner` with ``image=i``. Without an exposure there
    is none: R⁻¹R of every slice.
    """
    geometry = flash_axial() if geometry is None else geometry
    A = operator(geometry, ImageGrid(shape=hu.shape[-2:], spacing=spacing))
    water = mu_water(kvp)
    thicknesses = np.broadcast_to(np.asarray(slice_thickness, np.float64), len(hu))
    out = np.empty_like(hu, dtype=np.float32)
    for first in chunks(len(hu), progress, _CHUNK):
        part = slice(first, min(first + _CHUNK, len(hu)))
        p = A(hu_to_mu(torch.from_numpy(np.maximum(hu[part], np.float32(AIR_HU))), water))
        for thickness in np.unique(thicknesses[part]):
            if mas is None:
                break
            photons = photons_per_column(
                mas=mas, kvp=kvp, geometry=geometry, slice_thickness=float(thickness)
            )
            for k in np.flatnonzero(thicknesses[part] == thickness):
                p[k] = sample_transmission(
                    p[k],
                    photons=photons,
                    electronic_noise=electronic_noise,
                    seed=seed,
                    image=first + int(k),
                )
        out[part] = mu_to_hu(A.fbp(p, window=window), water).numpy()
    return out
