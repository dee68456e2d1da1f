"""NIfTI (.nii, .nii.gz) and NRRD (.nrrd) files of CT numbers.

Both formats hold numbers and an affine, and nothing of the scan: neither that the numbers are HU
nor voltage or exposure. NIfTI's affine is RAS (x to the right of the patient, y to the front),
NRRD's is whatever its ``space`` says. The packages nibabel and pynrrd read and write them.
"""

from __future__ import annotations

import gzip
import importlib
import io
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import DataError
from ..storage import write_atomic
from ..units import hu_remark
from .axial import AxialVolume, affine_of, axial_volume

__all__ = ["is_volume", "read_volume", "require_volume_format", "write_volume"]

_SUFFIXES = (".nii", ".nii.gz", ".nrrd")
_PACKAGES = {"nibabel": ("nibabel", ".nii, .nii.gz"), "nrrd": ("pynrrd", ".nrrd")}
_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # to LPS, and back
_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_MOST = 32767.0  # HU, what a DICOM slice can hold
_DISAGREE = 0.1  # mm between the two affines of a NIfTI file


class Placed(Protocol):
    """Slices that lie somewhere, as :class:`recon.CTImages` do."""

    spacing: tuple[float, float]
    positions: np.ndarray
    orientation: tuple[float, ...]

    @property
    def slice_thickness(self) -> float:
        """[mm]."""


def is_volume(path: Path) -> bool:
    """Whether a file's name is that of a NIfTI or NRRD file."""
    return path.name.lower().endswith(_SUFFIXES)


def _is_nrrd(path: Path) -> bool:
    return path.name.lower().endswith(".nrrd")


def require_volume_format(path: str | Path) -> None:
    """Refuse a file that cannot be written: no name of a volume, or its package is missing.

    Parameters
    ----------
    path : path
        The file that is to be written.

    Examples
    --------
    >>> from recon import DataError, require_volume_format
    >>> try:
    ...     require_volume_format("slices.mha")
    ... except DataError as error:
    ...     print(error)
    unknown format (slices.mha): expected .nii or .nii.gz or .nrrd
    """
    if not is_volume(Path(path)):
        raise DataError("unknown format", where=path, expected=" or ".join(_SUFFIXES))
    _package("nrrd" if _is_nrrd(Path(path)) else "nibabel")


def read_volume(path: Path) -> AxialVolume:
    """Read a volume of CT numbers as axial slices.

    Raises
    ------
    DataError
        If the file is broken, states no place in the patient, is oblique or not axial, is not one
        volume of numbers, or its numbers cannot be HU (NaN, 0 to 1, above 32767).

    Warns
    -----
    UserWarning
        If the numbers are odd for HU, or a NIfTI file's two affines disagree.
    """
    read = _read_nrrd if _is_nrrd(path) else _read_nifti
    try:
        values, affine = read(path)
    except DataError:
        raise
    except Exception as error:  # the packages raise types of every kind
        raise DataError(
            "volume is truncated or cannot be decoded", where=path, got=error
        ) from error
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.size == 0 or values.dtype.kind not in "iuf":
        raise DataError(
            "not one volume of numbers",
            where=path,
            expected="a number a voxel, three axes",
            got=f"shape {values.shape}, {values.dtype}",
        )
    volume = axial_volume(values, affine, where=path)
    _check_hu(volume.hu, path)
    return volume


