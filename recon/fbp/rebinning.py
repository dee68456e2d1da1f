"""From fans to parallel beams by interpolation along the views and along the columns.

For each column the view angle shifts by a constant, θ = β + γ, so one cubic interpolation along the
views and one along the columns do it. On a full circle every ray is measured twice, from opposite
sides. The two are averaged, or, where the detector is shifted so that they fall between each other,
interleaved: then they resolve up to twice the Nyquist frequency of one view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import FanBeam

__all__ = ["Rebinning", "can_interleave", "cubic_weights", "interpolation_mtf", "rebin_tables"]

_LEAST_GAP = 0.15
"""Least distance [columns] of opposite rays that are interleaved; 0.5 is a quarter offset."""


@dataclass(frozen=True)
class Rebinning:
    """Two interpolations that turn fans into parallel beams.

    ``view_first`` (cols,) and ``view_weight`` (cols, 4): parallel view k takes the views
    ``k + view_first + 0…3`` (modulo the circle) of a column. ``col_first`` (2, t) and
    ``col_weight`` (2, t, 4): sample m takes ``col_first + 0…3`` of view k and of the opposite view,
    ``half`` views later; the weights hold how the two are combined. With ``half = 0`` no view has
    an opposite, and the second half of the tables is zero.
    """

    view_first: np.ndarray
    view_weight: np.ndarray
    col_first: np.ndarray
    col_weight: np.ndarray
    half: int


def lagrange_weights(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weights (..., n) of polynomial interpolation at ``at`` (...) from ``nodes`` (..., n)."""
    nodes = np.asarray(nodes, dtype=np.float64)
    count = nodes.shape[-1]
    weights = np.ones_like(nodes)
    for i in range(count):
        for j in range(count):
            if i != j:
                gap = nodes[..., i] - nodes[..., j]
                weights[..., i] *= (np.asarray(at) - nodes[..., j]) / gap
    return weights


def cubic_weights(offset: np.ndarray) -> np.ndarray:
    """Lagrange weights of the samples 0, 1, 2, 3 at position ``offset``; shape (..., 4)."""
    x = np.asarray(offset, dtype=np.float64)
    return np.stack(
        [
            -(x - 1) * (x - 2) * (x - 3) / 6,
            x * (x - 2) * (x - 3) / 2,
            -x * (x - 1) * (x - 3) / 2,
            x * (x - 1) * (x - 2) / 6,
        ],
        axis=-1,
    )


def can_interleave(fan: FanBeam) -> bool:
    """Whether opposite rays of a full circle fall well between each other."""
    twice = 2.0 * float(fan.columns[0])
    gap = abs(twice - round(twice))  # from a ray to the nearest one of the opposite view [columns]
    return fan.shape[0] % 2 == 0 and gap >= _LEAST_GAP


def _merged_weights(
    column: np.ndarray, opposite: np.ndarray, first: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Weights (2, n, 4) of 4 rays of a view and 4 opposite rays, at a place seen by both.

    The place is ``column`` in the one and ``opposite`` in the other; their columns run in opposite
    directions, and ``first``, ``other`` are the first columns taken.
    """
    taps = np.arange(4.0)
    here = first[:, None] + taps
    there = (column + opposite)[:, None] - (other[:, None] + taps)
    weights = lagrange_weights(np.concatenate([here, there], axis=1), column)
    return np.stack([weights[:, :4], weights[:, 4:]])


def _columns(fan: FanBeam, t: np.ndarray, both: bool, interleave: bool) -> tuple:
    first, weight, places, seen = [], [], [], []
    for sign in (1.0, -1.0):
        gamma = np.arcsin(np.clip(sign * t / fan.src_iso, -1.0, 1.0))
        column = fan.column_of(gamma)
        base = np.clip(np.floor(column) - 1, 0, fan.n_cols - 4)
        places.append(column)
        first.append(base.astype(np.int64))
        weight.append(cubic_weights(column - base))
        # half a pixel beyond the last centre still belongs to the detector
        seen.append((column > -0.5) & (column < fan.n_cols - 0.5))
    share = np.stack([seen[0], seen[1] & both]).astype(np.float64)
    share /= np.maximum(share.sum(axis=0), 1.0)
    weights = np.stack(weight) * share[..., None]
    if interleave:
        merged = _merged_weights(*places, *first)
        weights = np.where((seen[0] & seen[1])[None, :, None], merged, weights)
    return np.stack(first), weights


def rebin_tables(
    fan: FanBeam, step: float, t: np.ndarray, *, half: int, interleave: bool
) -> Rebinning:
    """Return the tables that rebin ``fan``, with views ``step`` apart, to rays at ``t`` [mm]."""
    shift = -fan.fan_angles / step
    base = np.floor(shift) - 1
    col_first, col_weight = _columns(fan, t, half > 0, interleave and half > 0)
    return Rebinning(
        view_first=base.astype(np.int64),
        view_weight=cubic_weights(shift - base),
        col_first=col_first,
        col_weight=col_weight,
        half=half,
    )


def interpolation_mtf(
    fan: FanBeam, t: np.ndarray, frequency: np.ndarray, *, interleave: bool
) -> np.ndarray:
    """MTF (n,) of the interpolation to rays at ``t`` [mm], averaged over them.

    ``frequency`` (n,) is in cycles per column.
    """
    column = fan.column_of(np.arcsin(t / fan.src_iso))
    opposite = fan.column_of(np.arcsin(-t / fan.src_iso))
    first, other = np.floor(column) - 1, np.floor(opposite) - 1
    if interleave:
        weights = _merged_weights(column, opposite, first, other)
    else:
        weights = 0.5 * np.stack([cubic_weights(column - first), cubic_weights(opposite - other)])
    taps = np.arange(4.0)
    here = first[:, None] + taps - column[:, None]
    there = opposite[:, None] - (other[:, None] + taps)
    phase = 2 * np.pi * np.stack([here, there])[..., None] * np.asarray(frequency)
    return np.abs((weights[..., None] * np.exp(1j * phase)).sum(axis=(0, 2)).mean(axis=0))
