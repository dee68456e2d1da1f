"""How the denoisers are trained: by the squared error (Chen), and as WGAN-VGG (Yang)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from ..precision import mixed
from . import parallel
from .loop import descend, one_cycle, set_lr

__all__ = ["Pairs", "SupervisedTask", "WganVggTask", "gradient_penalty"]


class Pairs(Protocol):
    """Where a task draws from: `ctxai.data.PatchPairs`, or anything with its two members."""

    @property
    def digest(self) -> str:
        """Digest of the data, part of the identity of a run."""
        ...

    def batch(self, n: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Draw n pairs (x, y), each (n, 1, H, W) [HU]."""
        ...


class SupervisedTask:
    """Train a denoiser by its squared error, L = mean (f(x) - y)².

    Adam. H. Chen et al. (ISBI 2017) use the same loss.

    Parameters
    ----------
    f : Module
        Denoiser, HU to HU.
    pairs : Pairs
        Source of patches.
    batch : int
        Patches a step.
    steps : int, optional
        Steps of the whole run, over which ``lr`` is the peak of one cycle; None keeps it constant.
    lr : float
        Learning rate.

    Examples
    --------
    >>> import torch
    >>> from ctxai import PatchPairs
    >>> from ctxai import SupervisedTask
    >>> from ctxai import Chen
    >>> from ctxai import train
    >>> y = torch.zeros(2, 32, 32)
    >>> task = SupervisedTask(Chen(), PatchPairs(y + 10, y, patch=16), batch=2, steps=3, lr=1e-3)
    >>> sorted(train(task, steps=3, seed=1, progress=False)[0])
    ['loss', 'rmse_hu']
    """

    def __init__(
        self, f: nn.Module, pairs: Pairs, *, batch: int, steps: int | None, lr: float
    ) -> None:
        self.f, self.pairs, self.batch, self.steps, self.lr = f, pairs, batch, steps, lr
        self.modules = {"f": f}
        self.optimisers = {"f": torch.optim.Adam(f.parameters(), lr)}
        self.settings: dict[str, Any] = {
            "batch": batch, "steps": steps, "lr": lr, "data": pairs.digest, "f": _config(f),
        }  # fmt: skip

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """One step of Adam on one batch; logs the loss [HU²] and its root [HU]."""
        optimiser = self.optimisers["f"]
        if self.steps is not None:
            set_lr(optimiser, one_cycle(index, self.steps, self.lr))
        x, y = parallel.rows(*self.pairs.batch(self.batch, generator))
        loss = parallel.mean((self.f(x) - y).square().mean())
        descend(optimiser, loss)
        return {"loss": loss.item(), "rmse_hu": loss.item() ** 0.5}


