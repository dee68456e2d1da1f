"""Stored pixels of a slice, decompressed; what cannot be is said in one message."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from ..errors import DataError

__all__ = ["stored_pixels", "syntax_of"]

_PACKAGES = "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def syntax_of(ds: Dataset, file: Path) -> UID:
    """Transfer syntax of a slice.

    Raises
    ------
    DataError
        If it is none that the standard has.
    """
    syntax = UID(str(ds.file_meta.get("TransferSyntaxUID", "")))
    with contextlib.suppress(ValueError):  # of a private UID nobody knows
        if syntax.is_transfer_syntax:
            return syntax
    raise DataError(
        "transfer syntax is not known",
        where=f"{file}, (0002,0010)",
        expected="one of the standard's",
        got=str(syntax)[:64] if syntax.is_valid else "no UID",
        remedy="convert the file to Explicit VR Little Endian",
    )


def stored_pixels(ds: Dataset, file: Path) -> np.ndarray:
    """Return the stored numbers (rows, cols) of a slice.

    Raises
    ------
    DataError
        If no package that is installed decodes them, or what is there is no image.
    """
    syntax = syntax_of(ds, file)
    if syntax.is_compressed:
        _require_decoder(syntax, file)
    try:
        return ds.pixel_array
    except Exception as error:  # decoders raise types of every kind
        way = f", compressed as {syntax.name}" if syntax.is_compressed else ""
        raise DataError(
            "DICOM file is truncated or cannot be decoded",
            where=f"{file}, PixelData (7FE0,0010)",
            got=f"{error}{way}",
            remedy="fetch the file again"
            + (", or decompress it, for instance with gdcmconv --raw" if way else ""),
        ) from error


def _require_decoder(syntax: UID, file: Path) -> None:
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        remedy = "decode with gdcmconv --raw or another converter"
    else:
        if available:
            return
        remedy = f"decode with pip install {_PACKAGES}"
    raise DataError(
        f"pixels are compressed as {syntax.name}",
        where=f"{file}, (0002,0010)",
        expected="a way that the packages here decode",
        got=str(syntax),
        remedy=remedy,
    )
