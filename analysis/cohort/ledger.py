"""The folder of a cohort: which cells are there, which failed, and what a kill has left.

OUT/cells/DIGEST/          a cell: the run folder of one study, published in one step
OUT/failed/DIGEST.json     what went wrong with one, until it is there
OUT/trained/               samplers of a user's own denoisers, for all cells
OUT/inputs.json            digests of what the manifest names
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from recon import DataError
from recon.storage import Held, holding, read_json, write_json

from .cells import Cell
from .work import Outcome

__all__ = ["Ledger", "turn"]

_HIDDEN = re.compile(r"\.(?P<digest>[0-9a-f]{16})(\.json)?\.(lock|partial-\d+)")
_RECORD = "run.json"


class Ledger:
    """What is in the folder of a cohort.

    Parameters
    ----------
    out : path
        That folder, there already or not.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.cells = out / "cells"
        self.failed = out / "failed"
        self.inputs = out / "inputs.json"

    def folder(self, digest: str) -> Path:
        """Where a cell is, or will be."""
        return self.cells / digest

    def present(self, cells: Iterable[Cell]) -> set[str]:
        """Digests of those cells that are there, whole."""
        wanted = {cell.digest for cell in cells}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.cells) as items:
            found = {item.name for item in items} & wanted
            return {name for name in found if os.path.exists(self.cells / name / _RECORD)}
        return set()

    def failures(self, cells: Iterable[Cell]) -> dict[str, str]:
        """What went wrong with cells, by their digests."""
        lines = {}
        for cell in cells:
            path = self.failed / f"{cell.digest}.json"
            if path.is_file():
                with contextlib.suppress(DataError):
                    lines[cell.digest] = str(read_json(path).get("error", ""))
        return lines

    def record(self, outcome: Outcome) -> None:
        """Keep what went wrong with a cell, or forget it once it is there."""
        path = self.failed / f"{outcome.digest}.json"
        if outcome.fine:
            path.unlink(missing_ok=True)
        else:
            write_json(path, {"cell": outcome.digest, "error": outcome.error})

    def prepare(self, cells: Iterable[Cell]) -> None:
        """Make the folder, and clear what killed processes have left of cells.

        What another process is still working on stays.

        Raises
        ------
        DataError
            If it cannot be made.
        """
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            self.failed.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(
                "output folder cannot be made or written", where=self.out, got=error.strerror,
                remedy="name another folder with --out",
            ) from None  # fmt: skip
        mine = {cell.digest for cell in cells}
        for folder in (self.cells, self.failed):
            for name in sorted(os.listdir(folder)):
                found = _HIDDEN.fullmatch(name)
                if found and found["digest"] in mine:
                    self._clear(found["digest"], folder / name)

    def _clear(self, digest: str, left: Path) -> None:
        with contextlib.suppress(Held), holding(self.cells / digest):
            if left.is_relative_to(self.failed):
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait until no other process is in a block of the same file, then be in it.

    The lock goes with the process, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
