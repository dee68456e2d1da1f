"""The canvas on which a slice is painted: outlines in mm, one over the other, exact edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...geometry import ImageGrid
from .outlines import Outline, placed
from .pixel_shares import pixel_shares
from .texture import random_field

__all__ = ["Canvas"]

_SUPERSAMPLE = 2
_OCCUPANCY_STEP = 4.0  # mm, of the coarse map that says where organs already lie
_OCCUPANCY_SHAPE = (112, 112)


class Canvas:
    """A CT slice in the making, in HU, twice as fine as the grid it is meant for.

    Every outline passes through the patient's own deformation: a tilt, a shift and a smooth random
    displacement. Random fields are the same for the same canvas and scale.

    Parameters
    ----------
    grid : ImageGrid
        Pixels of the finished image.
    rng : numpy.random.Generator
        Source of the deformation and of the textures.
    bend : float
        Size of the smooth displacement [mm].
    tilt : float
        Standard deviation of the tilt [rad].
    ahead : float
        How far the anatomy's origin lies below the isocentre in the picture [mm].

    Examples
    --------
    >>> import numpy as np
    >>> from recon import ImageGrid
    >>> from recon.phantom.slices.outlines import blob
    >>> grid = ImageGrid(shape=(50, 60), spacing=(2.0, 2.0))
    >>> canvas = Canvas(grid, np.random.default_rng(0), bend=0.0, tilt=0.0)
    >>> canvas.paint(blob((0.0, 0.0), (30.0, 20.0)), 40.0)
    >>> float(canvas.image()[25, 30])
    40.0
    """

    def __init__(
        self,
        grid: ImageGrid,
        rng: np.random.Generator,
        *,
        bend: float = 4.0,
        tilt: float = 0.03,
        ahead: float = 0.0,
    ) -> None:
        fine = grid.finer(_SUPERSAMPLE)
        self.x, self.y = fine.x, fine.y
        self.spacing = np.array(fine.spacing[::-1])
        self.hu = np.full(fine.shape, -1000.0, dtype=np.float32)
        self.occupancy = np.zeros(_OCCUPANCY_SHAPE, dtype=np.float32)
        self._corner = np.array([self.x[0], self.y[0]]) - self.spacing / 2
        self._fields: dict[float, NDArray[np.float32]] = {}
        self._texture_seed = int(rng.integers(2**62))
        wavenumber, angle = rng.uniform(0.018, 0.04, (4, 1)), rng.uniform(0.0, 2 * np.pi, 4)
        self._waves = wavenumber * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        self._phases = rng.uniform(0.0, 2 * np.pi, (4, 2))
        self._bend = bend * 0.5 * rng.standard_normal((4, 2))
        self._angle = float(tilt * rng.standard_normal())
        self._bend = np.clip(self._bend, -bend, bend)
        self._shift = rng.uniform(-4.0, 4.0, 2) + np.array([0.0, ahead])

    def deformed(self, outline: Outline) -> Outline:
        """Outline [mm] after the patient's smooth displacement, tilt and shift."""
        x, y = outline.T
        moved = outline.copy()
        for (kx, ky), phases, sizes in zip(self._waves, self._phases, self._bend):
            moved += sizes * np.sin((kx * x + ky * y)[:, None] + phases)
        return placed(moved, self._shift, self._angle)

    def field(self, scale: float) -> NDArray[np.float32]:
        """Random field of unit deviation and the given grain [mm] on the whole canvas."""
        if scale not in self._fields:
            rng = np.random.default_rng([self._texture_seed, round(scale * 1000)])
            self._fields[scale] = random_field(rng, scale, self.x, self.y)
        return self._fields[scale]

    def mask(self, *outlines: Outline) -> NDArray[np.float32]:
        """Share of each canvas pixel inside the outlines' union, ``(rows, cols)`` from 0 to 1."""
        full = np.zeros_like(self.hu)
        rows, cols, share = pixel_shares(self._pixels(outlines), full.shape)
        full[rows, cols] = share
        return full

    def paint(
        self,
        outlines: Outline | Sequence[Outline],
        value: float | NDArray[np.floating],
        *,
        within: NDArray[np.float32] | None = None,
        opacity: float = 1.0,
        organ: bool = False,
    ) -> None:
        """Cover the union of outlines with a CT number.

        Parameters
        ----------
        outlines : outline or sequence of outlines
            What to cover [mm].
        value : float or array (rows, cols)
            CT number [HU], or a texture of the canvas's size.
        within : array, optional
            A mask that limits the paint.
        opacity : float
            1 replaces what was there; less mixes, as partial volume does.
        organ : bool
            Enter the outlines into the map of occupied places.
        """
        several = [outlines] if isinstance(outlines, np.ndarray) else list(outlines)
        if not several:
            return
        rows, cols, share = pixel_shares(self._pixels(several), self.hu.shape)
        if within is not None:
            share = share * within[rows, cols]
        if opacity != 1.0:
            share = share * np.float32(opacity)
        below = self.hu[rows, cols]
        new = value[rows, cols] if isinstance(value, np.ndarray) else np.float32(value)
        below += share * (new - below)
        if organ:
            self.occupy(several)

    def occupy(self, outlines: Sequence[Outline]) -> None:
        """Enter outlines into the map of occupied places."""
        rows, cols, share = pixel_shares([_coarse(o) for o in outlines], _OCCUPANCY_SHAPE)
        np.maximum(self.occupancy[rows, cols], share, out=self.occupancy[rows, cols])

    def occupied(self, outline: Outline) -> float:
        """Share of an outline's area that other organs already hold."""
        rows, cols, share = pixel_shares([_coarse(outline)], _OCCUPANCY_SHAPE)
        if share.size == 0:
            return 1.0
        return float(np.sum(share * self.occupancy[rows, cols]) / max(np.sum(share), 1e-6))

    def image(self) -> NDArray[np.float32]:
        """The finished slice [HU], float32 ``(rows, cols)`` of the grid."""
        n = _SUPERSAMPLE
        rows, cols = self.hu.shape[0] // n, self.hu.shape[1] // n
        return self.hu.reshape(rows, n, cols, n).mean(axis=(1, 3), dtype=np.float32)

    def _pixels(self, outlines: Sequence[Outline]) -> list[Outline]:
        points = (self.deformed(np.concatenate(outlines)) - self._corner) / self.spacing
        return np.split(points, np.cumsum([len(o) for o in outlines])[:-1])


def _coarse(outline: Outline) -> Outline:
    return outline / _OCCUPANCY_STEP + np.array(_OCCUPANCY_SHAPE[::-1]) / 2
