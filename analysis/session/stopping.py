"""SIGINT and SIGTERM: one line on stderr, nothing left behind, exit status 130 or 143.

The process ends where it is, in the middle of an import or of a calculation, rather than by an
exception, which code on the way out may swallow or turn into another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from recon.storage import between_steps, remove_unfinished

__all__ = ["stoppable"]

_SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Context in which both signals end the process; those that are ignored stay ignored."""
    before = {one: signal.getsignal(one) for one in _SAID}
    mine = [one for one, handler in before.items() if handler != signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        mine = []  # handlers belong to the main thread
    for one in mine:
        signal.signal(one, _handle)
    try:
        yield
    finally:
        for one in mine:
            signal.signal(one, before[one])


def _handle(number: int, _frame: FrameType | None) -> None:
    between_steps(lambda: _stop(number))


def _stop(number: int) -> None:
    for one in _SAID:
        signal.signal(one, signal.SIG_IGN)
    line = f"ctxai: {_SAID[signal.Signals(number)]}\n"
    if sys.stderr is not None and sys.stderr.isatty():
        line = f"\r\x1b[K{line}"  # in place of a progress bar
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    remove_unfinished()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + number)
