"""Where the pixels are, and where each ray runs.

Axes are DICOM's: x to the right along columns, y downward along rows. The focal spot of a fan is at
``src_iso·(-sin β, -cos β)`` and detector columns increase along ``(cos β, -sin β)``. Every ray,
whatever the scanner, is a parallel ray (θ, t): direction ``(sin θ, cos θ)``, signed distance t
from the isocentre along ``(cos θ, -sin θ)``. For a fan, ``θ = β + γ`` and ``t = src_iso·sin γ``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .checks import as_html, count, finite, numbers, one_of, positive, view_angles
from .errors import DataError

__all__ = ["FanBeam", "Geometry", "ImageGrid", "ParallelBeam", "flash_axial"]


@dataclass(frozen=True, kw_only=True)
class ImageGrid:
    """Pixel (i, j) is centred at x = (j-(cols-1)/2)·sx + cx, y = (i-(rows-1)/2)·sy + cy.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    spacing : (float, float)
        Distance of the rows and of the columns (sy, sx) [mm].
    centre : (float, float)
        Where the middle of the grid lies, (cx, cy) [mm] from the isocentre.

    Raises
    ------
    DataError
        If a number is missing, not finite or not positive.

    Examples
    --------
    >>> grid = ImageGrid(shape=(2, 4), spacing=(1.0, 0.5), centre=(10.0, 0.0))
    >>> grid.x.tolist(), grid.y.tolist()
    ([9.25, 9.75, 10.25, 10.75], [-0.5, 0.5])
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    centre: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        try:
            rows, cols = self.shape
        except (TypeError, ValueError):
            raise DataError("shape is not valid", expected="(rows, cols)", got=self.shape) from None
        shape = (count("rows", rows, 1), count("cols", cols, 1))
        spacing = numbers("spacing", self.spacing, 2)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "spacing", tuple(positive("spacing", step) for step in spacing))
        object.__setattr__(self, "centre", numbers("centre", self.centre, 2))

    @property
    def x(self) -> np.ndarray:
        """Centres of the columns [mm], increasing to the right."""
        return _centres(self.shape[1], self.spacing[1], self.centre[0])

    @property
    def y(self) -> np.ndarray:
        """Centres of the rows [mm], increasing downward."""
        return _centres(self.shape[0], self.spacing[0], self.centre[1])

    def finer(self, times: int) -> ImageGrid:
        """Return the same field in pixels of which ``times`` · ``times`` make up one of these."""
        (rows, cols), (sy, sx) = self.shape, self.spacing
        shape, spacing = (rows * times, cols * times), (sy / times, sx / times)
        return replace(self, shape=shape, spacing=spacing)

    @property
    def radius(self) -> float:
        """Distance of the farthest pixel corner from the isocentre [mm]."""
        half_x = self.shape[1] * self.spacing[1] / 2 + abs(self.centre[0])
        half_y = self.shape[0] * self.spacing[0] / 2 + abs(self.centre[1])
        return math.hypot(half_x, half_y)

    def describe(self) -> list[tuple[str, str]]:
        """Return what the grid is, as pairs of name and value."""
        (rows, cols), (sy, sx) = self.shape, self.spacing
        return [
            ("pixels", f"{rows} × {cols} of {sy:g} × {sx:g} mm"),
            ("field", f"{rows * sy:g} × {cols * sx:g} mm"),
            ("centre", f"x {self.centre[0]:g}, y {self.centre[1]:g} mm"),
        ]

    def _repr_html_(self) -> str:
        return as_html("ImageGrid", self.describe())

    def __repr__(self) -> str:
        (rows, cols), (sy, sx) = self.shape, self.spacing
        at = "" if self.centre == (0.0, 0.0) else f" at ({self.centre[0]:g}, {self.centre[1]:g}) mm"
        return f"ImageGrid({rows}×{cols}, {sy:g}×{sx:g} mm{at})"


