"""Hollow organs: wall, fluid, gas above it, stool, oral contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .abdominal_organs import Belly
from .canvas import Canvas
from .outlines import Outline, blob, grown, upper_part

__all__ = ["colon", "loops", "stomach"]


def _gas_level(canvas: Canvas, outline: Outline, share: float, room: NDArray[np.float32]) -> None:
    level = upper_part(outline, share)
    canvas.paint(level, -960.0, within=canvas.mask(outline) * room)


def stomach(belly: Belly, outline: Outline) -> None:
    """Paint a stomach with its wall, fluid or food, and mostly a gas bubble in front."""
    canvas, rng, room = belly.canvas, belly.rng, belly.room
    canvas.paint(grown(outline, 2.0), -100.0, within=room)
    canvas.paint(outline, belly.phase.wall + 4.0 * canvas.field(3.0), within=room, organ=True)
    inner = grown(outline, -rng.uniform(3.0, 5.5))
    kind = rng.random()
    if kind < 0.5:
        filling: float | NDArray[np.floating] = rng.uniform(5.0, 25.0)
    elif kind < 0.85:
        filling = 45.0 + 30.0 * canvas.field(3.0) - 70.0 * np.maximum(canvas.field(2.2) - 1.3, 0.0)
    else:
        filling = rng.uniform(160.0, 280.0)
    canvas.paint(inner, filling, within=room)
    if rng.random() < 0.75:
        _gas_level(canvas, inner, rng.uniform(0.15, 0.55), room)


def colon(belly: Belly, centre: ArrayLike, radius: float) -> None:
    """Paint colon cut across: haustrated, filled with stool, gas or both."""
    canvas, rng, room = belly.canvas, belly.rng, belly.room
    axes = (radius * rng.uniform(0.85, 1.25), radius * rng.uniform(0.75, 1.05))
    outline = blob(centre, axes, rng.uniform(-0.5, 0.5), rng=rng, rough=0.16, lobes=6)
    if canvas.occupied(outline) > 0.3:
        return
    canvas.paint(grown(outline, 1.5), -102.0, within=room)
    canvas.paint(outline, belly.phase.wall, within=room, organ=True)
    inner = grown(outline, -rng.uniform(1.6, 2.8))
    speckle = canvas.field(2.2) + 0.7 * canvas.field(3.0)
    stool = 30.0 + 22.0 * canvas.field(3.0) - 420.0 * np.clip(speckle - 0.9, 0.0, 1.4)
    kind = rng.random()
    canvas.paint(inner, stool if kind < 0.75 else rng.uniform(15.0, 40.0), within=room)
    if kind > 0.3:
        _gas_level(canvas, inner, rng.uniform(0.3, 0.9 if kind < 0.75 else 0.6), room)


def loops(belly: Belly, centre: ArrayLike, reach: ArrayLike, *, tries: int, oral: bool) -> None:
    """Pack small bowel loops into what other organs leave free.

    Parameters
    ----------
    centre, reach : (x, y)
        Middle and half size [mm] of the region.
    tries : int
        Loops that are tried; those that would overlap are dropped.
    oral : bool
        Whether oral contrast was given.
    """
    canvas, rng, room = belly.canvas, belly.rng, belly.room
    for _ in range(tries):
        place = np.asarray(centre) + rng.uniform(-1.0, 1.0, 2) * np.asarray(reach)
        radius = rng.uniform(8.0, 14.0)
        axes = (radius * rng.uniform(1.0, 2.2), radius)
        outline = blob(place, axes, rng.uniform(0.0, np.pi), rng=rng, rough=0.16, lobes=6)
        kind, inset, level = rng.random(3)
        if canvas.occupied(outline) > 0.2:
            continue
        canvas.paint(grown(outline, 1.2), -98.0, within=room)
        wall = belly.phase.wall + 5.0 * canvas.field(3.0)
        canvas.paint(outline, wall, within=room, organ=True)
        inner = grown(outline, -2.0 - 1.5 * inset)
        if oral and kind < 0.6:
            canvas.paint(inner, 190.0 + 25.0 * canvas.field(3.0), within=room)
        elif kind < 0.85:
            fluid = 28.0 + 7.0 * canvas.field(3.0) - 20.0 * np.maximum(canvas.field(7.0), 0.0)
            canvas.paint(inner, fluid, within=room)
        if kind > 0.82:
            _gas_level(canvas, inner, 0.25 + 0.4 * level, room)
