"""Vessels as CT slices show them: branching tubes in the plane, dots and ovals across it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .outlines import Outline, ovals, tube

__all__ = ["scattered", "tree"]


def tree(
    rng: np.random.Generator,
    start: ArrayLike,
    direction: float,
    *,
    length: float,
    width: float,
    generations: int,
    spread: float = 0.5,
    thinnest: float = 0.8,
    visible: float = 1.0,
) -> list[Outline]:
    """Branching tubes that leave ``start`` and thin out.

    Each branch splits in two whose cross-sections add up to its own, ``d² = d₁² + d₂²``; some
    branches leave the plane and end early.

    Parameters
    ----------
    start : (x, y)
        Root [mm].
    direction : float
        First direction [rad], from +x towards +y.
    length, width : float
        Length and width [mm] of the first branch.
    generations : int
        Number of splits.
    spread : float
        Typical angle between branches [rad].
    thinnest : float
        Width [mm] below which branches are left out.
    visible : float
        Share of the branches that lie in the slice.

    Returns
    -------
    list of outlines
    """
    if generations < 0 or width < thinnest:
        return []
    root = np.asarray(start, dtype=np.float64)
    sway = 0.25 * rng.standard_normal(2)
    heading = direction + np.array([0.0, sway[0], sway.sum()])
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / 3)
    path = np.concatenate([root[None], root + np.cumsum(steps, axis=0)])
    part = rng.uniform(0.3, 0.7)
    widths = width * np.array([part, 1 - part]) ** 0.5
    found = []
    if rng.random() < visible:
        found.append(tube(path, [width, max(widths)]))
    turn = spread * rng.uniform(0.6, 1.4) * rng.choice([-1.0, 1.0])
    for child, bend in zip(widths, (turn * (1 - part), -turn * part)):
        if rng.random() < 0.88:
            found += tree(
                rng,
                path[-1],
                heading[-1] + bend,
                length=length * rng.uniform(0.65, 0.95),
                width=child,
                generations=generations - 1,
                spread=spread,
                thinnest=thinnest,
                visible=visible,
            )
    return found


def scattered(
    rng: np.random.Generator,
    centre: ArrayLike,
    reach: ArrayLike,
    *,
    count: int,
    width: tuple[float, float],
    root: ArrayLike | None = None,
) -> list[Outline]:
    """Vessels cut across: small ovals, larger towards the root and elongated away from it.

    ``centre`` and ``reach`` are the middle and half size of the region that they fill, ``width``
    the smallest and largest diameter, and ``root`` is where the vessels come from [mm].
    """
    places = np.asarray(centre) + rng.uniform(-1.0, 1.0, (count, 2)) * np.asarray(reach)
    thin, thick = width
    sizes = thin + (thick - thin) * rng.random(count) ** 3
    angles = rng.uniform(0.0, np.pi, count)
    if root is not None:
        away = places - np.asarray(root)
        angles = np.arctan2(away[:, 1], away[:, 0]) + 0.4 * rng.standard_normal(count)
        far = np.hypot(*away.T) / (2.0 * np.hypot(*np.asarray(reach)))
        sizes *= 1.25 - np.clip(far, 0.0, 0.75)
    longer = 1.0 + 1.5 * rng.random(count) ** 3
    return ovals(places, 0.5 * np.stack([sizes * longer, sizes], axis=1), angles)
