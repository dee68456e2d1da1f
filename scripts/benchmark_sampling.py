#!/usr/bin/env python3
"""Time 250 samples of a 64² patch from each sampler at the output, and their projection.

    python scripts/benchmark_sampling.py                  on the CPU, half a minute
    python scripts/benchmark_sampling.py --device cuda    on a GPU

The patch is one of a phantom's scan at 10 mAs, in a slice of 512² pixels of 0.7 mm. The last rows
of each have it in its place: the denoiser is given what it looks at around the patch as well. Best
and median of the repeats, since other work on the machine makes each of them longer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the commands do
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from benchmark_patch import seconds

import recon
from analysis import SliceScanner
from analysis.session import on_device
from ctxai import (
    SAMPLERS,
    SHIPPED,
    InPlace,
    PlacedModel,
    Window,
    draw,
    needed_context,
    sixteen_bits,
)
from recon import ImageGrid

MAS, SIDE, SLICE = 10.0, 64, 512  # exposure [mAs]; pixels of the patch and of the slice
PIXELS = (0.7, 0.7)  # [mm]
SCANS = 16  # that tell a sampler of the noise


def scans_of_a_patch() -> tuple[torch.Tensor, Window]:
    """Scans of a phantom, a part of a slice (1 + SCANS, rows, cols) [HU], and the patch in it."""
    grid, part, patch = (ImageGrid(shape=(n, n), spacing=PIXELS) for n in (SLICE, 2 * SIDE, SIDE))
    y = recon.phantom.random_slice("abdomen", seed=3, grid=grid)
    scanner = SliceScanner(
        y, PIXELS, kvp=120.0, slice_thickness=1.5, patch_grid=patch, context_grid=part, seed=1
    )
    return scanner.low_dose(MAS, draws=1 + SCANS), scanner.place


def in_place(model: Any, images: torch.Tensor, window: Window) -> PlacedModel:
    """A sampler told of the noise, with the patch in as much of the slice as the denoiser needs."""
    part, _ = needed_context(model.wiretap.f, images[0], window)
    inner = Window(window.top - part.top, window.left - part.left, window.shape, part.shape)
    place = InPlace(model.wiretap.f, inner, part.of(images[0]).contiguous())
    return PlacedModel(model, place, torch.ones_like(place.inside))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("-n", type=int, default=250, help="number of samples")
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "CPU"
    images, window = scans_of_a_patch()
    images = images.to(asked.device)
    x = window.of(images[0]).contiguous()
    with sixteen_bits(x):
        half = torch.is_autocast_enabled(x.device.type)
    print(
        f"{name}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; "
        f"{asked.n} samples, {'bfloat16' if half else '32 bits'}\n"
    )
    print("| denoiser | sampler | job | s, best | median |\n|---|---|---|---|---|")
    for denoiser, sampler in product(("chen", "yang"), SAMPLERS):
        loaded = {denoiser: SHIPPED.load_model(denoiser, "output", "x", sampler=sampler)}
        model = on_device(loaded, asked.device)[denoiser].told_of(window.of(images[1:]))
        placed = in_place(model, images, window)
        jobs: dict[str, tuple[int, Callable[[], Any]]] = {
            "sampling": (6, partial(draw, model, x, n=asked.n, seed=1)),
            "sampling and projection to 3 HU": (
                2, partial(draw, model, x, n=asked.n, tolerance_hu=3.0, seed=1),
            ),
            "sampling, in place": (
                6, partial(draw, placed, x, n=asked.n, seed=1),
            ),
            "sampling and projection to 3 HU, in place": (
                2, partial(draw, placed, x, n=asked.n, tolerance_hu=3.0, seed=1),
            ),
        }  # fmt: skip
        for job, (repeats, work) in jobs.items():
            work()  # warms up
            taken = [seconds(work, asked.device) for _ in range(repeats)]
            best, middle = min(taken), statistics.median(taken)
            print(f"| {denoiser} | {model.sampler} | {job} | {best:.2f} | {middle:.2f} |")


if __name__ == "__main__":
    main()
