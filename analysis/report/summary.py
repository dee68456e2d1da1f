"""The verdicts of a run: the answer in a sentence, its colour, what was asked and done, reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from ..runs.order import capital
from ..runs.store import Run, Study
from .html import fill
from .wording import TEXTS, place, say

__all__ = ["headline", "side", "summary", "tone", "verdict_lines", "verdicts"]

_OPEN = ("off", "undecided")  # verdicts that are told first
_SAMPLERS = {False: "plain", True: "projected"}
_TONES = {"green": "good", "amber": "undecided", "red": "bad"}


def verdicts(study: Study) -> list[dict[str, Any]]:
    """All verdicts of a study, as data and words."""
    single = [study.facts["verdict"]] if "verdict" in study.facts else []
    return single or list(study.facts.get("verdicts", {}).values())


def tone(verdict: Mapping[str, Any]) -> str:
    """What the colour of a verdict says: good, bad or undecided.

    A run of an earlier version has no colours: it follows from whether the verdict holds.

    Examples
    --------
    >>> from analysis.report.summary import tone
    >>> tone({"holds": True, "spread": "too_wide"}), tone({"holds": False, "spread": "right"})
    ('undecided', 'bad')
    """
    if "colour" in verdict:
        return _TONES[verdict["colour"]]
    if not verdict["holds"]:
        return "bad"
    return "good" if verdict["spread"] == "right" else "undecided"


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


def side(study: Study) -> str:
    """Height and width of a study's patch [mm]."""
    patch = study.facts["patch"]
    return " × ".join(f"{n * s:.4g}" for n, s in zip(patch["shape"], patch["spacing_mm"]))


def pixels(study: Study) -> str:
    """Pixels of a study's patch, with their size."""
    patch = study.facts["patch"]
    rows, cols = patch["shape"]
    return f"{rows} × {cols} pixels of {patch['spacing_mm'][0]:.4g} mm"


def context(studies: Sequence[Study]) -> str:
    """What of the slice the denoisers saw around the patch, if they saw more than the patch."""
    seen = _each([tuple(study.facts["patch"].get("context_shape", ())) for study in studies])
    seen = [shape for shape in seen if shape and shape != tuple(studies[0].facts["patch"]["shape"])]
    return say("in_context", rows=max(seen)[0], cols=max(seen)[1]) if seen else ""


def summary(run: Run) -> Markup:
    """HTML of the verdicts: a few lines and a table of all of them."""
    studies = run.studies
    return fill(
        "summary.html",
        asked=_asked(studies),
        done=_done(studies),
        compatible=_compatible(studies),
        sure=_sure(studies),
        caption=say("answers_pairs" if _pairs(studies) else "answers_samples"),
        answers=[_answer(study, verdict) for study in studies for verdict in verdicts(study)],
    )


def _pairs(studies: Sequence[Study]) -> bool:
    return any(study.kind == "projection-domain" for study in studies)


