"""One CT slice of a file: the attributes that the physics relies on, and its pixels in HU."""

from __future__ import annotations

import hashlib
import io
import math
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, CTImageStorage

from ..errors import DataError
from ..scan.helix import PATIENT_POSITIONS
from ..scan.scan import own_uid
from ..units import AIR_HU
from .decode import stored_pixels, syntax_of
from .elements import DEFLATED, HU_RANGE, transfer_syntax
from .folder import no_slice
from .reason import directions, missing, stated

__all__ = ["LEAST_TILT", "SliceHeader", "read_slice_header", "read_slice_pixels"]

LEAST_TILT = math.radians(0.5)
"""Smallest tilt [rad] that is taken for one."""

_NAMED_DICOM = (".dcm", ".ima", ".dicom")
_LONGEST = 64  # characters of a description
_FIRST_BYTES = 4096
_AT_ONCE = 1 << 20
_MOST_INFLATED = 1 << 26  # bytes of a deflated file: sixteen times a slice of 1024²
_IN_HU = ("", "HU", "US")  # US: not specified, as old files have it


@dataclass(frozen=True, kw_only=True)
class SliceHeader:
    """What a file says of its slice; NaN or "" where it does not."""

    file: Path
    matrix: tuple[int, int]
    slope: float
    intercept: float
    padding: tuple[float, ...]  # ends of the range of stored numbers that are no image
    spacing: tuple[float, float]  # of rows and of columns [mm]
    orientation: tuple[float, ...]
    position: np.ndarray  # of the first pixel [mm]
    thickness: float  # [mm]
    distance: float  # to the next slice [mm]
    tilt: float  # [rad]
    kvp: float | None
    mas: float
    stated_mas: float  # (0018,1152), where current and time are there, too
    patient_position: str
    series: str
    number: str  # of the series
    description: str  # of the series
    instance: str
    study: str
    frame: str


