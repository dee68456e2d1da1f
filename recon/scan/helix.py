"""Where focal spot and detector are at each view of a helical scan.

The axes are those of DICOM-CT-PD with y turned downward, as in the images: at view angle β = φ the
focal centre is at ``ρ0·(-sin β, -cos β)`` and at ``z0`` (from the table to the gantry). The focal
spot itself flies: it is at ``β + Δφ``, ``ρ0 + Δρ``, ``z0 + Δz``. The detector does not: its arc is
centred on the focal *centre*. Element (row r, column c) lies at the arc angle
``γ = (c - (n_cols-1)/2 + col_offset)·col_pitch/src_det`` and at
``z0 - (r - (n_rows-1)/2 + row_offset)·row_pitch``; row 0 is farthest into the gantry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..checks import array, count, finite, one_of, positive
from ..errors import DataError
from ..geometry import FanBeam

__all__ = ["FOCAL_SPOTS", "PATIENT_POSITIONS", "SHIFTS", "HelicalScan"]

FOCAL_SPOTS = ("FFSNONE", "FFSZ", "FFSXY", "FFSXYZ")
PATIENT_POSITIONS = ("HFS", "HFP", "FFS", "FFP", "HFDR", "HFDL", "FFDR", "FFDL")
SHIFTS = ("shift_angle", "shift_z", "shift_radius")
"""Shifts of the focal spot: Δφ [rad], Δz [mm], Δρ [mm]."""

_PER_VIEW = ("angles", "z", *SHIFTS)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class HelicalScan:
    """A curved detector and a flying focal spot on a helix, in scan order.

    Parameters
    ----------
    angles : array, shape (views,)
        View angle β of the focal centre [rad], not wrapped at 2π.
    z : array, shape (views,)
        Height of the focal centre z0 [mm].
    src_iso, src_det : float
        Distance of the focal centre from the axis (ρ0) and from the detector (d0) [mm].
    n_rows, n_cols : int
        Detector rows and columns.
    row_pitch, col_pitch : float
        Distance of rows and of columns at the detector [mm].
    views_per_rotation : int
        Views in a full turn.
    row_offset, col_offset : float
        Shift of the detector against its middle [rows, columns].
    shift_angle, shift_z, shift_radius : array, shape (views,), or float
        Shifts of the focal spot Δφ [rad], Δz [mm], Δρ [mm].
    focal_spot : str
        "FFSNONE", "FFSZ", "FFSXY" or "FFSXYZ".
    stated_pitch : float, optional
        Pitch as the file states it; `pitch` is the one that the views have.
    patient_position : str
        "HFS", "FFS", …; "" where it is not known.

    Raises
    ------
    DataError
        If a number is not finite, or the arrays differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> helix = HelicalScan(
    ...     angles=np.arange(8) * np.pi / 4, z=np.arange(8.0), src_iso=595, src_det=1085.6,
    ...     n_rows=16, n_cols=64, row_pitch=1.0947, col_pitch=1.285839, views_per_rotation=8)
    >>> round(helix.feed, 3), round(helix.pitch, 3), helix.table_direction
    (8.0, 0.833, 'out of the gantry')
    """

    angles: Any
    z: Any
    src_iso: float
    src_det: float
    n_rows: int
    n_cols: int
    row_pitch: float
    col_pitch: float
    views_per_rotation: int
    row_offset: float = 0.0
    col_offset: float = 0.0
    shift_angle: Any = 0.0
    shift_z: Any = 0.0
    shift_radius: Any = 0.0
    focal_spot: str = "FFSNONE"
    stated_pitch: float | None = None
    patient_position: str = ""

    def __post_init__(self) -> None:
        views = np.size(self.angles)
        for name in _PER_VIEW:
            values = array(name, getattr(self, name))
            if values.shape not in ((), (1,), (views,)):
                expected = f"shape ({views},)"
                raise DataError(f"{name} do not fit the views", expected=expected, got=values.shape)
            values = np.array(np.broadcast_to(values, views))
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        for name in ("src_iso", "src_det", "row_pitch", "col_pitch"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        for name, least in (("n_rows", 1), ("n_cols", 2), ("views_per_rotation", 4)):
            object.__setattr__(self, name, count(name, getattr(self, name), least))
        for name in ("row_offset", "col_offset"):
            object.__setattr__(self, name, finite(name, getattr(self, name)))
        one_of("flying focal spot", self.focal_spot, FOCAL_SPOTS)
        one_of("patient position", self.patient_position or "HFS", PATIENT_POSITIONS)

    def __len__(self) -> int:
        return len(self.angles)

    def __getitem__(self, which: slice) -> HelicalScan:
        """Return the geometry of some of the views."""
        return replace(self, **{name: getattr(self, name)[which] for name in _PER_VIEW})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        return len(self.angles), self.n_rows, self.n_cols

    @property
    def source_angles(self) -> np.ndarray:
        """View angle of the focal spot itself, β + Δφ [rad]."""
        return self.angles + self.shift_angle

    @property
    def source_z(self) -> np.ndarray:
        """Height of the focal spot itself, z0 + Δz [mm]."""
        return self.z + self.shift_z

    @property
    def source_radius(self) -> np.ndarray:
        """Distance of the focal spot itself from the axis, ρ0 + Δρ [mm]."""
        return self.src_iso + self.shift_radius

    @property
    def fan_angles(self) -> np.ndarray:
        """Arc angle γ of each column about the focal centre [rad]."""
        middle = (self.n_cols - 1) / 2
        return (np.arange(self.n_cols) - middle + self.col_offset) * self.col_pitch / self.src_det

    @property
    def field_radius(self) -> float:
        """Distance from the axis up to which a focal spot in the centre sees all rays [mm]."""
        return float(self.src_iso * np.sin(np.abs(self.fan_angles[[0, -1]]).min()))

    @property
    def row_heights(self) -> np.ndarray:
        """Height of each row above the focal centre [mm], falling with the row number."""
        middle = (self.n_rows - 1) / 2
        return -(np.arange(self.n_rows) - middle + self.row_offset) * self.row_pitch

    @property
    def row_width(self) -> float:
        """Height of a detector row, seen at the isocentre [mm]."""
        return self.row_pitch * self.src_iso / self.src_det

    @property
    def collimation(self) -> float:
        """Height of the detector, seen at the isocentre [mm]."""
        return self.n_rows * self.row_width

    @property
    def feed(self) -> float:
        """Travel of the focal centre along z per turn [mm], signed; 0 for a single view."""
        turn = self.angles[-1] - self.angles[0]
        return float((self.z[-1] - self.z[0]) / abs(turn) * 2 * math.pi) if turn else 0.0

    @property
    def pitch(self) -> float:
        """Table feed per turn over the collimation; the stated one for a single view."""
        if len(self.angles) == 1:
            return math.nan if self.stated_pitch is None else self.stated_pitch
        return abs(self.feed) / self.collimation

    @property
    def rotations(self) -> float:
        """Number of turns."""
        return len(self.angles) / self.views_per_rotation

    @property
    def table_direction(self) -> str:
        """Where the table goes: z0 falls while it moves into the gantry."""
        if self.feed == 0.0:
            return "not to be told from one view" if len(self) == 1 else "still"
        return "into the gantry" if self.feed < 0 else "out of the gantry"

    @property
    def states(self) -> np.ndarray:
        """Number of the focal-spot state of each view, (views,), in order of appearance."""
        shifts = np.stack([self.shift_angle * 1e3, self.shift_z, self.shift_radius], axis=1)
        _, first, member = np.unique(
            shifts.round(2), axis=0, return_index=True, return_inverse=True
        )
        return np.argsort(np.argsort(first))[member.reshape(-1)]

    def fan(self, angles: Any) -> FanBeam:
        """Return the fan of a focal spot in the focal centre, at other view angles [rad]."""
        names = ("n_cols", "col_pitch", "src_iso", "src_det", "col_offset")
        return FanBeam(angles=angles, **{name: getattr(self, name) for name in names})

    def spot_row(self, shift_z: Any) -> Any:
        """Row coordinate of a focal spot's own height, the lower edge of row 0 being 0 [rows]."""
        return (self.n_rows - 1) / 2 - self.row_offset + 0.5 - shift_z / self.row_pitch

    def sources(self) -> np.ndarray:
        """Return the focal spots, (views, 3): x to the right, y downward, z [mm]."""
        beta, radius = self.source_angles, self.source_radius
        return np.stack([-radius * np.sin(beta), -radius * np.cos(beta), self.source_z], axis=-1)

    def __repr__(self) -> str:
        return (
            f"HelicalScan({len(self)} views, {self.n_rows}×{self.n_cols}, {self.focal_spot}, "
            f"{self.views_per_rotation} views a turn, pitch {self.pitch:.4g}, "
            f"z {self.z[0]:.1f} to {self.z[-1]:.1f} mm)"
        )
