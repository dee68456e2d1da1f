"""The variational autoencoder whose latent is a map: wide enough for noise, at any size of image.

Noise does not compress. A latent that is to hold a low-dose patch needs nearly as many numbers as
the patch has pixels, and it needs them where the pixels are, as in latent diffusion (Rombach et
al., "High-resolution image synthesis with latent diffusion models", CVPR 2022).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import conv2d, conv_transpose2d, pixel_unshuffle

from recon.errors import DataError

from .autoencoder import check_condition, check_image, check_latent
from .linear import block_cosines, check_blocks
from .residual import Residual, zeroed

__all__ = ["SpatialVAE"]

_STRIDE = 4  # pixels of the image to one place of the latent
_LOG_VARIANCES = (-14.0, 4.0)


def _body(before: int, width: int, after: int) -> nn.Sequential:
    """What is added to a linear map; nothing at the start."""
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1), nn.SiLU(), Residual(width), Residual(width),
        zeroed(nn.Conv2d(width, after, 3, padding=1)),
    )  # fmt: skip


class SpatialVAE(nn.Module):
    r"""Variational autoencoder with a latent map and a likelihood of known width.

    .. math::
        q(z̄ | x) = N(A B x + e(B x),\ σ²(B x)), \qquad p(x | z̄) = N(Bᵀ(A^+ z̄ + d(z̄)),\ w²)

    B is the cosine transform of blocks of 4 × 4 pixels, A a matrix of channels that starts at the
    whitened principal components of the blocks (`fit_scales`), e and d are convolutions that start
    at nothing: training begins at the best linear autoencoder (Kingma and Welling,
    "Auto-encoding variational Bayes", ICLR 2014; Tipping and Bishop, "Probabilistic principal
    component analysis", J. R. Stat. Soc. B 61, 1999). The width w [unit] says how well images are
    to be held: with as many numbers as pixels a free width would shrink without end.

    Parameters
    ----------
    shape : (rows, cols)
        Of an image, multiples of 4 [pixels].
    latent_channels : int
        Numbers for each block of 4 × 4 pixels: 16 is one for each pixel.
    width : int
        Channels inside e and d.
    noise : float
        w [unit].
    offset, scale : float
        The networks see ``(image - offset) / scale`` [unit].
    channels : int
        Channels of an image, 1 for CT.
    unit : str
        Unit of the images.
    condition : int
        Channels of an image ŷ that e and d are given, 0 for none.

    Raises
    ------
    DataError
        If the sides are no multiples of 4, or a size is out of its range.

    Examples
    --------
    >>> import torch
    >>> from ctxai import SpatialVAE
    >>> vae = SpatialVAE(shape=(16, 16), latent_channels=8, width=8, offset=-300.0, scale=400.0)
    >>> posterior = vae.encode(torch.zeros(3, 1, 16, 16))
    >>> posterior.loc.shape, vae.decode(posterior.loc).shape
    (torch.Size([3, 128]), torch.Size([3, 1, 16, 16]))
    """

    mean: Tensor
    kernels: Tensor
    fitted: Tensor

    def __init__(
        self,
        *,
        shape: tuple[int, int] = (64, 64),
        latent_channels: int = 16,
        width: int = 64,
        noise: float = 3.0,
        offset: float = 0.0,
        scale: float = 1.0,
        channels: int = 1,
        unit: str = "HU",
        condition: int = 0,
    ) -> None:
        super().__init__()
        rows, cols = (int(side) for side in shape)
        check_blocks((rows, cols), _STRIDE)
        whole = channels * _STRIDE**2
        if not (1 <= latent_channels <= whole and noise > 0 and scale > 0 and condition >= 0):
            raise DataError(
                "a size is out of its range", where="latent_channels, noise, scale, condition",
                expected=f"1 to {whole}, two positive numbers, and 0 or more",
                got=(latent_channels, noise, scale, condition),
            )  # fmt: skip
        self.config: dict[str, Any] = {
            "shape": [rows, cols], "latent_channels": latent_channels, "width": width,
            "noise": noise, "offset": offset, "scale": scale, "channels": channels, "unit": unit,
            "condition": condition,
        }  # fmt: skip
        self.shape, self.channels, self.unit = (rows, cols), channels, unit
        self.offset, self.scale, self.noise, self.condition = offset, scale, noise, condition
        self.latent_shape = (latent_channels, rows // _STRIDE, cols // _STRIDE)
        given = condition * _STRIDE**2
        self.analyse = nn.Conv2d(whole, latent_channels, 1, bias=False)
        self.synthesise = nn.Conv2d(latent_channels, whole, 1, bias=False)
        self.encoder = _body(whole + given, width, 2 * latent_channels)
        self.decoder = _body(latent_channels + given, width, whole)
        self.register_buffer("mean", torch.zeros(whole, 1, 1))
        self.register_buffer("fitted", torch.zeros(()))
        kernels = block_cosines(_STRIDE, channels).reshape(whole, channels, _STRIDE, _STRIDE)
        self.register_buffer("kernels", kernels, persistent=False)

    @property
    def latent(self) -> int:
        """Dimensions of z̄."""
        return math.prod(self.latent_shape)

    def resized(self, shape: tuple[int, int]) -> SpatialVAE:
        """The same weights for images of another size."""
        other = SpatialVAE(**{**self.config, "shape": shape}).to(self.mean.device)
        other.load_state_dict(self.state_dict())
        return other.train(self.training).requires_grad_(self.analyse.weight.requires_grad)

    def _seen(self, image: Tensor, channels: int, name: str) -> Tensor:
        check_image(image, channels, self.shape, name)
        return (image - self.offset) / self.scale

    def _blocks(self, image: Tensor) -> Tensor:
        """B x less its mean, ``(B, 16 channels, rows/4, cols/4)``."""
        seen = self._seen(image, self.channels, "image")
        return conv2d(seen, self.kernels, stride=_STRIDE) - self.mean

    def _beside(self, maps: Tensor, condition: Tensor | None) -> Tensor:
        check_condition(condition, self.condition)
        if condition is None:
            return maps
        given = pixel_unshuffle(self._seen(condition, self.condition, "condition"), _STRIDE)
        return torch.cat([maps, given.expand(len(maps), -1, -1, -1)], dim=1)

    def encode(self, image: Tensor, condition: Tensor | None = None) -> Normal:
        """Posterior of the latent, of images ``(B, channels, rows, cols)`` [unit]; ŷ as needed."""
        blocks = self._blocks(image)
        found, log_variance = self.encoder(self._beside(blocks, condition)).chunk(2, dim=1)
        loc = (self.analyse(blocks) + found).to(blocks)
        scale = (0.5 * log_variance.to(blocks).clamp(*_LOG_VARIANCES)).exp()
        return Normal(loc.flatten(1), scale.flatten(1), validate_args=False)

    def decode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``(B, channels, rows, cols)`` [unit] of latents ``(B, latent)``; ŷ as needed."""
        check_latent(latent, self.latent)
        maps = latent.reshape(-1, *self.latent_shape)
        blocks = self.synthesise(maps) + self.decoder(self._beside(maps, condition)) + self.mean
        image = conv_transpose2d(blocks.to(latent), self.kernels, stride=_STRIDE)
        return image * self.scale + self.offset

    @torch.no_grad()
    def fit_scales(self, images: Tensor) -> None:
        """Start at the best linear autoencoder of the blocks of images ``(B, C, H, W)``.

        With eigenvalues λ of their covariance the best linear latents are the components over √λ,
        and their posterior has the variance ``w²/(λ + w²)``.
        """
        self.mean.zero_()
        blocks = self._blocks(images).movedim(1, -1).flatten(0, 2).double()
        self.mean.copy_(blocks.mean(0)[:, None, None])
        values, vectors = torch.linalg.eigh(blocks.T.cov())
        count = self.latent_shape[0]
        values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
        spread = values.clamp_min(1e-12).sqrt()
        self.analyse.weight.copy_((vectors / spread).T[:, :, None, None])
        self.synthesise.weight.copy_((vectors * spread)[:, :, None, None])
        narrow = (self.noise / self.scale) ** 2
        last: Any = self.encoder[-1]
        last.bias[count:] = (narrow / (values + narrow)).log().to(last.bias)
        self.fitted.fill_(1.0)
