"""Lesions inserted in the projections: their line integrals, free of the pixels of any image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon import DataError, ImageGrid, operator

from ..lesions.lesion import Lesion
from ..scanner.columns import with_columns
from ..scanner.slice_scanner import SliceScanner

__all__ = ["image_of_rays", "lesion_rays"]

_STEPS = 4  # pixels of the lesion's own grid across its radius, and across a pixel of the patch
_EDGES = 8.0  # widths of the edge behind which nothing is left of a lesion: e⁻⁸


def lesion_rays(scanner: SliceScanner, lesion: Lesion) -> Tensor:
    """Line integrals R l of a lesion along the rays that cross the patch and its surroundings.

    The lesion is projected on a grid of its own, four times as fine as the patch's pixels or as its
    radius asks for.

    Parameters
    ----------
    scanner : SliceScanner
        The slice, with the patch that the lesion lies in.
    lesion : Lesion
        Its place is in the axes of the slice [mm].

    Returns
    -------
    Tensor, (views, columns that cross)

    Raises
    ------
    DataError
        If the lesion's centre does not lie in the patch.
    """
    patch = scanner.patch_grid
    for at, centre, n, step, axis in zip(
        lesion.place, patch.centre, patch.shape[::-1], patch.spacing[::-1], "xy", strict=True
    ):
        if abs(at - centre) > n * step / 2:
            raise DataError(
                "the lesion does not lie in the patch", where=f"{axis} of its place",
                expected=f"{centre - n * step / 2:g} to {centre + n * step / 2:g} mm", got=at,
            )  # fmt: skip
    step = min(lesion.radius, *patch.spacing) / _STEPS
    side = 2 * math.ceil((lesion.radius + _EDGES * lesion.edge) / step) + 1
    grid = ImageGrid(shape=(side, side), spacing=(step, step), centre=lesion.place)
    project = operator(with_columns(scanner.geometry, scanner.crossing), grid)
    shape = lesion.on(grid).to(scanner.device)
    return torch.as_tensor(project(shape * (scanner.mu_water / 1000.0)))


def image_of_rays(scanner: SliceScanner, rays: Tensor) -> Tensor:
    """R⁻¹ of line integrals (..., views, columns that cross): (..., rows, cols) [HU].

    On the grid of the patch in its surroundings.
    """
    reconstruct = operator(with_columns(scanner.geometry, scanner.crossing), scanner.context_grid)
    image = reconstruct.fbp(rays, window=scanner.window)
    return torch.as_tensor(image * (1000.0 / scanner.mu_water))
