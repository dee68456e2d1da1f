"""A voxel volume turned into axial slices, and its affine.

Both are in the axes of DICOM (LPS: x to the patient's left, y to the back, z to the head), in
mm. An affine takes (i, j, k, 1) of an array to the place of that voxel's centre. Any order and
direction of the array's axes becomes slices from feet to head, rows from front to back and columns
from right to left, without a value being touched; what would have to be interpolated is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import array
from ..errors import DataError

__all__ = ["AxialVolume", "affine_of", "axial_volume"]

_OBLIQUE = 0.5  # degrees
_ALIKE = 0.01  # relative difference of two pixel sizes
_UNEVEN = 0.1, 0.2  # mm, and part of a step: positions are written rounded


@dataclass(frozen=True, kw_only=True)
class AxialVolume:
    """Slices (slices, rows, cols) from feet to head, and where they lie."""

    hu: np.ndarray
    spacing: tuple[float, float]  # distance of rows and of columns [mm]
    distance: float  # of the slices [mm]
    positions: np.ndarray  # (slices, 3), centre of each slice's first pixel [mm]
    orientation: tuple[float, ...]  # direction of the rows and of the columns


def axial_volume(values: np.ndarray, affine: np.ndarray, *, where: object) -> AxialVolume:
    """Turn a volume into axial slices.

    Parameters
    ----------
    values : array, shape (i, j, k)
        In whatever order the affine says.
    affine : array, shape (4, 4)
        LPS [mm].
    where : object
        The file, for messages.

    Raises
    ------
    DataError
        If the axes are more than 0.5° off the patient's, or the slices are stacked along another
        axis than z: pixels of two sizes in the axial plane, and the array's last axis is not z.

    Examples
    --------
    >>> import numpy as np
    >>> from recon.volumes.axial import axial_volume
    >>> stored = np.zeros((4, 3, 2))                 # columns to the right, rows to the front
    >>> affine = np.diag([-0.7, -0.8, 1.5, 1.0])
    >>> volume = axial_volume(stored, affine, where="volume")
    >>> volume.hu.shape, volume.spacing, volume.positions[1].round(6).tolist()
    ((2, 3, 4), (0.8, 0.7), [-2.1, -1.6, 1.5])
    """
    affine = array(f"affine ({where})", affine)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not (steps > 0).all():
        raise DataError("voxels without a size", where=where, got=steps.tolist())
    cosines = np.abs(affine[:3, :3] / steps)
    order = cosines.argmax(axis=1)  # the array's axis that runs along x, y and z
    off = 90.0
    if sorted(order) == [0, 1, 2]:
        off = math.degrees(math.acos(min(1.0, float(cosines[range(3), order].min()))))
    if off > _OBLIQUE:
        raise DataError(
            "the volume is oblique",
            where=where,
            expected=f"axes along the patient's, within {_OBLIQUE:g}°",
            got=f"{off:.1f}° off",
            remedy="resample it to axial slices, or give the DICOM series",
        )
    sx, sy, sz = steps[order]
    if order[2] != 2 and abs(sx - sy) > _ALIKE * min(sx, sy):
        plane = ("sagittal", "coronal", "axial")[int(np.flatnonzero(order == 2)[0])]
        raise DataError(
            "slices are not axial",
            where=where,
            expected="slices stacked along z, or axial pixels of one size",
            got=f"{plane} slices with voxels of {sx:.4g} × {sy:.4g} × {sz:.4g} mm",
            remedy="give the axial reconstruction",
        )
    hu = values.transpose(order[::-1])
    turned = affine[:, [*order, 3]].copy()
    for axis in range(3):
        if turned[axis, axis] < 0:
            turned[:3, 3] += turned[:3, axis] * (values.shape[order[axis]] - 1)
            turned[:3, axis] *= -1
            hu = np.flip(hu, axis=2 - axis)
    return AxialVolume(
        hu=np.ascontiguousarray(hu, dtype=np.float32),
        spacing=(float(sy), float(sx)),
        distance=float(sz),
        positions=turned[:3, 3] + np.arange(len(hu))[:, None] * turned[:3, 2],
        orientation=tuple((turned[:3, 0] / sx).tolist() + (turned[:3, 1] / sy).tolist()),
    )


def affine_of(
    spacing: Any,
    positions: Any,
    orientation: Any,
    *,
    slice_thickness: float,
    where: object = "positions",
) -> np.ndarray:
    """The affine (LPS) of (column, row, slice), of slices that are evenly spaced.

    Parameters
    ----------
    spacing : (sy, sx)
        Distance of rows and of columns [mm].
    positions : array, shape (slices, 3)
        Centre of each slice's first pixel [mm].
    orientation : 6 floats
        Direction of the rows and of the columns.
    slice_thickness : float
        The distance to the next slice where there is only one [mm].
    where : object
        The folder or argument, for messages.

    Raises
    ------
    DataError
        If the slices are not evenly spaced: a volume file has one distance for all.

    Examples
    --------
    >>> from recon.volumes.axial import affine_of
    >>> places = [(-10.0, -20.0, 5.0), (-10.0, -20.0, 8.0)]
    >>> affine_of((0.8, 0.7), places, (1, 0, 0, 0, 1, 0), slice_thickness=3.0).tolist()[2]
    [0.0, 0.0, 3.0, 5.0]
    """
    lengths, places = array("spacing", spacing), array("positions", positions)
    across, down = array("orientation", orientation).reshape(2, 3)
    step = np.cross(across, down) * slice_thickness
    if len(places) > 1:
        step = (places[-1] - places[0]) / (len(places) - 1)
        off = np.linalg.norm(places - places[0] - np.arange(len(places))[:, None] * step, axis=1)
        if off.max() > max(_UNEVEN[0], _UNEVEN[1] * float(np.linalg.norm(step))):
            raise DataError(
                "slices are not evenly spaced",
                where=where,
                expected=f"one distance between all slices, {np.linalg.norm(step):.4g} mm, as a "
                "volume has",
                got=f"a slice {off.max():.4g} mm off",
                remedy="complete the series, leave out what does not belong to it, or keep the "
                "slices as a DICOM series",
            )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * lengths[1], down * lengths[0]
    affine[:3, 2], affine[:3, 3] = step, places[0]
    return affine
