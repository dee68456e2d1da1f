"""The decoder of the 2024 paper's autoencoder: after BigGAN's generator, given ŷ at every scale."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from recon.errors import DataError

from ..representation.vae import beside
from .batch_norm import BatchNorm2d

__all__ = ["BigGANDecoder"]

_CHUNK = 20  # dimensions of z̄ that each block is given for itself
_EMBEDDING = 128  # of the whole of z̄, which all the blocks are given
_WIDTHS = (16, 16, 8, 4, 2, 1)  # from 4 × 4 pixels to 128 × 128, in units of the base width


class ModulatedNorm(nn.Module):
    """Batch normalisation whose gain and shift depend on a code (B, d)."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False)
        self.gain = spectral_norm(nn.Linear(code, channels, bias=False))
        self.shift = spectral_norm(nn.Linear(code, channels, bias=False))

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        """Features of the same shape."""
        gain, shift = self.gain(code)[:, :, None, None], self.shift(code)[:, :, None, None]
        return self.norm(h) * (1 + gain) + shift


class UpBlock(nn.Module):
    """Residual block that doubles the side of its features."""

    def __init__(self, before: int, after: int, code: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ModulatedNorm(before, code), ModulatedNorm(after, code)
        self.conv1 = spectral_norm(nn.Conv2d(before, after, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(after, after, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(before, after, 1))

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        """``(B, before, s, s)`` → ``(B, after, 2 s, 2 s)``."""
        new = functional.interpolate(self.norm1(h, code).relu(), scale_factor=2)
        new = self.conv2(self.norm2(self.conv1(new), code).relu())
        return new + functional.interpolate(self.skip(h), scale_factor=2)


class SelfAttention(nn.Module):
    """Each place sees all others, through a gain that starts at nothing.

    H. Zhang et al., "Self-attention generative adversarial networks", ICML 2019.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.query = spectral_norm(nn.Conv2d(channels, small, 1, bias=False))
        self.key = spectral_norm(nn.Conv2d(channels, small, 1, bias=False))
        self.value = spectral_norm(nn.Conv2d(channels, half, 1, bias=False))
        self.out = spectral_norm(nn.Conv2d(half, channels, 1, bias=False))
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        """Features of the same shape."""
        query = self.query(h).flatten(2).transpose(1, 2)
        key = functional.max_pool2d(self.key(h), 2).flatten(2)
        value = functional.max_pool2d(self.value(h), 2).flatten(2).transpose(1, 2)
        seen = (query @ key).softmax(-1) @ value
        return h + self.gain * self.out(seen.transpose(1, 2).unflatten(2, h.shape[-2:]))


class BigGANDecoder(nn.Module):
    """Generator after BigGAN, from a latent to an image, given a condition ŷ at every scale.

    A. Brock, J. Donahue, K. Simonyan, "Large scale GAN training for high fidelity natural image
    synthesis", ICLR 2019: residual blocks with modulated batch normalisation, a share of z̄ for
    each, spectral normalisation, and self-attention where half of the side is reached. An embedding
    of z̄ stands in the place of the class.

    Parameters
    ----------
    side : int
        Side of the image: 16, 32, 64 or 128 [pixels].
    channels, condition : int
        Channels of the image and of ŷ; ŷ may be absent (0).
    latent : int
        Dimensions of z̄; more than 20 for each block.
    width : int
        Base width: the first block has 16 times as many channels, the last as many.
    """

    def __init__(self, *, side: int, channels: int, condition: int, latent: int, width: int):
        super().__init__()
        if side not in (16, 32, 64, 128):
            raise DataError(
                "the decoder doubles 4 pixels a number of times",
                where="shape",
                expected="16, 32, 64 or 128",
                got=side,
            )
        blocks = (side // 4).bit_length() - 1
        own = latent - _CHUNK * blocks
        if own < 1 or width < 1:
            raise DataError(
                "the decoder gives each block a share of the latent",
                where="latent, width",
                expected=f"latent > {_CHUNK * blocks}, width ≥ 1",
                got=f"{latent}, {width}",
            )
        self.shares = [own, *[_CHUNK] * blocks]
        widths = [width * factor for factor in _WIDTHS[-blocks - 1 :]]
        self.embedding = nn.Sequential(
            nn.Linear(latent, 2 * _EMBEDDING), nn.SiLU(), nn.Linear(2 * _EMBEDDING, _EMBEDDING)
        )
        self.first = spectral_norm(nn.Linear(own, 16 * widths[0]))
        self.blocks = nn.ModuleList(
            UpBlock(before + condition, after, _CHUNK + _EMBEDDING)
            for before, after in pairwise(widths)
        )
        self.attention = SelfAttention(widths[-2])
        self.norm = BatchNorm2d(width)
        self.last = nn.Conv2d(width + condition, channels, 3, padding=1)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``(B, channels, side, side)`` of latents ``(B, latent)``, in normalised units."""
        first, *codes = latent.split(self.shares, dim=1)
        embedded = self.embedding(latent)
        h = self.first(first).unflatten(1, (-1, 4, 4))
        for number, (block, code) in enumerate(zip(self.blocks, codes), 1):
            if number == len(self.blocks):
                h = self.attention(h)
            h = block(beside(h, condition), torch.cat([code, embedded], dim=1))
        return self.last(beside(self.norm(h).relu(), condition))
