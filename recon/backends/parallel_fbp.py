# mypy: ignore-errors
"""Rebinning and backprojection of parallel beams, and their transposes, one image per SIMD lane."""

import numba as nb

from ..engine.machine_code import kernel
from ..engine.simd import add, fma, lerp_add, load, scale, store, zero

__all__ = [
    "back_project", "back_project_transpose", "pack", "rebin", "rebin_transpose", "shift_views",
    "unpack",
]  # fmt: skip

f32 = nb.float32
i64 = nb.int64


@kernel
def pack(tag, room: f32[::1], first: i64, last: i64, stack: f32[:, :, ::1], packed: f32[:, :, ::1]):
    """Copy (B, n, m) to (n, m, L), by n; lanes beyond B are zero."""
    count, _, m = stack.shape
    for i in range(first, last):
        for b in range(count):
            for j in range(m):
                packed[i, j, b] = stack[b, i, j]
        for b in range(count, len(tag)):
            for j in range(m):
                packed[i, j, b] = 0.0


@kernel
def unpack(
    tag, room: f32[::1], first: i64, last: i64, packed: f32[:, :, ::1], stack: f32[:, :, ::1]
):
    """Copy (n, m, L) to (B, n, m), by n."""
    count, _, m = stack.shape
    for i in range(first, last):
        for b in range(count):
            for j in range(m):
                stack[b, i, j] = packed[i, j, b]


@kernel
def rebin(
    tag, room: f32[::1], first: i64, last: i64, fan: f32[::1], views: i64, cols: i64,
    view_first: i64[::1], view_weight: f32[:, ::1], col_first: i64[:, ::1],
    col_weight: f32[:, :, ::1], half: i64, flat: f32[::1],
):  # fmt: skip
    """Fan views (views·cols·L) to parallel views (K·t·L); opposite views lie ``half`` apart."""
    width = i64(len(tag))
    n_t = col_first.shape[1]
    row = room
    for k in range(first, last):
        for side in range(2 if half > 0 else 1):
            for d in range(cols):
                total = zero(tag)
                for tap in range(4):
                    view = (k + side * half + view_first[d] + tap) % views
                    total = fma(
                        total, load(tag, fan, (view * cols + d) * width), view_weight[d, tap]
                    )
                store(row, d * width, total)
            for m in range(n_t):
                at = (k * n_t + m) * width
                if side == 0:
                    total = zero(tag)
                else:
                    total = load(tag, flat, at)
                for tap in range(4):
                    total = fma(
                        total,
                        load(tag, row, (col_first[side, m] + tap) * width),
                        col_weight[side, m, tap],
                    )
                store(flat, at, total)


@kernel
def rebin_transpose(
    tag, room: f32[::1], first: i64, last: i64, flat: f32[::1], cols: i64, col_first: i64[:, ::1],
    col_weight: f32[:, :, ::1], half: i64, shifted: f32[::1],
):  # fmt: skip
    """Transpose of :func:`rebin` along the columns: (K·t·L) to shifted views (views·cols·L)."""
    width = i64(len(tag))
    n_t = col_first.shape[1]
    for k in range(first, last):
        for side in range(2 if half > 0 else 1):
            row = (k + side * half) * cols
            for d in range(cols):
                store(shifted, (row + d) * width, zero(tag))
            for m in range(n_t):
                value = load(tag, flat, (k * n_t + m) * width)
                for tap in range(4):
                    at = (row + col_first[side, m] + tap) * width
                    store(shifted, at, fma(load(tag, shifted, at), value, col_weight[side, m, tap]))


@kernel
def shift_views(
    tag, room: f32[::1], first: i64, last: i64, shifted: f32[::1], views: i64, cols: i64,
    view_first: i64[::1], view_weight: f32[:, ::1], fan: f32[::1],
):  # fmt: skip
    """Transpose of :func:`rebin` along the views: shifted views to fan views (views·cols·L)."""
    width = i64(len(tag))
    for view in range(first, last):
        for d in range(cols):
            total = zero(tag)
            for tap in range(4):
                k = (view - view_first[d] - tap) % views
                total = fma(total, load(tag, shifted, (k * cols + d) * width), view_weight[d, tap])
            store(fan, (view * cols + d) * width, total)


