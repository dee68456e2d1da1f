"""Files that are either whole or not there, and the record of a run.

Everything is written beside its final place, flushed to disk and renamed, so that a run which is
killed leaves the earlier file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import DataError

__all__ = [
    "digest_files",
    "read_json",
    "require_writable",
    "run_folder",
    "versions",
    "write_atomic",
    "write_csv",
    "write_json",
]

_PACKAGES = (
    "ctxai", "torch", "numpy", "scipy", "numba", "astra-toolbox", "pydicom", "zuko", "safetensors",
    "zarr",
)  # fmt: skip


def write_atomic(path: str | Path, content: bytes | str) -> Path:
    """Write ``content`` to ``path`` whole or not at all (write beside, fsync, rename)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with open(beside, "wb") as handle:
            handle.write(content.encode() if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON; paths and NumPy scalars become text and numbers."""

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
    """Write rows that share their keys as CSV, the keys of the first row being the header."""
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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def require_writable(out: str | Path) -> Path:
    """Refuse a run folder that cannot be made or written, before anything is computed for it.

    Parameters
    ----------
    out : path
        A folder, or one that is not there yet; nothing is left behind.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If ``out`` or what it would lie in is a file, or cannot be written.
    """
    out = Path(out).expanduser()
    try:
        place = next(path for path in (out, *out.absolute().parents) if path.exists())
        if place == out and not out.is_dir():
            raise DataError("output is a file", where=out, remedy="name a folder with --out")
        os.rmdir(tempfile.mkdtemp(prefix=".partial-", dir=place))
    except OSError as error:
        raise DataError(
            "output folder cannot be made or written",
            where=out,
            got=error.strerror,
            remedy="name another folder with --out",
        ) from None
    return out


@contextlib.contextmanager
def run_folder(out: str | Path) -> Iterator[Path]:
    """Build the results of a run in a hidden folder and move them to ``out`` at the end.

    That folder lies in ``out`` where it exists, which may be a mount of its own, else beside it.

    Yields the folder to write into. If the block raises, that folder is removed and ``out`` is as
    it was before (not there, if it was not there); if it ends well, each item is moved into ``out``
    and replaces an earlier item of the same name, and nothing else in ``out`` is touched.

    Raises
    ------
    DataError
        If ``out`` is a file, or its parent cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from recon.storage import run_folder, write_json
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "OUT"
    >>> with run_folder(out) as folder:
    ...     _ = write_json(folder / "run.json", {"seed": 1})
    >>> [item.name for item in out.iterdir()]
    ['run.json']
    """
    out = require_writable(out).resolve()
    beside = (out if out.is_dir() else out.parent) / f".{out.name}.partial-{os.getpid()}"
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        raise DataError("output folder cannot be made", where=out, got=error.strerror) from None
    try:
        yield beside
        out.mkdir(exist_ok=True)
        for item in sorted(beside.iterdir()):
            target = out / item.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            elif item.is_dir():
                target.unlink(missing_ok=True)
            os.replace(item, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
