# mypy: disable-error-code="call-arg, var-annotated"
"""Backprojection of parallel views whose rows were seen from a helix, sixteen slices at once.

A voxel is seen from the spot at the distance ``ell = foot + x sin θ + y cos θ`` in the plane. Its
row, counted from the lower edge of the first one, is linear in its height:

    e(z) = r0 + ½ - (Δz + (z - z_s)·length/ell)/row_pitch.

The slice takes from that fan what its kernel covers of the running row sums, C(e + w) - C(e - w),
and the same of the weights. Both add up over the states, the opposite rays and the turns, and are
divided, so that each parallel angle modulo 180° has the weight 1 in each voxel.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from ..engine.simd import add, lerp_add, load, store, sub, zero
from ..geometry import ImageGrid
from .lookup import LANES, edge, table_tag
from .parallel_views import ParallelStream

__all__ = ["TILE", "backproject", "round_tiles", "turns_of"]

TILE = 16

f32 = nb.float32
i64 = nb.int64


def round_tiles(grid: ImageGrid, radius: float) -> np.ndarray:
    """First row and column of each tile that holds a pixel within ``radius`` [mm], (tiles, 2)."""
    inside = np.hypot(grid.x[None, :], grid.y[:, None]) <= radius
    rows, cols = grid.shape
    padded = np.zeros((-(-rows // TILE) * TILE, -(-cols // TILE) * TILE), bool)
    padded[:rows, :cols] = inside
    tiles = padded.reshape(padded.shape[0] // TILE, TILE, -1, TILE).any(axis=(1, 3))
    found = np.argwhere(tiles) * TILE
    # shuffled, so that every thread gets as much of the full middle as of the sparse border
    return np.ascontiguousarray(found[np.random.default_rng(0).permutation(len(found))])


def turns_of(j: int, first: int, stop: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles ``j + k·half`` in ``first`` … ``stop - 1``, and how their t runs against the first."""
    number = np.arange(first + (j - first) % half, stop, half)
    return number, np.where(np.arange(len(number)) % 2 == 0, 1.0, -1.0).astype(np.float32)


def backproject(
    stream: ParallelStream,
    grid: ImageGrid,
    z: np.ndarray,
    thickness: float,
    first: int,
    stop: int,
    angles: range,
    out: np.ndarray,
) -> None:
    """Add parallel angles to slices.

    Parameters
    ----------
    stream : ParallelStream
        Holds the angles ``first`` … ``stop - 1``.
    grid : ImageGrid
    z : np.ndarray, shape (slices,)
        Heights in growing order, a multiple of 16 of them [mm].
    thickness : float
        Of a slice [mm].
    first, stop : int
        Parallel angles that see the slices.
    angles : range
        Angles modulo 180° to add, 0 … half - 1.
    out : np.ndarray, shape (rows, cols, slices), float32
        Added to [1/mm].
    """
    plan = stream.plan
    g = plan.geometry
    registers = table_tag(g.n_rows)
    centre = np.array(
        [(g.n_rows - 1) / 2 - g.row_offset + 0.5 - s.shift_z / g.row_pitch for s in plan.states]
    )
    foot = np.stack([s.foot for s in plan.states])
    length = np.stack([s.length for s in plan.states])
    gain = 1.0 / plan.footprint
    heights = z.astype(np.float32)
    tiles = round_tiles(grid, plan.radius)
    for j in angles:
        numbers, sign = turns_of(j, first, stop, plan.half)
        if len(numbers) == 0:
            continue
        theta = np.stack([plan.theta(numbers[0], s) for s in range(len(plan.states))])
        _backproject(
            LANES, registers, stream.rows.reshape(-1), stream.source_z, numbers % stream.room, sign,
            np.cos(theta).astype(np.float32), np.sin(theta).astype(np.float32),
            f32(plan.fine_first), f32(2 / plan.filter.pitch), foot, length,
            centre.astype(np.float32), f32(1 / g.row_pitch), f32(thickness / 2),
            f32(plan.least_width / 2), f32(gain), f32(0.5 - gain / 2), plan.running,
            f32(g.n_rows - 1), heights, tiles, grid.x.astype(np.float32),
            grid.y.astype(np.float32), f32(plan.radius**2), f32(plan.theta_step), out,
        )  # fmt: skip


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _backproject(
    tag, registers, rows, source_z, slots, signs, cosine, sine, fine_first, per_mm, foot, length,
    centre, per_row, half_slice, least, gain, shift, running, top, z, tiles, x, y, radius2, share,
    out,
):  # fmt: skip
    table = i64(len(registers) * 16)
    blocks = len(z) // 16
    states, fine = foot.shape
    for task in nb.prange(len(tiles)):
        sums = np.empty(table, np.float32)
        total = np.empty(16 * blocks, np.float32)
        weight = np.empty(16 * blocks, np.float32)
        i0, j0 = tiles[task, 0], tiles[task, 1]
        for i in range(i0, min(i0 + TILE, len(y))):
            for j in range(j0, min(j0 + TILE, len(x))):
                if x[j] * x[j] + y[i] * y[i] > radius2:
                    continue
                for b in range(16 * blocks):
                    total[b] = f32(0.0)
                    weight[b] = f32(0.0)
                for s in range(states):
                    t = x[j] * cosine[s] - y[i] * sine[s]
                    along = x[j] * sine[s] + y[i] * cosine[s]
                    for k in range(len(slots)):
                        m = (signs[k] * t - fine_first) * per_mm
                        n = min(max(i64(m), i64(0)), fine - 2)
                        w = m - f32(n)
                        ell = foot[s, n] + w * (foot[s, n + 1] - foot[s, n]) + signs[k] * along
                        scale = length[s, n] + w * (length[s, n + 1] - length[s, n])
                        scale *= per_row / ell
                        spot = source_z[slots[k], s, n]
                        spot += w * (source_z[slots[k], s, n + 1] - spot)
                        start = centre[s] + spot * scale
                        wide = max(half_slice * scale, least)
                        low = (start - top - wide) / scale
                        high = (start + wide) / scale
                        if z[0] > high or z[16 * blocks - 1] < low:
                            continue
                        at = ((slots[k] * states + s) * fine + n) * table
                        for r in range(0, table, 16):
                            left, right = load(tag, rows, at + r), load(tag, rows, at + table + r)
                            store(sums, r, lerp_add(zero(tag), left, right, w))
                        for b in range(0, 16 * blocks, 16):
                            if z[b] > high or z[b + 15] < low:
                                continue
                            up, down, step = start + wide, start - wide, -scale
                            store(total, b, add(load(tag, total, b), sub(
                                edge(tag, registers, sums, i64(0), z, b, up, step, top, gain,
                                     shift),
                                edge(tag, registers, sums, i64(0), z, b, down, step, top, gain,
                                     shift),
                            )))  # fmt: skip
                            store(weight, b, add(load(tag, weight, b), sub(
                                edge(tag, registers, running, i64(0), z, b, up, step, top, gain,
                                     shift),
                                edge(tag, registers, running, i64(0), z, b, down, step, top, gain,
                                     shift),
                            )))  # fmt: skip
                for b in range(16 * blocks):
                    if weight[b] > f32(1e-6):
                        out[i, j, b] += share * total[b] / weight[b]
