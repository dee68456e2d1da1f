# mypy: ignore-errors
"""Joseph's projector and its exact transpose, one image per SIMD lane.

Both use the same weights, computed in the same way from the same table of rays. The forward
projector walks groups of rays through a band of image lines that stays in the cache; the transpose
gives each band to one thread, which adds the rays to it in a fixed order. So neither depends on the
number of threads.
"""

import numba as nb

from ..engine.machine_code import kernel
from ..engine.simd import add, fma, lerp_add, load, store, zero

__all__ = ["back_project", "fold_image", "pack_cols", "pack_image", "pack_rays", "project"]

f32 = nb.float32
i32 = nb.int32
i64 = nb.int64


@kernel
def pack_image(
    tag, room: f32[::1], first: i64, last: i64, images: f32[:, :, ::1], along_rows: f32[:, :, ::1]
):
    """Copy rows of (B, rows, cols) to lane-innermost (rows, cols+5, L), zeros around."""
    count, _, cols = images.shape
    width = len(tag)
    for i in range(first, last):
        for j in range(cols):
            for b in range(count):
                along_rows[i, j + 2, b] = images[b, i, j]
            for b in range(count, width):
                along_rows[i, j + 2, b] = 0.0
        for j in (0, 1, cols + 2, cols + 3, cols + 4):
            for b in range(width):
                along_rows[i, j, b] = 0.0


@kernel
def pack_cols(
    tag, room: f32[::1], first: i64, last: i64, along_rows: f32[:, :, ::1],
    along_cols: f32[:, :, ::1],
):  # fmt: skip
    """Transpose (rows, cols+5, L) to (cols, rows+5, L), zeros around, by columns."""
    rows = along_rows.shape[0]
    width = len(tag)
    for j in range(first, last):
        for i in range(rows):
            for b in range(width):
                along_cols[j, i + 2, b] = along_rows[i, j + 2, b]
        for i in (0, 1, rows + 2, rows + 3, rows + 4):
            for b in range(width):
                along_cols[j, i, b] = 0.0


@kernel
def fold_image(
    tag, room: f32[::1], first: i64, last: i64, along_rows: f32[:, :, ::1],
    along_cols: f32[:, :, ::1], images: f32[:, :, ::1],
):  # fmt: skip
    """Transpose of packing: add both copies into rows of (B, rows, cols)."""
    count, _, cols = images.shape
    for i in range(first, last):
        for j in range(cols):
            for b in range(count):
                images[b, i, j] = along_rows[i, j + 2, b] + along_cols[j, i + 2, b]


@kernel
def project(
    tag, room: f32[::1], first: i64, last: i64, along_rows: f32[::1], along_cols: f32[::1],
    line_rows: i64, line_cols: i64, runs: i64[:, ::1], start: f32[::1], slope: f32[::1],
    length: f32[::1], begin: i32[::1], end: i32[::1], group: i64, band: i64, out: f32[:, :, ::1],
):  # fmt: skip
    """Line integrals ``out`` (B, views, cols) of the rays of groups of runs; others stay."""
    width = i64(len(tag))
    count = out.shape[0]
    sums = room
    for g in range(first, last):
        run0, run1 = g * group, min(len(runs), (g + 1) * group)
        at = i64(0)
        for r in range(run0, run1):
            for _ in range(runs[r, 1], runs[r, 2]):
                store(sums, at, zero(tag))
                at += width
        lines = i64(0)
        for r in range(run0, run1):
            lines = max(lines, (len(along_rows) // line_rows) if runs[r, 3] == 0
                       else (len(along_cols) // line_cols))  # fmt: skip
        for low in range(0, lines, band):
            at = i64(0)
            for r in range(run0, run1):
                flat = along_rows if runs[r, 3] == 0 else along_cols
                line = line_rows if runs[r, 3] == 0 else line_cols
                ray = runs[r, 4]
                for _ in range(runs[r, 1], runs[r, 2]):
                    s0 = max(low, i64(begin[ray]))
                    s1 = min(low + band, i64(end[ray]))
                    if s1 > s0:
                        x0, dx = start[ray], slope[ray]
                        total, other = load(tag, sums, at), zero(tag)
                        even = s1 - ((s1 - s0) & 1)
                        for s in range(s0, even, 2):
                            x = x0 + dx * f32(s)
                            i = i64(nb.int32(x))
                            p = s * line + i * width
                            total = lerp_add(
                                total, load(tag, flat, p), load(tag, flat, p + width), x - f32(i)
                            )
                            x = x0 + dx * f32(s + 1)
                            i = i64(nb.int32(x))
                            p = (s + 1) * line + i * width
                            other = lerp_add(
                                other, load(tag, flat, p), load(tag, flat, p + width), x - f32(i)
                            )
                        if even < s1:
                            x = x0 + dx * f32(even)
                            i = i64(nb.int32(x))
                            p = even * line + i * width
                            other = lerp_add(
                                other, load(tag, flat, p), load(tag, flat, p + width), x - f32(i)
                            )
                        store(sums, at, add(total, other))
                    ray += 1
                    at += width
        at = i64(0)
        for r in range(run0, run1):
            view, col0, ray = runs[r, 0], runs[r, 1], runs[r, 4]
            columns = runs[r, 2] - col0
            for b in range(count):
                for c in range(columns):
                    out[b, view, col0 + c] = sums[at + c * width + b] * length[ray + c]
            at += columns * width


@kernel
def pack_rays(
    tag, room: f32[::1], first: i64, last: i64, sinograms: f32[:, :, ::1], runs: i64[:, ::1],
    length: f32[::1], packed: f32[:, ::1],
):  # fmt: skip
    """Copy the rays of runs of (B, views, cols), times their length, to (rays, L)."""
    count = sinograms.shape[0]
    width = len(tag)
    for r in range(first, last):
        view, col0, ray = runs[r, 0], runs[r, 1], runs[r, 4]
        for c in range(runs[r, 2] - col0):
            for b in range(count):
                packed[ray + c, b] = sinograms[b, view, col0 + c] * length[ray + c]
            for b in range(count, width):
                packed[ray + c, b] = 0.0


@kernel
def back_project(
    tag, room: f32[::1], first: i64, last: i64, packed: f32[::1], runs: i64[:, ::1],
    start: f32[::1], slope: f32[::1], begin: i32[::1], end: i32[::1], band: i64, line_rows: i64,
    line_cols: i64, along_rows: f32[::1], along_cols: f32[::1],
):  # fmt: skip
    """Transpose of :func:`project`: add packed rays into bands of the two lane-innermost images."""
    width = i64(len(tag))
    bands_rows = (len(along_rows) // line_rows + band - 1) // band
    for task in range(first, last):
        axis = 0 if task < bands_rows else 1
        flat = along_rows if axis == 0 else along_cols
        line = line_rows if axis == 0 else line_cols
        low = (task if axis == 0 else task - bands_rows) * band
        for r in range(len(runs)):
            if runs[r, 3] != axis:
                continue
            ray = runs[r, 4]
            for _ in range(runs[r, 1], runs[r, 2]):
                s0 = max(low, i64(begin[ray]))
                s1 = min(low + band, i64(end[ray]))
                if s1 > s0:
                    x0, dx = start[ray], slope[ray]
                    value = load(tag, packed, ray * width)
                    for s in range(s0, s1):
                        x = x0 + dx * f32(s)
                        i = i64(nb.int32(x))
                        p = s * line + i * width
                        w = x - f32(i)
                        store(flat, p, fma(load(tag, flat, p), value, f32(1.0) - w))
                        store(flat, p + width, fma(load(tag, flat, p + width), value, w))
                ray += 1
