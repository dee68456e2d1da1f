"""What must not stay behind if the program is told to stop, and steps that must not be parted.

A signal comes between any two steps of the program. Whoever handles it removes what is unfinished
at that moment, but not within a step that is only right as a whole, such as publishing a run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["between_steps", "remove", "remove_unfinished", "undivided", "unfinished"]

_TRIES, _PAUSE = 50, 0.02  # s; other threads may still be writing into a folder

_paths: dict[Path, None] = {}
_depth = 0
_waiting: Callable[[], None] | None = None


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; whatever cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A file or folder that is gone after the block, however that ends."""
    _paths[path] = None
    try:
        yield path
    finally:
        remove(path)
        _paths.pop(path, None)


def remove_unfinished() -> None:
    """Remove all that is unfinished now, the last thing that a stopped program does."""
    for _ in range(_TRIES):
        for path in list(_paths):
            remove(path)
        if not any(os.path.lexists(path) for path in list(_paths)):
            return
        time.sleep(_PAUSE)


@contextlib.contextmanager
def undivided() -> Iterator[None]:
    """A step that `between_steps` waits for."""
    global _depth, _waiting
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0 and _waiting is not None:
            act, _waiting = _waiting, None
            act()


def between_steps(act: Callable[[], None]) -> None:
    """Call ``act`` now, or as soon as the undivided step that is being done has ended."""
    global _waiting
    if _depth:
        _waiting = act
    else:
        act()
