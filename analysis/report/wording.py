"""Verdicts on samples in words: a label, one sentence, and the reasons with their numbers.

All sentences of a report stand in words.csv beside this file, by an identifier; {fields} in them
are filled with numbers. Only their order, and when each is said, is decided in Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..fidelity.verdict import Evidence, SampleNumbers, TargetNumbers, Verdict
from ..numbers import collapse_alarm, ideal_coverage
from ..runs.quantities import BY_ID, read_table
from ..target_domain.compatibility import ALPHA
from ..target_domain.study import TargetResult

__all__ = [
    "TEXTS",
    "Words",
    "check_words",
    "label",
    "place",
    "sample_words",
    "say",
    "target_result_words",
    "target_words",
]

TEXTS = {line["id"]: line["text"] for line in read_table("words.csv", __package__)}
"""All sentences, by identifier."""


@dataclass(frozen=True)
class Words:
    """A verdict in words."""

    label: str
    sentence: str
    reasons: list[str] = field(default_factory=list)


def say(id: str, /, **fields: Any) -> str:
    """A sentence of words.csv with its fields filled in.

    Examples
    --------
    >>> from analysis.report.wording import say
    >>> say("redrawn", redrawn=3.14)
    'redrawing the noise alone does so by 3.1 HU'
    """
    return TEXTS[id].format(**fields)


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
    return say(f"label_{verdict.kind}") + say(f"label_{verdict.spread}")


def sample_words(numbers: SampleNumbers, verdict: Verdict) -> Words:
    """The verdict on the samples of a layer."""
    return Words(label(verdict), _sentence(numbers, verdict), _reasons(numbers))


def _sentence(numbers: SampleNumbers, verdict: Verdict) -> str:
    if verdict.kind == "injective":
        return say("injective", where="within" if verdict.holds else "beyond")
    if verdict.kind == "not_invariances":
        what = "layer's representation" if numbers.same_output else "output"
        by = "redrawing the noise alone" if numbers.tolerance_hu is None else "the tolerance"
        return say("not_invariances", what=what, by=by)
    return say(f"keep_{verdict.spread}")


def _reasons(numbers: SampleNumbers) -> list[str]:
    change, redrawn, tolerance = numbers.consistency, numbers.redrawn.median, numbers.tolerance_hu
    against = say("redrawn", redrawn=redrawn)
    if tolerance is not None:
        against = say("allowed", tolerance=tolerance, against=against)
        if tolerance >= redrawn:
            against += say("any_scan")
    said = [say("output_change", change=change, against=against)]
    if numbers.feature_ratio is not None:
        said.append(say("layer_change", numbers=numbers))
    if change.count > 1:
        said.append(say("coverage_of_x", numbers=numbers, ideal=ideal_coverage(change.count)))
    if numbers.incomplete:
        said.append(say("incomplete", found=numbers.evidence))
    return said if numbers.evidence is None else said + _evidence(numbers.evidence)


def _evidence(found: Evidence) -> list[str]:
    said = [say("near_null", found=found)]
    if found.sd_ratio is not None:
        said.append(say("relative_sd", found=found))
    elif found.reference_pulled:
        said.append(say("reference_pulled", found=found))
    if sd := found.scales:
        whole = sum(part**2 for part in sd.values()) or 1.0
        coarse = (sd["tissue"] ** 2 + sd["organ"] ** 2) ** 0.5
        said.append(say("scales", share=sd["noise"] ** 2 / whole, coarse=coarse))
    if found.active is not None and (alarm := collapse_alarm(found.active, found.latent)):
        said.append(alarm)
    return said


def target_words(numbers: TargetNumbers, verdict: Verdict) -> Words:
    """The verdict on sampled anatomies by the outputs that they give."""
    reasons = [
        say("share_inside", numbers=numbers),
        say("target_distance", distance=numbers.distance),
    ]
    if numbers.n > 1:
        reasons.append(say("coverage_of_y", numbers=numbers, ideal=ideal_coverage(numbers.n)))
    if verdict.kind in ("targets", "undecided", "off"):
        why = check_words(verdict)
        said = say("targets") if verdict.kind == "targets" else say(verdict.kind, why=why[0])
        return Words(label(verdict), said, [*why, *reasons])
    if verdict.holds and numbers.compatible is not None:  # no farther away, and yet told apart
        out = 1.0 - numbers.compatible.value
        return Words(label(verdict), say("no_compatible", out=out), reasons)
    few = "few" if numbers.inside > 0 else "none"
    return Words(label(verdict), say("no_targets", few=few), reasons)


def target_result_words(result: TargetResult) -> Words:
    """The same with the worth of the test of compatibility, and the scan the ȳ were drawn for."""
    said = target_words(result.numbers, result.verdict)
    if result.facts["weights"].get("noise_free"):
        said.reasons.append(say("noise_free"))
    said.reasons.extend(_tests(result))
    if result.sampled_at_mas != result.scanned.mas:
        said.reasons.append(say("drawn_elsewhere", result=result))
    return said


def check_words(verdict: Verdict) -> list[str]:
    """What keeps a verdict from being green, a clause for each check, the gravest first."""
    return [
        say(
            f"check_{check.id}" if f"check_{check.id}" in TEXTS else "check", check=check,
            name=BY_ID[check.id].name, low=check.low, high=check.high,
        )
        for check in verdict.reasons
    ]  # fmt: skip


def _tests(result: TargetResult) -> list[str]:
    """What both tests say, the lesion that they are judged by, and d' in the rays."""
    found, lesion, stick = result.compatibility, result.lesion, result.yardstick
    said = [
        say("compatible_of", found=found),
        say("lesion_power", lesion=lesion),
        say("telling", told=result.telling, median=float(np.median(result.telling.d))),
    ]
    if rays := stick.summary(found.p > ALPHA):
        said.append(say("rays_of_compatible", rays=rays, stick=stick))
    return [*said, say("rays_by_scale", d=stick.median_by_scale)]
