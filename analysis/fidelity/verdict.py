"""Is a sample an invariance at all? Distances in HU beside what redrawing the noise gives.

The norm ‖·‖ of an image in HU is the rms over its pixels. A sample x̄ stands for the same output
as x if ‖f(x̄) - f(x)‖ is small; small against what? Against a tolerance τ that was asked for, or
else against the change of the output when nothing but the noise of x is drawn again. Then: do the
samples vary as much as they could, and does the layer hide anything at all? Of anatomies ȳ: do they
give the output, does the true one lie among them, and could the test have seen a lesion?

Each of these is a `Check`: a number, what it should be, its sampling error, and what becomes of it:
met, missed or undecided. A verdict is a function of its checks, and so is its colour: red where
what makes a sample what it is called is missed, amber where another check is missed or nothing can
be decided, green where all are met.

Verdicts are data; :mod:`analysis.report.wording` says them in words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ..numbers import Outcome, Share, Spread, ideal_coverage, outcome

__all__ = [
    "Check",
    "Colour",
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
    "off", "undecided", "lost_by_dose", "lost_by_reconstruction", "lost_by_network", "not_lost",
]  # fmt: skip
Width = Literal["right", "too_narrow", "too_wide"]
Colour = Literal["green", "amber", "red"]

_RELATIVE_SD = (0.8, 1.25)  # of samples over that of the reference
_FAR_OFF = 0.5  # of the ideal coverage: below it samples are too narrow, whatever the error
_MOST = 0.5  # of the ȳ, and of outputs with a lesion: most of them
_ALPHA = 0.05  # of the test of compatibility
_OUTPUTS = ("target_distance_median", "compatible_share")  # whether ȳ give f(x) at all
_INJECTIVE = 0.02  # of all dimensions: a layer with a smaller near-null space hides next to nothing


@dataclass(frozen=True)
class Check:
    """A number that should be something, and whether it is.

    Attributes
    ----------
    id : str
        Of the quantity in :data:`analysis.runs.quantities.QUANTITIES`.
    value : float
    low, high : float
        Where it should be.
    error : float
        Its standard error; NaN if that is not known.
    outcome : {"met", "missed", "undecided"}
    essential : bool
        Without it the samples are not what they are called.
    """

    id: str
    value: float
    low: float
    high: float
    error: float
    outcome: Outcome
    essential: bool = False

    @classmethod
    def of(
        cls,
        id: str,
        value: float,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        error: float = 0.0,
        essential: bool = False,
    ) -> Check:
        """Hold a number against a range; see :func:`analysis.numbers.outcome`."""
        return cls(id, value, low, high, error, outcome(value, low, high, error), essential)


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
    sd_ratio_error: float = 0.0  # its standard error
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
    covered_error: float = math.nan  # standard error of `covered`

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
    covered_error: float = math.nan  # standard error of `covered`
    bias_hu: float = math.nan  # ‖mean ȳ - y‖
    missed: float = math.nan  # the same, in units of what the spread of the ȳ says of it
    missed_error: float = math.nan  # its standard error
    compatible: Share | None = None  # of the ȳ, with the output f(x)
    level: Share | None = None  # of scans of the ȳ that the test refuses among their own
    blind: Share | None = None  # of outputs with a lesion of 20 HU that the test notices
    null_scans: int = 0  # of y, among which the test ranks; 0 where its level is exact

    @property
    def level_error(self) -> float:
        """Standard error of the test's level: among n scans the last 5 % are those of a sample.

        The level given these scans has a beta distribution, of variance α(1 - α)/(n + 2).
        """
        if not self.null_scans:
            return 0.0
        return math.sqrt(_ALPHA * (1.0 - _ALPHA) / (self.null_scans + 2))


@dataclass(frozen=True)
class Verdict:
    """What the numbers come to."""

    kind: Kind
    holds: bool  # the samples keep what they should; of two anatomies: the numbers can be right
    spread: Width = "right"  # whether the samples vary as much as they could
    colour: Colour = "green"
    checks: tuple[Check, ...] = ()  # what it was decided by

    @property
    def reasons(self) -> tuple[Check, ...]:
        """The checks that keep it from being green, the gravest first."""
        order = {"missed": 0, "undecided": 1, "met": 2}
        worst = sorted(self.checks, key=lambda check: (not check.essential, order[check.outcome]))
        return tuple(check for check in worst if check.outcome != "met")


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
    checks = _sample_checks(numbers)
    found = numbers.evidence
    if found is not None and found.injective:
        own = tuple(check for check in checks if check.essential)
        return Verdict("injective", keeps, "right", _colour(own), own)
    if not keeps:
        return Verdict("not_invariances", False, "right", "red", checks)
    return Verdict("invariances", True, _width(checks), _colour(checks), checks)


def _sample_checks(numbers: SampleNumbers) -> tuple[Check, ...]:
    change, limit = numbers.consistency, numbers.tolerance_hu
    limit = numbers.redrawn.median if limit is None else limit
    checks = [Check.of("output_change_median", change.median, high=limit * 1.001, essential=True)]
    if numbers.feature_ratio is not None:
        most = numbers.feature_limit * 1.001
        checks.append(Check.of("layer_change", numbers.feature_ratio, high=most, essential=True))
    if change.count > 1:
        checks.append(
            _coverage("coverage_of_x", numbers.covered, change.count, numbers.covered_error)
        )
    found = numbers.evidence
    if found is not None and found.sd_ratio is not None:
        low, high = _RELATIVE_SD
        checks.append(
            Check.of("relative_sd", found.sd_ratio, low=low, high=high, error=found.sd_ratio_error)
        )
    return tuple(checks)


def judge_targets(numbers: TargetNumbers) -> Verdict:
    """Do sampled anatomies ȳ, scanned again, give f(x) as y does, and does y lie among them?

    Samples that give another output are not invariances. Samples that give it are *off* if y lies
    farther from their mean than their spread says, or outside their band in more pixels than it
    should, or if the test of the output finds too few of them compatible: each by more than its
    sampling error. If nothing is missed, but the test notices a lesion of 20 HU in less than half
    of the outputs with one, nothing is *decided*.

    Examples
    --------
    >>> from analysis.fidelity.verdict import Share, Spread, TargetNumbers, judge_targets
    >>> near, null = Spread(30.0, 29.0, 31.0, 24), Spread(30.0, 29.0, 31.0, 24)
    >>> good = TargetNumbers(
    ...     near, null, 1.0, 12.0, covered=0.83, n=24, covered_error=0.02, missed=1.0,
    ...     missed_error=0.02, compatible=Share.of(24, 24), blind=Share.of(1, 192))
    >>> judge_targets(good).kind
    'undecided'
    """
    checks = _target_checks(numbers)
    holds = numbers.distance.median <= numbers.null.high
    outputs = [check for check in checks if check.essential and check.id in _OUTPUTS]
    if any(check.outcome == "missed" for check in outputs):
        return Verdict("not_invariances", holds, "right", "red", checks)
    missed = [check.id for check in checks if check.outcome == "missed"]
    if missed:
        return Verdict("off", holds, _width(checks), _colour(checks), checks)
    if any(check.outcome == "undecided" for check in checks):
        return Verdict("undecided", holds, "right", "amber", checks)
    return Verdict("targets", holds, "right", "green", checks)


def _target_checks(numbers: TargetNumbers) -> tuple[Check, ...]:
    share, found = numbers.compatible, numbers.distance
    checks = [
        Check.of("target_distance_median", found.median, high=numbers.null.high, essential=True)
    ]
    if share is not None:  # fewer than half: not what they are called
        error = math.hypot(share.error, numbers.level_error)
        how = {"low": 1.0 - _ALPHA, "high": 1.0, "error": error}
        checks.append(
            Check.of("compatible_share", share.value, **how, essential=share.high < _MOST)
        )
    if numbers.n > 1:
        checks += [
            Check.of(
                "target_miss", numbers.missed, high=1.0, error=numbers.missed_error, essential=True
            ),
            _coverage("coverage_of_y", numbers.covered, numbers.n, numbers.covered_error),
        ]
    if (level := numbers.level) is not None:
        error = math.hypot(level.error, numbers.level_error)
        checks.append(Check.of("test_level", level.value, low=_ALPHA, high=_ALPHA, error=error))
    if (power := numbers.blind) is not None:
        found_it: Outcome = "met" if power.value >= _MOST else "undecided"
        checks.append(Check("test_power", power.value, _MOST, 1.0, power.error, found_it))
    return tuple(checks)


def _coverage(id: str, covered: float, n: int, error: float) -> Check:
    """Coverage against its ideal; without an error a gross miss alone can be told."""
    ideal = ideal_coverage(n)
    if math.isnan(error) and covered < _FAR_OFF * ideal:
        error = 0.0
    return Check.of(id, covered, low=ideal, high=ideal, error=error)


def _width(checks: tuple[Check, ...]) -> Width:
    """Whether the samples vary too little or too much, by the checks that say so."""
    for check in checks:
        if check.outcome == "missed" and check.id in ("coverage_of_x", "relative_sd"):
            return "too_narrow" if check.value < check.low else "too_wide"
    return "right"


def _colour(checks: tuple[Check, ...]) -> Colour:
    if any(check.essential and check.outcome == "missed" for check in checks):
        return "red"
    return "green" if all(check.outcome == "met" for check in checks) else "amber"
