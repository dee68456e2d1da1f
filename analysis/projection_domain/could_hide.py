"""What could hide at a dose, for the report: the worst case, among changes about a patch's middle.

Matrices of a patch of 64² pixels take minutes and gigabytes to iterate over. Here the 24² pixels in
its middle may change, where the lesion of the study lies; the denoiser sees all of the patch in its
surroundings. More pixels could only do more, so that the numbers are lower bounds for the patch.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ctxai import InPlace

from ..lesions.lesion import Lesion
from ..numbers import apply
from ..scanner.slice_scanner import SliceScanner
from .consistent import ConsistentSet
from .worst import HiddenInDose, WorstChange, largest_change, largest_hidden_lesion

__all__ = ["SIDE", "CouldHide", "could_hide"]

SIDE = 24
"""Pixels along a side of the window in the middle of the patch that may change."""

_LARGEST_DISC = 0.25  # of the window's side: a larger radius leaves no room around the disc


@dataclass(frozen=True)
class CouldHide:
    """The largest change of the output, and the largest hidden lesion, with d' ≤ 1 in the rays.

    Attributes
    ----------
    side : tuple of int
        Rows and columns of the window that may change.
    change : WorstChange
    lesion : HiddenInDose or None
        None without a lesion, or of one that is too large for the window.
    lesion_output : Tensor or None, (H, W)
        What the hidden lesion, with the change around it, does to the output [HU].
    """

    side: tuple[int, int]
    change: WorstChange
    lesion: HiddenInDose | None
    lesion_output: Tensor | None


def could_hide(
    f: InPlace, scanner: SliceScanner, mas: float, lesion: Lesion | None, *, seed: int
) -> CouldHide:
    """Search the dose-consistent set of a window in the middle of a patch for the worst case.

    Parameters
    ----------
    f : InPlace
        The denoiser in the scan x.
    scanner : SliceScanner
        The slice y.
    mas : float
        Exposure of x [mAs].
    lesion : Lesion, optional
        Whose radius, place and sign the hidden lesion has.
    seed : int
        Of the vector that the iteration starts with.

    Returns
    -------
    CouldHide

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import Lesion, SliceScanner
    >>> from analysis.projection_domain.could_hide import could_hide
    >>> from ctxai import InPlace
    >>> from recon import ImageGrid, flash_axial
    >>> water = np.where(np.hypot(*np.mgrid[-16:16, -16:16]) < 14, 0.0, -1000.0)
    >>> scanner = SliceScanner(water, (4.0, 4.0), kvp=120.0, slice_thickness=1.5, seed=1,
    ...     patch_grid=ImageGrid(shape=(8, 8), spacing=(3.0, 3.0)), geometry=flash_axial(views=64))
    >>> f = InPlace(lambda x: 0.5 * x, scanner.place, scanner.low_dose(10.0)[0])
    >>> found = could_hide(f, scanner, 10.0, Lesion(contrast=20.0, radius=6.0), seed=1)
    >>> found.side, round(found.change.rays, 3), found.lesion.contrast < found.lesion.from_rays
    ((8, 8), 1.0, True)
    """
    grid = scanner.patch_grid
    rows, cols = (min(SIDE, n) for n in grid.shape)
    x = f.surroundings
    near = ConsistentSet.of(scanner, mas, side=SIDE)
    worst = largest_change(f, x, near, seed=seed)
    room = min(rows * grid.spacing[0], cols * grid.spacing[1])
    if lesion is None or lesion.radius > _LARGEST_DISC * room:
        return CouldHide((rows, cols), worst, None, None)
    hidden = largest_hidden_lesion(f, x, near, lesion)
    shown = apply(f, x + near.image(hidden.anatomy)) - apply(f, x)
    return CouldHide((rows, cols), worst, hidden, shown)
