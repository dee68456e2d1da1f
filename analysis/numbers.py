"""The numbers that samples are judged by: distances in HU, spread, and coverage of the truth.

The norm ‖·‖ of an image in HU is the rms over its pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from ctxai import InPlace
from recon import DataError

__all__ = [
    "Outcome",
    "Share",
    "Spread",
    "apply",
    "collapse_alarm",
    "coverage",
    "ideal_coverage",
    "outcome",
    "rms",
    "sample_sd",
]

Outcome = Literal["met", "missed", "undecided"]
"""What becomes of a number that should be something."""

_ERRORS = 2.0  # standard errors by which a number may be off: 95 %
_CHUNK = 16  # images that a network takes at once: more leave the cache
_FEW = 0.05  # of the latent: with fewer dimensions in use, samples are nearly all the same


@torch.no_grad()
def apply(f: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """f of (..., H, W) images, given to it as (B, 1, H, W) in chunks; the same shape returns.

    Of images that are larger than the window of a denoiser in its place the window returns.

    Raises
    ------
    DataError
        If f returns another shape, or values that are not finite.

    Examples
    --------
    >>> import torch
    >>> from analysis.numbers import apply
    >>> apply(lambda x: x + 1.0, torch.zeros(5, 2, 3, 3)).mean()
    tensor(1.)
    """
    flat = images.reshape(-1, 1, *images.shape[-2:])
    parts = []
    for part in flat.split(_CHUNK):
        out = f(part)
        sides = f.window.shape if isinstance(f, InPlace) else part.shape[-2:]
        if tuple(out.shape) != (*part.shape[:2], *sides):
            raise DataError(
                "the denoiser does not return images of the shape it is given",
                expected=(*part.shape[:2], *sides),
                got=tuple(out.shape),
            )
        parts.append(out)
    out = torch.cat(parts)
    if not bool(torch.isfinite(out).all()):
        raise DataError("the denoiser returns values that are not finite")
    return out.reshape(*images.shape[:-2], *out.shape[-2:])


def outcome(
    value: float, low: float = -math.inf, high: float = math.inf, error: float = 0.0
) -> Outcome:
    """Whether a number lies in a range, but for its sampling error.

    It is missed if it is off by more than two standard errors, and undecided if number or error
    are not known.

    Examples
    --------
    >>> from analysis.numbers import outcome
    >>> outcome(0.67, 0.83, 0.83, error=0.02), outcome(0.80, 0.83, 0.83, error=0.02)
    ('missed', 'met')
    >>> outcome(0.67, 0.83, 0.83, error=float("nan"))
    'undecided'
    """
    if math.isnan(value) or math.isnan(error):
        return "undecided"
    slack = _ERRORS * error
    return "met" if low - slack <= value <= high + slack else "missed"


def rms(difference: Tensor, dims: int = 2) -> Tensor:
    """Root mean square over the last dimensions: ‖·‖ of each image.

    Examples
    --------
    >>> import torch
    >>> from analysis.numbers import rms
    >>> rms(torch.tensor([[[3.0, -3.0]], [[0.0, 0.0]]])).tolist()
    [3.0, 0.0]
    """
    return difference.double().square().flatten(-dims).mean(-1).sqrt().float()


def sample_sd(samples: Tensor) -> Tensor:
    """Standard deviation over samples, (n, H, W) → (H, W); zero for a single sample."""
    if len(samples) < 2:
        return torch.zeros_like(samples[0])
    return samples.double().std(0).float()


def coverage(samples: Tensor, truth: Tensor, band: tuple[float, float] = (0.05, 0.95)) -> float:
    """Share of pixels whose true value lies inside the samples' quantile band.

    Parameters
    ----------
    samples : Tensor, (n, H, W)
    truth : Tensor, (H, W)
    band : (low, high)
        Quantiles, linearly interpolated.

    Returns
    -------
    float

    See Also
    --------
    ideal_coverage : what exact samples would give.
    """
    ordered = np.sort(samples.cpu().numpy(), axis=0)  # several times faster than np.quantile
    last = len(ordered) - 1
    low, high = (
        ordered[int(at)] + (at % 1.0) * (ordered[min(int(at) + 1, last)] - ordered[int(at)])
        for at in (share * last for share in band)
    )
    value = truth.cpu().numpy()
    return float(((value >= low) & (value <= high)).mean())


def ideal_coverage(n: int) -> float:
    """Share inside the 5–95 % band of n samples if the truth were one more sample like them.

    ``1 - 2 (0.05 (n - 1) + 1) / (n + 1)`` for linearly interpolated quantiles: exact for a uniform
    distribution, 0.02 too low for a normal one at n = 6 and right within 0.005 from n = 24.

    Parameters
    ----------
    n : int
        Number of samples.

    Returns
    -------
    float

    Examples
    --------
    >>> from analysis.numbers import ideal_coverage
    >>> round(ideal_coverage(24), 3), round(ideal_coverage(250), 3)
    (0.828, 0.893)
    """
    return 1.0 - 2.0 * (0.05 * (n - 1) + 1.0) / (n + 1)


@dataclass(frozen=True)
class Share:
    """A share that was counted, with its 95 % interval (Clopper and Pearson)."""

    value: float
    low: float
    high: float
    count: int  # of how many

    @property
    def error(self) -> float:
        """Its standard error, from the interval."""
        return (self.high - self.low) / (2.0 * 1.96)

    @classmethod
    def of(cls, found: int, count: int) -> Share:
        """The share of some that were found among several.

        Examples
        --------
        >>> from analysis.numbers import Share
        >>> share = Share.of(0, 40)
        >>> share.value, round(share.high, 3)
        (0.0, 0.088)
        """
        low, high = binomtest(found, count).proportion_ci(0.95)
        return cls(found / count, float(low), float(high), count)


@dataclass(frozen=True)
class Spread:
    """Median and range of one number over samples."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Tensor) -> Spread:
        """The spread of a tensor of values."""
        values = values.flatten().double()
        return cls(
            float(values.quantile(0.5)), float(values.min()), float(values.max()), values.numel()
        )

    def named(self) -> tuple[tuple[str, float], ...]:
        """The three numbers, each with the word for it."""
        return ("median", self.median), ("smallest", self.low), ("largest", self.high)


def collapse_alarm(active: int, latent: int) -> str | None:
    """What to say of an autoencoder that hardly uses its latent, None of one that does.

    Such an autoencoder can look perfect: latents are normal, the likelihood is high and the
    inversion exact, and no two samples differ.

    Examples
    --------
    >>> from analysis.numbers import collapse_alarm
    >>> collapse_alarm(0, 128)
    'the autoencoder has collapsed: 0 of 128 dimensions are active; train with more free bits'
    >>> collapse_alarm(90, 128)
    """
    if active >= _FEW * latent:
        return None
    return (
        f"the autoencoder has collapsed: {active} of {latent} dimensions are active; "
        "train with more free bits"
    )
