"""Slices to study: read, clipped at air, a patch placed in them and resampled to a network's grid.

A slice lies on the grid of its pixels with the rotation axis at its centre; `x` runs to the right
and `y` downwards, both in mm. A patch is another grid in the same plane, so that everything that
happens to it (sampling, projection, reconstruction) happens where it is in the patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon import AIR_HU, CTImages, DataError, ImageGrid, read_images

__all__ = [
    "BODY_HU",
    "Patch",
    "body_centre",
    "load_slices",
    "patch_weight",
    "place_patch",
    "resample",
    "resample_to",
]

BODY_HU = -300.0
"""Between fat (-100 HU) and lung; the body is filled afterwards."""

_SEAM = 4  # pixels of a patch along its border


def load_slices(folder: str | Path, series: str = "") -> CTImages:
    """CT slices of a folder in HU, sorted by position; padding and ringing clipped at -1000 HU.

    ``series`` tells which one, where the folder holds several; see `recon.read_images`.

    Raises
    ------
    DataError
        If there is no such folder, no CT image in it, or a file that cannot be read.
    """
    images = read_images(folder, series=series)
    np.maximum(images.hu, np.float32(AIR_HU), out=images.hu)
    return images


def resample_to(hu: np.ndarray, spacing: tuple[float, float], grid: ImageGrid) -> np.ndarray:
    """Values of a slice on another grid in its plane, antialiased.

    Weights are a tent as wide as the coarser of the two pixels, normalised per pixel: linear
    interpolation onto a finer grid, a low-pass of the new pixel's size onto a coarser one; a
    constant stays that constant, and a pixel that coincides with its source keeps its value.

    Parameters
    ----------
    hu : ndarray, (..., rows, cols)
        Slices [HU], centred on the rotation axis.
    spacing : (sy, sx)
        Their pixel spacing [mm].
    grid : ImageGrid
        Where the values are wanted; it must lie inside the slice.

    Returns
    -------
    ndarray, float32, (..., *grid.shape)

    Raises
    ------
    DataError
        If a pixel of the grid is centred outside the slice.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.scanner.slices import resample_to
    >>> from recon import ImageGrid
    >>> ramp = np.tile(np.arange(6.0), (4, 1))
    >>> coarse = ImageGrid(shape=(2, 2), spacing=(1.0, 2.0), centre=(0.0, 0.0))
    >>> resample_to(ramp, (1.0, 1.0), coarse)[0].tolist()
    [1.5, 3.5]
    """
    (sy, sx), (ty, tx), (cx, cy) = spacing, grid.spacing, grid.centre
    rows = _tent(hu.shape[-2], sy, grid.shape[0], ty, cy, "rows")
    cols = _tent(hu.shape[-1], sx, grid.shape[1], tx, cx, "columns")
    return np.ascontiguousarray(rows @ np.asarray(hu, np.float64) @ cols.T, dtype=np.float32)


def _tent(n: int, step: float, m: int, to_step: float, centre: float, axis: str) -> np.ndarray:
    """(m, n) matrix of tent weights from n pixels of one size to m of another, about `centre`."""
    source = (np.arange(n) - (n - 1) / 2) * step
    target = (np.arange(m) - (m - 1) / 2) * to_step + centre
    reach = step * 1e-6 + step / 2
    if target[0] < source[0] - reach or target[-1] > source[-1] + reach:
        raise DataError(
            "the patch does not lie inside the image",
            where=f"{axis} of the patch",
            expected=f"{source[0] - step / 2:.1f} to {source[-1] + step / 2:.1f} mm",
            got=f"{target[0] - to_step / 2:.1f} to {target[-1] + to_step / 2:.1f} mm",
            remedy="move it with --roi ROW COL",
        )
    width = max(step, to_step)
    weight = np.maximum(0.0, 1.0 - np.abs(target[:, None] - source[None, :]) / width)
    return weight / weight.sum(1, keepdims=True)


def patch_weight(grid: ImageGrid, patch: ImageGrid) -> np.ndarray:
    """Weight of a patch at the pixels of a grid (rows, cols): 1 within, 0 without.

    It rises as a squared sine over the four pixels of the patch along its border, so that an image
    on one grid passes into one on another without a seam.

    Examples
    --------
    >>> from analysis.scanner.slices import patch_weight
    >>> from recon import ImageGrid
    >>> slice_, patch = (ImageGrid(shape=(n, n), spacing=(1.0, 1.0)) for n in (21, 11))
    >>> [round(float(weight), 2) for weight in patch_weight(slice_, patch)[10, 5:11]]
    [0.04, 0.31, 0.69, 0.96, 1.0, 1.0]
    """
    weights = []
    for axis, at in enumerate((grid.y, grid.x)):
        step, half = patch.spacing[axis], patch.shape[axis] * patch.spacing[axis] / 2
        depth = (half - np.abs(at - patch.centre[1 - axis])) / (_SEAM * step)
        weights.append(np.sin(np.pi / 2 * np.clip(depth, 0.0, 1.0)) ** 2)
    return np.outer(*weights).astype(np.float32)


def resample(
    hu: np.ndarray, spacing: tuple[float, float], to_spacing: tuple[float, float]
) -> np.ndarray:
    """Slices at another pixel spacing, centred as before; see :func:`resample_to`.

    The new image has as many whole pixels as fit into the old one.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.scanner.slices import resample
    >>> resample(np.full((1, 10, 8), 40.0), (0.8, 0.5), (1.0, 1.0)).shape
    (1, 8, 4)
    """
    rows, cols = (
        max(1, int(np.floor(n * s / t + 1e-6)))
        for n, s, t in zip(hu.shape[-2:], spacing, to_spacing, strict=True)
    )
    return resample_to(hu, spacing, ImageGrid(shape=(rows, cols), spacing=to_spacing))


def body_centre(hu: np.ndarray) -> tuple[int, int]:
    """Row and column of the body's centroid: the largest connected region denser than lung, filled.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.scanner.slices import body_centre
    >>> hu = np.full((40, 40), -1000.0)
    >>> hu[10:21, 24:31] = 30.0
    >>> body_centre(hu)
    (15, 27)
    """
    from scipy import ndimage  # slow to load: a folder without images is refused before

    dense = ndimage.binary_opening(np.asarray(hu) > BODY_HU)
    regions, count = ndimage.label(dense)
    if not count:
        return (hu.shape[0] - 1) // 2, (hu.shape[1] - 1) // 2
    sizes = np.bincount(regions.ravel())[1:]
    body = ndimage.binary_fill_holes(regions == 1 + int(np.argmax(sizes)))
    row, col = ndimage.center_of_mass(body)
    return round(float(row)), round(float(col))


@dataclass(frozen=True)
class Patch:
    """A patch of a slice: its grid [mm], and the row and column of the slice at its centre."""

    grid: ImageGrid
    roi: tuple[int, int]


def place_patch(
    hu: np.ndarray,
    spacing: tuple[float, float],
    *,
    shape: tuple[int, int] = (64, 64),
    to_spacing: tuple[float, float] = (1.0, 1.0),
    roi: tuple[int, int] | None = None,
) -> Patch:
    """Grid of a patch centred on a pixel of a slice, the body's centre by default.

    The pixel ``(rows // 2, cols // 2)`` of the patch lies on that pixel: where both have pixels of
    one size these coincide, and the patch is cut out of the slice as it is.

    Parameters
    ----------
    hu : ndarray, (rows, cols)
        Slice [HU].
    spacing : (sy, sx)
        Its pixel spacing [mm].
    shape : (rows, cols)
        Pixels of the patch.
    to_spacing : (sy, sx)
        Their spacing [mm].
    roi : (row, col), optional
        Pixel of the slice, counted from 0, at the patch's centre.

    Returns
    -------
    Patch
        Its ``grid``, and where it lies in the slice.

    Raises
    ------
    DataError
        If the patch would not lie inside the slice.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import place_patch
    >>> grid = place_patch(np.zeros((101, 101)), (2.0, 2.0), roi=(50, 60)).grid
    >>> float(grid.x[32]), float(grid.y[32])
    (20.0, 0.0)
    """
    if roi is None:
        roi = body_centre(hu)
    row, col = int(roi[0]), int(roi[1])
    for axis, n, step, pixels, pitch, at in (
        ("row", hu.shape[0], spacing[0], shape[0], to_spacing[0], row),
        ("column", hu.shape[1], spacing[1], shape[1], to_spacing[1], col),
    ):
        before = (pixels // 2 + 0.5) * pitch / step
        after = pixels * pitch / step - before
        first, last = int(np.ceil(before - 0.5)), int(np.floor(n - 0.5 - after))
        if first > last:
            raise DataError(
                "the image is smaller than the network's patch",
                where=f"{axis}s",
                expected=f"at least {pixels * pitch:g} mm",
                got=f"{n * step:g} mm",
            )
        if not first <= at <= last:
            raise DataError(
                f"a patch of {pixels * pitch:g} mm does not fit into the image there",
                where="--roi ROW COL",
                expected=f"a {axis} from {first} to {last}",
                got=at,
            )
    # a pixel of an even patch lies on that of the slice, so that pixels of one size coincide
    y, x = (
        (at - (n - 1) / 2) * step - (pixels // 2 - (pixels - 1) / 2) * pitch
        for at, n, step, pixels, pitch in zip((row, col), hu.shape, spacing, shape, to_spacing)
    )
    return Patch(ImageGrid(shape=shape, spacing=to_spacing, centre=(x, y)), (row, col))