def write_volume(
    path: str | Path,
    hu: Any,
    *,
    like: Placed | None = None,
    spacing: tuple[float, float] | None = None,
    slice_thickness: float | None = None,
    positions: Any = None,
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
) -> Path:
    """Write slices as one NIfTI or NRRD file, where they lie in the patient.

    Integers are written as int16, other numbers as float32. NIfTI keeps the place in float32, to
    1e-5 mm or so, and no slice thickness. The same slices give the same bytes.

    Parameters
    ----------
    path : str or Path
        Its end says the format: .nii, .nii.gz or .nrrd.
    hu : array, shape (slices, rows, cols)
        CT numbers [HU].
    like : CTImages, optional
        Slices on the same pixels, instead of what follows.
    spacing : (float, float), optional
        Distance of rows and of columns (sy, sx) [mm].
    slice_thickness : float, optional
        [mm].
    positions : array, shape (slices, 3), optional
        Centre of each slice's first pixel, (x, y, z) of the patient (LPS) [mm].
    orientation : 6 floats
        Direction of the rows and of the columns.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If the format is none of these, its package is not installed, values are not finite, the
        geometry is missing, or the slices are not evenly spaced.

    Examples
    --------
    >>> import pytest
    >>> _ = pytest.importorskip("nibabel")
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from recon import read_images, write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_volume(
    ...         Path(folder) / "water.nii.gz", np.full((2, 4, 4), 40.0), spacing=(1.0, 1.0),
    ...         slice_thickness=1.5, positions=[(0.0, 0.0, 5.0), (0.0, 0.0, 6.5)])
    ...     print(read_images(file))
    CTImages(2 slices of 4 × 4, pixels 1 × 1 mm, 1.5 mm thick, z 5.0 to 6.5 mm, unknown kV, \
unknown mAs)
    """
    path, images = Path(path), np.asarray(hu)
    require_volume_format(path)
    if images.ndim != 3 or images.size == 0:
        raise DataError("images", where="hu", expected="(slices, rows, cols)", got=images.shape)
    if not np.isfinite(images).all():
        raise DataError("images hold NaN or infinite values", where="hu")
    if like is not None:
        spacing, positions, orientation = like.spacing, like.positions, like.orientation
        slice_thickness = like.slice_thickness
    if spacing is None or positions is None or slice_thickness is None:
        raise DataError(
            "the geometry of the images is not known",
            expected="like, or spacing, slice_thickness and positions",
        )
    if np.shape(positions) != (len(images), 3):
        raise DataError(
            "one place per slice is needed", where="positions", expected=f"({len(images)}, 3)",
            got=np.shape(positions),
        )  # fmt: skip
    affine = affine_of(spacing, positions, orientation, slice_thickness=slice_thickness)
    whole = images.dtype.kind in "iu"
    if whole and max(images.max(), -1 - images.min()) > _MOST:
        raise DataError("values beyond int16", where="hu", got=f"{images.min()} to {images.max()}")
    values = images.transpose(2, 1, 0).astype(np.int16 if whole else np.float32)
    if _is_nrrd(path):
        content = _nrrd_bytes(values, affine, slice_thickness)
    else:
        content = _nifti_bytes(values, affine)
        if path.name.lower().endswith(".gz"):
            content = gzip.compress(content, compresslevel=5, mtime=0)
    return write_atomic(path, content)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        distribution, suffixes = _PACKAGES[name]
        raise DataError(
            f"{distribution} is not installed, which reads and writes these files",
            where=suffixes,
            remedy="pip install 'ctxai-invariances[images]', or give a DICOM series",
        ) from None


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (i, j, k), and their affine in LPS."""
    nibabel = _package("nibabel")
    image = nibabel.load(path)
    header = image.header
    if not isinstance(image, nibabel.Nifti1Image | nibabel.Nifti2Image):
        raise DataError("not a NIfTI file", where=path, got=type(image).__name__)
    if header.get_xyzt_units()[0] not in ("mm", "unknown"):
        raise DataError(
            "voxels are not in mm", where=f"{path}, xyzt_units", got=header.get_xyzt_units()[0]
        )
    (sform, has_sform), (qform, has_qform) = (
        image.get_sform(coded=True), image.get_qform(coded=True),
    )  # fmt: skip
    if not has_sform and not has_qform:
        raise DataError(
            "the file does not say where the voxels lie in the patient",
            where=f"{path}, sform_code and qform_code",
            expected="one above 0",
            remedy="convert the DICOM series again, for instance with dcm2niix",
        )
    if has_sform and has_qform:
        shape = (*image.shape, 1)[:3]  # of a file of one slice, with two axes, too
        ends = np.array([(*np.multiply(c, shape), 1) for c in np.ndindex(2, 2, 2)]).T
        apart = float(np.abs((sform - qform) @ ends).max())
        if apart > _DISAGREE:
            warnings.warn(
                f"{path}: its two affines are {apart:.3g} mm apart; sform is used", stacklevel=4
            )
    return np.asanyarray(image.dataobj), _RAS @ image.affine


def _read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    nrrd = _package("nrrd")
    header = nrrd.read_header(str(path))
    if "data file" in header or "datafile" in header:
        raise DataError("the voxels are in another file", where=f"{path}, data file")
    space = str(header.get("space", "")).lower()
    directions, origin = header.get("space directions"), header.get("space origin")
    if space not in _SPACES or directions is None or origin is None:
        raise DataError(
            "the file does not say where the voxels lie in the patient",
            where=f"{path}, space, space directions, space origin",
            expected="left-posterior-superior or another of a patient's spaces",
            got=space or "no space",
        )
    units = {str(unit).lower() for unit in header.get("space units", ())}
    if units - {"mm", "millimeter", "millimeters", ""}:
        raise DataError(
            "voxels are not in mm", where=f"{path}, space units", got=", ".join(sorted(units))
        )
    directions = np.asarray(directions, np.float64)
    if directions.shape != (3, 3) or not np.isfinite(directions).all():
        raise DataError(
            "not one volume of numbers", where=f"{path}, space directions", expected="three axes",
            got=f"kinds {header.get('kinds')}",
        )  # fmt: skip
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions.T, origin
    affine = np.diag([*_SPACES[space], 1.0]) @ affine
    return nrrd.read(str(path))[0], affine


def _nifti_bytes(values: np.ndarray, affine: np.ndarray) -> bytes:
    nibabel = _package("nibabel")
    image = nibabel.Nifti1Image(values, _RAS @ affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(_RAS @ affine, code=1)
    image.set_qform(_RAS @ affine, code=1)
    return image.to_bytes()


def _nrrd_bytes(values: np.ndarray, affine: np.ndarray, thickness: float) -> bytes:
    nrrd, content = _package("nrrd"), io.BytesIO()
    header = {
        "space": "left-posterior-superior",
        "space directions": affine[:3, :3].T,
        "space origin": affine[:3, 3],
        "space units": ["mm"] * 3,
        "kinds": ["domain"] * 3,
        "thicknesses": [np.nan, np.nan, thickness],
        "encoding": "gzip",
    }
    nrrd.write(content, values, header, compression_level=5)
    text, _, data = content.getvalue().partition(b"\n\n")
    lines = [line for line in text.split(b"\n") if not line.startswith(b"#")]  # the date
    return b"\n".join(lines) + b"\n\n" + data


def _check_hu(hu: np.ndarray, path: Path) -> None:
    """Refuse numbers that cannot be HU; warn of those that hardly are."""
    low, high = float(hu.min()), float(hu.max())
    if not (np.isfinite(low) and np.isfinite(high) and high <= _MOST):
        raise DataError(
            "voxels are no CT numbers", where=path, expected=f"numbers up to {_MOST:g} HU",
            got=f"{low:g} to {high:g}",
        )  # fmt: skip
    remark = hu_remark(hu)
    if remark and -1.0 <= low < high <= 1.0:
        raise DataError("voxels are no CT numbers", where=path, expected="HU", got=remark)
    if remark:
        warnings.warn(f"{path}: taken as HU, but it holds {remark}", stacklevel=4)
