"""Training that can be killed at any moment and resumed to the same bits.

Three things make it so. All randomness of a step is keyed by (seed, step), so no generator state
has to survive. A checkpoint holds every tensor that the next step reads and is on disk whole or not
at all. And it records which run it belongs to, so that another run cannot pick it up unnoticed.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from tqdm import tqdm

from recon.errors import DataError
from recon.storage import write_csv

from ..files.tensors import load_tensors, save_tensors
from . import parallel

__all__ = ["Task", "descend", "one_cycle", "set_lr", "train"]


class Task(Protocol):
    """One thing to train: its networks, their optimisers, and what a step does.

    Attributes
    ----------
    modules : mapping of str to Module
        Everything whose tensors change in training. A network that is only read stays out.
    optimisers : mapping of str to Optimizer
        Everything with a state that the next step reads. A learning rate that varies is set by
        the step from its index (:func:`one_cycle`, :func:`set_lr`), never kept.

    A task may also have ``settings``, a dict of what else decides the result (batch size, weights
    of the loss, digest of the data); a checkpoint with other settings is then refused.
    """

    @property
    def modules(self) -> Mapping[str, nn.Module]: ...  # noqa: D102 - described above

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]: ...  # noqa: D102

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """Do step ``index`` (from 0), drawing from ``generator`` alone; return what to log."""
        ...


def train(
    task: Task,
    *,
    steps: int,
    seed: int,
    checkpoint: str | Path | None = None,
    every: int = 200,
    label: str = "",
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a task, resuming from its checkpoint if there is one.

    A resumed run has the same weights and logs as an uninterrupted one, bit for bit, on the same
    machine with the same number of threads. A finished run is loaded and not trained again. Under
    torchrun every process takes its rows of each batch (`ctxai.training.parallel`); only the first
    writes.

    Parameters
    ----------
    task : Task
        What to train. Its networks are in training mode during, in evaluation mode after.
    steps : int
        Number of steps in all.
    seed : int
        Seed of the run; step k draws from streams keyed by (seed, k).
    checkpoint : path, optional
        File to resume from and to write to, every ``every`` steps and at the end; what each step
        logged stands beside it as CSV.
    every : int
        Steps between checkpoints.
    label : str
        What the progress bar calls the run.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    list of dict
        What each of the steps logged, those before a resumption included.

    Raises
    ------
    DataError
        If the checkpoint is damaged or of another run, or a logged value is NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> from ctxai import train
    >>> class Mean:  # the least-squares estimate of 3 + noise is its mean
    ...     def __init__(self):
    ...         self.modules = {"net": torch.nn.Linear(1, 1)}
    ...         self.optimisers = {"net": torch.optim.SGD(self.modules["net"].parameters(), 0.1)}
    ...     def step(self, index, generator):
    ...         data = 3 + torch.randn(64, 1, generator=generator)
    ...         loss = ((self.modules["net"](torch.zeros(64, 1)) - data) ** 2).mean()
    ...         self.optimisers["net"].zero_grad()
    ...         loss.backward()
    ...         self.optimisers["net"].step()
    ...         return {"loss": loss.item()}
    >>> logs = train(Mean(), steps=50, seed=1, progress=False)
    >>> len(logs), logs[-1]["loss"] < logs[0]["loss"]
    (50, True)
    """
    if steps < 1 or every < 1:
        raise DataError(
            "training needs steps", expected="steps, every ≥ 1", got=f"{steps}, {every}"
        )
    parallel.join()
    path = None if checkpoint is None else Path(checkpoint)
    run = _identity(task, steps, seed)
    logs: list[dict[str, float]] = []
    if path is not None:
        for name in (path.name, path.with_suffix(".csv").name) if parallel.is_first() else ():
            for partial in path.parent.glob(f".{glob.escape(name)}.partial-*"):
                partial.unlink(missing_ok=True)  # of a run that was killed while it wrote
        if path.exists():
            logs = _resume(task, path, run)
        parallel.wait()  # nobody writes while another reads
    for module in task.modules.values():
        module.train()
    with (
        torch.random.fork_rng(devices=[]),
        tqdm(
            total=steps,
            initial=len(logs),
            desc=label,
            file=sys.stderr,
            disable=not (progress and parallel.is_first()),
        ) as bar,
    ):
        for index in range(len(logs), steps):
            torch.manual_seed(_key(seed, index, "global"))
            generator = torch.Generator().manual_seed(_key(seed, index, "task"))
            log = {name: float(value) for name, value in task.step(index, generator).items()}
            if not all(map(math.isfinite, log.values())):
                raise DataError(
                    f"training of {label or type(task).__name__} diverged at step {index}",
                    expected="finite values",
                    got=log,
                    remedy="lower the learning rate, or look for NaN in the data",
                )
            logs.append(log)
            if path is not None and ((index + 1) % every == 0 or index + 1 == steps):
                if parallel.is_first():
                    rows = [{"step": k + 1, **log} for k, log in enumerate(logs)]
                    write_csv(path.with_suffix(".csv"), rows)
                    _save(task, path, run, logs)
                parallel.wait()
            bar.set_postfix({name: f"{value:.4g}" for name, value in log.items()}, refresh=False)
            bar.update()
    for module in task.modules.values():
        module.eval()
    return logs


