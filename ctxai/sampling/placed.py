"""A trained sampler of a denoiser in its place: proposals of the window, blended into the scan.

A sampler is trained on patches that end where they end. What it proposes for the window of a scan
is therefore blended into that scan over the outer pixels of the window,

    x̄ = x + w (x̄' - x),    w = 0 outside the window, 1 within,

so that no seam is given to the denoiser, and judged by the denoiser in its place: that is the
layer whose representation x̄ shall keep. Where x lies among the samples, pixel by pixel, is the same
for x̄ and x̄'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recon.errors import DataError

from ..wiretap.in_place import InPlace, PlacedTap, Window
from .model import Model, Redraw

__all__ = ["PlacedModel"]


@dataclass
class PlacedModel:
    """A sampler for one scan, with its denoiser in place.

    Attributes
    ----------
    model : InvarianceModel or FlowModel
        Trained for the layer, on patches alone.
    place : InPlace
        The denoiser in the scan.
    weight : Tensor, (rows, cols)
        w, of the window.
    redraw : callable, optional
        ``redraw(x, n, seed) -> (n, *x.shape)``: x with fresh noise, for a relative tolerance.

    Examples
    --------
    >>> import torch
    >>> from ctxai import SHIPPED, InPlace, PlacedModel, Window
    >>> model = SHIPPED.load_model("chen", "output", "x", sampler="flow", shape=(16, 16))
    >>> place = InPlace(model.wiretap.f, Window(8, 8, (16, 16), (32, 32)), torch.zeros(32, 32))
    >>> placed = PlacedModel(model, place, torch.zeros(16, 16))
    >>> x, v = place.inside[None, None], torch.randn(2, placed.latent)
    >>> placed.generate(v, placed.represent(x)).abs().max().item()  # w = 0: the scan itself
    0.0
    """

    model: Model
    place: InPlace
    weight: Tensor
    redraw: Redraw | None = None

    def __post_init__(self) -> None:
        if tuple(self.model.shape) != tuple(self.place.window.shape):
            raise DataError(
                "the sampler makes images of another size than the window", where="model, place",
                expected=tuple(self.place.window.shape), got=tuple(self.model.shape),
                remedy="use model.resized(shape)",
            )  # fmt: skip
        self.wiretap = PlacedTap(self.place, self.model.wiretap)

    @classmethod
    def alone(cls, model: Model, x: Tensor) -> PlacedModel:
        """A sampler for a patch x (rows, cols) with nothing around it."""
        whole = Window(0, 0, tuple(x.shape), tuple(x.shape))
        return cls(model, InPlace(model.wiretap.f, whole, x), torch.ones_like(x))

    @property
    def domain(self) -> str:
        """Whether it samples inputs of the network, "x", or targets of it, "y"."""
        return self.model.domain

    @property
    def sampler(self) -> str:
        """What it is called in tables."""
        return self.model.sampler

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the training."""
        return self.model.facts

    @property
    def latent(self) -> int:
        """Dimensions of v."""
        return self.model.latent

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.model.shape

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.model.channels

    @property
    def unit(self) -> str:
        """Unit of the images."""
        return self.model.unit

    def represent(self, x: Tensor) -> Tensor:
        """What the layer represents of images ``(B, 1, rows, cols)`` in the scan."""
        return self.wiretap.phi(x)

    def given(self, x: Tensor) -> Tensor:
        """What the sampler is given of images ``(B, 1, rows, cols)``, as it was in its training.

        What the layer represents of them in the scan, or alone.
        """
        return (self if self.facts.get("in_place") else self.model).represent(x)

    def propose(self, v: Tensor) -> Tensor:
        """Images of the trained sampler ``(n, 1, rows, cols)``, before they are blended."""
        return self.model.generate(v, self.given(self.place.inside[None, None]))

    def generate(self, v: Tensor, z: Tensor) -> Tensor:
        """Images ``(n, 1, rows, cols)`` of ``v (n, latent)``, blended into the scan.

        They are those of the scan: z, which follows from it, is not looked at.
        """
        return self.blend(self.propose(v))

    def blend(self, images: Tensor) -> Tensor:
        """x + w (image - x) of images ``(..., rows, cols)`` of the window."""
        x = self.place.inside
        return x + self.weight * (images - x)
