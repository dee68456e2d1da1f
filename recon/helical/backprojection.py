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

from ..engine.simd import add, fma, load, quotient, store, sub, zero
from ..engine.threads import share
from ..geometry import ImageGrid
from .lookup import LANES, Rise, blend, edge, falls, table, table_tag
from .parallel_views import ParallelStream

__all__ = ["TILE", "backproject", "round_tiles", "turns_of"]

TILE = 16
"""Side of the squares of pixels that are walked over; rays to a row of one are found together."""

CELLS = 1024
"""Cells of the heights of a slab, in each of which it is known where to begin."""

# what `_see` finds of the rays to a row of pixels, one after the other, TILE pixels each
SAMPLE, SHARE, UP, DOWN, STEP, CELL, HIGHEST = range(0, 7 * TILE, TILE)
ALONG, LENGTH, SPOT = UP, DOWN, STEP  # on the way there

f32 = nb.float32
i64 = nb.int64


class Turns(NamedTuple):
    """The parallel views that see a voxel under one angle modulo 180°, of every half turn."""

    rows: np.ndarray  # (turns · states · fine · table,) running sums of the detector rows
    source_z: np.ndarray  # (turns, states, fine) height of the spot of each ray [mm]
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


class Heights(NamedTuple):
    """Heights of the slices, in cells of equal width that tell where to begin."""

    heights: np.ndarray  # (slices + more,) growing; one slice behind the last, then infinity
    contiguous: bool  # whether each slice begins where the one before it ends
    lowest: np.float32  # where the first cell begins [mm]
    cells_per_mm: np.float32
    first: np.ndarray  # (cells + 1,) first slice that is not below the cell; none above the last


class Pixels(NamedTuple):
    """Places of the pixels, and the squares of them that are walked over."""

    x: np.ndarray  # (cols + 16,) [mm]
    y: np.ndarray  # (rows,) [mm]
    radius2: np.float32  # square of the radius of the field of view [mm²]
    tiles: np.ndarray  # (tiles, 2) first row and column of each


def heights_of(z: np.ndarray, thickness: float, room: int) -> Heights:
    """Return growing heights in cells, with room for more [mm]."""
    width = (z[-1] - z[0]) / CELLS
    # a little below the cell, since a ray's own heights are rounded
    begin = z[0] + (np.arange(CELLS) - 0.01) * width
    return Heights(
        heights=np.append([*z, z[-1] + thickness], np.full(room - len(z), np.inf)).astype("f4"),
        contiguous=bool(np.allclose(np.diff(z), thickness, rtol=1e-4, atol=0.0)),
        lowest=f32(z[0]),
        cells_per_mm=f32(1 / width if width > 0 else 0.0),
        first=np.append(np.searchsorted(z, begin), len(z) + 1),
    )


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
        Heights in growing order [mm].
    thickness : float
        Slice thickness [mm].
    first, stop : int
        Parallel angles that see the slices.
    angles : range
        Angles modulo 180° to add, 0 … half - 1.
    out : np.ndarray, shape (rows, cols, a multiple of 16), float32
        Added to [1/mm]; behind the slices are values that mean nothing.
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
    pixels = Pixels(
        x=np.append(grid.x, np.zeros(TILE)).astype(np.float32),
        y=grid.y.astype(np.float32),
        radius2=f32(plan.radius**2),
        tiles=round_tiles(grid, plan.radius),
    )
    heights = heights_of(z, thickness, out.shape[2] + 16)
    for j in angles:  # parallel angles modulo 180°
        numbers, sign = turns_of(j, first, stop, plan.half)
        if len(numbers) == 0:
            continue
        theta = np.stack([plan.theta(numbers[0], s) for s in range(len(plan.states))])
        rows, source_z = stream.filtered(numbers)
        turns = Turns(
            rows=rows.reshape(-1),
            source_z=source_z,
            signs=sign,
            cosine=np.cos(theta).astype(np.float32),
            sine=np.sin(theta).astype(np.float32),
            step=f32(plan.theta_step),
        )
        share(
            len(pixels.tiles), _backproject, (LANES, table_tag(g.n_rows)), turns, fan, detector,
            rise, pixels, heights, out,
        )  # fmt: skip


@nb.njit(cache=True, error_model="numpy")
def _between(values, n, w):
    """The values at n and n + 1, interpolated."""
    low = values[n]
    return low + w * (values[n + 1] - low)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract"})
