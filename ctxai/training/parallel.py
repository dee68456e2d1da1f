"""Training on several processes: each takes its rows of every batch, and all take the same step.

Started by torchrun, every process draws the whole batch from the same stream, so that nothing
depends on how many there are; it works on its own rows, and means and gradients are those over all
rows. With one process, or without torchrun, nothing here does anything.

    torchrun --nproc-per-node 2 scripts/train_weights.py --out WEIGHTS
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from recon.errors import DataError

__all__ = [
    "average_gradients",
    "is_first",
    "join",
    "mean",
    "processes",
    "rows",
    "shared_mean",
    "wait",
]


def join() -> None:
    """Meet the other processes that torchrun started, if there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")


def processes() -> int:
    """How many processes train together.

    Examples
    --------
    >>> from ctxai.training.parallel import processes
    >>> processes()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes and shows progress."""
    return processes() == 1 or dist.get_rank() == 0


def wait() -> None:
    """Wait until all processes are here."""
    if processes() > 1:
        dist.barrier()


def rows(*batches: Tensor) -> tuple[Tensor, ...]:
    """Rows of each batch that are this process's: every n-th of n processes.

    Raises
    ------
    DataError
        If the batch cannot be parted equally.

    Examples
    --------
    >>> import torch
    >>> from ctxai.training.parallel import rows
    >>> rows(torch.arange(4))
    (tensor([0, 1, 2, 3]),)
    """
    count = processes()
    if count == 1:
        return batches
    if len(batches[0]) % count:
        raise DataError(
            "the batch cannot be parted equally",
            where="torchrun --nproc-per-node",
            expected=f"a divisor of {len(batches[0])}",
            got=count,
        )
    return tuple(batch[dist.get_rank() :: count] for batch in batches)


def mean(value: Tensor) -> Tensor:
    """Mean over the processes of each one's own mean; its gradient is that of one's own part.

    Averaged over the processes (:func:`average_gradients`) that is the gradient of any function of
    the common mean, were it computed in one process.
    """
    if processes() == 1:
        return value
    return value + (_averaged(value.detach()) - value.detach())


class _SharedMean(torch.autograd.Function):
    """Mean over the processes, forwards and backwards."""

    @staticmethod
    def forward(ctx, value):
        return _averaged(value)

    @staticmethod
    def backward(ctx, gradient):
        return _averaged(gradient)


def _averaged(value: Tensor) -> Tensor:
    common = value.contiguous().clone()
    dist.all_reduce(common)
    return common / processes()


def shared_mean(value: Tensor) -> Tensor:
    """Mean over the processes of a number that each of them goes on to compute with.

    Its gradient gathers what all processes made of it, so that gradients averaged in the end
    (:func:`average_gradients`) are those of one process with all rows.
    """
    return value if processes() == 1 else _SharedMean.apply(value)


def average_gradients(weights: Iterable[Tensor]) -> None:
    """Replace the gradients of weights by their means over the processes."""
    if processes() == 1:
        return
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.reshape(gradient.shape))
