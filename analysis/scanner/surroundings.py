"""Where a patch lies in a slice, and how much of the slice a denoiser looks at around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctxai import Window, needed_context
from recon import ImageGrid

from .slices import resample_to

__all__ = ["Surroundings", "measure_surroundings", "window_in"]

_NOISE_HU = 30.0  # white noise on the slice that f is tried on, as strong as that of a scan


@dataclass(frozen=True)
class Surroundings:
    """The part of a slice that a denoiser needs around a patch, on the patch's own pixels.

    Attributes
    ----------
    grid : ImageGrid
        Of that part.
    slice_shape : (rows, cols)
        Of the whole slice on the patch's pixels.
    difference_hu : float
        Rms between f of the part and f of the slice, in the patch [HU].
    """

    grid: ImageGrid
    slice_shape: tuple[int, ...]
    difference_hu: float

    @property
    def whole(self) -> bool:
        """Whether it is the whole slice."""
        return tuple(self.grid.shape) == tuple(self.slice_shape)

    def __str__(self) -> str:
        rows, cols = self.grid.shape
        if self.difference_hu != self.difference_hu:
            return f"{rows} × {cols} pixels of the slice: it takes no larger image"
        if self.whole:
            return f"the whole slice of {rows} × {cols} pixels"
        return (
            f"{rows} × {cols} pixels of the slice, where its output differs by "
            f"{self.difference_hu:.1g} HU from that of the whole slice"
        )


def window_in(grid: ImageGrid, patch: ImageGrid) -> Window:
    """A patch as a window of a grid with the same pixels.

    Examples
    --------
    >>> from analysis.scanner.surroundings import window_in
    >>> from recon import ImageGrid
    >>> grid = ImageGrid(shape=(20, 30), spacing=(0.5, 0.5), centre=(0.0, 0.0))
    >>> patch = ImageGrid(shape=(8, 8), spacing=(0.5, 0.5), centre=(1.5, -1.0))
    >>> window_in(grid, patch).top, window_in(grid, patch).left
    (4, 14)
    """
    top, left = (
        round((inner[0] - outer[0]) / step)
        for inner, outer, step in zip((patch.y, patch.x), (grid.y, grid.x), grid.spacing)
    )
    return Window(top, left, tuple(patch.shape), tuple(grid.shape))


def measure_surroundings(
    f: Callable[[Tensor], Tensor], hu: np.ndarray, spacing: tuple[float, float], patch: ImageGrid
) -> Surroundings:
    """How much of a slice f needs for its output in a patch to be that of the whole slice.

    Parameters
    ----------
    f : callable
        The denoiser, HU → HU on (B, 1, H, W).
    hu : ndarray, (rows, cols)
        The slice [HU], to which noise of 30 HU is added.
    spacing : (sy, sx)
        Its pixels [mm].
    patch : ImageGrid
        In its plane, with pixels of its own.
    """
    whole = _extended(patch, hu.shape, spacing)
    noise = np.random.default_rng(1).standard_normal(whole.shape, dtype=np.float32)
    image = torch.from_numpy(resample_to(hu, spacing, whole) + _NOISE_HU * noise)
    part, difference = needed_context(f, image, window_in(whole, patch))
    return Surroundings(_part(whole, part), tuple(whole.shape), difference)


def _extended(patch: ImageGrid, shape: tuple[int, ...], spacing: tuple[float, float]) -> ImageGrid:
    """The largest grid with the pixels of a patch that lies inside a slice."""
    first, last = [], []
    for n, step, at in zip(shape, spacing, (patch.y, patch.x)):
        pitch, half = float(at[1] - at[0]), (n * step) / 2
        first.append(int(np.floor((at[0] - pitch / 2 + half) / pitch + 1e-6)))
        last.append(int(np.floor((half - at[-1] - pitch / 2) / pitch + 1e-6)))
    rows, cols = (k + a + b for k, a, b in zip(patch.shape, first, last))
    return _part(patch, Window(0, 0, (rows, cols), (rows, cols)), shift=(-first[0], -first[1]))


def _part(grid: ImageGrid, part: Window, shift: tuple[int, int] = (0, 0)) -> ImageGrid:
    """A part of a grid that begins at a pixel of it, or at one that it would have."""
    (sy, sx), (top, left) = grid.spacing, (part.top + shift[0], part.left + shift[1])
    x = float(grid.x[0]) + (left + (part.shape[1] - 1) / 2) * sx
    y = float(grid.y[0]) + (top + (part.shape[0] - 1) / 2) * sy
    rows, cols = part.shape
    return ImageGrid(shape=(rows, cols), spacing=grid.spacing, centre=(x, y))
