"""The conditional invertible network of images: couplings that are convolutions of latent maps.

``v = t(z̄ | z)`` as in :mod:`ctxai.representation.cinn`, for latents that lie on a grid, such as
those of :class:`~ctxai.LinearAutoencoder`. What a layer leaves open of a pixel depends on what the
layer says of its neighbourhood; couplings and condition therefore act where they stand, and one
set of weights serves images of any size.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, pixel_unshuffle

from recon.errors import DataError

from .condition import channel_scales, check_latents, check_representation, condition_sides
from .linear_guess import fit_filters
from .noise_told import TOLD, ToldNoise, weights_of
from .residual import Residual, zeroed

__all__ = ["ConvolutionalINN"]

_LOG_SCALE_BOUND = 1.5  # |ξ| stays below this, so that no coupling stretches by more than e^1.5
_MIXING_SEED = 20240
_SUMMARY = 8  # channels that a representation with more is summarised in
_MARGINS = (4, 2, 1, 0)  # pixels that the linear guess sees around a block, as inputs allow
_INPUTS = 1200  # of the linear guess at most: each is a weight to be fitted


class _Coupling(nn.Module):
    """ξ and δ of one half of the channels, of the other half and of the embedding h(z)."""

    def __init__(self, kept: int, moved: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(kept, hidden, 3, padding=1)
        self.given = nn.Conv2d(embedding, hidden, 1, bias=False)
        self.middle = nn.Conv2d(hidden, hidden, 1)
        self.leave = zeroed(nn.Conv2d(hidden, 2 * moved, 3, padding=1))  # starts as the identity

    def forward(self, kept: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.silu(self.enter(kept) + self.given(given))
        hidden = nn.functional.silu(self.middle(hidden))
        scale, shift = self.leave(hidden).chunk(2, dim=1)
        return _LOG_SCALE_BOUND * torch.tanh(scale / _LOG_SCALE_BOUND), shift


def _scaled(
    sides: tuple[int, ...], shape: tuple[int, int], image: tuple[int, int]
) -> tuple[int, ...]:
    """Sides of a map that belongs to images of one shape, for images of another."""
    return tuple(side * int(new) // old for side, new, old in zip(sides, shape, image))


class ConvolutionalINN(nn.Module):
    r"""Conditional invertible network ``v = t(z̄ | z)`` of convolutional coupling blocks.

    First z̄ is freed of what z says of it, ``u = (z̄ - G z - g(h)) / s``: G is a linear guess by
    filters and s a scale for each channel (ActNorm), both fitted to data, and g corrects the guess
    by a convolution of the embedding h(z). Then each block mixes the channels by a fixed orthogonal
    matrix, splits them into halves and computes

    .. math::
        \hat x_2 &= x_2 \exp(ξ_1(x_1, h)) + δ_1(x_1, h) \\
        \hat x_1 &= x_1 \exp(ξ_2(\hat x_2, h)) + δ_2(\hat x_2, h)

    where ξ and δ are convolutions over the latent's grid and h is a map on the same grid
    (Dinh et al., "Density estimation using Real NVP", ICLR 2017; Kingma and Dhariwal, "Glow",
    NeurIPS 2018). ξ is softly bounded by 1.5. Where the noise of the scan is described
    (:func:`ctxai.describe_noise`), h takes it in, and log s is linear in it.

    Parameters
    ----------
    latent_shape : (channels, rows, cols)
        Of z̄, as the autoencoder states it; v has as many numbers.
    condition_shape : tuple of int
        Shape of one z: ``(C, H, W)`` for a feature map, ``(d,)`` for a vector. A map is seen in
        blocks of the latent's grid, a vector in each place of it.
    blocks : int
        Number of coupling blocks.
    hidden : int
        Channels inside ξ and δ.
    embedding : int
        Channels of h(z). A z of more than 8 channels is first summarised in 8.

    Raises
    ------
    DataError
        If the latent has fewer than two channels, or z is neither a map nor a vector.

    Examples
    --------
    >>> import torch
    >>> from ctxai import ConvolutionalINN
    >>> cinn = ConvolutionalINN(
    ...     latent_shape=(16, 4, 4), condition_shape=(1, 16, 16), blocks=2, hidden=8, embedding=8
    ... )
    >>> latent, z = torch.randn(5, 256), torch.randn(5, 1, 16, 16)
    >>> v, log_det = cinn(latent, z)
    >>> v.shape, bool((cinn.inverse(v, z) - latent).abs().max() < 1e-4)
    (torch.Size([5, 256]), True)
    """

    condition_mean: Tensor
    condition_scale: Tensor
    filters: Tensor
    bias: Tensor
    log_scale: Tensor
    fitted: Tensor
    mixing: Tensor

    def __init__(
        self,
        *,
        latent_shape: tuple[int, int, int],
        condition_shape: tuple[int, ...],
        blocks: int = 8,
        hidden: int = 64,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        channels, rows, cols = (int(side) for side in latent_shape)
        if channels < 2 or min(rows, cols) < 1:
            raise DataError(
                "too few latent channels to couple", where="latent_shape",
                expected="(2 or more, rows, cols)", got=tuple(latent_shape),
            )  # fmt: skip
        condition_shape = condition_sides(condition_shape)
        self.config: dict[str, Any] = {
            "latent_shape": [channels, rows, cols], "condition_shape": list(condition_shape),
            "blocks": blocks, "hidden": hidden, "embedding": embedding,
        }  # fmt: skip
        self.latent_shape = (channels, rows, cols)
        self.condition_shape = condition_shape
        depth, high, _ = condition_shape if len(condition_shape) == 3 else (*condition_shape, 1, 1)
        self.stride = stride = max(1, high // rows)
        self.margin = next(m for m in _MARGINS if not m or depth * (stride + 2 * m) ** 2 <= _INPUTS)
        side = stride + 2 * self.margin
        self.register_buffer("condition_mean", torch.zeros(depth, 1, 1))
        self.register_buffer("condition_scale", torch.ones(depth, 1, 1))
        self.register_buffer("filters", torch.zeros(channels, depth, side, side))
        self.register_buffer("bias", torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_slope = nn.Parameter(torch.zeros(channels, TOLD))
        self.told = ToldNoise(embedding)
        self.register_buffer("fitted", torch.zeros(()))

        summary = min(depth, _SUMMARY)
        self.summary = nn.Conv2d(depth, summary, 1) if depth > summary else nn.Identity()
        self.embedding = nn.Sequential(
            nn.Conv2d(summary * stride**2 + channels, embedding, 3, padding=1), nn.SiLU(),
            Residual(embedding), Residual(embedding),
        )  # fmt: skip
        self.correction = zeroed(nn.Conv2d(embedding, channels, 3, padding=1))
        half = channels // 2
        self.couplings = nn.ModuleList(
            _Coupling(kept, moved, embedding, hidden)
            for _ in range(blocks)
            for kept, moved in ((half, channels - half), (channels - half, half))
        )
        shuffle = torch.Generator().manual_seed(_MIXING_SEED)
        normal = torch.randn(blocks, channels, channels, generator=shuffle, dtype=torch.float64)
        q, r = torch.linalg.qr(normal)
        q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]  # the one with positive diagonal of R
        self.register_buffer("mixing", q.float(), persistent=False)

    @property
    def latent(self) -> int:
        """Dimensions of v and of z̄."""
        return math.prod(self.latent_shape)

    def resized(self, shape: tuple[int, int], image: tuple[int, int]) -> ConvolutionalINN:
        """The same weights for images of a shape (rows, cols), where they were of shape `image`."""
        sides = self.latent_shape[1:]
        sizes = {"latent_shape": (self.latent_shape[0], *_scaled(sides, shape, image))}
        if len(self.condition_shape) == 3:
            given = _scaled(self.condition_shape[1:], shape, image)
            sizes["condition_shape"] = (self.condition_shape[0], *given)
        other = ConvolutionalINN(**{**self.config, **sizes}).to(self.bias.device)
        other.load_state_dict(self.state_dict())
        return other.train(self.training).requires_grad_(self.log_scale.requires_grad)

    def _normalised(self, z: Tensor) -> Tensor:
        check_representation(z, self.condition_shape, "invertible network")
        _, rows, cols = self.latent_shape
        maps = z[:, :, None, None] if z.ndim == 2 else z
        grid = (self.stride * rows, self.stride * cols)
        if tuple(maps.shape[2:]) != grid:
            maps = adaptive_avg_pool2d(maps, grid)
        return (maps - self.condition_mean) / self.condition_scale

    def guess(self, z: Tensor) -> Tensor:
        """G z, the linear guess ``(B, *latent_shape)`` of z̄."""
        return conv2d(
            self._normalised(z), self.filters, self.bias, stride=self.stride, padding=self.margin
        )

    def embed(self, z: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What z says of z̄, ``(B, *latent_shape)``, h(z) ``(B, embedding, rows, cols)``, -log s."""
        log_scale = (
            self.log_scale + (self.told.normalised(noise) @ self.log_slope.T)[..., None, None]
        )
        guess = self.guess(z)
        detail = torch.asinh((guess - guess.mean((2, 3), keepdim=True)) * log_scale.exp())
        seen = pixel_unshuffle(self.summary(self._normalised(z)), self.stride)
        enter, *rest = self.embedding
        given = enter(torch.cat([seen, detail], dim=1)) + self.told(noise)[:, :, None, None]
        for layer in rest:
            given = layer(given)
        return guess + self.correction(given) * (-log_scale).exp(), given, log_scale

    def _maps(self, flat: Tensor, z: Tensor, name: str) -> Tensor:
        check_latents(flat, self.latent, z, name)
        return flat.reshape(-1, *self.latent_shape)

    def forward(
        self, latent: Tensor, z: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map latents to v, with the log-determinant of the Jacobian.

        Parameters
        ----------
        latent : Tensor
            z̄, ``(n, latent)``.
        z : Tensor
            Representations ``(n, *condition_shape)`` in the layer's own scale, or a single one.
        noise : Tensor, optional
            What :func:`ctxai.describe_noise` says of the scans' noise, ``(n, 3)`` or ``(1, 3)``;
            the mean over the training by default.

        Returns
        -------
        v : Tensor
            ``(n, latent)``, N(0, 1) for a trained network.
        log_det : Tensor
            ``log|det ∂v/∂z̄|``, ``(n,)``.
        """
        maps = self._maps(latent, z, "latent")
        guess, given, log_scale = self.embed(z, noise)
        x = (maps - guess) * log_scale.exp()
        log_det = log_scale.sum((1, 2, 3)) * maps[0, 0].numel() + x.new_zeros(len(x))
        half = self.latent_shape[0] // 2
        for k, mixing in enumerate(self.mixing):
            first, second = torch.einsum("ab,nbhw->nahw", mixing, x).tensor_split([half], dim=1)
            scale, shift = self.couplings[2 * k](first, given)
            second = second * scale.exp() + shift
            log_det = log_det + scale.sum((1, 2, 3))
            scale, shift = self.couplings[2 * k + 1](second, given)
            first = first * scale.exp() + shift
            log_det = log_det + scale.sum((1, 2, 3))
            x = torch.cat([first, second], dim=1)
        return x.flatten(1), log_det

    def inverse(self, v: Tensor, z: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map ``v (n, latent)`` back to latents ``(n, latent)``, given n representations or one."""
        x = self._maps(v, z, "v")
        guess, given, log_scale = self.embed(z, noise)
        half = self.latent_shape[0] // 2
        for k in reversed(range(len(self.mixing))):
            first, second = x.tensor_split([half], dim=1)
            scale, shift = self.couplings[2 * k + 1](second, given)
            first = (first - shift) * (-scale).exp()
            scale, shift = self.couplings[2 * k](first, given)
            second = (second - shift) * (-scale).exp()
            x = torch.einsum("ab,nahw->nbhw", self.mixing[k], torch.cat([first, second], dim=1))
        return (x * (-log_scale).exp() + guess).flatten(1)

    @torch.no_grad()
    def fit_scales(self, latent: Tensor, z: Tensor, noise: Tensor | None = None) -> None:
        """Set the linear guess and all scales from data.

        Parameters
        ----------
        latent : Tensor
            Latents ``(B, latent)``.
        z : Tensor
            Their representations; normalised per channel. A channel that never varies keeps the
            scale 1.
        noise : Tensor, optional
            Descriptions of their noise ``(B, 3)``: scans count by how little they have.
        """
        self.told.fit(noise)
        mean, spread = channel_scales(z)
        self.condition_mean.copy_(mean[:, None, None])
        self.condition_scale.copy_(spread[:, None, None])
        maps = self._maps(latent, z, "latent")
        side = self.filters.shape[-1]
        filters, bias = fit_filters(
            self._normalised(z), maps, side=side, stride=self.stride, weights=weights_of(noise)
        )
        self.filters.copy_(filters)
        self.bias.copy_(bias)
        missed = (maps - self.guess(z)).square().mean((2, 3)).sqrt().clamp_min(1e-6)
        at_mean, slopes = self.told.log_linear(missed, noise)
        self.log_scale.copy_(-at_mean[:, None, None])
        self.log_slope.copy_(-slopes)
        self.fitted.fill_(1.0)
