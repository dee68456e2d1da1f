# mypy: ignore-errors
"""Joseph's projector and its exact transpose, one image per SIMD lane.

P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med.
Imaging 1:192 (1982): a ray is followed along the axis in which it advances fastest, one line of
pixels a step, and between the two pixels that it passes in that line the image is interpolated
linearly. In units of pixels, at step s,

    x = start + slope·s,  i = floor(x),  sample = (1 - w)·line_s[i] + w·line_s[i+1],  w = x - i,

and the line integral is ``length`` [mm] times the sum of the samples.

How things lie in memory, for L images at once (one of them in each lane)::

    Copies.along_rows: line s is row s             Rays: a number for each ray, in this order
                                                          _______ _____ _________ ____
        0 0 (s,0) (s,1) … (s,cols-1) 0 0 0         start |0 1 2 …|     |         |    |  …
            └ L floats, one of each image                 ^run 0  ^run 1 …
                                                   Runs: of each stretch of neighbouring columns of
    Copies.along_cols: line s is column s             one view whose rays walk along the same axis,
                                                      the view, its first and end column, the axis
        0 0 (0,s) (1,s) … (rows-1,s) 0 0 0            (0: along rows, 1: along columns), and the
                                                      number of its first ray

Each line has two zero pixels before and three behind it, so that no sample needs a bounds check: a
ray is followed only where ``-1 < x - 2 < pixels``, with the 2 contained in ``start``. Runs along
rows come before those along columns; rays that miss the image are in no run.

Both kernels use the same weights, computed in the same way. The forward projector walks groups of
runs through a band of image lines that stays in the cache; the transpose gives each band to one
thread, which adds the rays to it in a fixed order. So neither depends on the number of threads.
"""

from typing import NamedTuple

import numba as nb

from ..engine.machine_code import kernel
from ..engine.simd import add, fma, lerp_add, load, store, zero

__all__ = [
    "BAND", "GROUP", "Copies", "Rays", "Runs", "back_project", "fold_image", "pack_cols",
    "pack_image", "pack_rays", "project",
]  # fmt: skip

GROUP = 16
"""Runs that walk through one band of the image together."""

BAND = 16
"""Image lines of a band: 16 × 517 × 64 bytes stay in a 1 MB cache."""

f32 = nb.float32
i32 = nb.int32
i64 = nb.int64


class Copies(NamedTuple):
    """A stack of images twice, lane-innermost, with zeros around: line by line either way."""

    along_rows: f32[:, :, ::1]  # (rows, cols + 5, L) [1/mm]
    along_cols: f32[:, :, ::1]  # (cols, rows + 5, L) [1/mm]


class Runs(NamedTuple):
    """Stretches of rays, each (runs,); ray ``first_ray + c`` is of column ``first_col + c``."""

    views: i64[::1]
    first_col: i64[::1]
    end_col: i64[::1]
    axis: i64[::1]  # 0: walks along rows, line by line of Copies.along_rows; 1: along columns
    first_ray: i64[::1]


class Rays(NamedTuple):
    """The line of each ray, each (rays,), as `recon.backends.rays` computes it."""

    start: f32[::1]  # x at line 0 [pixels], the two zeros before a line counted
    slope: f32[::1]  # change of x from line to line [pixels], at most 1
    length: f32[::1]  # of the ray from line to line [mm]
    first: i32[::1]  # lines first … end - 1 are sampled
    end: i32[::1]


@kernel
def pack_image(
    tag, room: f32[::1], first: i64, last: i64, images: f32[:, :, ::1], along_rows: f32[:, :, ::1]
):
    """Copy rows of images (B, rows, cols) to Copies.along_rows; lanes beyond B are zero."""
    count, _, cols = images.shape
    width = len(tag)
    for i in range(first, last):  # image rows of this task
        for j in range(cols):  # pixels of the row
            for b in range(count):  # lanes that hold an image, then those that do not
                along_rows[i, j + 2, b] = images[b, i, j]
            for b in range(count, width):  # lanes without an image
                along_rows[i, j + 2, b] = 0.0
        for j in (0, 1, cols + 2, cols + 3, cols + 4):  # the border
            for b in range(width):  # lanes
                along_rows[i, j, b] = 0.0


@kernel
def pack_cols(tag, room: f32[::1], first: i64, last: i64, copies: Copies):
    """Transpose Copies.along_rows to Copies.along_cols, by columns."""
    along_rows, along_cols = copies
    rows = along_rows.shape[0]
    width = len(tag)
    for j in range(first, last):  # image columns of this task
        for i in range(rows):  # pixels of the column
            for b in range(width):  # lanes
                along_cols[j, i + 2, b] = along_rows[i, j + 2, b]
        for i in (0, 1, rows + 2, rows + 3, rows + 4):  # the border
            for b in range(width):  # lanes
                along_cols[j, i, b] = 0.0


@kernel
def fold_image(tag, room: f32[::1], first: i64, last: i64, copies: Copies, images: f32[:, :, ::1]):
    """Transpose of packing: add both copies into rows of images (B, rows, cols)."""
    along_rows, along_cols = copies
    count, _, cols = images.shape
    for i in range(first, last):  # image rows of this task
        for j in range(cols):  # pixels of the row
            for b in range(count):  # lanes that hold an image
                images[b, i, j] = along_rows[i, j + 2, b] + along_cols[j, i + 2, b]


