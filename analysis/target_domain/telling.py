r"""Could any reader of f's output tell these two anatomies apart, in one scan or in eight?

This question is about two anatomies, not about one output. The reader knows both, and so the mean
difference Δ of their outputs: ``Δ = E[f(x + R⁻¹R(ȳ - y)) - f(x)]``, over scans x of y, in pairs of
the same noise. He takes a matched filter: Δ parted into octaves of spatial frequency, each weighed
as the noise in f's output asks for, ``w = K⁻¹ s`` with the covariance K of the parts' readings over
n scans of y and their signals s (Hotelling's observer with these channels). For Gaussian noise and
a signal that is known, ``ν s'K⁻¹s`` scatters about d'² as ``d'² / χ²`` does, with ``ν - b + 1``
degrees of freedom, ν = n - 1, b parts: this gives d' without bias and its interval.

A reader with d' who allows 5 % false alarms notices the difference in ``Φ(√k d' - 1.645)`` of all
cases, with the mean of k scans. The measured share stands beside it; that of an ideal observer of
the rays, d' of :func:`analysis.projection_domain.pair.ray_detectability`, bounds every reader of
anything that is made of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import chi2, norm
from torch import Tensor

from recon import DataError

from ..numbers import Share, apply

__all__ = [
    "FALSE_ALARMS",
    "SEVERAL",
    "LesionPower",
    "Telling",
    "bound",
    "known_differences",
    "tell",
]

FALSE_ALARMS = 0.05
SEVERAL = 8
"""Scans that a reader takes together, beside one."""

_EDGES = (0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # cycles/pixel
_PAIRS = 4  # scans of y in which a difference is measured


def bound(d: np.ndarray | float, scans: int = 1) -> np.ndarray:
    """Share of cases in which a reader with d' notices a difference, at 5 % false alarms.

    Examples
    --------
    >>> from analysis.target_domain.telling import bound
    >>> [round(float(bound(d)), 2) for d in (0.0, 1.49, 2.45)]
    [0.05, 0.44, 0.79]
    """
    return norm.cdf(np.sqrt(scans) * np.asarray(d) - norm.ppf(1.0 - FALSE_ALARMS))


def known_differences(f: Callable[[Tensor], Tensor], scans: Tensor, signals: Tensor) -> Tensor:
    """Mean differences that signals make in f's output, (n, H, W) [HU].

    Parameters
    ----------
    f : callable
        The denoiser, in its place.
    scans : Tensor, (k, rows, cols)
        Scans of y [HU], of which the first four are used.
    signals : Tensor, (n, rows, cols)
        R⁻¹R(ȳ - y) [HU].
    """
    base = scans[:_PAIRS]
    before = apply(f, base)
    return torch.stack([(apply(f, base + signal) - before).mean(0) for signal in signals])


@dataclass(frozen=True)
class Telling:
    """What a reader of f's output, who knows y and ȳ, can tell: for each ȳ, and of all."""

    d: np.ndarray  # d' of each ȳ against y in f's output, one scan
    low: np.ndarray  # its 95 % interval
    high: np.ndarray
    bound_one: float  # mean over the ȳ of Φ(d' - 1.645)
    bound_several: float  # the same of eight scans
    told_one: Share  # measured, of single scans of the ȳ
    told_several: Share | None  # measured, of groups of eight scans; None with fewer