def one_cycle(index: int, steps: int, peak: float, *, warm_up: float = 0.3) -> float:
    """Learning rate of step ``index``: a cosine up to ``peak`` and a longer cosine down to nothing.

    From ``peak / 25`` at the first step to ``peak`` at the share ``warm_up`` of the steps, then to
    ``peak / 25e4`` at the last (L. N. Smith, N. Topin, "Super-convergence", 2018).

    Parameters
    ----------
    index, steps : int
        Step from 0, and number of steps.
    peak : float
        Largest learning rate.
    warm_up : float
        Share of the steps in which the rate rises.

    Examples
    --------
    >>> from ctxai.training.loop import one_cycle
    >>> [round(25e4 * one_cycle(index, 11, 1.0, warm_up=3 / 11)) for index in (0, 2, 10)]
    [10000, 250000, 1]
    """
    top, last = warm_up * steps - 1, steps - 1
    if index <= top:
        low, share = peak / 25, index / top if top > 0 else 1.0
    else:
        low, share = peak / 25e4, (last - index) / (last - top)
    return low + (peak - low) * (1 - math.cos(math.pi * share)) / 2


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters of an optimiser."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def descend(
    optimiser: torch.optim.Optimizer, loss: torch.Tensor, *, largest_norm: float | None = None
) -> None:
    """Take one step down the gradient of a loss, first scaled to ``largest_norm`` if longer."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    parallel.average_gradients(weights)
    if largest_norm is not None:
        norm = nn.utils.clip_grad_norm_(weights, largest_norm)
        if not norm.isfinite():
            raise DataError("training diverged", got=f"a gradient of {norm:g}, a loss of {loss:g}")
    optimiser.step()


def _key(seed: int, step: int, stream: str) -> int:
    """Seed of one stream of one step: neighbouring steps and seeds share nothing."""
    digest = hashlib.sha256(f"{int(seed)} {step} {stream}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _identity(task: Task, steps: int, seed: int) -> dict[str, Any]:
    """What makes a run this run: anything that differs would change the result."""
    identity = {
        "task": type(task).__name__,
        "steps": steps,
        "seed": int(seed),
        "settings": getattr(task, "settings", {}),
        "shapes": {
            f"{name}.{key}": list(value.shape)
            for name, module in task.modules.items()
            for key, value in module.state_dict().items()
        },
        "optimisers": {
            name: [type(optimiser).__name__, optimiser.defaults]
            for name, optimiser in task.optimisers.items()
        },
    }
    return json.loads(json.dumps(identity, default=str))


def _save(task: Task, path: Path, run: dict, logs: list[dict[str, float]]) -> None:
    tensors = {
        f"module/{name}/{key}": value
        for name, module in task.modules.items()
        for key, value in module.state_dict().items()
    }
    for name, optimiser in task.optimisers.items():
        for number, state in optimiser.state_dict()["state"].items():
            for key, value in state.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimiser/{name}/{number}/{key}"] = value
                elif value is not None:
                    raise DataError(
                        "the optimiser keeps a state that is no tensor",
                        where=f"{type(optimiser).__name__} {key!r}",
                        got=type(value).__name__,
                    )
    save_tensors(path, tensors, {"kind": "training", "run": run, "logs": logs})


def _resume(task: Task, path: Path, run: dict) -> list[dict[str, float]]:
    """Load the state of a task from its checkpoint; the logs tell how many steps are done."""
    tensors, record = load_tensors(path)
    if record.get("kind") != "training":
        raise DataError("not a checkpoint of a training run", where=path, got=record.get("kind"))
    for what, wanted in run.items():
        if (got := record["run"].get(what)) != wanted:
            if isinstance(wanted, dict) and isinstance(got, dict):  # name what differs, not all
                keys = [k for k in {**wanted, **got} if wanted.get(k) != got.get(k)]
                wanted, got = ({k: d.get(k) for k in keys} for d in (wanted, got))
            raise DataError(
                f"checkpoint of another run: its {what} differ",
                where=path,
                expected=wanted,
                got=got,
                remedy="delete the file to train from the start",
            )
    parts: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        kind, owner, key = name.split("/", 2)
        parts.setdefault((kind, owner), {})[key] = tensor
    for name, module in task.modules.items():
        module.load_state_dict(parts.get(("module", name), {}))
    for name, optimiser in task.optimisers.items():
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in parts.get(("optimiser", name), {}).items():
            number, what = key.split("/")
            state.setdefault(int(number), {})[what] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    return record["logs"]
