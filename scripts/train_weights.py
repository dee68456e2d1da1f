#!/usr/bin/env python3
"""Train the networks that ship with the project, from nothing, and put them where they ship from.

    python scripts/train_weights.py --out WEIGHTS            one to two hours on two cores
    python scripts/train_weights.py --out WEIGHTS --ship     and copy them into ctxai/weights
    python scripts/train_weights.py --out WEIGHTS --keep SET only what a set does not hold yet

Those that ship were made in steps: denoisers and VAEs; samplers of one kind of scan, the flows on a
GPU, whose bits depend on it; then all samplers went on with scans of many kinds: the cINNs after
the outputs in half an hour each on an idle core (those of anatomies at half the rate of the
recipe), the flows and the cINNs after layers inside in a minute or two each. The last line makes
flows for larger patches, which do not ship:

    python scripts/train_weights.py --out A
    python scripts/train_weights.py --out B --keep A --anew 'flow-*' --recipe long --device cuda \\
        --names chen yang 'flow-*'
    python scripts/train_weights.py --out C --keep B --recipe onwards --anew 'cinn-*-output-*'
    python scripts/train_weights.py --out D --keep C --recipe tuned \\
        --anew 'flow-*' 'cinn-*-[0-9]-*'
    python scripts/train_weights.py --out E --keep B --anew 'flow-*' --recipe large --device cuda \\
        --names chen yang 'flow-*-output-*' --patch 128

Recipe, seed, digests and held-out figures are written to `manifest.json` beside the weights. A run
that was killed goes on from its checkpoints in WEIGHTS/checkpoints.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from analysis.data.phantom_pairs import WORKING_POINT
from analysis.training.recipes import train_all
from analysis.training.stages import LARGE, LONG, ONWARDS, REDUCED, TUNED
from ctxai import SHIPPED, WeightSet

RECIPES = {recipe.name: recipe for recipe in (REDUCED, LONG, LARGE, ONWARDS, TUNED)}


def main() -> None:
    """Train, and ship if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ship", action="store_true", help="copy the result into ctxai/weights")
    parser.add_argument("--keep", type=Path, help="folder of a set, whose networks are taken over")
    parser.add_argument("--anew", nargs="+", default=[], help="patterns of what is trained again")
    parser.add_argument("--names", nargs="+", default=["*"], help="patterns of what it shall hold")
    parser.add_argument("--recipe", choices=RECIPES, default="reduced")
    parser.add_argument("--patch", type=int, default=WORKING_POINT.patch, help="side [pixels]")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    keep = None if options.keep is None else WeightSet(options.keep)
    weights = train_all(
        options.out, recipe=RECIPES[options.recipe], seed=options.seed, keep=keep,
        point=replace(WORKING_POINT, patch=options.patch), anew=options.anew,
        names=options.names, device=options.device,
    )  # fmt: skip
    size = sum(path.stat().st_size for path in options.out.glob("*.safetensors"))
    print(f"{len(weights.names)} networks, {size / 1e6:.1f} MB in {options.out}")
    if options.ship:
        SHIPPED.folder.mkdir(exist_ok=True)
        for path in [*options.out.glob("*.safetensors"), options.out / "manifest.json"]:
            shutil.copy2(path, SHIPPED.folder / path.name)
        print(f"copied to {SHIPPED.folder}")


if __name__ == "__main__":
    main()
