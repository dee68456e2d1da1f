"""Phantoms on a helix: their views, and what they ask of a scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError
from ..geometry import FanBeam
from ..scan.helix import HelicalScan
from ..scan.lazy_views import LazyViews

__all__ = ["PhantomViews", "check_room", "flat_turn"]


@dataclass
class PhantomViews(LazyViews):
    """Line integrals of a phantom on a helix: ``[i:j]`` calculates those views."""

    helical: HelicalScan
    project: Callable[[HelicalScan], np.ndarray]
    bounds: Callable[[HelicalScan], tuple[float, float]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        return self.helical.shape

    @property
    def range(self) -> tuple[float, float]:
        """Bounds of the line integrals."""
        return self.bounds(self.helical)

    def make(self, start: int, stop: int) -> np.ndarray:
        """Calculate the views from ``start`` up to ``stop``."""
        return self.project(self.helical[start:stop])


def check_room(geometry: FanBeam | HelicalScan, reach: float) -> None:
    """Refuse a phantom that reaches the focal spot or the detector, ``reach`` [mm] off the axis."""
    room = geometry.src_iso
    if isinstance(geometry, HelicalScan):
        room = min(float(geometry.source_radius.min()), geometry.src_det - geometry.src_iso)
    if reach >= room:
        raise DataError(
            "the phantom reaches the focal spot or the detector",
            where="line_integrals",
            expected=f"all of it within {room:g} mm of the axis",
            got=f"{reach:g} mm",
        )


def flat_turn(helical: HelicalScan, z: float, stride: int = 1) -> HelicalScan:
    """The first turn of a scan in the axial plane at ``z`` [mm], a single row of every view."""
    turn = helical[: helical.views_per_rotation : stride]
    return replace(turn, z=z, shift_z=0.0, n_rows=1, row_offset=0.0, focal_spot="FFSNONE")
