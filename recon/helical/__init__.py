"""From a helical scan to slices: weighted filtered backprojection of parallel beams.

Every ray keeps its own place: the focal spot of its view, flying or not, and the detector element.
The views of each focal-spot state are rebinned to parallel beams θ, t with their rows as they are;
weighted by the cosine of the cone angle; ramp-filtered along t; and backprojected as

    µ(x) = Δθ · Σ_j [ Σ_k W_k K(z - z_k) Q_k ] / [ Σ_k W_k K(z - z_k) ],

where j runs over 180° and k over all rows, focal spots, opposite rays and turns that see x at the
angle θ_j. Q is the filtered ray; z_k the height at which row k passes x; W falls from 1 to 0 over
the outer 40 % of the detector (:func:`recon.helical.plan.row_weights`); and K is the slice kernel.
K is a trapezoid, the slice (a box as wide as the slice thickness) convolved with the samples' own
share of z (a box as wide as their distance, which is a row, or half a row where two focal spots
interleave the rows). Its full width at half maximum is the slice thickness, at least 1.25 times the
distance of the samples. The profile of a slice is K once more convolved with the height of a
detector row: on the axis of a Flash, slices of 0.6 and 1.5 mm measure 0.73 and 1.51 mm with the
z-flying focal spot, 0.89 and 1.51 mm without.

K. Stierstorfer, A. Rauscher, J. Boese, H. Bruder, S. Schaller, T. Flohr: Weighted FBP - a simple
approximate 3D FBP algorithm for multislice spiral CT with good dose usage for arbitrary pitch.
Phys. Med. Biol. 49 (2004) 2209.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import array, positive
from ..errors import DataError
from ..fbp.windows import Window, check_window
from ..geometry import ImageGrid
from ..scan.helix import HelicalScan
from ..scan.scan import Scan
from ..units import AIR_HU, mu_to_hu
from .coverage import check_pitch, complete_range
from .plan import plan_helical
from .preview import preview_slabs
from .slabs import reconstruct_slabs
from .torch_backprojection import torch_device

__all__ = ["covered", "reconstruct"]

_ROUNDING = 1e-3  # mm, of a slice at the end of the range


def covered(geometry: HelicalScan, grid: ImageGrid) -> tuple[float, float]:
    """Return the heights between which a scan measures every voxel of ``grid`` completely.

    Complete means that each voxel within the field of view is seen at every parallel angle modulo
    180° by a row with weight.

    Parameters
    ----------
    geometry : HelicalScan
    grid : ImageGrid
        The part of it within the measured field of view.

    Returns
    -------
    (float, float)
        Lowest and highest slice centre [mm] on the axis of the scan.

    Raises
    ------
    DataError
        If the pitch is too high for complete data, or the scan too short for any slice.

    Examples
    --------
    >>> from recon import flash_helical
    >>> low, high = covered(
    ...     flash_helical(length=100.0), ImageGrid(shape=(64, 64), spacing=(5.0, 5.0)))
    >>> round(low), round(high)
    (-39, 39)
    """
    plan = plan_helical(geometry, grid)
    check_pitch(plan)
    low, high = complete_range(plan)
    if low > high:
        raise DataError(
            "the scan is too short for a slice of this field of view",
            where=repr(geometry),
            expected=f"{low - high:.1f} mm more of table feed",
            remedy="reconstruct a smaller field of view",
        )
    return low, high


def reconstruct(
    scan: Scan,
    *,
    grid: ImageGrid,
    z: Any,
    slice_thickness: float,
    window: Window = "hann",
    preview: bool = False,
    device: str = "cpu",
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct slices of a helical scan.

    Parameters
    ----------
    scan : Scan
        Its views are read once and in order, in bounded memory.
    grid : ImageGrid
        Pixels of a slice, in the axes of the scanner: x to the right, y downward.
    z : array, shape (slices,)
        Centres of the slices [mm] on the axis of the scan, in any order and at any distance.
    slice_thickness : float
        Full width at half maximum of the slice kernel [mm]; see :mod:`recon.helical`.
    window : str, Kernel or callable
        As `recon.operator` takes it for ``A.fbp``.
    preview : bool
        Reconstruct each slice by itself from its two nearest turns (single-slice rebinning): fast,
        and blind to the cone angle and the in-plane flight of the focal spot.
    device : str
        "cpu", or a torch device that the backprojection runs on.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    np.ndarray, shape (slices, rows, cols), float32
        CT numbers [HU], in the order of ``z``. Pixels outside the measured field of view, a circle
        about the axis, are air (-1000 HU).

    Raises
    ------
    DataError
        If slices lie outside what the scan covers, or an argument is not usable.
    BackendUnavailable
        If ``device`` cannot be had.

    See Also
    --------
    covered : The range of ``z``.

    Examples
    --------
    >>> import numpy as np
    >>> from recon.phantom import water_with_inserts
    >>> from recon import simulate_scan
    >>> helix = HelicalScan(
    ...     angles=np.arange(144) * np.pi / 36, z=np.arange(144) * 10 / 72, src_iso=595,
    ...     src_det=1085.6, n_rows=16, n_cols=92, row_pitch=1.0947, col_pitch=10.3,
    ...     views_per_rotation=72)
    >>> scan = simulate_scan(
    ...     water_with_inserts(0.02).views(helix), helix, mas=100, kvp=120, mu_water=0.02,
    ...     name="water", seed=None)
    >>> image = reconstruct(
    ...     scan, grid=ImageGrid(shape=(32, 32), spacing=(8.0, 8.0)), z=[12.0], slice_thickness=1)
    >>> image.shape, bool(abs(image[0, 14:18, 14:18].mean()) < 20)
    ((1, 32, 32), True)
    """
    check_window(window)
    where = torch_device(device)
    thickness = positive("slice_thickness", slice_thickness)
    heights = np.atleast_1d(array("slice positions", z))
    if heights.ndim > 1:
        raise DataError(
            "slice positions", where="z", expected="one row of heights", got=heights.shape
        )
    low, high = covered(scan.geometry, grid)
    wrong = heights[(heights < low - _ROUNDING) | (heights > high + _ROUNDING)]
    if len(wrong):
        raise DataError(
            "a slice lies outside what the scan covers",
            where="z",
            expected=f"{low:.2f} to {high:.2f} mm",
            got=f"{wrong[0]:.2f} mm",
        )
    plan = plan_helical(scan.geometry, grid)
    inside = np.hypot(grid.x[None, :], grid.y[:, None]) <= plan.radius
    if not inside.any():
        raise DataError(
            "the grid lies outside the measured field of view",
            where="grid",
            expected=f"pixels within {plan.radius:.0f} mm of the axis",
            got=grid,
        )
    order = np.argsort(heights, kind="stable")
    images = np.empty((len(heights), *grid.shape), np.float32)
    if preview:
        parts = preview_slabs(scan, grid, heights[order], thickness, window, progress=progress)
    else:
        parts = reconstruct_slabs(
            scan, plan, grid, heights[order], thickness, window, device=where, progress=progress
        )
    for places, mu in parts:  # slabs of slices
        for number, image in zip(order[places], mu):  # slices
            images[number] = np.where(inside, mu_to_hu(image, scan.mu_water), AIR_HU)
        del mu, image  # before the next slab is made
    return images
