"""Which networks a run used: the files, their digests, and the recipes they were trained by.

A set of weights holds more networks than a run uses, and may have taken some of them over from an
earlier set, of another recipe. What a network was trained by is what its own file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ctxai import cinn_name, flow_name, vae_name

from ..runs.order import capital
from ..runs.store import Run, Study

__all__ = ["networks_used", "recipes_used"]

_SHOWN = 12  # digits of a digest: all of them are in run.json
_DOMAINS = {"invariances": "x", "target-domain": "y"}


def networks_used(run: Run) -> list[dict[str, str]]:
    """A line for each network: its name, what it does, its recipe, exposure, pixels and digest.

    What a file does not say is "–".
    """
    known = run.record.get("weights", {})
    lines: dict[str, dict[str, str]] = {}
    for study in run.studies:
        denoiser = {"name": study.denoiser, "does": "the denoiser f"}
        lines.setdefault(study.denoiser, _line({}, denoiser, known))
        for layer, sampler, facts in _samplers(study):
            for name, does in _names(study, layer, sampler):
                lines.setdefault(name, _line(facts, {"name": name, "does": does}, known))
    return list(lines.values())


def recipes_used(run: Run) -> list[tuple[str, str]]:
    """Name of each recipe that a network of the run was trained by, and how it differs.

    The set's own recipe is the first; those it took networks over from are looked through.
    """
    found: dict[str, str] = {}
    used = {facts.get("recipe") for s in run.studies for _, _, facts in _samplers(s)}
    recipe: Mapping[str, Any] = run.record.get("weights", {}).get("recipe", {})
    used |= {line["recipe"] for line in networks_used(run)}
    while recipe:
        if recipe.get("name") in used and recipe.get("differs"):
            found.setdefault(recipe["name"], str(recipe["differs"]))
        recipe = recipe.get("taken_over", {}).get("recipe", {})
    return list(found.items())


def _samplers(study: Study) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Layer, sampler, and what its file says, of a study's samplers."""
    known, sampler = study.facts.get("weights"), study.facts.get("sampler", "")
    if not isinstance(known, Mapping):
        return
    for layer in study.facts.get("layers", ()):
        facts = known.get(layer, known)
        of = sampler.get(layer, "") if isinstance(sampler, Mapping) else sampler
        yield layer, str(of), facts if isinstance(facts, Mapping) else {}


def _names(study: Study, layer: str, sampler: str) -> Sequence[tuple[str, str]]:
    """File stems of a sampler's networks, and what each does."""
    domain = _DOMAINS.get(study.kind, "x")
    where = f"{capital(study.denoiser)}, {layer if layer == 'output' else f'layer {layer}'}"
    if "cINN" in sampler:
        return [
            (vae_name(domain), f"autoencoder of {domain}"),
            (cinn_name(study.denoiser, layer, domain), f"cINN after {where}"),
        ]
    return [(flow_name(study.denoiser, layer, domain), f"{sampler or 'sampler'} after {where}")]


def _line(
    facts: Mapping[str, Any], named: dict[str, str], known: Mapping[str, Any]
) -> dict[str, str]:
    told = {
        key: f"{facts[fact]:g}" if fact in facts else "–"
        for key, fact in (("mas", "mas"), ("spacing", "spacing_mm"))
    }
    digest = str(known.get("sha256", {}).get(named["name"], "–"))[:_SHOWN]
    recipe = facts.get("recipe") or (_recipe(named["name"], known) if digest != "–" else "–")
    return {**named, **told, "recipe": str(recipe), "digest": digest}


def _recipe(name: str, known: Mapping[str, Any]) -> str:
    """The recipe of a network of a set: that of the set which has not taken it over."""
    recipe: Mapping[str, Any] = known.get("recipe", {})
    while name in recipe.get("taken_over", {}).get("networks", ()):
        recipe = recipe["taken_over"]["recipe"]
    return str(recipe.get("name", "–"))
