"""The linear autoencoder: an orthonormal transform of blocks of pixels, complete by construction.

With as many numbers as pixels it loses nothing, so that whatever a sampler in its latents gets
wrong is the sampler's fault; with fewer it says what any autoencoder of that size can hold.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import conv2d, conv_transpose2d, pixel_unshuffle

from recon.errors import DataError

from .autoencoder import check_image, check_latent

__all__ = ["LinearAutoencoder", "block_cosines", "check_blocks", "cosines"]


def cosines(side: int) -> Tensor:
    """Orthonormal cosine transform (DCT-II) of square blocks, ``(side², side²)``, low to high."""
    k = torch.arange(side, dtype=torch.float64)
    one = torch.cos(math.pi * (2 * k + 1) * k[:, None] / (2 * side)) * math.sqrt(2 / side)
    one[0] /= math.sqrt(2)
    both = torch.einsum("ai,bj->abij", one, one).reshape(side**2, side**2)
    rows, cols = torch.meshgrid(k, k, indexing="ij")
    return both[torch.argsort((rows**2 + cols**2).flatten(), stable=True)].float()


def block_cosines(side: int, channels: int) -> Tensor:
    """The same for blocks of images with channels, each transformed for itself."""
    return torch.block_diag(*[cosines(side)] * channels)


def check_blocks(shape: tuple[int, int], block: int) -> None:
    """Refuse images that do not divide into blocks."""
    if block < 1 or min(shape) < 1 or any(side % block for side in shape):
        raise DataError(
            "images do not divide into blocks", where="shape",
            expected=f"multiples of {block}", got=shape,
        )  # fmt: skip


class LinearAutoencoder(nn.Module):
    r"""Blocks of pixels in an orthonormal basis B: ``q(z̄ | x) = N(B(x - o)/s, (w/s)²)``.

    ``D(z̄) = s Bᵀz̄ + o`` gives the image back, exactly if all of B is kept. B is the cosine
    transform of the blocks until `fit` sets it to their principal components (Jolliffe, *Principal
    component analysis*, 2002).

    Parameters
    ----------
    shape : (rows, cols)
        Of an image, multiples of ``block`` [pixels].
    block : int
        Side of a block [pixels].
    kept : int, optional
        Numbers kept of each block, the first of the basis; all of them by default.
    offset, scale : float
        o and s [unit].
    width : float
        w, the standard deviation of the posterior [unit]. Since B is orthonormal, a sample of it
        differs from x by white noise of that size in each pixel.
    channels : int
        Channels of an image, 1 for CT.
    unit : str
        Unit of the images.

    Raises
    ------
    DataError
        If the sides are no multiples of ``block``, or a size is not positive.

    Examples
    --------
    >>> import torch
    >>> from ctxai import LinearAutoencoder
    >>> linear = LinearAutoencoder(shape=(16, 16), offset=-300.0, scale=100.0)
    >>> x = 50 * torch.randn(2, 1, 16, 16)
    >>> posterior = linear.encode(x)
    >>> posterior.loc.shape, bool((linear.decode(posterior.loc) - x).abs().max() < 1e-3)
    (torch.Size([2, 256]), True)
    """

    basis: Tensor
    condition = 0  # channels of an image ŷ that it is given: none

    def __init__(
        self,
        *,
        shape: tuple[int, int] = (64, 64),
        block: int = 4,
        kept: int | None = None,
        offset: float = 0.0,
        scale: float = 1.0,
        width: float = 2.0,
        channels: int = 1,
        unit: str = "HU",
    ) -> None:
        super().__init__()
        rows, cols = (int(side) for side in shape)
        whole = channels * block**2
        kept = whole if kept is None else int(kept)
        check_blocks((rows, cols), block)
        if not 1 <= kept <= whole or not scale > 0 or not width > 0:
            raise DataError(
                "a size is out of its range", where="kept, scale, width",
                expected=f"1 to {whole}, and two positive numbers", got=(kept, scale, width),
            )  # fmt: skip
        self.config: dict[str, Any] = {
            "shape": [rows, cols], "block": block, "kept": kept, "offset": offset, "scale": scale,
            "width": width, "channels": channels, "unit": unit,
        }  # fmt: skip
        self.shape, self.block, self.channels, self.unit = (rows, cols), block, channels, unit
        self.offset, self.scale, self.width = offset, scale, width
        self.latent_shape = (kept, rows // block, cols // block)
        self.register_buffer("basis", block_cosines(block, channels)[:kept])

    @property
    def latent(self) -> int:
        """Dimensions of z̄."""
        return math.prod(self.latent_shape)

    def resized(self, shape: tuple[int, int]) -> LinearAutoencoder:
        """The same basis for images of another size."""
        other = LinearAutoencoder(**{**self.config, "shape": shape}).to(self.basis.device)
        other.load_state_dict(self.state_dict())
        return other

    @property
    def _kernels(self) -> Tensor:
        """The basis as convolution kernels ``(kept, channels, block, block)``."""
        return self.basis.reshape(-1, self.channels, self.block, self.block)

    @torch.no_grad()
    def fit(self, images: Tensor) -> LinearAutoencoder:
        """Set the basis to the principal components of the blocks of images ``(B, C, H, W)``."""
        blocks = pixel_unshuffle(images, self.block).movedim(1, -1).flatten(0, 2).double()
        _, vectors = torch.linalg.eigh((blocks - self.offset).T @ (blocks - self.offset))
        self.basis.copy_(vectors.T.flip(0)[: len(self.basis)])
        return self

    def encode(self, image: Tensor, condition: Tensor | None = None) -> Normal:
        """Posterior of latents ``(B, latent)`` of images ``(B, channels, rows, cols)`` [unit]."""
        check_image(image, self.channels, self.shape, "image")
        loc = conv2d((image - self.offset) / self.scale, self._kernels, stride=self.block)
        loc = loc.flatten(1)
        return Normal(loc, torch.full_like(loc, self.width / self.scale), validate_args=False)

    def decode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``(B, channels, rows, cols)`` [unit] of latents ``(B, latent)``."""
        check_latent(latent, self.latent)
        maps = latent.reshape(-1, *self.latent_shape)
        return conv_transpose2d(maps, self._kernels, stride=self.block) * self.scale + self.offset
