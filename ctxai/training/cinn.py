"""How a conditional invertible network is trained: by maximum likelihood of latents given z."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from ..data import PairSampler, noise_of, pick_domain, represented
from ..representation.autoencoder import Autoencoder
from ..representation.cinn import ConditionalINN
from ..representation.convolutional_cinn import ConvolutionalINN
from ..representation.noise_told import describe_noise
from . import parallel
from .loop import descend, one_cycle, set_lr

__all__ = ["INNTask"]

_GRADIENT_NORM = 5.0
_FIT = 256  # pairs that scales and guesses are fitted to


class Representation(Protocol):
    """What the training needs of a wiretap; ``psi`` only for a conditional autoencoder."""

    def phi(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` → representations ``(B, ...)``."""

    def psi(self, z: Tensor) -> Tensor:
        """Representations → the network's output ``(B, C, H, W)``."""


class INNTask:
    r"""Train a `ctxai.ConditionalINN` by maximum likelihood on posterior samples of a VAE.

    .. math::
        L = \langle ½‖v‖² - \log|\det ∂v/∂z̄| \rangle, \quad v = t(z̄ | Φ(x)), \quad z̄ ∼ q(z̄ | x)

    Samples z̄ rather than their means: given a deterministic Φ, noise-free latents lie on a set of
    lower dimension, where the likelihood has no upper bound. The first step fits all scales.

    Parameters
    ----------
    cinn : ConditionalINN or ConvolutionalINN
    vae : Autoencoder
        Anything whose ``encode(images)`` gives a ``torch.distributions.Normal``; not trained here.
        A conditional one is given f(x) = Ψ(z).
    wiretap : object
        Anything with ``phi(x)``; not trained here.
    sampler : callable
        ``sampler(n, generator) -> (x, y)``, image pairs ``(n, C, H, W)``. Where they
        bring the noise of x, a `ctxai.ConvolutionalINN` is told of it.
    domain : "x" or "y"
        Which image of the pair the latents describe; z comes from x always.
    batch, steps, lr
        Batch size, number of steps of the one-cycle schedule, its highest learning rate; with
        ``steps=None`` that rate is constant.
    """

    def __init__(
        self,
        cinn: ConditionalINN | ConvolutionalINN,
        vae: Autoencoder,
        wiretap: Representation,
        sampler: PairSampler,
        *,
        domain: str = "x",
        batch: int = 32,
        steps: int | None = 600,
        lr: float = 2e-3,
    ) -> None:
        self.cinn, self.vae, self.wiretap, self.sampler = cinn, vae, wiretap, sampler
        self.domain, self.batch, self.steps, self.lr = domain, batch, steps, lr
        pick_domain(("x", "y"), domain)
        self.settings = {"domain": domain, "batch": batch}
        self.modules: dict[str, nn.Module] = {"cinn": cinn}
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "cinn": torch.optim.Adam(cinn.parameters(), lr=lr)
        }

    @torch.no_grad()
    def _posterior_samples(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Latents of n new pairs, their z, and what their noise is like where that is told."""
        pair = self.sampler(n, generator)
        image, z = pick_domain(pair, self.domain), represented(pair, self.wiretap.phi)
        if getattr(self.vae, "condition", 0):
            posterior = self.vae.encode(image, self.wiretap.psi(z))
        else:
            posterior = self.vae.encode(image)
        noise = torch.randn(posterior.loc.shape, generator=generator).to(posterior.loc)
        known = noise_of(pair)
        told = () if known is None else (describe_noise(known),)
        return posterior.loc + posterior.scale * noise, z, *told

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """Take one optimiser step; returns the loss per latent dimension [nats]."""
        self.cinn.train()
        if not self.cinn.fitted:
            self.cinn.fit_scales(*self._posterior_samples(max(_FIT, self.batch), generator))
        v, log_det = self.cinn(*parallel.rows(*self._posterior_samples(self.batch, generator)))
        loss = parallel.mean((0.5 * v.square().sum(1) - log_det).mean() / self.cinn.latent)
        optimiser = self.optimisers["cinn"]
        if self.steps is not None:
            set_lr(optimiser, one_cycle(index, self.steps, self.lr))
        descend(optimiser, loss, largest_norm=_GRADIENT_NORM)
        return {
            "loss": loss.item(),
            "v_rms": parallel.mean(v.detach().square().mean()).sqrt().item(),
        }