def _see(x, y, s, turns, fan, detector, rise, z, rays):
    """Where the half turns of state s see the pixels at ``x`` of the row at ``y``.

    Fills ``rays`` (turns, 7·TILE). The first and the last of the loops over pixels fill vector
    registers, a lane a pixel; looking up does not. What it writes piece by piece is read as vectors
    only after all half turns, when it has long been written.
    """
    cosine, sine, centre = turns.cosine[s], turns.sine[s], detector.centre[s]
    foot, length = fan.foot[s], fan.length[s]
    last = f32(len(foot) - 2)
    cells = f32(len(z.first) - 1)
    for k in range(len(turns.signs)):  # half turns that see the slices
        sign, source_z, ray = turns.signs[k], turns.source_z[k, s], rays[k]
        for p in range(TILE):  # pixels: t across the rays, and the place along them [mm]
            m = (sign * (x[p] * cosine - y * sine) - fan.first) * fan.per_mm
            n = np.floor(min(max(m, f32(0.0)), last))
            ray[SAMPLE + p] = n  # between fine samples n and n + 1, at the fraction w
            ray[SHARE + p] = m - n
            ray[ALONG + p] = sign * (x[p] * sine + y * cosine)
        for p in range(TILE):  # pixels
            n, w = i64(ray[SAMPLE + p]), ray[SHARE + p]
            # from the spot to the voxel and the detector in the plane, and the spot's height [mm]
            ray[ALONG + p] += _between(foot, n, w)
            ray[LENGTH + p] = _between(length, n, w)
            ray[SPOT + p] = _between(source_z, n, w)
    for k in range(len(turns.signs)):  # half turns
        ray = rays[k]
        for p in range(TILE):  # pixels
            scale = ray[LENGTH + p] * detector.per_mm / ray[ALONG + p]  # rows per mm of z
            # a voxel at z lies at start - scale·z, the slice takes wide to either side
            start = centre + ray[SPOT + p] * scale
            wide = max(detector.half_slice * scale, detector.least)
            mm = f32(1.0) / scale
            cell = ((start - rise.top - wide) * mm - z.lowest) * z.cells_per_mm
            ray[UP + p] = start + wide
            ray[DOWN + p] = start - wide
            ray[STEP + p] = -scale
            ray[CELL + p] = min(max(cell, f32(0.0)), cells)
            ray[HIGHEST + p] = (start + wide) * mm  # of the heights that the detector sees [mm]


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _backproject(first, last, tags, turns, fan, detector, rise, pixels, z, out):
    """Add one angle modulo 180° to ``out`` (rows, cols, slices)."""
    tag, registers = tags  # lanes of a register, and registers of a table of detector rows
    x, y = pixels.x, pixels.y
    rows, cols, slices = out.shape
    images = out.reshape(rows * cols * slices)
    states, fine = fan.foot.shape
    room = slices + 16  # of a pixel: a ray's slices may begin anywhere, and come 16 at a time
    for task in range(first, last):  # squares of pixels
        running = table(registers, detector.running, 0)
        length = 16 * len(registers)  # of the running sums of one ray, over the detector rows
        rays = np.empty((len(turns.signs), 7 * TILE), np.float32)
        total = np.empty(TILE * room, np.float32)
        weight = np.empty(TILE * room, np.float32)
        i0, j0 = pixels.tiles[task, 0], pixels.tiles[task, 1]
        for i in range(i0, min(i0 + TILE, rows)):  # rows of pixels
            left, right = j0, min(j0 + TILE, cols)
            while left < right and x[left] * x[left] + y[i] * y[i] > pixels.radius2:
                left += 1
            while left < right and x[right - 1] * x[right - 1] + y[i] * y[i] > pixels.radius2:
                right -= 1
            if left == right:
                continue
            for b in range(0, TILE * room, 16):
                store(total, b, zero(tag))
                store(weight, b, zero(tag))
            for s in range(states):  # focal-spot states
                _see(x[left : left + TILE], y[i], s, turns, fan, detector, rise, z, rays)
                for k in range(len(turns.signs)):  # half turns that see the slices
                    ray = rays[k]
                    # a pixel after the other within one half turn, not the half turns of one pixel:
                    # what is added to is long written when it is read again from another place
                    for p in range(right - left):  # pixels
                        b = i64(z.first[i64(ray[CELL + p])])
                        highest = ray[HIGHEST + p]
                        if z.heights[b] > highest:
                            continue
                        step = ray[STEP + p]
                        up, down = ray[UP + p], ray[DOWN + p]
                        at = ((k * states + s) * fine + i64(ray[SAMPLE + p])) * length
                        sums = blend(
                            table(registers, turns.rows, at),
                            table(registers, turns.rows, at + length),
                            ray[SHARE + p],
                        )
                        shared = z.contiguous and -step * detector.half_slice >= detector.least
                        while z.heights[b] <= highest:  # slices, 16 or 15 a time
                            heights = load(tag, z.heights, b)
                            value = edge(sums, heights, up, step, rise)
                            seen = edge(running, heights, up, step, rise)
                            if shared:  # the upper edge of a slice is the lower one of the next
                                value, seen = falls(value), falls(seen)
                            else:
                                value = sub(value, edge(sums, heights, down, step, rise))
                                seen = sub(seen, edge(running, heights, down, step, rise))
                            q = p * room + b
                            store(total, q, add(load(tag, total, q), value))
                            store(weight, q, add(load(tag, weight, q), seen))
                            b += 15 if shared else 16
            for p in range(right - left):  # pixels
                at = (i * cols + left + p) * slices
                for b in range(0, slices, 16):  # slices, 16 a time
                    mean = quotient(
                        load(tag, total, p * room + b), load(tag, weight, p * room + b), f32(1e-6)
                    )
                    store(images, at + b, fma(load(tag, images, at + b), mean, turns.step))
