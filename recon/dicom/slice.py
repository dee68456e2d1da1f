"""One CT slice of a file: its pixels in HU and the attributes that the physics relies on."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage

from ..checks import numbers, positive
from ..errors import DataError
from ..scan.helix import PATIENT_POSITIONS
from ..units import AIR_HU
from .elements import HU_RANGE

__all__ = ["LEAST_TILT", "read_slice"]

LEAST_TILT = math.radians(0.5)
"""Smallest tilt [rad] that is taken for one."""


def read_slice(file: Path, *, must: bool) -> dict[str, Any] | None:
    """Read what the toolbox needs of one file; None if it is not DICOM and need not be."""
    try:
        with warnings.catch_warnings():  # pydicom's remarks on form concern no value used here
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(file)
            return _facts(ds, file)
    except DataError:
        raise
    except InvalidDicomError:
        if must or file.suffix.lower() in (".dcm", ".ima"):
            raise DataError("not a DICOM file", where=file) from None
        return None
    except Exception as error:  # pydicom's readers and decoders raise types of every kind
        raise DataError(
            "DICOM file is truncated or cannot be decoded", where=file, got=error
        ) from error


def _facts(ds: Dataset, file: Path) -> dict[str, Any]:
    def value(keyword: str) -> Any:
        found = ds.get(keyword)
        if found is None or found == "":
            raise DataError(
                "attribute is missing",
                where=f"{file}, {keyword} {pydicom.tag.Tag(keyword)}",
                remedy="the file may be truncated, or hold projections",
            )
        return found

    if value("Modality") != "CT" or value("SOPClassUID") != CTImageStorage:
        raise DataError(
            "not a CT image",
            where=file,
            expected="modality CT, CT Image Storage",
            got=f"{ds.Modality}, {pydicom.uid.UID(value('SOPClassUID')).name}",
        )
    if "LOCALIZER" in (ds.get("ImageType") or ()):
        raise DataError("a localizer is not a slice", where=file)
    value("PixelData")
    stored = ds.pixel_array
    slope, intercept = float(value("RescaleSlope")), float(value("RescaleIntercept"))
    hu = (stored * slope + intercept).astype(np.float32)
    if ds.get("PixelPaddingValue") is not None:
        ends = [ds.PixelPaddingValue, ds.get("PixelPaddingRangeLimit") or ds.PixelPaddingValue]
        low, high = sorted(np.array(ends, dtype=np.int64).astype(stored.dtype).tolist())
        hu[(stored >= low) & (stored <= high)] = AIR_HU
    if not hu.max() <= HU_RANGE[1]:  # NaN neither
        raise DataError(
            "pixels are no CT numbers",
            where=f"{file}, RescaleSlope (0028,1053), RescaleIntercept (0028,1052)",
            expected=f"at most {HU_RANGE[1]} HU",
            got=f"{hu.max():g} HU by slope {slope:g} and intercept {intercept:g}",
        )

    orientation = tuple(round(float(v), 6) for v in value("ImageOrientationPatient"))
    normal = np.cross(orientation[:3], orientation[3:])
    if abs(normal[2]) < math.cos(math.radians(45)):
        raise DataError("not an axial slice", where=file, got=f"orientation {orientation}")
    turned = math.acos(min(1.0, abs(float(normal[2]))))
    tilt = math.radians(float(ds.get("GantryDetectorTilt") or 0.0))
    current, time = ds.get("XRayTubeCurrent"), ds.get("ExposureTime")
    stated = float(ds.get("Exposure") or math.nan)
    mas = float(ds.get("ExposureInuAs") or 1000 * stated) / 1000
    if current and time:
        mas = float(current) * float(time) / 1000
    position = ds.get("PatientPosition") or ""
    return {
        "file": file,
        "hu": hu,
        "matrix": hu.shape,
        "series": str(value("SeriesInstanceUID")),
        "instance": str(value("SOPInstanceUID")),
        "study": str(value("StudyInstanceUID")),
        "frame": str(ds.get("FrameOfReferenceUID") or ""),
        "spacing": _spacing(value("PixelSpacing"), file),
        "orientation": orientation,
        "position": np.array([float(v) for v in value("ImagePositionPatient")]),
        "thickness": positive(
            f"slice thickness ({file}, SliceThickness (0018,0050))", float(value("SliceThickness"))
        ),
        "tilt": tilt if abs(tilt) > LEAST_TILT else turned,
        "kvp": float(ds.KVP) if ds.get("KVP") else None,
        "mas": mas if mas > 0.0 else math.nan,
        "stated_mas": stated if current and time else math.nan,
        "patient_position": position if position in PATIENT_POSITIONS else "",
    }


def _spacing(value: Any, file: Path) -> tuple[float, float]:
    """Distance of rows and of columns [mm]."""
    name = f"pixel spacing ({file}, PixelSpacing (0028,0030))"
    rows, cols = numbers(name, np.atleast_1d(value), 2)
    return positive(name, rows), positive(name, cols)
