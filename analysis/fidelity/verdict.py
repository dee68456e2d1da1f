"""Is a sample an invariance at all? Distances in HU beside what redrawing the noise gives.

The norm ‖·‖ of an image in HU is the rms over its pixels. A sample x̄ stands for the same output
as x if ‖f(x̄) - f(x)‖ is small; small against what? Against a tolerance τ that was asked for, or
else against the change of the output when nothing but the noise of x is drawn again. Then: do the
samples vary as much as they could, and does the layer hide anything at all?
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..numbers import Spread, ideal_coverage

__all__ = [
    "Evidence",
    "Verdict",
    "judge_invariances",
    "judge_targets",
]


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, in words: a label, one sentence, and the reasons."""

    label: str
    holds: bool
    sentence: str
    reasons: list[str] = field(default_factory=list)


_TOO_NARROW = 0.5  # of the ideal coverage, or of the reference's sd: below it samples understate
_TOO_WIDE = 1.5  # of the reference's sd: above it they overstate
_INJECTIVE = 0.02  # of all dimensions: a layer with a smaller near-null space hides next to nothing


@dataclass(frozen=True)
class Evidence:
    """Local ground truth beside a set of samples: what the layer hardly sees around x.

    Attributes
    ----------
    energy, gain : float
        Of the samples' deviations x̄ - x: share of their energy in the near-null space of the
        layer's Jacobian, and ‖J d‖/‖d‖; means over samples.
    white_energy, white_gain : float
        The same of white noise.
    dimension, entries : float, int
        Dimensions of the near-null space, and of the image.
    sd_ratio : float, optional
        Standard deviation of the samples over that of the reference, scans of the true anatomy
        projected to the same tolerance.
    alarm : str, optional
        Of an autoencoder that has collapsed, :func:`analysis.numbers.collapse_alarm`.
    """

    energy: float
    gain: float
    white_energy: float
    white_gain: float
    dimension: float
    entries: int
    sd_ratio: float | None = None
    alarm: str | None = None

    @property
    def injective(self) -> bool:
        """Whether the layer represents next to everything."""
        return self.dimension < _INJECTIVE * self.entries

    def reasons(self) -> list[str]:
        """The numbers in words."""
        said = [
            f"{self.energy:.0%} of the samples' deviation from x lies where the layer hardly sees "
            f"anything, against {self.white_energy:.0%} of white noise; its near-null space has "
            f"{self.dimension:.0f} of {self.entries} dimensions"
        ]
        if self.sd_ratio is not None:
            said.append(
                f"the samples differ among themselves {self.sd_ratio:.2f} times as much as scans "
                "of the true anatomy that were brought to the same tolerance"
            )
        return said if self.alarm is None else [*said, self.alarm]


def judge_invariances(
    consistency: Spread,
    redrawn: Spread,
    *,
    covered: float,
    tolerance_hu: float | None = None,
    feature_ratio: float | None = None,
    feature_limit: float = 1.0,
    evidence: Evidence | None = None,
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
    evidence : Evidence, optional
        What the layer hardly sees, measured.

    Returns
    -------
    Verdict
        Labelled "not invariances", "as good as injective" (of the layer, whether or not the samples
        are within the tolerance), "invariances, but too narrow" or "too wide", or "invariances".

    Examples
    --------
    >>> from analysis.fidelity.verdict import Spread, judge_invariances
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
        if tolerance_hu >= redrawn.median:
            against += ", so that any scan of this anatomy is an invariance at that tolerance"
    reasons = [
        f"the median sample changes the output by {consistency.median:.1f} HU rms "
        f"({consistency.low:.1f} to {consistency.high:.1f}); {against}"
    ]
    if feature_ratio is not None:
        reasons.append(
            f"it changes what the layer represents by {feature_ratio:.2f} of what redrawn noise "
            f"does; at most {feature_limit:g} is allowed"
        )
    if consistency.count > 1:
        reasons.append(
            f"the 5–95 % band of the samples covers {covered:.0%} of x's pixels; exact samples "
            f"would cover {ideal:.0%}"
        )
    injective = evidence is not None and evidence.injective
    narrow = covered < _TOO_NARROW * ideal
    if evidence is not None:
        reasons += evidence.reasons()
        narrow = narrow or (evidence.sd_ratio is not None and evidence.sd_ratio < _TOO_NARROW)
    if injective:
        keeps = same_output and same_features
        here = "within" if keeps else "beyond"
        return Verdict(
            "as good as injective",
            keeps,
            "This layer is as good as injective here: it represents next to everything, so there "
            f"are hardly other images to be found. What the samples differ by is {here} the "
            "tolerance.",
            reasons,
        )
    if not (same_output and same_features):
        what = "output" if not same_output else "layer's representation"
        return Verdict(
            "not invariances",
            False,
            f"These samples are not invariances: they change the {what} by more than {by}.",
            reasons,
        )
    if narrow:
        return Verdict(
            "invariances, but too narrow",
            True,
            "These samples keep the output, but they are too much alike: they understate what "
            "could have given it.",
            reasons,
        )
    if evidence is not None and (evidence.sd_ratio or 0.0) > _TOO_WIDE:
        return Verdict(
            "invariances, but too wide",
            True,
            "These samples keep the output, but they differ more than scans of the true anatomy "
            "do: they overstate what could have given it.",
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
    ]
    if n > 1:
        reasons.append(
            f"they differ among themselves by {sd_hu:.1f} HU, and their 5–95 % band covers "
            f"{covered:.0%} of the true anatomy's pixels; exact samples would cover "
            f"{ideal_coverage(n):.0%}"
        )
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
