"""What the numbers in a CT image's header may be, by one table: attribute, range and reason.

A value that decides the result is looked at when the header is read, before any pixel: a slope of
zero, an orientation that is no direction or a slice of a metre would give images and doses that
look like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["directions", "missing", "stated"]


@dataclass(frozen=True)
class Reason:
    """What an attribute's numbers may be, ends included, and why."""

    low: float
    high: float
    why: str
    count: int = 1
    unknown_at_zero: bool = False  # zero or less stands for "not known", as scanners write it


_REASONS = {
    "NumberOfFrames": Reason(1, 1, "a file holds one slice", unknown_at_zero=True),
    "SamplesPerPixel": Reason(1, 1, "a CT number is one sample, not a colour"),
    "Rows": Reason(1, 16384, "pixels of a slice"),
    "Columns": Reason(1, 16384, "pixels of a slice"),
    "BitsStored": Reason(10, 32, "fewer bits hold no CT numbers"),
    "RescaleSlope": Reason(1e-6, 1000, "HU of one step of the stored numbers"),
    "RescaleIntercept": Reason(-65536, 65536, "HU of a stored 0, of 16 bits"),
    "PixelPaddingValue": Reason(-(2.0**31), 2.0**32, "a stored number"),
    "PixelPaddingRangeLimit": Reason(-(2.0**31), 2.0**32, "a stored number"),
    "PixelSpacing": Reason(1e-3, 100, "mm, from micro-CT to the whole body", count=2),
    "ImagePositionPatient": Reason(-1e5, 1e5, "mm, x, y and z", count=3),
    "ImageOrientationPatient": Reason(-1.01, 1.01, "cosines of rows and columns", count=6),
    "SliceThickness": Reason(0.01, 100, "mm"),
    "SpacingBetweenSlices": Reason(-100, 100, "mm, with a sign in some files"),
    "GantryDetectorTilt": Reason(-90, 90, "degrees"),
    "KVP": Reason(1, 1e4, "kV, megavolt scanners included", unknown_at_zero=True),
    "XRayTubeCurrent": Reason(0, 1e4, "mA", unknown_at_zero=True),
    "ExposureTime": Reason(0, 1e6, "ms", unknown_at_zero=True),
    "Exposure": Reason(0, 1e6, "mAs", unknown_at_zero=True),
    "ExposureInuAs": Reason(0, 1e9, "µAs", unknown_at_zero=True),
}

_NO_UNIT_VECTOR = 0.01  # part of its length; cosines are written with two digits, too


def _place(file: Path, keyword: str) -> str:
    from pydicom.tag import Tag

    return f"{file}, {keyword} {str(Tag(keyword)).replace(', ', ',').upper()}"


def missing(file: Path, keyword: str) -> DataError:
    """What is raised where an attribute that is needed is absent or empty."""
    return DataError(
        "attribute is missing",
        where=_place(file, keyword),
        expected="a value",
        got="nothing",
        remedy="the file may be truncated, or hold projections",
    )


def stated(ds: Dataset, keyword: str, file: Path) -> tuple[float, ...]:
    """The numbers of an attribute; none where it is absent, empty or stands for "not known".

    Raises
    ------
    DataError
        If they are no numbers, too few or too many, not finite, or out of reason.

    Examples
    --------
    >>> from pathlib import Path
    >>> from pydicom.dataset import Dataset
    >>> from recon.dicom.reason import stated
    >>> ds = Dataset()
    >>> ds.RescaleSlope = "0"
    >>> try:
    ...     stated(ds, "RescaleSlope", Path("a.dcm"))
    ... except ValueError as error:
    ...     print(error)
    value is not positive (a.dcm, RescaleSlope (0028,1053)): expected 1e-06 to 1000 (HU of one \
step of the stored numbers), got 0
    """
    reason, where = _REASONS[keyword], _place(file, keyword)
    found = _numbers(ds, keyword)
    if found == ():
        return ()
    many = "a finite number" if reason.count == 1 else f"{reason.count} finite numbers"
    if found is None:  # what it says is not repeated: it may be anything, a name too
        raise DataError("value is not a number", where=where, expected=many, got="text")
    if len(found) != reason.count:
        raise DataError(
            "wrong number of values", where=where, expected=many, got=f"{len(found)} of them"
        )
    if reason.unknown_at_zero and -math.inf < found[0] <= 0.0:
        return ()
    for value in found:
        if not reason.low <= value <= reason.high:  # NaN neither
            sign = "positive" if reason.low > 0 and value <= 0 else "within reason"
            raise DataError(
                f"value is not {sign}",
                where=where,
                expected=f"{reason.low:.5g} to {reason.high:.5g} ({reason.why})"
                if reason.low < reason.high
                else f"{reason.low:g}: {reason.why}",
                got=f"{value:g}",
            )
    return found


def _numbers(ds: Dataset, keyword: str) -> tuple[float, ...] | None:
    """Whatever numbers are there; None if there is something else."""
    try:
        value: Any = ds.get(keyword)
        if value is None or value == "":
            return ()
        parts = [value] if isinstance(value, str) or np.ndim(value) == 0 else list(value)
        return tuple(float(part) for part in parts)
    except Exception:  # pydicom's conversions raise types of every kind
        return None


def directions(ds: Dataset, file: Path) -> tuple[float, ...]:
    """The direction of the rows and of the columns: two unit vectors at a right angle.

    Raises
    ------
    DataError
        If they are absent or out of reason.
    """
    keyword = "ImageOrientationPatient"
    found = stated(ds, keyword, file)
    if not found:
        raise missing(file, keyword)
    across, down = np.reshape(found, (2, 3))
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    slant = float(across @ down)
    if max(abs(length - 1.0) for length in lengths) > _NO_UNIT_VECTOR or (
        abs(slant) > _NO_UNIT_VECTOR
    ):
        raise DataError(
            "value is not within reason",
            where=_place(file, keyword),
            expected="two directions of length 1 at a right angle",
            got=f"lengths {lengths[0]:.4g} and {lengths[1]:.4g}, "
            f"{math.degrees(math.acos(max(-1.0, min(1.0, slant)))):.4g}° apart",
        )
    return found
