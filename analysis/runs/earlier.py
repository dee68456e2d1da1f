"""Runs of version 0.1.0, which has words where later ones have identifiers and data.

What its verdicts are called today is earlier.csv beside this file.
"""

from __future__ import annotations

from typing import Any

from .quantities import QUANTITIES, read_table

__all__ = ["facts_of_any_version", "row_of_any_version"]

_IDS = {quantity.name: quantity.id for quantity in QUANTITIES}
_VERDICTS = {line.pop("label"): line for line in read_table("earlier.csv")}
_SHARES = {f"the {who} took": who for who in ("dose", "reconstruction", "network")}
_SHARES["is left"] = "left"


def row_of_any_version(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics.csv with an identifier, empty where its words are not those of today.

    What became of its number is empty where the row does not say so.
    """
    found = row if "id" in row else {**row, "id": _IDS.get(row["quantity"], "")}
    return {"outcome": "", **found}


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
    unknown = {"kind": "invariances" if verdict["holds"] else "not_invariances", "spread": "right"}
    found = {**verdict, **_VERDICTS.get(verdict["label"], unknown)}
    if key:
        layer, _, sampler = key.rpartition(", ")
        found |= {"layer": layer, "projected": sampler == "projected"}
    return found
