"""Digests of what a manifest names, remembered as long as size and time of the files stay.

A series of a patient has hundreds of files and a projection scan tens of thousands: they are read
once, and looked at whenever the cohort is taken up again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recon import DataError
from recon.storage import read_json, require_there, write_json

__all__ = ["Inputs"]

_THREADS = 4


class Inputs:
    """What is known of input files, kept in a file beside the cells.

    Parameters
    ----------
    path : path, optional
        That file; without one everything is found again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._now: dict[str, str] = {}
        self._changed = False
        if path is not None and path.exists():
            with contextlib.suppress(DataError):  # it is found again
                known = read_json(path)
                self._known = known if isinstance(known, dict) else {}

    def digest(self, path: str | Path) -> str:
        """SHA-256 (hex) of a file, or of the names and contents of all files below a folder.

        Raises
        ------
        DataError
            If it is not there or cannot be read.
        """
        name = str(require_there(path))
        if name not in self._now:
            self._now[name] = self._found(Path(name))
        return self._now[name]

    def kept(self, key: str, find: Callable[[], Any]) -> Any:
        """What follows from an input by its digest; ``find`` finds it if it is not known."""
        entry = self._known.setdefault("kept", {})
        if key not in entry:
            entry[key] = find()
            self._changed = True
        return entry[key]

    def save(self) -> None:
        """Write what is known, if that is more than before."""
        if self._changed and self._path is not None:
            write_json(self._path, self._known)
            self._changed = False

    def _found(self, path: Path) -> str:
        try:
            files = sorted(_files(path))
            stamp = hashlib.sha256(repr(files).encode()).hexdigest()
            entry = self._known.setdefault("digests", {})
            known = entry.get(str(path), {})
            if known.get("stamp") != stamp:
                known = {"stamp": stamp, "sha256": _contents(path, [name for name, *_ in files])}
                entry[str(path)] = known
                self._changed = True
        except OSError as error:
            raise DataError("input cannot be read", where=path, got=error.strerror) from None
        return known["sha256"]


def _files(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of a file, or of all below a folder; hidden ones are left out."""
    if path.is_file():
        info = path.stat()
        yield "", info.st_size, info.st_mtime_ns
        return
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(path / below) as items:
            for item in items:
                name = os.path.join(below, item.name)
                if item.name.startswith("."):
                    continue
                if item.is_dir():
                    folders.append(name)
                else:
                    info = item.stat()
                    yield name, info.st_size, info.st_mtime_ns


def _contents(path: Path, names: list[str]) -> str:
    """SHA-256 of the names and of the SHA-256 of each file."""

    def one(name: str) -> str:
        with open(path / name if name else path, "rb") as handle:
            return f"{name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n"

    whole = hashlib.sha256()
    with ThreadPoolExecutor(_THREADS) as pool:
        bar = tqdm(pool.map(one, names), f"digest of {path.name}", len(names), leave=False)
        for line in bar:
            whole.update(line.encode())
    return whole.hexdigest()
