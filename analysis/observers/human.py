r"""Human-like observers of a known signal, trained on one set of images and tested on another.

*Channelised Hotelling* (CHO): the images through a few band-pass channels U, like those of the
visual system, and the best linear template for them, ``w = K⁻¹ Uᵀ s`` with the channels'
covariance K. *Non-prewhitening* (NPW): the expected signal itself as a template, blind to the
noise's correlations. Barrett and Myers, Foundations of Image Science, 2004, sections 13.2 and
14.3.

Neither is ideal. Their d' may *rise* when images are filtered or denoised: that is noise put where
the observer does not look, and no information gained; only the ideal observer's d' cannot rise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recon import DataError

__all__ = ["Observed", "dense_dog_channels", "observe", "train_cho", "train_npw"]

_BOOTSTRAPS = 1000


def dense_dog_channels(
    shape: tuple[int, int], *, place: tuple[float, float] | None = None, count: int = 10
) -> Tensor:
    """Dense differences of Gaussians about a place, as columns of unit norm.

    ``C_j(ρ) = exp(-½(ρ/(Qσ_j))²) - exp(-½(ρ/σ_j)²)``, ``σ_j = σ_0 α^j`` with σ_0 = 0.005 cycles per
    pixel, α = 1.4, Q = 1.67 (Abbey and Barrett, J. Opt. Soc. Am. A 18, 2001).

    Parameters
    ----------
    shape : (rows, cols)
    place : (row, col), optional
        Centre of the channels in pixels; the image's by default.
    count : int
        Number of channels.

    Returns
    -------
    Tensor, (rows·cols, count)
    """
    row, col = place or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    fy = np.fft.fftfreq(2 * shape[0])[:, None]
    fx = np.fft.fftfreq(2 * shape[1])[None, :]
    radial = np.hypot(fy, fx)
    shift = np.exp(-2j * np.pi * (fy * row + fx * col))
    channels = []
    for sigma in 0.005 * 1.4 ** np.arange(count):
        passed = np.exp(-0.5 * (radial / (1.67 * sigma)) ** 2) - np.exp(
            -0.5 * (radial / sigma) ** 2
        )
        image = np.fft.ifft2(passed * shift).real[: shape[0], : shape[1]]
        channels.append(image.ravel() / np.linalg.norm(image))
    return torch.from_numpy(np.stack(channels, 1))


def train_npw(without: Tensor, with_signal: Tensor) -> Tensor:
    """Template (H, W) of the NPW: the mean difference of training images (n, H, W).

    Pairs with the same noise give a template that is nearly free of it.
    """
    return (with_signal.double() - without.double()).mean(0)


def train_cho(without: Tensor, with_signal: Tensor, channels: Tensor) -> Tensor:
    """Template (H, W) of the CHO from training images (n, H, W) of the two hypotheses.

    Raises
    ------
    DataError
        If there are not more images than channels: their covariance would not be invertible.
    """
    shape = without.shape[-2:]
    seen = [images.double().flatten(1) @ channels for images in (without, with_signal)]
    if min(len(part) for part in seen) <= channels.shape[1] + 1:
        raise DataError(
            "too few training images for the channels",
            expected=f"more than {channels.shape[1] + 1} of each kind",
            got=min(len(part) for part in seen),
        )
    spread = 0.5 * (torch.cov(seen[0].T) + torch.cov(seen[1].T))
    weights = torch.linalg.solve(spread, seen[1].mean(0) - seen[0].mean(0))
    return (channels @ weights).reshape(shape)


@dataclass(frozen=True)
class Observed:
    """d' and AUC of an observer on test images, with 95 % intervals by bootstrap over images."""

    d: float
    d_interval: tuple[float, float]
    auc: float
    auc_interval: tuple[float, float]


def observe(template: Tensor, without: Tensor, with_signal: Tensor, *, seed: int) -> Observed:
    """Test a linear observer on images that it was not trained on.

    ``d' = (mean t_1 - mean t_0) / √(½ (var t_0 + var t_1))``; AUC is the share of pairs that are
    ranked correctly (Mann and Whitney).

    Parameters
    ----------
    template : Tensor, (H, W)
    without, with_signal : Tensor, (n, H, W)
        Test images of the two hypotheses, with independent noise.
    seed : int
        Seed of the bootstrap.
    """
    scores = [
        (images.double() * template.double()).sum((-2, -1)).numpy()
        for images in (without, with_signal)
    ]
    if min(len(part) for part in scores) < 2:
        raise DataError("too few test images", expected="at least 2 of each kind")
    random = np.random.default_rng(seed)
    drawn = [part[random.integers(len(part), size=(_BOOTSTRAPS, len(part)))] for part in scores]
    distances, areas = _separation(*drawn)
    own_d, own_area = _separation(*(part[None] for part in scores))
    return Observed(float(own_d[0]), _interval(distances), float(own_area[0]), _interval(areas))


def _separation(t0: np.ndarray, t1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """d' and AUC of scores (sets, n)."""
    spread = np.sqrt(0.5 * (t0.var(1, ddof=1) + t1.var(1, ddof=1)))
    d = (t1.mean(1) - t0.mean(1)) / np.maximum(spread, 1e-300)
    areas = np.empty(len(t0))
    for k, (low, high) in enumerate(zip(np.sort(t0, axis=1), t1, strict=True)):
        below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
        areas[k] = 0.5 * below.mean() / len(low)
    return d, areas


def _interval(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (math.nan, math.nan)
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)
