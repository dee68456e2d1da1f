#!/usr/bin/env python3
"""Everything that a GPU is asked for here, once: tests, projectors, studies, a scan, a training.

    python scripts/gpu_check.py --out OUT                        on a GPU, at most 8 minutes
    python scripts/gpu_check.py --out OUT --device cpu --small   the same way, on small jobs

Runs the tests that need a CUDA device; times R, Rᵀ and R⁻¹ of 16 slices through each backend (512²
pixels over 400 mm, 736 columns, 1152 views) beside their floor, what linear interpolations take
from the texture cache at four a clock and multiprocessor; R⁻¹𝒫R of 250 anatomies × 8 draws; 250
samples of a patch, plain and projected; a helical scan from files to slices; and a step of the
training of each network. What the device gives is compared with this package's own CPU kernels.
Times are medians after a warm-up, with the device's queue empty. A part that fails is told and the
others go on.

Writes OUT/gpu.json and OUT/gpu.md. Exit status 1 if a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import benchmark_patch
import benchmark_scan
import numpy as np
import torch
from benchmark import SIZE, STACK, VIEWS, body, scanner
from benchmark_patch import seconds

from analysis.data.phantom_pairs import WORKING_POINT, WorkingPoint, phantom_pairs
from analysis.session import on_device
from analysis.training.stages import REDUCED, Stages
from ctxai import SHIPPED, PatchPairs, draw
from recon import ImageGrid, operator, read_scan, reconstruct
from recon.backends.rays import trace

ROOT = Path(__file__).resolve().parent.parent
CLOCK = 1.7e9  # Hz; of a multiprocessor
PATCH = slice(168, 232)  # of a phantom of 400², in its middle


@dataclass(frozen=True)
class Found:
    """One number: of which part, what, how much, and what it cannot be below."""

    part: str
    what: str
    value: float
    unit: str
    floor: float | None = None


@dataclass(frozen=True)
class Job:
    """Where everything runs, and how large it is."""

    device: str
    small: bool

    def middle(self, work: Callable[[], Any], repeats: int = 5) -> float:
        """Median time of some work after a warm-up [s]."""
        work()
        repeats = 1 if self.small else repeats
        return statistics.median(seconds(work, self.device) for _ in range(repeats))

    def tests(self) -> Iterator[Found]:
        """Those marked "cuda": each is skipped where there is no device."""
        words = ["-q", "-m", "cuda", "-p", "no:cacheprovider", "tests"]
        argv = [sys.executable, "-m", "pytest", *words]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
        last = done.stdout.strip().splitlines()[-1]
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", last)}
        for what in ("passed", "failed", "skipped"):
            yield Found("tests", what, counts.get(what, 0), "1")
        if done.returncode not in (0, 5):
            print(done.stdout[-4000:], file=sys.stderr)
            raise RuntimeError(f"tests marked cuda: {last}")

    def projectors(self) -> Iterator[Found]:
        """R, Rᵀ and R⁻¹ through each backend of the device, beside the CPU's results."""
        size = 64 if self.small else SIZE
        grid = ImageGrid(shape=(size, size), spacing=(400 / size, 400 / size))
        image = torch.from_numpy(body().raster(grid, supersample=4))
        stack = image.expand(STACK, -1, -1).contiguous().to(self.device)
        signed, noise = _normal(VIEWS, 736, seed=1), _normal(size, size, seed=2)
        backends = [("astra", "arc"), ("astra", "flat"), ("tomosipo", "flat")]
        table = trace(scanner("arc"), grid)
        samples, floor = int((table.end - table.first).sum()), None
        if self.device == "cuda":
            clocks = torch.cuda.get_device_properties(0).multi_processor_count * 4 * CLOCK
            floor = 1000 * samples / clocks
        else:
            backends = [("numba", "arc")]
        for backend, detector in backends:
            A, ours = (operator(scanner(detector), grid, backend=b) for b in (backend, "numba"))
            rays = ours(image)
            on_rays = ours(stack.cpu()).to(self.device)
            for what, work, x in (("R", A, stack), ("Rᵀ", A.T, on_rays), ("R⁻¹", A.fbp, on_rays)):
                taken = 1000 * self.middle(partial(work, x)) / STACK
                name = f"{what}, {backend}, {detector}"
                yield Found("projectors", name, taken, "ms a slice", floor)
            forward, back = A(noise.to(self.device)).cpu(), A.T(signed.to(self.device)).cpu()
            gap = float((forward.double() * signed).sum() - (noise.double() * back).sum())
            gap = abs(gap) / float(forward.double().norm() * signed.double().norm())
            for what, value in (
                ("R from ours", _apart(A(image.to(self.device)), rays)),
                ("R⁻¹ from ours", _apart(A.fbp(rays.to(self.device)), ours.fbp(rays))),
                ("⟨Rx, y⟩ - ⟨x, Rᵀy⟩", gap),
            ):
                yield Found("projectors", f"{what}, {backend}, {detector}", value, "relative L2")

    def patch(self) -> Iterator[Found]:
        """R⁻¹𝒫R of exchanged patches, and its parts."""
        n, draws = (8, 2) if self.small else (250, 8)
        for what, taken in benchmark_patch.measure(self.device, n, draws).items():
            unit = "ns" if "ns per" in what else "s"
            name = what.replace("noise, ns per ray", "noise, a ray")
            yield Found("patch", f"{n} ȳ × {draws}: {name}", taken, unit)

    def samples(self) -> Iterator[Found]:
        """Invariances of one patch, before and after the projection onto the fibre."""
        n = 8 if self.small else 250
        x = phantom_pairs(1, seed=5, anatomies=["abdomen"], progress=False)[0][0, PATCH, PATCH]
        x = x.to(self.device)
        for name in ("chen", "yang"):
            for sampler in ("cinn", "flow"):
                model = SHIPPED.load_model(name, "output", "x", sampler=sampler)
                on_device({"output": model}, self.device)
                for what, more in (("plain", None), ("projected to 3 HU", 3.0)):
                    work = partial(draw, model, x, n=n, seed=1, tolerance_hu=more)
                    yield Found(
                        "samples", f"{n} of {name}, {sampler}, {what}", self.middle(work, 3), "s"
                    )

    def helical(self) -> Iterator[Found]:
        """A scan from files to slices, and how far they are from the processor's."""
        rotations, slices = (1.2, 12) if self.small else (6.0, 60)
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "scan"
            benchmark_scan.make_files(files, rotations)
            found = benchmark_scan.measure(files, Path(folder) / "out", slices, device=self.device)
            what = f"{found['views']} views, {slices} slices of 512²"
            for stage, taken in found["seconds"].items():
                yield Found("helical", f"{what}: {stage}", taken, "s")
            yield Found("helical", "voxel updates", found["voxel updates/s"], "1/s")
            scan = read_scan(files)
            middle = float(scan.geometry.z[len(scan) // 2])
            grid = ImageGrid(shape=(64, 64), spacing=(6.0, 6.0))
            one, other = (
                reconstruct(scan, grid=grid, z=[middle], slice_thickness=1.5, device=device)
                for device in (self.device, "cpu")
            )
            off = float(np.abs(one - other).max())
            yield Found("helical", "largest difference from the processor's", off, "HU")

    def training(self) -> Iterator[Found]:
        """A step of the training of each network, as the reduced recipe has them."""
        count, slices = (2, 1) if self.small else (30, 4)
        point = WorkingPoint(spacing_mm=4.0, matrix=100) if self.small else WORKING_POINT
        x, y = phantom_pairs(slices, seed=6, anatomies=["abdomen"], point=point, progress=False)
        pairs = PatchPairs(x.to(self.device), y.to(self.device), patch=point.patch)
        with tempfile.TemporaryDirectory() as folder:
            stages = _TimedStages(Path(folder), REDUCED, point, 1, False, self.device)
            stages.count, stages.taken = count, {}
            f = stages.chen(pairs)
            stages.yang(pairs)
            vae = stages.vae("x", pairs)
            stages.cinn(f, vae, "output", "x", pairs, "cinn")
            stages.flow(f, "output", "x", pairs, "flow")
            for stage, taken in stages.taken.items():
                yield Found("training", f"a step of {stage}", 1000 * taken, "ms")


class _TimedStages(Stages):
    """Stages of a training that are timed over a few steps, and kept by nobody."""

    count: int
    taken: dict[str, float]

    def run(self, stage: str, task: Any, _: int) -> None:
        """The first steps of a stage."""
        generator = torch.Generator().manual_seed(1)
        task.step(0, generator)  # fits scales, warms up
        steps = range(1, 1 + self.count)
        taken = seconds(lambda: [task.step(i, generator) for i in steps], self.device)
        self.taken[stage] = taken / self.count


def _normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative L2 distance."""
    found, wanted = found.double().cpu(), wanted.double().cpu()
    return float((found - wanted).norm() / wanted.norm())


PARTS = ("tests", "projectors", "patch", "samples", "helical", "training")


def table(found: list[Found]) -> str:
    """All numbers as a table."""
    lines = ["| part | what | measured | floor |", "|---|---|---|---|"]
    for one in found:
        floor = "" if one.floor is None else f"{one.floor:.3g}"
        unit = "" if one.unit == "1" else f" {one.unit}"
        lines.append(f"| {one.part} | {one.what} | {one.value:.4g}{unit} | {floor} |")
    return "\n".join(lines) + "\n"


def main(words: list[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="small jobs: whether it runs at all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    asked = parser.parse_args(words)
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu --small tries the script itself")
    asked.out.mkdir(parents=True, exist_ok=True)
    job = Job(asked.device, asked.small)
    found: list[Found] = []
    failed: dict[str, str] = {}
    record: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if asked.device == "cuda" else platform.processor(),
        "torch": torch.__version__, "cuda": torch.version.cuda, "small": asked.small,
        "seconds": {}, "failed": failed,
    }  # fmt: skip
    for part in asked.parts:
        began = time.perf_counter()
        try:
            for number in getattr(job, part)():
                found.append(number)
                print(table([number]).splitlines()[-1], flush=True)
        except Exception as error:  # the other parts are still worth their time
            traceback.print_exc()
            failed[part] = f"{type(error).__name__}: {error}"
        record["seconds"][part] = time.perf_counter() - began
        record["found"] = [asdict(number) for number in found]
        (asked.out / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
        (asked.out / "gpu.md").write_text(table(found))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
