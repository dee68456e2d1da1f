"""Runs of version 0.1.0, which has words where later ones have identifiers and data."""

from __future__ import annotations

from typing import Any

from .quantities import QUANTITIES

__all__ = ["facts_of_any_version", "row_of_any_version"]

_IDS = {quantity.name: quantity.id for quantity in QUANTITIES}
_KINDS = {
    "invariances": ("invariances", "right"),
    "invariances, but too narrow": ("invariances", "too_narrow"),
    "invariances, but too wide": ("invariances", "too_wide"),
    "as good as injective": ("injective", "right"),
    "not invariances": ("not_invariances", "right"),
    "targets that the output allows": ("targets", "right"),
    "lost by the dose": ("lost_by_dose", "right"),
    "lost by the reconstruction": ("lost_by_reconstruction", "right"),
    "lost by the network": ("lost_by_network", "right"),
    "not lost": ("not_lost", "right"),
}
_SHARES = {
    "the dose took": "dose",
    "the reconstruction took": "reconstruction",
    "the network took": "network",
    "is left": "left",
}


def row_of_any_version(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics.csv with an identifier, empty where its words are not those of today."""
    return row if "id" in row else {**row, "id": _IDS.get(row["quantity"], "")}


def facts_of_any_version(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a study with verdicts as data, and shares by identifier."""
    found = dict(facts)
    if "verdict" in found:
        found["verdict"] = _verdict(found["verdict"])
    if "verdicts" in found:
        found["verdicts"] = {
            key: _verdict(verdict, key) for key, verdict in found["verdicts"].items()
        }
    if "shares_of_full_dose" in found:
        shares = found["shares_of_full_dose"].items()
        found["shares_of_full_dose"] = {_SHARES.get(key, key): share for key, share in shares}
    return found


def _verdict(verdict: dict[str, Any], key: str = "") -> dict[str, Any]:
    if "kind" in verdict:
        return verdict
    unknown = "invariances" if verdict["holds"] else "not_invariances"
    kind, spread = _KINDS.get(verdict["label"], (unknown, "right"))
    found = {**verdict, "kind": kind, "spread": spread}
    if key:
        layer, _, sampler = key.rpartition(", ")
        found |= {"layer": layer, "projected": sampler == "projected"}
    return found