class WganVggTask:
    """Train a denoiser as WGAN-VGG: against a critic, and in the feature space of VGG19.

    The critic minimises ``E[D(f(x))] - E[D(y)] + λ E[(‖∇D(u)‖ - 1)²]``, u between f(x) and y, and
    the denoiser ``-E[D(f(x))] + w mean (V(f(x)) - V(y))²`` (Q. Yang et al., IEEE TMI 37(6), 2018,
    eqs. 3 and 8). The defaults are the paper's; its batch is 128 patches of 64 × 64.

    Parameters
    ----------
    f : Module
        Denoiser, HU to HU.
    critic : Module
        `ctxai.training.critic.Critic`: images to scores (B,), with a ``scale`` [HU].
    features : callable
        Images [HU] to features, `ctxai.training.features.VGG19Features`; not trained.
    pairs : Pairs
        Source of patches.
    batch : int
        Patches a step, of the critic and of the denoiser alike.
    steps : int, optional
        Steps of the whole run, over which ``lr`` is the peak of one cycle. Without it the
        learning rates are constant, as published.
    lr : float
        Learning rate of both.
    critic_steps : int
        Steps of the critic before each of the denoiser, each on a batch of its own.
    penalty : float
        Weight λ of the gradient penalty; gradients are those with respect to normalised images.
    feature_weight : float
        Weight w of the feature loss.
    betas : (float, float)
        Of Adam.
    """

    def __init__(
        self,
        f: nn.Module,
        critic: nn.Module,
        features: Callable[[torch.Tensor], torch.Tensor],
        pairs: Pairs,
        *,
        batch: int = 128,
        steps: int | None = None,
        lr: float = 1e-5,
        critic_steps: int = 4,
        penalty: float = 10.0,
        feature_weight: float = 0.1,
        betas: tuple[float, float] = (0.5, 0.9),
    ) -> None:
        self.f, self.critic, self.features, self.pairs = f, critic, features, pairs
        self.batch, self.steps, self.lr, self.critic_steps = batch, steps, lr, critic_steps
        self.penalty, self.feature_weight = penalty, feature_weight
        self.modules = {"f": f, "critic": critic}
        self.optimisers = {
            name: torch.optim.Adam(module.parameters(), lr, betas=betas)
            for name, module in self.modules.items()
        }
        self.settings: dict[str, Any] = {
            "batch": batch, "steps": steps, "lr": lr, "betas": list(betas),
            "critic_steps": critic_steps, "penalty": penalty, "feature_weight": feature_weight,
            "features": [getattr(features, "cut", ""), getattr(features, "source", "")],
            "data": pairs.digest, "f": _config(f), "critic": _config(critic),
        }  # fmt: skip

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """The critic's steps and one of the denoiser; logs both losses and their parts."""
        if self.steps is not None:
            for optimiser in self.optimisers.values():
                set_lr(optimiser, one_cycle(index, self.steps, self.lr))
        log = {}
        for _ in range(self.critic_steps):
            log = self._critic_step(generator)
        return self._denoiser_step(generator) | log

    def _critic_step(self, generator: torch.Generator) -> dict[str, float]:
        x, y = self.pairs.batch(self.batch, generator)
        share = torch.rand(len(y), 1, 1, 1, generator=generator).to(y)
        x, y, share = parallel.rows(x, y, share)
        with torch.no_grad():
            denoised = self.f(x)
        with mixed(x):
            distance = parallel.mean(self.critic(y).mean() - self.critic(denoised).mean())
            penalty = gradient_penalty(self.critic, share * y + (1 - share) * denoised)
        penalty = parallel.mean(penalty)
        descend(self.optimisers["critic"], self.penalty * penalty - distance)
        return {"wasserstein": distance.item(), "penalty": penalty.item()}

    def _denoiser_step(self, generator: torch.Generator) -> dict[str, float]:
        x, y = parallel.rows(*self.pairs.batch(self.batch, generator))
        self.critic.requires_grad_(False)
        denoised = self.f(x)
        with mixed(x):
            adversarial = parallel.mean(-self.critic(denoised).mean())
            gap = self.features(denoised) - self.features(y)
        perceptual = parallel.mean(gap.to(y).square().mean())
        loss = adversarial + self.feature_weight * perceptual
        descend(self.optimisers["f"], loss)
        self.critic.requires_grad_(True)
        rmse = parallel.mean((denoised.detach() - y).square().mean()).sqrt()
        return {"loss": loss.item(), "features": perceptual.item(), "rmse_hu": rmse.item()}


def gradient_penalty(critic: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Mean of (‖∇D‖ - 1)², the gradient taken with respect to normalised images.

    I. Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017. The critic takes HU
    and divides by its ``scale``, so the gradient per HU is multiplied by it.

    Parameters
    ----------
    critic : Module
        Images (B, 1, H, W) [HU] to scores (B,), with a ``scale`` [HU].
    images : Tensor
        Where the gradient is taken (B, 1, H, W) [HU].

    Returns
    -------
    Tensor
        Scalar, differentiable with respect to the critic's weights.
    """
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return ((gradient * critic.get_buffer("scale")).flatten(1).norm(dim=1) - 1).square().mean()


def _config(module: nn.Module) -> dict[str, Any]:
    """Constructor values, as far as the module keeps them: they are part of a run's identity."""
    config = getattr(module, "config", {})
    return dict(config) if isinstance(config, Mapping) else {}
