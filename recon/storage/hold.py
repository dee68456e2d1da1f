"""A run folder belongs to one process at a time, and what a killed one left of it is cleared.

The process that works for OUT holds a lock on `.OUT.lock` beside it, or on OUT itself where
nothing can be written beside. The operating system lets go of it however the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .leftovers import clear
from .places import place_beside, require_writable
from .unfinished import remove, unfinished

__all__ = ["Held", "holding", "published"]

_held: dict[Path, set[str]] = {}  # folder → names that were published while it was held


class Held(DataError):
    """A run folder that another process is writing to."""


@contextlib.contextmanager
def holding(out: str | Path) -> Iterator[Path]:
    """Keep a run folder to this process for the block, there already or not.

    What an earlier run that was killed has left of it is cleared first; one that was killed while
    it published its results is published to the end.

    Parameters
    ----------
    out : path
        The run folder.

    Yields
    ------
    Path
        The run folder.

    Raises
    ------
    Held
        If another process holds it.
    DataError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from recon.storage import holding
    >>> above = pathlib.Path(tempfile.mkdtemp())
    >>> with holding(above / "OUT"), holding(above / "OUT"):  # one process may do so twice
    ...     print([item.name for item in above.iterdir()])
    ['.OUT.lock']
    >>> list(above.iterdir())
    []
    """
    out = require_writable(out).resolve()
    if out in _held:
        yield out
        return
    with contextlib.ExitStack() as stack:
        _take(out, stack)
        _held[out] = set()
        stack.callback(_held.pop, out)
        clear(out)
        yield out


def published(out: Path) -> set[str]:
    """Names of what this process has published in a folder since it holds it; may be added to."""
    return _held[out]


def _take(out: Path, stack: contextlib.ExitStack) -> None:
    """Take the lock of a folder until the stack ends."""
    mine = _lock_file(place_beside(out))
    for above in out.parents:  # where a process locked that began before the folders between
        other = above / f".{'+'.join(out.relative_to(above).parts)}.lock"
        if other != mine and os.path.exists(other):
            with contextlib.suppress(OSError):
                handle = _locked(other, out)
                remove(other)  # of a process that was killed
                os.close(handle)
    try:
        handle = _locked(mine, out)
    except OSError as error:
        if not out.is_dir():
            raise DataError("output folder cannot be made", where=out, got=error.strerror) from None
        handle = os.open(out, os.O_RDONLY)
        stack.callback(os.close, handle)
        _lock(handle, out)
        return
    stack.callback(os.close, handle)
    stack.enter_context(unfinished(mine))  # goes while it is still locked


def _lock_file(hidden: Path) -> Path:
    return hidden.with_name(f"{hidden.name}.lock")


def _locked(path: Path, out: Path) -> int:
    """A handle of a lock file that is locked, and is still the file of that name."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle, out)
            if os.path.exists(path) and os.path.samestat(os.fstat(handle), os.stat(path)):
                os.truncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder removed it between the two steps


def _lock(handle: int, out: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(OSError):
            process = os.pread(handle, 20, 0).decode(errors="replace")
            raise Held(
                "another run is writing to this folder", where=out, got=f"process {process}",
                remedy="wait until it has ended, or name another folder with --out",
            ) from None  # fmt: skip
        raise Held("another run is writing to this folder", where=out) from None
    except OSError:
        pass  # a file system without locks
