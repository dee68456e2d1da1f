"""The report of a run: one HTML file that holds its pictures and needs nothing else.

It is made from run.json, metrics.csv and samples.zarr alone. The answer comes first, in a sentence,
three images and four bars; then a list of what follows: the viewer, the verdicts and their reasons,
pictures, numbers, what was done with which networks, and how to repeat it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from recon.storage import write_atomic

from .. import viewer
from ..runs.order import capital
from ..runs.store import Run, Study, read_run
from . import pictures
from .alterations import alteration_table
from .answer import answer
from .html import fill, look
from .lost import hide_table, reader_rows
from .networks import networks_used, recipes_used
from .pair_words import stage_table
from .summary import side, summary

__all__ = ["render", "write_report"]


def write_report(out: str | Path) -> Path:
    """Make ``out/report.html`` from the other parts of a run folder.

    Parameters
    ----------
    out : path
        The run folder.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    DataError
        If a part is missing or broken.
    """
    return write_atomic(Path(out) / "report.html", render(read_run(out)))


def render(run: Run) -> str:
    """HTML of a run; the scene of a study is not shown again for another study of the same scan."""
    drawn: list[tuple[Study, list[pictures.Picture]]] = []
    before = set()
    for study in run.studies:
        scan = study.denoiser, study.mas
        drawn.append((study, pictures.of_study(study, scene=scan not in before)))
        before.add(scan)
    return fill(
        "page.html",
        record=run.record,
        configuration=json.dumps(run.record.get("configuration", {}), indent=2),
        top=answer(run),
        summary=summary(run),
        studies=run.studies,
        pictures=drawn,
        networks=networks_used(run),
        recipes=recipes_used(run),
        viewer=Markup(viewer.section(run.studies, run.record.get("orientation"))),
        policy=Markup(viewer.policy()),
        style=look() + Markup(viewer.style()),
        share=_share,
        number=_number,
        side=side,
        stage_table=stage_table,
        reader_rows=reader_rows,
        alteration_table=alteration_table,
        hide_table=hide_table,
        name_of=_name,
    )


def _name(study: Study) -> str:
    """A study in a few words, for headings and tables."""
    return (
        f"{capital(study.kind.replace('-', ' '))}: {capital(study.denoiser)} at {study.mas:g} mAs"
    )


def _share(value: float) -> str:
    return "none" if value == 0 else "less than 0.01 %" if value < 1e-4 else f"{100 * value:.2g} %"


def _number(row: dict[str, Any]) -> str:
    number = float(row["value"])
    return f"{number:.1f}" if row["unit"] == "HU" else f"{number:.3f}".rstrip("0").rstrip(".")
