"""The hidden folder in which a run is built, how it is published, and what a killed run leaves.

.OUT.partial-PID/.run      it is ours, and still being built
.OUT.partial-PID/.whole    all is there: whoever holds OUT next publishes it to the end
.OUT.partial-PID/.stale    names of what goes, as the earlier run has it on record
.OUT.partial-PID/.before   what stood in OUT before, until the new is there
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from .parts import recorded
from .places import place_beside
from .unfinished import remove, undivided

__all__ = ["clear", "make", "publish"]

_BUILT, _WHOLE, _BEFORE, _STALE = ".run", ".whole", ".before", ".stale"
_LAST = "run.json"  # whose digests say whether the other parts are of the same run
_FILE = re.compile(r"\..+\.partial-(?P<process>\d+)")


def make(out: Path) -> Path:
    """Make the hidden folder of a run: in OUT where that is there, which may be a mount, or beside.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder = place_beside(out) if not out.is_dir() else out / f".{out.name}"
    folder = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    folder.mkdir()
    mark = {"process": os.getpid(), "host": platform.node()}
    (folder / _BUILT).write_text(json.dumps(mark))
    return folder


def publish(folder: Path, out: Path, *, keep: frozenset[str] = frozenset()) -> None:
    """Move all items of a run's folder into OUT; an earlier item of the same name goes.

    With a run.json goes all that an earlier one has on record, but for what is to be kept.

    A new OUT comes to be by one renaming. In an OUT with other things in it one item after the
    other is renamed; a process that is killed in between leaves `.whole`, and the rest is done by
    the next that holds OUT.
    """
    with undivided():
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, out)
            (out / _BUILT).unlink()
        else:
            stale = recorded(out) - keep if (folder / _LAST).exists() else set()
            (folder / _STALE).write_text(json.dumps(sorted(stale)))
            os.replace(folder / _BUILT, folder / _WHOLE)
            _move(folder, out)
        _flush(out)
        _flush(out.parent)


def clear(out: Path) -> None:
    """Remove what killed runs left of OUT, or publish it if all was there. The caller holds OUT."""
    remove(out / _BUILT)
    for folder in _left(out):
        if (folder / _WHOLE).exists():
            with undivided():
                _move(folder, out)
        else:
            remove(folder)
    if out.is_dir():
        for item in out.iterdir():
            found = _FILE.fullmatch(item.name)
            if found and item.is_file() and not _runs(int(found["process"])):
                remove(item)


def _move(folder: Path, out: Path) -> None:
    """Move items into OUT, run.json last; may be called again if it was cut short."""
    before = folder / _BEFORE
    before.mkdir(exist_ok=True)
    names = {item.name for item in folder.iterdir()} - {_BUILT, _WHOLE, _BEFORE, _STALE}
    if (folder / _STALE).exists():  # before any new item is in its place
        for name in json.loads((folder / _STALE).read_text()):
            if name not in names and name != _LAST and os.path.lexists(out / name):
                os.replace(out / name, before / name)
        (folder / _STALE).unlink()
    for name in sorted(names, key=lambda name: (name == _LAST, name)):
        if os.path.lexists(out / name):
            os.replace(out / name, before / name)
        os.replace(folder / name, out / name)
    remove(folder)


def _left(out: Path) -> Iterator[Path]:
    """Hidden folders of OUT that are ours, and whose process is gone."""
    for start in (place_beside(out), out / f".{out.name}"):
        for item in start.parent.glob(f"{glob.escape(start.name)}.partial-*"):
            if item.is_dir() and not item.is_symlink() and _is_left(item):
                yield item


def _is_left(folder: Path) -> bool:
    marks = [folder / name for name in (_BUILT, _WHOLE) if (folder / name).is_file()]
    if not marks:  # killed before it was marked; or not ours, then it holds something
        return not any(folder.iterdir())
    try:
        mark = json.loads(marks[0].read_text() or "{}")
        return mark.get("host") == platform.node() and not _runs(int(mark["process"]))
    except (OSError, ValueError, KeyError, AttributeError):
        return True  # killed while it was marked


def _runs(process: int) -> bool:
    """Whether another process of that number runs on this machine."""
    if process == os.getpid():
        return False
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(process, 0)
        except PermissionError:
            return True
        return True
    return False


def _flush(folder: Path) -> None:
    """Have a folder's entries on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
