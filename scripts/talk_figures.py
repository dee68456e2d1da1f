#!/usr/bin/env python3
"""Make the four figures of a talk from one run of the demonstration.

    ctxai demo --out RUN
    ctxai invariances --images RUN/high-dose --denoiser yang --layers 1 4 7 --sampler cinn \\
        --out LAYERS
    python scripts/talk_figures.py RUN --layers LAYERS --out FIGURES

Writes as .png (for slides) and .svg (for paper), the same bytes each time:

    FIGURES/denoising      y, x, f(x) and f(x) - y of Chen and of Yang; arrows with HU at the
                           largest differences from the truth
    FIGURES/layers         samples after layers 1, 4 and 7 of Yang, a column with the same v; below
                           each, by how much it changes the output
    FIGURES/target-domain  y, x, f(x); then sampled anatomies ȳ, their scans, x', and the
                           differences ȳ - y and x' - f(x)
    FIGURES/cover          a thorax and an abdomen at the low dose, denoised by one network that was
                           trained on thoraces (T-Net) and by the same trained on abdomens (A-Net)

The first three are read from the run, the second one from LAYERS, where VAE_x and a cINN draw after
every layer as in the talk; without it, from RUN. For the cover two networks are trained, some two
minutes each on two quiet cores at 1000 steps; they are kept in FIGURES/networks, so a second call
only draws, and one that was stopped goes on where it was.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.figures.drawing import FORMS
from analysis.runs.store import read_run
from analysis.talk.cover import cover_of_run
from analysis.talk.figures import of_run
from recon import DataError
from recon.storage import write_atomic


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run of ctxai demo")
    parser.add_argument("--out", type=Path, required=True, metavar="FIGURES")
    parser.add_argument("--layers", type=Path, metavar="LAYERS", help="run of the second figure")
    parser.add_argument(
        "--steps", type=int, default=1000, help="training steps of each network of the cover (1000)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Draw, train, draw; 0, or 2 if the run lacks something."""
    wanted = arguments(words)
    try:
        run = read_run(wanted.run)
        figures = of_run(run, None if wanted.layers is None else read_run(wanted.layers))
        for name in [*figures, "cover"]:
            if name == "cover":
                figures[name] = cover_of_run(run, wanted.out / "networks", steps=wanted.steps)
            for form in FORMS:
                content = figures[name](form=form)
                print(write_atomic(wanted.out / f"{name}.{form}", content), flush=True)
    except DataError as error:
        print(f"talk_figures: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