def read_slice_header(file: Path, *, must: bool) -> SliceHeader | str | None:
    """Read and check the header of one file.

    Parameters
    ----------
    file : Path
        A file, or one of many in a folder.
    must : bool
        Whether it has to be a slice.

    Returns
    -------
    SliceHeader, str or None
        None for a file that is not DICOM and need not be, words for a DICOM object that is no
        slice and need not be.
    """
    ds = _read(file, must)
    if ds is None:
        return None
    try:
        meta = getattr(ds, "file_meta", Dataset())
        sop_class = str(ds.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    except Exception as error:  # elements are decoded when they are asked for
        raise DataError("DICOM header cannot be read", where=file, got=type(error).__name__) from (
            error
        )
    try:
        image_type = [str(part) for part in np.atleast_1d(ds.get("ImageType") or [])]
    except Exception:  # text in no known characters
        image_type = []
    kind = no_slice(sop_class, image_type)
    if kind and not must:
        return kind
    if kind in ("localizer", "projection through slices"):
        raise DataError(f"a {kind} is not a slice", where=file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _header(ds, file, sop_class)
    except DataError:
        raise
    except Exception as error:  # pydicom's conversions raise types of every kind
        raise DataError("DICOM header cannot be read", where=file, got=type(error).__name__) from (
            error
        )


class _Bounded(io.BufferedReader):
    """A file of which no more is asked for than there is, whatever lengths its elements state."""

    def __init__(self, file: Path) -> None:
        super().__init__(io.FileIO(file))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `io.BufferedReader` does, into a buffer that is no larger than what is left."""
        if size is not None and size > _AT_ONCE:
            size = min(size, max(self._size - self.tell(), 0))
        return super().read(size)


def _require_bounded(file: Path) -> None:
    """Refuse a small file that inflates to a large one, before it does."""
    with open(file, "rb") as handle:
        syntax, start = transfer_syntax(handle.read(_FIRST_BYTES))
        if syntax != DEFLATED:
            return
        handle.seek(start)
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while packed := inflater.unconsumed_tail or handle.read(_AT_ONCE):
            size += len(inflater.decompress(packed, _AT_ONCE))
            if size > _MOST_INFLATED:
                raise DataError(
                    "a deflated file is too large",
                    where=file,
                    expected=f"at most {_MOST_INFLATED} bytes",
                    got="more",
                )


def _read(file: Path, must: bool, content: bytes | None = None) -> Dataset | None:
    """A file's header, or all of it from its content."""
    try:
        _require_bounded(file)
        with warnings.catch_warnings():  # pydicom's remarks on form concern no value used here
            warnings.simplefilter("ignore")
            if content is not None:
                return pydicom.dcmread(io.BytesIO(content))
            with _Bounded(file) as handle:
                return pydicom.dcmread(handle, stop_before_pixels=True)
    except InvalidDicomError:
        if must or file.suffix.lower() in _NAMED_DICOM:
            raise DataError("not a DICOM file", where=file) from None
        return None
    except DataError:
        raise
    except Exception as error:  # pydicom's readers raise types of every kind
        raise DataError(
            "DICOM file is truncated or cannot be decoded", where=file, got=error
        ) from error


def _header(ds: Dataset, file: Path, sop_class: str) -> SliceHeader:
    def needed(keyword: str) -> Any:
        found = ds.get(keyword)
        if found is None or found == "":
            raise missing(file, keyword)
        return found

    def number(keyword: str) -> float:
        found = stated(ds, keyword, file)
        return found[0] if found else math.nan

    def numbers(keyword: str) -> tuple[float, ...]:
        found = stated(ds, keyword, file)
        if not found:
            raise missing(file, keyword)
        return found

    modality = str(needed("Modality"))[:16].strip()
    if modality != "CT" or sop_class != CTImageStorage:
        raise DataError(
            "not a CT image",
            where=file,
            expected="modality CT, CT Image Storage",
            got=f"{modality}, {UID(sop_class[:64]).name}",
            remedy="put the images of each kind into a folder of their own",
        )
    for keyword in ("NumberOfFrames", "SamplesPerPixel", "BitsStored"):
        stated(ds, keyword, file)
    kind = str(ds.get("RescaleType") or "").strip().upper()
    if kind not in _IN_HU:
        raise DataError(
            "the values are no CT numbers",
            where=f"{file}, RescaleType (0028,1054)",
            expected="HU",
            got=kind[:16],
            remedy="give the reconstruction in HU",
        )
    padding = stated(ds, "PixelPaddingValue", file)
    orientation = directions(ds, file)
    x, y, z = np.cross(orientation[:3], orientation[3:])
    turned = math.atan2(math.hypot(x, y), abs(z))
    if turned > math.radians(45):
        raise DataError("not an axial slice", where=file, got=f"orientation {orientation}")
    angle = stated(ds, "GantryDetectorTilt", file)
    tilt = math.radians(angle[0]) if angle else 0.0
    mas, stated_mas = _exposure(ds, file)
    kvp = number("KVP")
    position = str(ds.get("PatientPosition") or "")
    rows, cols = numbers("PixelSpacing")
    return SliceHeader(
        file=file,
        matrix=(int(numbers("Rows")[0]), int(numbers("Columns")[0])),
        slope=numbers("RescaleSlope")[0],
        intercept=numbers("RescaleIntercept")[0],
        padding=padding + (stated(ds, "PixelPaddingRangeLimit", file) if padding else ()),
        spacing=(rows, cols),
        orientation=orientation,
        position=np.array(numbers("ImagePositionPatient")),
        thickness=number("SliceThickness"),
        distance=abs(number("SpacingBetweenSlices")),
        tilt=tilt if abs(tilt) > LEAST_TILT else turned,
        kvp=None if math.isnan(kvp) else kvp,
        mas=mas,
        stated_mas=stated_mas,
        patient_position=position if position in PATIENT_POSITIONS else "",
        series=own_uid(str(needed("SeriesInstanceUID"))),
        number=str(ds.get("SeriesNumber") or ""),
        description=_printable(str(ds.get("SeriesDescription") or "")),
        instance=own_uid(str(needed("SOPInstanceUID"))),
        study=own_uid(str(needed("StudyInstanceUID"))),
        frame=own_uid(str(ds.get("FrameOfReferenceUID") or "")),
    )


def _printable(text: str) -> str:
    """A short text without what a terminal would take for commands."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST]).split())


def _exposure(ds: Dataset, file: Path) -> tuple[float, float]:
    """MAs per rotation, and what (0018,1152) says beside current and time; NaN for unknown."""
    current, time = stated(ds, "XRayTubeCurrent", file), stated(ds, "ExposureTime", file)
    whole, fine = stated(ds, "Exposure", file), stated(ds, "ExposureInuAs", file)
    in_mas = whole[0] if whole else math.nan
    if current and time:
        return current[0] * time[0] / 1000, in_mas
    return (fine[0] / 1000 if fine else in_mas), math.nan


def read_slice_pixels(header: SliceHeader) -> tuple[np.ndarray, str]:
    """CT numbers (rows, cols) of the slice, float32 [HU], and the SHA-256 of the file they are of.

    Padding is air.

    Raises
    ------
    DataError
        If the file is truncated, compressed in a way that cannot be decoded, or no value of it can
        be a CT number.
    """
    file = header.file
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError("file cannot be read", where=file, got=error.strerror) from None
    ds = _read(file, True, content)
    try:  # elements are decoded when they are asked for
        there = ds is not None and ds.get("PixelData") is not None
        bits = int(ds.get("BitsAllocated") or 16) if ds is not None else 0
    except Exception as error:  # pydicom's readers raise types of every kind
        raise DataError(
            "DICOM file is truncated or cannot be decoded",
            where=f"{file}, PixelData (7FE0,0010), BitsAllocated (0028,0100)", got=error,
            remedy="fetch the file again",
        ) from error  # fmt: skip
    if ds is None or not there:
        raise missing(file, "PixelData")
    _require_length(ds, header, bits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = stored_pixels(ds, file)
    if stored.shape != header.matrix:
        raise DataError(
            "pixels do not fit the matrix", where=file, expected=header.matrix, got=stored.shape
        )
    hu = (stored * header.slope + header.intercept).astype(np.float32)
    if header.padding:
        ends = np.array([header.padding[0], header.padding[-1]], dtype=np.int64)
        low, high = sorted(ends.astype(stored.dtype).tolist())
        hu[(stored >= low) & (stored <= high)] = AIR_HU
    if not hu.max() <= HU_RANGE[1]:  # NaN neither
        raise DataError(
            "pixels are no CT numbers",
            where=f"{file}, RescaleSlope (0028,1053), RescaleIntercept (0028,1052)",
            expected=f"at most {HU_RANGE[1]} HU",
            got=f"{hu.max():g} HU by slope {header.slope:g} and intercept {header.intercept:g}",
        )
    return hu, hashlib.sha256(content).hexdigest()


def _require_length(ds: Dataset, header: SliceHeader, bits: int) -> None:
    """Refuse uncompressed pixels that are more than the matrix has; what is more may be of others.

    Fewer are found when they are decoded. A byte may be added, since lengths are even.
    """
    if syntax_of(ds, header.file).is_compressed:
        return
    rows, cols = header.matrix
    expected, found = rows * cols * bits // 8, len(ds.PixelData)
    if found > expected + 1:
        raise DataError(
            "pixels do not fit the matrix",
            where=f"{header.file}, PixelData (7FE0,0010)",
            expected=f"{rows} × {cols} values, {expected} bytes",
            got=f"{found} bytes",
        )
