"""The report of a run: one HTML file that holds its pictures and needs nothing else.

It is made from run.json, metrics.csv and samples.zarr alone. What was asked, what was done, the
answer, how sure it is and how to repeat it come first, then the viewer, the pictures, the numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from recon.storage import write_atomic

from .. import viewer
from ..runs.store import Run, Study, read_run
from . import pictures
from .html import fill, look
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
    """HTML of a run; the scene of a study is not shown again after a study of the same scan."""
    shown: list[tuple[Study, list[pictures.Picture]]] = []
    before = None
    for study in run.studies:
        scan = study.denoiser, study.mas
        shown.append((study, pictures.of_study(study, scene=scan != before)))
        before = scan
    return fill(
        "page.html",
        record=run.record,
        configuration=json.dumps(run.record.get("configuration", {}), indent=2),
        scan=run.studies[0].facts["scan"] if run.studies else {},
        summary=summary(run),
        studies=shown,
        viewer=Markup(viewer.section(run.studies)),
        policy=Markup(viewer.policy()),
        style=look() + Markup(viewer.style()),
        share=_share,
        number=_number,
        side=side,
        stage_table=stage_table,
    )


def _share(value: float) -> str:
    return "none" if value == 0 else "less than 0.01 %" if value < 1e-4 else f"{100 * value:.2g} %"


def _number(row: dict[str, Any]) -> str:
    number = float(row["value"])
    return f"{number:.1f}" if row["unit"] == "HU" else f"{number:.3f}".rstrip("0").rstrip(".")
