# mypy: disable-error-code="call-arg, var-annotated"
"""Backprojection of parallel views whose rows were seen from a helix, sixteen slices at once.

A voxel is seen from the spot at the distance ``ell = foot + x sin θ + y cos θ`` in the plane. Its
row, counted from the lower edge of the first one, is linear in its height:

    e(z) = r0 + ½ - (Δz + (z - z_s)·length/ell)/row_pitch.

The slice takes from that fan what its kernel covers of the running row sums, C(e + w) - C(e - w),
and the same of the weights. Both add up over the states, the opposite rays and the turns, and are
divided, so that each parallel angle modulo 180° has the weight 1 in each voxel (the normalised row
weights of Stierstorfer et al., Phys. Med. Biol. 49 (2004) 2209).
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np

from ..engine.simd import add, lerp_add, load, store, sub, zero
from ..geometry import ImageGrid
from .lookup import LANES, Rise, edge, table_tag
from .parallel_views import ParallelStream

__all__ = ["TILE", "backproject", "round_tiles", "turns_of"]

TILE = 16

f32 = nb.float32
i64 = nb.int64


class Turns(NamedTuple):
    """The parallel views that see a voxel under one angle modulo 180°, of every half turn."""

    rows: np.ndarray  # (angles at hand · states · fine · table,) running sums of the detector rows
    source_z: np.ndarray  # (angles at hand, states, fine) height of the spot of each ray [mm]
    slots: np.ndarray  # (turns,) which of the angles at hand are added
    signs: np.ndarray  # (turns,) 1, or -1 where t runs the other way: seen from the opposite side
    cosine: np.ndarray  # (states,) of the first of the angles, in each focal-spot state
    sine: np.ndarray
    step: np.float32  # angle that each of them stands for [rad]


class Fan(NamedTuple):
    """Where the rays of each focal-spot state run: tables over the fine samples along t."""

    first: np.float32  # t of the first fine sample [mm]
    per_mm: np.float32  # fine samples per mm
    foot: np.ndarray  # (states, fine) from the spot to the ray's foot point of the axis [mm]
    length: np.ndarray  # (states, fine) from the spot to the detector, in the plane [mm]


class DetectorRows(NamedTuple):
    """What the rows of the detector are to a slice; the first row's lower edge is at 0 [rows]."""

    per_mm: np.float32  # rows per mm at the detector
    centre: np.ndarray  # (states,) where a point at the height z = 0 is seen from a spot there
    half_slice: np.float32  # half the thickness of a slice [mm]
    least: np.float32  # half the least width of the slice's kernel [rows]
    running: np.ndarray  # (table,) running sum of the rows' weights


