#!/usr/bin/env python3
"""Time R⁻¹𝒫R of an exchanged patch and its parts: 250 ȳ × 8 draws, 128² of 512² pixels.

    python scripts/benchmark_patch.py                  on the CPU, under two minutes
    python scripts/benchmark_patch.py --device cuda    on a GPU

The slice has pixels of 0.78 mm, the rotation 1152 views of 736 columns, the exposure is 10 mAs. The
parts are timed on one chunk after the job and multiplied by how often the job does them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the commands do
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from analysis.scanner.slice_scanner import SliceScanner
from recon import ImageGrid

SPACING, SIZE, PATCH, MAS = 0.78, 512, 128, 10.0


def scanner(device: str) -> SliceScanner:
    """A water cylinder of 300 mm with a patch 50 mm off its axis."""
    place = (np.arange(SIZE) - (SIZE - 1) / 2) * SPACING
    body = np.where(np.hypot(place, place[:, None]) < 150.0, 0.0, -1000.0)
    grid = ImageGrid(shape=(PATCH, PATCH), spacing=(SPACING, SPACING), centre=(40.0, 30.0))
    return SliceScanner(
        body, (SPACING, SPACING), kvp=120.0, slice_thickness=1.5, patch_grid=grid, seed=1,
        device=device,
    )  # fmt: skip


def seconds(job: Callable[[], Any], device: str) -> float:
    """Time of one run, with the device's queue empty before and after."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    job()
    wait()
    return time.perf_counter() - start


def measure(device: str, n: int, draws: int) -> dict[str, float]:
    """Seconds of the whole job and of its parts."""
    scan = scanner(device)
    ybar = scan.y + 30.0 * torch.randn(n, PATCH, PATCH, generator=torch.Generator().manual_seed(1))
    chunk = min(scan.chunk, n)
    part = ybar[:chunk]
    scan.rescan(part, MAS)  # compiles, plans, warms up
    taken = {"whole job": seconds(lambda: scan.rescan(ybar, MAS, draws=draws), device)}
    change = (part.to(device) - scan.y) * (scan.mu_water / 1000.0)
    p = scan.p + scan.patch_operator(change)
    parts: dict[str, tuple[float, Callable[[], Any]]] = {
        "R(ȳ - y)": (n / chunk, lambda: scan.patch_operator(change)),
        "noise": (n * draws / chunk, lambda: scan.draw_noise(p, MAS, seed=1, image=0, draw=0)),
        "R⁻¹": (n * draws / chunk, lambda: scan.patch_operator.fbp(p, window=scan.window)),
    }
    for name, (times, job) in parts.items():
        taken[name] = times * min(seconds(job, device) for _ in range(3))
    taken["noise, ns per ray"] = 1e9 * taken["noise"] / (n * draws * p[0, :, scan.crossing].numel())
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("-n", type=int, default=250, help="number of ȳ")
    parser.add_argument("--draws", type=int, default=8)
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "CPU"
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    print(f"{name}, {threads} threads, load {load:.1f}; {asked.n} ȳ × {asked.draws} draws\n")
    print("| part | s |\n|---|---|")
    for part, taken in measure(asked.device, asked.n, asked.draws).items():
        print(f"| {part} | {taken:.2f} |")


if __name__ == "__main__":
    main()
