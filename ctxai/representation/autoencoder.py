"""What samplers and training ask of an autoencoder, whichever it is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.distributions import Normal

__all__ = ["Autoencoder"]


class Autoencoder(Protocol):
    """E and D: a posterior q(z̄ | x) of images, and images of latents."""

    @property
    def latent(self) -> int:
        """Dimensions of z̄."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""

    @property
    def channels(self) -> int:
        """Channels of an image."""

    @property
    def unit(self) -> str:
        """Unit of the images."""

    def encode(self, image: Tensor, condition: Tensor | None = None) -> Normal:
        """Posterior of latents ``(B, latent)`` of images ``(B, channels, rows, cols)``."""

    def decode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images of latents."""
