"""The table of all arrays in samples.zarr: name, dimensions, unit, what it holds.

It is arrays.csv beside this file. Each array carries its line as attributes, so that whoever opens
a run by zarr or xarray alone reads what it is.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from recon import DataError

__all__ = ["ARRAYS", "Described", "described"]


@dataclass(frozen=True)
class Described:
    """One line of the table."""

    name: str
    dims: tuple[str, ...]
    unit: str
    meaning: str


def _table() -> dict[str, Described]:
    text = (files(__package__) / "arrays.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        row["name"]: Described(row["name"], tuple(row["dims"].split()), row["unit"], row["meaning"])
        for row in rows
    }


ARRAYS: dict[str, Described] = _table()
"""By name; arrays of a layer by the last part of their path."""


def described(path: str, ndim: int) -> Described:
    """What an array of a study is.

    Parameters
    ----------
    path : str
        In the study's group, such as "ybar" or "layer-4/plain".
    ndim : int
        Its dimensions.

    Raises
    ------
    DataError
        If the table has no such array of so many dimensions.

    Examples
    --------
    >>> from analysis.runs.arrays import described
    >>> described("layer-4/plain_distance", 1).dims
    ('sample',)
    """
    found = ARRAYS.get(path.rpartition("/")[2])
    if found is None or len(found.dims) not in (ndim, ndim + 1):
        raise DataError(
            "no array of that name", where="samples.zarr", got=f"{path}, {ndim} dimensions",
            remedy="add a line to analysis/runs/arrays.csv",
        )  # fmt: skip
    # a pair has a single ȳ
    return (
        found
        if len(found.dims) == ndim
        else Described(found.name, found.dims[1:], found.unit, found.meaning)
    )
