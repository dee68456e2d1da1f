"""Slices in slabs along the scan, from one pass through its views and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from ..fbp.windows import Window
from ..geometry import ImageGrid
from ..scan.scan import Scan
from .backprojection import backproject
from .coverage import angles_that_see
from .parallel_views import ParallelStream
from .plan import HelicalPlan
from .torch_backprojection import TorchSlab

__all__ = ["reconstruct_slabs", "slabs"]

_ROOM = 0.75e9  # bytes of parallel views that are held at once, if a single block fits
_BLOCK = 16  # slices that the kernel takes at once
_MOST = 64
_ANGLES = 16  # between two steps of the progress bar


def slabs(plan: HelicalPlan, z: np.ndarray, thickness: float, room: float = _ROOM) -> list[slice]:
    """Cut slices in growing order into slabs whose parallel views fit into ``room`` [bytes]."""
    angle = len(plan.states) * plan.filter.n_t * (2 * plan.table + 8)
    parts = []
    start = 0
    while start < len(z):  # slices in growing order, slab by slab
        stop = min(start + _BLOCK, len(z))
        while stop < len(z) and stop - start < _MOST:  # blocks of slices, while they fit
            more = min(stop + _BLOCK, len(z))
            first, last = angles_that_see(plan, z[start] - thickness, z[more - 1] + thickness)
            if (last - first) * angle > room:
                break
            stop = more
        parts.append(slice(start, stop))
        start = stop
    return parts


def reconstruct_slabs(
    scan: Scan,
    plan: HelicalPlan,
    grid: ImageGrid,
    z: np.ndarray,
    thickness: float,
    window: Window,
    *,
    device: torch.device | None = None,
    progress: bool = False,
    room: float = _ROOM,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slabs of slices: their places in ``z``, and attenuation (n, rows, cols) [1/mm].

    The arguments are those of :func:`recon.helical.reconstruct`, but that the heights ``z`` grow
    and that ``device`` is None for the compiled kernel. ``room`` is how many bytes of parallel
    views are held at once.
    """
    parts = slabs(plan, z, thickness, room)
    if plan.geometry.z[plan.states[0].views[0]] > plan.geometry.z[plan.states[0].views[-1]]:
        parts = parts[::-1]  # in the order of the views
    seen = [angles_that_see(plan, z[p][0] - thickness, z[p][-1] + thickness) for p in parts]
    stream = ParallelStream(
        scan.line_integrals, plan, window, max(last - first for first, last in seen)
    )
    with tqdm(
        total=len(parts) * plan.half, desc="reconstruct", unit="angle", disable=not progress
    ) as bar:
        for part, (first, last) in zip(parts, seen):  # slabs of slices
            stream.start(first)
            stream.advance(last)
            where = (stream, grid, z[part], thickness)
            slab = _Slab(*where) if device is None else TorchSlab(*where, device)
            for j in range(0, plan.half, _ANGLES):  # parallel angles
                angles = range(j, min(j + _ANGLES, plan.half))
                slab.add(first, last, angles)
                bar.update(len(angles))
            images = slab.images()
            del slab  # its memory serves the next one, as that of the images does
            yield part, images
            del images


class _Slab:
    """Slices that the compiled kernel adds parallel angles to; as `TorchSlab`."""

    def __init__(
        self, stream: ParallelStream, grid: ImageGrid, z: np.ndarray, thickness: float
    ) -> None:
        self._job = stream, grid, z, thickness
        self._sums = np.zeros((*grid.shape, -(-len(z) // _BLOCK) * _BLOCK), np.float32)

    def add(self, first: int, stop: int, angles: range) -> None:
        """Add parallel angles modulo 180°, of those that the stream holds from first to stop."""
        backproject(*self._job, first, stop, angles, self._sums)

    def images(self) -> np.ndarray:
        """Attenuation (slices, rows, cols) [1/mm]."""
        slices = len(self._job[2])
        return np.ascontiguousarray(self._sums[..., :slices].transpose(2, 0, 1))
