"""Pieces of convolutional networks without normalisation, which would remove the level, the HU."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn
from torch.nn.functional import silu

__all__ = ["Residual", "zeroed"]

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class Residual(nn.Module):
    """Two 3×3 convolutions beside a direct path, ``silu(h + conv(silu(conv(h))))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, h: Tensor) -> Tensor:
        """Features ``(B, width, rows, cols)``, of the same shape before and after."""
        return silu(h + self.body(h))


def zeroed(layer: Layer) -> Layer:
    """The layer with weights and biases of zero: what it adds is learned from nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
