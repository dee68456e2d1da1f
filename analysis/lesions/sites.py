"""Places where lesions are looked for: even soft tissue, and patches around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from ctxai import PatchPairs
from recon import DataError, ImageGrid, flash_axial, operator

from ..data.held_out import ScannedPatches
from ..data.phantom_pairs import WorkingPoint, phantom_pairs, scan
from ..scanner.slice_scanner import derived_seed
from .lesion import site_lesion

__all__ = [
    "SitePatches", "around", "lesion_sites", "middle", "patches_at_sites", "scanned_lesion",
    "square_grid",
]  # fmt: skip

_BOX = 15.0  # mm around a site that has to be even
_TISSUE = (0.0, 130.0)  # HU, mean of the box
_EVEN = 25.0  # HU, largest standard deviation in the box, noise of the high dose included


def lesion_sites(y: Tensor, n: int, *, side: int, spacing: float, seed: int) -> Tensor:
    """Random places in even soft tissue, an equal number in each slice that has any.

    The mean of the 15 mm box around a site is between 0 and 130 HU, its standard deviation at most
    25 HU, and a patch around it lies in the slice.

    Parameters
    ----------
    y : Tensor, (slices, rows, cols)
        High-dose images [HU].
    n : int
        Number of sites.
    side : int
        Side of the patch [pixels].
    spacing : float
        Pixel size [mm].
    seed : int

    Returns
    -------
    Tensor, (n, 3)
        Slice, row and column of each.

    Raises
    ------
    DataError
        If there is no such place.
    """
    random = np.random.default_rng(seed)
    found = []
    for number, image in enumerate(y.double().numpy()):
        places = _even_tissue(image, max(1, round(_BOX / spacing)), side)
        if len(places):
            found.append(np.insert(places, 0, number, axis=1))
    if not found:
        raise DataError(
            "no even soft tissue for lesions",
            where="y",
            expected=f"a mean of {_TISSUE[0]:g} to {_TISSUE[1]:g} HU, sd ≤ {_EVEN:g} HU over "
            f"{_BOX:g} mm, and {side} pixels around it",
        )
    picked = [(places := found[k % len(found)])[random.integers(len(places))] for k in range(n)]
    return torch.from_numpy(np.stack(picked))


def _even_tissue(image: np.ndarray, box: int, side: int) -> np.ndarray:
    """Rows and columns (k, 2) that fulfil what is asked of a site."""
    mean = uniform_filter(image, box)
    spread = np.sqrt(np.maximum(uniform_filter(image**2, box) - mean**2, 0.0))
    good = (mean >= _TISSUE[0]) & (mean <= _TISSUE[1]) & (spread <= _EVEN)
    for axis, size in enumerate(image.shape):
        at = np.arange(size)
        fits = (at >= side // 2) & (at + side - side // 2 <= size)
        good &= fits[:, None] if axis == 0 else fits
    return np.argwhere(good)


def around(images: Tensor, sites: Tensor, side: int) -> Tensor:
    """Patches (n, side, side) of slices (slices, rows, cols); the site is pixel (side//2, side//2).

    Examples
    --------
    >>> import torch
    >>> from analysis.lesions.sites import around
    >>> around(torch.arange(25.0).reshape(1, 5, 5), torch.tensor([[0, 2, 2]]), 2)
    tensor([[[ 6.,  7.],
             [11., 12.]]])
    """
    step = torch.arange(side) - side // 2
    slices, rows, cols = sites.T
    at = slices[:, None, None], (rows[:, None] + step)[:, :, None], (cols[:, None] + step)[:, None]
    return images[at]


def middle(patches: Tensor, side: int) -> Tensor:
    """The inner (..., side, side) of patches (..., H, W), with the site at (side//2, side//2)."""
    rows, cols = (
        slice(size // 2 - side // 2, size // 2 - side // 2 + side) for size in patches.shape[-2:]
    )
    return patches[..., rows, cols]


def square_grid(patches: Tensor, spacing: float) -> ImageGrid:
    """Grid of patches (..., H, W) with square pixels [mm]."""
    return ImageGrid(shape=(patches.shape[-2], patches.shape[-1]), spacing=(spacing, spacing))


def scanned_lesion(radius: float, grid: ImageGrid, *, window: str) -> Tensor:
    """R⁻¹R of a lesion of 1 HU at the site of a patch, (H, W) [HU]: what a scan shows of it.

    Its own effect on the noise, below 1 % of the variance for 100 HU across 5 mm, is left out.

    Parameters
    ----------
    radius : float
        [pixels].
    grid : ImageGrid
        Of the patch, where it lies in the slice.
    window : str
        Apodisation of the FBP.

    Examples
    --------
    >>> from analysis.lesions.lesion import site_lesion
    >>> from analysis.lesions.sites import scanned_lesion
    >>> from recon import ImageGrid
    >>> grid = ImageGrid(shape=(48, 48), spacing=(1.0, 1.0), centre=(60.0, -30.0))
    >>> there = site_lesion(contrast=1.0, radius=1.5, grid=grid).on(grid)
    >>> shown = scanned_lesion(1.5, grid, window="hann")
    >>> bool(0.5 < shown.max() < 0.9), bool(abs(shown.sum() / there.sum() - 1) < 0.02)
    (True, True)
    """
    A = operator(flash_axial(), grid)
    lesion = site_lesion(contrast=1.0, radius=radius, grid=grid).on(grid)
    return A.fbp(A(lesion[None]), window=window)[0]


@dataclass(frozen=True)
class SitePatches(ScannedPatches):
    """Patches around sites, scanned several times, and patches from anywhere in the same slices.

    Attributes
    ----------
    slice_of : Tensor, (images,)
        The slice that each patch at a site is from: patches of one slice are no independent test.
    x_anywhere, y_anywhere : Tensor, (images, H, W)
        Low-dose and high-dose patches of the body [HU].
    grids : tuple of ImageGrid
        Where the patches at sites lie in their slices.
    """

    slice_of: Tensor
    x_anywhere: Tensor
    y_anywhere: Tensor
    grids: tuple[ImageGrid, ...]


def patches_at_sites(
    slices: int, images: int, *, draws: int, seed: int, point: WorkingPoint, progress: bool = True
) -> SitePatches:
    """Scan random phantoms several times and cut patches around places where lesions may be.

    Parameters
    ----------
    slices, images : int
        Number of phantoms, and of patches in all.
    draws : int
        Further scans of each at the low dose.
    seed : int
        Seed of phantoms, places and noise.
    point : WorkingPoint
        Doses, grid and patch size.
    """
    x, y = phantom_pairs(slices, seed=derived_seed(seed, "slices"), point=point, progress=progress)
    side = point.patch
    sites = lesion_sites(
        y, images, side=side, spacing=point.spacing_mm, seed=derived_seed(seed, "sites")
    )
    again = []
    for k in range(draws):
        noise = scan(y.numpy(), point.mas, seed=derived_seed(seed, f"redraw {k}"), point=point)
        again.append(around(torch.from_numpy(noise), sites, side))
    places = torch.Generator().manual_seed(derived_seed(seed, "anywhere"))
    low, high = PatchPairs(x, y, patch=side).batch(images, places)
    return SitePatches(
        x=around(x, sites, side),
        y=around(y, sites, side),
        redrawn=torch.stack(again, dim=1),
        slice_of=sites[:, 0],
        x_anywhere=low[:, 0],
        y_anywhere=high[:, 0],
        grids=tuple(_grid_around(site, side, point.grid) for site in sites.tolist()),
    )


def _grid_around(site: list[int], side: int, grid: ImageGrid) -> ImageGrid:
    """The grid of a patch that :func:`around` cuts."""
    _, row, col = site
    off = 0.5 * (side - 1) - side // 2  # pixels, from the site to the middle of the patch
    sy, sx = grid.spacing
    centre = float(grid.x[col]) + off * sx, float(grid.y[row]) + off * sy
    return ImageGrid(shape=(side, side), spacing=grid.spacing, centre=centre)