def _answer(study: Study, verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict, what it is on, and the address of its samples in the viewer."""
    words = {"kind": study.kind, "denoiser": study.denoiser, "mas": f"{study.mas:g}"}
    if "projected" in verdict:
        words |= {"layer": verdict["layer"], "sampler": _SAMPLERS[verdict["projected"]]}
    of = f"{capital(study.denoiser)}, {_where(study, verdict)}, {study.mas:g} mAs"
    link = f"#{urlencode(words)}"
    return {"verdict": verdict, "tone": tone(verdict), "of": of, "link": link}


def _each(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _doses(studies: Sequence[Study]) -> str:
    return _and([f"{mas:g}" for mas in sorted({study.mas for study in studies})])


def _facts(studies: Sequence[Study], name: str) -> list[Any]:
    """A fact of all studies that have it."""
    return [study.facts[name] for study in studies if name in study.facts]


def _asked(studies: Sequence[Study]) -> str:
    """What the run asked, in a few sentences."""
    asked = _each([s.facts.get("question", TEXTS.get(f"asked_{s.kind}", "")) for s in studies])
    names = _each([capital(study.denoiser) for study in studies])
    of = f"denoiser{'s' * (len(names) > 1)} {_and(names)}"
    return say(
        "asked", questions=" ".join(filter(None, asked)), of=of, doses=_doses(studies)
    ).strip()


def _done(studies: Sequence[Study]) -> str:
    """What was done, in one or two sentences."""
    if not studies:
        return ""
    first = studies[0]
    said = say(
        "scanned", side=side(first), pixels=pixels(first), doses=_doses(studies),
        scan=first.facts["scan"], context=context(studies),
    )  # fmt: skip
    if told := _each(_facts(studies, "done")):
        return f"{said}. {' '.join(told)}"
    if counts := _facts(studies, "n"):
        said += say("drawn", counts=_range(counts))
    again = any(study.kind == "target-domain" for study in studies)
    return said + say("compared") + (say("scanned_again") if again else "")


def headline(studies: Sequence[Study]) -> str:
    """The answer in one sentence."""
    told = [s.facts["verdict"]["sentence"] for s in studies if s.kind == "projection-domain"]
    if told:
        return " ".join(told)
    judged = [verdict for study in studies for verdict in verdicts(study)]
    first = _undecided(judged)
    everything = [verdict for verdict in judged if verdict["kind"] not in _OPEN]
    return " ".join(filter(None, [*first, _invariances(everything) if everything else ""])) or say(
        "no_verdict"
    )


def _undecided(judged: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences on the sets that are off, before anything else, and on those left undecided."""
    said = []
    for kind in _OPEN:
        if found := [verdict for verdict in judged if verdict["kind"] == kind]:
            why = _and(_each([verdict["reasons"][0] for verdict in found]))
            alone = "_alone" if len(judged) == 1 else ""
            said.append(
                say(f"headline_{kind}{alone}", count=len(found), total=len(judged), why=why)
            )
    return said


def _invariances(everything: Sequence[dict[str, Any]]) -> str:
    """How many sets of samples are invariances, of those that something is decided of."""
    found = [verdict for verdict in everything if verdict["kind"] != "injective"]
    # anatomies may be no farther away than the truth, and be ruled out by the test of the output
    good = [v for v in found if v["holds"] and v["kind"] != "not_invariances"]
    flaws = {
        say(f"flaw_{spread}"): number
        for spread in ("too_narrow", "too_wide")
        if (number := sum(verdict["spread"] == spread for verdict in good))
    }
    if not found:
        return say("nothing")
    if len(everything) == 1:
        said = "The samples are invariances" if good else "The samples are no invariances"
        return f"{said}{', but they are ' if flaws else ''}{_and(list(flaws))}."
    nothing = len(everything) - len(found)
    rest = say("nothing_for", count=nothing) if nothing else ""
    if not good:
        return f"None of the {len(found)} sets of samples are invariances.{rest}"
    parts = [
        f"in {'each' if number == len(good) else number} of them they are {words}"
        for words, number in flaws.items()
    ]
    if len(good) == len(everything):
        which = "Both" if len(found) == 2 else f"All {len(found)}"
    else:
        which = f"{len(good)} of the {len(everything)}"
    if others := len(found) - len(good):
        rest = f" The other {others} are not.{rest}"
    return f"{which} sets of samples are invariances{'; ' if parts else ''}{_and(parts)}.{rest}"


def _compatible(studies: Sequence[Study]) -> list[str]:
    """What the test of compatibility leaves of the ȳ: what it means, and a line a study."""
    tested = [study for study in studies if "compatibility" in study.facts]
    return [say("compatible"), *map(_share_and_power, tested)] if tested else []


def _share_and_power(study: Study) -> str:
    """How many ȳ are compatible, the test's power, and what the rays would tell of them."""
    found, n = study.facts["compatibility"], study.facts["n"]
    share, power, scans = found["compatible_share"], found["power"], found["power_scans"]
    interval = ""
    if "power_low" in found and "power_high" in found:
        ends = {"low": 100 * found["power_low"], "high": 100 * found["power_high"]}
        interval = say("power_interval", **ends)
    said = say(
        "compatible_share", who=capital(study.denoiser), study=study, count=round(share * n), n=n,
        percent=100 * share, noticed=round(power * scans), scans=scans, power=100 * power,
        interval=interval,
    )  # fmt: skip
    if lesion := study.facts.get("lesion"):
        said += say("compatible_lesion", lesion=lesion)
    if rays := found.get("rays"):
        said += say("compatible_rays", rays=rays)
    if stick := study.facts.get("yardstick"):
        said += say("compatible_yardstick", stick=stick)
    return said


def _sure(studies: Sequence[Study]) -> str:
    """How far the answer goes, in one or two sentences."""
    if _pairs(studies):
        return say("sure_pairs")
    beside = [
        say(f"sure_{id}", count=_range(found))
        for id, fact in (("redraws", "redraws"), ("groups", "null_groups"))
        if (found := _facts(studies, fact))
    ]
    return say("sure", judged=say("sure_judged", beside=_and(beside)) if beside else "")
