"""How an autoencoder is trained: on the evidence bound, at the noise level that fits best."""

from __future__ import annotations

import torch
from torch import nn

from . import parallel
from .data import PairSampler, pick_domain
from .training import descend, one_cycle, set_lr
from .vae import VAE, kl_per_dimension

__all__ = ["VAETask"]

_GRADIENT_NORM = 5.0
_SMALLEST_MSE = 1e-8  # in normalised units: the likelihood of images without any noise stays finite


class VAETask:
    r"""Train a `ctxai.vae.VAE` on one side of image pairs.

    .. math::
        L = \frac{D}{2} \log\langle (x - D(z̄))² \rangle
            + w \sum_d \max(b, KL_d), \quad z̄ ∼ q(z̄ | x)

    The first term is the Gaussian likelihood of the D pixel values at its best variance (Rybkin,
    Daniilidis and Levine, "σ-VAE", ICML 2021), so that w = 1 is the evidence bound at any noise
    level; the *free bits* b keep dimensions from collapsing early (Kingma et al., NeurIPS 2016).

    Parameters
    ----------
    vae : VAE
    sampler : callable
        ``sampler(n, generator) -> (x, y)``, image pairs ``(n, C, H, W)`` in the VAE's unit.
    domain : "x" or "y"
        Which image of the pair to represent.
    batch, steps, lr
        Batch size, number of steps of the one-cycle schedule, its highest learning rate.
    kl_weight : float
        Weight w of the divergence.
    free_bits : float
        b [nats per dimension].
    """

    def __init__(
        self,
        vae: VAE,
        sampler: PairSampler,
        *,
        domain: str = "x",
        batch: int = 24,
        steps: int = 1000,
        lr: float = 2e-3,
        kl_weight: float = 1.0,
        free_bits: float = 0.05,
    ) -> None:
        self.vae, self.sampler, self.domain = vae, sampler, domain
        self.batch, self.steps, self.lr = batch, steps, lr
        self.kl_weight, self.free_bits = kl_weight, free_bits
        pick_domain(("x", "y"), domain)
        self.settings = {
            "domain": domain,
            "batch": batch,
            "kl_weight": kl_weight,
            "free_bits": free_bits,
        }
        self.modules: dict[str, nn.Module] = {"vae": vae}
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "vae": torch.optim.Adam(vae.parameters(), lr=lr)
        }

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """Take one optimiser step; returns loss [nats/pixel], rms error [unit] and KL [nats]."""
        self.vae.train()
        image = pick_domain(self.sampler(self.batch, generator), self.domain)
        noise = torch.randn(len(image), self.vae.latent, generator=generator).to(image)
        image, noise = parallel.rows(image, noise)
        posterior = self.vae.encode(image)
        decoded = self.vae.decode(posterior.loc + posterior.scale * noise)
        mse = parallel.mean(((decoded - image) / self.vae.scale).square().mean())
        kl = parallel.mean(kl_per_dimension(posterior))
        pixels = image[0].numel()
        loss = (
            0.5 * (mse + _SMALLEST_MSE).log()
            + self.kl_weight * kl.clamp_min(self.free_bits).sum() / pixels
        )
        optimiser = self.optimisers["vae"]
        set_lr(optimiser, one_cycle(index, self.steps, self.lr))
        descend(optimiser, loss, largest_norm=_GRADIENT_NORM)
        return {
            "loss": loss.item(),
            "rmse": mse.sqrt().item() * self.vae.scale,
            "kl": kl.sum().item(),
        }
