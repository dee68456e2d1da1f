r"""Noise that the views of an FBP have in common, from the variances of independent rays.

Rebinning interpolates each column along the views (:mod:`recon.fbp.rebinning`), so a row of
rebinned columns shares rays with the three that follow it. Of column d, row r and row r + δ have
the covariance

.. math:: E_δ[r, d] = Σ_a w_a w_{a-δ} σ²[r + first_d + a, d]

with the cubic weights w of the column. The two steps that follow, the interpolation along the
columns, A, and the ramp filter, F, are the same for all views, but for the side from which the
scanner looks. Samples of view k and of view k + δ have the covariance
``Σ_sides F A diag(E_δ) Aᵀ Fᵀ`` therefore.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .plan import FbpPlan

__all__ = ["ViewNoise", "view_noise"]

_TAPS = 4


@dataclass(frozen=True)
class ViewNoise:
    """What filtered views have in common, as tables of 32 bits.

    Attributes
    ----------
    rows : ndarray, (1 + reach, rows, cols)
        E: variance of each row, and its covariance with the rows that follow, as far as it reaches.
        Parallel view k is row k, from the first side, and row k + K, from the second if there is.
    first : ndarray, (sides, n_t)
        Sample m of a view takes the columns ``first[side, m] + 0…3`` …
    weights : ndarray, (sides, n_t, 4)
        … with these weights: A.
    filtered : ndarray, (sides, cols, n_fine)
        ``(F A)ᵀ``: what the filter makes of a column.
    """

    rows: np.ndarray
    first: np.ndarray
    weights: np.ndarray
    filtered: np.ndarray


def view_noise(plan: FbpPlan, filters: np.ndarray, variance: np.ndarray) -> ViewNoise:
    """Return the noise that views have in common behind a filter.

    Parameters
    ----------
    plan : FbpPlan
    filters : ndarray, (n_fine, n_t)
        F.
    variance : ndarray, (views, cols)
        Of the rays.
    """
    rays, table = variance.astype(np.float64), plan.rebinning
    if plan.weights is not None:
        rays = rays * np.square(plan.weights)
    if table is None:  # rays are the samples
        columns = np.arange(plan.n_t)
        first = np.minimum(columns, plan.n_t - _TAPS)[None]
        weights = np.eye(_TAPS)[columns - first]
        rows = rays[None]
    else:
        sides = 2 if table.half else 1
        first, weights = table.col_first[:sides], table.col_weight[:sides]
        rays = np.pad(rays, ((0, plan.spare), (0, 0)))
        rows = _common(rays, table.view_first, table.view_weight)
    columns = rays.shape[1]
    filtered = np.zeros((len(first), columns, len(filters)))
    for side, (start, weight) in enumerate(zip(first, weights)):
        for tap in range(_TAPS):
            np.add.at(filtered[side], start + tap, weight[:, tap, None] * filters.T)
    return ViewNoise(
        rows.astype(np.float32),
        np.ascontiguousarray(first),
        weights.astype(np.float32),
        filtered.astype(np.float32),
    )


def _common(rays: np.ndarray, first: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """E, (4, rows, cols), of rays (rows, cols)."""
    taken = [
        np.take_along_axis(rays, (np.arange(len(rays))[:, None] + first + tap) % len(rays), axis=0)
        for tap in range(_TAPS)
    ]
    return np.stack(
        [
            np.sum(
                [weight[:, a] * weight[:, a - later] * taken[a] for a in range(later, _TAPS)],
                axis=0,
            )
            for later in range(_TAPS)
        ]
    )
