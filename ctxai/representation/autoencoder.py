"""What samplers and training ask of an autoencoder, whichever it is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.distributions import Normal

from recon.errors import DataError

__all__ = ["Autoencoder", "MakesImages", "check_condition", "check_image", "check_latent"]


class MakesImages(Protocol):
    """Something that takes numbers, of normal law or nearly so, and gives images."""

    @property
    def latent(self) -> int:
        """Dimensions of what it takes: z̄ or v."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""

    @property
    def channels(self) -> int:
        """Channels of an image."""

    @property
    def unit(self) -> str:
        """Unit of the images."""


class Autoencoder(MakesImages, Protocol):
    """E and D: a posterior q(z̄ | x) of images, and images of latents."""

    def encode(self, image: Tensor, condition: Tensor | None = None) -> Normal:
        """Posterior of latents ``(B, latent)`` of images ``(B, channels, rows, cols)``."""

    def decode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images of latents."""


def check_image(image: Tensor, channels: int, shape: tuple[int, int], name: str) -> None:
    """Refuse images ``(batch, channels, rows, cols)`` of another size than an autoencoder's."""
    if image.ndim != 4 or tuple(image.shape[1:]) != (channels, *shape):
        raise DataError(
            f"{name} does not fit the autoencoder",
            where=name,
            expected=f"(batch, {channels}, {shape[0]}, {shape[1]})",
            got=tuple(image.shape),
        )


def check_latent(latent: Tensor, size: int) -> None:
    """Refuse latents of another size than an autoencoder's."""
    if latent.ndim != 2 or latent.shape[1] != size:
        raise DataError(
            "latent does not fit the autoencoder",
            where="latent",
            expected=f"(batch, {size})",
            got=tuple(latent.shape),
        )


def check_condition(condition: Tensor | None, channels: int) -> None:
    """Refuse a condition that an autoencoder was not built for, and the want of one that it was."""
    if (condition is not None) != bool(channels):
        raise DataError(
            "this autoencoder takes no condition"
            if condition is not None
            else "this autoencoder needs the condition that it was built for",
            where="condition",
            expected=f"{channels} channels",
            got="none" if condition is None else tuple(condition.shape),
        )
