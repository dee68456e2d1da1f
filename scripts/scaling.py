#!/usr/bin/env python3
"""Measure how time and memory of the commands grow with what they are given.

    python scripts/scaling.py              all, ten minutes on two cores
    python scripts/scaling.py n views      some

Each job is run at once, twice, four and eight times its size, as a process of its own. Printed are
processor seconds and the largest resident memory, and the exponent e of a + b·k^e: from the
differences, (t8 - t4)/(t4 - t2) = 2^e, in which what does not grow (imports, compiled kernels, the
report's frame) cancels. An exponent near 1 is linear, one near 0 constant.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recon import ImageGrid, phantom, write_series

TIMES = (1, 2, 4, 8)
GRID = ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))

Words = list[str]


def ctxai(words: Words) -> tuple[float, float]:
    """Processor seconds and the largest memory [GB] of one command."""
    settings = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    command = [sys.executable, "-m", "analysis.main", *words]
    run = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE)  # fmt: skip
    said = run.stderr.read() if run.stderr else b""
    _, status, used = os.wait4(run.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(words)}: {said.decode()}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def series(folder: Path, slices: int) -> str:
    """A DICOM series of a phantom, of so many slices; its path."""
    hu = np.stack([phantom.random_slice("abdomen", seed=1, grid=GRID)] * slices).astype(np.float32)
    write_series(
        folder / f"series-{slices}", hu, spacing=GRID.spacing, slice_thickness=1.5, kvp=120.0,
        mas=200.0, positions=[(-199.5, -199.5, 1.5 * k) for k in range(slices)],
        series_description="phantom", uid_seed=slices,
    )  # fmt: skip
    return str(folder / f"series-{slices}")


def target(folder: Path, **changed: int) -> Words:
    """A target-domain study: ȳ, draws of the noise, side of the patch."""
    asked = {"n": 32, "draws": 2, "patch": 64} | changed
    return [
        "target-domain", "--images", series(folder, 1), "--denoiser", "chen", "--mas", "10",
        "-n", str(asked["n"]), "--draws", str(asked["draws"]), "--patch", str(asked["patch"]),
    ]  # fmt: skip


def scan(folder: Path, turns: int) -> Words:
    """The reconstruction of a helical scan of so many turns."""
    path = folder / f"scan-{turns}"
    if not path.exists():
        ctxai(["phantom", "--length", str(38.4 * (1 + turns)), "--out", str(path)])
    return ["recon", str(path), "--matrix", "256", "--slice-thickness", "1.5"]


def cells(folder: Path, count: int) -> Words:
    """A cohort of so many exposures of one slice."""
    manifest = folder / f"cells-{count}.toml"
    mas = ", ".join(str(10 + k) for k in range(count))
    manifest.write_text(
        f'study = "simulate"\nmas = [{mas}]\n[[row]]\npatient = "P"\nimages = "{series(folder, 1)}"'
    )
    return ["study", str(manifest), "--jobs", "1"]


JOBS: dict[str, tuple[str, Callable[[Path, int], Words]]] = {
    "n": ("target-domain, 64 ȳ, 2 draws", lambda at, k: target(at, n=64 * k)),
    "draws": ("target-domain, 32 ȳ, 2 draws", lambda at, k: target(at, draws=2 * k)),
    "window": ("target-domain, patch of 32² pixels, by pixels", lambda at, k: target(
        at, n=16, patch=8 * round(4 * math.sqrt(k)))),
    "slices": ("simulate --images, 16 slices of 400²", lambda at, k: [
        "simulate", "--images", series(at, 16 * k), "--mas", "10"]),
    "views": ("recon, 1 turn of a helical scan, slices of 256²", scan),
    "cells": ("study of simulations, 1 cell", cells),
}  # fmt: skip


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], default=[])
    asked = parser.parse_args().jobs or list(JOBS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("| of | × 1, 2, 4, 8: processor s | exponent | GB |\n|---|---|---|---|")
    for name in asked:
        what, job = JOBS[name]
        with tempfile.TemporaryDirectory() as there:
            folder, found = Path(there), []
            for k in TIMES:
                words = job(folder, k)
                found.append(ctxai([*words, "--out", str(folder / f"out-{k}")]))
        seconds, memory = zip(*found, strict=True)
        grown = (seconds[3] - seconds[2]) / max(seconds[2] - seconds[1], 1e-9)
        exponent = f"{math.log2(grown):.2f}" if grown > 0 else "–"
        print(
            f"| {name} ({what}) | {', '.join(f'{s:.1f}' for s in seconds)} | {exponent} |"
            f" {', '.join(f'{gb:.2f}' for gb in memory)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
