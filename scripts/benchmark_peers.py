# mypy: disable-error-code="import-not-found, import-untyped"
"""The benchmark's forward projection by LEAP, itk-rtk and diffct, where they can be imported.

All take the flat detector, use every thread, and get a stack of equal slices where they can project
one. What a peer returns is compared with our line integrals before its time counts.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from recon import FanBeam, ImageGrid, operator

__all__ = ["PEERS", "compare", "cone_updates"]

STACK = 16
ROWS = 4  # of itk-rtk: 0.9 s a slice in a stack of 4, 2.5 s in one of 16; the better for it
AGREEMENT = 0.01  # relative L2; projectors of one image differ by 0.1 % to 0.2 %
EVERY = 16  # diffct takes half a minute for a whole slice: it gets every 16th view


@dataclass(frozen=True, kw_only=True)
class Job:
    """A forward projection: ``run`` is timed, ``read`` gives (views, cols) of the middle slice."""

    slices: int
    run: Callable[[], Any]
    read: Callable[[], np.ndarray]
    every: int = 1


def leap(image: np.ndarray, fan: FanBeam, grid: ImageGrid) -> Job:
    """LEAP: a fan of 16 rows; source at (sin φ, -cos φ), columns along (cos φ, sin φ).

    Its field of view is what all views see, 476 mm across: in a wider one its CPU code refuses
    pixels of this size.
    """
    from leapctype import tomographicModels

    model = tomographicModels()
    model.set_gpu(-1)
    views, cols = fan.shape
    degrees = np.ascontiguousarray(-np.degrees(np.asarray(fan.angles)), np.float32)
    model.set_fanbeam(
        views, STACK, cols, grid.spacing[0], fan.col_pitch, (STACK - 1) / 2, (cols - 1) / 2,
        degrees, fan.src_iso, fan.src_det,
    )  # fmt: skip
    model.set_volume(grid.shape[1], grid.shape[0], STACK, grid.spacing[1], grid.spacing[0])
    stack = np.ascontiguousarray(np.broadcast_to(image, (STACK, *grid.shape)), np.float32)
    rays = np.zeros((views, STACK, cols), np.float32)
    return Job(
        slices=STACK,
        run=lambda: model.project(rays, stack),
        read=lambda: rays[:, STACK // 2],
    )


def cone_updates(rows: int, cols: int, pitch: float, src: tuple[float, float]) -> float | None:
    """Voxel updates a second and core of LEAP's cone backprojection, weighted as its FBP has it.

    A circle of 240 views with flat columns of the pitch [mm], onto the voxels that LEAP takes for
    such a detector; counted are those inside its field of view. None where LEAP is not there.
    """
    if importlib.util.find_spec("leapctype") is None:
        return None
    from leapctype import tomographicModels

    model, views = tomographicModels(), 240
    model.set_gpu(-1)
    degrees = np.ascontiguousarray(np.arange(views) * (360.0 / views), np.float32)
    model.set_conebeam(
        views, rows, cols, pitch * src[0] / src[1], pitch, (rows - 1) / 2, (cols - 1) / 2, degrees,
        *src,
    )  # fmt: skip
    model.set_default_volume()
    rays = np.random.default_rng(1).random((views, rows, cols), np.float32)
    volume = model.allocate_volume()
    began = time.process_time()
    model.weightedBackproject(rays, volume)
    taken = time.process_time() - began
    return float(np.count_nonzero(volume)) * views / taken


def rtk(image: np.ndarray, fan: FanBeam, grid: ImageGrid) -> Job:
    """itk-rtk: Joseph's method in a cone so narrow that its rows stay inside the slices."""
    import itk
    from itk import RTK

    beams = RTK.ThreeDCircularProjectionGeometry.New()
    for beta in np.asarray(fan.angles):
        out, along = (np.sin(beta), 0.0, np.cos(beta)), (np.cos(beta), 0.0, -np.sin(beta))
        source = [-fan.src_iso * value for value in out]
        detector = [(fan.src_det - fan.src_iso) * value for value in out]
        beams.AddProjection(source, detector, along, (0.0, 1.0, 0.0))
    height = 1.0
    stack = np.broadcast_to(image[:, None], (grid.shape[0], ROWS, grid.shape[1]))
    volume = itk.image_from_array(np.ascontiguousarray(stack, np.float32))
    size = np.array([grid.shape[1], ROWS, grid.shape[0]])
    spacing = np.array([grid.spacing[1], height, grid.spacing[0]])
    volume.SetSpacing(spacing.tolist())
    volume.SetOrigin((-(size - 1) / 2 * spacing).tolist())
    views, cols = fan.shape
    empty = itk.image_from_array(np.zeros((views, ROWS, cols), np.float32))
    pitch = np.array([fan.col_pitch, 0.65 * height * fan.src_det / fan.src_iso, 1.0])
    empty.SetSpacing(pitch.tolist())
    empty.SetOrigin([*(-(np.array([cols, ROWS]) - 1) / 2 * pitch[:2]).tolist(), 0.0])
    image_type = itk.Image[itk.F, 3]
    project = RTK.JosephForwardProjectionImageFilter[image_type, image_type].New()
    project.SetInput(0, empty)
    project.SetInput(1, volume)
    project.SetGeometry(beams)
    project.InPlaceOff()  # else a second run finds its input gone

    def run() -> None:
        project.Modified()
        project.Update()

    def read() -> np.ndarray:
        return itk.array_from_image(project.GetOutput())[:, ROWS // 2]

    return Job(slices=ROWS, run=run, read=read)


def diffct(image: np.ndarray, fan: FanBeam, grid: ImageGrid) -> Job:
    """diffct: Siddon's method in torch, one slice, every 16th view."""
    from diffct import Projector

    beta = torch.from_numpy(np.array(fan.angles)[::EVERY])
    out = torch.stack([torch.sin(beta), torch.cos(beta)], -1)
    along = torch.stack([torch.cos(beta), -torch.sin(beta)], -1)
    project = Projector(
        (-fan.src_iso * out, (fan.src_det - fan.src_iso) * out, along),
        beam="fan", volume_shape=grid.shape, detector_shape=fan.n_cols,
        detector_spacing=fan.col_pitch, voxel_spacing=grid.spacing,
    )  # fmt: skip
    rays: list[torch.Tensor] = []

    def run() -> None:
        rays[:] = [project.project(torch.from_numpy(image))]

    return Job(slices=1, run=run, read=lambda: rays[0].numpy(), every=EVERY)


PEERS: dict[str, tuple[str, Callable[[np.ndarray, FanBeam, ImageGrid], Job] | None]] = {
    "LEAP": ("leapctype", leap),
    "itk-rtk": ("itk.Configuration.RTKConfig", rtk),
    "diffct": ("diffct", diffct),
    "tomosipo": ("tomosipo", None),
}
"""Module and driver of each; tomosipo has none, for it projects on CUDA alone."""


def compare(
    image: np.ndarray, fan: FanBeam, grid: ImageGrid, repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Time the peers, each next to our 16 slices; rows of the table, and why others are missing."""
    flat = replace(fan, detector="flat")
    A = operator(flat, grid)
    stack = torch.from_numpy(image).expand(STACK, -1, -1).contiguous()
    truth = A(stack)[0].double().numpy()
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for name, (module, driver) in PEERS.items():
        if driver is None:
            missing.append(f"{name} (projects on CUDA only)")
        elif not importable(module):
            missing.append(f"{name} (not installed)")
        else:
            say(name)
            job = driver(image, flat, grid)
            job.run()
            part = truth[:: job.every]
            gap = float(np.linalg.norm(job.read() - part) / np.linalg.norm(part))
            if gap > AGREEMENT:
                missing.append(f"{name} (its line integrals are {100 * gap:.1f} % from ours)")
                continue
            share = job.slices / job.every
            taken, ratios = [], []
            for _ in range(repeats):
                ours = seconds(lambda: A(stack)) / STACK
                taken.append(seconds(job.run) / share)
                ratios.append(taken[-1] / ours)
            views = len(part)
            part_of = f", from {views} of {len(truth)} views" if job.every > 1 else ""
            slices = f"{job.slices} slice" + "s" * (job.slices > 1)
            rows.append(
                {
                    "job": f"{name} forward, flat, {slices}{part_of}",
                    "seconds": spread(taken),
                    "ours": spread(ratios),
                    "gap": gap,
                }
            )
    return {"rows": rows, "missing": missing}


def importable(module: str) -> bool:
    """Whether a module could be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent
        return False


def seconds(job: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def spread(values: list[float]) -> list[float]:
    """Median, least and most."""
    return [statistics.median(values), min(values), max(values)]
