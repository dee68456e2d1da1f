"""Closed outlines of organs as vertices in mm: blobs, splines through points, tubes, offsets.

An outline is a float64 array ``(n, 2)`` of points ``(x, y)``, x to the right and y downward,
closed by itself.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Outline",
    "arc",
    "blob",
    "grown",
    "lobulated",
    "ovals",
    "placed",
    "spline",
    "stretch",
    "tube",
    "upper_part",
]

Outline: TypeAlias = NDArray[np.float64]

_STEP = 1.2  # mm between vertices of a smooth outline


def blob(
    centre: ArrayLike,
    axes: ArrayLike,
    angle: float = 0.0,
    *,
    rng: np.random.Generator | None = None,
    rough: float = 0.0,
    lobes: int = 7,
    power: float = 2.0,
) -> Outline:
    """Superellipse whose radius is modulated by a random Fourier series in the angle.

    ``r(φ) = (|cos φ/a|^p + |sin φ/b|^p)^(-1/p) · (1 + Σ_k rough/k · n_k cos(kφ + φ_k))``,
    k = 2 … lobes.

    Parameters
    ----------
    centre, axes : (x, y), (a, b)
        Centre and half axes [mm].
    angle : float
        Direction of ``a`` [rad], from +x towards +y.
    rng : numpy.random.Generator, optional
        Source of the modulation; none without it.
    rough : float
        Relative size of the modulation.
    lobes : int
        Highest harmonic.
    power : float
        2 for an ellipse, more for a boxier shape.

    Returns
    -------
    numpy.ndarray
        Vertices [mm], ``(n, 2)``.

    Examples
    --------
    >>> blob((0.0, 0.0), (10.0, 5.0)).max(axis=0).round(1).tolist()
    [10.0, 5.0]
    """
    a, b = np.asarray(axes, dtype=np.float64)
    count = int(np.clip(2 * np.pi * max(a, b) / _STEP, 16, 480)) // 4 * 4
    phi = np.arange(count) * (2 * np.pi / count)
    cosine, sine = np.cos(phi), np.sin(phi)
    radius = (np.abs(cosine / a) ** power + np.abs(sine / b) ** power) ** (-1.0 / power)
    if rng is not None and rough > 0.0:
        orders = np.arange(2, lobes + 1)
        size = rough * rng.standard_normal(orders.size) / orders
        phase = rng.uniform(0.0, 2 * np.pi, orders.size)
        waves = size[:, None] * np.cos(np.outer(orders, phi) + phase[:, None])
        radius = radius * (1.0 + waves.sum(axis=0))
    points = np.stack([radius * cosine, radius * sine], axis=1)
    return placed(points, centre, angle)


def ovals(centres: ArrayLike, axes: ArrayLike, angles: ArrayLike) -> list[Outline]:
    """Small ellipses: centres ``(n, 2)``, half axes ``(n, 2)`` [mm], angles ``(n,)`` [rad]."""
    middle, half, turn = (np.asarray(a, dtype=np.float64) for a in (centres, axes, angles))
    phi = np.arange(12) * (np.pi / 6)
    u, v = half[:, :1] * np.cos(phi), half[:, 1:] * np.sin(phi)
    cosine, sine = np.cos(turn)[:, None], np.sin(turn)[:, None]
    points = np.stack([u * cosine - v * sine, u * sine + v * cosine], axis=2) + middle[:, None]
    return list(points)


def spline(points: ArrayLike) -> Outline:
    """Smooth closed curve through the given points ``(n, 2)`` [mm]."""
    corners = np.asarray(points, dtype=np.float64)
    around = np.concatenate([corners[-1:], corners, corners[:2]])
    return _through(around)[:-1]


def arc(points: ArrayLike) -> Outline:
    """Smooth open curve through the given points ``(n, 2)`` [mm]."""
    corners = np.asarray(points, dtype=np.float64)
    before, after = 2 * corners[0] - corners[1], 2 * corners[-1] - corners[-2]
    return _through(np.concatenate([before[None], corners, after[None]]))


def _through(points: Outline) -> Outline:
    """Catmull-Rom curve, by chord length, from the second to the last but one of the points."""
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    slope = (points[2:] - points[:-2]) / (at[2:] - at[:-2])[:, None]
    at, points = at[1:-1], points[1:-1]
    count = int(np.clip((at[-1] - at[0]) / _STEP, 4, 600))
    wanted = np.linspace(at[0], at[-1], count)
    k = np.clip(np.searchsorted(at, wanted, side="right") - 1, 0, len(at) - 2)
    step = (at[k + 1] - at[k])[:, None]
    u = (wanted - at[k])[:, None] / step
    rise = points[k + 1] - points[k]
    start, end = slope[k] * step, slope[k + 1] * step
    return points[k] + u * (start + u * (3 * rise - 2 * start - end + u * (start + end - 2 * rise)))


def tube(path: ArrayLike, width: ArrayLike) -> Outline:
    """Band along an open path with round ends.

    Parameters
    ----------
    path : array (n, 2)
        Middle line [mm], at least two points.
    width : float or array
        Full width [mm]; several values are spread evenly along the path.
    """
    line = np.asarray(path, dtype=np.float64)
    along = np.linspace(0.0, 1.0, len(line))
    sizes = np.atleast_1d(np.asarray(width, dtype=np.float64))
    half = 0.5 * np.interp(along, np.linspace(0.0, 1.0, sizes.size), sizes)
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    left, right = line + normal * half[:, None], line - normal * half[:, None]
    angle = np.linspace(0.0, np.pi, 7)[1:-1, None]
    end = line[-1] + half[-1] * (normal[-1] * np.cos(angle) + tangent[-1] * np.sin(angle))
    start = line[0] - half[0] * (normal[0] * np.cos(angle) + tangent[0] * np.sin(angle))
    return np.concatenate([left, end, right[::-1], start])


def grown(outline: Outline, distance: ArrayLike) -> Outline:
    """Outline moved outward by a distance [mm], one for all or one per vertex; negative shrinks."""
    x, y = outline.T
    sense = np.sign(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    tangent = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    tangent = (np.roll(tangent, 1, axis=0) + tangent + np.roll(tangent, -1, axis=0)) / 3
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1) * sense
    return outline + normal * np.broadcast_to(distance, len(outline))[:, None]


def lobulated(outline: Outline, rng: np.random.Generator, size: float, length: float) -> Outline:
    """Outline with random bumps of the given height and length [mm]."""
    from scipy.ndimage import gaussian_filter1d  # slow to load

    bumps = gaussian_filter1d(rng.standard_normal(len(outline)), length / _STEP / 2.5, mode="wrap")
    return grown(outline, size * bumps / max(float(bumps.std()), 1e-9))


def placed(outline: Outline, centre: ArrayLike, angle: float = 0.0) -> Outline:
    """Outline turned about the origin by an angle [rad] and then moved to ``centre`` [mm]."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = outline.T
    turned = np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)
    return turned + np.asarray(centre, dtype=np.float64)


def stretch(outline: Outline, first: float, last: float) -> Outline:
    """Part of a closed outline between two directions [rad] seen from its middle, as a path.

    Directions run from +x (patient left) through +y (posterior); ``last`` may exceed 2π.
    """
    middle = 0.5 * (outline.min(axis=0) + outline.max(axis=0))
    towards = np.arctan2(*(outline - middle).T[::-1])
    order = np.argsort(towards)
    wanted = np.linspace(first, last, max(4, int(abs(last - first) * 90)))
    columns = [
        np.interp(wanted, towards[order], outline[order, axis], period=2 * np.pi) for axis in (0, 1)
    ]
    return np.stack(columns, axis=1)


def upper_part(outline: Outline, share: float) -> Outline:
    """Part of an outline above a level line: where gas collects in a patient who lies supine."""
    top, bottom = outline[:, 1].min(), outline[:, 1].max()
    level = top + share * (bottom - top)
    return np.stack([outline[:, 0], np.minimum(outline[:, 1], level)], axis=1)
