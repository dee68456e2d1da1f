"""A projection-domain study in words: what was asked and done, who lost it, and the table of d'."""

from __future__ import annotations

from ..runs.store import Study
from .pair import DETECTED

__all__ = ["explain", "stage_table", "table"]

_TAKEN = {
    "the dose took": "the dose",
    "the reconstruction took": "the reconstruction",
    "the network took": "the network",
}
_LITTLE = 0.005  # of d'² at full dose: below it nobody has lost anything worth the name


def explain(study: Study) -> None:
    """Add question, what was done, and verdict to a study whose numbers are complete."""
    facts = study.facts
    full, tau, name = facts["full_mas"], facts["tolerance_hu"], _capital(study.denoiser)
    facts["question"] = (
        f"Could the scanner have told y from ȳ = y with a {facts['other']}, and who lost the "
        "difference: the dose, the reconstruction or the network?"
        if facts["other"].startswith("lesion")
        else "Could the scanner have told y from another anatomy ȳ, and who lost the difference: "
        "the dose, the reconstruction or the network?"
    )
    facts["done"] = (
        f"The difference of the two anatomies, {facts['other']}, was followed from the rays "
        f"through R⁻¹ and f, linearised at x, and held against the noise at each stage: d' of "
        f"the ideal observer, behind R⁻¹ and f with a tolerance of τ = {tau:g} HU."
    )
    facts["verdict"] = {
        "holds": facts["inequality_holds"] and facts.get("human_below_ideal", True),
        "label": _label(facts["shares_of_full_dose"]),
        "sentence": _sentence(study),
        "reasons": _reasons(study, full, tau, name),
    }
    study.add_verdict(facts["verdict"])


def _capital(name: str) -> str:
    return f"{name[:1].upper()}{name[1:]}"


def _label(shares: dict[str, float]) -> str:
    who = max(_TAKEN, key=lambda key: shares[key])
    return f"lost by {_TAKEN[who]}" if shares[who] > _LITTLE else "not lost"


def _percent(share: float) -> str:
    return "less than 0.05 %" if abs(share) < 5e-4 else f"{100 * share:.2g} %"


def _sentence(study: Study) -> str:
    facts = study.facts
    shares, full, other = facts["shares_of_full_dose"], facts["full_mas"], facts["other"]
    lost = _percent(facts["shares_of_reached"]["network"])
    parts = [f"{who} took {_percent(shares[key])}" for key, who in _TAKEN.items()]
    return (
        f"At {study.mas:g} mAs, of what the rays of the full dose ({full:g} mAs) tell of the "
        f"{other} (d'²), {parts[0]}, {parts[1]} and {parts[2]}; {_percent(shares['is left'])} is "
        f"left. The network lost {lost} of what reached it."
    )


def _reasons(study: Study, full: float, tau: float, name: str) -> list[str]:
    facts, stages = study.facts, study.arrays["stages"][:, 0]
    limits = facts["detected_at_mas"]
    curve = study.arrays["tolerance_curve"]
    fine, coarse = curve[:, 0], curve[:, -1]
    found = [
        f"d' is {stages[0]:.3g} in the rays at {full:g} mAs, {stages[1]:.3g} in those at "
        f"{study.mas:g} mAs, {stages[2]:.3g} after the reconstruction and {stages[3]:.3g} after "
        f"{name}, for a reader who cannot tell {tau:g} HU apart",
        f"d' reaches {DETECTED:g} (AUC .975) at {limits['rays']} mAs in the rays, "
        f"{limits['image']} in the image and {limits['output']} in the output",
        "without a tolerance an invertible network loses nothing to an ideal observer, whatever it "
        f"does to the image: with τ = {fine[0]:g} HU d' is {fine[1]:.3g} before {name} and "
        f"{fine[2]:.3g} behind it, with τ = {coarse[0]:g} HU {coarse[1]:.3g} and {coarse[2]:.3g}",
    ]
    found.append(
        "no stage holds more than the rays do, as it must be"
        if facts["inequality_holds"]
        else "a stage holds more than the rays do, which cannot be: these numbers are wrong"
    )
    found += _human(study)
    found.append(
        f"f is linearised at x: for this difference {100 * facts['nonlinearity']:.2g} % of what f "
        "does is left out by that"
    )
    return found


def _human(study: Study) -> list[str]:
    """What the human-like observers see, as far as they were asked, and whether that can be."""
    if "human_below_ideal" not in study.facts:
        return []
    rows = {row["quantity"]: float(row["value"]) for row in study.metrics}
    seen = []
    for who in ("CHO", "NPW"):
        image, output = (rows[f"d' of {who}: {stage}"] for stage in ("image", "output"))
        seen.append(f"{who} {image:.3g} in the image and {output:.3g} in the output")
    return [
        f"d' of human-like observers, which may rise: {'; '.join(seen)}",
        "none of them is above the ideal observer of the rays by more than its 95 % interval, as "
        "it must be"
        if study.facts["human_below_ideal"]
        else "one of them is above the ideal observer of the rays by more than its 95 % interval, "
        "which cannot be: these numbers are wrong",
    ]


def stage_table(study: Study) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """d' by stage and part of the difference: names of the parts, and head and cells of rows."""
    facts = study.facts
    full, tau = facts["full_mas"], facts["tolerance_hu"]
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
    return list(facts["parts"]), rows


def table(study: Study) -> str:
    """The stages of one study as lines of text."""
    facts = study.facts
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
    shares = facts["shares_of_full_dose"]
    lines.append(
        "of the whole d'²: "
        + ", ".join(f"{share:.1%} {who}" for who, share in shares.items())
        + f"; the network lost {facts['shares_of_reached']['network']:.1%} of what reached it"
    )
    limits = facts["detected_at_mas"]
    lines.append(
        f"d' = {DETECTED:g} (AUC .975) at {limits['rays']} mAs in the rays, {limits['image']} in "
        f"the image, {limits['output']} in the output"
    )
    return "\n".join(lines)
