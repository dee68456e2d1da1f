"""Sampling errors of calibration figures, by putting each sample in the place of the truth.

If the truth is one more sample like the others, what is measured of it is distributed as what is
measured of each sample among the rest, correlation between pixels included: the standard deviation
of that is the sampling error of one image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..numbers import coverage, rms, sample_sd
from .statistics import miss_relative_to_sd

__all__ = ["coverage_error", "miss_and_error", "spread_error"]

_LEFT_OUT = 24  # samples that are put in the place of the truth


def coverage_error(samples: Tensor) -> float:
    """Standard error of the coverage of one truth by n samples (n, H, W); NaN below n = 4.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity.calibration import coverage_error
    >>> draws = torch.randn(25, 32, 32, generator=torch.Generator().manual_seed(1))
    >>> 0.005 < coverage_error(draws) < 0.02  # √(.83 · .17 / 1024) = .012
    True
    """
    if len(samples) < 4:
        return math.nan
    found = [coverage(others, left_out) for left_out, others in _each(samples)]
    return float(torch.tensor(found).std())


def miss_and_error(samples: Tensor, truth: Tensor) -> tuple[float, float]:
    """How far the truth lies from the samples' mean over what their spread says, and its error.

    1 if truth and samples are of one distribution; see `miss_relative_to_sd`. NaN below n = 4, and
    for samples that are all the same.
    """
    if len(samples) < 4 or float(rms(sample_sd(samples))) < 1e-3:
        return math.nan, math.nan
    found = [miss_relative_to_sd(others, left_out) for left_out, others in _each(samples)]
    return miss_relative_to_sd(samples, truth), float(torch.tensor(found).std())


def spread_error(samples: Tensor) -> float:
    """Relative standard error of the rms over pixels of the sd over samples, by the jackknife."""
    n = len(samples)
    if n < 4:
        return math.nan
    total = rms(sample_sd(samples))
    parts = torch.stack([rms(sample_sd(others)) for _, others in _each(samples)])
    scatter = (parts - parts.mean()).square().mean() * (n - 1)
    return float(scatter.sqrt() / total) if float(total) else math.nan


def _each(samples: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Samples left out, each with all the others."""
    return [
        (samples[k], torch.cat([samples[:k], samples[k + 1 :]]))
        for k in range(min(len(samples), _LEFT_OUT))
    ]
