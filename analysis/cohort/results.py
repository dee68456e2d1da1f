"""What a cohort leaves behind, beside its cells: tables, report and record, published in one step.

table.csv, table.parquet        a row a number of a cell
summary.csv, .parquet           a row a mean over patients
differences.csv, .parquet       a row a difference of two networks
cells.csv                       a row a cell of the manifest, with what has become of it
report.html, run.json
"""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recon import DataError
from recon.storage import (
    read_json,
    run_folder,
    version,
    versions,
    write_atomic,
    write_csv,
    write_json,
)

from .cells import Cell
from .ledger import Ledger
from .page import render
from .summary import DIFFERENCE_COLUMNS, SUMMARY_COLUMNS, Gathered, differences
from .table import TableWriter, rows_of

__all__ = ["write_results"]

_OF_MACHINE = ("platform",)
_NUMBERS = ("mas", "mean", "low", "high", "sd", "p", "p_holm")
_WHOLE = ("patients", "cells", "family")
_TOLD_APART = ("python", "platform")  # versions in which cells may differ without a note


def write_results(
    ledger: Ledger,
    cells: Sequence[Cell],
    failures: Mapping[str, str],
    *,
    command: str,
    manifest: Path,
    sha256: str,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Write tables, report and record of the cells that are there; returns the record.

    Where they are of these cells already, they stay as they are.

    Parameters
    ----------
    ledger : Ledger
    cells : sequence of Cell
        All of the manifest, sorted.
    failures : mapping
        What went wrong with cells, by their digests.
    command : str
        Of the record.
    manifest : path
    sha256 : str
        Of the manifest.
    notes : sequence of str
    """
    there = ledger.present(cells)
    lines = [_line(cell, there, failures) for cell in cells]
    state = _state(ledger, lines)
    if (known := _known(ledger, state)) is not None:
        return known
    gathered, made_by = Gathered(), Made()
    with run_folder(ledger.out) as folder:
        with TableWriter(folder, "table") as table:
            for cell in cells:
                if cell.digest in there:
                    rows, of_cell = rows_of(cell, ledger)
                    table.write(rows)
                    gathered.add(rows)
                    made_by.add(of_cell)
        summary, pairs = gathered.summary(), differences(gathered)
        for name, columns, rows in (
            ("summary", SUMMARY_COLUMNS, summary),
            ("differences", DIFFERENCE_COLUMNS, pairs),
        ):
            whole = [column for column in _WHOLE if column in columns]
            numbers = [column for column in _NUMBERS if column in columns]
            with TableWriter(folder, name, columns, numbers=numbers, whole=whole) as table:
                table.write(rows)
        write_csv(folder / "cells.csv", lines)
        failed = len(failures.keys() - there)
        record = {
            "command": command,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "configuration": {"command": "study", "manifest": str(manifest), "sha256": sha256},
            "cells": {
                "asked": len(cells),
                "there": len(there),
                "failed": failed,
                "open": len(cells) - len(there) - failed,
            },
            "state": state,
            "patients": len({cell.patient for cell in cells}),
            "versions": {k: v for k, v in versions().items() if k not in _OF_MACHINE},
            "notes": [*notes, *made_by.notes()],
        }
        page = render(
            cells, ledger, gathered, summary=summary, differences=pairs, record=record,
            failures={k: v for k, v in failures.items() if k not in there},
        )  # fmt: skip
        write_atomic(folder / "report.html", page)
        write_json(folder / "run.json", record)
    return record


def _state(ledger: Ledger, lines: Sequence[Mapping[str, Any]]) -> str:
    """A digest of all that tables and report are made of."""
    whole = hashlib.sha256(version().encode())
    for line in lines:
        path = ledger.folder(line["cell"]) / "run.json"
        written = os.stat(path).st_mtime_ns if line["state"] == "there" else 0
        whole.update(f"{sorted(line.items())} {written}\n".encode())
    return whole.hexdigest()


def _known(ledger: Ledger, state: str) -> dict[str, Any] | None:
    """The record that is there, if it is of that state and all that it is of is there too."""
    try:
        record = read_json(ledger.out / "run.json")
        parts = [*record["parts"], "report.html"]
        whole = record["state"] == state and all((ledger.out / name).exists() for name in parts)
    except (DataError, KeyError, TypeError):
        return None
    return record if whole else None


class Made:
    """By which versions of what the cells were computed."""

    def __init__(self) -> None:
        self._found: dict[str, set[str]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in the record of a cell."""
        for name, value in record.get("versions", {}).items():
            self._found.setdefault(name, set()).add(str(value))

    def notes(self) -> list[str]:
        """A note on each package of which there was more than one version."""
        return [
            f"cells were computed by {name} {' and '.join(sorted(values))}"
            for name, values in sorted(self._found.items())
            if len(values) > 1 and name not in _TOLD_APART
        ]


def _line(cell: Cell, there: set[str], failures: Mapping[str, str]) -> dict[str, Any]:
    """A cell as a row of cells.csv."""
    place = dict(zip(("slice", "row", "col"), cell.place, strict=True))
    state = "there" if cell.digest in there else "failed" if cell.digest in failures else "open"
    return {
        "cell": cell.digest,
        "patient": cell.patient,
        "series": cell.series,
        "study": cell.study,
        **{name: "" if at is None else at for name, at in place.items()},
        "denoiser": cell.denoiser,
        **{name: cell.options.get(name, "") for name in ("layer", "sampler", "mas")},
        "seed": cell.seed,
        "state": state,
        "error": "" if state == "there" else failures.get(cell.digest, ""),
    }
