"""What stands at the top of a report: what was asked and done, the answer, how sure, how again."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from ..runs.store import Run, Study
from .wording import INJECTIVE, capital, place

__all__ = ["summary", "text", "verdict_lines", "verdicts", "who"]

_QUESTION = {
    "invariances": "Which other low-dose images would have given the same output?",
    "target-domain": "Which other anatomies, scanned at this dose, would have given the same "
    "output?",
}

_INJECTIVE_LAYER = f"the layer is {INJECTIVE}"
_FLAWS = {"too_narrow": "too much alike", "too_wide": "too different from each other"}
_SAMPLERS = {False: "plain", True: "projected"}


def text(value: Any) -> str:
    """Any value as text of a page."""
    return html.escape(str(value))


def who(study: Study) -> str:
    """The denoiser's name, with a capital."""
    return capital(study.denoiser)


def verdicts(study: Study) -> list[dict[str, Any]]:
    """All verdicts of a study, as data and words."""
    single = [study.facts["verdict"]] if "verdict" in study.facts else []
    return single or list(study.facts.get("verdicts", {}).values())


def _where(study: Study, verdict: dict[str, Any]) -> str:
    """What a verdict is on."""
    if "projected" not in verdict:
        return study.kind.replace("-", " ")
    return f"{place(verdict['layer'])}, {_SAMPLERS[verdict['projected']]}"


def verdict_lines(study: Study) -> str:
    """The verdicts of a study as lines of text."""
    return "\n".join(
        f"{study.denoiser}, {_where(study, v)}, {study.mas:g} mAs: {v['sentence']}\n"
        f"  {'; '.join(v['reasons'])}"
        for v in verdicts(study)
    )


