#!/usr/bin/env python3
"""Make the pictures of README.md from a run of the demonstration.

ctxai demo --out ctxai-demo && python scripts/readme_pictures.py ctxai-demo
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from analysis.report.pictures import of_study
from analysis.runs.store import read_run

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 900
WANTED = {  # file: (study, numbers of the pictures in its part of the report)
    "demo.png": ("invariances-chen", (0, 1, 3)),
    "target-domain.png": ("target-domain-chen", (1,)),
}


def stacked(pictures: list[Image.Image]) -> Image.Image:
    """Pictures below each other on white, each at most `WIDTH` wide."""
    fitted = [p.resize((WIDTH, round(p.height * WIDTH / p.width))) for p in pictures]
    page = Image.new("RGB", (WIDTH, sum(p.height for p in fitted)), "white")
    top = 0
    for picture in fitted:
        page.paste(picture, (0, top))
        top += picture.height
    return page


def main() -> None:
    """Write docs/*.png."""
    run = read_run(sys.argv[1])
    DOCS.mkdir(exist_ok=True)
    for name, (which, numbers) in WANTED.items():
        [study] = [study for study in run.studies if study.name.startswith(which)]
        found = of_study(study)
        pictures = [Image.open(BytesIO(found[k].draw())).convert("RGB") for k in numbers]
        stacked(pictures).save(DOCS / name, optimize=True)
        print(DOCS / name)


if __name__ == "__main__":
    main()
