#!/usr/bin/env python3
"""Time the GPU: R, Rᵀ and R⁻¹ of 16 slices, sampled invariances, and the steps of a training.

    python scripts/benchmark_gpu.py

The projector's job is that of scripts/benchmark.py: 512² pixels over 400 mm, 736 columns, 1152
views. Each time is the median of five after a warm-up, with the device synchronised. What the GPU
gives is compared with this package's own CPU projector. The floor of the projector is what its
linear interpolations take from the texture cache at four a clock and multiprocessor.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from benchmark import GRID, SIZE, STACK, VIEWS, body, scanner

from analysis.data.phantom_pairs import WORKING_POINT, phantom_pairs
from analysis.session import on_device
from ctxai import SHIPPED, FlowMatching, FlowTask, PatchPairs, draw, train
from recon import operator
from recon.backends.rays import trace


def seconds(job: Callable[[], Any], repeats: int = 5) -> float:
    """Median time of a job on the GPU, after a warm-up."""
    job()
    taken = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        job()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative L2 distance."""
    found, wanted = found.double().cpu(), wanted.double().cpu()
    return float((found - wanted).norm() / wanted.norm())


def projectors() -> None:
    """R, Rᵀ and R⁻¹ through each CUDA backend, beside the CPU's results."""
    image = torch.from_numpy(body().raster(GRID, supersample=4))
    stack = image.expand(STACK, -1, -1).contiguous()
    for backend, detector in (("astra", "arc"), ("astra", "flat"), ("tomosipo", "flat")):
        try:
            A, ours = (operator(scanner(detector), GRID, backend=b) for b in (backend, "numba"))
            rays, signed = ours(image), torch.randn(VIEWS, 736, generator=seeded(1))
            noise = torch.randn(SIZE, SIZE, generator=seeded(2))
            on, on_rays = stack.cuda(), ours(stack).cuda()
            back = A.T(signed.cuda()).cpu().double()
            forward = A(noise.cuda()).cpu().double()
            gap = float((forward * signed).sum() - (noise * back).sum())
            gap = abs(gap) / float(forward.norm() * signed.norm())
            times = [
                1000 * seconds(partial(job, x)) / STACK
                for job, x in ((A, on), (A.T, on_rays), (A.fbp, on_rays))
            ]
            print(
                f"| {backend}, {detector} | {times[0]:.2f} | {times[1]:.2f} | {times[2]:.2f} "
                f"| {relative(A(image.cuda()), rays):.2g} "
                f"| {relative(A.fbp(rays.cuda()), ours.fbp(rays)):.2g} | {gap:.1g} |",
                flush=True,
            )
        except Exception:
            traceback.print_exc()
    table = trace(scanner("arc"), GRID)
    samples = int((table.end - table.first).sum())
    card = torch.cuda.get_device_properties(0)
    print(f"| floor | {1000 * samples / (card.multi_processor_count * 4 * 1.7e9):.2f} |")


def seeded(seed: int) -> torch.Generator:
    """A stream."""
    return torch.Generator().manual_seed(seed)


def samples() -> None:
    """250 invariances of one patch, before and after the projection onto the fibre."""
    x = phantom_pairs(1, seed=5, anatomies=["abdomen"], progress=False)[0][0, 168:232, 168:232]
    for name in ("chen", "yang"):
        model = SHIPPED.load_model(name, "output", "x")
        on_device({"output": model}, "cuda")
        plain = seconds(partial(draw, model, x.cuda(), n=250, seed=1), 3)
        moved = seconds(partial(draw, model, x.cuda(), n=250, tolerance_hu=3.0, seed=1), 3)
        print(
            f"| {name}: 250 samples | plain {plain:.2f} s | projected {moved:.2f} s |", flush=True
        )


def training() -> None:
    """Steps of flow matching, in mixed precision."""
    x, y = phantom_pairs(4, seed=6, anatomies=["abdomen"], progress=False)
    pairs = PatchPairs(x.cuda(), y.cuda(), patch=WORKING_POINT.patch)
    model = SHIPPED.load_model("chen", "output", "x")
    on_device({"output": model}, "cuda")
    for batch in (16, 128, 256):
        flow = FlowMatching(condition_shape=(1, 64, 64)).to("cuda")  # lays itself channels last
        task = FlowTask(flow, model.wiretap, pairs.batch, batch=batch, steps=60)
        train(task, steps=20, seed=1, progress=False)
        taken = seconds(partial(train, task, steps=60, seed=1, progress=False), 1)
        print(f"| flow matching, batch {batch} | {1000 * taken / 60:.1f} ms a step |", flush=True)


def main() -> None:
    """Measure and print."""
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    print("| backend | R | Rᵀ | FBP [ms a slice] | R from ours | FBP from ours | adjoint |")
    for part in (projectors, samples, training):
        try:
            part()
        except Exception:
            traceback.print_exc()


if __name__ == "__main__":
    main()
