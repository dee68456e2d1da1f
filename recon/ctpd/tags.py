"""The elements of DICOM-CT-PD that the toolbox uses, and what their bytes mean.

Two dialects exist: version 3 (2020), and the files of the 2016 dictionary, which swap the axial and
the angular shift of the source and keep the attenuation of water in 1/cm. They are told apart by
the private creator. Private values come as ``UN`` or without a VR as often as decoded, and standard
ones with a VR that is not their own; a number is taken from any of these, and anything that is no
finite number within reason is refused with its tag.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..dicom.elements import MEDIA_CLASS, RawHeader, tag_name
from ..dicom.folder import RAW_DATA, no_slice
from ..errors import DataError

__all__ = [
    "CREATORS",
    "FIELDS",
    "OLD",
    "PRIVATE_GROUPS",
    "V3",
    "WANTED",
    "Field",
    "View",
    "dialect",
    "no_view",
]

T = TypeVar("T")

V3 = "v3"
OLD = "2016"
CREATORS = {"CtProjectionData-MayoClinc-v1": V3, "CT IMG ACQUISITION": OLD}
"""Private creator → dialect."""

PRIVATE_GROUPS = (0x7029, 0x7031, 0x7033, 0x7037, 0x7039, 0x7041)


@dataclass(frozen=True)
class Field:
    """One element: tag, name, VR, number of values, and what is within reason.

    ``kind`` is "text", "whole" or "real"; ``low`` and ``high`` bound numbers, ends included;
    ``count`` is None where any number of values may come.
    """

    tag: int
    name: str
    vr: str
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    count: int | None = 1

    @property
    def kind(self) -> str:
        """What the values are."""
        return {"US": "whole", "IS": "real", "FL": "real", "FD": "real", "DS": "real"}.get(
            self.vr, "text"
        )

    def __str__(self) -> str:
        return f"{self.name} {tag_name(self.tag)}"


FIELDS: dict[str, Field] = {
    "sop_instance": Field(0x00080018, "SOPInstanceUID", "UI"),
    "manufacturer": Field(0x00080070, "Manufacturer", "LO"),
    "patient": Field(0x00100020, "PatientID", "LO"),
    "kvp": Field(0x00180060, "KVP", "DS", 20, 300, "kV"),
    "old_mu_water": Field(0x00180061, "water attenuation", "DS", 0.05, 1.0, "1/cm"),
    "fov": Field(0x00180090, "DataCollectionDiameter", "DS", 1, 2000, "mm"),
    "rotation_time": Field(0x00181150, "ExposureTime", "IS", 10, 60000, "ms"),
    "current": Field(0x00181151, "XRayTubeCurrent", "IS", 0.1, 5000, "mA"),
    "exposure": Field(0x00181152, "Exposure", "IS", 0.01, 100000, "mAs"),
    "exposure_uas": Field(0x00181153, "ExposureInuAs", "IS", 10, 1e8, "µAs"),
    "patient_position": Field(0x00185100, "PatientPosition", "CS"),
    "rotation_time_us": Field(0x00188150, "ExposureTimeInuS", "DS", 1e4, 6e7, "µs"),
    "current_ua": Field(0x00188151, "XRayTubeCurrentInuA", "DS", 100, 5e6, "µA"),
    "pitch": Field(0x00189311, "SpiralPitchFactor", "FD", 0, 100),
    "ctdi_vol": Field(0x00189345, "CTDIvol", "FD", 0, 10000, "mGy"),
    "study": Field(0x0020000D, "StudyInstanceUID", "UI"),
    "series": Field(0x0020000E, "SeriesInstanceUID", "UI"),
    "instance": Field(0x00200013, "InstanceNumber", "IS", -1e9, 1e10),
    "samples": Field(0x00280002, "SamplesPerPixel", "US"),
    "frames": Field(0x00280008, "NumberOfFrames", "IS"),
    "rows": Field(0x00280010, "Rows", "US", 1, 65535),
    "columns": Field(0x00280011, "Columns", "US", 1, 65535),
    "bits_allocated": Field(0x00280100, "BitsAllocated", "US"),
    "bits_stored": Field(0x00280101, "BitsStored", "US"),
    "high_bit": Field(0x00280102, "HighBit", "US"),
    "signed": Field(0x00280103, "PixelRepresentation", "US"),
    "intercept": Field(0x00281052, "RescaleIntercept", "DS", -10, 10),
    "slope": Field(0x00281053, "RescaleSlope", "DS", 1e-9, 0.01),
    "frame_groups": Field(0x52009230, "PerFrameFunctionalGroupsSequence", "SQ"),
    "col_pitch": Field(0x70291002, "DetectorElementTransverseSpacing", "FL", 0.01, 500, "mm"),
    "row_pitch": Field(0x70291006, "DetectorElementAxialSpacing", "FL", 0.01, 500, "mm"),
    "shape": Field(0x7029100B, "DetectorShape", "CS"),
    "n_rows": Field(0x70291010, "NumberofDetectorRows", "US", 1, 4096),
    "n_cols": Field(0x70291011, "NumberofDetectorColumns", "US", 2, 16384),
    "angle": Field(0x70311001, "DetectorFocalCenterAngularPosition", "FL", -1e4, 1e4, "rad"),
    "z": Field(0x70311002, "DetectorFocalCenterAxialPosition", "FL", -1e5, 1e5, "mm"),
    "src_iso": Field(0x70311003, "DetectorFocalCenterRadialDistance", "FL", 50, 5000, "mm"),
    "src_det": Field(0x70311031, "ConstantRadialDistance", "FL", 50, 10000, "mm"),
    "central": Field(0x70311033, "DetectorCentralElement", "FL", -1e4, 2e4, "(column, row)", 2),
    "shift_angle": Field(0x7033100B, "SourceAngularPositionShift", "FL", -0.2, 0.2, "rad"),
    "shift_z": Field(0x7033100C, "SourceAxialPositionShift", "FL", -30, 30, "mm"),
    "shift_radius": Field(0x7033100D, "SourceRadialDistanceShift", "FL", -60, 60, "mm"),
    "focal_spot": Field(0x7033100E, "FlyingFocalSpotMode", "CS"),
    "views_per_rotation": Field(0x70331013, "NumberofSourceAngularSteps", "US", 4, 65534),
    "spectra": Field(0x70331061, "NumberofSpectra", "US"),
    "spectrum": Field(0x70331063, "SpectrumIndex", "US"),
    "photons": Field(0x70331065, "PhotonStatistics", "FL", 1e-3, 1e11, "quanta", None),
    "timestamp": Field(0x70331067, "TimeStamp", "FL", -1e12, 1e12, "ms"),
    "scan_type": Field(0x70371009, "TypeofProjectionData", "CS"),
    "beam": Field(0x7037100A, "TypeofProjectionGeometry", "CS"),
    "beam_hardening": Field(0x70391003, "BeamHardeningCorrectionFlag", "CS"),
    "gain": Field(0x70391004, "GainCorrectionFlag", "CS"),
    "dark_field": Field(0x70391005, "DarkFieldCorrectionFlag", "CS"),
    "flat_field": Field(0x70391006, "FlatFieldCorrectionFlag", "CS"),
    "bad_pixel": Field(0x70391007, "BadPixelCorrectionFlag", "CS"),
    "scatter": Field(0x70391008, "ScatterCorrectionFlag", "CS"),
    "log": Field(0x70391009, "LogFlag", "CS"),
    "mu_water": Field(0x70411001, "WaterAttenuationCoefficient", "DS", 0.005, 0.1, "1/mm"),
}
"""Elements by the toolbox's name for them, as version 3 has them."""

