"""How much around a window a denoiser looks at, measured where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .in_place import Window

__all__ = ["needed_context"]

SAME_HU = 1e-3
"""Rms up to which two outputs are the same: sums of 32 bits in another order differ by less."""

_ALIGNMENTS = (1, 2, 4, 8, 16, 32, 64)  # of the context's first pixel, for networks that pool
_FAR = 128  # pixels around a window beyond which the whole slice is taken


@torch.no_grad()
def needed_context(
    f: Callable[[Tensor], Tensor], image: Tensor, window: Window
) -> tuple[Window, float]:
    """The smallest part of a slice on which f gives a window the output that the slice gives it.

    Parts are tried that reach equally far around the window, up to 128 pixels, and begin at
    multiples of 1, 2, 4, ... pixels of the slice, as a network that pools needs it. A network that
    looks at everything, such as one that normalises by the image's mean, gets the whole slice.

    Parameters
    ----------
    f : callable
        HU → HU on (B, 1, H, W).
    image : Tensor, (H, W)
        The slice with noise, as f will see it [HU].
    window : Window
        Of the slice.

    Returns
    -------
    context : Window
        The part, as a window of the slice.
    difference : float
        Rms of f(part) - f(slice) in the window [HU].

    Examples
    --------
    >>> import torch
    >>> from ctxai import Window, needed_context
    >>> blur = lambda x: torch.nn.functional.avg_pool2d(x, 7, 1, 3)
    >>> noise = 30 * torch.randn(64, 48, generator=torch.Generator().manual_seed(1))
    >>> needed_context(blur, noise, Window(20, 30, (16, 16), (64, 48)))[0].shape
    (22, 21)
    """
    wanted = window.of(f(image[None, None]))

    def difference(part: Window) -> float:
        inner = Window(window.top - part.top, window.left - part.left, window.shape, part.shape)
        try:
            output = f(part.of(image)[None, None].contiguous())
        except Exception:  # whatever the user's own code may raise: a size that it does not take
            return float("inf")
        if output.shape[-2:] != tuple(part.shape):
            return float("inf")
        return float((inner.of(output) - wanted).square().mean().sqrt())

    best, least = Window(0, 0, window.image, window.image), 0.0
    for alignment in _ALIGNMENTS:
        parts = list(_parts(window, alignment, smaller_than=best))
        if not parts or (off := difference(parts[-1])) > SAME_HU:
            continue
        low, high, found = 0, len(parts) - 1, off  # parts[high] is enough
        while low < high:
            middle = (low + high) // 2
            off = difference(parts[middle])
            if off <= SAME_HU:
                high, found = middle, off
            else:
                low = middle + 1
        best, least = parts[high], found
    return best, least


def _parts(window: Window, alignment: int, *, smaller_than: Window) -> Iterator[Window]:
    """Ever larger parts of the slice around the window, from the window itself."""
    rows, cols = window.image
    area, last = smaller_than.shape[0] * smaller_than.shape[1], None
    for reach in range(_FAR + 1):
        top, left = (
            max(0, first - reach) // alignment * alignment for first in (window.top, window.left)
        )
        bottom, right = (
            min(n, -(-(first + length + reach) // alignment) * alignment)
            for first, length, n in zip((window.top, window.left), window.shape, (rows, cols))
        )
        part = Window(top, left, (bottom - top, right - left), window.image)
        if part.shape[0] * part.shape[1] >= area:
            return
        if part != last:
            yield part
        last = part
