"""Who lost a lesion, by a reader, and what could hide: as rows, as data, and as tables of a report.

Two observers read the lesion of the study, stage by stage, and each loss stands with its interval.
Which of reconstruction and network lost more is said where the intervals allow it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..projection_domain.chain import Chain
from ..projection_domain.could_hide import CouldHide
from ..projection_domain.losses import Losses
from ..projection_domain.result import PairResult
from ..runs.quantities import STAGES
from ..runs.store import Study
from .wording import say

__all__ = [
    "add_chains",
    "add_could_hide",
    "hide_table",
    "lost_facts",
    "reader_rows",
    "reader_words",
]

_STEPS = ("dose", "reconstruction", "network")
_LAYERS = dict(zip(STAGES, ("projections", "projections", "input", "output"), strict=True))


def lost_facts(result: PairResult) -> dict[str, Any]:
    """Both observers' chains, with τ swept, and what could hide, as plain values."""
    facts: dict[str, Any] = {}
    if result.chains:
        facts["readers"] = [_chain_facts(chain) for chain in result.chains]
    if (hide := result.could_hide) is not None:
        facts["could_hide"] = {
            "window": list(hide.side),
            "change": {name: getattr(hide.change, name) for name in _WORST},
        }
        if hide.lesion is not None and result.lesion is not None:
            found = {name: getattr(hide.lesion, name) for name in _HIDDEN}
            facts["could_hide"]["lesion"] = found | {"radius": result.lesion.radius}
    return facts


_WORST = ("change", "peak", "linear", "rays", "rounds")
_HIDDEN = ("contrast", "from_rays", "alone", "change", "tolerance_hu", "rays")


def _chain_facts(chain: Chain) -> dict[str, Any]:
    return {
        "observer": chain.observer,
        "tolerances": list(chain.tolerances),
        "full": chain.full,
        "rays": chain.rays,
        "image": list(chain.image),
        "output": [asdict(found) for found in chain.output],
        "losses": [
            asdict(loss)
            | {"loser": loss.loser or "undecided", "dose_is_arithmetic": loss.dose_is_arithmetic}
            for loss in chain.losses
        ],
    }


def add_chains(study: Study, result: PairResult) -> None:
    """Rows of both observers: d' at each stage, and what each step took, at the study's τ."""
    of: dict[str, Any] = {"sampler": study.facts["other"], "tau": result.tolerance_hu}
    for chain in result.chains:
        k = chain.tolerances.index(result.tolerance_hu)
        behind, loss = chain.output[k], chain.losses[k]
        seen = (chain.full, chain.rays, chain.image[k], behind.value)
        low, high = (_root(end) for end in (behind.low, behind.high))
        for stage, squared in zip(STAGES, seen, strict=True):
            last = stage == "output"
            study.add(
                f"chain_{chain.observer}_d_{stage}", _root(squared), layer=_LAYERS[stage],
                limit=_root(chain.rays), low=low, high=high, error=(high - low) / 3.92 * last, **of,
            )  # fmt: skip
        for step in _STEPS:
            _add_share(study, f"chain_{chain.observer}_lost_{step}", loss, step, of)
        for step in _STEPS[1:]:
            _add_share(study, f"chain_{chain.observer}_of_{step}", loss, f"of_{step}", of)


def _add_share(study: Study, id: str, loss: Losses, step: str, of: dict[str, Any]) -> None:
    share = getattr(loss, step)
    how = {"low": share.low, "high": share.high, "arithmetic": loss.arithmetic_dose}
    study.add(id, share.value, layer="input" if "reconstruction" in step else "output", **how, **of)


def _root(squared: float) -> float:
    """d' of d'², which an estimate freed of its bias may put below 0."""
    return float(max(0.0, squared)) ** 0.5


def add_could_hide(study: Study, hide: CouldHide) -> None:
    """Rows on the largest change of the output, and on the largest hidden lesion."""
    rows, cols = hide.side
    how: dict[str, Any] = {"sampler": study.facts["other"], "rows": rows, "cols": cols}
    study.add("worst_change", hide.change.change, **how)
    study.add("worst_peak", hide.change.peak, **how)
    study.add("worst_linear", hide.change.linear, **how)
    study.add("worst_rays_d", hide.change.rays, layer="projections", **how)
    if (lesion := hide.lesion) is not None:
        study.add("could_hide_contrast", lesion.contrast, **how)
        study.add("could_hide_contrast_rays", lesion.from_rays, layer="projections", **how)
        study.add("could_hide_contrast_alone", lesion.alone, layer="projections", **how)
        study.add("could_hide_output", lesion.change, limit=lesion.tolerance_hu, **how)
        study.add("could_hide_rays_d", lesion.rays, layer="projections", **how)


def reader_words(result: PairResult) -> list[str]:
    """For each observer a sentence on who lost more at the study's τ, or that it is undecided."""
    return [
        _sentence(facts, facts["losses"][facts["tolerances"].index(result.tolerance_hu)])
        for facts in lost_facts(result).get("readers", [])
    ]


def _sentence(chain: dict[str, Any], loss: dict[str, Any]) -> str:
    return say(
        f"reader_{loss['loser']}", who=say(f"observer_{chain['observer']}"),
        network=_interval(loss["of_network"]), reconstruction=_interval(loss["of_reconstruction"]),
    )  # fmt: skip


def _interval(found: dict[str, float]) -> str:
    """A number with its interval, if it has one."""
    exact = found["low"] == found["high"]
    return f"{found['value']:.3g}" if exact else say("interval", **found)


def reader_rows(study: Study) -> list[tuple[str, list[str], str]]:
    """Rows of the table of readers: the observer with τ, cells, and what may be said."""
    rows = []
    for chain in study.facts.get("readers", []):
        for k, tau in enumerate(chain["tolerances"]):
            loss, behind = chain["losses"][k], chain["output"][k]
            known = "arithmetic" if loss["dose_is_arithmetic"] else "electronics"
            cells = [
                *(f"{_root(d):.3g}" for d in (chain["full"], chain["rays"], chain["image"][k])),
                _interval({name: _root(d) for name, d in behind.items()}),
                f"{_interval(loss['dose'])}, "
                + say(f"dose_{known}", arithmetic=loss["arithmetic_dose"]),
                _interval(loss["of_reconstruction"]),
                _interval(loss["of_network"]),
            ]
            head = f"{say('observer_' + chain['observer'])}, τ = {tau:g} HU"
            rows.append((head, cells, "" if loss["loser"] == "undecided" else loss["loser"]))
    return rows


def hide_table(study: Study) -> tuple[str, list[tuple[str, str]]] | None:
    """The table of what could hide: its caption, and rows of what, and its size in HU."""
    if not (found := study.facts.get("could_hide")):
        return None
    worst = found["change"]
    rows = [(say("hide_change"), worst["change"]), (say("hide_peak"), worst["peak"])]
    if lesion := found.get("lesion"):
        rows += [
            (say("hide_alone", radius=lesion["radius"]), lesion["alone"]),
            (say("hide_rays"), lesion["from_rays"]),
            (say("hide_both", tau=lesion["tolerance_hu"]), abs(lesion["contrast"])),
        ]
    caption = say("hide_window", side=" × ".join(map(str, found["window"])))
    return caption, [(what, f"{value:.3g}") for what, value in rows]