@nb.njit
def _place(start, slope, s):
    """Where a ray crosses line s: the pixel before it, and the weight of the pixel behind it."""
    x = start + slope * f32(s)
    i = i64(i32(x))  # floor, since x ≥ 1
    return i, x - f32(i)


@nb.njit
def _add_sample(tag, total, lines, s, start, slope):
    """Add to ``total`` what a ray finds in line s, one value in each lane."""
    width = i64(len(tag))
    i, w = _place(start, slope, s)
    p = s * (lines.shape[1] * width) + i * width
    return lerp_add(total, load(tag, lines, p), load(tag, lines, p + width), w)


@kernel
def project(
    tag, room: f32[::1], first: i64, last: i64, copies: Copies, runs: Runs, rays: Rays,
    out: f32[:, :, ::1],
):  # fmt: skip
    """Line integrals ``out`` (B, views, cols) of the rays of groups of runs; others stay."""
    width = i64(len(tag))
    count = out.shape[0]
    sums = room  # L floats for each ray of the group, in the order of its runs
    for g in range(first, last):  # groups of runs
        run0, run1 = g * GROUP, min(len(runs.views), (g + 1) * GROUP)
        at = i64(0)  # of the ray in sums [floats]
        lines = i64(0)  # of the longest copy that the group walks through
        for r in range(run0, run1):  # runs of the group
            for _ in range(runs.first_col[r], runs.end_col[r]):  # rays of neighbouring columns
                store(sums, at, zero(tag))
                at += width
            lines = max(lines, len(copies.along_rows if runs.axis[r] == 0 else copies.along_cols))
        for low in range(0, lines, BAND):  # bands of image lines, each read once for the group
            at = i64(0)
            for r in range(run0, run1):  # runs of the group
                image = copies.along_rows if runs.axis[r] == 0 else copies.along_cols
                ray = runs.first_ray[r]
                for _ in range(runs.first_col[r], runs.end_col[r]):  # rays of neighbouring columns
                    s0 = max(low, i64(rays.first[ray]))
                    s1 = min(low + BAND, i64(rays.end[ray]))
                    if s1 > s0:
                        start, slope = rays.start[ray], rays.slope[ray]
                        total, other = load(tag, sums, at), zero(tag)
                        # two sums, so that a sample need not wait for the one before it
                        even = s1 - ((s1 - s0) & 1)
                        for s in range(s0, even, 2):  # image lines in the band, two a turn
                            total = _add_sample(tag, total, image, s, start, slope)
                            other = _add_sample(tag, other, image, s + 1, start, slope)
                        if even < s1:
                            other = _add_sample(tag, other, image, even, start, slope)
                        store(sums, at, add(total, other))
                    ray += 1
                    at += width
        at = i64(0)
        for r in range(run0, run1):  # from sums of samples to line integrals
            view, col0, ray = runs.views[r], runs.first_col[r], runs.first_ray[r]
            columns = runs.end_col[r] - col0
            for b in range(count):  # lanes that hold an image
                for c in range(columns):  # detector columns of the run
                    out[b, view, col0 + c] = sums[at + c * width + b] * rays.length[ray + c]
            at += columns * width


@kernel
def pack_rays(
    tag, room: f32[::1], first: i64, last: i64, sinograms: f32[:, :, ::1], runs: Runs, rays: Rays,
    packed: f32[:, ::1],
):  # fmt: skip
    """Copy the rays of runs of (B, views, cols), times their length [mm], to (rays, L)."""
    count = sinograms.shape[0]
    width = len(tag)
    for r in range(first, last):  # runs of this task
        view, col0, ray = runs.views[r], runs.first_col[r], runs.first_ray[r]
        for c in range(runs.end_col[r] - col0):  # columns of the run
            for b in range(count):  # lanes that hold a sinogram
                packed[ray + c, b] = sinograms[b, view, col0 + c] * rays.length[ray + c]
            for b in range(count, width):  # lanes without one
                packed[ray + c, b] = 0.0


@kernel
def back_project(
    tag, room: f32[::1], first: i64, last: i64, packed: f32[:, ::1], runs: Runs, rays: Rays,
    copies: Copies,
):  # fmt: skip
    """Transpose of :func:`project`: add packed rays into bands of both copies."""
    width = i64(len(tag))
    bands_rows = (len(copies.along_rows) + BAND - 1) // BAND
    for task in range(first, last):  # bands of lines: those of along_rows, then of along_cols
        axis = 0 if task < bands_rows else 1
        image = copies.along_rows if axis == 0 else copies.along_cols
        line = image.shape[1] * width
        low = (task if axis == 0 else task - bands_rows) * BAND
        for r in range(len(runs.views)):  # runs of all views that walk along this axis
            if runs.axis[r] != axis:
                continue
            ray = runs.first_ray[r]
            for _ in range(runs.first_col[r], runs.end_col[r]):  # rays of neighbouring columns
                s0 = max(low, i64(rays.first[ray]))
                s1 = min(low + BAND, i64(rays.end[ray]))
                if s1 > s0:
                    start, slope = rays.start[ray], rays.slope[ray]
                    value = load(tag, packed, ray * width)
                    for s in range(s0, s1):  # image lines in the band
                        i, w = _place(start, slope, s)
                        p = s * line + i * width
                        store(image, p, fma(load(tag, image, p), value, f32(1.0) - w))
                        store(image, p + width, fma(load(tag, image, p + width), value, w))
                ray += 1
