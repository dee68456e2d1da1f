"""The conditional invertible network: what a layer does not represent, as plain normal numbers.

``v = t(z̄ | z)`` maps the complete representation z̄ of an image to v ~ N(0, 1) given the layer's
representation z; its inverse turns any v into another z̄ with the same z. Method after Rombach,
Esser and Ommer, "Making sense of CNNs", ECCV 2020.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Transform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import LazyComposedTransform, LazyTransform, UnconditionalTransform
from zuko.transforms import MonotonicAffineTransform, PermutationTransform

from recon.errors import DataError

from .condition import channel_scales, check_latents, check_representation, condition_sides

__all__ = ["ConditionalINN"]

_LOG_SCALE_BOUND = 2.0  # |ξ| stays below this, so that no block stretches by more than e²
_PERMUTATION_SEED = 20240


class ActNorm(LazyTransform):
    """A learned affine map per dimension that starts by giving its data mean 0 and variance 1."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))

    @torch.no_grad()
    def fit(self, latent: Tensor) -> None:
        """Set shift and scale from a batch ``(B, features)``."""
        spread = latent.std(0).clamp_min(1e-6)
        self.log_scale.copy_(-spread.log())
        self.shift.copy_(-latent.mean(0) / spread)

    def forward(self, c: Tensor | None = None) -> Transform:
        """Return the transform ``x ↦ x·exp(log_scale) + shift``."""
        return AffineTransform(self.shift, self.log_scale.exp(), event_dim=1)


class VectorEmbedding(nn.Module):
    """h(z) of a vector z: a small perceptron beside a linear map."""

    def __init__(self, features: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, embedding)
        self.curved = nn.Sequential(
            nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, embedding)
        )

    def forward(self, z: Tensor) -> Tensor:
        """``(B, features)`` → ``(B, embedding)``."""
        return self.linear(z) + self.curved(z)


def image_embedding(shape: tuple[int, int, int], embedding: int) -> nn.Sequential:
    """h(z) of a feature map z: strided convolutions down to 4×4 or less, then a linear map."""
    channels, rows, cols = shape
    layers: list[nn.Module] = []
    if channels > 16:
        layers.append(nn.Conv2d(channels, 16, 1))
        channels = 16
    width = 16
    while max(rows, cols) > 4:
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.SiLU()]
        channels, width = width, min(2 * width, 64)
        rows, cols = (rows + 1) // 2, (cols + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * rows * cols, embedding))


def double_coupling(latent: int, embedding: int, hidden: int) -> list[LazyTransform]:
    """One block: the second half is moved given the first, then the first given the second."""
    first_half = torch.arange(latent) < latent // 2
    univariate = partial(MonotonicAffineTransform, slope=math.exp(-_LOG_SCALE_BOUND))
    block = []
    for kept in (first_half, ~first_half):
        coupling = GeneralCouplingTransform(
            latent,
            embedding,
            mask=kept,
            univariate=univariate,
            hidden_features=(hidden, hidden),
            activation=nn.SiLU,
        )
        nn.init.zeros_(coupling.hyper[-1].weight)  # the block starts as the identity
        nn.init.zeros_(coupling.hyper[-1].bias)
        block.append(coupling)
    return block