def _centres(count: int, step: float, middle: float) -> np.ndarray:
    """Places of ``count`` pixels or rays, ``step`` apart about ``middle``."""
    return (np.arange(count) - (count - 1) / 2) * step + middle


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Geometry(ABC):
    """What a fan and a parallel beam have in common: view angles and a row of columns.

    Not made directly: see :class:`FanBeam` and :class:`ParallelBeam`.
    """

    angles: Sequence[float] | np.ndarray
    n_cols: int
    col_pitch: float
    col_offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "angles", view_angles(self.angles))
        object.__setattr__(self, "n_cols", count("n_cols", self.n_cols, 1))
        object.__setattr__(self, "col_pitch", positive("col_pitch", self.col_pitch))
        object.__setattr__(self, "col_offset", finite("col_offset", self.col_offset))

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (views, cols) of one sinogram."""
        return len(self.angles), self.n_cols

    @property
    def columns(self) -> np.ndarray:
        """Columns counted from the central ray: ``c - (n_cols-1)/2 + col_offset``."""
        return np.arange(self.n_cols) - (self.n_cols - 1) / 2 + self.col_offset

    @abstractmethod
    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each ray's angle θ [rad] and distance t [mm]; both broadcast to (views, cols)."""

    def _key(self) -> tuple[Any, ...]:
        values = {**vars(self), "angles": np.asarray(self.angles).tobytes()}
        return (type(self), *sorted(values.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Geometry) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def describe(self) -> list[tuple[str, str]]:
        """Return what the scanner is, as pairs of name and value."""
        first, last = np.degrees(np.asarray(self.angles)[[0, -1]])
        return [
            ("views", f"{len(self.angles)}, {first:.5g}° to {last:.5g}°"),
            ("columns", f"{self.n_cols} of {self.col_pitch:g} mm, offset {self.col_offset:g}"),
            ("detector", self._detector().strip() or "parallel rays"),
        ]

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, self.describe())

    def __repr__(self) -> str:
        first, last = np.degrees(np.asarray(self.angles)[[0, -1]])
        offset = f", offset {self.col_offset:g} columns" if self.col_offset else ""
        return (
            f"{type(self).__name__}({len(self.angles)} views {first:.5g}° to {last:.5g}°, "
            f"{self.n_cols} × {self.col_pitch:g} mm{self._detector()}{offset})"
        )

    def _detector(self) -> str:
        return ""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ParallelBeam(Geometry):
    """Parallel rays: column c of view θ is the ray (θ, t) with ``t = columns·col_pitch``.

    Parameters
    ----------
    angles : array of float, shape (views,)
        View angles θ [rad], strictly monotonic.
    n_cols : int
        Detector columns.
    col_pitch : float
        Distance of neighbouring rays [mm].
    col_offset : float
        Shift of the detector [columns].

    Examples
    --------
    >>> ParallelBeam(angles=[0.0, 1.5], n_cols=3, col_pitch=2.0).rays()[1].tolist()
    [[-2.0, 0.0, 2.0]]
    """

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return θ [rad], shape (views, 1), and t [mm], shape (1, cols)."""
        return np.asarray(self.angles)[:, None], (self.columns * self.col_pitch)[None, :]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FanBeam(Geometry):
    """A fan of rays from a focal spot to a curved ("arc") or straight ("flat") detector.

    Parameters
    ----------
    angles : array of float, shape (views,)
        View angles β [rad], strictly monotonic. At β = 0 the focal spot is at 12 o'clock; it then
        moves counter-clockwise as displayed.
    n_cols : int
        Detector columns.
    col_pitch : float
        Column width at the detector [mm]; along the arc if it is one.
    src_iso, src_det : float
        Distance from the focal spot to the isocentre and to the detector [mm].
    detector : {"arc", "flat"}
        An arc is centred on the focal spot.
    col_offset : float
        Shift of the detector [columns].

    Raises
    ------
    DataError
        If a number is not usable or the fan would open to 180° or more.

    Examples
    --------
    >>> fan = FanBeam(angles=[0.0], n_cols=3, col_pitch=10.0, src_iso=500.0, src_det=1000.0)
    >>> fan
    FanBeam(1 views 0° to 0°, 3 × 10 mm arc, 500/1000 mm)
    >>> fan.fan_angles.tolist()
    [-0.01, 0.0, 0.01]
    """

    src_iso: float
    src_det: float
    detector: str = "arc"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "src_iso", positive("src_iso", self.src_iso))
        object.__setattr__(self, "src_det", positive("src_det", self.src_det))
        one_of("detector", self.detector, ("arc", "flat"))
        if self.src_det < self.src_iso:
            raise DataError(
                "the detector lies before the isocentre",
                where="src_det",
                expected=f"at least src_iso = {self.src_iso:g} mm",
                got=f"{self.src_det:g} mm",
            )
        widest = float(np.abs(self.fan_angles).max())
        if widest >= math.pi / 2:
            raise DataError(
                "the fan opens too wide",
                where="n_cols · col_pitch / src_det",
                expected="fan angles below 90°",
                got=f"{math.degrees(widest):.1f}°",
            )

    @property
    def fan_angles(self) -> np.ndarray:
        """Fan angle γ of each column [rad], shape (cols,)."""
        ratio = self.columns * self.col_pitch / self.src_det
        return ratio if self.detector == "arc" else np.arctan(ratio)

    def column_of(self, gamma: np.ndarray) -> np.ndarray:
        """Return the fractional column at which a ray of fan angle ``gamma`` [rad] arrives."""
        ratio = gamma if self.detector == "arc" else np.tan(gamma)
        return ratio * self.src_det / self.col_pitch + (self.n_cols - 1) / 2 - self.col_offset

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``θ = β + γ`` [rad], (views, cols), and ``t = src_iso·sin γ`` [mm], (1, cols)."""
        gamma = self.fan_angles
        theta = np.asarray(self.angles)[:, None] + gamma[None, :]
        return theta, (self.src_iso * np.sin(gamma))[None, :]

    def _detector(self) -> str:
        return f" {self.detector}, {self.src_iso:g}/{self.src_det:g} mm"


def flash_axial(views: int = 1152) -> FanBeam:
    """One axial rotation of the Siemens Definition Flash: 736 columns × 1.2858 mm on an arc.

    Distances and the detector's shift are those of its DICOM-CT-PD headers (595 and 1085.6 mm,
    central column 369.625).

    Parameters
    ----------
    views : int
        Views over 2π, equally spaced from β = 0.

    Returns
    -------
    FanBeam

    Examples
    --------
    >>> flash_axial()
    FanBeam(1152 views 0° to 359.69°, 736 × 1.2858 mm arc, 595/1085.6 mm, offset -1.125 columns)
    """
    return FanBeam(
        angles=np.arange(count("views", views, 1)) * (2 * math.pi / views),
        n_cols=736,
        col_pitch=1.2858,
        src_iso=595.0,
        src_det=1085.6,
        col_offset=-1.125,
    )
