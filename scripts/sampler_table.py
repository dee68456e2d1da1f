#!/usr/bin/env python3
"""Compare the samplers on held-out phantoms: do samples keep the output, and do they vary enough?

    python scripts/sampler_table.py                                      some minutes
    python scripts/sampler_table.py --denoiser chen -n 250 --images 2 --domain x

Each image is a patch of a random slice that no network was trained on, x at 10 mAs. The reference
is the true anatomy with its noise drawn again, what no sampler can know; projected it says how much
images can vary at all while they keep the output. Numbers are means over the images:

    ‖f(x̄) - f(x)‖   median over the samples [HU]
    sd               of x̄, rms over pixels [HU]; "at 3 HU" is read at a realised median of 3 HU
    coverage         share of the pixels of x inside the samples' 5–95 % band

In the target domain each ȳ is scanned and denoised again: the distance of that to f(x) beside that
of the true anatomy, scanned again.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from tqdm import tqdm

from analysis.fidelity import apply, coverage, ideal_coverage, rms, sample_sd
from analysis.fidelity_curve import diversity_curve
from analysis.images import place_patch
from analysis.scanner import SliceScanner, derived_seed
from analysis.training_data import WORKING_POINT as POINT
from analysis.training_data import scan
from ctxai.sampling import draw
from ctxai.weights import SAMPLERS, SHIPPED, sampler_name
from recon.phantom.anatomy import random_slice

TOLERANCE = 3.0  # HU
AROUND = (TOLERANCE, 5.0)  # tolerances whose realised medians lie on both sides of 3 HU


def held_out(seed: int, number: int) -> SliceScanner:
    """Put a random slice into the scanner, with its patch at the body's centre."""
    anatomy = ("abdomen", "thorax")[number % 2]
    truth = random_slice(anatomy, seed=derived_seed(seed, f"table {number}"), grid=POINT.grid)
    y = scan(truth[None], POINT.high_mas, seed=derived_seed(seed, f"dose {number}"), point=POINT)[0]
    patch = place_patch(
        y, POINT.grid.spacing, shape=(POINT.patch,) * 2, to_spacing=POINT.grid.spacing
    )
    return SliceScanner(
        y, POINT.grid.spacing, kvp=POINT.kvp, slice_thickness=POINT.slice_thickness_mm,
        patch_grid=patch.grid, seed=derived_seed(seed, "scan"), image=number,
    )  # fmt: skip


def figures(images: torch.Tensor, f, x: torch.Tensor) -> list[float]:
    """Consistency, sd and coverage of a set of samples (n, H, W)."""
    distance = rms(apply(f, images) - apply(f, x))
    return [float(distance.median()), float(rms(sample_sd(images))), coverage(images, x)]


def low_dose_rows(name: str, scanners, n: int, seed: int) -> dict[str, list[list[float]]]:
    """Numbers of every sampler for one denoiser, one list an image."""
    f, _ = SHIPPED.load(name)
    rows: dict[str, list[list[float]]] = {}
    samplers = [s for s in SAMPLERS if sampler_name(s, name, "output", "x") in SHIPPED]
    models = [SHIPPED.load_model(name, "output", "x", f=f, sampler=s) for s in samplers]
    for scanner in tqdm(scanners, desc=f"{name}, low dose", leave=False):
        x = scanner.low_dose(POINT.mas)[0]
        starts = {"true anatomy, noise redrawn": (scanner.redraw(x, n, seed, mas=POINT.mas), 0.0)}
        for model in models:
            begun = time.perf_counter()
            samples = draw(model, x, n=n, seed=seed).images
            starts[model.sampler] = (samples, time.perf_counter() - begun)
        for what, (images, seconds) in starts.items():
            rows.setdefault(what, []).append([*figures(images, f, x), float("nan"), seconds])
            begun = time.perf_counter()
            curve = diversity_curve(f, x, images, AROUND)
            seconds = (time.perf_counter() - begun) / len(AROUND)
            at = curve.sd_at(TOLERANCE) if curve.consistency[-1] >= TOLERANCE else float("nan")
            z = f(x[None, None])
            moved = _projected(f, x, z, images)
            row = [*figures(moved, f, x), at, seconds]
            rows.setdefault(f"{what}, projected", []).append(row)
    return rows


def _projected(f, x: torch.Tensor, z: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    from ctxai.fibre import project_to_fibre

    anchor = x[None, None]
    return project_to_fibre(f, images[:, None], z, tolerance=TOLERANCE, anchor=anchor).x[:, 0]


def target_rows(name: str, scanners, n: int, seed: int) -> dict[str, list[list[float]]]:
    """The same for ȳ: distance after the scanner, sd, bias and coverage of y."""
    f, _ = SHIPPED.load(name)
    rows: dict[str, list[list[float]]] = {}
    samplers = [s for s in SAMPLERS if sampler_name(s, name, "output", "y") in SHIPPED]
    models = [SHIPPED.load_model(name, "output", "y", f=f, sampler=s) for s in samplers]
    for scanner in tqdm(scanners, desc=f"{name}, target domain", leave=False):
        x = scanner.low_dose(POINT.mas)[0]
        fx = apply(f, x)
        again = scanner.low_dose(POINT.mas, draws=n, seed=derived_seed(seed, "again"))
        distance = float(rms(apply(f, again) - fx).median())
        rows.setdefault("true anatomy, scanned again", []).append([distance, *[float("nan")] * 3])
        for model in models:
            ybar = draw(model, x, n=n, seed=seed).images
            scans = scanner.rescan(ybar, POINT.mas, seed=derived_seed(seed, "rescan"))[:, 0]
            rows.setdefault(model.sampler, []).append(
                [
                    float(rms(apply(f, scans) - fx).median()),
                    float(rms(sample_sd(ybar))),
                    float(rms(ybar.mean(0) - scanner.y)),
                    coverage(ybar, scanner.y),
                ]
            )
    return rows


def show(name: str, heads: list[str], formats: list[str], rows: dict, note: str) -> None:
    """A table in Markdown: one row a sampler, means over the images."""
    print(f"\n| {name} | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for what, numbers in rows.items():
        means = np.mean(numbers, axis=0)  # without a number where an image has none
        cells = ["" if np.isnan(m) else form % m for m, form in zip(means, formats)]
        print(f"| {what} | {' | '.join(cells)} |")
    print(f"\n{note}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=24, help="samples of each image")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--denoiser", nargs="+", default=["chen", "yang"])
    parser.add_argument("--domain", nargs="+", default=["x", "y"])
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    scanners = [
        held_out(options.seed, number)
        for number in tqdm(range(options.images), desc="phantoms", leave=False)
    ]
    n, ideal = options.n, ideal_coverage(options.n)
    about = f"{options.images} images, {n} samples each; ideal coverage {ideal:.3f}"
    with torch.no_grad():
        for name in options.denoiser:
            if "x" in options.domain:
                heads = ["‖f(x̄) - f(x)‖ HU", "sd HU", "coverage", "sd at 3 HU", "seconds"]
                rows = low_dose_rows(name, scanners, n, options.seed)
                show(name, heads, ["%.1f", "%.1f", "%.3f", "%.1f", "%.1f"], rows, about)
            if "y" in options.domain:
                heads = ["‖x' - f(x)‖ HU", "sd of ȳ HU", "‖mean ȳ - y‖ HU", "coverage of y"]
                rows = target_rows(name, scanners, n, options.seed)
                show(name, heads, ["%.1f", "%.1f", "%.1f", "%.3f"], rows, about)


if __name__ == "__main__":
    main()
