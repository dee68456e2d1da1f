"""A Dask scheduler: its workers carry out the cells, wherever they are.

Queues, retries and lost workers are Dask's. A cell is a task of the name `cell-DIGEST`; a worker
that has it when it is lost gives it to the next, and a cell that has lost three counts as failed.
Cells that ask for a GPU go to workers that were started with `--resources GPU=1`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from recon import BackendUnavailable, DataError

from .work import Outcome, Task, Work, one_line

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["on_cluster"]

_GPU = {"GPU": 1}
_PATIENCE = 30  # s, until a scheduler answers


def on_cluster(
    tasks: Sequence[Task], work: Work, *, scheduler: str
) -> Generator[Outcome, None, None]:
    """Carry out cells on the workers of a Dask scheduler.

    Parameters
    ----------
    tasks : sequence of dict
    work : callable
        A function of a module that the workers can import.
    scheduler : str
        Its address, such as tcp://10.0.0.1:8786, or the file that it was started with
        (`dask scheduler --scheduler-file FILE`).

    Raises
    ------
    BackendUnavailable
        If `distributed` is not installed.
    DataError
        If the scheduler does not answer.
    """
    with _connected(scheduler) as client:
        from distributed import as_completed

        futures = {}
        for task in tasks:
            resources = _GPU if task["options"].get("device") == "cuda" else None
            name = f"cell-{task['digest']}"
            futures[client.submit(work, task, key=name, pure=False, resources=resources)] = task[
                "digest"
            ]
        for future in as_completed(list(futures), loop=client.loop):
            digest = futures.pop(future)
            error = future.exception()
            yield Outcome(digest, one_line(error)) if error is not None else future.result()
            future.release()


def _connected(scheduler: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        raise BackendUnavailable(
            "dask", "distributed is not installed", "pip install 'ctxai[dask]'"
        ) from None
    how = {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
    try:
        return Client(**how, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise DataError(
            "no Dask scheduler answers", where="--scheduler", got=one_line(error),
            expected="tcp://HOST:PORT, or the file of dask scheduler --scheduler-file",
        ) from None  # fmt: skip
