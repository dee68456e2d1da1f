#!/usr/bin/env python3
# mypy: disable-error-code="call-arg, var-annotated"
"""Time R, Rᵀ and R⁻¹ against other projectors: the same job, in one process, on the CPU.

    python scripts/benchmark.py            three tables, in one to four minutes
    python scripts/benchmark.py --json     the same for machines

The job: 512² pixels over 400 mm, 736 columns × 1.2858 mm, 1152 views over 360°, 595/1085.6 mm. Ours
is the arc; ASTRA has no curved detector on the CPU and does the flat one, with one thread. Each
repeat runs everything once, so that a ratio compares moments next to each other. A floor is what
as many interpolations as a job has take from the first-level cache, with all threads: one for each
sample of a ray, and for each pixel and view of half a turn in the FBP. LEAP, itk-rtk and diffct are
timed next to our flat detector where they can be imported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numba as nb
import numpy as np
import torch
from benchmark_peers import compare, importable, seconds, spread
from llvmlite import binding

from recon import FanBeam, ImageGrid, operator
from recon.backends.rays import trace
from recon.engine.simd import lanes, lerp_add, load, store, zero
from recon.phantom import Ellipse, EllipsePhantom, inserts_phantom

VIEWS, SIZE, STACK, MU = 1152, 512, 16, 0.02
GRID = ImageGrid(shape=(SIZE, SIZE), spacing=(400 / SIZE, 400 / SIZE))


def scanner(detector: str) -> FanBeam:
    """The job's scanner."""
    return FanBeam(
        angles=np.arange(VIEWS) * (2 * np.pi / VIEWS), n_cols=736, col_pitch=1.2858,
        src_iso=595.0, src_det=1085.6, detector=detector,
    )  # fmt: skip


class Astra:
    """ASTRA's single-threaded line projector of a flat fan."""

    def __init__(self) -> None:
        import astra

        beams = astra.create_proj_geom(
            "fanflat", 1.2858, 736, np.asarray(scanner("flat").angles) + np.pi, 595.0, 490.6
        )
        volume = astra.create_vol_geom(SIZE, SIZE, -200.0, 200.0, -200.0, 200.0)
        self._do = astra.projector
        self._made = astra.create_projector("line_fanflat", beams, volume)
        self._rays = np.zeros((VIEWS, 736), np.float32)
        self._image = np.zeros((SIZE, SIZE), np.float32)

    def forward(self, image: np.ndarray) -> np.ndarray:
        """Line integrals; its columns run the other way."""
        self._do.direct_FP(self._made, image, out=self._rays)
        return self._rays[:, ::-1]

    def adjoint(self) -> np.ndarray:
        """Backprojection of the last line integrals."""
        self._do.direct_BP(self._made, self._rays, out=self._image)
        return self._image


