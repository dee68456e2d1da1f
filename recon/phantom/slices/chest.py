"""Places inside one chest, and how its vessels and airways are painted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .canvas import Canvas
from .outlines import Outline, grown
from .trunk import Trunk

__all__ = ["Chest"]


class Chest:
    """Places inside one chest: (x [mm], depth) to mm, contrast, and what the steps share."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator, trunk: Trunk) -> None:
        self.canvas, self.rng, self.trunk = canvas, rng, trunk
        self.scale = trunk.half_width / 132.0
        self.front = trunk.middle - trunk.half_depth
        self.back = trunk.spine[1] - 14.0
        self.contrast = bool(rng.random() < 0.5)
        self.blood = rng.uniform(150.0, 240.0) if self.contrast else rng.uniform(36.0, 46.0)
        self.wall = rng.uniform(85.0, 110.0) if self.contrast else self.blood + 9.0

    def at(self, points: ArrayLike) -> Outline:
        """Positions [mm] of places given as (x, depth)."""
        size, corner = [self.scale, self.back - self.front], [0.0, self.front]
        return np.asarray(points, dtype=np.float64) * size + corner

    def vessel(self, outline: Outline, value: float | None = None) -> None:
        """Paint a vessel with its wall and a rim of fat."""
        self.canvas.paint(grown(outline, 2.2), -90.0, opacity=0.8)
        self.canvas.paint(grown(outline, 0.9), 45.0)
        blood = self.blood if value is None else value
        self.canvas.paint(outline, blood + 2.0 * self.canvas.field(7.0))

    def airway(self, outlines: list[Outline], wall: float) -> None:
        """Paint air-filled tubes that join, with their wall [mm]."""
        self.canvas.paint([grown(o, wall) for o in outlines], 40.0)
        self.canvas.paint(outlines, -985.0)
