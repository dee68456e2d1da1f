#!/usr/bin/env python3
"""Make the pictures of README.md from a run of the demonstration.

ctxai demo --out ctxai-demo && python scripts/readme_pictures.py ctxai-demo
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from analysis.report_pictures import of_study
from analysis.run_store import read_run

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 1100
WANTED = {  # file: (study, number of the picture in its part of the report)
    "demo.png": ("invariances-yang", 1),
    "target-domain.png": ("target-domain-chen", 1),
}


def main() -> None:
    """Write docs/*.png, reduced to a width that a page shows."""
    run = read_run(sys.argv[1])
    DOCS.mkdir(exist_ok=True)
    for name, (which, number) in WANTED.items():
        [study] = [study for study in run.studies if study.name.startswith(which)]
        picture = Image.open(BytesIO(of_study(study)[number].png)).convert("RGB")
        scale = min(1.0, WIDTH / picture.width)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture.resize(size, Image.Resampling.LANCZOS).quantize(192).save(
            DOCS / name, optimize=True
        )
        print(DOCS / name)


if __name__ == "__main__":
    main()
