"""Two anatomies in words: what was asked and done, who lost the difference, and the table of d'."""

from __future__ import annotations

import itertools
import math
from typing import Any

from ..observers.human import Observed
from ..projection_domain.pair import DETECTED, band_edges
from ..projection_domain.result import PairResult
from ..runs.order import capital
from ..runs.store import Study
from .lost import reader_words
from .wording import Words, label, say

__all__ = [
    "other_words",
    "pair_words",
    "part_names",
    "question_and_done",
    "shares",
    "stage_table",
    "table",
]


def other_words(result: PairResult) -> str:
    """What y is compared with."""
    if result.lesion is not None:
        return f"lesion of {result.lesion.contrast:g} HU, radius {result.lesion.radius:g} mm"
    return "another anatomy" if result.sample is None else f"sampled ȳ {result.sample}"


def question_and_done(result: PairResult) -> dict[str, str]:
    """What was asked, and what was done."""
    other = other_words(result)
    which = "another anatomy ȳ" if result.lesion is None else f"ȳ = y with a {other}"
    return {
        "question": say("pair_question", which=which),
        "done": say("pair_done", other=other, result=result),
    }


def pair_words(result: PairResult) -> Words:
    """Who lost the difference, and the numbers that say so."""
    told = {who: _percent(share) for who, share in result.shares.items()}
    took = {who: f"{say(f'took_{who}')} {share}" for who, share in told.items() if who != "left"}
    if result.dose_is_arithmetic:
        took["dose"] = say("took_dose_arithmetic", share=told["dose"])
    sentence = say(
        "pair_sentence", result=result, other=other_words(result), left=told["left"],
        lost=_percent(result.lost["network"]), **took,
    )  # fmt: skip
    sentence = " ".join([sentence, *reader_words(result)])
    return Words(label(result.verdict), sentence, _reasons(result))


def _percent(share: float) -> str:
    return "less than 0.05 %" if abs(share) < 5e-4 else f"{100 * share:.2g} %"


def _reasons(result: PairResult) -> list[str]:
    name, curve = capital(result.scanned.denoiser), result.tolerance_curve
    return [
        say("pair_stages", result=result, stages=result.stages[:, 0], name=name),
        say("pair_detected", detected=DETECTED, limits=result.detected_at_mas),
        say("pair_tolerances", fine=curve[:, 0], coarse=curve[:, -1], name=name),
        say("rays_by_scale", d=result.yardstick.median_by_scale),
        say("yardstick", stick=result.yardstick),
        say("pair_inequality_holds" if result.inequality_holds else "pair_inequality_fails"),
        *_human(result),
        say("pair_nonlinearity", percent=100 * result.nonlinearity),
    ]


def _human(result: PairResult) -> list[str]:
    """What the human-like observers see, as far as they were asked, and whether that can be."""
    if not result.readings:
        return []
    seen: dict[str, dict[str, Observed]] = {}
    for reading in result.readings:
        seen.setdefault(reading.reader.upper(), {})[reading.stage] = reading.seen
    told = "; ".join(say("pair_reader", reader=reader, **by) for reader, by in seen.items())
    below = "pair_below_ideal" if result.human_below_ideal else "pair_above_ideal"
    return [say("pair_readers", told=told), say(below)]


def part_names(spacing: tuple[float, float], *, short: bool = False) -> list[str]:
    """What the parts of a difference are called, for pixels of a spacing [mm].

    Examples
    --------
    >>> from analysis.report.pair_words import part_names
    >>> part_names((1.0, 1.0))[:4]
    ['whole', 'below 2 mm removed', '0–0.31 lp/cm', '0.31–0.62 lp/cm']
    """
    coarse, unit = ("≥ 2 mm", "") if short else ("below 2 mm removed", " lp/cm")
    bands = [
        f"above {10 * low:.2g}{unit}"
        if high == math.inf
        else f"{10 * low:.2g}–{10 * high:.2g}{unit}"
        for low, high in itertools.pairwise(band_edges(spacing))
    ]
    return ["whole", coarse, *bands]


def stage_table(study: Study) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """d' by stage and part of the difference: names of the parts, and head and cells of rows."""
    full, tau = study.facts["full_mas"], study.facts["tolerance_hu"]
    heads = (
        f"there: rays at {full:g} mAs",
        f"left by the dose: rays at {study.mas:g} mAs",
        f"left by the reconstruction, τ = {tau:g} HU",
        f"left by {study.denoiser}, τ = {tau:g} HU",
    )
    rows = [
        (head, [f"{value:.3g}" for value in row])
        for head, row in zip(heads, study.arrays["stages"], strict=True)
    ]
    return part_names(study.facts["patch"]["spacing_mm"]), rows


def shares(study: Study) -> str:
    """Who took which share of d'² at full dose."""
    found = study.facts["shares_of_full_dose"].items()
    return ", ".join(f"{share:.1%} {say(f'took_{who}')}" for who, share in found)


def table(study: Study) -> str:
    """The stages of one study as lines of text."""
    facts: dict[str, Any] = study.facts
    parts, rows = stage_table(study)
    wide = max(len(head) for head, _ in rows)
    line = f"{{:{wide}}}" + "".join(f"  {{:>{max(8, len(name))}}}" for name in parts)
    lost = facts["shares_of_reached"]["network"]
    return "\n".join(
        [
            f"d' of {facts['other']} at {study.mas:g} mAs",
            line.format("", *parts),
            *(line.format(head, *cells) for head, cells in rows),
            f"of the whole d'²: {shares(study)}; the network lost {lost:.1%} of what reached it",
            say("table_detected", detected=DETECTED, limits=facts["detected_at_mas"]),
        ]
    )
