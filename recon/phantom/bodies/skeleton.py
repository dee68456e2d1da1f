"""Bones and vessels out of ellipsoids: the spine, ribs, and tubes as strings of beads."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Organ", "beads", "organ", "ribs", "spine"]

Organ = tuple[float, tuple[float, float, float], tuple[float, float, float], float]
"""CT number [HU], centre, half axes [mm], and direction of the first [rad]."""

MARROW, CORTEX, DISC, CARTILAGE, CANAL, MUSCLE = 220.0, 650.0, 80.0, 110.0, 15.0, 55.0


def organ(hu: float, centre: ArrayLike, axes: ArrayLike, turn: float = 0.0) -> list[Organ]:
    """Return one ellipsoid, as a list to be joined with others."""
    (x, y, z), (a, b, c) = np.asarray(centre, dtype=float), np.asarray(axes, dtype=float)
    return [(hu, (float(x), float(y), float(z)), (float(a), float(b), float(c)), float(turn))]


def beads(hu: float, path: ArrayLike, width: float, height: float, step: float) -> list[Organ]:
    """Return ellipsoids that overlap along a ``path`` (points, 3) [mm] and make a tube of it.

    ``width`` and ``height`` are their half axes across the path, in the axial plane and along z,
    and ``step`` is their distance [mm].
    """
    points = np.asarray(path, dtype=np.float64)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = max(int(way[-1] / step), 1)
    places = np.linspace(0.0, way[-1], count + 1)
    middle = np.stack([np.interp(places, way, points[:, k]) for k in range(3)], axis=1)
    found = []
    for at, along in zip(middle, np.gradient(middle, axis=0)):
        # long enough, along the path, to reach the next
        flat, rise = (
            0.95 * step * np.array([math.hypot(*along[:2]), abs(along[2])]) / math.hypot(*along)
        )
        length, tall = max(flat, width), max(rise, height)
        found += organ(hu, at.tolist(), (length, width, tall), math.atan2(along[1], along[0]))
    return found


def spine(y: float, z: ArrayLike, *, width: float, lumbar: bool, sway: float = 0.0) -> list[Organ]:
    """Return vertebrae with discs, canal, arch and processes.

    The middle of each body is at ``y`` and at one of the evenly spaced heights ``z``, and ``width``
    is half its width [mm]. ``lumbar`` ones have transverse processes to the side, others backwards.
    The spine curves backwards by ``sway`` at its middle [mm].
    """
    heights = np.asarray(z, dtype=np.float64)
    step = abs(float(heights[1] - heights[0]))
    depth, low, high = 0.76 * width, heights.min() - step, heights.max() + step
    found: list[Organ] = []
    for height in heights:
        bow = y + sway * math.cos(math.pi * (height - 0.5 * (low + high)) / (high - low))
        found += organ(DISC, (0, bow, height + step / 2), (0.92 * width, 0.92 * depth, step / 4))
        found += organ(CORTEX, (0, bow, height), (width, depth, 0.52 * step))
        found += organ(MARROW, (0, bow, height), (width - 2.2, depth - 2.2, 0.46 * step))
        back = bow + depth + 8.0
        found += organ(CORTEX, (0, back + 1.0, height), (15.0, 13.5, 0.38 * step))
        for side in (-1.0, 1.0):
            reach = (side * 33.0, back - 1.0) if lumbar else (side * 27.0, back + 9.0)
            path = [(side * 11.0, back, height), (*reach, height + 2.0)]
            found += beads(MARROW + 230.0, path, 4.0, 0.22 * step, 7.0)
        tip = (0.0, back + 34.0, height - (3.0 if lumbar else 12.0))
        found += beads(MARROW + 230.0, [(0.0, back + 12.0, height), tip], 3.2, 0.3 * step, 6.0)
    for height in np.arange(low, high, step / 3):
        bow = y + sway * math.cos(math.pi * (height - 0.5 * (low + high)) / (high - low))
        found += organ(CANAL, (0, bow + depth + 8.0, height), (9.5, 8.0, step / 2))
        found += organ(42.0, (0, bow + depth + 8.0, height), (5.5, 4.2, step / 2))
    return found


def ribs(
    z: ArrayLike, half_width: float, half_depth: float, *, middle: float, drop: float, bony: float
) -> list[Organ]:
    """Return pairs of ribs along an elliptic wall, from the spine downward to the front.

    Parameters
    ----------
    z : array, shape (pairs,)
        Heights at the spine [mm].
    half_width, half_depth : float
        Half axes of the wall [mm].
    middle : float
        y of the wall's middle [mm].
    drop : float
        How much lower a rib ends than it begins [mm].
    bony : float
        Share of the way from the back to the front that is bone; the rest is cartilage, or, from
        1 on, nothing.
    """
    found: list[Organ] = []
    for k, height in enumerate(np.asarray(z, dtype=np.float64)):
        for side in (-1.0, 1.0):
            # from 20° beside the spine to 15° beside the breastbone; left a little lower
            t = np.radians(np.linspace(20.0, 165.0, 40))
            way = (t - t[0]) / (t[-1] - t[0])
            slope = height - drop * np.sin(0.5 * math.pi * way) - (1.5 if side > 0 else 0.0)
            x, y = side * half_width * np.sin(t), middle + half_depth * np.cos(t)
            path = np.stack([x, y, slope], axis=1)
            bone = path[way <= bony]
            found += beads(CORTEX, bone, 3.6, 6.0, 11.0)
            found += beads(MARROW - 60.0, bone[2:-2], 1.8, 3.9, 11.0)
            if bony < 1.0 and k % 2 == 0:
                found += beads(CARTILAGE, path[way >= bony], 4.2, 6.0, 11.0)
    return found
