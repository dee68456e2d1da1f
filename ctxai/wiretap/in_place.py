"""A denoiser in its place: f of a window, with what surrounds it in the slice.

A network sees more of a slice than the window under study: convolutions reach over its border, and
a network that pools, attends or normalises looks at more still. Cut out, with zeros around it, the
window would be given to another function. Here it stays where it is,

    f_W(x̄) = f(X with x̄ in the window W)[W],

with the surroundings X of the scan under study. Images that bring surroundings of their own, such
as scans of another anatomy, are taken with those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from recon.errors import DataError

from .wiretap import Wiretap

__all__ = ["AnyWiretap", "InPlace", "PlacedTap", "Window"]


@dataclass(frozen=True)
class Window:
    """A window of an image, and the image's size [pixels].

    Attributes
    ----------
    top, left : int
        Row and column of its first pixel.
    shape : (rows, cols)
        Of the window.
    image : (rows, cols)
        Of the image that it is a window of.

    Examples
    --------
    >>> import torch
    >>> from ctxai import Window
    >>> window = Window(1, 2, (2, 3), (4, 6))
    >>> window.of(torch.arange(24).reshape(4, 6)).tolist()
    [[8, 9, 10], [14, 15, 16]]
    """

    top: int
    left: int
    shape: tuple[int, ...]
    image: tuple[int, ...]

    def __post_init__(self) -> None:
        ends = (self.top + self.shape[0], self.left + self.shape[1])
        if min(self.top, self.left) < 0 or min(self.shape) < 1 or any(
            end > n for end, n in zip(ends, self.image)
        ):  # fmt: skip
            raise DataError(
                "the window does not lie inside the image", where="window",
                expected=f"inside {self.image[0]} × {self.image[1]} pixels",
                got=f"rows {self.top} to {ends[0]}, columns {self.left} to {ends[1]}",
            )  # fmt: skip

    @property
    def whole(self) -> bool:
        """Whether the window is all of the image."""
        return tuple(self.shape) == tuple(self.image)

    def of(self, images: Any) -> Any:
        """The window of images ``(..., rows, cols)``, arrays or tensors."""
        bottom, right = self.top + self.shape[0], self.left + self.shape[1]
        return images[..., self.top : bottom, self.left : right]

    def padded(self, inside: Tensor) -> Tensor:
        """Images of the window ``(..., rows, cols)`` in an image that is zero around it."""
        bottom, right = self.top + self.shape[0], self.left + self.shape[1]
        around = (self.left, self.image[1] - right, self.top, self.image[0] - bottom)
        return pad(inside, around)

    def scaled(self, image: tuple[int, ...]) -> Window | None:
        """The same window in a map of another size, or None if its edges fall between pixels."""
        sides = []
        for first, length, old, new in zip(
            (self.top, self.left), self.shape, self.image, image, strict=True
        ):
            if first * new % old or length * new % old:
                return None
            sides.append((first * new // old, length * new // old))
        (top, rows), (left, cols) = sides
        return Window(top, left, (rows, cols), image)


class InPlace:
    """A denoiser of one window of a slice.

    Parameters
    ----------
    f : Module or callable
        HU → HU on (B, 1, H, W).
    window : Window
        Of the surroundings.
    surroundings : Tensor, (H, W)
        The scan around the window and in it [HU].

    Examples
    --------
    >>> import torch
    >>> from ctxai import InPlace, Window
    >>> blur = lambda x: torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    >>> scan = torch.full((6, 6), 9.0)
    >>> f = InPlace(blur, Window(2, 2, (2, 2), (6, 6)), scan)
    >>> f(torch.full((1, 1, 2, 2), 9.0)).unique().tolist()  # cut out, the blur would see zeros
    [9.0]
    """

    def __init__(self, f: Callable[[Tensor], Tensor], window: Window, surroundings: Tensor) -> None:
        if tuple(surroundings.shape) != tuple(window.image):
            raise DataError(
                "the surroundings have another size", where="surroundings",
                expected=tuple(window.image), got=tuple(surroundings.shape),
            )  # fmt: skip
        self.f, self.window, self.surroundings = f, window, surroundings
        hole = window.padded(torch.ones(window.shape, dtype=torch.bool)).to(surroundings.device)
        self._around = surroundings.masked_fill(hole, 0.0)[None, None]

    @property
    def inside(self) -> Tensor:
        """The window of the scan itself, (rows, cols) [HU]."""
        return self.window.of(self.surroundings)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 1, rows, cols) of the window, in its surroundings."""
        given = tuple(images.shape[-2:])
        if given == tuple(self.window.image):
            return images
        if given != tuple(self.window.shape):
            raise DataError(
                "images are neither of the window nor of its surroundings", where="f in its place",
                expected=f"{tuple(self.window.shape)} or {tuple(self.window.image)}", got=given,
            )  # fmt: skip
        return self.window.padded(images) + self._around

    def __call__(self, images: Tensor) -> Tensor:
        """f of images of the window, or of images with surroundings of their own, in the window."""
        return self.window.of(self.f(self.embed(images)))


class PlacedTap:
    """A wiretap of a denoiser in its place: what a layer represents of the window.

    The same layers as those of :class:`~ctxai.Wiretap`; of a feature map, the part that lies over
    the window. A layer whose map is not cut by the window's edges, or that is no map, is taken
    whole.

    Parameters
    ----------
    place : InPlace
        The denoiser, in its place.
    tap : Wiretap
        The same denoiser, split after the layer.
    """

    def __init__(self, place: InPlace, tap: Wiretap) -> None:
        self.f, self.tap = place, tap

    @property
    def layer(self) -> str:
        """Canonical name of the layer."""
        return self.tap.layer

    @property
    def layers(self) -> list[str]:
        """Canonical names of all layers, in the order of execution."""
        return self.tap.layers

    @property
    def is_cut(self) -> bool:
        """Whether Ψ exists: z alone determines the output."""
        return self.tap.is_cut

    def _part(self, z: Tensor) -> Window | None:
        return self.f.window.scaled(tuple(z.shape[-2:])) if z.ndim == 4 else None

    def phi(self, x: Tensor) -> Tensor:
        """What the layer represents of the window, z = Φ(X with x in W)[W]."""
        z = self.tap.phi(self.f.embed(x))
        part = self._part(z)
        return z if part is None else part.of(z)

    def psi(self, z: Tensor) -> Tensor:
        """What the rest of the network makes of z in the window and of the scan's own around it.

        Equal to f(x) for the scan; for other images as far as what they change in the layer lies
        over the window.
        """
        if self.layer == "output":
            return z
        around = self.tap.phi(self.f.surroundings[None, None])
        part = self._part(around)
        if part is None:
            return self.f.window.of(self.tap.psi(z))
        hole = part.padded(torch.ones(part.shape, dtype=torch.bool)).to(z.device)
        return self.f.window.of(self.tap.psi(around.masked_fill(hole, 0.0) + part.padded(z)))

    def __repr__(self) -> str:
        return f"PlacedTap({self.tap!r}, {self.f.window})"


AnyWiretap = Wiretap | PlacedTap
"""A denoiser split after a layer, alone or in its place."""
