"""Where the elements of a DICOM file lie: a header in one read, pixels left where they are.

A projection series is tens of thousands of small files, of which a few dozen elements each matter.
This walks one header in memory, keeps the values that are asked for as the bytes they are, and says
at which offset the pixels begin. No length in a file is believed beyond the file's own size.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError

__all__ = [
    "DEFLATED",
    "HU_RANGE",
    "MEDIA_CLASS",
    "NATIVE_SYNTAXES",
    "PIXEL_DATA",
    "RawHeader",
    "read_header",
    "require_native",
    "tag_name",
    "transfer_syntax",
]

NATIVE_SYNTAXES = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
}
"""Transfer syntaxes that are read: uncompressed, little endian."""

DEFLATED = "1.2.840.10008.1.2.1.99"
PIXEL_DATA = 0x7FE00010
MEDIA_CLASS = 0x00020002

HU_RANGE = (-32768, 32767)
"""CT numbers that a file can hold (int16, slope 1, intercept 0); others are clipped to it."""

_REFUSED = {
    DEFLATED: "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
}
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_FIRST_READ = 16 * 1024
_LARGEST_HEADER = 4 * 1024 * 1024
_DEEPEST = 16
_TAG_AND_LENGTH = struct.Struct("<HHI").unpack_from
_EXPLICIT = struct.Struct("<HH2sH").unpack_from
_LENGTH = struct.Struct("<I").unpack_from


@dataclass(slots=True)
class RawHeader:
    """The elements of one file that were asked for."""

    path: str
    values: dict[int, bytes]  # tag → the value's bytes
    vrs: dict[int, str]  # tag → its VR; without an entry the file does not say (implicit VR)
    pixels: tuple[int, int]  # offset and length of the pixel data [bytes]; (0, 0): none
    syntax: str = ""  # UID of the transfer syntax; "" where it is not stated
    encapsulated: bool = False  # whether the pixels are in fragments, compressed as a rule


class _Short(Exception):
    """The bytes at hand end before the element does."""


def tag_name(tag: int) -> str:
    """Write a tag as the standard does.

    Examples
    --------
    >>> tag_name(0x00180060)
    '(0018,0060)'
    """
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read_header(path: str | Path, wanted: Container[int]) -> RawHeader | None:
    """Read the elements of a file up to its pixels.

    Parameters
    ----------
    path : str or Path
        The file.
    wanted : container of int
        Tags to keep, as ``group << 16 | element``; private creators (gggg,0010-00FF) always are.

    Returns
    -------
    RawHeader or None
        None if the file is not DICOM at all (no ``DICM`` at byte 128). Of a file that is deflated,
        big endian or states no transfer syntax only the class (0002,0002) is known; what is needed
        to read pixels as they lie, `require_native` tells.

    Raises
    ------
    DataError
        If the file ends before its elements do.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> header = read_header(get_testdata_file("CT_small.dcm"), {0x00180060})
    >>> header.values[0x00180060], header.pixels
    (b'120 ', (6300, 32768))
    """
    path = os.fspath(path)
    try:
        with open(path, "rb", buffering=0) as handle:
            size = os.fstat(handle.fileno()).st_size
            data = handle.read(_FIRST_READ)
            while True:
                if data[128:132] != b"DICM":
                    return None
                with contextlib.suppress(_Short):
                    return _walk(path, data, size, wanted)
                if len(data) >= min(size, _LARGEST_HEADER):
                    break
                more = handle.read(3 * len(data))
                if not more:
                    break
                data += more
    except OSError as error:
        raise DataError("file cannot be read", where=path, got=error.strerror) from None
    with contextlib.suppress(_Short):
        if (known := _class_alone(path, data)).syntax not in NATIVE_SYNTAXES:
            return known
    if size <= _LARGEST_HEADER:
        raise DataError(
            "DICOM file is truncated or its lengths are wrong",
            where=path,
            expected="elements up to the pixel data",
            got=f"{size} bytes",
            remedy="fetch the file again",
        )
    raise DataError(
        "no pixel data within a header of plausible length",
        where=path,
        expected=f"at most {_LARGEST_HEADER} bytes before (7FE0,0010)",
    )


def transfer_syntax(data: bytes) -> tuple[str, int]:
    """UID of the transfer syntax, and where the data set begins, of the first bytes of a file.

    ("", 0) where they do not say.
    """
    if data[128:132] == b"DICM":
        with contextlib.suppress(_Short):
            return _meta(data, {})
    return "", 0


def _class_alone(path: str, data: bytes) -> RawHeader:
    """What is known of a file whose elements are not read."""
    values: dict[int, bytes] = {}
    syntax, _ = _meta(data, values)
    return RawHeader(path, values, {}, (0, 0), syntax)


def _walk(path: str, data: bytes, size: int, wanted: Container[int]) -> RawHeader:
    known = _class_alone(path, data)
    if known.syntax in NATIVE_SYNTAXES:
        return _elements(path, data, size, wanted)
    if known.syntax in _REFUSED or not known.syntax:
        return known
    try:  # compressed files are in explicit VR
        return _elements(path, data, size, wanted)
    except DataError:
        return known


def _elements(path: str, data: bytes, size: int, wanted: Container[int]) -> RawHeader:
    values: dict[int, bytes] = {}
    vrs: dict[int, str] = {}
    syntax, position = _meta(data, values)
    explicit = syntax != "1.2.840.10008.1.2"
    while position < size:
        if explicit:
            tag, vr, start, length = _element(data, position, True)
        else:  # as `_element` does it, without a call for each of the millions in a series
            start = position + 8
            if start > len(data):
                raise _Short
            group, number, length = _TAG_AND_LENGTH(data, position)
            tag, vr = group << 16 | number, ""
        if tag == PIXEL_DATA:
            if length == _UNDEFINED:
                return RawHeader(path, values, vrs, (start, 0), syntax, True)
            if start + length > size:
                raise _truncated(path, tag, length, size - start)
            return RawHeader(path, values, vrs, (start, length), syntax)
        if length == _UNDEFINED:
            if vr not in ("SQ", "UN", ""):
                raise DataError(
                    "element of undefined length",
                    where=f"{path}, {tag_name(tag)}",
                    expected="a sequence",
                    got=f"VR {vr}",
                )
            # a sequence of unknown VR is written in implicit VR
            position = _after_sequence(path, data, start, explicit and vr == "SQ", 1)
            if tag in wanted:
                values[tag] = b"\0"  # that it is there
            continue
        position = start + length
        if position > size:
            raise _truncated(path, tag, length, size - start)
        creator = tag & 0x00010000 and 0x10 <= tag & 0xFFFF <= 0xFF
        if tag in wanted or creator:
            if position > len(data):
                raise _Short
            values[tag] = data[start:position]
            if vr:
                vrs[tag] = vr
    return RawHeader(path, values, vrs, (0, 0), syntax)


def require_native(header: RawHeader) -> None:
    """Refuse a file whose pixels do not lie in it as they are: compressed, deflated, big endian.

    Said before anything is decompressed.
    """
    syntax = header.syntax
    if syntax not in NATIVE_SYNTAXES:
        raise DataError(
            "transfer syntax is not read" if syntax else "transfer syntax is missing",
            where=f"{header.path}, (0002,0010)",
            expected=" or ".join(NATIVE_SYNTAXES.values()),
            got=_REFUSED.get(syntax, syntax[:64]) or "nothing",
            remedy="decompress the series, for instance with gdcmconv --raw",
        )
    if header.encapsulated:
        raise DataError(
            "pixel data are encapsulated",
            where=f"{header.path}, {tag_name(PIXEL_DATA)}",
            expected="uncompressed pixels",
            remedy="decompress the series, for instance with gdcmconv --raw",
        )


def _truncated(path: str, tag: int, length: int, left: int) -> DataError:
    return DataError(
        "DICOM file is truncated or its lengths are wrong",
        where=f"{path}, {tag_name(tag)}",
        expected=f"a value of {length} bytes",
        got=f"{max(left, 0)} bytes to the file's end",
        remedy="fetch the file again",
    )


def _meta(data: bytes, values: dict[int, bytes]) -> tuple[str, int]:
    """Transfer syntax, and where the data set begins: behind the elements of group 0002.

    The class of what the file holds (0002,0002) is kept: a directory states it nowhere else.
    """
    syntax, position = "", 132
    while True:
        if position + 8 > len(data):
            raise _Short
        if data[position : position + 2] != b"\x02\x00":
            break
        tag, _, start, length = _element(data, position, True)
        position = start + length
        if position > len(data):
            raise _Short
        if tag == MEDIA_CLASS:
            values[tag] = data[start:position]
        elif tag == 0x00020010:
            syntax = data[start:position].rstrip(b"\0 ").decode("ascii", "replace")
    return syntax, position


def _element(data: bytes, position: int, explicit: bool) -> tuple[int, str, int, int]:
    """Tag, VR ("" where it is not stated), offset and length of the value."""
    if position + 8 > len(data):
        raise _Short
    if not explicit:
        group, element, length = _TAG_AND_LENGTH(data, position)
        return group << 16 | element, "", position + 8, length
    group, element, vr, length = _EXPLICIT(data, position)
    if group == 0xFFFE:  # items have no VR
        return group << 16 | element, "", position + 8, _LENGTH(data, position + 4)[0]
    if vr in _LONG_VRS:
        if position + 12 > len(data):
            raise _Short
        (length,) = _LENGTH(data, position + 8)
        return group << 16 | element, vr.decode(), position + 12, length
    return group << 16 | element, vr.decode("ascii", "replace"), position + 8, length


def _after_sequence(path: str, data: bytes, position: int, explicit: bool, depth: int) -> int:
    """Offset behind a sequence of undefined length that begins at ``position``."""
    if depth > _DEEPEST:
        raise DataError("sequences are nested too deeply", where=path, expected=f"≤ {_DEEPEST}")
    while True:
        tag, _, position, length = _element(data, position, explicit)
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise DataError("broken sequence", where=path, expected="an item", got=tag_name(tag))
        if length != _UNDEFINED:
            position += length
            continue
        while True:
            tag, vr, position, length = _element(data, position, explicit)
            if tag == _ITEM_END:
                break
            if length == _UNDEFINED:
                deeper = explicit and vr == "SQ"
                position = _after_sequence(path, data, position, deeper, depth + 1)
            else:
                position += length