class ConditionalINN(nn.Module):
    r"""Conditional invertible network ``v = t(z̄ | z)`` of double affine coupling blocks.

    Each block splits z̄ into halves and computes, given the embedding h(z),

    .. math::
        \hat x_2 &= x_2 \exp(ξ_1(x_1, h)) + δ_1(x_1, h) \\
        \hat x_1 &= x_1 \exp(ξ_2(\hat x_2, h)) + δ_2(\hat x_2, h)

    with a fixed permutation before and an ActNorm after it (Dinh et al., "Density estimation using
    Real NVP", ICLR 2017; Kingma and Dhariwal, "Glow", NeurIPS 2018). ξ is softly bounded by 2.

    Parameters
    ----------
    latent : int
        Dimensions of z̄ and of v.
    condition_shape : tuple of int
        Shape of one z: ``(C, H, W)`` for a feature map, ``(d,)`` for a vector.
    blocks : int
        Number of double coupling blocks.
    hidden : int
        Width of the two hidden layers of each coupling network.
    embedding : int
        Dimensions of h(z).

    Raises
    ------
    DataError
        If ``latent`` is below 2 or ``condition_shape`` is neither a vector's nor a feature map's.

    Examples
    --------
    >>> import torch
    >>> from ctxai import ConditionalINN
    >>> cinn = ConditionalINN(latent=8, condition_shape=(3,), blocks=2, hidden=16, embedding=4)
    >>> latent, z = torch.randn(5, 8), torch.randn(5, 3)
    >>> v, log_det = cinn(latent, z)
    >>> v.shape, log_det.shape
    (torch.Size([5, 8]), torch.Size([5]))
    >>> torch.allclose(cinn.inverse(v, z), latent, atol=1e-5)
    True
    """

    condition_mean: Tensor
    condition_scale: Tensor
    fitted: Tensor

    def __init__(
        self,
        *,
        latent: int = 128,
        condition_shape: tuple[int, ...],
        blocks: int = 6,
        hidden: int = 128,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        if latent < 2:
            raise DataError(
                "too few latent dimensions to couple", where="latent", expected="≥ 2", got=latent
            )
        condition_shape = condition_sides(condition_shape)
        self.config: dict[str, Any] = {
            "latent": latent,
            "condition_shape": list(condition_shape),
            "blocks": blocks,
            "hidden": hidden,
            "embedding": embedding,
        }
        self.latent = latent
        self.condition_shape = condition_shape
        if len(condition_shape) == 1:
            self.embedding: nn.Module = VectorEmbedding(condition_shape[0], hidden, embedding)
            per_channel: tuple[int, ...] = condition_shape
        else:
            self.embedding = image_embedding(condition_shape, embedding)  # type: ignore[arg-type]
            per_channel = (condition_shape[0], 1, 1)
        self.register_buffer("condition_mean", torch.zeros(per_channel))
        self.register_buffer("condition_scale", torch.ones(per_channel))
        self.register_buffer("fitted", torch.zeros(()))

        shuffle = torch.Generator().manual_seed(_PERMUTATION_SEED)
        steps: list[LazyTransform] = [ActNorm(latent)]
        for _ in range(blocks):
            order = torch.randperm(latent, generator=shuffle)
            steps.append(UnconditionalTransform(PermutationTransform, order, buffer=True))
            steps += double_coupling(latent, embedding, hidden)
            steps.append(ActNorm(latent))
        self.flow = LazyComposedTransform(*steps)

    def embed(self, z: Tensor) -> Tensor:
        """Embedding h(z) ``(B, embedding)`` of representations z ``(B, *condition_shape)``."""
        check_representation(z, self.condition_shape, "invertible network")
        return self.embedding((z - self.condition_mean) / self.condition_scale)

    def _given(self, latent: Tensor, z: Tensor, name: str) -> Transform:
        check_latents(latent, self.latent, z, name)
        return self.flow(self.embed(z).expand(len(latent), -1))

    def forward(self, latent: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents to v, with the log-determinant of the Jacobian.

        Parameters
        ----------
        latent : Tensor
            z̄, ``(n, latent)``.
        z : Tensor
            Representations ``(n, *condition_shape)`` in the layer's own scale, or a single one
            ``(1, *condition_shape)`` for all latents.

        Returns
        -------
        v : Tensor
            ``(n, latent)``, N(0, 1) for a trained network.
        log_det : Tensor
            ``log|det ∂v/∂z̄|``, ``(n,)``.
        """
        return self._given(latent, z, "latent").call_and_ladj(latent)  # type: ignore[attr-defined]

    def inverse(self, v: Tensor, z: Tensor) -> Tensor:
        """Map ``v (n, latent)`` back to latents ``(n, latent)``, given n representations or one."""
        return self._given(v, z, "v").inv(v)

    @torch.no_grad()
    def fit_scales(self, latent: Tensor, z: Tensor) -> None:
        """Set the scale of the condition and of every ActNorm from data.

        Parameters
        ----------
        latent : Tensor
            Latents ``(B, latent)``, B ≥ 2.
        z : Tensor
            Their representations ``(B, *condition_shape)``; normalised per channel (a feature map)
            or per entry (a vector). A channel that never varies keeps the scale 1.
        """
        mean, spread = channel_scales(z)
        self.condition_mean.copy_(mean.reshape(self.condition_mean.shape))
        self.condition_scale.copy_(spread.reshape(self.condition_scale.shape))
        embedding = self.embed(z)
        for step in self.flow.transforms:
            if isinstance(step, ActNorm):
                step.fit(latent)
            latent = step(embedding)(latent)
        self.fitted.fill_(1.0)
