#!/usr/bin/env python3
"""Who lost a lesion, by a reader; what could hide at a dose; and which samples alter anatomy.

On phantoms that no network was trained on, at even soft tissue: d'² of lesions of several radii
and contrasts, inserted in the projections, from the rays at full dose to the output of each
denoiser, for the ideal observer and for a reader with channels and noise of his own, with τ swept;
the largest change of the output, and the largest hidden lesion, that no observer of the rays tells
(d' ≤ 1); and where sampled invariances lie among directions of meaning.

    python scripts/who_lost_it.py --out OUT
    python scripts/who_lost_it.py --out OUT --slices 1 --parts chain

Writes OUT/chain.csv, OUT/worst.csv and OUT/meaning.csv, and prints them. A slice takes some two
minutes on one core, of which the noise of the patch takes one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from analysis.data.phantom_pairs import WorkingPoint, scan
from analysis.invariances.study import invariance_study
from analysis.lesions.lesion import Lesion
from analysis.lesions.sites import lesion_sites
from analysis.projection_domain.chain import READER_TOLERANCES, Chain, over_slices, who_lost_it
from analysis.projection_domain.consistent import ConsistentSet
from analysis.projection_domain.worst import largest_change, largest_hidden_lesion
from analysis.scanner.slice_scanner import SliceScanner, derived_seed
from analysis.scanner.slices import place_patch
from analysis.scanner.surroundings import measure_surroundings
from analysis.session import require_out
from analysis.target_domain.semantic import semantic_map
from ctxai import SHIPPED, InPlace
from recon import DataError
from recon.phantom import random_slice
from recon.storage import write_csv

PARTS = ("chain", "worst", "meaning")
ANATOMIES = ("thorax", "abdomen", "head")

Denoiser = Callable[[Tensor], Tensor]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--denoisers", nargs="+", default=["chen", "yang"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--slices", type=int, default=3)
    parser.add_argument("--anatomies", nargs="+", choices=ANATOMIES, default=["abdomen"])
    parser.add_argument("--radii", nargs="+", type=float, default=[1.5, 3.0, 6.0], help="[mm]")
    parser.add_argument("--contrasts", nargs="+", type=float, default=[20.0, 60.0], help="[HU]")
    parser.add_argument("--mas", type=float, default=10.0)
    parser.add_argument("--full-mas", type=float, default=200.0)
    parser.add_argument("--tolerances", nargs="+", type=float, default=READER_TOLERANCES)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--patch", type=int, default=40, help="side [pixels], a multiple of 8")
    parser.add_argument("-n", type=int, default=32, help="sampled invariances of each slice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> int:
    """Run the study; 2 if the input is bad."""
    wanted = arguments()
    try:
        out = require_out(wanted.out)
        measured = {part: MEASURES[part](wanted) for part in wanted.parts}
    except DataError as error:
        print(f"who_lost_it.py: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    for part, rows in measured.items():
        write_csv(out / f"{part}.csv", rows)
        print(table(rows))
    return 0


def scenes(wanted: argparse.Namespace) -> Iterator[tuple[str, Denoiser, SliceScanner]]:
    """Each denoiser with each slice in the scanner, at an even site; slice by slice."""
    point = WorkingPoint(**SHIPPED.manifest["recipe"]["working_point"])
    for k in tqdm(range(wanted.slices), desc="slices", leave=False):
        anatomy, seed = wanted.anatomies[k % len(wanted.anatomies)], wanted.seed
        drawn = random_slice(anatomy, seed=derived_seed(seed, f"held out {k}"), grid=point.grid)
        hu = scan(drawn[None], None, seed=seed, point=point, progress=False)[0]
        side, step = wanted.patch, point.spacing_mm
        site = lesion_sites(
            torch.from_numpy(hu)[None], 1, side=side + 24, spacing=step,
            seed=derived_seed(seed, f"site {k}"),
        )[0]  # fmt: skip
        place = place_patch(
            hu, (step, step), shape=(side, side), to_spacing=(step, step),
            roi=(int(site[1]), int(site[2])),
        )  # fmt: skip
        for name in wanted.denoisers:
            f = SHIPPED.load(name)[0]
            around = measure_surroundings(f, hu, (step, step), place.grid)
            yield (
                name,
                f,
                SliceScanner(
                    hu, (step, step), kvp=point.kvp, slice_thickness=point.slice_thickness_mm,
                    patch_grid=place.grid, context_grid=around.grid, seed=seed, image=k,
                ),
            )  # fmt: skip


def lesions_of(wanted: argparse.Namespace, scanner: SliceScanner) -> list[Lesion]:
    """All radii and contrasts in the middle of the patch."""
    return [
        Lesion(contrast=contrast, radius=radius, place=scanner.patch_grid.centre)
        for radius in wanted.radii
        for contrast in wanted.contrasts
    ]


def measure_chain(wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Losses by denoiser, observer, lesion and τ, with the intervals that slices allow."""
    found: dict[tuple[str, str, float, float], list[Chain]] = {}
    for name, f, scanner in scenes(wanted):
        for chain in who_lost_it(
            f, scanner, lesions_of(wanted, scanner), mas=wanted.mas, full_mas=wanted.full_mas,
            tolerances=wanted.tolerances, draws=wanted.draws, points=wanted.points,
            seed=wanted.seed,
        ):  # fmt: skip
            key = name, chain.observer, chain.lesion.radius, chain.lesion.contrast
            found.setdefault(key, []).append(chain)
    rows = []
    for (name, observer, radius, contrast), chains in found.items():
        chain = over_slices(chains) if len(chains) > 1 else chains[0]
        for k, tolerance in enumerate(chain.tolerances):
            loss = chain.losses[k]
            rows.append({
                "denoiser": name, "observer": observer, "radius [mm]": radius,
                "contrast [HU]": contrast, "τ [HU]": tolerance, "slices": len(chains),
                "d' full dose": chain.full**0.5, "d' rays": chain.rays**0.5,
                "d' image": chain.image[k] ** 0.5,
                "d' output": max(0.0, chain.output[k].value) ** 0.5,
                "dose took": loss.dose.value, "dose is arithmetic": loss.dose_is_arithmetic,
                **interval("FBP lost of what reached it", loss.of_reconstruction),
                **interval("network lost of what reached it", loss.of_network),
                "lost more": loss.loser or "undecided",
            })  # fmt: skip
    return rows


