"""Is a sample an invariance at all? Distances in HU beside what redrawing the noise gives.

The norm ‖·‖ of an image in HU is the rms over its pixels. A sample x̄ stands for the same output
as x if ‖f(x̄) - f(x)‖ is small; small against what? Against a tolerance τ that was asked for, or
else against the change of the output when nothing but the noise of x is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recon.errors import DataError

__all__ = [
    "Spread",
    "Verdict",
    "apply",
    "coverage",
    "ideal_coverage",
    "judge_invariances",
    "judge_targets",
    "rms",
    "sample_sd",
]

_CHUNK = 64


@torch.no_grad()
def apply(f: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """f of (..., H, W) images, given to it as (B, 1, H, W) in chunks; the same shape returns.

    Raises
    ------
    DataError
        If f returns another shape, or values that are not finite.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity import apply
    >>> apply(lambda x: x + 1.0, torch.zeros(5, 2, 3, 3)).mean()
    tensor(1.)
    """
    flat = images.reshape(-1, 1, *images.shape[-2:])
    parts = []
    for part in flat.split(_CHUNK):
        out = f(part)
        if tuple(out.shape) != tuple(part.shape):
            raise DataError(
                "the denoiser does not return images of the shape it is given",
                expected=tuple(part.shape),
                got=tuple(out.shape),
            )
        parts.append(out)
    out = torch.cat(parts)
    if not bool(torch.isfinite(out).all()):
        raise DataError("the denoiser returns values that are not finite")
    return out.reshape(images.shape)


def rms(difference: Tensor, dims: int = 2) -> Tensor:
    """Root mean square over the last dimensions: ‖·‖ of each image.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity import rms
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

    See Also
    --------
    ideal_coverage : what exact samples would give.
    """
    at = torch.tensor(band, dtype=torch.float64, device=samples.device)
    low, high = torch.quantile(samples.double(), at, dim=0)
    return float(((truth >= low) & (truth <= high)).double().mean())


def ideal_coverage(n: int) -> float:
    """Share inside the 5–95 % band of n samples if the truth were one more sample like them.

    ``1 - 2 (0.05 (n - 1) + 1) / (n + 1)`` for linearly interpolated quantiles: exact for a uniform
    distribution, 0.02 too low for a normal one at n = 6 and right within 0.005 from n = 24.

    Examples
    --------
    >>> from analysis.fidelity import ideal_coverage
    >>> round(ideal_coverage(24), 3), round(ideal_coverage(250), 3)
    (0.828, 0.893)
    """
    return 1.0 - 2.0 * (0.05 * (n - 1) + 1.0) / (n + 1)


@dataclass(frozen=True)
class Spread:
    """Median and range of one number over samples."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Tensor) -> Spread:
        """Of a flat tensor of values."""
        values = values.flatten().double()
        return cls(
            float(values.quantile(0.5)), float(values.min()), float(values.max()), values.numel()
        )

    def named(self) -> tuple[tuple[str, float], ...]:
        """The three numbers, each with the word for it."""
        return ("median", self.median), ("smallest", self.low), ("largest", self.high)


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, in words: a label, one sentence, and the reasons."""

    label: str
    holds: bool
    sentence: str
    reasons: list[str] = field(default_factory=list)


_TOO_NARROW = 0.5  # of the ideal coverage: below it the samples understate what is possible


def judge_invariances(
    consistency: Spread,
    redrawn: Spread,
    *,
    covered: float,
    tolerance_hu: float | None = None,
    feature_ratio: float | None = None,
    feature_limit: float = 1.0,
) -> Verdict:
    """Are the samples of a layer invariances of it?

    Parameters
    ----------
    consistency : Spread
        ‖f(x̄) - f(x)‖ of the samples [HU].
    redrawn : Spread
        The same with x̄ replaced by x with fresh noise [HU].
    covered : float
        Share of x's pixels inside the samples' 5–95 % band.
    tolerance_hu : float, optional
        The tolerance at the output that was asked for [HU].
    feature_ratio : float, optional
        Median ‖Φ(x̄) - z‖ over that of redrawn noise, and the most that is allowed.

    Examples
    --------
    >>> from analysis.fidelity import Spread, judge_invariances
    >>> far, near = Spread(129.0, 90.0, 180.0, 24), Spread(35.0, 33.0, 37.0, 24)
    >>> judge_invariances(far, near, covered=0.2).label
    'not invariances'
    """
    limit = redrawn.median if tolerance_hu is None else tolerance_hu
    by = "redrawing the noise alone" if tolerance_hu is None else "the tolerance"
    ideal = ideal_coverage(consistency.count)
    # 0.1 %: a tolerance is met in the solver's arithmetic, the report sums in another order
    same_output = consistency.median <= limit * 1.001
    same_features = feature_ratio is None or feature_ratio <= feature_limit * 1.001
    against = f"redrawing the noise alone does so by {redrawn.median:.1f} HU"
    if tolerance_hu is not None:
        against = f"{tolerance_hu:.1f} HU are allowed, and {against}"
    reasons = [
        f"the median sample changes the output by {consistency.median:.1f} HU rms "
        f"({consistency.low:.1f} to {consistency.high:.1f}); {against}"
    ]
    if feature_ratio is not None:
        reasons.append(
            f"it changes what the layer represents by {feature_ratio:.2f} of what redrawn noise "
            f"does; at most {feature_limit:g} is allowed"
        )
    reasons.append(
        f"the 5–95 % band of the samples covers {covered:.0%} of x's pixels; exact samples would "
        f"cover {ideal:.0%}"
    )
    if not (same_output and same_features):
        what = "output" if not same_output else "layer's representation"
        return Verdict(
            "not invariances",
            False,
            f"These samples are not invariances: they change the {what} by more than {by}.",
            reasons,
        )
    if covered < _TOO_NARROW * ideal:
        return Verdict(
            "invariances, but too narrow",
            True,
            "These samples keep the output, but they are too much alike: they understate what "
            "could have given it.",
            reasons,
        )
    return Verdict(
        "invariances", True, "These samples are invariances: they keep the output.", reasons
    )


def judge_targets(
    distance: Spread, null: Spread, *, inside: float, sd_hu: float, covered: float, n: int
) -> Verdict:
    """Do sampled anatomies ȳ, scanned again, give f(x) as well as the true y does?

    Parameters
    ----------
    distance : Spread
        Mean over draws of ‖x' - f(x)‖, over the ȳ [HU].
    null : Spread
        The same for the true y, over groups of as many draws [HU].
    inside : float
        Share of the ȳ whose mean distance is no larger than the largest of the null.
    sd_hu, covered : float
        Standard deviation of the ȳ [HU], and the share of y's pixels inside their 5–95 % band.
    n : int
        Number of ȳ.
    """
    reasons = [
        f"{inside:.0%} of the {n} sampled anatomies give, scanned again, an output no farther from "
        f"f(x) than scans of the true anatomy do ({null.low:.1f} to {null.high:.1f} HU rms)",
        f"the median sampled anatomy gives {distance.median:.1f} HU "
        f"({distance.low:.1f} to {distance.high:.1f})",
        f"they differ among themselves by {sd_hu:.1f} HU, and their 5–95 % band covers "
        f"{covered:.0%} of the true anatomy's pixels; exact samples would cover "
        f"{ideal_coverage(n):.0%}",
    ]
    if distance.median <= null.high:
        return Verdict(
            "targets that the output allows",
            True,
            "Most sampled anatomies could have given this output: scanned again, they lead as "
            "close to f(x) as the true anatomy does.",
            reasons,
        )
    share = "Few" if inside > 0 else "None"
    return Verdict(
        "not invariances",
        False,
        f"These samples are not invariances: {share.lower()} of the sampled anatomies, scanned "
        "again, lead as close to f(x) as the true anatomy does.",
        reasons,
    )
