"""Rays of a helical scan that run along the same line from opposite sides.

Half a turn after a ray, one fan angle earlier or later, another ray runs along the same line in the
plane of the views, the other way round. Both measure the same line integral, but for the small
angle by which they tilt along z.

A ray from the focal spot of radius R at the view angle β_s that passes the axis at the distance t
has the direction θ = β_s + asin(t/R). Two views i and j hold opposite rays at the t for which
θ_j = θ_i + π and t_j = -t, that is

    asin(t/R_i) + asin(t/R_j) = β_sj - β_si - π   (mod 2π).

Their columns follow from the detector's arc, and rows such that both meet above the point of the
line nearest the axis. Line integrals are compared after multiplication by the cosine of the tilt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .helix import HelicalScan
from .scan import Scan

__all__ = ["OppositeViews", "differences", "read_views"]

_HEIGHTS = np.linspace(-0.3, 0.3, 7)  # of the collimation, about the middle of the two views
_LEAST_QUANTA = 20.0  # behind a ray that is compared


@dataclass(frozen=True)
class OppositeViews:
    """Views on one side and on the other, (views, rows, cols), with their quanta N0 (views, cols).

    ``here`` and ``behind`` are their numbers in the scan.
    """

    here: np.ndarray
    behind: np.ndarray
    p_here: np.ndarray
    p_behind: np.ndarray
    n_here: np.ndarray
    n_behind: np.ndarray


def read_views(scan: Scan, here: np.ndarray, behind: np.ndarray) -> OppositeViews:
    """Read the views of both sides from a scan."""

    def views(numbers: np.ndarray) -> np.ndarray:
        return np.stack([scan.line_integrals[int(k)] for k in numbers]).astype(np.float64)

    photons = scan.photons
    return OppositeViews(here, behind, views(here), views(behind), photons[here], photons[behind])


def differences(
    place: OppositeViews, g: HelicalScan, order: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how opposite rays differ, if a geometry is the true one.

    Parameters
    ----------
    place : OppositeViews
        A views on one side and B on the other.
    g : HelicalScan
        The geometry of the whole scan.
    order : {1, -1}
        -1 where the rows lie in reverse.

    Returns
    -------
    difference : np.ndarray, shape (A, B, heights)
        Differences of the line integrals times the cosine of the tilt.
    usable : np.ndarray of bool
        Where the detector has both rays, with quanta behind them.
    variance : np.ndarray
        Variance of the difference, by the quanta alone.
    """
    i, j = place.here[:, None], place.behind[None, :]
    beta_i, beta_j = g.source_angles[i], g.source_angles[j]
    r_i, r_j = g.source_radius[i], g.source_radius[j]
    opening = np.remainder(beta_j - beta_i, 2 * math.pi) - math.pi
    t = 0.5 * (r_i + r_j) * np.sin(opening / 2)
    for _ in range(3):  # Newton: the two radii differ by a percent at most
        miss = np.arcsin(t / r_i) + np.arcsin(t / r_j) - opening
        t = t - miss / (1 / np.sqrt(r_i**2 - t**2) + 1 / np.sqrt(r_j**2 - t**2))
        t = np.clip(t, -0.99 * np.minimum(r_i, r_j), 0.99 * np.minimum(r_i, r_j))
    theta = beta_i + np.arcsin(t / r_i)
    height = 0.5 * (g.z[i] + g.z[j])[..., None] + _HEIGHTS * g.collimation
    rays = (place.p_here, place.n_here), (place.p_behind, place.n_behind)
    here = _sample(g, order, i, theta, t, height, rays[0], 0)
    behind = _sample(g, order, j, theta + math.pi, -t, height, rays[1], 1)
    return here[0] - behind[0], here[1] & behind[1], here[2] + behind[2]


def _sample(
    g: HelicalScan,
    order: int,
    view: np.ndarray,
    theta: np.ndarray,
    t: np.ndarray,
    height: np.ndarray,
    measured: tuple[np.ndarray, np.ndarray],
    axis: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Line integral × cos(tilt) of the rays (θ, t) of views, at heights above the axis.

    Returns the values, whether the detector has them, and their variance by quanta.
    """
    p, photons = measured
    turned = np.remainder(theta - g.angles[view] + math.pi, 2 * math.pi) - math.pi
    gamma = turned + np.arcsin((t - g.src_iso * np.sin(turned)) / g.src_det)
    column = gamma * g.src_det / g.col_pitch + (g.n_cols - 1) / 2 - g.col_offset
    spot = -np.sqrt(g.source_radius[view] ** 2 - t**2)
    element = -g.src_iso * np.cos(turned) + g.src_det * np.cos(gamma - turned)
    source_z = g.source_z[view]
    tilt = (height - source_z[..., None]) / -spot[..., None]
    z = source_z[..., None] + tilt * (element - spot)[..., None] - g.z[view][..., None]
    row = (g.n_rows - 1) / 2 - g.row_offset - order * z / g.row_pitch

    column = np.broadcast_to(column[..., None], row.shape)
    usable = (column >= 0) & (column <= g.n_cols - 1) & (row >= 0) & (row <= g.n_rows - 1)
    which = np.arange(len(p)).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    c = np.clip(column.astype(int), 0, g.n_cols - 2)
    r = np.clip(row.astype(int), 0, max(g.n_rows - 2, 0))
    u, v = np.clip(column - c, 0, 1), np.clip(row - r, 0, 1)
    below = np.minimum(r + 1, g.n_rows - 1)
    value = (1 - v) * ((1 - u) * p[which, r, c] + u * p[which, r, c + 1]) + v * (
        (1 - u) * p[which, below, c] + u * p[which, below, c + 1]
    )
    share = ((1 - u) ** 2 + u**2) * ((1 - v) ** 2 + v**2)
    quanta = photons[which, c] * np.exp(-value)
    usable &= quanta > _LEAST_QUANTA
    return value / np.hypot(1.0, tilt), usable, share / np.maximum(quanta, _LEAST_QUANTA)
