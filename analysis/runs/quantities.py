"""The table of all quantities in metrics.csv: identifier, name, unit, what it should be, meaning.

It is quantities.csv beside this file. Identifiers are stable: programs find numbers by them. The
other texts are for readers; {fields} in them are filled with what is known of a row: its number of
samples, its limit, its interval.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

__all__ = ["BY_ID", "PARTS", "QUANTITIES", "STAGES", "VERDICT", "Quantity", "read_table"]

VERDICT = "verdict"
"""Identifier of a row that says in words what the other rows of its samples come to."""

STAGES = ("full_dose", "rays", "image", "output")
"""Where d' is taken: the rays at full dose and at the study's, the image, the denoised image."""

PARTS = ("whole", "coarse", "band_1", "band_2", "band_3", "band_4", "band_5")
"""Parts of a difference: the whole, what is coarser than 2 mm, and bands that add up to it."""


@dataclass(frozen=True)
class Quantity:
    """One line of the table."""

    id: str
    name: str
    unit: str
    should_be: str
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


def read_table(name: str, package: str = __package__) -> list[dict[str, str]]:
    """The lines of a table that lies beside the code of a package."""
    text = (files(package) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


QUANTITIES = tuple(Quantity(**line) for line in read_table("quantities.csv"))

BY_ID = {quantity.id: quantity for quantity in QUANTITIES}
