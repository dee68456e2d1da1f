"""What in a folder of DICOM files is no image: one rule for images and for projections.

Archives, discs and operating systems put more than the images into a series' folder: directories
(DICOMDIR, Philips' DIRFILE), hidden files, thumbnails, notes; and DICOM objects that hold no slice:
reports, plans, presentation states, screen captures, localizers. The former are passed over in
silence, the latter are counted in a note.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import DataError

__all__ = ["RAW_DATA", "counted", "is_companion", "list_files", "no_slice"]

RAW_DATA = "raw data"
"""What `no_slice` calls the class that projections have, too."""

_NEVER = {
    "DICOMDIR", "DIRFILE", "THUMBS.DB", "EHTHUMBS.DB", "DESKTOP.INI", "AUTORUN.INF", "ICON\r",
    "LICENSE", "LICENCE", "README", "LOCKFILE", "VERSION",
}  # fmt: skip
_COMPANIONS = (
    ".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".htm", ".pdf", ".png", ".jpg",
    ".jpeg", ".bmp", ".gif", ".log", ".tcia", ".xlsx", ".xls", ".docx", ".doc", ".zip", ".gz",
    ".tar", ".exe", ".ini", ".inf", ".db", ".lnk", ".url", ".nii", ".nrrd", ".npy",
    ".npz", ".mat", ".md5", ".sha256",
)  # fmt: skip
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLASSES = (  # beginnings of SOP class UIDs below the storage classes; a full stop ends a number
    ("7.", "screen capture"),
    ("9.", "waveform"),
    ("11.", "presentation state"),
    ("66.", "registration or segmentation"),
    ("67.", "value mapping"),
    ("68.", "surface"),
    ("77.1.5.", "measurement"),
    ("78.", "measurement"),
    ("79.", "measurement"),
    ("80.", "measurement"),
    ("88.", "report"),
    ("90.", "report"),
    ("104.", "document"),
    ("200.", "protocol"),
    ("481.", "object of a radiotherapy plan"),
)
_DIRECTORY = "1.2.840.10008.1.3.10"
_IMAGE_TYPES = {
    "LOCALIZER": "localizer", "SCOUT": "localizer", "MIP": "projection through slices",
    "MINIP": "projection through slices",
}  # fmt: skip


def list_files(folder: Path) -> list[str]:
    """Files of a folder that may be DICOM, by their names; subfolders are not searched.

    Examples
    --------
    >>> import tempfile
    >>> from recon.dicom.folder import list_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("IM_0001", "DIRFILE", "._IM_0001", "Thumbs.db"):
    ...         Path(folder, name).touch()
    ...     [os.path.basename(file) for file in list_files(Path(folder))]
    ['IM_0001']
    """
    at = str(folder)
    try:
        with os.scandir(folder) as items:
            found = [
                item for item in items if item.name[0] != "." and item.name.upper() not in _NEVER
            ]
        files = []
        for item in found:
            at = item.path  # a link that leads back to itself is no file, and no folder either
            if item.is_file():
                files.append(item.path)
    except OSError as error:
        raise DataError("cannot be looked into", where=at, got=error.strerror) from None
    return sorted(files)


def is_companion(file: str | Path) -> bool:
    """Whether a file that turns out not to be DICOM need not be, by its name."""
    return os.path.splitext(file)[1].lower() in _COMPANIONS


def no_slice(sop_class: str, image_type: Sequence[str] = ()) -> str:
    """What a DICOM object is, in words, if it is no image in its own right; "" for an image.

    Parameters
    ----------
    sop_class : str
        SOP Class UID (0008,0016), or (0002,0002) of a directory.
    image_type : sequence of str
        Image Type (0008,0008).

    Examples
    --------
    >>> from recon.dicom.folder import no_slice
    >>> no_slice("1.2.840.10008.5.1.4.1.1.88.67"), no_slice("1.2.840.10008.5.1.4.1.1.2")
    ('report', '')
    >>> no_slice("1.2.840.10008.5.1.4.1.1.2", ["ORIGINAL", "PRIMARY", "LOCALIZER"])
    'localizer'
    """
    if sop_class == _DIRECTORY:
        return "directory"
    if sop_class and not sop_class.startswith(_STORAGE):
        return "object of a maker's own kind"
    below = sop_class.removeprefix(_STORAGE) + "."
    if below == "66.":
        return RAW_DATA
    for beginning, words in _CLASSES:
        if sop_class and below.startswith(beginning):
            return words
    for value in image_type:
        if (words := _IMAGE_TYPES.get(value.strip().upper(), "")) != "":
            return words
    return ""


def counted(kinds: Iterable[str]) -> str:
    """How many there are of each kind, for a note.

    Examples
    --------
    >>> from recon.dicom.folder import counted
    >>> counted(["localizer", "report", "localizer"])
    'localizer (2), report (1)'
    """
    return ", ".join(f"{words} ({n})" for words, n in sorted(Counter(kinds).items()))
