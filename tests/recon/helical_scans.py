"""Helical scans of known phantoms for the tests of the reconstruction."""

from __future__ import annotations

import math

import numpy as np

from recon.geometry import ImageGrid
from recon.phantom.exact.ellipsoids import EllipsoidPhantom
from recon.scan.helix import HelicalScan
from recon.scan.scan import Scan
from recon.scan.simulate import simulate_scan

MU = 0.02
_SHIFTS = {  # Δφ, Δz, Δρ; the flight in the plane is that of a Flash, a quarter of a column
    "FFSNONE": [(3.35e-4, 0.0, 0.0)],
    "FFSZ": [(3.35e-4, 0.0, 0.0), (3.35e-4, -0.66, 5.45)],
    "FFSXY": [(6.7e-4, 0.0, 0.0), (-6.7e-4, 0.0, 0.0)],
    "FFSXYZ": [(6.7e-4, 0.0, 0.0), (-6.7e-4, 0.0, 0.0), (6.7e-4, -0.66, 5.45),
               (-6.7e-4, -0.66, 5.45)],
}  # fmt: skip
# water_with_inserts: centre, radius, HU of the rods
RODS = ((70.0, 0.0, 12.0, 60.0), (-20.0, 67.0, 12.0, -100.0), (-35.0, -60.0, 12.0, 300.0),
        (20.0, 40.0, 8.0, -20.0))  # fmt: skip
BALL = (-60.0, 15.0, 5.0)


def elements(g: HelicalScan) -> np.ndarray:
    """The detector's columns at mid-height, (views, cols, 3) [mm]; rows lie `row_heights` above."""
    beta, ray = g.angles[:, None], g.angles[:, None] + g.fan_angles
    x = -g.src_iso * np.sin(beta) + g.src_det * np.sin(ray)
    y = -g.src_iso * np.cos(beta) + g.src_det * np.cos(ray)
    return np.stack([x, y, np.broadcast_to(g.z[:, None], x.shape)], axis=-1)


def small_helix(
    *, length: float, pitch: float = 1.0, table: str = "in", focal_spot: str = "FFSZ",
    views: int = 576, rows: int = 32, coarse: int = 2, **changes: object,
) -> HelicalScan:  # fmt: skip
    """A Flash with fewer rows, views and, ``coarse`` times wider, columns."""
    feed = pitch * rows * 0.6 * (-1.0 if table == "in" else 1.0)
    count = round(length / abs(feed) * views) + 1
    z = (np.arange(count) - (count - 1) / 2) * feed / views
    shifts = np.array(_SHIFTS[focal_spot])[np.arange(count) % len(_SHIFTS[focal_spot])]
    values = {
        "angles": 0.3 + np.arange(count) * (2 * math.pi / views), "z": z, "src_iso": 595.0,
        "src_det": 1085.6, "n_rows": rows, "n_cols": 736 // coarse,
        "row_pitch": 0.6 * 1085.6 / 595, "col_pitch": coarse * 1.285839,
        "views_per_rotation": views, "col_offset": -1.125 / coarse, "shift_angle": shifts[:, 0],
        "shift_z": shifts[:, 1], "shift_radius": shifts[:, 2], "focal_spot": focal_spot,
        "stated_pitch": pitch,
    }  # fmt: skip
    return HelicalScan(**{**values, **changes})


def scan_of(
    phantom: EllipsoidPhantom, geometry: HelicalScan, subrays: int | tuple[int, int] = 1
) -> Scan:
    """A noise-free scan; its views are made when they are read."""
    return simulate_scan(
        phantom.views(geometry, subrays), geometry, mas=100, kvp=120, mu_water=MU, name="test",
        seed=None,
    )  # fmt: skip


def water_mask(grid: ImageGrid, edge: float) -> np.ndarray:
    """Pixels of water_with_inserts that are water, ``edge`` [mm] away from everything else."""
    x, y = np.meshgrid(grid.x, grid.y)
    mask = np.hypot(x, y) < 120 - edge
    for cx, cy, radius in [rod[:3] for rod in RODS] + [BALL]:
        mask &= np.hypot(x - cx, y - cy) > radius + edge
    return mask


def rod_errors(images: np.ndarray, grid: ImageGrid, edge: float) -> list[float]:
    """Mean of each rod, ``edge`` [mm] inside its border, less what it should be [HU]."""
    x, y = np.meshgrid(grid.x, grid.y)
    return [
        float(images[:, np.hypot(x - cx, y - cy) < radius - edge].mean() - hu)
        for cx, cy, radius, hu in RODS
    ]


def ball_height(images: np.ndarray, grid: ImageGrid, z: np.ndarray) -> float:
    """Centre of mass of the ball along z [mm]; the slices must hold all of it."""
    x, y = np.meshgrid(grid.x, grid.y)
    profile = images[:, np.hypot(x - BALL[0], y - BALL[1]) < BALL[2] + 5].sum(axis=1)
    return float((profile * z).sum() / profile.sum())
