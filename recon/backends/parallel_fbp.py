# mypy: ignore-errors
"""Rebinning and backprojection of parallel beams, and their transposes, one image per SIMD lane.

A parallel ray (θ, t) is the ray of a fan's view β and column angle γ with θ = β + γ, t = R sin γ
(Kak and Slaney, Principles of Computerized Tomographic Imaging (1988), section 3.4.3), so rays are
interpolated along the views, column by column, and then along the columns. Each filtered view k is
a line of fine samples, at which pixel (i, j) lies at ``a[k]·j + b[k]·i + c[k]`` (section 3.3).

Arrays that are flat hold L floats, one of each image, for every item of what is said of them: of
(K·t·L), float ``(k·n_t + m)·L + b`` is sample m of parallel view k in image b.
"""

from typing import NamedTuple

import numba as nb

from ..engine.machine_code import kernel
from ..engine.simd import add, fma, lerp_add, load, scale, store, zero

__all__ = [
    "TILE", "VIEWS", "FanTables", "PixelLines", "back_project", "back_project_transpose", "pack",
    "rebin", "rebin_transpose", "shift_views", "unpack",
]  # fmt: skip

TILE = 16
"""Side of the square of pixels whose sums stay in the cache [pixels]."""

VIEWS = 8
"""Views that are added to a tile together, or to which an image is added together."""

f32 = nb.float32
i32 = nb.int32
i64 = nb.int64


class FanTables(NamedTuple):
    """The tables of `recon.fbp.rebinning.Rebinning`, for fans of that many views and columns.

    Column d of parallel view k is interpolated from the views ``k + view_first[d] + 0…3``, sample m
    from the columns ``col_first[side, m] + 0…3``, where side 0 is the view itself and side 1 the
    opposite one, ``half`` views later; with ``half = 0`` there is none.
    """

    views: i64
    cols: i64
    view_first: i64[::1]  # (cols,)
    view_weight: f32[:, ::1]  # (cols, 4)
    col_first: i64[:, ::1]  # (2, t)
    col_weight: f32[:, :, ::1]  # (2, t, 4)
    half: i64


class PixelLines(NamedTuple):
    """Where pixels lie on the filtered views, in fine samples, and what a view counts."""

    n_fine: i64  # samples of a view
    share: f32  # angle that a view stands for [rad]
    a: f32[::1]  # (K,)
    b: f32[::1]
    c: f32[::1]


@kernel
def pack(tag, room: f32[::1], first: i64, last: i64, stack: f32[:, :, ::1], packed: f32[:, :, ::1]):
    """Copy (B, n, m) to (n, m, L), by n; lanes beyond B are zero."""
    count, _, m = stack.shape
    for i in range(first, last):  # views, or rows of pixels, of this task
        for b in range(count):  # lanes that hold an image
            for j in range(m):  # samples, or pixels
                packed[i, j, b] = stack[b, i, j]
        for b in range(count, len(tag)):  # lanes without an image
            for j in range(m):  # samples, or pixels
                packed[i, j, b] = 0.0


@kernel
def unpack(
    tag, room: f32[::1], first: i64, last: i64, packed: f32[:, :, ::1], stack: f32[:, :, ::1]
):
    """Copy (n, m, L) to (B, n, m), by n."""
    count, _, m = stack.shape
    for i in range(first, last):  # views, or rows of pixels, of this task
        for b in range(count):  # lanes that hold an image
            for j in range(m):  # samples, or pixels
                stack[b, i, j] = packed[i, j, b]


@kernel
def rebin(
    tag, room: f32[::1], first: i64, last: i64, fan: f32[::1], tables: FanTables, flat: f32[::1]
):
    """Fan views (views·cols·L) to parallel views (K·t·L)."""
    width = i64(len(tag))
    n_t = tables.col_first.shape[1]
    row = room  # one view (cols·L), parallel but with its samples where the columns are
    for k in range(first, last):  # parallel views of this task
        for side in range(2 if tables.half > 0 else 1):  # the view itself and the opposite one
            for d in range(tables.cols):  # fan columns
                total = zero(tag)
                view = (k + side * tables.half + tables.view_first[d]) % tables.views
                for tap in range(4):  # fan views around the angle of column d
                    ray = load(tag, fan, (view * tables.cols + d) * width)
                    total = fma(total, ray, tables.view_weight[d, tap])
                    view = view + 1 if view + 1 < tables.views else 0  # cheaper than %
                store(row, d * width, total)
            for m in range(n_t):  # samples, at equal distances in t
                at = (k * n_t + m) * width
                if side == 0:
                    total = zero(tag)
                else:
                    total = load(tag, flat, at)
                for tap in range(4):  # columns around the place of sample m
                    ray = load(tag, row, (tables.col_first[side, m] + tap) * width)
                    total = fma(total, ray, tables.col_weight[side, m, tap])
                store(flat, at, total)


