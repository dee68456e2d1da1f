"""How an autoencoder is trained: on the evidence bound, at the noise level that fits best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from recon.errors import DataError

from ..data import PairSampler, pick_domain
from ..precision import mixed
from ..representation.spatial_vae import SpatialVAE
from ..representation.vae import VAE, kl_per_dimension
from . import parallel
from .loop import descend, one_cycle, set_lr

__all__ = ["VAETask"]

_GRADIENT_NORM = 5.0
_FIT = 128  # pairs that an autoencoder that has scales fits them to
_SMALLEST_MSE = 1e-8  # in normalised units: the likelihood of images without any noise stays finite


class VAETask:
    r"""Train a `ctxai.representation.vae.VAE` on one side of image pairs.

    .. math::
        L = \frac{D}{2} \log\langle (x - D(z̄))² \rangle
            + w \sum_d \max(b, KL_d), \quad z̄ ∼ q(z̄ | x)

    The first term is the Gaussian likelihood of the D pixel values at its best variance (Rybkin,
    Daniilidis and Levine, "σ-VAE", ICML 2021), so that w = 1 is the evidence bound at any noise
    level; the *free bits* b keep dimensions from collapsing early (Kingma et al., NeurIPS 2016).
    An autoencoder that states the width of its likelihood, ``vae.noise``, has ``‖x - D(z̄)‖²/2w²``
    there instead.

    Parameters
    ----------
    vae : VAE or SpatialVAE
    sampler : callable
        ``sampler(n, generator) -> (x, y)``, image pairs ``(n, C, H, W)`` in the VAE's unit.
    f : callable, optional
        Denoiser whose output f(x) a conditional VAE is given, in either domain; not trained.
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
        vae: VAE | SpatialVAE,
        sampler: PairSampler,
        *,
        f: Callable[[Tensor], Tensor] | None = None,
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
        self.f = f
        pick_domain(("x", "y"), domain)
        if (f is not None) != bool(vae.condition):
            raise DataError(
                "a conditional autoencoder needs a network, and no other one takes one",
                where="f",
                expected=f"one for {vae.condition} channels" if vae.condition else "none",
                got="none" if f is None else "one",
            )
        self.settings: dict[str, Any] = {
            "domain": domain,
            "batch": batch,
            "kl_weight": kl_weight,
            "free_bits": free_bits,
        }
        self.modules: dict[str, nn.Module] = {"vae": vae}
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "vae": torch.optim.Adam(vae.parameters(), lr=lr)
        }

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor | None, Tensor]:
        """Images of this process, what they are conditional on, and the noise of their latents."""
        pair = self.sampler(self.batch, generator)
        image = pick_domain(pair, self.domain)
        noise = torch.randn(len(image), self.vae.latent, generator=generator).to(image)
        x, image, noise = parallel.rows(pair[0], image, noise)
        if self.f is None:
            return image, None, noise
        with torch.no_grad():
            return image, self.f(x), noise

    def _pass(
        self, image: Tensor, condition: Tensor | None, noise: Tensor
    ) -> tuple[Normal, Tensor]:
        """Posteriors of images, and what a sample of each decodes to."""
        with mixed(image):
            posterior = self.vae.encode(image, condition)
            return posterior, self.vae.decode(posterior.loc + posterior.scale * noise, condition)

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """Take one optimiser step; returns loss [nats/pixel], rms error [unit] and KL [nats]."""
        self.vae.train()
        image, condition, noise = self._draw(generator)
        if isinstance(self.vae, SpatialVAE) and not self.vae.fitted:
            self.vae.fit_scales(pick_domain(self.sampler(_FIT, generator), self.domain))
        posterior, decoded = self._pass(image, condition, noise)
        mse = parallel.mean(((decoded - image) / self.vae.scale).square().mean())
        kl = parallel.mean(kl_per_dimension(posterior))
        pixels = image[0].numel()
        width = getattr(self.vae, "noise", None)
        if width is None:
            unlikely = (mse + _SMALLEST_MSE).log()
        else:
            unlikely = mse * (self.vae.scale / width) ** 2
        loss = 0.5 * unlikely + self.kl_weight * kl.clamp_min(self.free_bits).sum() / pixels
        optimiser = self.optimisers["vae"]
        set_lr(optimiser, one_cycle(index, self.steps, self.lr))
        descend(optimiser, loss, largest_norm=_GRADIENT_NORM)
        return {
            "loss": loss.item(),
            "rmse": mse.sqrt().item() * self.vae.scale,
            "kl": kl.sum().item(),
        }
