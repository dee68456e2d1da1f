"""One cell is carried out: on one thread, without a word, its failure told in one line.

What a process is handed is a plain dictionary of paths and options, the same on every engine; no
array travels. What it hands back is whether the cell is there now.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recon import BackendUnavailable, DataError
from recon.storage import Held, holding

from .cells import Cell

__all__ = ["FULL", "Outcome", "Task", "Work", "alone", "carry_out", "one_line", "task_of"]

Task = dict[str, Any]
"""A cell as it travels: digest, folder, study, input, place, options, seed."""

Work = Callable[[Task], "Outcome"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the file system after which no other cell can be written either."""

_RECORD = "run.json"
_PAUSE = 0.5  # s
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """What has become of a cell: it is there, or what went wrong, in one line."""

    digest: str
    error: str = ""
    fatal: bool = False  # nothing more can be written
    computed: bool = True  # rather than found there

    @property
    def fine(self) -> bool:
        """Whether the cell is there."""
        return not self.error


def task_of(cell: Cell, folder: Path) -> Task:
    """A cell as it is handed to a process, and the folder that it is to become."""
    fields = asdict(cell)
    names = ("digest", "study", "input", "place", "options", "seed")
    return {"folder": str(folder), **{name: fields[name] for name in names}}


def carry_out(task: Task, compute: Callable[[Task, Path], None]) -> Outcome:
    """Compute a cell, unless it is there.

    Parameters
    ----------
    task : dict
    compute : callable
        ``compute(task, folder)`` computes a cell and publishes it as a run folder.

    Returns
    -------
    Outcome
        Of whatever happens; only what ends a process is not caught.
    """
    digest, folder = str(task["digest"]), Path(task["folder"])
    if (folder / _RECORD).is_file():
        return Outcome(digest, computed=False)
    try:
        with _once_free(folder):
            if (folder / _RECORD).is_file():  # published by another, or to the end by this one
                return Outcome(digest, computed=False)
            with alone(), _quiet():
                compute(task, folder)
    except (DataError, BackendUnavailable) as error:
        return Outcome(digest, one_line(error))
    except OSError as error:
        return Outcome(digest, one_line(error), fatal=error.errno in FULL)
    except Exception as error:
        return Outcome(digest, f"{type(error).__name__}: {one_line(error)}")
    return Outcome(digest)


def one_line(error: BaseException) -> str:
    """What an error says, as one line that is not empty.

    Examples
    --------
    >>> from analysis.cohort.work import one_line
    >>> one_line(ValueError("two\\nlines"))
    'two lines'
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One thread for all that the block computes, so that its bits depend on no machine's cores."""
    import torch

    before, set_before = torch.get_num_threads(), {n: os.environ.get(n) for n in _THREADS}
    torch.set_num_threads(1)
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        for name, value in set_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _once_free(folder: Path) -> Iterator[None]:
    """Hold a folder, after whoever else computes the same cell has ended."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(holding(folder))
                break
            except Held:
                time.sleep(_PAUSE)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Verdicts, notes and bars of a cell are in its own folder."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
