#!/usr/bin/env python3
"""Train the networks that ship with the project, from nothing, and put them where they ship from.

    python scripts/train_weights.py --out WEIGHTS            half an hour on two cores
    python scripts/train_weights.py --out WEIGHTS --ship     and copy them into ctxai/weights
    python scripts/train_weights.py --out WEIGHTS --keep SET only what a set does not hold yet
    python scripts/train_weights.py --out WEIGHTS --keep SET --anew 'flow-*' --long --device cuda
                                                             its flows again, as those that ship

Recipe, seed, digests and held-out figures are written to `manifest.json` beside the weights. A run
that was killed goes on from its checkpoints in WEIGHTS/checkpoints.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from analysis.recipes import LONG, REDUCED, train_all
from ctxai.weights import SHIPPED, WeightSet


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
    parser.add_argument("--long", action="store_true", help="the flows' long recipe, on a GPU")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    keep = None if options.keep is None else WeightSet(options.keep)
    weights = train_all(
        options.out, recipe=LONG if options.long else REDUCED, seed=options.seed, keep=keep,
        anew=options.anew, device=options.device,
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
