# mypy: disable-error-code="call-arg, index, operator, valid-type, var-annotated"
r"""Covariance of all pixels of an FBP, from the variances of independent rays.

Column by column it would take an FBP and a transposed one for each pixel. But filtered views have
few samples, and noise in common with the three that follow alone (:mod:`recon.fbp.view_noise`), so
the covariance is what the backprojection P makes of that of the views, C, from both sides:

.. math:: Σ = Σ_k P_k (½ C_{k,k} P_kᵀ + Σ_{δ=1}^3 C_{k,k+δ} P_{k+δ}ᵀ)

and the transpose of that. Some views at a time, C is made of the tables of the views
(:func:`common` and a product of matrices), every pixel takes its place in it from the one side
(:func:`spread`), and from the other (:func:`gather`), for which pixels lie in the lanes of four
registers.
"""

from typing import NamedTuple

import numba as nb
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..engine.machine_code import kernel
from ..engine.memory import aligned_empty
from ..engine.simd import WIDTHS, add, fma, lanes, lerp_add, load, store, transpose, zero
from ..fbp.plan import interleaves, plan_fbp
from ..fbp.view_noise import view_noise
from ..fbp.windows import Window
from ..geometry import Geometry, ImageGrid
from .parallel_fbp import PixelLines, place
from .torch_fbp import filtered

__all__ = ["image_covariance"]

GROUP = 64
"""Pixels that are backprojected together."""

TILE = 8
"""Side of the square of pixels for which two views of a group stay in the nearest cache."""

_ROOM = 80_000_000  # floats that hold what some views share with all pixels

f32 = nb.float32
i64 = nb.int64


class Part(NamedTuple):
    """Some of the parallel views."""

    first: i64
    count: i64
    later: i64  # views, itself included, with which a view has noise in common
    views: i64  # all of them, on the circle
    n: i64  # fine samples of a view, a multiple of the lanes


class Pixels(NamedTuple):
    """The pixels of an image."""

    rows: i64
    cols: i64


class Columns(NamedTuple):
    """The columns of the scanner, with tables of :class:`recon.fbp.view_noise.ViewNoise`."""

    count: i64
    sides: i64
    rows: f32[:, :, ::1]
    first: i64[:, ::1]
    weights: f32[:, :, ::1]


@kernel
def common(
    tag, room: f32[::1], first: i64, last: i64, columns: Columns, part: Part, filtered: f32[::1],
    shared: f32[::1],
):  # fmt: skip
    """Covariance of the samples of views before the filter, (t·count·later·n), with later views.

    Its tasks are samples; ``filtered`` is :attr:`ViewNoise.filtered`, (sides·columns·n).
    """
    width = i64(len(tag))
    size = part.n
    for m in range(first, last):  # samples of this task
        for k in range(part.count):
            for d in range(part.later):
                at = ((m * part.count + k) * part.later + d) * size
                past = part.first + k + d >= part.views
                for s in range(0, size, width):
                    store(shared, at + s, zero(tag))
                for side in range(columns.sides):
                    # what follows the last view is the first one, seen from the other side
                    other = columns.sides - 1 - side if past else side
                    row = part.first + k + side * part.views
                    for tap in range(4):
                        col = columns.first[side, m] + tap
                        weight = columns.weights[side, m, tap] * columns.rows[d, row, col]
                        if d == 0:
                            weight *= f32(0.5)
                        p = (other * columns.count + col) * size
                        for s in range(0, size, width):
                            total = load(tag, shared, at + s)
                            store(shared, at + s, fma(total, load(tag, filtered, p + s), weight))