def interval(name: str, found: Any) -> dict[str, float]:
    """An estimate with its ends, as columns."""
    return {name: found.value, f"{name}, low": found.low, f"{name}, high": found.high}


def measure_worst(wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """The largest change of each output, and the largest hidden lesions, slice by slice."""
    rows = []
    for name, f, scanner in scenes(wanted):
        x = scanner.low_dose(wanted.mas, seed=wanted.seed)[0]
        placed, consistent = InPlace(f, scanner.place, x), ConsistentSet.of(scanner, wanted.mas)
        worst = largest_change(placed, x, consistent, seed=wanted.seed)
        common = {
            "denoiser": name, "slice": scanner.image, "largest change, rms [HU]": worst.change,
            "peak [HU]": worst.peak, "linear [HU]": worst.linear, "rounds": worst.rounds,
        }  # fmt: skip
        for lesion in lesions_of(wanted, scanner)[:: len(wanted.contrasts)]:
            hidden = largest_hidden_lesion(placed, x, consistent, lesion)
            rows.append({
                **common, "radius [mm]": lesion.radius,
                "disc alone, d' = 1 [HU]": hidden.alone,
                "hidden from the rays [HU]": hidden.from_rays,
                "and from the output [HU]": hidden.contrast,
                "change of the output [HU]": hidden.change, "τ [HU]": hidden.tolerance_hu,
                "d' in the rays": hidden.rays,
            })  # fmt: skip
    return rows


def measure_meaning(wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Directions, their visible part, and how many samples lie off along them or alter anatomy."""
    rows = []
    for name, f, scanner in scenes(wanted):
        shape = (wanted.patch, wanted.patch)
        model = SHIPPED.load_model(name, "output", "x", f=f, sampler="flow", shape=shape)
        study = invariance_study(
            {"output": model}, scanner, denoiser=name, mas=wanted.mas, n=wanted.n,
            tolerance_hu=3.0, seed=wanted.seed, progress=False,
        )  # fmt: skip
        lesion = Lesion(contrast=40.0, radius=3.0, place=scanner.patch_grid.centre)
        for found in study.layers[0].sets:
            placed = semantic_map(
                f, scanner, found.images, lesion, mas=wanted.mas, seed=wanted.seed
            )
            first = placed.alterations[0]
            for seen in placed.directions:
                rows.append({
                    "denoiser": name, "slice": scanner.image, "samples": len(found.images),
                    "projected": found.projected, "direction": seen.direction.name,
                    "invisible share": seen.invisible_share, "gain": seen.gain,
                    "samples off": placed.unusual(seen.direction.name),
                    "alter anatomy": len(placed.altering), "hidden": len(placed.hidden),
                    "first: d'": first.d, "first: contrast [HU]": first.lesion.contrast,
                    "first: radius [mm]": first.lesion.radius, "first: p": first.p,
                    "first: shown": first.shown,
                })  # fmt: skip
    return rows


MEASURES = {"chain": measure_chain, "worst": measure_worst, "meaning": measure_meaning}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = [f"{v:.3g}" if isinstance(v, float | np.floating) else str(v) for v in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
