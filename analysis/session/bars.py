"""Progress on stderr: bars on a terminal; in a log a line every half a minute."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["bars_or_lines", "duration"]

_EVERY = 30.0  # s


class _Nowhere:
    """What a bar writes to that is told in lines."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return


@contextlib.contextmanager
def bars_or_lines() -> Iterator[None]:
    """Context in which progress bars become lines, if stderr is no terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        yield
        return
    from tqdm import tqdm

    before = tqdm.display
    tqdm.display = _tell
    try:
        yield
    finally:
        tqdm.display = before


def _tell(bar: Any, msg: str | None = None, pos: int | None = None) -> bool:
    """Say how far a bar is, unless that was said just now; in place of drawing it."""
    bar.fp, now = _Nowhere(), time.time()
    if not hasattr(bar, "told"):
        bar.told = now
    if bar.disable or now - bar.told < _EVERY:  # a bar that is being closed is disabled
        return True
    bar.told = now
    of = f" of {bar.total}" if bar.total else ""
    left = ""
    if bar.total and bar.n > bar.initial:
        spent = (now - bar.start_t) / (bar.n - bar.initial)
        left = f", about {duration(spent * (bar.total - bar.n))} left"
    print(f"ctxai: {bar.desc or 'work'}: {bar.n}{of}{left}", file=sys.stderr, flush=True)
    return True


def duration(seconds: float) -> str:
    """A time in words, as exactly as an estimate is.

    Examples
    --------
    >>> [duration(s) for s in (0.2, 42.0, 100.0, 400.0, 9000.0)]
    ['1 s', '40 s', '2 min', '7 min', '2.5 h']
    """
    if seconds < 10:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90:
        return f"{10 * round(seconds / 10)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.2g} h"
