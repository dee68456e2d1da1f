"""Is a sample an invariance at all? Distances in HU beside what redrawing the noise gives.

The norm ‖·‖ of an image in HU is the rms over its pixels. A sample x̄ stands for the same output
as x if ‖f(x̄) - f(x)‖ is small; small against what? Against a tolerance τ that was asked for, or
else against the change of the output when nothing but the noise of x is drawn again. Then: do the
samples vary as much as they could, and does the layer hide anything at all?

Verdicts are data; :mod:`analysis.report.wording` says them in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..numbers import Spread, ideal_coverage

__all__ = [
    "Evidence",
    "Kind",
    "SampleNumbers",
    "TargetNumbers",
    "Verdict",
    "Width",
    "judge_invariances",
    "judge_targets",
]

Kind = Literal[
    "invariances", "not_invariances", "injective", "targets",
    "lost_by_dose", "lost_by_reconstruction", "lost_by_network", "not_lost",
]  # fmt: skip
Width = Literal["right", "too_narrow", "too_wide"]

_TOO_NARROW = 0.5  # of the ideal coverage, or of the reference's sd: below it samples understate
_TOO_WIDE = 1.5  # of the reference's sd: above it they overstate
_INJECTIVE = 0.02  # of all dimensions: a layer with a smaller near-null space hides next to nothing


@dataclass(frozen=True)
class Evidence:
    """Local ground truth beside a set of samples: what the layer hardly sees around x.

    The reference of ``sd_ratio`` are scans of the true anatomy, projected to the same tolerance.
    """

    energy: float  # of the deviations x̄ - x in the near-null space of the layer's Jacobian
    gain: float  # ‖J d‖/‖d‖ of the deviations; both are means over samples
    white_energy: float  # the same of white noise
    white_gain: float
    dimension: float  # of the near-null space
    entries: int  # of the image
    count: int = 0  # of samples whose deviation was looked at
    noise_power: tuple[float, ...] = ()  # over that of redrawn scans, in bands; () for one sample
    sd_ratio: float | None = None  # sd of the samples over that of the reference
    reference_pulled: int = 0  # scans of the reference that did not converge; their spread is then
    reference_count: int = 0  # not used, and sd_ratio is None
    active: int | None = None  # dimensions of an autoencoder's latent that are in use,
    latent: int = 0  # and all of them
    scales: dict[str, float] = field(default_factory=dict)  # sd of noise, tissue, organs [HU]
    rebuilt_change: float | None = None  # ‖f(D(E(x))) - f(x)‖ of the autoencoder [HU]

    @property
    def injective(self) -> bool:
        """Whether the layer represents next to everything."""
        return self.dimension < _INJECTIVE * self.entries


@dataclass(frozen=True)
class SampleNumbers:
    """What the samples of a layer are judged by."""

    consistency: Spread  # ‖f(x̄) - f(x)‖ of the samples [HU]
    redrawn: Spread  # the same of x with fresh noise [HU]
    covered: float  # share of x's pixels inside the samples' 5–95 % band
    tolerance_hu: float | None = None  # at the output, if one was asked for [HU]
    feature_ratio: float | None = None  # median ‖Φ(x̄) - z‖, redrawn noise being 1, if it matters
    feature_limit: float = 1.0  # the most of that which is allowed
    evidence: Evidence | None = None

    # 0.1 %: a tolerance is met in the solver's arithmetic, distances are summed in another order

    @property
    def same_output(self) -> bool:
        """Whether the median sample keeps the output."""
        limit = self.redrawn.median if self.tolerance_hu is None else self.tolerance_hu
        return self.consistency.median <= limit * 1.001

    @property
    def incomplete(self) -> bool:
        """Whether the autoencoder alone changes the output by more than samples may."""
        found = self.evidence
        if found is None or found.rebuilt_change is None:
            return False
        limit = self.redrawn.median if self.tolerance_hu is None else self.tolerance_hu
        return found.rebuilt_change > limit

    @property
    def same_features(self) -> bool:
        """Whether the median sample keeps what the layer represents."""
        return self.feature_ratio is None or self.feature_ratio <= self.feature_limit * 1.001


@dataclass(frozen=True)
class TargetNumbers:
    """What sampled anatomies ȳ are judged by."""

    distance: Spread  # over the ȳ, of the mean over draws of ‖x' - f(x)‖ [HU]
    null: Spread  # the same of the true y, over groups of as many draws [HU]
    inside: float  # share of the ȳ no farther from f(x) than the farthest of those groups
    sd_hu: float  # of the ȳ [HU]
    covered: float  # share of y's pixels inside their 5–95 % band
    n: int  # number of ȳ


@dataclass(frozen=True)
class Verdict:
    """What the numbers come to."""

    kind: Kind
    holds: bool  # the samples keep what they should; of two anatomies: the numbers can be right
    spread: Width = "right"  # whether the samples vary as much as they could


def judge_invariances(numbers: SampleNumbers) -> Verdict:
    """Are the samples of a layer invariances of it?

    A layer that is as good as injective is called so whether or not the samples are within the
    tolerance.

    Examples
    --------
    >>> from analysis.fidelity.verdict import SampleNumbers, Spread, judge_invariances
    >>> far, near = Spread(129.0, 90.0, 180.0, 24), Spread(35.0, 33.0, 37.0, 24)
    >>> judge_invariances(SampleNumbers(far, near, covered=0.2)).kind
    'not_invariances'
    """
    keeps = numbers.same_output and numbers.same_features
    found = numbers.evidence
    if found is not None and found.injective:
        return Verdict("injective", keeps)
    if not keeps:
        return Verdict("not_invariances", False)
    ratio = None if found is None else found.sd_ratio
    narrow = numbers.covered < _TOO_NARROW * ideal_coverage(numbers.consistency.count)
    if narrow or (ratio is not None and ratio < _TOO_NARROW):
        return Verdict("invariances", True, "too_narrow")
    if ratio is not None and ratio > _TOO_WIDE:
        return Verdict("invariances", True, "too_wide")
    return Verdict("invariances", True)


def judge_targets(numbers: TargetNumbers) -> Verdict:
    """Do sampled anatomies ȳ, scanned again, give f(x) as well as the true y does?"""
    if numbers.distance.median <= numbers.null.high:
        return Verdict("targets", True)
    return Verdict("not_invariances", False)
