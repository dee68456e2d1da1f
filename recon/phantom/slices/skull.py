"""The skull above its base: shape, outer table, diploe, inner table, frontal sinus, galea."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .outlines import Outline, blob, grown

__all__ = ["cranium", "frontal_sinus", "skull_bone"]


def cranium(rng: np.random.Generator, width: float, length: float) -> Outline:
    """Random outline of the skull's inner face, wider behind than in front."""
    outline = blob((0.0, 0.0), (width, length), rng=rng, rough=0.012, lobes=5, power=2.15)
    behind = outline[:, 1] / length
    outline[:, 0] *= 1.0 + rng.uniform(0.04, 0.1) * behind - 0.04 * behind**2
    return outline


def skull_bone(
    canvas: Canvas, rng: np.random.Generator, inner: Outline, skull: Outline, thick: float
) -> None:
    """Paint outer table, diploe and inner table between two outlines."""
    table = rng.uniform(1000.0, 1350.0)
    canvas.paint(skull, table + 60.0 * canvas.field(7.0))
    share = np.array([0.28, 0.76]) + rng.uniform(-0.05, 0.05, 2)
    wobble = 0.35 * np.sin(np.arange(len(inner)) * 0.13 + rng.uniform(0.0, 6.0))
    outer_face = inner + (skull - inner) * share[1]
    inner_face = inner + (skull - inner) * share[0]
    diploe = rng.uniform(420.0, 620.0) + 130.0 * canvas.field(1.6) + 90.0 * canvas.field(7.0)
    canvas.paint(grown(outer_face, wobble), np.clip(diploe, 150.0, 1100.0))
    canvas.paint(grown(inner_face, 0.5 * wobble), table - 50.0)


def frontal_sinus(canvas: Canvas, rng: np.random.Generator, length: float, thick: float) -> None:
    """Paint the two air cells in the frontal bone."""
    size = rng.uniform(0.5, 1.0)
    middle = -length - 0.4 * thick
    for side in (-1.0, 1.0):
        axes = (10.0 * size, 1.0 + 3.5 * size)
        cell = blob((side * 11.0 * size, middle), axes, rng=rng, rough=0.2)
        canvas.paint(grown(cell, 2.0), 1050.0)
        canvas.paint(cell, -980.0)
