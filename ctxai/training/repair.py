"""Finetuning a denoiser against what it is invariant to and should not be."""

from __future__ import annotations

import torch
from torch import nn

from recon.errors import DataError

from . import parallel
from .denoiser import Pairs, SupervisedTask
from .loop import descend, one_cycle, set_lr

__all__ = ["RepairTask", "blindness"]


def blindness(seen: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Share of differences that does not show, ``mean ‖seen - there‖² / ‖there‖²``.

    Parameters
    ----------
    seen, there : Tensor, (B, C, H, W)
        Differences of two outputs, and of the two inputs.

    Returns
    -------
    Tensor
        One number.

    Examples
    --------
    >>> import torch
    >>> from ctxai import blindness
    >>> there = torch.ones(2, 1, 4, 4)
    >>> [blindness(share * there, there).item() for share in (0.0, 0.5, 1.0)]
    [1.0, 0.25, 0.0]
    """
    missed = (seen - there).square().flatten(1).sum(1)
    return (missed / there.square().flatten(1).sum(1)).mean()


class RepairTask(SupervisedTask):
    """Finetune a denoiser by its squared error and against undesired invariances.

    ``L = mean (f(x) - y)² + w mean ‖f(a + d) - f(a) - d‖² / ‖d‖²``, where d is a difference that
    should show in the output and does not. With w = 0 every step is that of `SupervisedTask`, bit
    for bit: finetuned with the same seed, it is the control that a repair is compared with.

    Parameters
    ----------
    f : Module
        Denoiser, HU to HU, trained before.
    pairs : Pairs
        Source of patches (x, y).
    undesired : Pairs
        Source of pairs of images (a, a + d) that f should tell apart; of any size.
    weight : float
        w, in the squared unit of the images [HU²].
    batch : int
        Patches a step, and as many pairs to be told apart.
    steps : int, optional
        Steps of the whole run, over which ``lr`` is the peak of one cycle; None keeps it constant.
    lr : float
        Learning rate of Adam.

    Raises
    ------
    DataError
        If the weight is negative or not a number.

    Examples
    --------
    >>> import torch
    >>> from ctxai import PatchPairs
    >>> from ctxai import Chen
    >>> from ctxai import RepairTask
    >>> from ctxai import train
    >>> y = torch.zeros(2, 32, 32)
    >>> pairs = PatchPairs(y + 10, y, patch=16)
    >>> task = RepairTask(Chen(), pairs, pairs, weight=400.0, batch=2, steps=3, lr=1e-3)
    >>> sorted(train(task, steps=3, seed=1, progress=False)[0])
    ['blindness', 'loss', 'rmse_hu']
    """

    def __init__(
        self,
        f: nn.Module,
        pairs: Pairs,
        undesired: Pairs,
        *,
        weight: float,
        batch: int,
        steps: int | None,
        lr: float,
    ) -> None:
        if not 0.0 <= weight < float("inf"):
            raise DataError("weight of a repair", expected="a number ≥ 0 [HU²]", got=weight)
        super().__init__(f, pairs, batch=batch, steps=steps, lr=lr)
        self.undesired, self.weight = undesired, weight
        self.settings |= {"weight": weight, "undesired": undesired.digest}

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """One step of Adam; logs the loss [HU²], the error [HU] and the share that is not seen."""
        optimiser = self.optimisers["f"]
        if self.steps is not None:
            set_lr(optimiser, one_cycle(index, self.steps, self.lr))
        x, y = parallel.rows(*self.pairs.batch(self.batch, generator))
        error = parallel.mean((self.f(x) - y).square().mean())
        a, b = parallel.rows(*self.undesired.batch(self.batch, generator))
        unseen = parallel.mean(blindness(self.f(b) - self.f(a), b - a))
        loss = error + self.weight * unseen
        descend(optimiser, loss)
        return {"loss": loss.item(), "rmse_hu": error.item() ** 0.5, "blindness": unseen.item()}