@dataclass(frozen=True)
class LesionPower:
    """How often the lesion is noticed in one scan: at best, by who knows it, and blindly."""

    rays_d: float  # d' of the lesion in the rays, in the noise that the draws have
    bound: float  # Φ(d' - 1.645): no reader of anything made of the rays does better
    output_d: float  # d' in f's output of the matched filter
    output_low: float  # its 95 % interval
    output_high: float
    expected: float  # Φ(d' - 1.645) of it
    known: Share  # measured: the matched filter for the lesion
    expected_several: float  # Φ(√8 d' - 1.645)
    known_several: Share | None  # the same for groups of eight scans
    blind: Share  # measured: the test of compatibility

    @classmethod
    def of(cls, told: Telling, rays_d: float, blind: Share) -> LesionPower:
        """From what a reader tells of y with the lesion, d' in the rays, and the blind test."""
        return cls(
            rays_d, float(bound(rays_d)), float(told.d[0]), float(told.low[0]),
            float(told.high[0]), told.bound_one, told.told_one, told.bound_several,
            told.told_several, blind,
        )  # fmt: skip


def tell(null: Tensor, differences: Tensor, scans: Tensor) -> Telling:
    """Tell anatomies from y by f's output, and count how often single scans of them are told.

    Parameters
    ----------
    null : Tensor, (n, H, W)
        Outputs of scans of y [HU].
    differences : Tensor, (m, H, W)
        Of the mean outputs, of :func:`known_differences` [HU].
    scans : Tensor, (m, K, H, W)
        Outputs of scans of each of the m anatomies [HU], none of them of `null`.

    Raises
    ------
    DataError
        If there are too few scans of y to know the noise by.
    """
    n, parts = len(null), len(_EDGES) - 1
    if n < 4 * parts:
        raise DataError(
            "too few scans of y to know the noise by", expected=f"{4 * parts} or more", got=n
        )
    d, low, high = (np.zeros(len(differences)) for _ in range(3))
    one: list[np.ndarray] = []
    several: list[np.ndarray] = []
    rays, mean = null.double().flatten(1).cpu().numpy(), null.double().mean(0)
    for k, difference in enumerate(differences):
        octaves = _octaves(difference)
        readings = rays @ octaves.T
        covariance = np.atleast_2d(np.cov(readings, rowvar=False))
        signal = octaves @ difference.double().flatten().cpu().numpy()
        weights = np.linalg.lstsq(covariance, signal, rcond=1e-10)[0]
        quality, used = float(weights @ signal), len(octaves)
        freedom = n - used
        d[k], low[k], high[k] = (
            np.sqrt(max(quality, 0.0) * share / (n - 1))
            for share in (
                freedom - 2, chi2.ppf(0.025, freedom), chi2.ppf(0.975, freedom)
            )
        )  # fmt: skip
        template = weights @ octaves
        sd = np.sqrt(max(quality, 0.0) * (n - 1) / freedom)  # of new scans: more than of these
        ours = (scans[k].double() - mean).flatten(1).cpu().numpy() @ template
        limit = norm.ppf(1.0 - FALSE_ALARMS) * sd
        one.append(ours > limit)
        groups = ours[: len(ours) // SEVERAL * SEVERAL].reshape(-1, SEVERAL).mean(1)
        several.append(groups > limit / np.sqrt(SEVERAL))
    single, grouped = np.concatenate(one), np.concatenate(several)
    return Telling(
        d, low, high,
        bound_one=float(bound(d).mean()),
        bound_several=float(bound(d, SEVERAL).mean()),
        told_one=Share.of(int(single.sum()), len(single)),
        told_several=Share.of(int(grouped.sum()), len(grouped)) if len(grouped) else None,
    )  # fmt: skip


def _octaves(difference: Tensor) -> np.ndarray:
    """A difference parted by spatial frequency, (parts, pixels); parts without any are left out."""
    spectrum = torch.fft.fft2(difference.double().cpu())
    fy, fx = (torch.fft.fftfreq(n) for n in difference.shape)
    radial = torch.hypot(fy[:, None], fx[None, :])
    parts = [
        torch.fft.ifft2(spectrum * ((radial >= first) & (radial < last))).real.flatten()
        for first, last in itertools.pairwise(_EDGES)
    ]
    largest = max(float(part.norm()) for part in parts)
    return torch.stack([part for part in parts if float(part.norm()) >= 1e-6 * largest]).numpy()
