#!/usr/bin/env python3
"""Are samples invariances? Every sampler of a set of weights, on phantoms it was not trained on.

    python scripts/measure_fidelity.py --out OUT                 200 images, samples of the output
    python scripts/measure_fidelity.py --out OUT --images 50 --denoisers chen --layers output

Writes OUT/fidelity.csv and OUT/fidelity.md, one row for each layer and sampler, plain and
projected: consistency, spread beside the reference's at the same consistency, coverage, ranks of
the truth, near-null space. On two cores some minutes for each row of 200 images.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from analysis.held_out_fidelity import held_out_fidelity, held_out_patches
from analysis.training_data import WorkingPoint
from ctxai.weights import SHIPPED, WeightSet
from recon.storage import write_atomic, write_csv

SHOWN = (
    "consistency [HU]", "redrawn noise [HU]", "representation, relative to redrawn noise",
    "sd at matched consistency [HU]", "sd relative to the reference", "coverage",
    "coverage, ideal", "near-null energy", "near-null energy of white noise", "gain",
    "near-null dimension", "rank histograms with p > .01",
)  # fmt: skip


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--weights", type=Path, help="folder of a set; the one that ships")
    parser.add_argument("--denoisers", nargs="+", default=["chen", "yang"])
    parser.add_argument("--layers", nargs="+", default=["output"])
    parser.add_argument("--samplers", nargs="+", default=["flow", "cinn"])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("-n", type=int, default=24, help="samples of each image")
    parser.add_argument("--tolerance-hu", type=float, default=3.0, help="at the output [HU]")
    parser.add_argument("--tolerance", type=float, default=1.0, help="elsewhere, in redrawn noise")
    parser.add_argument("--seed", type=int, default=2001)
    options = parser.parse_args()
    weights = SHIPPED if options.weights is None else WeightSet(options.weights)
    point = WorkingPoint(**weights.manifest["recipe"]["working_point"])
    held_out = held_out_patches(options.images, seed=options.seed, point=point)
    rows = []
    for denoiser in options.denoisers:
        f, _ = weights.load(denoiser)
        for layer in options.layers:
            for sampler in options.samplers:
                if f"{'flow' if sampler == 'flow' else 'cinn'}-{denoiser}-{layer}-x" not in weights:
                    continue
                model = weights.load_model(denoiser, layer, "x", f=f, sampler=sampler)
                at_output = model.wiretap.layer == "output"
                projected = {
                    "tolerance_hu": options.tolerance_hu if at_output else None,
                    "tolerance": None if at_output else options.tolerance,
                }
                for name, how in (
                    (model.sampler, {"tolerance_hu": None, "tolerance": None}),
                    (f"{model.sampler}, projected", projected),
                ):
                    found = held_out_fidelity(
                        model, held_out, n=options.n, seed=options.seed,
                        label=f"{denoiser}, layer {layer}, {name}", **how,
                    )  # fmt: skip
                    found.pop("ranks", None)
                    rows.append({"denoiser": denoiser, "layer": layer, "sampler": name, **found})
                    _write(options.out, rows)
    print((options.out / "fidelity.md").read_text())


def _write(out: Path, rows: list[dict]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(out / "fidelity.csv", [{c: row.get(c, "") for c in columns} for row in rows])
    head = ["denoiser", "layer", "sampler", *SHOWN]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.get(c, "") for c in head]
        text = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(text) + " |")
    write_atomic(out / "fidelity.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
