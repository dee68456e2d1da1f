"""A quick look: single-slice rebinning, then the axial filtered backprojection.

A slice at z takes from each view the row whose ray crosses the slice above the axis, and from every
view angle its nearest turns. With the distance Δz of the focal spot from the slice (Noo, Defrise,
Clackdoyle, Phys. Med. Biol. 44 (1999) 561, on a curved detector)

    v = Δz·d0/(ρ0 cos γ),   p_fan(β, γ) = p(β, γ, v)·d0/√(d0² + v²).

Turns are averaged with weights that fall linearly to the edge of the detector. Rows are averaged
over the slice thickness. The spot's own height counts, its flight in the plane does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numba as nb
import numpy as np
import torch
from tqdm import tqdm

from ..engine.threads import share
from ..fbp.windows import Window
from ..geometry import ImageGrid
from ..operator import operator
from ..scan.lazy_views import in_turn
from ..scan.scan import VIEWS_AT_ONCE, Scan, pieces

__all__ = ["preview_slabs"]

_AT_ONCE = 16  # slices
_LEAST = 1e-3  # weight of a row at the edge of the detector, where no other saw the slice


def preview_slabs(
    scan: Scan,
    grid: ImageGrid,
    z: np.ndarray,
    thickness: float,
    window: Window,
    *,
    progress: bool = False,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices: their places in ``z``, and attenuation (n, rows, cols) [1/mm].

    The arguments are those of :func:`recon.helical.reconstruct`, but that the heights ``z`` grow.
    """
    g = scan.geometry
    turn = g.views_per_rotation
    step = float(g.angles[-1] - g.angles[0]) / (len(g) - 1)
    inverse = operator(g.fan(g.angles[0] + step * np.arange(turn)), grid)
    member = np.rint((g.angles - g.angles[0]) / step).astype(np.int64) % turn
    # heights on the detector of 1 mm above the axis, in rows
    per_mm = g.src_det / (g.src_iso * np.cos(g.fan_angles)) / g.row_pitch
    columns = _Columns(per_mm, g.row_pitch / g.src_det)
    middle = g.spot_row(g.shift_z)
    reach = max(abs(g.feed) / 2, g.collimation / 2) + thickness
    # slices, some at once
    for start in tqdm(range(0, len(z), _AT_ONCE), desc="preview", disable=not progress):
        part = slice(start, min(start + _AT_ONCE, len(z)))
        low, high = z[part][0] - reach, z[part][-1] + reach
        near = np.flatnonzero((g.source_z >= low) & (g.source_z <= high))
        sums = np.zeros((part.stop - part.start, turn, g.n_cols), np.float32)
        weights = np.zeros_like(sums)
        slices = _Slices(z[part], thickness / 2, reach)
        some = pieces(int(near[0]), int(near[-1]) + 1, min(VIEWS_AT_ONCE, turn))
        for piece, rays in zip(some, in_turn(scan.line_integrals, some)):  # views
            views = np.ascontiguousarray(rays, dtype=np.float32)
            seen = _Views(views, member[piece], g.source_z[piece], middle[piece])
            share(len(views), _collect, seen, columns, slices, sums, weights)
        fans = torch.from_numpy(sums / np.maximum(weights, np.float32(1e-9)))
        yield part, inverse.fbp(fans, window).numpy()


class _Views(NamedTuple):
    """Views as they are measured, and where they were taken."""

    line_integrals: np.ndarray  # (n, rows, cols)
    member: np.ndarray  # (n,) place of each in its turn
    source_z: np.ndarray  # (n,) height of the focal spot [mm]
    middle: np.ndarray  # (n,) row coordinate of the spot's own height; the first edge is 0 [rows]


class _Columns(NamedTuple):
    """What 1 mm above the axis is on the detector."""

    per_mm: np.ndarray  # (cols,) [rows per mm]
    slope: float  # tangent of the cone angle that one row stands for


class _Slices(NamedTuple):
    """The slices that are collected for."""

    z: np.ndarray  # (slices,) [mm]
    half: float  # half a slice's thickness [mm]
    reach: float  # farthest that a slice may lie from the spot [mm]


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _collect(first, last, views, columns, slices, sums, weights):
    """Add what views see of the slices to their fans (slices, turn, cols)."""
    _, rows, cols = views.line_integrals.shape
    z = slices.z
    for k in range(first, last):  # views: within a turn no two have the same place
        member = views.member[k]
        running = np.empty(rows + 1)
        for c in range(cols):  # detector columns
            per_mm = columns.per_mm[c]
            running[0] = 0.0
            for r in range(rows):  # detector rows, from the largest z down
                running[r + 1] = running[r] + views.line_integrals[k, r, c]
            for i in range(len(z)):  # slices
                climb = z[i] - views.source_z[k]
                if abs(climb) > slices.reach:
                    continue
                row = views.middle[k] - climb * per_mm
                wide = max(slices.half * per_mm, 0.5)
                ends = 0.0
                low = min(max(row - wide, 0.0), rows - 1.0)
                high = max(min(row + wide, float(rows)), low + 1.0)
                for end, sign in ((high, 1.0), (low, -1.0)):  # both edges of the slice, in rows
                    at = min(int(end), rows - 1)
                    ends += sign * (running[at] + (end - at) * (running[at + 1] - running[at]))
                weight = max(1.0 - abs(row - rows / 2) / (rows / 2), _LEAST)
                v = climb * per_mm * columns.slope
                sums[i, member, c] += weight * ends / (high - low) / np.sqrt(1.0 + v * v)
                weights[i, member, c] += weight
