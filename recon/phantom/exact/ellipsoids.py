"""Phantoms made of ellipsoids, whose line integrals on a helix are known exactly.

Rays run from the flying focal spot of each view to points of its detector, as `recon.scan.helix`
has them; `recon.phantom.exact.ellipsoid_rays` has the equation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...checks import count, one_of
from ...engine.threads import share
from ...errors import DataError
from ...scan.helix import HelicalScan
from ..helix_views import PhantomViews, check_room, flat_turn
from .ellipses import check_parts, check_shape
from .ellipsoid_rays import Rays, project

__all__ = ["Ellipsoid", "EllipsoidPhantom", "water_with_inserts"]


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """One homogeneous ellipsoid, whose value adds to whatever it overlaps.

    Parameters
    ----------
    centre : (x, y, z)
        Centre [mm]: x to the right, y downward, z from the table to the gantry.
    axes : (a, b, c)
        Half axes [mm]; c along z. An infinite c makes a cylinder.
    angle : float
        Direction of the half axis ``a`` from +x towards +y [rad].
    value : float
        What it adds inside, usually attenuation [1/mm].

    Raises
    ------
    DataError
        If a half axis is not positive, or a number is not finite (c alone may be infinite).

    Examples
    --------
    >>> Ellipsoid(centre=(0, 0, 5), axes=(3, 2, math.inf), value=0.02).value
    0.02
    """

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    angle: float = 0.0
    value: float

    def __post_init__(self) -> None:
        check_shape(self, 3)

    def row(self) -> tuple[float, ...]:
        """The numbers of the ellipsoid as the kernel takes them."""
        a, b, c = self.axes
        turn = (math.cos(self.angle), math.sin(self.angle))
        return (*self.centre, 1 / a, 1 / b, 1 / c, *turn, self.value)


@dataclass(frozen=True)
class EllipsoidPhantom:
    """Ellipsoids with exact projections on a helix.

    Parameters
    ----------
    ellipsoids : sequence of Ellipsoid
        At least one.
    overlap : {"add", "replace"}
        Where ellipsoids overlap, their values add, or the last of them counts alone, as in a
        picture that is painted over; then no value may be negative.

    Examples
    --------
    >>> helix = HelicalScan(
    ...     angles=[0.0, 0.5], z=[0.0, 1.0], src_iso=595, src_det=1085.6, n_rows=2, n_cols=5,
    ...     row_pitch=1.1, col_pitch=20.0, views_per_rotation=16)
    >>> ball = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 0), axes=(50, 50, 50), value=0.02)])
    >>> ball.line_integrals(helix)[0, :, 2].round(3).tolist()
    [2.0, 2.0]
    """

    ellipsoids: Sequence[Ellipsoid]
    overlap: str = "add"

    def __post_init__(self) -> None:
        object.__setattr__(self, "ellipsoids", tuple(self.ellipsoids))
        check_parts(self.ellipsoids, Ellipsoid)
        one_of("overlap", self.overlap, ("add", "replace"))
        if self.overlap == "replace" and min(e.value for e in self.ellipsoids) < 0.0:
            raise DataError(
                "what replaces another value must not be negative", where="ellipsoids",
                expected="values ≥ 0", got=min(e.value for e in self.ellipsoids),
            )  # fmt: skip

    def values(self, x: Any, y: Any, z: Any) -> np.ndarray:
        """Return the value at points [mm], whose coordinates broadcast; 0 outside."""
        x, y, z = (np.asarray(v, dtype=np.float64) for v in (x, y, z))
        found = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape))
        for e in self.ellipsoids:
            (a, b, c), cosine, sine = e.axes, math.cos(e.angle), math.sin(e.angle)
            u, v = x - e.centre[0], y - e.centre[1]
            flat = ((u * cosine + v * sine) / a) ** 2 + ((v * cosine - u * sine) / b) ** 2
            inside = flat + ((z - e.centre[2]) / c) ** 2 <= 1.0
            if self.overlap == "replace":
                found[inside] = e.value
            else:
                found[inside] += e.value
        return found

    def line_integrals(
        self, helical: HelicalScan, subrays: int | tuple[int, int] = 1
    ) -> np.ndarray:
        """Exact line integrals, averaged over equidistant rays across each detector element.

        Parameters
        ----------
        helical : HelicalScan
            Where the rays run.
        subrays : int or (int, int)
            Rays an element, in the direction of the rows and of the columns; 1 is the ray to the
            element's centre, (5, 1) models the height of a row.

        Returns
        -------
        np.ndarray, shape (views, rows, cols), float32

        Raises
        ------
        DataError
            If ``subrays`` is below 1, or the phantom reaches the focal spot or the detector.
        """
        rows, cols = (subrays, subrays) if isinstance(subrays, int) else subrays
        count("subrays", min(rows, cols), 1)
        check_room(helical, self._reach)
        fine = np.arange(helical.n_cols * cols)
        within = (fine % cols + 0.5) / cols - 0.5
        gamma = np.repeat(helical.fan_angles, cols) + within * helical.col_pitch / helical.src_det
        fine = np.arange(helical.n_rows * rows)
        within = (fine % rows + 0.5) / rows - 0.5
        height = np.repeat(helical.row_heights, rows) - within * helical.row_pitch
        out = np.empty(helical.shape, dtype=np.float32)
        rays = Rays.of(helical, gamma, height)
        table = np.array([e.row() for e in self.ellipsoids])
        share(len(out), project, table, self.overlap == "replace", rays, out)
        return out

    def views(self, helical: HelicalScan, subrays: int | tuple[int, int] = 1) -> PhantomViews:
        """Line integrals that are calculated when they are asked for."""
        check_room(helical, self._reach)
        return PhantomViews(helical, partial(self.line_integrals, subrays=subrays), self._bounds)

    @property
    def _reach(self) -> float:
        return max(math.hypot(*e.centre[:2]) + max(e.axes[:2]) for e in self.ellipsoids)

    def _bounds(self, helical: HelicalScan) -> tuple[float, float]:
        """Bounds of the line integrals.

        Where values replace each other, a ray sees at most what it sees where each ellipsoid is
        infinitely long along z and the larger values lie on top.
        """
        g = helical
        if self.overlap == "add":
            far = 2 * math.sqrt(1 + (g.collimation / g.src_iso) ** 2)
            parts = [e.value * max(e.axes[:2]) * far for e in self.ellipsoids]
            return min(sum(v for v in parts if v < 0), 0.0), sum(v for v in parts if v > 0)
        cylinders = [
            replace(e, axes=(*e.axes[:2], math.inf))
            for e in sorted(self.ellipsoids, key=lambda e: e.value)
        ]
        flat = flat_turn(g, 0.0, max(g.views_per_rotation // 144, 1))
        most = EllipsoidPhantom(cylinders, overlap="replace").line_integrals(flat).max()
        height = np.abs(g.row_heights).max() + g.row_pitch + np.abs(g.shift_z).max()
        # five per cent for rays between those of the turn
        tilt = math.hypot(1, height / (g.src_det - abs(g.shift_radius).max()))
        return 0.0, float(1.05 * most * tilt)


def water_with_inserts(mu_water: float, *, diameter: float = 240.0) -> EllipsoidPhantom:
    """Return a water cylinder along z with four rods, and a small sphere at z = 0.

    Rods of 24 mm at 70 mm from the axis have 60, -100 and 300 HU; one of 16 mm, at 45 mm, has -20;
    the sphere of 10 mm has 200 HU.

    Parameters
    ----------
    mu_water : float
        Attenuation of water [1/mm].
    diameter : float
        Diameter of the cylinder [mm].

    Returns
    -------
    EllipsoidPhantom
    """
    scale = diameter / 240.0
    water = Ellipsoid(centre=(0, 0, 0), axes=(diameter / 2, diameter / 2, math.inf), value=mu_water)
    contents = (
        (70.0, 0.0, 12.0, math.inf, mu_water * 60.0 / 1000),
        (-20.0, 67.0, 12.0, math.inf, mu_water * -100.0 / 1000),
        (-35.0, -60.0, 12.0, math.inf, mu_water * 300.0 / 1000),
        (20.0, 40.0, 8.0, math.inf, mu_water * -20.0 / 1000),
        (-60.0, 15.0, 5.0, 5.0, 0.2 * mu_water),
    )
    parts = [
        Ellipsoid(
            centre=(x * scale, y * scale, 0.0), axes=(a * scale, a * scale, c * scale), value=mu
        )
        for x, y, a, c, mu in contents
    ]
    return EllipsoidPhantom([water, *parts])