_FIELDS = {
    V3: FIELDS,
    OLD: {  # swaps the two shifts
        **FIELDS,
        "shift_angle": replace(FIELDS["shift_angle"], tag=FIELDS["shift_z"].tag),
        "shift_z": replace(FIELDS["shift_z"], tag=FIELDS["shift_angle"].tag),
    },
}
_BLOCKS = range(0x10, 0x20)


def _in_block(tag: int, block: int) -> int:
    """Where a private element is if its creator reserved another block than the first."""
    return (tag & ~0xFF00) | block << 8 if tag >> 16 in PRIVATE_GROUPS else tag


_TAGS = {
    (version, block): {name: _in_block(field.tag, block) for name, field in fields.items()}
    for version, fields in _FIELDS.items()
    for block in _BLOCKS
}

IMAGE_TYPE, SOP_CLASS = 0x00080008, 0x00080016

WANTED = frozenset(
    {IMAGE_TYPE, SOP_CLASS, *(tag for tags in _TAGS.values() for tag in tags.values())}
)
"""Tags to keep when a header is read."""

_BINARY = {
    "FL": ("<f", 4), "FD": ("<d", 8), "US": ("<H", 2), "SS": ("<h", 2), "UL": ("<I", 4),
    "SL": ("<i", 4), "UV": ("<Q", 8), "SV": ("<q", 8), "OF": ("<f", 4), "OD": ("<d", 8),
}  # fmt: skip


def no_view(header: RawHeader) -> str:
    """What a DICOM object is, in words, if it is neither a view nor an image; else ""."""

    def text(tag: int) -> str:
        return header.values.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace").strip()

    kind = no_slice(text(SOP_CLASS) or text(MEDIA_CLASS), text(IMAGE_TYPE).split("\\"))
    if kind in ("", RAW_DATA):  # a broken view is no foreign object
        return ""
    try:
        dialect(header)
    except DataError:
        return kind
    return ""


