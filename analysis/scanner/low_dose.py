"""Whole slices at a lower dose, each on its own grid: low-dose series from high-dose ones.

Slices without noise are scanned, R⁻¹𝒫R. Slices that were measured have been through a scanner
already and carry the noise of their exposure: they stay as they are, and only the noise that they
lack is added. The variance of a line integral of N quanta is, with electronic noise σe,

    v(N) = 1/N + σe²/N²,

so that a ray at the part a of the exposure, a·N quanta, lacks ``v(aN) - v(N)``. 𝒫_a, thinning
(`recon.insert_noise`), adds just this to a ray, and by linearity of R⁻¹

    x = y + R⁻¹(𝒫_a R y - R y)

has the noise of a scan at the lower exposure, as far as the image was reconstructed with the window
of R⁻¹; the image's own noise and sharpness are not touched by a second R⁻¹R.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recon import (
    AIR_HU,
    ELECTRONIC_NOISE,
    FanBeam,
    ImageGrid,
    flash_axial,
    hu_to_mu,
    insert_noise,
    mu_to_hu,
    mu_water,
    operator,
    photons_per_column,
    sample_transmission,
)

from .slice_scanner import chunks, missing_seed

__all__ = ["low_dose_slices", "scanned_slices", "thinned_slices"]

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

    Parameters
    ----------
    hu : array, (n, rows, cols)
        Slices without noise [HU].
    spacing : (sy, sx)
        [mm].
    mas : float or None
        Exposure [mAs per rotation].
    kvp : float
        Tube voltage [kV].
    slice_thickness : float or array, (n,)
        [mm].
    window : str
        As ``A.fbp`` takes it.
    electronic_noise : float
        σe [quanta].
    seed : int
        Seed of the noise.
    geometry : FanBeam, optional
        A turn of the Flash by default.
    progress : str, optional
        Label of a progress bar on stderr.

    Returns
    -------
    array, (n, rows, cols)
        [HU].
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


def thinned_slices(
    hu: np.ndarray,
    spacing: tuple[float, float],
    *,
    image_mas: float | np.ndarray,
    mas: float | np.ndarray,
    kvp: float,
    slice_thickness: float | np.ndarray,
    window: str = "hann",
    electronic_noise: float = ELECTRONIC_NOISE,
    seed: int,
    geometry: FanBeam | None = None,
    progress: str | None = None,
) -> np.ndarray:
    """Slices measured at one exposure, as they would have been at a lower one.

    ``x = y + R⁻¹(𝒫_a R y - R y)`` with ``a = mas / image_mas``: the rays get the variance
    ``1/(aN) - 1/N + σe² (1/(aN)² - 1/N²)`` that they lack, and the image what becomes of that.

    Parameters
    ----------
    hu : array, (n, rows, cols)
        Slices [HU]; values below -1000 are no attenuation, and stay in the image.
    spacing : (sy, sx)
        [mm].
    image_mas, mas : float or array, (n,)
        Exposure of the slices, and the one to simulate, which is not above it [mAs].
    kvp, slice_thickness, window, electronic_noise, geometry, progress
        As for `low_dose_slices`.
    seed : int
        Seed of the noise, which is independent of that of any other exposure of the image and of
        `low_dose_slices` with the same seed.

    Returns
    -------
    array, (n, rows, cols)
        [HU]; at the slices' own exposure they come back as they are.

    Raises
    ------
    DataError
        If an exposure is above that of its slice.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.scanner.low_dose import thinned_slices
    >>> from recon import flash_axial
    >>> y = np.zeros((1, 16, 16), np.float32)
    >>> x = thinned_slices(
    ...     y, (2.0, 2.0), image_mas=200, mas=50, kvp=120, slice_thickness=1.5, seed=1,
    ...     geometry=flash_axial(views=48))
    >>> x.shape, bool(x.std() > 0)
    ((1, 16, 16), True)
    """
    geometry = flash_axial() if geometry is None else geometry
    A = operator(geometry, ImageGrid(shape=hu.shape[-2:], spacing=spacing))
    water = mu_water(kvp)
    own, wanted, thickness = (
        np.broadcast_to(np.asarray(values, np.float64), len(hu))
        for values in (image_mas, mas, slice_thickness)
    )
    out = np.array(hu, dtype=np.float32)
    for first in chunks(len(hu), progress, _CHUNK):
        part = slice(first, min(first + _CHUNK, len(hu)))
        p = A(hu_to_mu(torch.from_numpy(np.maximum(out[part], np.float32(AIR_HU))), water))
        missing = torch.zeros_like(p)
        for k in range(len(p)):
            i = first + k
            photons = photons_per_column(
                mas=own[i], kvp=kvp, geometry=geometry, slice_thickness=float(thickness[i])
            )
            thinned = insert_noise(
                p[k],
                photons=photons,
                dose_fraction=float(wanted[i] / own[i]),
                electronic_noise=electronic_noise,
                seed=missing_seed(seed, own[i]),
                image=i,
            )
            missing[k] = thinned - p[k]
        out[part] += A.fbp(missing, window=window).numpy() * np.float32(1000.0 / water)
    return out


def scanned_slices(
    hu: np.ndarray,
    spacing: tuple[float, float],
    *,
    image_mas: float | np.ndarray,
    mas: float,
    slice_thickness: float | np.ndarray,
    seed: int,
    **how: Any,
) -> np.ndarray:
    """Slices at an exposure, each with what it lacks of its noise: as studies scan them.

    Slices of a higher exposure of their own are thinned (`thinned_slices`); those whose own is not
    above it, or not known, are taken as noise-free (`low_dose_slices`).

    Parameters
    ----------
    hu : array, (n, rows, cols)
        [HU].
    spacing : (sy, sx)
        [mm].
    image_mas : float or array, (n,)
        Exposure of the slices [mAs]; NaN where it is not known.
    mas : float
        Exposure to simulate [mAs].
    slice_thickness : float or array, (n,)
        [mm].
    seed, how
        As for both.

    Returns
    -------
    array, (n, rows, cols)
        [HU].
    """
    own, thickness = (
        np.broadcast_to(np.asarray(values, np.float64), len(hu))
        for values in (image_mas, slice_thickness)
    )
    noisy = mas < own  # False for NaN
    if not noisy.any():
        return low_dose_slices(hu, spacing, mas=mas, slice_thickness=thickness, seed=seed, **how)
    highest = np.where(noisy, own, mas)  # at their own exposure slices come back as they are
    out = thinned_slices(
        hu, spacing, image_mas=highest, mas=mas, slice_thickness=thickness, seed=seed, **how
    )
    if not noisy.all():
        whole = low_dose_slices(hu, spacing, mas=mas, slice_thickness=thickness, seed=seed, **how)
        out[~noisy] = whole[~noisy]
    return out