def summary(run: Run) -> str:
    """HTML of the top: a few lines and a table of all verdicts."""
    command = run.record.get("command", "")
    lines = {
        "Asked": text(_asked(run.studies)),
        "Done": text(_done(run.studies)),
        "Answer": f"<span class=headline>{text(_headline(run.studies))}</span>",
        "Compatible": _compatible(run.studies),
        "How sure": text(_sure(run.studies)),
        "To repeat": f"<code>{text(command)}</code>" if command else "",
    }
    items = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in lines.items() if value)
    rows = "".join(_row(study, verdict) for study in run.studies for verdict in verdicts(study))
    heads = "".join(f"<th scope=col>{h}</th>" for h in ("of", "verdict", "because"))
    table = (
        f"<div class=wide><table class=answers><caption>{_caption(run.studies)} ‖·‖ "
        f"and HU rms are over the patch's pixels.</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
    return f"<dl class=summary>{items}</dl>{table if rows else ''}"


def _caption(studies: Sequence[Study]) -> str:
    pairs = any(study.kind == "projection-domain" for study in studies)
    return "Who lost the difference." if pairs else "The verdict on each set of samples."


def _row(study: Study, verdict: dict[str, Any]) -> str:
    tone = "no" if not verdict["holds"] else "yes" if verdict["spread"] == "right" else "part"
    reasons = "".join(f"<li>{text(reason)}</li>" for reason in verdict["reasons"])
    name = f"{text(who(study))}, {text(_where(study, verdict))}, {study.mas:g} mAs"
    return (
        f"<tr class={tone}><th scope=row><a href='{text(_link(study, verdict))}'>{name}</a></th>"
        f"<td class=verdict>{text(verdict['label'])}</td>"
        f"<td>{text(verdict['sentence'])}<ul>{reasons}</ul></td></tr>"
    )


def _link(study: Study, verdict: dict[str, Any]) -> str:
    """Address of a set of samples in the viewer."""
    words = {"kind": study.kind, "denoiser": study.denoiser, "mas": f"{study.mas:g}"}
    if "projected" in verdict:
        words |= {"layer": verdict["layer"], "sampler": _SAMPLERS[verdict["projected"]]}
    return f"#{urlencode(words)}"


def _each(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _asked(studies: Sequence[Study]) -> str:
    """What the run asked, in a few sentences."""
    asked = _each([s.facts.get("question", _QUESTION.get(s.kind, "")) for s in studies])
    questions = " ".join(filter(None, asked))
    names = _each([who(study) for study in studies])
    doses = _and([f"{mas:g}" for mas in sorted(_each([study.mas for study in studies]))])
    of = f"denoiser{'s' * (len(names) > 1)} {_and(names)}"
    return f"{questions} Asked of the {of} at {doses} mAs.".strip()


def _done(studies: Sequence[Study]) -> str:
    """What was done, in one or two sentences."""
    if not studies:
        return ""
    facts = studies[0].facts
    scan, patch = facts["scan"], facts["patch"]
    side = " × ".join(f"{n * s:g}" for n, s in zip(patch["shape"], patch["spacing_mm"]))
    doses = _and([f"{mas:g}" for mas in sorted(_each([study.mas for study in studies]))])
    counts = [study.facts["n"] for study in studies if "n" in study.facts]
    drawn = f"; {_range(counts)} samples were drawn for each set" if counts else ""
    sent = (
        " Each sampled anatomy was scanned and denoised again."
        if any(study.kind == "target-domain" for study in studies)
        else ""
    )
    scanned = (
        f"A patch of {side} mm of a CT slice was scanned at {doses} mAs and {scan['kvp']:g} kV in "
        "simulation and denoised"
    )
    if told := _each([study.facts["done"] for study in studies if "done" in study.facts]):
        return f"{scanned}. {' '.join(told)}"
    return f"{scanned}{drawn}. What each sample leads to was compared with the output f(x).{sent}"


def _headline(studies: Sequence[Study]) -> str:
    """The answer in one sentence."""
    told = [s.facts["verdict"]["sentence"] for s in studies if s.kind == "projection-domain"]
    if told:
        return " ".join(told)
    everything = [verdict for study in studies for verdict in verdicts(study)]
    found = [verdict for verdict in everything if verdict["kind"] != "injective"]
    good = [verdict for verdict in found if verdict["holds"]]
    flaws = {
        words: number
        for spread, words in _FLAWS.items()
        if (number := sum(verdict["spread"] == spread for verdict in good))
    }
    if not everything:
        return "The run holds numbers and no verdict."
    if not found:
        return f"Nothing to be found: {_INJECTIVE_LAYER}."
    if len(everything) == 1:
        said = "The samples are invariances" if good else "The samples are no invariances"
        return f"{said}{', but they are ' if flaws else ''}{_and(list(flaws))}."
    if not good:
        return f"None of the {len(found)} sets of samples are invariances.{_nothing(everything)}"
    parts = [
        f"in {'each' if number == len(good) else number} of them they are {words}"
        for words, number in flaws.items()
    ]
    if len(good) == len(everything):
        every = "Both" if len(found) == 2 else f"All {len(found)}"
        said, rest = f"{every} sets of samples are invariances", ""
    else:
        said = f"{len(good)} of the {len(everything)} sets of samples are invariances"
        others = len(found) - len(good)
        rest = (f" The other {others} are not." if others else "") + _nothing(everything)
    return f"{said}{'; ' if parts else ''}{_and(parts)}.{rest}"


def _nothing(verdicts: Sequence[dict[str, Any]]) -> str:
    """What is said of the sets after layers that hide nothing."""
    count = sum(verdict["kind"] == "injective" for verdict in verdicts)
    return f" For {count} there is nothing to be found: {_INJECTIVE_LAYER}." if count else ""


def _compatible(studies: Sequence[Study]) -> str:
    """What the test of compatibility leaves of the ȳ, one line a study (HTML)."""
    tested = [study for study in studies if "compatibility" in study.facts]
    lines = [
        "Compatible means only that this test does not rule an anatomy out. Its power is the share "
        "of scans of y with a lesion of 20 HU and 3 pixels radius that it notices.",
        *(f"{_share_and_power(study)}{_rays(study)}" for study in tested),
    ]
    return "<br>".join(map(text, lines)) if tested else ""


def _share_and_power(study: Study) -> str:
    """How many ȳ are compatible, and the test's power with its interval."""
    found, n = study.facts["compatibility"], study.facts["n"]
    share, power, scans = found["compatible_share"], found["power"], found["power_scans"]
    interval = ""
    if "power_low" in found and "power_high" in found:
        low, high = 100 * found["power_low"], 100 * found["power_high"]
        interval = f"; 95 % interval {low:.0f} to {high:.0f} %"
    return (
        f"{who(study)} at {study.mas:g} mAs: {round(share * n)} of {n} ȳ are compatible "
        f"({100 * share:.0f} %); the test's power is {round(power * scans)} of {scans} scans "
        f"({100 * power:.0f} %{interval})."
    )


def _rays(study: Study) -> str:
    """What the rays would tell of the compatible ȳ, if there are any."""
    rays = study.facts["compatibility"].get("rays")
    if not rays:
        return ""
    least, median, largest = (f"{rays[name]:.3g}" for name in ("least", "median", "largest"))
    return (
        " An ideal observer who knows both anatomies would tell the compatible ȳ from y in the "
        f"rays with d' {least} to {largest} (median {median})."
    )


def _sure(studies: Sequence[Study]) -> str:
    """How far the answer goes, in one or two sentences."""
    if any(study.kind == "projection-domain" for study in studies):
        return (
            "One patch of one slice; the noise is taken as Gaussian and f as linear around one "
            "draw of x. The ideal observer's d' is solved for to a relative residual of 1e-4 and "
            "holds for the tolerance τ that is stated; the picture shows others. Human-like "
            "observers stand with 95 % bootstrap intervals."
        )
    redraws = [s.facts["redraws"] for s in studies if "redraws" in s.facts]
    groups = [s.facts["null_groups"] for s in studies if "null_groups" in s.facts]
    beside = [
        f"{_range(redraws)} fresh draws of the noise" if redraws else "",
        f"{_range(groups)} scans of the true anatomy" if groups else "",
    ]
    judged = _and([words for words in beside if words])
    return (
        "One patch of one slice and one draw of its noise: the answer is about this image. "
        + (f"Samples are judged beside {judged}. " if judged else "")
        + "A range in brackets runs from the smallest to the largest sample."
    )
