"""How much around a window a denoiser looks at, measured where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from recon.errors import DataError

from .in_place import Window

__all__ = ["needed_context"]

SAME_HU = 1e-3
"""Rms up to which two outputs are the same: sums of 32 bits in another order differ by less."""

_ALIGNMENTS = (1, 2, 4, 8, 16, 32, 64)  # of the context's first pixel, for networks that pool
_SQUARES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
_FAR = 128  # pixels around a window beyond which the whole slice is taken


@torch.no_grad()
def needed_context(
    f: Callable[[Tensor], Tensor], image: Tensor, window: Window
) -> tuple[Window, float]:
    """The smallest part of a slice on which f gives a window the output that the slice gives it.

    Parts are tried that reach equally far around the window, up to 128 pixels, and begin at
    multiples of 1, 2, 4, ... pixels of the slice, as a network that pools needs it. A network that
    looks at everything, such as one that normalises by the image's mean or range, gets the whole
    slice; one that takes no image of the slice's size gets the smallest square around the window
    that it does.

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
        Rms of f(part) - f(slice) in the window [HU]; NaN if f takes no slice.

    Raises
    ------
    DataError
        If f takes neither the slice nor a square around the window.

    Examples
    --------
    >>> import torch
    >>> from ctxai import Window, needed_context
    >>> blur = lambda x: torch.nn.functional.avg_pool2d(x, 7, 1, 3)
    >>> noise = 30 * torch.randn(64, 48, generator=torch.Generator().manual_seed(1))
    >>> needed_context(blur, noise, Window(20, 30, (16, 16), (64, 48)))[0].shape
    (22, 21)
    """
    best, least = Window(0, 0, window.image, window.image), 0.0
    tried = (image, _unlike(image))  # a part can have the mean of one slice by chance
    wanted = [_output(f, slice_, best) for slice_ in tried]
    if wanted[0] is None:
        return _square(f, image, window), float("nan")

    def difference(part: Window) -> float:
        inner = Window(window.top - part.top, window.left - part.left, window.shape, part.shape)
        largest = 0.0
        for slice_, whole in zip(tried, wanted):
            output = _output(f, slice_, part)
            if output is None or whole is None:
                return float("inf")
            off = inner.of(output) - window.of(whole)
            largest = max(largest, float(off.square().mean().sqrt()))
        return largest

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


def _unlike(image: Tensor) -> Tensor:
    """Another slice, whose largest and smallest values lie in corners that no part has both of."""
    other = image.flip(0, 1) - 20.0
    highest, lowest = other.max() + 500.0, other.min() - 50.0
    other[0, 0], other[-1, -1] = highest, lowest
    return other


def _output(f: Callable[[Tensor], Tensor], image: Tensor, part: Window) -> Tensor | None:
    """f of a part of an image, or None if f does not take one of that size."""
    try:
        output = f(part.of(image)[None, None].contiguous())
    except Exception:  # whatever the user's own code may raise
        return None
    return output if tuple(output.shape[-2:]) == tuple(part.shape) else None


def _square(f: Callable[[Tensor], Tensor], image: Tensor, window: Window) -> Window:
    """The smallest square around the window that f takes, the window itself first."""
    rows, cols = window.image
    sides = [n for n in _SQUARES if max(window.shape) < n <= min(rows, cols)]
    for high, wide in [tuple(window.shape), *((n, n) for n in sides)]:
        top, left = (
            min(max(0, first - (n - length) // 2), most - n)
            for first, length, n, most in zip(
                (window.top, window.left), window.shape, (high, wide), (rows, cols)
            )
        )
        part = Window(top, left, (high, wide), window.image)
        if _output(f, image, part) is not None:
            return part
    tried = ", ".join(str(n) for n in (max(window.shape), *sides))
    raise DataError(
        "the denoiser takes neither the slice nor a part of it", where="f",
        expected=f"images of {rows} × {cols} pixels, or squares of {tried} pixels",
        remedy="give a denoiser that takes one of these, or another --patch",
    )  # fmt: skip


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
