#!/usr/bin/env python3
"""Can a denoiser be cured of invariances that it should not have? Finetune, and compare.

    python scripts/repair_study.py --out OUT                      Chen and Yang
    python scripts/repair_study.py --out OUT --denoisers chen     minutes on two cores

Each denoiser is finetuned three times, from the same weights and with the same patches, steps and
rates: by the squared error alone (control), and also against missing random lesions (lesions), and
also against missing what sampled invariances hide and looks like a lesion (lesions and samples).
All of that from several seeds of the batches. On phantoms that no network was trained on, lesions
are put into even soft tissue, as a scan shows them there, and every network stands beside the
control and beside the one that it was finetuned from (before):

    recovery   share of the contrast that shows in the output; of x, what the scan shows of it
    rmse       against the high-dose image, around the sites and anywhere in the body [HU]
    d'         of the channelised Hotelling and the NPW observer, background known

Writes OUT/repair.csv, OUT/repair.png, OUT/repair.svg and the finetuned networks (safetensors).
A run that was stopped goes on from OUT/checkpoints.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from analysis.data.phantom_pairs import WorkingPoint
from analysis.figures.drawing import FORMS
from analysis.lesions.sites import patches_at_sites
from analysis.repair.figure import repair_figure
from analysis.repair.finetune import RECIPES, RepairRecipe, finetuned, sampled_differences, teach
from analysis.repair.numbers import Measured, measure, rows, shown_lesions
from analysis.scanner.slice_scanner import derived_seed
from analysis.session import require_out
from ctxai import SHIPPED, WeightSet, flow_name, save_module
from recon import DataError
from recon.storage import write_atomic, write_csv

SHOWN = {
    "rmse_hu": "RMSE [HU]",
    "rmse_anywhere_hu": "anywhere [HU]",
    "recovery, r 1.5 px, +20 HU": "recovery r 1.5 px",
    "recovery, r 3 px, +20 HU": "r 3 px",
    "recovery, r 5 px, +20 HU": "r 5 px",
    "recovery, r 1.5 px, -20 HU": "r 1.5 px, -20 HU",
    "recovery, r 1.5 px, +200 HU": "r 1.5 px, +200 HU",
    "d' CHO, r 1.5 px": "CHO d' r 1.5 px",
    "d' NPW, r 1.5 px": "NPW d' r 1.5 px",
    "sampled lesion-like differences, share hidden": "hidden of samples",
}


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--denoisers", nargs="+", default=["chen", "yang"])
    parser.add_argument("--steps", type=int, default=RepairRecipe.steps, help="of each finetuning")
    parser.add_argument(
        "--slices", type=int, default=24, help="phantoms to learn from, and held out"
    )
    parser.add_argument("--draws", type=int, default=9, help="scans of each for the observers")
    parser.add_argument("--weights", type=Path, help="folder of a set; the one that ships")
    parser.add_argument("--seeds", type=int, default=3, help="finetunings of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(words)


def study(wanted: argparse.Namespace) -> None:
    """Finetune, measure, write."""
    weights = SHIPPED if wanted.weights is None else WeightSet(wanted.weights)
    point = WorkingPoint(**weights.manifest["recipe"]["working_point"])
    loaded = {name: weights.load(name)[0] for name in wanted.denoisers}
    out = require_out(wanted.out)
    lesson = teach(wanted.slices, seed=wanted.seed, point=point)
    held_out = patches_at_sites(
        wanted.slices, 4 * wanted.slices, draws=wanted.draws,
        seed=derived_seed(wanted.seed, "held out"), point=point,
    )  # fmt: skip
    lesions = shown_lesions(held_out, window=point.window)
    table: list[dict] = []
    measured: dict[str, dict[str, list[Measured]]] = {}
    for name, f in loaded.items():
        recipe = replace(RECIPES.get(name, RepairRecipe()), steps=wanted.steps)
        sampler = "flow" if flow_name(name, "output", "x") in weights else None
        model = weights.load_model(name, "output", "x", f=f, sampler=sampler)
        hidden, unseen = (
            sampled_differences(model, x, point=point, seed=derived_seed(wanted.seed, what))
            for what, x in (("hidden", lesson.x), ("held-out samples", held_out.x))
        )
        low, high = float(hidden.score.min()), float(hidden.score.max())
        print(
            f"{name}: {len(hidden.score)} sampled differences, correlation with a lesion "
            f"{low:.2f} to {high:.2f}",
            flush=True,
        )
        seeds = [
            finetuned(
                f, lesson, hidden, recipe=recipe, folder=out / "checkpoints",
                seed=derived_seed(wanted.seed, f"finetuning {k}"), label=f"{name}-{k + 1}",
            )
            for k in range(wanted.seeds)
        ]  # fmt: skip
        networks: dict[str, list[Any]] = {"x": [lambda x: x], "before": [f]}
        networks |= {network: [of_seed[network] for of_seed in seeds] for network in seeds[0]}
        measured[name] = {
            network: [
                measure(
                    g, held_out, lesions, unseen, spacing=point.spacing_mm,
                    seed=derived_seed(wanted.seed, "d'"),
                )
                for g in each
            ]
            for network, each in networks.items()
        }  # fmt: skip
        table += rows(name, measured[name], held_out.slice_of)
        facts = {**point.facts, "repair": {**asdict(recipe), "seed": wanted.seed}}
        of = weights.manifest["sha256"][name]
        for k, of_seed in enumerate(seeds, 1):
            for network, g in of_seed.items():
                path = out / f"{name}-{network.replace(' ', '-')}-{k}.safetensors"
                save_module(path, g, **facts, of=of, network=network, finetuning=k)
        write_csv(out / "repair.csv", table)
        for form in FORMS:
            picture = repair_figure(measured, held_out.slice_of, form=form)
            write_atomic(out / f"repair.{form}", picture)
    show(table)


def show(table: list[dict]) -> None:
    """The main columns as a table in Markdown."""
    lines = dict.fromkeys((row["denoiser"], row["network"]) for row in table)
    print("| denoiser | network | " + " | ".join(SHOWN.values()) + " |")
    print("|" + "---|" * (2 + len(SHOWN)))
    for key in lines:
        of = {r["quantity"]: r for r in table if (r["denoiser"], r["network"]) == key}
        print("| " + " | ".join([*key, *(cell(of[quantity]) for quantity in SHOWN)]) + " |")


def cell(row: dict) -> str:
    """Value, how sure, and the changes against the control and the network before, if any."""
    value = f"{float(row['value']):.3g}"
    if row["quantity"].startswith("rmse"):
        value = f"{float(row['value']):.2f}"
    if row["low"]:
        return f"{value} ({float(row['low']):.2f} to {float(row['high']):.2f})"
    if not row["against_control"] or row["network"] in ("x", "before"):
        return value
    changes = [
        f"{float(row[f'against_{other}']):+.1f} ± {float(row[f'against_{other}_error']):.1f} %"
        for other in ("control", "before")
    ]
    return f"{value} ({'; '.join(changes)})"


def main(words: Sequence[str] | None = None) -> int:
    """Run the study; 0, or 2 if it is given something it cannot use."""
    try:
        study(arguments(words))
    except DataError as error:
        print(f"repair_study: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
