"""The report of a cohort: one HTML file, its pictures inside, that links to the cells' own."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.report.html import look

from .cells import Cell
from .figures import Shown, distributions
from .ledger import Ledger
from .statistics import REDRAWS
from .summary import Gathered, Group, Key

__all__ = ["render", "shown_quantities"]

_WORST = 5
_MOST_LINES = 200  # of a list; all are in the tables
_PAGES = ("report.html", "overview.png")

_TEMPLATES = Environment(
    loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


def shown_quantities() -> list[Shown]:
    """What the report shows of each study, the table shown.csv beside this file."""
    text = (files(__package__) / "shown.csv").read_text(encoding="utf-8")
    return [Shown(**line) for line in csv.DictReader(text.splitlines())]


def render(
    cells: Sequence[Cell],
    ledger: Ledger,
    gathered: Gathered,
    *,
    summary: Sequence[Mapping[str, str]],
    differences: Sequence[Mapping[str, str]],
    failures: Mapping[str, str],
    record: Mapping[str, Any],
) -> str:
    """HTML of a cohort.

    Parameters
    ----------
    cells : sequence of Cell
        All of the manifest.
    ledger : Ledger
    gathered : Gathered
        Numbers of the cells that are there.
    summary, differences : sequence of mapping
        Rows of the tables.
    failures : mapping
        What went wrong with cells, by their digests.
    record : mapping
        What run.json says.
    """
    by_key = dict(zip([key for key, _ in gathered.sorted()], summary, strict=True))
    groups: dict[tuple[str, str], list[tuple[Key, Group]]] = defaultdict(list)
    for key, group in gathered.sorted():
        groups[key.study, key.quantity].append((key, group))
    shown = [one for one in shown_quantities() if (one.study, one.quantity) in groups]
    by_digest = {cell.digest: cell for cell in cells}
    names = list(gathered.cells)
    studies = []
    for study in dict.fromkeys(one.study for one in shown):
        here = [one for one in shown if one.study == study]
        found = {one.quantity: groups[study, one.quantity] for one in here}
        titles = {one.quantity: one.title for one in here}
        studies.append(
            {
                "name": study,
                "picture": distributions(here, found, by_key),
                "means": [
                    (one.title, by_key[key]) for one in here for key, _ in found[one.quantity]
                ],
                "differences": [
                    (titles[row["quantity"]], row)
                    for row in differences
                    if row["study"] == study and row["quantity"] in titles
                ],
                "worst": [
                    (one, [(by_digest[names[k]], value) for k, value in _worst(one, found)])
                    for one in here
                    if one.worst
                ],
            }
        )
    failed = [cell for cell in cells if cell.digest in failures]
    return _TEMPLATES.get_template("cohort.html").render(
        style=look(), studies=studies, record=record, cells=cells, failures=failures,
        failed=failed[:_MOST_LINES], unlisted=max(len(failed) - _MOST_LINES, 0), link=_link(ledger),
        redraws=REDRAWS, patients=len({cell.patient for cell in cells}), embedded=_embedded,
        families=len({(row["study"], row["quantity"]) for row in differences}),
    )  # fmt: skip


def _worst(one: Shown, found: Mapping[str, Sequence[tuple[Key, Group]]]) -> list[tuple[int, float]]:
    """Places and values of the cells with the worst values of a quantity."""
    cells = np.concatenate([np.asarray(group.cells) for _, group in found[one.quantity]])
    values = np.concatenate([np.asarray(group.values) for _, group in found[one.quantity]])
    order = np.argsort(values if one.worst == "low" else -values, kind="stable")
    worst: dict[int, float] = {}
    for k in order[np.isfinite(values[order])]:
        worst.setdefault(int(cells[k]), float(values[k]))
        if len(worst) == _WORST:
            break
    return list(worst.items())


def _link(ledger: Ledger) -> Any:
    def link(cell: Cell) -> str:
        """Where a cell shows itself, seen from the report; "" if it does not."""
        folder = ledger.folder(cell.digest)
        page = next((name for name in _PAGES if (folder / name).is_file()), "")
        return page and f"cells/{cell.digest}/{page}"

    return link


def _embedded(png: bytes) -> Markup:
    import base64

    return Markup(base64.b64encode(png).decode())
