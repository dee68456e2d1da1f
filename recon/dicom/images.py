"""CT Image Storage: the slices of one series in HU, checked for what the physics relies on.

New series are written by :func:`recon.write_series`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from .slice import LEAST_TILT, read_slice

__all__ = ["CTImages", "read_images"]

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CTImages:
    """Slices of one CT series, sorted along their normal (feet to head for axial slices).

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
    instance_uids, study_uid, frame_uid
        UIDs of the source, to be referred to by what is derived from it.
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

    def __getitem__(self, which: int | slice) -> CTImages:
        """Return some of the slices, with their own thickness and exposure."""
        if not isinstance(which, slice):
            which = slice(which, which + 1 or None)
        per_slice = ("hu", "positions", "thicknesses", "exposures", "files", "instance_uids")
        return replace(self, **{name: getattr(self, name)[which] for name in per_slice})

    def describe(self) -> str:
        """Say in one line what the series is, without identity."""
        slices, rows, cols = self.hu.shape
        (sy, sx), z = self.spacing, self.positions[:, 2]
        return (
            f"{slices} slice{'s' if slices > 1 else ''} of {rows} × {cols}, "
            f"pixels {sy:.4g} × {sx:.4g} mm, {self.slice_thickness:g} mm thick, "
            f"z {z.min():.1f} to {z.max():.1f} mm, "
            f"{f'{self.kvp:g}' if self.kvp else 'unknown'} kV, "
            f"{f'{self.mas:.4g}' if self.mas else 'unknown'} mAs"
        )

    def __repr__(self) -> str:
        return f"CTImages({self.describe()})"


def read_images(path: str | Path) -> CTImages:
    """Read one CT series: a file, or a folder whose DICOM files belong to one series.

    ``HU = stored · slope + intercept``; padding becomes -1000 HU. mAs is tube current
    (0018,1151) × exposure time (0018,1150) / 1000, and (0018,1153) or (0018,1152) only where those
    are absent. Files that are not DICOM are ignored unless they are named .dcm.

    Parameters
    ----------
    path : str or Path
        A file or a folder; subfolders are not searched.

    Returns
    -------
    CTImages

    Raises
    ------
    DataError
        If there is nothing to read, a file is broken, not CT, compressed in a way that cannot be
        decoded, or of another series or matrix than the rest.

    Warns
    -----
    UserWarning
        If slices are tilted, differ in thickness or mAs, or state an exposure (0018,1152) more than
        5 % from tube current × time.

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
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError("no such file or folder", where=path)
    found = sorted(f for f in path.iterdir() if f.is_file()) if path.is_dir() else [path]
    slices = [one for file in found if (one := read_slice(file, must=file == path)) is not None]
    if not slices:
        raise DataError(
            "folder without DICOM images", where=path, expected="CT Image Storage",
            remedy="name the folder that holds the files themselves; subfolders are not searched",
        )  # fmt: skip
    first = slices[0]
    for other in slices[1:]:
        for name, tag in (
            ("series", "Series Instance UID (0020,000E)"),
            ("matrix", "rows and columns"),
            ("spacing", "Pixel Spacing (0028,0030)"),
            ("orientation", "Image Orientation (0020,0037)"),
            ("kvp", "KVP (0018,0060)"),
        ):
            if first[name] != other[name]:
                both = f"{first['file'].name} and {other['file'].name}"
                raise DataError(
                    f"the files are not of one series: {both} differ in {tag}",
                    where=path,
                    got=f"{first[name]} and {other[name]}",
                    remedy="put each series into a folder of its own",
                )
    normal = np.cross(first["orientation"][:3], first["orientation"][3:])
    slices.sort(key=lambda one: float(one["position"] @ normal))
    height = np.array([one["position"] @ normal for one in slices])
    if (np.diff(height) < 1e-3).any():
        k = int(np.argmax(np.diff(height) < 1e-3))
        raise DataError(
            f"two slices at one place: {slices[k]['file'].name} and {slices[k + 1]['file'].name}",
            where=path,
        )
    images = CTImages(
        hu=np.stack([one["hu"] for one in slices]),
        spacing=first["spacing"],
        positions=np.stack([one["position"] for one in slices]),
        thicknesses=np.array([one["thickness"] for one in slices]),
        exposures=np.array([one["mas"] for one in slices]),
        kvp=first["kvp"],
        orientation=first["orientation"],
        tilt=max((one["tilt"] for one in slices), key=abs),
        patient_position=first["patient_position"],
        files=tuple(one["file"] for one in slices),
        instance_uids=tuple(one["instance"] for one in slices),
        study_uid=first["study"],
        frame_uid=first["frame"],
    )
    _warn(images, [one["stated_mas"] for one in slices], path)
    return images


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
