"""Verdicts on samples in words: a label, one sentence, and the reasons with their numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..fidelity.verdict import Evidence, SampleNumbers, TargetNumbers, Verdict
from ..numbers import collapse_alarm, ideal_coverage
from ..target_domain.compatibility import Compatibility
from ..target_domain.study import TargetResult

__all__ = [
    "INJECTIVE",
    "TOOK",
    "Words",
    "capital",
    "label",
    "place",
    "sample_words",
    "target_result_words",
    "target_words",
]  # fmt: skip

INJECTIVE = "as good as injective"
TOOK = {
    "dose": "the dose took",
    "reconstruction": "the reconstruction took",
    "network": "the network took",
    "left": "is left",
}
"""Who took a share of d'², by the identifiers of the shares."""

_LABELS = {
    "invariances": "invariances",
    "not_invariances": "not invariances",
    "injective": INJECTIVE,
    "targets": "targets that the output allows",
    "lost_by_dose": "lost by the dose",
    "lost_by_reconstruction": "lost by the reconstruction",
    "lost_by_network": "lost by the network",
    "not_lost": "not lost",
}
_WIDTHS = {"right": "", "too_narrow": ", but too narrow", "too_wide": ", but too wide"}
_SENTENCES = {
    "right": "These samples are invariances: they keep the output.",
    "too_narrow": "These samples keep the output, but they are too much alike: they understate "
    "what could have given it.",
    "too_wide": "These samples keep the output, but they differ more than scans of the true "
    "anatomy do: they overstate what could have given it.",
}


@dataclass(frozen=True)
class Words:
    """A verdict in words."""

    label: str
    sentence: str
    reasons: list[str] = field(default_factory=list)


def capital(name: str) -> str:
    """A name with a capital."""
    return f"{name[:1].upper()}{name[1:]}"


def place(layer: str) -> str:
    """How a layer is called in a sentence.

    Examples
    --------
    >>> from analysis.report.wording import place
    >>> place("4"), place("output")
    ('layer 4', 'output')
    """
    return layer if layer in ("output", "input") else f"layer {layer}"


def label(verdict: Verdict) -> str:
    """A verdict in a few words."""
    return _LABELS[verdict.kind] + _WIDTHS[verdict.spread]


def sample_words(numbers: SampleNumbers, verdict: Verdict) -> Words:
    """The verdict on the samples of a layer."""
    return Words(label(verdict), _sentence(numbers, verdict), _reasons(numbers))


def _sentence(numbers: SampleNumbers, verdict: Verdict) -> str:
    if verdict.kind == "injective":
        here = "within" if verdict.holds else "beyond"
        return (
            f"This layer is {INJECTIVE} here: it represents next to everything, so there are "
            f"hardly other images to be found. What the samples differ by is {here} the tolerance."
        )
    if verdict.kind == "not_invariances":
        what = "layer's representation" if numbers.same_output else "output"
        by = "redrawing the noise alone" if numbers.tolerance_hu is None else "the tolerance"
        return f"These samples are not invariances: they change the {what} by more than {by}."
    return _SENTENCES[verdict.spread]


def _reasons(numbers: SampleNumbers) -> list[str]:
    change, redrawn, tolerance = numbers.consistency, numbers.redrawn.median, numbers.tolerance_hu
    against = f"redrawing the noise alone does so by {redrawn:.1f} HU"
    if tolerance is not None:
        against = f"{tolerance:.1f} HU are allowed, and {against}"
        if tolerance >= redrawn:
            against += ", so that any scan of this anatomy is an invariance at that tolerance"
    said = [
        f"the median sample changes the output by {change.median:.1f} HU rms "
        f"({change.low:.1f} to {change.high:.1f}); {against}"
    ]
    if numbers.feature_ratio is not None:
        said.append(
            f"it changes what the layer represents by {numbers.feature_ratio:.2f} of what redrawn "
            f"noise does; at most {numbers.feature_limit:g} is allowed"
        )
    if change.count > 1:
        said.append(
            f"the 5–95 % band of the samples covers {numbers.covered:.0%} of x's pixels; exact "
            f"samples would cover {ideal_coverage(change.count):.0%}"
        )
    return said if numbers.evidence is None else said + _evidence(numbers.evidence)


def _evidence(found: Evidence) -> list[str]:
    said = [
        f"{found.energy:.0%} of the samples' deviation from x lies where the layer hardly sees "
        f"anything, against {found.white_energy:.0%} of white noise; its near-null space has "
        f"{found.dimension:.0f} of {found.entries} dimensions"
    ]
    if found.sd_ratio is not None:
        said.append(
            f"the samples differ among themselves {found.sd_ratio:.2f} times as much as scans "
            "of the true anatomy that were brought to the same tolerance"
        )
    if found.active is not None and (alarm := collapse_alarm(found.active, found.latent)):
        said.append(alarm)
    return said


def target_words(numbers: TargetNumbers, verdict: Verdict) -> Words:
    """The verdict on sampled anatomies by the outputs that they give."""
    distance, null, n = numbers.distance, numbers.null, numbers.n
    reasons = [
        f"{numbers.inside:.0%} of the {n} sampled anatomies give, scanned again, an output no "
        f"farther from f(x) than scans of the true anatomy do ({null.low:.1f} to {null.high:.1f} "
        "HU rms)",
        f"the median sampled anatomy gives {distance.median:.1f} HU "
        f"({distance.low:.1f} to {distance.high:.1f})",
    ]
    if n > 1:
        reasons.append(
            f"they differ among themselves by {numbers.sd_hu:.1f} HU, and their 5–95 % band covers "
            f"{numbers.covered:.0%} of the true anatomy's pixels; exact samples would cover "
            f"{ideal_coverage(n):.0%}"
        )
    few = "few" if numbers.inside > 0 else "none"
    sentence = (
        "Most sampled anatomies could have given this output: scanned again, they lead as close to "
        "f(x) as the true anatomy does."
        if verdict.kind == "targets"
        else f"These samples are not invariances: {few} of the sampled anatomies, scanned again, "
        "lead as close to f(x) as the true anatomy does."
    )
    return Words(label(verdict), sentence, reasons)


def target_result_words(result: TargetResult) -> Words:
    """The same with the worth of the test of compatibility, and the scan the ȳ were drawn for."""
    said = target_words(result.numbers, result.verdict)
    said.reasons.extend(_compatibility(result.compatibility))
    if result.sampled_at_mas != result.scanned.mas:
        said.reasons.append(
            f"the anatomies were drawn for the scan at {result.sampled_at_mas:g} mAs and scanned "
            f"at {result.scanned.mas:g}"
        )
    return said


def _compatibility(found: Compatibility) -> list[str]:
    little = "" if found.telling else ", so that to be compatible says little at this dose"
    said = [
        "a lesion of 20 HU and 3 pixels radius in the true anatomy is noticed in "
        f"{found.power:.0%} of its scans ({found.power_low:.0%} to "
        f"{found.power_high:.0%} by {found.power_scans} of them){little}"
    ]
    if rays := found.rays:
        said.append(
            "an ideal observer of the rays, who knows both anatomies, tells compatible ones from "
            f"the true one with d' {rays['least']:.3g} to {rays['largest']:.3g} (2.77 is detection)"
        )
    return said
