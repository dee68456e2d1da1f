"""The numba backend: stacks of images on the CPU, 16 at a time, with torch's number of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from ..engine.memory import aligned_empty, aligned_zeros
from ..engine.simd import WIDTHS, lanes, width_for
from ..fbp.plan import FbpPlan, interleaves, plan_fbp
from ..fbp.windows import Window
from ..geometry import Geometry, ImageGrid
from . import joseph, parallel_fbp, ramp_filter
from .ramp_filter import FilterTables, filter_tables
from .rays import PAD, RayTable, trace

__all__ = ["NumbaBackend"]

_TURNED = 4  # images of which four turns fill the lanes


@dataclass(frozen=True)
class _Fbp:
    """A plan with its tables as the kernels take them."""

    plan: FbpPlan
    samples: ramp_filter.Samples
    lines: parallel_fbp.PixelLines
    rebinning: parallel_fbp.FanTables | None
    weights: np.ndarray | None
    filters: dict[Window, FilterTables] = field(default_factory=dict)

    def tables(self, window: Window) -> FilterTables:
        """Tables of a window; those of a callable are made afresh each time."""
        if callable(window):
            return filter_tables(self.plan, window)
        if window not in self.filters:
            self.filters[window] = filter_tables(self.plan, window)
        return self.filters[window]


class NumbaBackend:
    """Forward projection, its transpose, FBP and its transpose for float32 stacks (B, …)."""

    name = "numba"
    dtype = torch.float32
    devices: tuple[str, ...] = ("cpu",)

    def __init__(self, geometry: Geometry, grid: ImageGrid) -> None:
        self.geometry = geometry
        self.grid = grid
        table: RayTable = trace(geometry, grid)
        self._runs = joseph.Runs(*np.ascontiguousarray(table.runs.T))
        self._rays = joseph.Rays(table.start, table.slope, table.length, table.first, table.end)
        self._plans: dict[bool, _Fbp] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Line integrals (B, views, cols) of images (B, rows, cols)."""
        return self._in_chunks(images, self.geometry.shape, self._project)

    def adjoint(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Transpose of :meth:`forward`."""
        return self._in_chunks(sinograms, self.grid.shape, self._back_project)

    def fbp(self, sinograms: torch.Tensor, window: Window) -> torch.Tensor:
        """Filtered backprojection (B, rows, cols) of (B, views, cols)."""
        fbp = self._plan(window)
        tables = fbp.tables(window)
        return self._in_chunks(
            sinograms, self.grid.shape, lambda p, out: self._fbp(p, out, fbp, tables)
        )

    def fbp_transpose(self, images: torch.Tensor, window: Window) -> torch.Tensor:
        """Transpose of :meth:`fbp`."""
        fbp = self._plan(window)
        tables = fbp.tables(window)
        return self._in_chunks(
            images, self.geometry.shape, lambda x, out: self._fbp_transpose(x, out, fbp, tables)
        )

    def _in_chunks(
        self,
        stack: torch.Tensor,
        shape: tuple[int, int],
        job: Callable[[np.ndarray, np.ndarray], None],
    ) -> torch.Tensor:
        source = np.ascontiguousarray(stack.detach().numpy())
        out = np.zeros((len(source), *shape), np.float32)
        for low in range(0, len(source), WIDTHS[-1]):  # images, as many as there are lanes
            job(source[low : low + WIDTHS[-1]], out[low : low + WIDTHS[-1]])
        return torch.from_numpy(out)

    @cached_property
    def _quarter(self) -> NumbaBackend | None:
        """The first quarter of a full circle around a square, centred grid.

        There, view ``v + views/4`` of an image is view v of the image turned by 90°, and the turned
        images fill the lanes.
        """
        angles = np.asarray(self.geometry.angles)
        (rows, cols), (sy, sx) = self.grid.shape, self.grid.spacing
        if len(angles) % 4 or (rows, sy) != (cols, sx) or self.grid.centre != (0.0, 0.0):
            return None
        quarter = len(angles) // 4
        turns = np.diff(angles.reshape(4, quarter), axis=0)
        if np.abs(np.abs(turns) - np.pi / 2).max() > 1e-9:
            return None
        return NumbaBackend(replace(self.geometry, angles=angles[:quarter]), self.grid)

    def _turn(self, images: np.ndarray, quarters: int) -> np.ndarray:
        """Turn images so that a view ``quarters`` later sees what a view now sees."""
        angles = np.asarray(self.geometry.angles)
        sense = -1 if angles[-1] > angles[0] else 1
        return np.rot90(images, sense * quarters, axes=(1, 2))

    def _image_room(self, width: int, make: Callable) -> joseph.Copies:
        rows, cols = self.grid.shape
        border = 2 * PAD + 1
        return joseph.Copies(
            make((rows, cols + border, width)),
            make((cols, rows + border, width)),
        )

    def _project(self, images: np.ndarray, out: np.ndarray) -> None:
        if len(images) <= _TURNED and self._quarter is not None:
            turned = np.concatenate([self._turn(images, q) for q in range(4)])
            views, columns = self.geometry.shape
            parts = np.zeros((len(turned), views // 4, columns), np.float32)
            self._quarter._project(turned, parts)
            for q in range(4):  # quarter turns
                part = slice(q * views // 4, (q + 1) * views // 4)
                out[:, part] = parts[q * len(images) : (q + 1) * len(images)]
            return
        tag = lanes(width_for(len(images)))
        copies = self._image_room(len(tag), aligned_empty)
        joseph.pack_image(tag, len(copies.along_rows), images, copies.along_rows)
        joseph.pack_cols(tag, len(copies.along_cols), copies)
        groups = -(-len(self._runs.views) // joseph.GROUP)
        room = joseph.GROUP * self.geometry.n_cols * len(tag)
        joseph.project(tag, groups, copies, self._runs, self._rays, out, room=room)

    def _back_project(self, sinograms: np.ndarray, out: np.ndarray) -> None:
        if len(sinograms) <= _TURNED and self._quarter is not None:
            count, views, cols = sinograms.shape
            parts = sinograms.reshape(count, 4, views // 4, cols).swapaxes(0, 1)
            turned = np.zeros((4 * count, *self.grid.shape), np.float32)
            self._quarter._back_project(
                np.ascontiguousarray(parts).reshape(4 * count, views // 4, cols), turned
            )
            for q in range(4):  # quarter turns
                out += self._turn(turned[q * count : (q + 1) * count], -q)
            return
        tag = lanes(width_for(len(sinograms)))
        packed = aligned_empty((len(self._rays.start), len(tag)))
        joseph.pack_rays(tag, len(self._runs.views), sinograms, self._runs, self._rays, packed)
        copies = self._image_room(len(tag), aligned_zeros)
        bands = sum(-(-len(lines) // joseph.BAND) for lines in copies)
        joseph.back_project(tag, bands, packed, self._runs, self._rays, copies)
        joseph.fold_image(tag, len(copies.along_rows), copies, out)

    def _plan(self, window: Window) -> _Fbp:
        """Plan and tables of the FBP; made when first asked for, since some scans have none."""
        interleave = interleaves(self.geometry, window)
        if interleave not in self._plans:
            plan = plan_fbp(self.geometry, self.grid, interleave=interleave)
            views, cols = plan.geometry.shape
            table, rebinning = plan.rebinning, None
            if table is not None:
                rebinning = parallel_fbp.FanTables(
                    views + plan.spare,
                    cols,
                    table.view_first,
                    table.view_weight.astype(np.float32),
                    table.col_first,
                    table.col_weight.astype(np.float32),
                    table.half,
                )
            weights = plan.weights
            self._plans[interleave] = _Fbp(
                plan=plan,
                samples=ramp_filter.Samples(
                    len(plan.theta), plan.n_t, plan.fine_first, plan.n_fine
                ),
                lines=parallel_fbp.PixelLines(
                    plan.n_fine,
                    plan.share,
                    *(part.astype(np.float32) for part in plan.pixel_lines(self.grid)),
                ),
                rebinning=rebinning,
                weights=None if weights is None else weights.astype(np.float32),
            )
        return self._plans[interleave]

    def _fbp(self, sinograms: np.ndarray, out: np.ndarray, fbp: _Fbp, tables: FilterTables) -> None:
        plan, count = fbp.plan, len(fbp.plan.theta)
        tag = lanes(width_for(len(sinograms)))
        views, cols = plan.geometry.shape
        if fbp.weights is not None:
            sinograms = sinograms * fbp.weights
        parallel = aligned_empty((views + plan.spare, cols, len(tag)))
        parallel_fbp.pack(tag, views, sinograms, parallel[:views])
        parallel[views:] = 0.0
        if fbp.rebinning is not None:
            fan = parallel.reshape(-1)
            parallel = aligned_empty((count, plan.n_t, len(tag)))
            parallel_fbp.rebin(
                tag, count, fan, fbp.rebinning, parallel.reshape(-1), room=cols * len(tag)
            )
        filtered = aligned_empty(count * plan.n_fine * len(tag))
        ramp_filter.filter_views(
            tag, -(-count // 2), parallel.reshape(-1), fbp.samples, tables, filtered,
            room=4 * plan.n_fft * len(tag),
        )  # fmt: skip
        tile = parallel_fbp.TILE
        tiles = -(-out.shape[1] // tile) * -(-out.shape[2] // tile)
        parallel_fbp.back_project(tag, tiles, filtered, fbp.lines, out, room=tile * tile * len(tag))

    def _fbp_transpose(
        self, images: np.ndarray, out: np.ndarray, fbp: _Fbp, tables: FilterTables
    ) -> None:
        plan, count = fbp.plan, len(fbp.plan.theta)
        tag = lanes(width_for(len(images)))
        packed = aligned_empty((*images.shape[1:], len(tag)))
        parallel_fbp.pack(tag, len(packed), images, packed)
        filtered = aligned_empty(count * plan.n_fine * len(tag))
        blocks = -(-count // parallel_fbp.VIEWS)
        parallel_fbp.back_project_transpose(tag, blocks, packed, fbp.lines, filtered)
        parallel = aligned_empty((count, plan.n_t, len(tag)))
        ramp_filter.filter_transpose(
            tag, -(-count // 2), filtered, fbp.samples, tables, parallel.reshape(-1),
            room=4 * plan.n_fft * len(tag),
        )  # fmt: skip
        views, cols = self.geometry.shape
        if fbp.rebinning is not None:
            fan = aligned_empty((fbp.rebinning.views, cols, len(tag)))
            shifted = aligned_empty(fan.size)
            parallel_fbp.rebin_transpose(tag, count, parallel.reshape(-1), fbp.rebinning, shifted)
            parallel_fbp.shift_views(tag, len(fan), shifted, fbp.rebinning, fan.reshape(-1))
            parallel = fan[:views]
        parallel_fbp.unpack(tag, views, parallel, out)
        if fbp.weights is not None:
            out *= fbp.weights