def dialect(header: RawHeader) -> tuple[str, int]:
    """Tell a file's dialect and private block by the creator, or refuse it as another kind."""
    found = []
    for group in PRIVATE_GROUPS:
        for block in _BLOCKS:
            creator = header.values.get(group << 16 | block)
            if creator is not None:
                name = creator.rstrip(b"\0 ").decode("ascii", "replace").strip()
                if name in CREATORS:
                    return CREATORS[name], block
                found.append(name[:64])
    raise DataError(
        "not a DICOM-CT-PD view",
        where=f"{header.path}, {tag_name(PRIVATE_GROUPS[0] << 16 | 0x10)}",
        expected=f"private creator {' or '.join(CREATORS)}",
        got=repr(found[0]) if found else "none",
        remedy="name the folder of one projection series",
    )


class View:
    """One view's header, as `read_header` gives it, read by name."""

    __slots__ = ("block", "dialect", "header")

    def __init__(self, header: RawHeader) -> None:
        self.header = header
        self.dialect, self.block = dialect(header)

    @property
    def path(self) -> str:
        """The file."""
        return self.header.path

    def field(self, name: str) -> Field:
        """The element under a name, in this file's dialect."""
        return _FIELDS[self.dialect][name]

    def tag(self, name: str) -> int:
        """Where the file has the element: private blocks differ."""
        return _TAGS[self.dialect, self.block][name]

    def raw(self, name: str) -> bytes | None:
        """The value's bytes; None where the element is absent or empty."""
        return self.header.values.get(_TAGS[self.dialect, self.block][name]) or None

    def refusal(
        self, name: str, what: str, expected: object, got: object, remedy: str = ""
    ) -> DataError:
        """A `DataError` that names file and tag."""
        return DataError(
            what,
            where=f"{self.path}, {self.field(name)}",
            expected=expected,
            got=got,
            remedy=remedy or None,
        )

    def text(self, name: str, *, optional: bool = False) -> str:
        """The value as text; "" for an optional one that is absent."""
        raw = self.raw(name)
        text = "" if raw is None else raw.rstrip(b"\0 ").decode("ascii", "replace").strip()
        if not text and not optional:
            raise self._missing(name)
        return text

    def number(self, name: str) -> float:
        """The value as one number; absent or out of reason: `DataError`."""
        return self.numbers(name)[0]

    def number_or(self, name: str, default: T) -> float | T:
        """The value as one number, or a default where it is absent."""
        return default if self.raw(name) is None else self.number(name)

    def numbers(self, name: str) -> tuple[float, ...]:
        """All values as numbers, checked for count and reason."""
        raw, field = self.raw(name), self.field(name)
        if raw is None:
            raise self._missing(name)
        vr = self.header.vrs.get(self.tag(name), "UN")
        found = _decode(raw, field.vr if vr == "UN" else vr)
        if found is None:
            stated = f"{len(raw)} bytes {raw[:16]!r}" + ("" if vr == "UN" else f" of VR {vr}")
            raise self.refusal(name, "value is not a number", f"VR {field.vr}", stated)
        if field.count is not None and len(found) != field.count:
            raise self.refusal(name, "wrong number of values", field.count, len(found))
        for value in found:
            self._check_range(name, value, value)
            if field.kind == "whole" and value != int(value):
                raise self.refusal(name, "not a whole number", f"VR {field.vr}", value)
        return found

    def array(self, name: str) -> np.ndarray:
        """Many values as float32, each a positive number within reason."""
        raw = self.raw(name)
        if raw is None or self.header.vrs.get(self.tag(name), "UN") not in ("FL", "UN"):
            return np.array(self.numbers(name), dtype=np.float32)
        if len(raw) % 4:
            raise self.refusal(name, "value is not a number", "VR FL", f"{len(raw)} bytes")
        values = np.frombuffer(raw, dtype="<f4")
        self._check_range(name, values.min(), values.max())
        return values

    def _check_range(self, name: str, least: float, most: float) -> None:
        field = self.field(name)
        if not (field.low <= least and most <= field.high):  # also refuses NaN
            reason = f"{field.low:g} to {field.high:g} {field.unit}".rstrip()
            got = f"{least:g}" if least == most else f"{least:g} to {most:g}"
            raise self.refusal(name, "value is not within reason", reason, got)

    def _missing(self, name: str) -> DataError:
        field = self.field(name)
        unit = f" [{field.unit}]" if field.unit else ""
        return self.refusal(
            name, "element is missing", f"a value{unit}", "nothing", "fetch the series again"
        )


def _decode(raw: bytes, vr: str) -> tuple[float, ...] | None:
    """Numbers in ``raw``; None if it holds none."""
    if vr in ("DS", "IS"):
        text = raw.rstrip(b"\0 ")
        if text.isascii() and text.decode("ascii").isprintable():
            try:
                return tuple(float(part) for part in text.decode("ascii").split("\\"))
            except ValueError:
                return None
        # decimal strings that were written as binary floats
        vr = {4: "FL", 8: "FD"}.get(len(raw), vr)
    if vr == "FD" and len(raw) == 4:
        vr = "FL"
    code, size = _BINARY.get(vr, ("", 0))
    if not size or len(raw) % size:
        return None
    count = len(raw) // size
    return struct.unpack(f"<{count}{code[1]}", raw)