@kernel
def back_project(
    tag, room: f32[::1], first: i64, last: i64, filtered: f32[::1], n_fine: i64, a: f32[::1],
    b: f32[::1], c: f32[::1], factor: f32, tile: i64, images: f32[:, :, ::1],
):  # fmt: skip
    """Sum filtered views (K·fine·L), interpolated linearly, into tiles of (B, rows, cols)."""
    width = i64(len(tag))
    count, rows, cols = images.shape
    views = len(a)
    across = (cols + tile - 1) // tile
    sums = room
    for task in range(first, last):
        i0, j0 = (task // across) * tile, (task % across) * tile
        i1, j1 = min(rows, i0 + tile), min(cols, j0 + tile)
        for at in range(0, tile * tile * width, width):
            store(sums, at, zero(tag))
        for k0 in range(0, views, 8):
            k1 = min(views, k0 + 8)
            even = k1 - ((k1 - k0) & 1)
            for i in range(i0, i1):
                at = i64((i - i0) * tile) * width
                for j in range(j0, j1):
                    total, other = load(tag, sums, at), zero(tag)
                    for k in range(k0, even, 2):
                        t = a[k] * f32(j) + (b[k] * f32(i) + c[k])
                        n = i64(nb.int32(t))
                        p = (k * n_fine + n) * width
                        total = lerp_add(
                            total,
                            load(tag, filtered, p),
                            load(tag, filtered, p + width),
                            t - f32(n),
                        )
                        t = a[k + 1] * f32(j) + (b[k + 1] * f32(i) + c[k + 1])
                        n = i64(nb.int32(t))
                        p = ((k + 1) * n_fine + n) * width
                        other = lerp_add(
                            other,
                            load(tag, filtered, p),
                            load(tag, filtered, p + width),
                            t - f32(n),
                        )
                    if even < k1:
                        t = a[even] * f32(j) + (b[even] * f32(i) + c[even])
                        n = i64(nb.int32(t))
                        p = (even * n_fine + n) * width
                        other = lerp_add(
                            other,
                            load(tag, filtered, p),
                            load(tag, filtered, p + width),
                            t - f32(n),
                        )
                    store(sums, at, add(total, other))
                    at += width
        for lane in range(count):
            for i in range(i0, i1):
                for j in range(j0, j1):
                    images[lane, i, j] = sums[((i - i0) * tile + j - j0) * width + lane] * factor


@kernel
def back_project_transpose(
    tag, room: f32[::1], first: i64, last: i64, packed: f32[::1], rows: i64, cols: i64,
    n_fine: i64, a: f32[::1], b: f32[::1], c: f32[::1], factor: f32, filtered: f32[::1],
):  # fmt: skip
    """Transpose of :func:`back_project`: packed images (rows·cols·L) to 8 views (·fine·L) each."""
    width = i64(len(tag))
    views = len(a)
    for block in range(first, last):
        k0, k1 = block * 8, min(views, block * 8 + 8)
        for p in range(k0 * n_fine, k1 * n_fine):
            store(filtered, p * width, zero(tag))
        for i in range(rows):
            for k in range(k0, k1):
                for j in range(cols):
                    value = scale(load(tag, packed, (i * cols + j) * width), factor)
                    t = a[k] * f32(j) + (b[k] * f32(i) + c[k])
                    n = i64(nb.int32(t))
                    w = t - f32(n)
                    p = (k * n_fine + n) * width
                    store(filtered, p, fma(load(tag, filtered, p), value, f32(1.0) - w))
                    store(filtered, p + width, fma(load(tag, filtered, p + width), value, w))
