"""Scans of the off-centre body and of noise, and where its image is even."""

import numpy as np
import torch
from ellipse_truth import BODY

from recon.geometry import FanBeam, ImageGrid, ParallelBeam

FINE = ImageGrid(shape=(512, 512), spacing=(400 / 512, 400 / 512))


def circle(views):
    return np.arange(views) * (2 * np.pi / views)


def small_fan(views=36, detector="arc", **changes):
    values = {"n_cols": 40, "col_pitch": 3.0, "src_iso": 120.0, "src_det": 220.0, **changes}
    return FanBeam(angles=circle(views) + 0.05, detector=detector, **values)


GRID = ImageGrid(shape=(17, 21), spacing=(2.1, 1.7), centre=(4.0, -3.0))
SCENES = {
    "arc": small_fan(),
    "flat, odd number of views": small_fan(views=35, detector="flat", col_offset=0.25),
    "arc, clockwise": FanBeam(
        angles=-circle(36),
        n_cols=40,
        col_pitch=3.0,
        src_iso=120.0,
        src_det=220.0,
        col_offset=-1.125,
    ),
    "arc, short scan": FanBeam(
        angles=0.4 + circle(36)[:23], n_cols=40, col_pitch=3.0, src_iso=120.0, src_det=220.0
    ),
    "flat, long scan, clockwise": FanBeam(
        angles=1.0 - circle(36)[:31],
        n_cols=40,
        col_pitch=3.0,
        src_iso=120.0,
        src_det=220.0,
        detector="flat",
        col_offset=0.25,
    ),
    "parallel, more than half": ParallelBeam(angles=circle(36)[:25], n_cols=60, col_pitch=1.0),
    "parallel, half circle": ParallelBeam(angles=circle(36)[:18], n_cols=60, col_pitch=1.0),
    "parallel, full circle": ParallelBeam(
        angles=circle(30), n_cols=60, col_pitch=1.0, col_offset=0.25
    ),
}


def signed(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


def disc(grid, x, y, radius):
    return np.hypot(grid.x[None, :] - x, grid.y[:, None] - y) < radius


def even_part(grid):
    """Pixels of the body at least 8 mm away from every insert and from its edge."""
    x, y, a, b, *_ = BODY[0]
    inside = ((grid.x[None, :] - x) / (a - 10)) ** 2 + ((grid.y[:, None] - y) / (b - 10)) ** 2 < 1
    for x, y, a, b, *_ in BODY[1:]:
        inside &= ~disc(grid, x, y, max(a, b) + 8)
    return inside


def rmse_inside(hu, truth, grid):
    """Root mean square error over the body, its outermost 5 % left out."""
    x, y, a, b, *_ = BODY[0]
    inside = ((grid.x[None, :] - x) / a) ** 2 + ((grid.y[:, None] - y) / b) ** 2 < 0.95**2
    return float(np.sqrt(np.mean((hu - truth)[inside] ** 2)))
