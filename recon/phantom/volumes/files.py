"""Voxel volumes from files: a NumPy archive, a CT series, or a NIfTI or NRRD file."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...volumes.axial import affine_of, axial_volume
from ...volumes.files import is_volume
from .voxels import VoxelPhantom

__all__ = ["read_volume"]

# a file of another kind is a TypeError or a ValueError, a damaged one any of the others
_BROKEN = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, TypeError, ValueError, MemoryError,
    NotImplementedError,
)  # fmt: skip


def read_volume(path: str | Path, *, mu_water: float) -> VoxelPhantom:
    """Read a volume to scan, its middle on the axis at z = 0.

    Parameters
    ----------
    path : str or Path
        A NumPy archive (.npz) with ``hu`` (slices, rows, cols), z upwards, and ``spacing_mm``, one
        distance for each of the three; a folder with an axial CT series of DICOM files; or a NIfTI
        or NRRD file in HU.
    mu_water : float
        Attenuation of water [1/mm].

    Returns
    -------
    VoxelPhantom

    Raises
    ------
    DataError
        If there is nothing to read, a key is missing, the array is no volume of finite numbers, a
        distance is not positive, or the slices of a series are tilted or unevenly spaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "water.npz"
    ...     np.savez(file, hu=np.zeros((3, 4, 5), np.int16), spacing_mm=[3.0, 2.0, 2.0])
    ...     read_volume(file, mu_water=0.0193)
    VoxelPhantom(3 × 4 × 5 voxels of 3 × 2 × 2 mm)
    """
    path = Path(path).expanduser()
    if path.is_dir() or is_volume(path):
        hu, spacing = _series(path)
    else:
        hu, spacing = _archive(path)
    try:
        return VoxelPhantom(hu=hu, spacing=spacing, mu_water=mu_water)
    except DataError as error:
        raise DataError(f"not a volume to scan: {error}", where=path) from None


def _archive(path: Path) -> tuple[Any, Any]:
    expected = (
        "a .npz with hu (slices, rows, cols) and spacing_mm, a .nii, .nii.gz or .nrrd in HU, or a "
        "folder of DICOM files"
    )
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            found = {name: archive[name] for name in ("hu", "spacing_mm") if name in archive}
    except FileNotFoundError:
        raise DataError("no such volume", where=path, expected=expected) from None
    except _BROKEN as error:
        raise DataError("volume cannot be read", where=path, expected=expected, got=error) from None
    if len(found) < 2:
        got = f"only {next(iter(found))}" if found else "neither"
        raise DataError("volume is not complete", where=path, expected=expected, got=got)
    hu, spacing = found["hu"], found["spacing_mm"]
    for name, array in (("hu", hu), ("spacing_mm", spacing)):
        if array.dtype.kind not in "iuf":
            raise DataError(f"{name} is not numbers", where=path, got=f"type {array.dtype}")
    return hu, spacing.tolist() if spacing.ndim == 1 else spacing


def _series(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    from ...dicom.images import read_images
    from ...dicom.slice import LEAST_TILT

    images = read_images(path)
    if abs(images.tilt) > LEAST_TILT:
        raise DataError(
            "slices are not axial",
            where=path,
            expected="slices across the patient's axis",
            got=f"tilted by {math.degrees(images.tilt):.1f}°",
        )
    thickness = images.slice_thickness
    if not thickness > 0.0:
        raise DataError(
            "the slice does not state its thickness",
            where=f"{path}, SliceThickness (0018,0050)",
            expected="mm",
            got="nothing",
        )
    affine = affine_of(
        images.spacing, images.positions, images.orientation, slice_thickness=thickness, where=path
    )
    volume = axial_volume(images.hu.transpose(2, 1, 0), affine, where=path)
    return volume.hu, (volume.distance, *volume.spacing)
