#!/usr/bin/env python3
"""Make the pictures of README.md from a run of the demonstration.

ctxai demo --out ctxai-demo && python scripts/readme_pictures.py ctxai-demo
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from analysis.figures.drawing import bare, new_figure, written
from analysis.report.answer import Answer, answer
from analysis.report.pictures import of_study
from analysis.runs.store import Run, read_run

DOCS = Path(__file__).resolve().parent.parent / "docs"
SHEET = ("target-domain-chen", 1)  # study, and number of the picture in its part of the report


def top_of_the_report(top: Answer) -> bytes:
    """The three images of a report's answer, with the bars of d' below them."""
    figure = new_figure(9.0, 5.0)
    for k, view in enumerate(top.views):
        axes = bare(figure.add_axes((0.01 + 0.333 * k, 0.41, 0.314, 0.53)))
        axes.imshow(Image.open(BytesIO(view.png)), cmap="gray", interpolation="nearest")
        axes.set_title(view.title, fontsize=9.5)
        axes.text(0.5, -0.035, view.words, transform=axes.transAxes, ha="center", va="top", size=8)
    bars = figure.add_axes((0.24, 0.02, 0.68, 0.23))
    measured = [stair.d or 0.0 for stair in top.stairs.stairs]
    drawn = bars.barh(range(len(measured)), measured, color="#3d6b99", height=0.7)
    bars.bar_label(drawn, [f"{d:.3g}" for d in measured], padding=3, fontsize=9)
    bars.set_yticks(range(len(measured)), [stair.place for stair in top.stairs.stairs], fontsize=9)
    bars.invert_yaxis()
    bars.set_xticks([])
    bars.set_title(top.stairs.of, fontsize=8.5, loc="right", pad=6)
    for side in ("top", "right", "bottom"):
        bars.spines[side].set_visible(False)
    bars.tick_params(axis="y", length=0)
    return written(figure, "png")


def sheet(run: Run) -> bytes:
    """One of the pictures further down in a report."""
    which, number = SHEET
    [study] = [study for study in run.studies if study.name.startswith(which)]
    return of_study(study)[number].draw()


def main() -> None:
    """Write docs/*.png."""
    run = read_run(sys.argv[1])
    made = {"demo.png": top_of_the_report(answer(run)), "target-domain.png": sheet(run)}
    for name, png in made.items():
        picture = Image.open(BytesIO(png)).convert("RGB")
        picture.save(DOCS / name, optimize=True)
        print(DOCS / name, picture.size)


if __name__ == "__main__":
    main()