@nb.njit(parallel=True)
def _interpolate(tag, count, threads, out):  # type: ignore[no-untyped-def]
    width = len(tag)
    for thread in nb.prange(threads):
        line = np.ones(128 * width, np.float32)  # 8 kB
        total, other = zero(tag), zero(tag)
        for _ in range(count // 64):
            for i in range(0, 64, 2):
                p, q = i * width, (i + 1) * width
                total = lerp_add(total, load(tag, line, p), load(tag, line, q), np.float32(0.3))
                other = lerp_add(
                    other, load(tag, line, q), load(tag, line, q + width), np.float32(0.6)
                )
        store(out, 2 * thread * width, total)
        store(out, (2 * thread + 1) * width, other)


def floors() -> dict[str, float]:
    """Seconds per slice of the interpolations alone, 16 slices at a time."""
    table = trace(scanner("arc"), GRID)
    samples = {
        "forward projection": int((table.end - table.first).sum()),
        "FBP": SIZE**2 * VIEWS // 2,  # of a full turn each ray comes twice
    }
    threads = torch.get_num_threads()
    nb.set_num_threads(threads)
    out = np.zeros(2 * threads * STACK, np.float32)
    _interpolate(lanes(STACK), 64, threads, out)
    return {
        job: statistics.median(
            seconds(partial(_interpolate, lanes(STACK), count // threads, threads, out))
            for _ in range(5)
        )
        / STACK
        for job, count in samples.items()
    }


def body() -> EllipsePhantom:
    """The ellipse body of the published figures, shifted by (7.3, -4.1) mm with y upward."""
    return inserts_phantom(MU).shifted(7.3, 4.1)


def say(what: str) -> None:
    """Tell on standard error what is measured next, and how busy the machine is."""
    print(f"{what} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)


def time_all(repeats: int, image: np.ndarray) -> list[dict[str, Any]]:
    """Seconds per slice and ratios to ASTRA of each job; the median and the range of repeats."""
    A = operator(scanner("arc"), GRID)
    one = torch.from_numpy(image)
    stack = one.expand(STACK, -1, -1).contiguous()
    rays = A(stack)
    ours: dict[str, tuple[int, str, Callable[[], Any]]] = {
        "forward, 16 slices": (STACK, "forward", lambda: A(stack)),
        "adjoint, 16 slices": (STACK, "adjoint", lambda: A.T(rays)),
        "FBP, 16 slices": (STACK, "forward", lambda: A.fbp(rays)),
        "forward, 1 slice": (1, "forward", lambda: A(one)),
        "adjoint, 1 slice": (1, "adjoint", lambda: A.T(rays[0])),
        "FBP, 1 slice": (1, "forward", lambda: A.fbp(rays[0])),
    }
    for _, _, job in ours.values():
        job()
    astra = Astra() if importable("astra") else None
    taken: dict[str, list[float]] = {name: [] for name in ours}
    against: dict[str, list[float]] = {name: [] for name in ours}
    theirs: dict[str, list[float]] = {"forward": [], "adjoint": []}
    for repeat in range(repeats):
        say(f"ours and ASTRA, {repeat + 1} of {repeats}")
        if astra is not None:
            theirs["forward"].append(seconds(lambda: astra.forward(image)))
            theirs["adjoint"].append(seconds(astra.adjoint))
        for name, (slices, other, job) in ours.items():
            taken[name].append(seconds(job) / slices)
            if astra is not None:
                against[name].append(theirs[other][-1] / taken[name][-1])
    rows = [
        {"job": f"ASTRA {name}, 1 slice", "seconds": spread(values), "ratio": None}
        for name, values in theirs.items()
        if values
    ]
    for name in ours:
        ratio = spread(against[name]) if against[name] else None
        rows.append({"job": name, "seconds": spread(taken[name]), "ratio": ratio})
    return rows


def accuracy(image: np.ndarray) -> dict[str, float]:
    """Errors against exact integrals of the body, and of the adjoint with signed data."""
    phantom, result = body(), {}
    relative = lambda a, b: float(np.linalg.norm(a - b) / np.linalg.norm(b))
    exact = {kind: phantom.line_integrals(scanner(kind), subrays=5) for kind in ("arc", "flat")}
    for kind, rays in exact.items():
        made = operator(scanner(kind), GRID)(torch.from_numpy(image)).double().numpy()
        result[f"forward, {kind}: relative L2"] = relative(made, rays)
    if importable("astra"):
        made = Astra().forward(image).astype(np.float64)
        result["forward, flat, ASTRA: relative L2"] = relative(made, exact["flat"])
    A = operator(scanner("arc"), GRID)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(SIZE, SIZE, generator=generator)
    p = torch.randn(VIEWS, 736, generator=generator)
    forward, back = A(x).double(), A.T(p).double()
    gap = float((forward * p).sum() - (x * back).sum())
    result["adjoint, signed data"] = abs(gap) / float(forward.norm() * p.norm())
    hu = (A.fbp(torch.from_numpy(exact["arc"].astype(np.float32))).double().numpy() / MU - 1) * 1000
    away = lambda x, y, a, b=None: np.hypot(
        (GRID.x[None] - x) / a, (GRID.y[:, None] - y) / (b or a)
    )
    even = away(7.3, 4.1, 150, 110) < 1
    for ellipse in phantom.ellipses[1:]:
        even &= away(*ellipse.centre, max(ellipse.axes) + 8) > 1
    result["FBP: water [HU]"] = float(hu[even].mean())
    result["FBP: water, sd [HU]"] = float(hu[even].std())
    for ellipse, name in zip(phantom.ellipses[1:3], ("+100", "-100")):
        inside = away(*ellipse.centre, 0.7 * ellipse.axes[0]) < 1
        result[f"FBP: insert of {name} HU [HU]"] = float(hu[inside].mean())
    truth = (image.astype(np.float64) / MU - 1) * 1000
    inside = away(7.3, 4.1, 0.95 * 160, 0.95 * 120) < 1
    result["FBP: RMSE inside the body [HU]"] = float(np.sqrt(np.mean((hu - truth)[inside] ** 2)))
    result["FBP, Hann: 10 % MTF at 100 mm [lp/cm]"] = tenth_of_mtf(scanner("arc"))
    return result


def tenth_of_mtf(geometry: FanBeam) -> float:
    """Spatial frequency [lp/cm] at which a wire 100 mm off centre is seen with 10 % contrast."""
    pixel, at = 0.15, (60.03, 80.02)
    grid = ImageGrid(shape=(128, 128), spacing=(pixel, pixel), centre=(60.0, 80.0))
    wire = EllipsePhantom([Ellipse(centre=at, axes=(0.05, 0.05), value=1.0)])
    rays = torch.from_numpy(wire.line_integrals(geometry, subrays=101).astype(np.float32))
    spread_out = operator(geometry, grid).fbp(rays, "hann").double().numpy()
    f = np.fft.fftfreq(1024, pixel)
    phase = f[None] * (at[0] - grid.x[0]) + f[:, None] * (at[1] - grid.y[0])
    transfer = (np.fft.fft2(spread_out, (1024, 1024)) * np.exp(2j * np.pi * phase)).real
    ring = (np.hypot(f[:, None], f[None]) / 0.02).astype(int).ravel()
    mtf = np.bincount(ring, transfer.ravel())[:40] / np.bincount(ring)[:40]
    return float(np.interp(-0.1, -mtf / mtf[0], 0.2 * (np.arange(40) + 0.5)))


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    features = binding.get_host_cpu_features()
    best = next(
        (name for name in ("avx512f", "avx2", "neon") if features.get(name)), "none of those"
    )
    return {
        "processor": f"{platform.machine()}, {binding.get_host_cpu_name()}",
        "instruction set": best,
        "threads": torch.get_num_threads(),
        "load before": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "numba": nb.__version__,
    }


def covariance(repeats: int) -> list[float]:
    """Covariance of an FBP's noise on 78² pixels: ours, and column by column, seconds each.

    A column is B σ² Bᵀ of an image that is one pixel; the second time is that of 16 such images,
    times the number of pixels over 16.
    """
    side = 78
    geometry = replace(scanner("arc"), n_cols=256)  # those that see the pixels
    A = operator(geometry, ImageGrid(shape=(side, side), spacing=GRID.spacing))
    variance, pixels = torch.rand(geometry.shape) + 0.5, torch.eye(side**2)[:STACK]
    rays = torch.zeros(STACK, *geometry.shape, requires_grad=True)
    image = A.fbp(rays)
    units = pixels.reshape(STACK, side, side)

    def columns() -> None:
        back = torch.autograd.grad(image, rays, units, retain_graph=True)[0]
        A.fbp(back.mul_(variance))

    jobs = (partial(A.fbp_covariance, variance), columns)
    taken = [[seconds(job) for job in jobs] for _ in range(1 + repeats)][1:]  # the first warms up
    ours, others = (statistics.median(column) for column in zip(*taken))
    return [ours, others * side**2 / STACK]


def tables(report: dict[str, Any]) -> str:
    """The report as two tables in Markdown."""
    lines = [", ".join(f"{name}: {value}" for name, value in report["machine"].items()), ""]
    lines += ["| job | ms per slice | × ASTRA |", "|---|---|---|"]
    for row in report["speed"]:
        middle, least, most = (1000 * value for value in row["seconds"])
        ratio = "" if row["ratio"] is None else "{:.1f} ({:.1f} to {:.1f})".format(*row["ratio"])
        lines.append(f"| {row['job']} | {middle:.1f} ({least:.1f} to {most:.1f}) | {ratio} |")
    for job, value in report["floors"].items():
        lines.append(f"| floor of the {job} | {1000 * value:.1f} | |")
    ours, columns = (1000 * value for value in report["covariance"])
    lines.append(f"| covariance of the noise of 78² pixels, ms | {ours:.0f} | |")
    lines.append(f"| the same, column by column | {columns:.0f} | |")
    if report["peers"]["rows"]:
        lines += [
            "",
            "| others | ms per slice | × ours | from ours, relative L2 |",
            "|---|---|---|---|",
        ]
    for row in report["peers"]["rows"]:
        middle, least, most = (1000 * value for value in row["seconds"])
        times = "{:.1f} ({:.1f} to {:.1f})".format(*row["ours"])
        lines.append(
            f"| {row['job']} | {middle:.0f} ({least:.0f} to {most:.0f}) | {times} "
            f"| {row['gap']:.2g} |"
        )
    lines += ["", "Not measured: " + "; ".join(report["peers"]["missing"]), ""]
    lines += ["| accuracy | |", "|---|---|"]
    lines += [f"| {name} | {value:.5g} |" for name, value in report["accuracy"].items()]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    image, repeats = body().raster(GRID, supersample=8), max(asked.repeats, 1)
    report: dict[str, Any] = {"machine": machine(), "speed": time_all(repeats, image)}
    say("the floors")
    report["floors"] = floors()
    say("covariance")
    report["covariance"] = covariance(repeats)
    report["peers"] = compare(image, scanner("arc"), GRID, min(repeats, 2), say)
    say("accuracy")
    report["accuracy"] = accuracy(image)
    report["machine"]["load after"] = round(os.getloadavg()[0], 2)
    print(json.dumps(report, indent=2) if asked.json else tables(report))


if __name__ == "__main__":
    main()
