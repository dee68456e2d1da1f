"""Voxel volumes as phantoms: line integrals on a helix, by rays through trilinear interpolation.

Between voxel centres the object is the trilinear interpolation of its attenuation, which falls to
air within a voxel beyond the volume. A ray is followed from plane to plane of voxel centres, along
whichever of x and y it is nearer to,

    p = Δs Σ_k µ(r_k),   Δs = d / max(|cos θ|, |sin θ|) · √(1 + tan²κ),

with d the distance of the planes, θ the direction of the ray in the axial plane and κ its cone
angle (Joseph, IEEE Trans. Med. Imaging 1(3):192, 1982, in three dimensions). All rows of a column
share their way through the axial plane, so each step interpolates a line of voxels along z once
and then reads it at every row. A volume of homogeneous boxes (Siddon) would add steps at every face
to what is scanned; these alias into the images as windmills, and interpolation has none.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numba import njit

from ...checks import numbers, positive
from ...engine.threads import share
from ...errors import DataError
from ...scan.helix import HelicalScan
from ...units import AIR_HU, hu_to_mu
from ..exact.ellipsoid_rays import Rays
from ..helix_views import PhantomViews, check_room, flat_turn

__all__ = ["VoxelPhantom"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class VoxelPhantom:
    """A volume in HU with line integrals on a helix; outside of it there is air.

    Parameters
    ----------
    hu : array, shape (slices, rows, cols)
        CT numbers [HU], finite, at least 2 × 2 × 1; below -1000 is padding and counts as air. The
        slices go up along z, rows and columns are those of the image.
    spacing : (float, float, float)
        Distance of slices, rows and columns (sz, sy, sx) [mm].
    mu_water : float
        Attenuation of water [1/mm].
    centre : (x, y, z)
        Where the middle of the volume is [mm].

    Raises
    ------
    DataError
        If the volume is no such array, or a distance is not positive.

    Examples
    --------
    >>> water = VoxelPhantom(hu=np.zeros((3, 50, 50)), spacing=(2.0, 2.0, 2.0), mu_water=0.02)
    >>> helix = HelicalScan(
    ...     angles=[0.0, 0.5], z=[0.0, 1.0], src_iso=595, src_det=1085.6, n_rows=1, n_cols=3,
    ...     row_pitch=1.1, col_pitch=20.0, views_per_rotation=16)
    >>> float(water.line_integrals(helix)[0, 0, 1].round(4))
    2.0
    """

    hu: np.ndarray
    spacing: tuple[float, float, float]
    mu_water: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _mu: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        try:
            hu = np.asarray(self.hu, dtype=np.float32)
        except (TypeError, ValueError):
            hu = np.empty(0, dtype=np.float32)
        if hu.ndim != 3 or min(hu.shape) < 1 or min(hu.shape[1:]) < 2:
            raise DataError(
                "a volume is not of this shape", where="hu",
                expected="numbers, (slices, rows, cols), at least (1, 2, 2)", got=np.shape(self.hu),
            )  # fmt: skip
        if not np.isfinite(hu).all():
            raise DataError("the volume holds NaN or infinite values", where="hu")
        spacing = numbers("spacing", self.spacing, 3)
        for value in spacing:
            positive("spacing", value)
        mu = hu_to_mu(np.maximum(hu, AIR_HU), positive("mu_water", self.mu_water, "1/mm"))
        object.__setattr__(self, "hu", hu)
        object.__setattr__(self, "spacing", spacing)
        object.__setattr__(self, "centre", numbers("centre", self.centre, 3))
        # (rows, cols, slices) within a voxel of air: what a column sees in a step lies together
        padded = np.pad(np.asarray(mu, dtype=np.float32), 1).transpose(1, 2, 0)
        object.__setattr__(self, "_mu", np.ascontiguousarray(padded))

    @property
    def size(self) -> tuple[float, float, float]:
        """Height, depth and width of the volume (z, y, x) [mm]."""
        z, y, x = (n * s for n, s in zip(self.hu.shape, self.spacing))
        return z, y, x

    @property
    def digest(self) -> str:
        """SHA-256 of the attenuation and the distances."""
        places = repr((self._mu.shape, self.spacing, self.centre)).encode()
        return hashlib.sha256(self._mu.tobytes() + places).hexdigest()

    def line_integrals(self, helical: HelicalScan) -> np.ndarray:
        """Line integrals of the rays from the focal spot to the middle of each element.

        Parameters
        ----------
        helical : HelicalScan
            Where the rays run.

        Returns
        -------
        np.ndarray, shape (views, rows, cols), float32

        Raises
        ------
        DataError
            If the volume reaches the focal spot or the detector.
        """
        check_room(helical, self._reach)
        return self._project(self._mu, helical)

    def views(self, helical: HelicalScan) -> PhantomViews:
        """Line integrals that are calculated when they are asked for."""
        check_room(helical, self._reach)
        return PhantomViews(helical, partial(self._project, self._mu), self._bounds)

    def _project(self, mu: np.ndarray, helical: HelicalScan) -> np.ndarray:
        out = np.empty(helical.shape, dtype=np.float32)
        sz, sy, sx = self.spacing
        rows, cols, slices = mu.shape
        counts = zip(self.centre, (cols, rows, slices), (sx, sy, sz))
        x0, y0, z0 = (c - (n - 1) / 2 * s for c, n, s in counts)
        rays = Rays.of(helical, helical.fan_angles, helical.row_heights)
        places = np.array([x0, y0, z0, sx, sy, sz])
        share(len(out), _project, mu, places, rays, out)
        return out

    @property
    def _reach(self) -> float:
        sizes = zip(self.centre[:2], self.hu.shape[:0:-1], self.spacing[:0:-1])
        return math.hypot(*(abs(c) + (n + 1) / 2 * s for c, n, s in sizes))

    def _bounds(self, helical: HelicalScan) -> tuple[float, float]:
        """Bounds of the line integrals.

        The attenuation is nowhere negative, and nowhere above the largest one along z: no ray sees
        more than the same ray in the axial plane through that, times 1/cos κ.
        """
        g = helical
        most = np.repeat(self._mu.max(axis=2, keepdims=True), 3, axis=2)
        heights = np.abs(g.row_heights).max() + np.abs(g.shift_z).max()
        tilt = math.hypot(1, heights / (g.src_det - np.abs(g.shift_radius).max()))
        # a per cent for turns whose views lie between those of the first
        return 0.0, float(self._project(most, flat_turn(g, self.centre[2])).max() * tilt * 1.01)

    def __repr__(self) -> str:
        shape, spacing = (" × ".join(f"{v:g}" for v in it) for it in (self.hu.shape, self.spacing))
        return f"VoxelPhantom({shape} voxels of {spacing} mm)"


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _project(first, last, mu, places, rays, out):  # type: ignore[no-untyped-def]
    """Joseph's line integrals through (rows, cols, slices), all detector rows of a ray at once."""
    _, rows, cols = out.shape
    sources, angles, z, src_iso, src_det, gamma, height = rays
    ny, nx, nz = mu.shape
    x0, y0, z0, sx, sy, sz = places
    for v in range(first, last):  # views
        spot_x, spot_y, spot_z = sources[v]
        cx, cy = -src_iso * math.sin(angles[v]), -src_iso * math.cos(angles[v])
        line = np.empty(nz, dtype=np.float32)
        total = np.empty(rows, dtype=np.float32)
        # row r of the ray is at slice f0 + u·(g0 - r·g1), u from 0 at the spot to 1 at the element
        f0 = (spot_z - z0) / sz
        g0 = (z[v] + height[0] - spot_z) / sz
        g1 = (height[0] - height[rows - 1]) / max(rows - 1, 1) / sz
        for c in range(cols):
            dx = cx + src_det * math.sin(angles[v] + gamma[c]) - spot_x
            dy = cy + src_det * math.cos(angles[v] + gamma[c]) - spot_y
            along_x = abs(dx) / sx > abs(dy) / sy  # more planes across x than across y
            # in voxels: main axis p (planes k), the other q
            if along_x:
                p0, dp, planes = (spot_x - x0) / sx, dx / sx, nx
                q0, dq, nq = (spot_y - y0) / sy, dy / sy, ny
            else:
                p0, dp, planes = (spot_y - y0) / sy, dy / sy, ny
                q0, dq, nq = (spot_x - x0) / sx, dx / sx, nx
            slope = dq / dp
            total[:] = 0.0
            # planes at which 0 < q < nq - 1
            low, high = 0.0, planes - 1.0
            if slope != 0.0:
                at0 = p0 + (0.0 - q0) / slope
                at1 = p0 + (nq - 1.0 - q0) / slope
                low, high = max(low, min(at0, at1)), min(high, max(at0, at1))
            elif not 0.0 < q0 < nq - 1.0:
                continue
            for k in range(math.ceil(low), math.floor(high) + 1):
                u = (k - p0) / dp
                q = q0 + (k - p0) * slope
                m = min(max(int(q), 0), nq - 2)
                w = np.float32(q - m)
                top, step = f0 + u * g0, u * g1
                bottom = top - step * (rows - 1)
                if bottom >= nz - 1.0 or top <= 0.0:
                    continue
                lowest = max(int(bottom), 0)
                highest = min(int(top) + 1, nz - 1)
                if along_x:
                    for s in range(lowest, highest + 1):
                        line[s] = mu[m, k, s] + w * (mu[m + 1, k, s] - mu[m, k, s])
                else:
                    for s in range(lowest, highest + 1):
                        line[s] = mu[k, m, s] + w * (mu[k, m + 1, s] - mu[k, m, s])
                top32, step32 = np.float32(top), np.float32(step)
                if bottom >= 0.01 and top <= nz - 1.01:
                    for r in range(rows):
                        f = top32 - np.float32(r) * step32
                        i = np.int32(f)
                        total[r] += line[i] + (f - np.float32(i)) * (line[i + 1] - line[i])
                else:  # above and below the volume: its layers of air
                    for r in range(rows):
                        f = np.float32(min(max(top - r * step, 0.0), nz - 1.0))
                        i = min(np.int32(f), np.int32(nz - 2))
                        total[r] += line[i] + (f - np.float32(i)) * (line[i + 1] - line[i])
            plane = math.sqrt(dx * dx + dy * dy)
            for r in range(rows):
                dz = z[v] + height[r] - spot_z
                out[v, r, c] = total[r] / abs(dp) * math.sqrt(plane * plane + dz * dz)
