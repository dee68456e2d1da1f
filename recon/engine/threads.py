"""Sharing the tasks of a kernel among threads.

The threads are Python's: compiled code runs beside them without the interpreter's lock. So any
thread of a program may call the operator, and a forked process as well, where OpenMP would end it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

__all__ = ["share"]

_PIECES = 8  # per thread, so that no thread waits long for the last one
_pools: dict[int, ThreadPoolExecutor] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # the child has none of the threads


def share(tasks: int, work: Callable[..., object], *args: Any) -> None:
    """Call ``work(first, last, *args)`` for pieces of ``range(tasks)``, on the threads of torch.

    Examples
    --------
    >>> done = []
    >>> share(100, lambda first, last: done.extend(range(first, last)))
    >>> sorted(done) == list(range(100))
    True
    """
    threads = min(torch.get_num_threads(), tasks)
    if threads <= 1:
        if tasks:
            work(0, tasks, *args)
        return
    pieces = min(tasks, threads * _PIECES)
    numbers = itertools.count()

    def some() -> None:
        while (piece := next(numbers)) < pieces:
            work(piece * tasks // pieces, (piece + 1) * tasks // pieces, *args)

    pool = _pools.get(threads) or _pools.setdefault(threads, ThreadPoolExecutor(threads - 1))
    others = [pool.submit(some) for _ in range(threads - 1)]
    try:
        some()
    finally:
        # one that has not begun finds nothing left to do; one that has must end before its arrays
        unfinished = [other for other in others if not other.cancel()]
        errors = [other.exception() for other in unfinished]
    for error in errors:
        if error is not None:
            raise error
