"""Helical geometries of two clinical scanners."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import one_of
from ..errors import DataError
from .helix import SHIFTS, HelicalScan

__all__ = ["SCANNERS", "VENDORS", "discovery_helical", "flash_helical"]

VENDORS = {"flash": "SIEMENS", "discovery": "GE MEDICAL SYSTEMS"}
"""Whose files a scanner's are."""

_MOST_VIEWS = 500_000  # five times the longest of the collection
_FLASH_SHIFTS = {  # of the states that follow each other
    "FFSNONE": ((3.35e-4, 0.0, 0.0),),
    "FFSZ": ((3.35e-4, 0.0, 0.0), (3.35e-4, -0.66, 5.45)),
}


def flash_helical(
    *,
    length: float,
    pitch: float = 1.0,
    table: str = "in",
    views_per_rotation: int = 1152,
    focal_spot: str = "FFSZ",
) -> HelicalScan:
    """Siemens Definition Flash: 64 rows × 736 columns, the focal spot flying along z.

    Parameters
    ----------
    length : float
        Travel of the focal centre along z [mm], +length/2 to -length/2 for a table moving in.
    pitch : float
        Table feed per turn over the collimation of 38.4 mm.
    table : {"in", "out"}
        Whether the table moves into the gantry (z falls) or out of it.
    views_per_rotation : int
        1152 or 2304 in clinical scans.
    focal_spot : {"FFSZ", "FFSNONE"}
        Whether the focal spot flies.

    Returns
    -------
    HelicalScan

    Examples
    --------
    >>> flash_helical(length=38.4)
    HelicalScan(1153 views, 64×736, FFSZ, 1152 views a turn, pitch 1, z 19.2 to -19.2 mm)
    """
    one_of("focal_spot", focal_spot, _FLASH_SHIFTS)
    helix = _helix(length, pitch, table, views_per_rotation, collimation=64 * 0.6)
    states = np.array(_FLASH_SHIFTS[focal_spot])
    shifts = states[np.arange(len(helix["z"])) % len(states)]
    return HelicalScan(
        **helix,
        src_iso=595.0,
        src_det=1085.6,
        n_rows=64,
        n_cols=736,
        row_pitch=0.6 * 1085.6 / 595.0,
        col_pitch=1.285839,
        col_offset=-1.125,
        **dict(zip(SHIFTS, shifts.T)),
        focal_spot=focal_spot,
    )


def discovery_helical(*, length: float, pitch: float = 1.0, table: str = "in") -> HelicalScan:
    """GE Discovery: 64 rows × 888 columns, 984 views a turn, the focal spot at rest.

    Parameters
    ----------
    length, pitch, table
        As in `flash_helical`; the collimation is 40 mm.

    Examples
    --------
    >>> discovery_helical(length=40.0, table="out").col_offset
    0.25
    """
    return HelicalScan(
        **_helix(length, pitch, table, 984, collimation=40.0),
        src_iso=541.0,
        src_det=949.0,
        n_rows=64,
        n_cols=888,
        row_pitch=40.0 / 64 * 949.0 / 541.0,
        col_pitch=1.0239,
        col_offset=0.25,
    )


SCANNERS: dict[str, Callable[..., HelicalScan]] = {
    "flash": flash_helical,
    "discovery": discovery_helical,
}
"""Geometries by name; all take length, pitch and table."""


def _helix(
    length: float, pitch: float, table: str, views_per_rotation: int, *, collimation: float
) -> dict[str, Any]:
    """Angles and heights of the views, about z = 0, of a patient who lies head first, supine."""
    for name, value in (("length", length), ("pitch", pitch)):
        if not 0.0 < float(value) < 1e5:
            raise DataError(f"{name} is not positive", where=name, got=value)
    one_of("table direction", table, ("in", "out"))
    turns = length / (pitch * collimation)
    if turns * views_per_rotation > _MOST_VIEWS:
        raise DataError(
            "too many views", where="length, pitch", expected=f"at most {_MOST_VIEWS}",
            got=f"{turns:.3g} turns of {views_per_rotation}",
        )  # fmt: skip
    feed = pitch * collimation * (-1.0 if table == "in" else 1.0)
    views = max(round(length / abs(feed) * views_per_rotation), 1) + 1
    z = np.arange(views) * feed / views_per_rotation
    return {
        "angles": np.arange(views) * (2 * math.pi / views_per_rotation),
        "z": z - z.mean(),
        "views_per_rotation": views_per_rotation,
        "stated_pitch": pitch,
        "patient_position": "HFS",
    }
