"""How an autoencoder is trained against a critic and in a feature space, as in the 2024 paper."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data import PairSampler
from ..precision import mixed
from ..representation.vae import VAE, beside, kl_per_dimension
from ..training import parallel
from ..training.denoiser import gradient_penalty
from ..training.loop import descend
from ..training.vae import VAETask

__all__ = ["VAEGANTask"]


class VAEGANTask(VAETask):
    r"""Train a `ctxai.VAE` on absolute differences, features and a Wasserstein critic.

    .. math::
        L = w_1 ‖\hat x - x‖_1 + w \sum_d \max(b, KL_d) + w_V \langle |V(\hat x) - V(x)| \rangle
            - \langle C(\hat x, ŷ) \rangle

    in units of the VAE's ``scale``, the mean taken over a batch; before each such step the critic
    takes one down ``⟨C(x̂, ŷ)⟩ - ⟨C(x, ŷ)⟩ + λ ⟨(‖∇C‖ - 1)²⟩``. The defaults are those of
    E. Eulig et al. (Med. Phys. 2024); learning rates are constant, the critic's is four times lr.

    Parameters
    ----------
    vae, sampler, f, domain, batch, kl_weight, free_bits
        As in :class:`~ctxai.training.vae.VAETask`.
    critic : Module
        `ctxai.training.critic.Critic` of as many channels as image and condition have together.
    features : callable
        Images [HU] to features, `ctxai.training.features.VGG19Features`; not trained.
    lr : float
        Learning rate of the autoencoder.
    l1_weight, feature_weight : float
        Weights w₁ of the summed absolute differences, and w_V of the features' mean ones.
    penalty : float
        Weight λ of the gradient penalty.
    betas : (float, float)
        Of Adam.
    """

    def __init__(
        self,
        vae: VAE,
        critic: nn.Module,
        features: Callable[[Tensor], Tensor],
        sampler: PairSampler,
        *,
        f: Callable[[Tensor], Tensor] | None = None,
        domain: str = "x",
        batch: int = 64,
        lr: float = 1e-5,
        l1_weight: float = 0.00119,
        kl_weight: float = 0.575,
        feature_weight: float = 0.121,
        penalty: float = 10.0,
        free_bits: float = 0.0,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__(
            vae, sampler, f=f, domain=domain, batch=batch, lr=lr, kl_weight=kl_weight,
            free_bits=free_bits,
        )  # fmt: skip
        self.critic, self.features = critic, features
        self.l1_weight, self.feature_weight, self.penalty = l1_weight, feature_weight, penalty
        self.settings |= {
            "lr": lr, "l1_weight": l1_weight, "feature_weight": feature_weight,
            "penalty": penalty, "betas": list(betas),
            "features": [getattr(features, "cut", ""), getattr(features, "source", "")],
        }  # fmt: skip
        self.modules = {"vae": vae, "critic": critic}
        self.optimisers = {
            "vae": torch.optim.Adam(vae.parameters(), lr, betas=betas),
            "critic": torch.optim.Adam(critic.parameters(), 4 * lr, betas=betas),
        }

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """One step of the critic and one of the autoencoder, on one batch; logs losses and parts.

        The loss per image, rms error [unit], KL [nats], mean feature distance, and of the critic
        the distance that it sees and its gradient penalty.
        """
        self.vae.train()
        image, condition, noise = self._draw(generator)
        share = torch.rand(self.batch, 1, 1, 1, generator=generator).to(image)
        (share,) = parallel.rows(share)
        log = self._critic_step(image, condition, noise, share)

        self.critic.requires_grad_(False)
        posterior, decoded = self._pass(image, condition, noise)
        difference = (decoded - image) / self.vae.scale
        l1 = parallel.mean(difference.abs().flatten(1).sum(1).mean())
        kl = parallel.mean(kl_per_dimension(posterior))
        with mixed(image):
            gap = self.features(decoded) - self.features(image)
            score = parallel.mean(self.critic(beside(decoded, condition)).mean())
        apart = parallel.mean(gap.to(image).abs().mean())
        loss = (
            self.l1_weight * l1
            + self.kl_weight * kl.clamp_min(self.free_bits).sum()
            + self.feature_weight * apart
            - score
        )
        descend(self.optimisers["vae"], loss)
        self.critic.requires_grad_(True)
        mse = parallel.mean(difference.detach().square().mean())
        return {
            "loss": loss.item(),
            "rmse": mse.sqrt().item() * self.vae.scale,
            "kl": kl.sum().item(),
            "features": apart.item(),
            **log,
        }

    def _critic_step(
        self, image: Tensor, condition: Tensor | None, noise: Tensor, share: Tensor
    ) -> dict[str, float]:
        with torch.no_grad():
            _, decoded = self._pass(image, condition, noise)
        true, made = beside(image, condition), beside(decoded, condition)
        with mixed(image):
            distance = parallel.mean(self.critic(true).mean() - self.critic(made).mean())
            penalty = gradient_penalty(self.critic, share * true + (1 - share) * made)
        penalty = parallel.mean(penalty)
        descend(self.optimisers["critic"], self.penalty * penalty - distance)
        return {"wasserstein": distance.item(), "penalty": penalty.item()}
