"""What networks that are given a representation z have in common: its shape and its scales."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.errors import DataError

__all__ = ["channel_scales", "check_latents", "check_representation", "condition_sides"]


def condition_sides(condition_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one z, that of a vector or of a feature map."""
    sides = tuple(int(side) for side in condition_shape)
    if len(sides) not in (1, 3) or min(sides) < 1:
        raise DataError(
            "a condition is a vector or a feature map",
            where="condition_shape",
            expected="(d,) or (channels, rows, cols)",
            got=sides,
        )
    return sides


def check_representation(z: Tensor, condition_shape: tuple[int, ...], network: str) -> None:
    """Refuse representations of another shape than a network was made for."""
    if tuple(z.shape[1:]) != condition_shape:
        raise DataError(
            f"representation does not fit the {network}",
            where="z",
            expected=f"(batch, {', '.join(map(str, condition_shape))})",
            got=tuple(z.shape),
            remedy="use the network that was trained for this layer and patch size",
        )


def check_latents(flat: Tensor, latent: int, z: Tensor, name: str) -> None:
    """Refuse latents of another size, and neither one condition for all nor one for each."""
    if flat.ndim != 2 or flat.shape[1] != latent or len(z) not in (1, len(flat)):
        raise DataError(
            "latents do not fit the invertible network or their conditions",
            where=name,
            expected=f"(n, {latent}) with 1 or n conditions",
            got=f"{tuple(flat.shape)} with {len(z)} conditions",
        )


def channel_scales(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel of a batch of maps, or of each entry of vectors.

    What never varies has the spread 1.
    """
    over = (0, 2, 3) if z.ndim == 4 else (0,)
    mean, spread = z.mean(over), z.std(over)
    return mean, torch.where(spread <= 1e-6 * mean.abs(), torch.ones_like(spread), spread)
