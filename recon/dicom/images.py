"""CT slices in HU with their geometry, checked for what the physics relies on.

They come from DICOM files (CT Image Storage, one series), or from a NIfTI or NRRD file. New series
are written by :func:`recon.write_series`, volumes by :func:`recon.write_volume`.
"""

from __future__ import annotations

import hashlib
import math
import operator
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..scan.scan import derived_uid
from ..storage import digest_files, require_there
from ..volumes.files import is_volume, read_volume
from .series import read_series
from .slice import LEAST_TILT, read_slice_pixels

__all__ = ["CTImages", "read_images"]

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CTImages:
    """Slices of one CT series, sorted along their normal (feet to head for axial slices).

    A sequence of slices, each with its own place, thickness and exposure; for NumPy, the array of
    their CT numbers.

    Parameters
    ----------
    hu : np.ndarray, shape (slices, rows, cols), float32
        CT numbers [HU]; padding is -1000.
    spacing : (float, float)
        Distance of rows and of columns (sy, sx) [mm].
    positions : np.ndarray, shape (slices, 3)
        Centre of the first pixel of each slice, (x, y, z) of the patient [mm].
    thicknesses, exposures : np.ndarray, shape (slices,)
        Nominal thickness [mm] and mAs per rotation of each slice; NaN where a file does not say.
    kvp : float or None
        Tube voltage [kV].
    orientation : tuple of 6 floats
        Direction of the rows and of the columns.
    tilt : float
        Angle against the axial plane [rad].
    patient_position : str
        "HFS", "FFS", … or "" where the file does not say.
    files : tuple of Path
        The files, in the order of the slices.
    digests : tuple of str
        SHA-256 of each, as it was when its pixels were read.
    instance_uids, study_uid, frame_uid
        UIDs of the source, to be referred to by what is derived from it.

    Examples
    --------
    >>> import numpy as np
    >>> from recon import CTImages
    >>> images = CTImages(
    ...     hu=np.zeros((2, 4, 4), np.float32), spacing=(1.0, 1.0), kvp=None,
    ...     positions=np.array([[0.0, 0.0, 5.0], [0.0, 0.0, 6.5]]),
    ...     thicknesses=np.full(2, 1.5), exposures=np.full(2, np.nan))
    >>> [float(one.positions[0, 2]) for one in images], np.asarray(images).shape
    ([5.0, 6.5], (2, 4, 4))
    """

    hu: np.ndarray
    spacing: tuple[float, float]
    positions: np.ndarray
    thicknesses: np.ndarray
    exposures: np.ndarray
    kvp: float | None
    orientation: tuple[float, ...] = _AXIAL
    tilt: float = 0.0
    patient_position: str = ""
    files: tuple[Path, ...] = ()
    digests: tuple[str, ...] = ()
    instance_uids: tuple[str, ...] = ()
    study_uid: str = ""
    frame_uid: str = ""

    @property
    def slice_thickness(self) -> float:
        """Slice thickness [mm]; the median where slices differ."""
        return float(np.median(self.thicknesses))

    @property
    def mas(self) -> float | None:
        """Tube current × rotation time [mAs]; the median of the slices, None where unknown."""
        known = self.exposures[np.isfinite(self.exposures)]
        return float(np.median(known)) if known.size else None

    def __len__(self) -> int:
        return len(self.hu)

    def __iter__(self) -> Iterator[CTImages]:
        """Each slice, as indexing gives it."""
        return (self[k] for k in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The CT numbers (slices, rows, cols) [HU]."""
        return np.array(self.hu, dtype=dtype, copy=copy)

    def __getitem__(self, which: int | slice) -> CTImages:
        """Return some of the slices, with their own thickness and exposure.

        A number gives the series of that one slice.

        Raises
        ------
        IndexError
            If there is no slice of that number.
        """
        if not isinstance(which, slice):
            k = range(len(self))[operator.index(which)]  # raises IndexError past the end
            which = slice(k, k + 1)
        per_slice = (
            "hu", "positions", "thicknesses", "exposures", "files", "digests", "instance_uids",
        )  # fmt: skip
        return replace(self, **{name: getattr(self, name)[which] for name in per_slice})

    def inputs(self) -> dict[str, str]:
        """SHA-256 of the files that the slices were read from, by their names."""
        return {file.name: digest for file, digest in zip(self.files, self.digests)}

    def describe(self) -> str:
        """Say in one line what the series is, without identity."""
        slices, rows, cols = self.hu.shape
        if not slices:
            return "no slices"
        (sy, sx), z = self.spacing, self.positions[:, 2]
        thick = f"{self.slice_thickness:g} mm thick"
        if not np.isfinite(self.thicknesses).all():
            thick = "unknown thickness"
        return (
            f"{slices} slice{'s' if slices > 1 else ''} of {rows} × {cols}, "
            f"pixels {sy:.4g} × {sx:.4g} mm, {thick}, "
            f"z {z.min():.1f} to {z.max():.1f} mm, "
            f"{f'{self.kvp:g}' if self.kvp else 'unknown'} kV, "
            f"{f'{self.mas:.4g}' if self.mas else 'unknown'} mAs"
        )

    def __repr__(self) -> str:
        return f"CTImages({self.describe()})"


def read_images(path: str | Path, *, series: str = "") -> CTImages:
    """Read one CT series: a folder whose DICOM files belong to one series, or a file.

    ``HU = stored · slope + intercept``; padding becomes -1000 HU. mAs is tube current
    (0018,1151) × exposure time (0018,1150) / 1000, and (0018,1153) or (0018,1152) only where those
    are absent. A slice thickness that the files do not state is the distance of the slices.

    Headers are checked before any pixel is read. Files that are not DICOM are ignored unless they
    are named .dcm; so are directories of a disc, and DICOM objects that hold no slice (reports,
    localizers, ...).

    A NIfTI (.nii, .nii.gz) or NRRD (.nrrd) file is taken as HU, in its own place and pixels, its
    axes turned into those of an axial series. It states neither voltage nor exposure; as slice
    thickness serves the distance of the slices.

    Parameters
    ----------
    path : str or Path
        A folder, whose subfolders are not searched; a DICOM, NIfTI or NRRD file.
    series : str, optional
        Number, UID or description of the series to read, where a folder holds several.

    Returns
    -------
    CTImages

    Raises
    ------
    DataError
        If there is nothing to read, a file is broken, not CT, compressed in a way that cannot be
        decoded, or of another series or matrix than the rest; if a value of a header is out of
        reason; if a volume is oblique or not axial, or the package that reads it is not installed.

    Warns
    -----
    UserWarning
        If slices are tilted, differ in thickness or mAs, or state an exposure (0018,1152) more than
        5 % from tube current × time; if a thickness is not stated, or slices may be missing between
        others; with the count of DICOM objects that are no slices.

    Examples
    --------
    >>> import warnings
    >>> from pydicom.data import get_testdata_file
    >>> from recon import read_images
    >>> with warnings.catch_warnings():  # this slice states two exposures
    ...     warnings.simplefilter("ignore")
    ...     images = read_images(get_testdata_file("CT_small.dcm"))
    >>> images.hu.shape, images.kvp, round(images.mas, 2)
    ((1, 128, 128), 120.0, 272.17)
    """
    path = require_there(path)
    if path.is_file() and is_volume(path):
        return _from_volume(path)
    slices, remarks = read_series(path, series)
    pixels, digests = zip(*map(read_slice_pixels, slices))
    images = CTImages(
        hu=np.stack(pixels),
        spacing=slices[0].spacing,
        positions=np.stack([one.position for one in slices]),
        thicknesses=np.array([one.thickness for one in slices]),
        exposures=np.array([one.mas for one in slices]),
        kvp=next((one.kvp for one in slices if one.kvp), None),
        orientation=slices[0].orientation,
        tilt=max((one.tilt for one in slices), key=abs),
        patient_position=slices[0].patient_position,
        files=tuple(one.file for one in slices),
        digests=digests,
        instance_uids=tuple(one.instance for one in slices),
        study_uid=slices[0].study,
        frame_uid=slices[0].frame,
    )
    for remark in remarks:
        warnings.warn(f"{path}: {remark}", stacklevel=2)
    _warn(images, [one.stated_mas for one in slices], path)
    return images


def _from_volume(path: Path) -> CTImages:
    """The slices of a volume file; what is derived from one volume belongs to one study."""
    (digest,) = digest_files([path]).values()
    volume = read_volume(path)
    n = len(volume.hu)
    content = hashlib.sha256(volume.hu.tobytes() + volume.positions.tobytes()).hexdigest()
    return CTImages(
        hu=volume.hu,
        spacing=volume.spacing,
        positions=volume.positions,
        thicknesses=np.full(n, volume.distance),
        exposures=np.full(n, np.nan),
        kvp=None,
        orientation=volume.orientation,
        files=(path,) * n,
        digests=(digest,) * n,
        study_uid=derived_uid("volume", content),
    )


def _warn(images: CTImages, stated: Sequence[float], path: Path) -> None:
    if abs(images.tilt) > LEAST_TILT:
        angle = f"{math.degrees(images.tilt):.1f}°"
        warnings.warn(f"{path}: slices are tilted by {angle}; treated as axial", stacklevel=3)
    for name, values, unit in (
        ("slice thickness", images.thicknesses, "mm"),
        ("exposure", images.exposures, "mAs"),
    ):
        low, high = np.nanmin([*values, np.inf]), np.nanmax([*values, -np.inf])
        if high > 1.05 * low:
            text = f"{name} varies from {low:g} to {high:g} {unit} between slices"
            warnings.warn(f"{path}: {text}", stacklevel=3)
    wrong = [
        (mas, said) for mas, said in zip(images.exposures, stated) if abs(said - mas) > 0.05 * mas
    ]
    if wrong:
        warnings.warn(
            f"{path}: {len(wrong)} of {len(images)} slices state an exposure (0018,1152) of "
            f"{wrong[0][1]:g} mAs, but tube current × time is {wrong[0][0]:.4g} mAs, which is used",
            stacklevel=3,
        )
