"""Small scans of known objects, as files, for what takes minutes with a clinical detector."""

import math

import numpy as np

from recon.ctpd.write import write_scan
from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom
from recon.scan.helix import HelicalScan
from recon.scan.simulate import simulate_scan

MU = 0.0193
BALL = (42.0, 27.0, 6.0)  # x to the right, y downward, z towards the gantry [mm]


def small_helix(*, turns=3.0, views=96, position="HFS", n_cols=92, n_rows=16, feed=7.0):
    """A coarse detector with the Flash's distances, the table moving in."""
    count = round(turns * views)
    return HelicalScan(
        angles=0.4 + np.arange(count) * 2 * math.pi / views,
        z=-feed / views * (np.arange(count) - (count - 1) / 2), src_iso=595.0, src_det=1085.6,
        n_rows=n_rows, n_cols=n_cols, row_pitch=1.0947, col_pitch=5.0, views_per_rotation=views,
        col_offset=0.25, patient_position=position,
    )  # fmt: skip


def water_ball(*, diameter=160.0):
    """A water cylinder with a dense ball off centre."""
    radius = diameter / 2
    return EllipsoidPhantom(
        [
            Ellipsoid(centre=(0, 0, 0), axes=(radius, radius, math.inf), value=MU),
            Ellipsoid(centre=BALL, axes=(9, 9, 4), value=MU),
        ]
    )


def small_scan(*, seed=None, mas=200.0, phantom=None, **helix):
    """The ball in water, measured."""
    geometry = small_helix(**helix)
    phantom = water_ball() if phantom is None else phantom
    return simulate_scan(
        phantom.views(geometry), geometry, mas=mas, kvp=120, mu_water=MU, name="ball", seed=seed
    )


def write_small(folder, **changes):
    """Files of it; returns the folder."""
    write_scan(small_scan(**changes), folder)
    return folder
