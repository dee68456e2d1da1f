#!/usr/bin/env python3
# mypy: disable-error-code="call-arg, var-annotated"
"""Time the whole way from the files of a scan to a DICOM series at a lower dose, stage by stage.

    python scripts/benchmark_scan.py                   30 rotations, 300 slices of 512²
    python scripts/benchmark_scan.py --rotations 6     a fifth of it
    python scripts/benchmark_scan.py --json            the same for machines

The job: a Flash scan (736 × 64, z-flying focal spot, pitch 1, 1152 views a turn) of a water
cylinder is written to files first, which is not timed. Then it is read, brought to a quarter of its
dose, rebinned, filtered and backprojected to slices that span the whole scan, and written as a
DICOM series. Files that were just written lie in the memory of the system: a disk may be slower.
They are read while the views before them are used: "read" is what is waited for, its work on the
cores counts where they do other things meanwhile.
Where LEAP can be imported, its cone backprojection is timed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numba as nb
import numpy as np
from benchmark_peers import cone_updates

import recon
from recon import (
    HelicalScan,
    LazyViews,
    at_dose,
    covered,
    flash_helical,
    reconstruct,
    simulate_scan,
)
from recon.engine.simd import add, load, store
from recon.helical import slabs
from recon.helical.lookup import LANES, Rise, blend, edge, falls, table, table_tag
from recon.phantom import Ellipsoid, EllipsoidPhantom

MU = 0.0192
GRID = recon.ImageGrid(shape=(512, 512), spacing=(500 / 512, 500 / 512))


class Cylinder(LazyViews):
    """Line integrals of a cylinder about the axis: all views of a focal spot are the same."""

    range = (0.0, 7.0)

    def __init__(self, geometry: HelicalScan) -> None:
        water = Ellipsoid(centre=(0, 0, 0), axes=(150, 150, np.inf), value=MU)
        self._shape = geometry.shape
        self._views = EllipsoidPhantom([water]).line_integrals(geometry[:2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        return self._shape

    def make(self, start: int, stop: int) -> np.ndarray:
        """Views from ``start`` up to ``stop``."""
        return self._views[np.arange(start, stop) % 2]


class Timer:
    """Seconds on the clock, and those of all processor cores together."""

    def __init__(self) -> None:
        self.clock = self.cores = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.clock += time.perf_counter() - self._began[0]
        self.cores += time.process_time() - self._began[1]

    def __sub__(self, other: Timer) -> Timer:
        rest = Timer()
        rest.clock, rest.cores = self.clock - other.clock, self.cores - other.cores
        return rest


class Timed(LazyViews):
    """Views of which is timed how long they are waited for, of those of files read ahead."""

    def __init__(self, views: LazyViews) -> None:
        self.timer, self._views = Timer(), views

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        views, rows, cols = self._views.shape
        return views, rows, cols

    def make(self, start: int, stop: int) -> np.ndarray:
        """Views from ``start`` up to ``stop``."""
        with self.timer:
            return self._views[start:stop]

    def in_turn(self, pieces: Sequence[slice]) -> Iterator[np.ndarray]:
        """Make one piece of the views after the other."""
        views = self._views.in_turn(pieces)
        for _ in pieces:
            with self.timer:
                some = next(views)
            yield some


def timed(owner: Any, name: str) -> Timer:
    """Add up the time that a function takes from now on."""
    timer, function = Timer(), getattr(owner, name)

    def within(*args: Any, **kwargs: Any) -> Any:
        with timer:
            return function(*args, **kwargs)

    setattr(owner, name, within)
    return timer


@nb.njit(error_model="numpy")
def _look_up(tag, registers, rise, rows, sums, count):  # type: ignore[no-untyped-def]
    """What the backprojection does of a ray to 15 adjoining slices, from the nearest cache."""
    running = table(registers, rows, 0)
    length = 16 * len(registers)
    for k in range(count):
        at, b = (k % 8) * length, (k % 16) * 16
        one, other = table(registers, rows, at), table(registers, rows, at + length)
        ray = blend(one, other, np.float32(0.3))
        heights = load(tag, rows, b)
        seen = falls(edge(running, heights, rows[b], rows[b + 1], rise))
        total = falls(edge(ray, heights, rows[b], rows[b + 1], rise))
        store(sums, b, add(load(tag, sums, b), total))
        store(sums, 256 + b, add(load(tag, sums, 256 + b), seen))


def floor(rows: int, rays: float, slices_a_ray: float) -> float:
    """Seconds of a core that the look-ups of all rays take by themselves."""
    registers = table_tag(rows)
    rise = Rise(np.float32(rows - 1), np.float32(2.0), np.float32(-0.5))
    numbers = np.random.default_rng(0).uniform(1, 4, 9 * 16 * len(registers) + 512)
    arrays = numbers.astype(np.float32), np.zeros(512, np.float32)
    count = 2_000_000
    _look_up(LANES, registers, rise, *arrays, 16)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        _look_up(LANES, registers, rise, *arrays, count)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)) / count * rays * np.ceil(slices_a_ray / 15)


def make_files(folder: Path, rotations: float) -> None:
    """Write the scan."""
    geometry = flash_helical(length=rotations * 38.4)
    scan = simulate_scan(
        Cylinder(geometry), geometry, mas=100, kvp=120, mu_water=MU, name="cylinder", seed=None,
        vendor="SIEMENS",
    )  # fmt: skip
    recon.write_scan(scan, folder)


def measure(folder: Path, out: Path, slices: int, device: str = "cpu") -> dict[str, Any]:
    """Run the job on a scan in files and return seconds, rates and memory."""
    whole, opened, reconstructed, written = Timer(), Timer(), Timer(), Timer()
    with whole:
        with opened:
            scan = recon.read_scan(folder)
        files = Timed(cast(LazyViews, scan.line_integrals))
        low = at_dose(scan.changed(line_integrals=files), dose_fraction=0.25, seed=1)
        noisy = Timed(cast(LazyViews, low.line_integrals))
        stream, back = timed(slabs.ParallelStream, "advance"), timed(slabs, "backproject")
        filtered = timed(slabs.ParallelStream, "filtered")
        z = np.linspace(*covered(scan.geometry, GRID), slices)
        thickness = float(z[1] - z[0])
        with reconstructed:
            images = reconstruct(
                low.changed(line_integrals=noisy), grid=GRID, z=z, slice_thickness=thickness,
                progress=True, device=device,
            )  # fmt: skip
        with written:
            recon.write_series(
                out, images, spacing=GRID.spacing, slice_thickness=thickness, positions=z,
                series_description="benchmark", kvp=scan.kvp, mas=low.mas, kernel="hann",
            )  # fmt: skip
    stages = {
        "open": opened,
        "read": files.timer,
        "dose": noisy.timer - files.timer,
        "rebin": stream - noisy.timer,
        "filter": filtered,
        "backproject": back - filtered,
        "rest": reconstructed - stream - back,
        "write DICOM": written,
        "all": whole,
    }
    g = scan.geometry
    inside = np.hypot(GRID.x[None, :], GRID.y[:, None]) <= 250.0
    # each voxel is seen for collimation / feed turns
    updates = float(inside.sum()) * slices * g.views_per_rotation / g.pitch
    rays = float(inside.sum()) * len(scan)
    return {
        "views": len(scan),
        "slices": slices,
        "seconds": {name: timer.clock for name, timer in stages.items()},
        "core seconds": {name: timer.cores for name, timer in stages.items()},
        "voxel updates": updates,
        "voxel updates/s": updates / stages["backproject"].clock,
        "voxel updates/s of a core": updates / stages["backproject"].cores,
        "backproject, over its floor": stages["backproject"].cores
        / floor(g.n_rows, rays, updates / rays),
        "peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "cores": os.cpu_count() or 1,
        "load average": os.getloadavg()[0],
        "water [HU]": float(images[:, 240:272, 240:272].mean()),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rotations", type=float, default=30.0)
    parser.add_argument("--slices", type=int, help="10 a rotation by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    slices = options.slices or round(10 * options.rotations)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        # in a process of its own, whose memory is not counted
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            other.submit(make_files, Path(folder) / "scan", options.rotations).result()
        made = time.perf_counter() - began
        result = {
            "made in, s": made,
            **measure(Path(folder) / "scan", Path(folder) / "out", slices),
        }
    result["LEAP, voxel updates/s of a core"] = cone_updates(64, 736, 1.2858, (595.0, 1085.6))
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['views']} views, {slices} slices of 512², {result['cores']} cores")
    print(f"  {'':<18}{'clock':>8}   {'of all cores':>12}")
    for name, seconds in result["seconds"].items():
        print(f"  {name:<18}{seconds:8.1f} s {result['core seconds'][name]:12.1f} s")
    print(f"  {result['voxel updates/s of a core'] / 1e6:.0f}e6 voxel updates/s of a core")
    print(f"  {result['backproject, over its floor']:.2f} times the look-ups alone")
    if (leap := result["LEAP, voxel updates/s of a core"]) is not None:
        print(f"  {leap / 1e6:.0f}e6 by LEAP, a cone on a circle")
    print(f"  peak memory {result['peak memory, GB']:.2f} GB")
    print(f"  load average {result['load average']:.1f} on {result['cores']} cores")


if __name__ == "__main__":
    main()
