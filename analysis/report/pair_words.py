"""Two anatomies in words: what was asked and done, who lost the difference, and the table of d'."""

from __future__ import annotations

import itertools
import math
from typing import Any

from ..observers.human import Observed
from ..projection_domain.pair import DETECTED, band_edges
from ..projection_domain.result import PairResult
from ..runs.store import Study
from .wording import TOOK, Words, capital, label

__all__ = ["other_words", "pair_words", "part_names", "question_and_done", "stage_table", "table"]

_LOSERS = ("dose", "reconstruction", "network")


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
        "question": f"Could the scanner have told y from {which}, and who lost the difference: the "
        "dose, the reconstruction or the network?",
        "done": f"The difference of the two anatomies, {other}, was followed from the rays through "
        "R⁻¹ and f, linearised at x, and held against the noise at each stage: d' of the ideal "
        f"observer, behind R⁻¹ and f with a tolerance of τ = {result.tolerance_hu:g} HU.",
    }


def pair_words(result: PairResult) -> Words:
    """Who lost the difference, and the numbers that say so."""
    shares, lost = result.shares, _percent(result.lost["network"])
    dose, reconstruction, network = (f"{TOOK[who]} {_percent(shares[who])}" for who in _LOSERS)
    sentence = (
        f"At {result.scanned.mas:g} mAs, of what the rays of the full dose ({result.full_mas:g} "
        f"mAs) tell of the {other_words(result)} (d'²), {dose}, {reconstruction} and {network}; "
        f"{_percent(shares['left'])} is left. The network lost {lost} of what reached it."
    )
    return Words(label(result.verdict), sentence, _reasons(result))


def _percent(share: float) -> str:
    return "less than 0.05 %" if abs(share) < 5e-4 else f"{100 * share:.2g} %"


def _reasons(result: PairResult) -> list[str]:
    stages, limits = result.stages[:, 0], result.detected_at_mas
    fine, coarse = result.tolerance_curve[:, 0], result.tolerance_curve[:, -1]
    name = capital(result.scanned.denoiser)
    return [
        f"d' is {stages[0]:.3g} in the rays at {result.full_mas:g} mAs, {stages[1]:.3g} in those "
        f"at {result.scanned.mas:g} mAs, {stages[2]:.3g} after the reconstruction and "
        f"{stages[3]:.3g} after {name}, for a reader who cannot tell {result.tolerance_hu:g} HU "
        "apart",
        f"d' reaches {DETECTED:g} (AUC .975) at {limits['rays']} mAs in the rays, "
        f"{limits['image']} in the image and {limits['output']} in the output",
        "without a tolerance an invertible network loses nothing to an ideal observer, whatever it "
        f"does to the image: with τ = {fine[0]:g} HU d' is {fine[1]:.3g} before {name} and "
        f"{fine[2]:.3g} behind it, with τ = {coarse[0]:g} HU {coarse[1]:.3g} and {coarse[2]:.3g}",
        "no stage holds more than the rays do, as it must be"
        if result.inequality_holds
        else "a stage holds more than the rays do, which cannot be: these numbers are wrong",
        *_human(result),
        f"f is linearised at x: for this difference {100 * result.nonlinearity:.2g} % of what f "
        "does is left out by that",
    ]


def _human(result: PairResult) -> list[str]:
    """What the human-like observers see, as far as they were asked, and whether that can be."""
    if not result.readings:
        return []
    seen: dict[str, dict[str, Observed]] = {}
    for reading in result.readings:
        seen.setdefault(reading.reader, {})[reading.stage] = reading.seen
    told = "; ".join(
        f"{reader.upper()} {by['image'].d:.3g} in the image and {by['output'].d:.3g} in the output"
        for reader, by in seen.items()
    )
    return [
        f"d' of human-like observers, which may rise: {told}",
        "none of them is above the ideal observer of the rays by more than its 95 % interval, as "
        "it must be"
        if result.human_below_ideal
        else "one of them is above the ideal observer of the rays by more than its 95 % interval, "
        "which cannot be: these numbers are wrong",
    ]


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


def table(study: Study) -> str:
    """The stages of one study as lines of text."""
    facts: dict[str, Any] = study.facts
    parts, rows = stage_table(study)
    wide = max(len(head) for head, _ in rows)
    columns = [max(8, len(name)) for name in parts]
    lines = [
        f"d' of {facts['other']} at {study.mas:g} mAs",
        f"{'':{wide}}  " + "  ".join(f"{n:>{w}}" for n, w in zip(parts, columns, strict=True)),
    ]
    for head, cells in rows:
        numbers = "  ".join(f"{cell:>{w}}" for cell, w in zip(cells, columns, strict=True))
        lines.append(f"{head:{wide}}  {numbers}")
    shares, limits = facts["shares_of_full_dose"], facts["detected_at_mas"]
    lines.append(
        "of the whole d'²: "
        + ", ".join(f"{share:.1%} {TOOK[who]}" for who, share in shares.items())
        + f"; the network lost {facts['shares_of_reached']['network']:.1%} of what reached it"
    )
    lines.append(
        f"d' = {DETECTED:g} (AUC .975) at {limits['rays']} mAs in the rays, {limits['image']} in "
        f"the image, {limits['output']} in the output"
    )
    return "\n".join(lines)
