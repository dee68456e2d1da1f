"""Exact line integrals of ellipsoids along the rays of a helical scan.

With ``M`` the matrix that turns an ellipsoid about its centre c into the unit sphere, a ray from s
in the direction d (of length one) runs inside it over

    2 √(B² - A·C) / A,   A = |Md|²,  B = Md·M(s - c),  C = |M(s - c)|² - 1,

the distance of the roots of ``|M(s + u·d - c)|² = 1``. Where the last ellipsoid covers the earlier
ones, each counts over the stretch that none of its successors has.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ...scan.helix import HelicalScan

__all__ = ["Rays", "project"]


class Rays(NamedTuple):
    """Where rays run: from the spot of each view to places on its detector, row by row."""

    sources: np.ndarray  # (views, 3) focal spot [mm]
    angles: np.ndarray  # (views,) [rad]
    z: np.ndarray  # (views,) middle of the detector [mm]
    src_iso: float  # [mm]
    src_det: float  # [mm]
    gamma: np.ndarray  # fan angle of each column of rays [rad]
    height: np.ndarray  # of each row of rays above the middle of the detector, falling [mm]

    @classmethod
    def of(cls, helical: HelicalScan, gamma: np.ndarray, height: np.ndarray) -> Rays:
        """The rays of a scan to these places on its detector."""
        places = (helical.sources(), helical.angles, helical.z)
        return cls(*places, helical.src_iso, helical.src_det, gamma, height)


@njit(nogil=True, cache=True, error_model="numpy")
def project(first, last, table, covering, rays, out):  # type: ignore[no-untyped-def]
    """Write the mean of the line integrals of the rays of each element to ``out``.

    ``table`` has the rows of `Ellipsoid.row`; with ``covering``, the last of several ellipsoids
    counts where they overlap.
    """
    _, rows, cols = out.shape
    sources, angles, z, src_iso, src_det, gamma, height = rays
    sub_rows, sub_cols = len(height) // rows, len(gamma) // cols  # rays of an element
    share = 1.0 / (sub_rows * sub_cols)
    for v in range(first, last):  # views
        sx, sy, sz = sources[v]
        cx, cy = -src_iso * math.sin(angles[v]), -src_iso * math.cos(angles[v])
        beam = np.empty(len(table), dtype=np.int64)
        within = _within_beam(
            table, sources[v], math.hypot(sx - cx, sy - cy), src_det,
            z[v] + height[-1] - sz, z[v] + height[0] - sz, beam,
        )  # fmt: skip
        # of the ellipsoids whose shadow on the axial plane the ray crosses: number, spot and
        # direction in units of the half axes
        near = np.empty(len(table), dtype=np.int64)
        seen = np.empty((len(table), 6))
        begin, end = np.empty(len(table)), np.empty(len(table))
        total = np.empty(rows)
        for c in range(cols):  # columns of elements
            total[:] = 0.0
            for j in range(c * sub_cols, (c + 1) * sub_cols):  # columns of rays
                dx = cx + src_det * math.sin(angles[v] + gamma[j]) - sx
                dy = cy + src_det * math.cos(angles[v] + gamma[j]) - sy
                count = 0
                for e in beam[:within]:
                    x, y = sx - table[e, 0], sy - table[e, 1]
                    cosine, sine = table[e, 6], table[e, 7]
                    px = (x * cosine + y * sine) * table[e, 3]
                    py = (y * cosine - x * sine) * table[e, 4]
                    qx = (dx * cosine + dy * sine) * table[e, 3]
                    qy = (dy * cosine - dx * sine) * table[e, 4]
                    if (px * qy - py * qx) ** 2 < qx * qx + qy * qy:
                        near[count] = e
                        pz = (sz - table[e, 2]) * table[e, 5]
                        seen[count] = (px, py, pz, qx, qy, table[e, 5])
                        count += 1
                for i in range(rows * sub_rows):  # rows of rays
                    dz = z[v] + height[i] - sz
                    covered, sum_of_parts = 0, 0.0
                    for n in range(count - 1, -1, -1):  # from the topmost
                        px, py, pz, qx, qy, per_z = seen[n]
                        qz = dz * per_z
                        a = qx * qx + qy * qy + qz * qz
                        middle = -(px * qx + py * qy + pz * qz) / a
                        # a·(1 - squared distance of the ray from the sphere's centre)
                        wx, wy, wz = px + middle * qx, py + middle * qy, pz + middle * qz
                        inside = 1.0 - (wx * wx + wy * wy + wz * wz)
                        if inside <= 0.0:
                            continue
                        half = math.sqrt(inside / a)
                        part = 2.0 * half
                        if covering:
                            # what no later ellipsoid has covered; the covered stretches are apart
                            low, high, kept = middle - half, middle + half, 0
                            front, back = low, high
                            for m in range(covered):
                                overlap = min(high, end[m]) - max(low, begin[m])
                                if overlap > 0.0:
                                    part -= overlap
                                    front, back = min(front, begin[m]), max(back, end[m])
                                else:
                                    begin[kept], end[kept] = begin[m], end[m]
                                    kept += 1
                            begin[kept], end[kept] = front, back
                            covered = kept + 1
                        sum_of_parts += table[near[n], 8] * part
                    total[i // sub_rows] += sum_of_parts * math.sqrt(dx * dx + dy * dy + dz * dz)
            for r in range(rows):
                out[v, r, c] = total[r] * share


@njit(cache=True, error_model="numpy")
def _within_beam(table, spot, shift, src_det, low, high, found):  # type: ignore[no-untyped-def]
    """Number of the ellipsoids that a beam between two heights at the detector can reach."""
    count = 0
    for e in range(len(table)):
        far = math.hypot(table[e, 0] - spot[0], table[e, 1] - spot[1])
        reach = 1.0 / min(table[e, 3], table[e, 4])
        # shares of the way to the elements, which are src_det ± shift away in the axial plane
        first, last = max(far - reach, 0.0) / (src_det + shift), (far + reach) / (src_det - shift)
        top, bottom = max(high * first, high * last), min(low * first, low * last)
        above = table[e, 2] - spot[2]
        tall = 1.0 / table[e, 5] if table[e, 5] > 0.0 else math.inf
        if above - tall <= top and above + tall >= bottom:
            found[count] = e
            count += 1
    return count
