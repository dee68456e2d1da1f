"""Phantoms made of ellipses, whose line integrals are known exactly.

A ray is the line ``{r : r·n = t}`` with the normal ``n = (cos θ, -sin θ)``, the direction in which
``t`` grows for parallel rays of angle θ (x to the right, y downward). Against an ellipse of half
axes a, b turned by α about its centre c it has the chord

    2 a b √(s² - t'²) / s²,   s² = a² cos²(θ + α) + b² sin²(θ + α),   t' = t - c·n

(Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, eqs. 3.4 to 3.9, here
with y downward). A fan ray (β, γ) is the parallel ray θ = β + γ, t = src_iso · sin γ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...checks import count
from ...errors import DataError
from ...geometry import FanBeam, ImageGrid, ParallelBeam
from ..helix_views import check_room

__all__ = [
    "Ellipse", "EllipsePhantom", "check_parts", "check_shape", "inserts_phantom", "water_cylinder",
]  # fmt: skip

_VIEWS_AT_ONCE = 128
_ROWS_AT_ONCE = 32


def check_shape(shape: Any, dimensions: int) -> None:
    """Refuse an ellipse or ellipsoid whose numbers are not finite, or half axes not positive.

    A third half axis may be infinite.
    """
    kind = type(shape).__name__
    numbers = (*shape.centre, *shape.axes[:2], shape.angle, shape.value)
    if {len(shape.centre), len(shape.axes)} != {dimensions} or not np.isfinite(numbers).all():
        raise DataError("finite numbers are needed", where=kind, got=numbers)
    if not min(shape.axes) > 0.0:
        raise DataError("half axes are not positive", where=kind, got=shape.axes)


def check_parts(parts: Sequence[Any], kind: type) -> None:
    """Refuse a phantom of no parts, or of something else than one kind of them."""
    if not parts or not all(isinstance(part, kind) for part in parts):
        raise DataError(
            "a phantom needs parts", expected=f"one {kind.__name__} or more, and no others"
        )


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """One homogeneous ellipse, whose value adds to whatever it overlaps.

    Parameters
    ----------
    centre : (x, y)
        Centre [mm]; x to the right, y downward.
    axes : (a, b)
        Half axes [mm], both positive.
    angle : float
        Direction of the half axis ``a`` from +x towards +y [rad]: clockwise as displayed.
    value : float
        What the ellipse adds inside, usually attenuation [1/mm].

    Raises
    ------
    DataError
        If a half axis is not positive or a number is not finite.

    Examples
    --------
    >>> Ellipse(centre=(10.0, 0.0), axes=(3.0, 2.0), value=0.02).shifted(1.0, -2.0).centre
    (11.0, -2.0)
    """

    centre: tuple[float, float]
    axes: tuple[float, float]
    angle: float = 0.0
    value: float

    def __post_init__(self) -> None:
        check_shape(self, 2)

    def shifted(self, dx: float, dy: float) -> Ellipse:
        """Return the same ellipse moved by ``(dx, dy)`` [mm]."""
        return replace(self, centre=(self.centre[0] + dx, self.centre[1] + dy))

    def chord(self, theta: NDArray[np.floating], t: NDArray[np.floating]) -> NDArray[np.floating]:
        """Length [mm] that the rays ``(theta [rad], t [mm])`` run inside; the arrays broadcast."""
        a, b = self.axes
        distance = t - (self.centre[0] * np.cos(theta) - self.centre[1] * np.sin(theta))
        cosine = np.cos(theta + self.angle)
        # b² + (a² - b²) cos²: the shadow's half width squared
        half_width2 = b * b + (a * a - b * b) * cosine * cosine
        return 2.0 * a * b * np.sqrt(np.maximum(half_width2 - distance**2, 0.0)) / half_width2


@dataclass(frozen=True)
class EllipsePhantom:
    """A sum of ellipses with exact projections and anti-aliased images.

    Parameters
    ----------
    ellipses : sequence of Ellipse
        At least one; where they overlap, their values add.

    Raises
    ------
    DataError
        If there is no ellipse, or something else than ellipses.

    Examples
    --------
    >>> import numpy as np
    >>> from recon import ParallelBeam
    >>> rays = ParallelBeam(angles=[0.0, 1.0], n_cols=3, col_pitch=50.0)
    >>> water_cylinder(160.0, 0.02).line_integrals(rays)[:, 1].round(3).tolist()
    [3.200000047683716, 3.200000047683716]
    """

    ellipses: Sequence[Ellipse]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ellipses", tuple(self.ellipses))
        check_parts(self.ellipses, Ellipse)

    def shifted(self, dx: float, dy: float) -> EllipsePhantom:
        """Return the same phantom moved by ``(dx, dy)`` [mm]."""
        return EllipsePhantom([e.shifted(dx, dy) for e in self.ellipses])

    def line_integrals(
        self, geometry: FanBeam | ParallelBeam, subrays: int = 1
    ) -> NDArray[np.float32]:
        """Exact line integrals, averaged over equidistant rays across each detector column.

        Parameters
        ----------
        geometry : FanBeam or ParallelBeam
            Where the rays run.
        subrays : int
            Rays per column; 1 is the ray through the column's centre, 5 models its width.

        Returns
        -------
        numpy.ndarray
            Line integrals, float32 ``(views, cols)``; without unit for values in 1/mm.

        Raises
        ------
        DataError
            If ``subrays`` is below 1, or the phantom reaches beyond the focal spot's circle.
        """
        count("subrays", subrays, 1)
        if isinstance(geometry, FanBeam):
            check_room(
                geometry, max(float(np.hypot(*e.centre)) + max(e.axes) for e in self.ellipses)
            )
        total = np.zeros(geometry.shape)
        for k in range(subrays):
            within = (k + 0.5) / subrays - 0.5  # columns off the middle of each
            theta, t = replace(geometry, col_offset=geometry.col_offset + within).rays()
            for first in range(0, len(total), _VIEWS_AT_ONCE):
                views = slice(first, first + _VIEWS_AT_ONCE)
                for ellipse in self.ellipses:
                    total[views] += ellipse.value * ellipse.chord(theta[views], t)
        return (total / subrays).astype(np.float32)

    def raster(self, grid: ImageGrid, supersample: int = 8) -> NDArray[np.float32]:
        """Image of the phantom: the mean over ``supersample²`` points in each pixel.

        Parameters
        ----------
        grid : ImageGrid
            Pixels to fill.
        supersample : int
            Points per pixel and direction.

        Returns
        -------
        numpy.ndarray
            Image, float32 ``(rows, cols)``, in the unit of the values.

        Raises
        ------
        DataError
            If ``supersample`` is below 1.
        """
        fine = grid.finer(count("supersample", supersample, 1))
        x, y = fine.x, fine.y
        rows, cols = grid.shape
        image = np.zeros((rows, cols))
        for ellipse in self.ellipses:
            reach = max(ellipse.axes)
            middle = ellipse.centre[0]
            left, right = np.searchsorted(x, [middle - reach, middle + reach]).tolist()
            columns = slice(left // supersample, -(-right // supersample))
            for first in range(0, rows, _ROWS_AT_ONCE):
                strip = slice(first, min(first + _ROWS_AT_ONCE, rows))
                v = y[strip.start * supersample : strip.stop * supersample, None]
                if v[-1] < ellipse.centre[1] - reach or v[0] > ellipse.centre[1] + reach:
                    continue
                u = x[None, columns.start * supersample : columns.stop * supersample]
                inside = _inside(ellipse, u, v)
                share = inside.reshape(
                    strip.stop - strip.start, supersample, columns.stop - columns.start, supersample
                ).mean(axis=(1, 3))
                image[strip, columns] += ellipse.value * share
        return image.astype(np.float32)


def _inside(
    ellipse: Ellipse, x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.bool_]:
    cosine, sine = np.cos(ellipse.angle), np.sin(ellipse.angle)
    u, v = x - ellipse.centre[0], y - ellipse.centre[1]
    a, b = ellipse.axes
    return ((u * cosine + v * sine) / a) ** 2 + ((v * cosine - u * sine) / b) ** 2 <= 1.0


def water_cylinder(diameter: float, mu: float) -> EllipsePhantom:
    """Return a centred cylinder of the given diameter [mm] and attenuation [1/mm].

    Parameters
    ----------
    diameter : float
        [mm].
    mu : float
        Attenuation [1/mm].

    Returns
    -------
    EllipsePhantom

    Examples
    --------
    >>> water_cylinder(160.0, 0.02).ellipses[0].axes
    (80.0, 80.0)
    """
    return EllipsePhantom([Ellipse(centre=(0.0, 0.0), axes=(diameter / 2, diameter / 2), value=mu)])


def inserts_phantom(mu: float = 0.02) -> EllipsePhantom:
    """Return an elliptic water bath of 320 mm × 240 mm with five inserts, none of them symmetric.

    Inserts of ±100 HU (40 mm across), +500 HU (oblique), +1000 HU and a small one of +300 HU.

    Parameters
    ----------
    mu : float
        Attenuation of the bath [1/mm]; contrasts are multiples of it.

    Returns
    -------
    EllipsePhantom

    Examples
    --------
    >>> len(inserts_phantom().ellipses)
    6
    """
    contents = (
        ((0.0, 0.0), (160.0, 120.0), 0.0, 1.0),
        ((60.0, -30.0), (20.0, 20.0), 0.0, 0.1),
        ((-60.0, -30.0), (20.0, 20.0), 0.0, -0.1),
        ((0.0, 60.0), (15.0, 25.0), -0.5, 0.5),
        ((-80.0, 40.0), (10.0, 10.0), 0.0, 1.0),
        ((40.0, 40.0), (5.0, 5.0), 0.0, 0.3),
    )
    return EllipsePhantom(
        [
            Ellipse(centre=centre, axes=axes, angle=angle, value=mu * contrast)
            for centre, axes, angle, contrast in contents
        ]
    )
