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
import torch

from .plan import FbpPlan, fine_responses
from .windows import Window

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
    filters : ndarray, (n_fine, n_t)
        F.
    filtered : ndarray, (sides, cols, n_fine)
        ``(F A)ᵀ``: what the filter makes of a column.
    """

    rows: np.ndarray
    first: np.ndarray
    weights: np.ndarray
    filters: np.ndarray
    filtered: np.ndarray


def view_noise(plan: FbpPlan, window: Window, variance: np.ndarray) -> ViewNoise:
    """Return the noise of the filtered views of a plan for rays of a variance (views, cols)."""
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
    filters = _filters(plan, window)
    columns = rays.shape[1]
    filtered = np.zeros((len(first), columns, len(filters)))
    for side, (start, weight) in enumerate(zip(first, weights)):
        for tap in range(_TAPS):
            np.add.at(filtered[side], start + tap, weight[:, tap, None] * filters.T)
    return ViewNoise(
        rows.astype(np.float32),
        np.ascontiguousarray(first),
        weights.astype(np.float32),
        filters.astype(np.float32),
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


def _filters(plan: FbpPlan, window: Window) -> np.ndarray:
    """The ramp filter as a matrix, (n_fine, n_t)."""
    spectrum = torch.fft.rfft(torch.eye(plan.n_t, dtype=torch.float64), plan.n_fft)
    responses = (torch.from_numpy(part.astype(complex)) for part in fine_responses(plan, window))
    fine = torch.stack([torch.fft.irfft(spectrum * h, plan.n_fft) for h in responses], dim=-1)
    index = (torch.arange(plan.n_fine) + plan.fine_first) % (2 * plan.n_fft)
    return fine.flatten(-2)[:, index].T.numpy()