@kernel
def rebin_transpose(
    tag, room: f32[::1], first: i64, last: i64, flat: f32[::1], tables: FanTables, shifted: f32[::1]
):
    """Transpose of :func:`rebin` along the columns: (K·t·L) to shifted views (views·cols·L)."""
    width = i64(len(tag))
    n_t = tables.col_first.shape[1]
    for k in range(first, last):  # parallel views of this task
        for side in range(2 if tables.half > 0 else 1):  # the view itself and the opposite one
            row = (k + side * tables.half) * tables.cols
            for d in range(tables.cols):  # fan columns
                store(shifted, (row + d) * width, zero(tag))
            for m in range(n_t):  # samples, at equal distances in t
                value = load(tag, flat, (k * n_t + m) * width)
                for tap in range(4):  # columns around the place of sample m
                    at = (row + tables.col_first[side, m] + tap) * width
                    weight = tables.col_weight[side, m, tap]
                    store(shifted, at, fma(load(tag, shifted, at), value, weight))


@kernel
def shift_views(
    tag, room: f32[::1], first: i64, last: i64, shifted: f32[::1], tables: FanTables, fan: f32[::1]
):
    """Transpose of :func:`rebin` along the views: shifted views to fan views (views·cols·L)."""
    width = i64(len(tag))
    for view in range(first, last):  # fan views of this task
        for d in range(tables.cols):  # fan columns
            total = zero(tag)
            for tap in range(4):  # parallel views that took something from this ray
                k = (view - tables.view_first[d] - tap) % tables.views
                ray = load(tag, shifted, (k * tables.cols + d) * width)
                total = fma(total, ray, tables.view_weight[d, tap])
            store(fan, (view * tables.cols + d) * width, total)


@nb.njit
def place(lines, k, i, j):
    """Where view k sees pixel (i, j): the fine sample before it, and the weight of the next one."""
    t = lines.a[k] * f32(j) + (lines.b[k] * f32(i) + lines.c[k])
    n = i64(i32(t))  # floor, since t ≥ 0
    return n, t - f32(n)


@nb.njit
def _add_sample(tag, total, filtered, lines, k, i, j):
    """Add to ``total`` what view k has for pixel (i, j), one value in each lane."""
    width = i64(len(tag))
    n, w = place(lines, k, i, j)
    p = (k * lines.n_fine + n) * width
    return lerp_add(total, load(tag, filtered, p), load(tag, filtered, p + width), w)


@kernel
def back_project(
    tag, room: f32[::1], first: i64, last: i64, filtered: f32[::1], lines: PixelLines,
    images: f32[:, :, ::1],
):  # fmt: skip
    """Sum filtered views (K·fine·L), interpolated linearly, into tiles of (B, rows, cols)."""
    width = i64(len(tag))
    count, rows, cols = images.shape
    views = len(lines.a)
    across = (cols + TILE - 1) // TILE
    sums = room  # (TILE·TILE·L), one tile of pixels
    for task in range(first, last):  # tiles, row by row
        i0, j0 = (task // across) * TILE, (task % across) * TILE
        i1, j1 = min(rows, i0 + TILE), min(cols, j0 + TILE)
        for at in range(0, TILE * TILE * width, width):  # pixels of the tile
            store(sums, at, zero(tag))
        for k0 in range(0, views, VIEWS):  # parallel views, as many as stay in the cache
            k1 = min(views, k0 + VIEWS)
            even = k1 - ((k1 - k0) & 1)
            for i in range(i0, i1):  # rows of pixels
                at = i64((i - i0) * TILE) * width
                for j in range(j0, j1):  # pixels of the row
                    # two sums, so that a view need not wait for the one before it
                    total, other = load(tag, sums, at), zero(tag)
                    for k in range(k0, even, 2):  # views, two a turn
                        total = _add_sample(tag, total, filtered, lines, k, i, j)
                        other = _add_sample(tag, other, filtered, lines, k + 1, i, j)
                    if even < k1:
                        other = _add_sample(tag, other, filtered, lines, even, i, j)
                    store(sums, at, add(total, other))
                    at += width
        for b in range(count):  # from lanes to images
            for i in range(i0, i1):  # rows of pixels
                for j in range(j0, j1):  # pixels of the row
                    at = ((i - i0) * TILE + j - j0) * width + b
                    images[b, i, j] = sums[at] * lines.share


@kernel
def back_project_transpose(
    tag, room: f32[::1], first: i64, last: i64, packed: f32[:, :, ::1], lines: PixelLines,
    filtered: f32[::1],
):  # fmt: skip
    """Transpose of :func:`back_project`: images (rows, cols, L) to VIEWS views (·fine·L) each."""
    width = i64(len(tag))
    rows, cols, _ = packed.shape
    n_fine, views = lines.n_fine, len(lines.a)
    for block in range(first, last):  # blocks of parallel views
        k0, k1 = block * VIEWS, min(views, block * VIEWS + VIEWS)
        for p in range(k0 * n_fine, k1 * n_fine):  # fine samples of the block
            store(filtered, p * width, zero(tag))
        for i in range(rows):  # rows of pixels, each read once for the block
            for k in range(k0, k1):  # views of the block
                for j in range(cols):  # pixels of the row
                    value = scale(load(tag, packed, (i * cols + j) * width), lines.share)
                    n, w = place(lines, k, i, j)
                    p = (k * n_fine + n) * width
                    store(filtered, p, fma(load(tag, filtered, p), value, f32(1.0) - w))
                    store(filtered, p + width, fma(load(tag, filtered, p + width), value, w))