class Voxels(NamedTuple):
    """Places of the voxels to add to, in mm, and the squares of pixels that are walked over."""

    x: np.ndarray  # (cols,)
    y: np.ndarray  # (rows,)
    z: np.ndarray  # (slices,), a multiple of 16, growing
    radius2: np.float32  # square of the radius of the field of view [mm²]
    tiles: np.ndarray  # (tiles, 2) first row and column of each


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
        Slice thickness [mm].
    first, stop : int
        Parallel angles that see the slices.
    angles : range
        Angles modulo 180° to add, 0 … half - 1.
    out : np.ndarray, shape (rows, cols, slices), float32
        Added to [1/mm].
    """
    plan = stream.plan
    g = plan.geometry
    centre = np.array([g.spot_row(s.shift_z) for s in plan.states])
    fan = Fan(
        first=f32(plan.fine_first),
        per_mm=f32(2 / plan.filter.pitch),
        foot=np.stack([s.foot for s in plan.states]),
        length=np.stack([s.length for s in plan.states]),
    )
    gain = 1.0 / plan.footprint
    detector = DetectorRows(
        per_mm=f32(1 / g.row_pitch),
        centre=centre.astype(np.float32),
        half_slice=f32(thickness / 2),
        least=f32(plan.least_width / 2),
        running=plan.running,
    )
    rise = Rise(top=f32(g.n_rows - 1), gain=f32(gain), shift=f32(0.5 - gain / 2))
    voxels = Voxels(
        x=grid.x.astype(np.float32),
        y=grid.y.astype(np.float32),
        z=z.astype(np.float32),
        radius2=f32(plan.radius**2),
        tiles=round_tiles(grid, plan.radius),
    )
    for j in angles:  # parallel angles modulo 180°
        numbers, sign = turns_of(j, first, stop, plan.half)
        if len(numbers) == 0:
            continue
        theta = np.stack([plan.theta(numbers[0], s) for s in range(len(plan.states))])
        turns = Turns(
            rows=stream.rows.reshape(-1),
            source_z=stream.source_z,
            slots=numbers % stream.room,
            signs=sign,
            cosine=np.cos(theta).astype(np.float32),
            sine=np.sin(theta).astype(np.float32),
            step=f32(plan.theta_step),
        )
        _backproject(LANES, table_tag(g.n_rows), turns, fan, detector, rise, voxels, out)


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _backproject(tag, registers, turns, fan, detector, rise, voxels, out):
    """Add one angle modulo 180° to ``out`` (rows, cols, slices)."""
    x, y, z = voxels.x, voxels.y, voxels.z
    table = i64(len(registers) * 16)  # running sums of one ray, over the detector rows
    blocks = len(z) // 16
    states, fine = fan.foot.shape
    for task in nb.prange(len(voxels.tiles)):  # squares of pixels
        sums = np.empty(table, np.float32)
        total = np.empty(16 * blocks, np.float32)
        weight = np.empty(16 * blocks, np.float32)
        i0, j0 = voxels.tiles[task, 0], voxels.tiles[task, 1]
        for i in range(i0, min(i0 + TILE, len(y))):  # rows of pixels
            for j in range(j0, min(j0 + TILE, len(x))):  # pixels of the row
                if x[j] * x[j] + y[i] * y[i] > voxels.radius2:
                    continue
                for b in range(16 * blocks):  # slices
                    total[b] = f32(0.0)
                    weight[b] = f32(0.0)
                for s in range(states):  # focal-spot states
                    # in the plane: t across the rays, and the place along them from the axis [mm]
                    t = x[j] * turns.cosine[s] - y[i] * turns.sine[s]
                    along = x[j] * turns.sine[s] + y[i] * turns.cosine[s]
                    for k in range(len(turns.slots)):  # half turns that see the slices
                        slot, sign = turns.slots[k], turns.signs[k]
                        # between fine samples n and n + 1, at the fraction w
                        m = (sign * t - fan.first) * fan.per_mm
                        n = min(max(i64(m), i64(0)), fine - 2)
                        w = m - f32(n)
                        # ell: from the spot to the voxel in the plane [mm]; scale: rows per mm of z
                        ell = fan.foot[s, n] + w * (fan.foot[s, n + 1] - fan.foot[s, n])
                        ell += sign * along
                        scale = fan.length[s, n] + w * (fan.length[s, n + 1] - fan.length[s, n])
                        scale *= detector.per_mm / ell
                        spot = turns.source_z[slot, s, n]
                        spot += w * (turns.source_z[slot, s, n + 1] - spot)
                        # a voxel at z lies at start - scale·z, the slice takes wide to either side
                        start = detector.centre[s] + spot * scale
                        wide = max(detector.half_slice * scale, detector.least)
                        low = (start - rise.top - wide) / scale  # heights that the detector sees
                        high = (start + wide) / scale
                        if z[0] > high or z[16 * blocks - 1] < low:
                            continue
                        at = ((slot * states + s) * fine + n) * table
                        for r in range(0, table, 16):  # detector rows, 16 a time
                            left = load(tag, turns.rows, at + r)
                            right = load(tag, turns.rows, at + table + r)
                            store(sums, r, lerp_add(zero(tag), left, right, w))
                        up, down, step = start + wide, start - wide, -scale
                        for b in range(0, 16 * blocks, 16):  # slices, 16 a time
                            if z[b] > high or z[b + 15] < low:
                                continue
                            heights = load(tag, z, b)
                            ray = sub(
                                edge(registers, sums, heights, up, step, rise),
                                edge(registers, sums, heights, down, step, rise),
                            )
                            store(total, b, add(load(tag, total, b), ray))
                            seen = sub(
                                edge(registers, detector.running, heights, up, step, rise),
                                edge(registers, detector.running, heights, down, step, rise),
                            )
                            store(weight, b, add(load(tag, weight, b), seen))
                for b in range(16 * blocks):  # slices
                    if weight[b] > f32(1e-6):
                        out[i, j, b] += turns.step * total[b] / weight[b]
