"""The table of all quantities in metrics.csv: identifier, name, unit, what it should be, meaning.

It is quantities.csv beside this file. Identifiers are stable: programs find numbers by them. The
other texts are for readers; {fields} in them are filled with what is known of a row: its number of
samples, its limit, its interval. What a number should be stands there twice: in words, and as a
rule that is evaluated for every row, such as ``max limit``, ``within 0.8 1.25`` or ``equal ideal``.
A quantity without a rule describes, or is what others are held against.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from ..numbers import Outcome, outcome

__all__ = ["BY_ID", "PARTS", "QUANTITIES", "STAGES", "VERDICT", "Quantity", "read_table"]

VERDICT = "verdict"
"""Identifier of a row that says in words what the other rows of its samples come to."""

STAGES = ("full_dose", "rays", "image", "output")
"""Where d' is taken: the rays at full dose and at the study's, the image, the denoised image."""

PARTS = ("whole", "coarse", "band_1", "band_2", "band_3", "band_4", "band_5")
"""Parts of a difference: the whole, what is coarser than 2 mm, and bands that add up to it."""


_ROUNDING = 1e-3  # distances are summed in more than one order


@dataclass(frozen=True)
class Quantity:
    """One line of the table."""

    id: str
    name: str
    unit: str
    should_be: str
    rule: str
    meaning: str

    def texts(self, *, reference: bool, **fields: Any) -> dict[str, str]:
        """The texts of a row, with its fields filled in.

        Parameters
        ----------
        reference : bool
            The row is no result but what results are held against.
        fields
            What the texts name in braces.
        """
        fields["of"] = "draws" if reference else "samples"
        return {
            "quantity": self.name.format(**fields),
            "unit": self.unit,
            "should_be": "the reference" if reference else self.should_be.format(**fields),
            "meaning": self.meaning.format(**fields),
        }

    def outcome(self, value: float, *, error: float, **fields: Any) -> Outcome | Literal[""]:
        """What becomes of a value with a standard error by the rule; "" without a rule.

        Examples
        --------
        >>> from analysis.runs.quantities import BY_ID
        >>> BY_ID["coverage_of_y"].outcome(0.67, error=0.03, ideal=0.83)
        'missed'
        >>> BY_ID["test_power"].outcome(0.02, error=0.01)
        'undecided'
        """
        if not self.rule:
            return ""
        word, *ends = self.rule.split()
        limits = [float(fields[end]) if end in fields else float(end) for end in ends]
        if word == "above":  # 0 itself is not
            return "met" if value > limits[0] else "missed"
        if word == "telling":  # a test without power decides nothing
            return "met" if value >= limits[0] else "undecided"
        low, high = {
            "max": (-math.inf, limits[0]),
            "min": (limits[0], math.inf),
            "equal": (limits[0], limits[0]),
            "within": (limits[0], limits[-1]),
        }[word]
        slack = _ROUNDING * max(abs(limit) for limit in limits)
        return outcome(value, low - slack, high + slack, error)


def read_table(name: str, package: str = __package__) -> list[dict[str, str]]:
    """The lines of a table that lies beside the code of a package."""
    text = (files(package) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


QUANTITIES = tuple(Quantity(**line) for line in read_table("quantities.csv"))

BY_ID = {quantity.id: quantity for quantity in QUANTITIES}
