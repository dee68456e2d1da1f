"""Means over patients with their intervals, and differences of networks in the same places.

Numbers are gathered from the rows of the table as they pass, as plain arrays: a cohort of ten
thousand cells takes some ten MB.
"""

from __future__ import annotations

import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .statistics import bootstrap_interval, holm, sign_flip_p

__all__ = ["DIFFERENCE_COLUMNS", "SUMMARY_COLUMNS", "Gathered", "Group", "Key", "differences"]

SUMMARY_COLUMNS = (
    "study", "denoiser", "layer", "sampler", "mas", "quantity", "unit", "patients", "cells", "mean",
    "low", "high", "sd",
)  # fmt: skip
"""Columns of the means over patients: the sd is that between patients."""

DIFFERENCE_COLUMNS = (
    "study", "denoiser", "minus", "layer", "sampler", "mas", "quantity", "unit", "patients", "mean",
    "low", "high", "p", "p_holm", "family",
)  # fmt: skip
"""Columns of the differences: of the denoiser minus another, in the same places."""

_DIGITS = 6
_OF_KEY = ("study", "quantity", "denoiser", "layer", "sampler", "mas")
_OF_PLACE = ("patient", "series", "slice", "row", "col")


@dataclass(frozen=True, order=True)
class Key:
    """What numbers of different patients have in common."""

    study: str
    quantity: str
    denoiser: str
    layer: str
    sampler: str
    sort_mas: float  # -1 for none

    def fields(self) -> dict[str, str]:
        """It as cells of a table."""
        names = ("study", "denoiser", "layer", "sampler", "quantity")
        mas = "" if self.sort_mas < 0 else f"{self.sort_mas:g}"
        return {name: getattr(self, name) for name in names} | {"mas": mas}


class Group:
    """The numbers of one key: of which patient, at which place, how large."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.patients, self.places, self.cells = array("i"), array("i"), array("i")
        self.values = array("d")

    def of_patients(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the patients, and the mean over the places of each."""
        return _means(np.asarray(self.patients), np.asarray(self.values))


def _means(patients: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patients and the mean of each, those that are not finite left out."""
    fine = np.isfinite(values)
    who, place = np.unique(patients[fine], return_inverse=True)
    sums = np.bincount(place, values[fine], len(who))
    return who, sums / np.maximum(np.bincount(place, minlength=len(who)), 1)


class Gathered:
    """Numbers of the table by what they have in common."""

    def __init__(self) -> None:
        self.patients: dict[str, int] = {}
        self.cells: dict[str, int] = {}
        self._groups: dict[tuple[str, ...], Group] = {}
        self._places: dict[tuple[str, ...], int] = {}

    def add(self, rows: Iterable[dict[str, str]]) -> None:
        """Take in rows of the table."""
        for row in rows:
            of = tuple([row[name] for name in _OF_KEY])
            group = self._groups.get(of)
            if group is None:
                group = self._groups[of] = Group(row["unit"])
            place = tuple([row[name] for name in _OF_PLACE])
            group.patients.append(self.patients.setdefault(row["patient"], len(self.patients)))
            group.places.append(self._places.setdefault(place, len(self._places)))
            group.cells.append(self.cells.setdefault(row["cell"], len(self.cells)))
            group.values.append(float(row["value"]))

    def sorted(self) -> list[tuple[Key, Group]]:
        """All groups in the order of their keys."""
        keys = (
            (Key(of[0], of[1], of[2], of[3], of[4], float(of[5] or -1)), group)
            for of, group in self._groups.items()
        )
        return sorted(keys, key=lambda item: item[0])

    def summary(self) -> list[dict[str, str]]:
        """Rows of the means over patients."""
        found = [(key, group, group.of_patients()[1]) for key, group in self.sorted()]
        intervals = _intervals([means for _, _, means in found])
        return [
            {
                **key.fields(),
                "unit": group.unit,
                "patients": str(len(means)),
                "cells": str(len(set(group.cells))),
                "mean": _text(means.mean() if len(means) else np.nan),
                "low": _text(low),
                "high": _text(high),
                "sd": _text(means.std(ddof=1) if len(means) > 1 else np.nan),
            }
            for (key, group, means), (low, high) in zip(found, intervals, strict=True)
        ]


def differences(gathered: Gathered) -> list[dict[str, str]]:
    """Rows of the paired differences between networks, patient by patient.

    Cells of two networks in the same place are subtracted, and the differences of a patient
    averaged. A family of comparisons, for which ``p_holm`` holds as a whole, is all of one quantity
    of one study: every pair of networks at every layer and exposure.
    """
    alike: dict[tuple[Any, ...], list[tuple[Key, Group]]] = defaultdict(list)
    for key, group in gathered.sorted():
        if key.denoiser:
            alike[key.study, key.quantity, key.layer, key.sampler, key.sort_mas].append(
                (key, group)
            )
    pairs = []
    for _, members in sorted(alike.items()):
        for (key, one), (other_key, other) in itertools.combinations(members, 2):
            means = _paired(one, other)
            if len(means):
                pairs.append((key, other_key.denoiser, one.unit, means))
    intervals = _intervals([means for *_, means in pairs])
    p = [float(sign_flip_p(means)) for *_, means in pairs]
    families: dict[tuple[str, str], list[int]] = defaultdict(list)
    for k, (key, *_) in enumerate(pairs):
        families[key.study, key.quantity].append(k)
    adjusted = [0.0] * len(pairs)
    for family in families.values():
        for k, value in zip(family, holm([p[k] for k in family]), strict=True):
            adjusted[k] = value
    return [
        {
            **key.fields(),
            "minus": minus,
            "unit": unit,
            "patients": str(len(means)),
            "mean": _text(means.mean()),
            "low": _text(low),
            "high": _text(high),
            "p": _text(p[k]),
            "p_holm": _text(adjusted[k]),
            "family": str(len(families[key.study, key.quantity])),
        }
        for k, ((key, minus, unit, means), (low, high)) in enumerate(
            zip(pairs, intervals, strict=True)
        )
    ]


def _paired(one: Group, other: Group) -> np.ndarray:
    """Mean difference of each patient, over the places that both have."""
    first = dict(zip(zip(one.patients, one.places), one.values))
    second = dict(zip(zip(other.patients, other.places), other.values))
    both = [at for at in first if at in second]
    values = np.array([first[at] - second[at] for at in both])
    return _means(np.array([patient for patient, _ in both], int), values)[1]


def _intervals(means: Sequence[np.ndarray]) -> Iterator[tuple[float, float]]:
    """Interval of the mean of each, those with as many patients together."""
    found: list[tuple[float, float]] = [(np.nan, np.nan)] * len(means)
    by_count: dict[int, list[int]] = defaultdict(list)
    for k, values in enumerate(means):
        by_count[len(values)].append(k)
    for count, members in by_count.items():
        if count > 1:
            low, high = bootstrap_interval(np.stack([means[k] for k in members], 1))
            for place, k in enumerate(members):
                found[k] = float(low[place]), float(high[place])
    return iter(found)


def _text(value: float) -> str:
    """A number as a cell of a table, empty if there is none."""
    return f"{value:.{_DIGITS}g}" if np.isfinite(value) else ""
