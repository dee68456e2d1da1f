"""Random axial slices of the head, from the skull base to the vertex."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...geometry import ImageGrid
from .brain import Head, cerebrum
from .canvas import Canvas
from .outlines import blob, grown, tube
from .skull import cranium, frontal_sinus, skull_bone
from .skull_base import face, petrous_bones, posterior_fossa

__all__ = ["head"]


def head(grid: ImageGrid, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random slice of the head [HU], float32 ``(rows, cols)``."""
    level = rng.uniform(0.0, 1.0)
    canvas = Canvas(grid, rng, bend=2.0, tilt=0.07, ahead=12.0 if level < 0.25 else 0.0)
    age = rng.uniform(0.0, 1.0)
    shrink = float(np.interp(level, [0.0, 0.4, 0.75, 1.0], [0.88, 1.0, 0.95, 0.78]))
    width, length = shrink * rng.uniform(66.0, 73.0), shrink * rng.uniform(80.0, 89.0)
    inner = cranium(rng, width, length)
    thick = rng.uniform(4.5, 7.5) * (1.0 + 0.5 * max(0.0, level - 0.7))
    count = len(inner)
    phi = np.arange(count) * (2 * np.pi / count)
    skull = grown(inner, thick * (1.0 + 0.18 * np.cos(2 * phi + np.pi) + 0.08 * np.sin(3 * phi)))
    low = float(np.clip((0.5 - level) / 0.5, 0.0, 1.0))
    temple = np.exp(-(((np.abs(np.cos(phi)) - 0.88) / 0.16) ** 2))
    temple /= 1.0 + np.exp((np.sin(phi) - 0.25) / 0.08)
    scalp = rng.uniform(4.0, 7.0) + 8.0 * low * temple
    if level < 0.25:
        face(canvas, rng, width, length)
    skin = grown(skull, scalp)
    canvas.paint(skin, 35.0 + 6.0 * canvas.field(3.0))
    canvas.paint(grown(skin, -1.9), -75.0 + 8.0 * canvas.field(3.0))
    if low > 0.1:
        for side in (-1.0, 1.0):
            place, axes = (side * (width + thick + 3.5), -0.22 * length), (4.0 + 3.5 * low, 30.0)
            muscle = blob(place, axes, rng=rng, rough=0.08)
            canvas.paint(muscle, 58.0, within=canvas.mask(grown(skin, -3.0)))
    galea = tube(grown(skull, rng.uniform(1.2, 2.0)), 1.0)
    canvas.paint(galea, 20.0, opacity=0.6)
    skull_bone(canvas, rng, inner, skull, thick)
    if 0.22 < level < 0.42 and rng.random() < 0.7:
        frontal_sinus(canvas, rng, length, thick)
    canvas.paint(inner, 11.0)
    if level < 0.25:
        posterior_fossa(canvas, rng, inner, width, length)
        petrous_bones(canvas, rng, width, length)
    else:
        cerebrum(Head(canvas, rng, width, length, level, age), inner)
    return canvas.image()
