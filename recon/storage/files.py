"""Files that are either whole or not there.

Everything is written beside its final place, flushed to disk and renamed, so that a run which is
killed leaves the earlier file or the new one, never half of one.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .unfinished import unfinished

__all__ = [
    "digest_files",
    "digest_tree",
    "read_json",
    "write_atomic",
    "write_csv",
    "write_json",
]


def write_atomic(path: str | Path, content: bytes | str) -> Path:
    """Write ``content`` to ``path`` whole or not at all (write beside, fsync, rename).

    Parameters
    ----------
    path : path
        File to write.
    content : bytes or str
        Text is written as UTF-8.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with unfinished(beside):
        with open(beside, "wb") as handle:
            handle.write(content.encode() if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON; paths and NumPy scalars become text and numbers.

    Parameters
    ----------
    path : path
        File to write.
    value : anything that JSON can hold
        Numbers have to be finite.

    Returns
    -------
    Path
        The file.
    """

    def plain(item: Any) -> Any:
        return item.item() if hasattr(item, "item") else str(item)

    return write_atomic(path, json.dumps(value, indent=2, default=plain) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a file that is missing or broken is a `DataError` that names it."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise DataError("file not found", where=path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError("not a JSON file", where=path, got=error) from None


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows that share their keys as CSV, the keys of the first row being the header.

    Parameters
    ----------
    path : path
        File to write.
    rows : sequence of mapping
        Column → value.

    Returns
    -------
    Path
        The file.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_atomic(path, text.getvalue())


def digest_files(paths: Sequence[str | Path]) -> dict[str, str]:
    """SHA-256 of each file, by file name: the inputs that a run used."""
    digests = {}
    for path in dict.fromkeys(map(Path, paths)):  # a volume file holds many slices
        with open(path, "rb") as handle:
            digests[path.name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return digests


def digest_tree(path: str | Path) -> str:
    """SHA-256 (hex) of a file, or of the names and contents of all files below a folder.

    Hidden files are left out: they are those of file managers.
    """
    path = Path(path)
    if path.is_file():
        return digest_files([path])[path.name]
    whole = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        name = file.relative_to(path).as_posix()
        if not any(part.startswith(".") for part in name.split("/")):
            whole.update(f"{name}\0{digest_files([file])[file.name]}\n".encode())
    return whole.hexdigest()