@kernel
def spread(
    tag, room: f32[::1], first: i64, last: i64, shared: f32[::1], lines: PixelLines, part: Part,
    pixels: Pixels, seen: f32[::1],
):  # fmt: skip
    """From views with noise in common (count·later·n·n) to pixels and views (groups·count·n·GROUP).

    Its tasks are views; the room is GROUP·n floats, the samples of the view for each pixel.
    """
    width = i64(len(tag))
    size, later = part.n, part.later
    for k in range(first, last):  # views of this task
        for j0 in range(0, pixels.rows * pixels.cols, GROUP):  # groups of pixels
            for b in range(GROUP):  # pixels of the group
                j = min(j0 + b, pixels.rows * pixels.cols - 1)
                for d in range(later):  # this view and those that follow
                    view = (part.first + k + d) % part.views
                    m, w = place(lines, view, j // pixels.cols, j % pixels.cols)
                    p = ((k * later + d) * size + m) * size
                    q = b * size
                    for s in range(0, size, width):  # samples of the view
                        if d == 0:
                            total = zero(tag)
                        else:
                            total = load(tag, room, q + s)
                        left, right = load(tag, shared, p + s), load(tag, shared, p + size + s)
                        store(room, q + s, lerp_add(total, left, right, w))
            at = ((j0 // GROUP * part.count + k) * size) * GROUP
            for s in range(0, size, width):  # from samples to pixels side by side
                for lane in range(0, GROUP, width):
                    transpose(tag, room, s + lane * size, size, seen, at + s * GROUP + lane, GROUP)


@kernel
def gather(
    tag, room: f32[::1], first: i64, last: i64, seen: f32[::1], lines: PixelLines, part: Part,
    pixels: Pixels, across: i64, matrix: f32[::1],
):  # fmt: skip
    """Add the backprojections of :func:`spread` to a matrix (pixels·across); tasks are groups."""
    width = i64(len(tag))
    for group in range(first, last):  # columns of this task
        for i0 in range(0, pixels.rows, TILE):
            for j0 in range(0, pixels.cols, TILE):  # tiles of pixels
                for k in range(0, part.count, 2):  # views, two at a time
                    p0 = (group * part.count + k) * part.n
                    two = k + 1 < part.count
                    for i in range(i0, min(i0 + TILE, pixels.rows)):
                        for j in range(j0, min(j0 + TILE, pixels.cols)):  # pixels of the tile
                            at = (i * pixels.cols + j) * across + group * GROUP
                            m, w = place(lines, part.first + k, i, j)
                            p = (p0 + m) * GROUP
                            q, v = p, w
                            if two:
                                m, v = place(lines, part.first + k + 1, i, j)
                                q = (p0 + part.n + m) * GROUP
                            for lane in range(0, GROUP, width):
                                left = load(tag, seen, p + lane)
                                right = load(tag, seen, p + GROUP + lane)
                                total = lerp_add(load(tag, matrix, at + lane), left, right, w)
                                if two:
                                    left = load(tag, seen, q + lane)
                                    right = load(tag, seen, q + GROUP + lane)
                                    total = add(total, lerp_add(zero(tag), left, right, v))
                                store(matrix, at + lane, total)


def image_covariance(
    geometry: Geometry, grid: ImageGrid, variance: np.ndarray, window: Window, *, progress: bool
) -> Tensor:
    """Covariance (pixels, pixels) of the FBP of independent rays of a variance (views, cols)."""
    plan = plan_fbp(geometry, grid, interleave=interleaves(geometry, window))
    tag = lanes(WIDTHS[-1])
    n = -(-plan.n_fine // len(tag)) * len(tag)
    filters = filtered(torch.eye(plan.n_t, dtype=torch.float64), plan, window).T
    filters = torch.nn.functional.pad(filters, (0, 0, 0, n - plan.n_fine))  # read by no pixel
    noise = view_noise(plan, filters.numpy(), variance)
    filters = (filters * plan.share**2).float()
    later, _, cols = noise.rows.shape
    columns = Columns(cols, len(noise.first), noise.rows, noise.first, noise.weights)
    places = [part.astype(np.float32) for part in plan.pixel_lines(grid)]
    lines = PixelLines(plan.n_fine, plan.share, *places)
    pixels = Pixels(*grid.shape)
    number = pixels.rows * pixels.cols
    groups = -(-number // GROUP)
    across = groups * GROUP + len(tag)  # rows whole pages apart would drive each other from a cache
    matrix = torch.zeros(number, across)
    views = len(plan.theta)
    count = min(views, max(2, _ROOM // (groups * GROUP * n)))
    seen = aligned_empty(groups * GROUP * count * n)
    before, after = torch.empty(plan.n_t * count * later * n), torch.empty(count * later * n, n)
    bar = tqdm(total=views, desc="noise covariance", unit="view", disable=not progress, leave=False)
    for first in range(0, views, count):
        part = Part(first, min(count, views - first), later, views, n)
        size = part.count * later * n
        some = before[: plan.n_t * size]
        common(tag, plan.n_t, columns, part, noise.filtered.reshape(-1), some.numpy())
        shared = torch.mm(some.view(plan.n_t, size).T, filters.T, out=after[:size]).flatten()
        spread(tag, part.count, shared.numpy(), lines, part, pixels, seen, room=GROUP * n)
        gather(tag, groups, seen, lines, part, pixels, across, matrix.numpy().reshape(-1))
        bar.update(part.count)
    bar.close()
    half = matrix[:, :number]
    return half + half.T
