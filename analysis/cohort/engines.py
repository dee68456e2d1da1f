"""Processes of this machine: one that does all cells itself, or several that share them.

A cell that takes its process with it, by running out of memory for instance, takes down nothing
else: it is tried once more with a process to itself, and then counts as failed. Processes end with
the one that started them, however that ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for

from recon.storage import remove_unfinished

from .work import Outcome, Task, Work

__all__ = ["here", "in_processes"]

_TERMINATED = 143


def here(tasks: Sequence[Task], work: Work) -> Generator[Outcome, None, None]:
    """Carry out all cells in this process, one after the other."""
    for task in tasks:
        yield work(task)


def in_processes(tasks: Sequence[Task], work: Work, *, jobs: int) -> Generator[Outcome, None, None]:
    """Carry out cells in processes of this machine, as they become free.

    Parameters
    ----------
    tasks : sequence of dict
    work : callable
        A function of a module, which a new process can import.
    jobs : int
        Number of processes.
    """
    left = list(tasks)
    while left:
        suspects = yield from _share(left, work, jobs)
        for task in suspects:
            lost = yield from _share([task], work, 1)
            if lost:
                yield Outcome(str(task["digest"]), "its process was killed, twice")


def _share(left: list[Task], work: Work, jobs: int) -> Generator[Outcome, None, list[Task]]:
    """Carry out cells until none is left or a process is lost; returns those that it had then."""
    running: dict[Future[Outcome], Task] = {}
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(min(jobs, len(left)), context, _begin) as pool:
        try:
            while left or running:
                while left and len(running) < jobs:
                    running[pool.submit(work, left[0])] = left[0]
                    left.pop(0)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda one: str(running[one]["digest"])):
                    outcome = future.result()
                    del running[future]
                    yield outcome
        except BrokenProcessPool:
            return list(running.values())
        except GeneratorExit:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _begin() -> None:
    """What a new process does first: leave signals to the one that started it, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _end())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        _end()


def _end() -> None:
    with contextlib.suppress(Exception):
        remove_unfinished()
    os._exit(_TERMINATED)
