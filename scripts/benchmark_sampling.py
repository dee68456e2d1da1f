#!/usr/bin/env python3
"""Time 250 samples of a 64² patch from each sampler at the output, and their projection.

    python scripts/benchmark_sampling.py                  on the CPU, half a minute
    python scripts/benchmark_sampling.py --device cuda    on a GPU

The last rows of each have the patch in its place in a slice of 512²: the denoiser is given what it
looks at around the patch as well. Best and median of the repeats, since other work on the machine
makes each of them longer.
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
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from benchmark_patch import seconds

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


def patch() -> torch.Tensor:
    """Blurred noise of 40 HU on soft tissue (64, 64) [HU]."""
    white = torch.randn(1, 1, 66, 66, generator=torch.Generator().manual_seed(1))
    return 40.0 + 120.0 * torch.nn.functional.avg_pool2d(white, 3, 1)[0, 0]


def in_place(model: Any, x: torch.Tensor) -> PlacedModel:
    """The same sampler with the patch in the middle of a slice of 512² pixels."""
    noise = torch.Generator().manual_seed(2)
    image = 40.0 + 30.0 * torch.randn(512, 512, generator=noise).to(x)
    window = Window(224, 224, tuple(x.shape), (512, 512))
    window.of(image)[:] = x
    part, _ = needed_context(model.wiretap.f, image, window)
    inner = Window(224 - part.top, 224 - part.left, window.shape, part.shape)
    place = InPlace(model.wiretap.f, inner, part.of(image).contiguous())
    return PlacedModel(model, place, torch.ones_like(x))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("-n", type=int, default=250, help="number of samples")
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "CPU"
    x = patch().to(asked.device)
    with sixteen_bits(x):
        half = torch.is_autocast_enabled(x.device.type)
    print(
        f"{name}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; "
        f"{asked.n} samples, {'bfloat16' if half else '32 bits'}\n"
    )
    print("| denoiser | sampler | job | s, best | median |\n|---|---|---|---|---|")
    for denoiser, sampler in product(("chen", "yang"), SAMPLERS):
        loaded = {denoiser: SHIPPED.load_model(denoiser, "output", "x", sampler=sampler)}
        model = on_device(loaded, asked.device)[denoiser]
        jobs: dict[str, tuple[int, Callable[[], Any]]] = {
            "sampling": (6, partial(draw, model, x, n=asked.n, seed=1)),
            "sampling and projection to 3 HU": (
                2, partial(draw, model, x, n=asked.n, tolerance_hu=3.0, seed=1),
            ),
            "sampling, in place": (
                6, partial(draw, in_place(model, x), x, n=asked.n, seed=1),
            ),
            "sampling and projection to 3 HU, in place": (
                2, partial(draw, in_place(model, x), x, n=asked.n, tolerance_hu=3.0, seed=1),
            ),
        }  # fmt: skip
        for job, (repeats, work) in jobs.items():
            work()  # warms up
            taken = [seconds(work, asked.device) for _ in range(repeats)]
            best, middle = min(taken), statistics.median(taken)
            print(f"| {denoiser} | {model.sampler} | {job} | {best:.2f} | {middle:.2f} |")


if __name__ == "__main__":
    main()
