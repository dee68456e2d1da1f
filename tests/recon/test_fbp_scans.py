"""R⁻¹ of short and long scans, and scans that have none."""

import numpy as np
import pytest
import torch
from ellipse_truth import BODY, MU_WATER, fan_sinogram, raster
from fbp_scenes import (
    GRID,
    circle,
    disc,
    even_part,
    rmse_inside,
    signed,
    small_fan,
)
from tolerances import FBP

from recon.errors import DataError
from recon.fbp.redundancy import redundancy_weights
from recon.geometry import FanBeam, ImageGrid, ParallelBeam
from recon.operator import operator
from recon.units import mu_to_hu

MEDIUM = ImageGrid(shape=(256, 256), spacing=(400 / 256, 400 / 256))


def scan(views, *, first=0.0, turn=1, **changes):
    """Some views, a 1152nd of a circle apart, of a scanner like the Flash."""
    values = {"n_cols": 736, "col_pitch": 1.2858, "src_iso": 595.0, "src_det": 1085.6, **changes}
    return FanBeam(angles=first + turn * np.arange(views) * (2 * np.pi / 1152), **values)


def measured_hu(geometry):
    sinogram = torch.from_numpy(fan_sinogram(BODY, geometry, 3).astype(np.float32))
    return mu_to_hu(operator(geometry, MEDIUM).fbp(sinogram), MU_WATER).double().numpy()


@pytest.fixture(scope="module")
def medium_truth():
    return mu_to_hu(raster(BODY, MEDIUM).astype(np.float64), MU_WATER)


@pytest.fixture(scope="module")
def full_circle_rmse(medium_truth):
    return rmse_inside(measured_hu(scan(1152)), medium_truth, MEDIUM)


@pytest.mark.parametrize(
    "geometry",
    [
        scan(740, first=0.3),
        scan(740, first=1.0, turn=-1, detector="flat"),
        scan(1000, first=2.0, turn=-1, col_offset=0.25),
        scan(1400, first=-1.0),
    ],
    ids=["short", "short, clockwise, flat", "310°", "more than a turn"],
)
def test_any_range_beyond_180_degrees_and_the_fan(geometry, medium_truth, full_circle_rmse):
    hu = measured_hu(geometry)
    assert abs(hu[even_part(MEDIUM)].mean()) < FBP["water of small images [HU]"]
    for insert, value in ((1, 100.0), (2, -100.0)):
        x, y, radius, *_ = BODY[insert]
        found = hu[disc(MEDIUM, x, y, 0.7 * radius)].mean()
        assert found == pytest.approx(value, abs=FBP["insert [HU]"])
    ratio = rmse_inside(hu, medium_truth, MEDIUM) / full_circle_rmse
    assert ratio < FBP["rmse of a short scan, ratio"]


def test_the_weights_of_one_line_sum_to_one():
    geometry = scan(800, first=0.2, turn=-1)
    step = -2 * np.pi / 1152
    weights = redundancy_weights(geometry, step)
    theta, t = np.broadcast_arrays(*geometry.rays())
    # the same line seen again: half a turn and twice the fan angle later, from the mirrored column
    again = theta + np.pi
    beta = again + np.arcsin(t / 595.0)
    view = (beta - geometry.angles[0]) / step
    for turn in (-1152, 0, 1152):
        at = view + turn
        inside = (at > 0) & (at < 799)
        low = np.floor(at[inside]).astype(int)
        mirrored = weights[:, ::-1]
        column = np.broadcast_to(np.arange(736), t.shape)[inside]
        share = at[inside] - low
        partner = (1 - share) * mirrored[low, column] + share * mirrored[low + 1, column]
        # linear interpolation of weights that change within 20 degrees
        np.testing.assert_allclose(weights[inside] + partner, 1.0, atol=1e-3)
    assert weights.min() >= 0
    assert weights.max() <= 1 + 1e-12


def test_gradcheck_of_a_short_scan():
    geometry = small_fan(n_cols=8, col_pitch=14.0)
    geometry = FanBeam(**{**vars(geometry), "angles": circle(12)[:8]})
    A = operator(geometry, ImageGrid(shape=(4, 3), spacing=(8.0, 7.0)), backend="reference")
    p = signed(1, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda q: A.fbp(q, "hann"), p)


@pytest.mark.parametrize(
    ("angles", "beam", "message"),
    [
        (circle(36)[:19], "fan", r"expected at least 210.5°.*180° and the fan.*got 190°"),
        (circle(36) + 0.02 * (np.arange(36) == 9), "fan", "not equally spaced"),
        ([0.0, 1.0, 2.0], "parallel", "too few rays"),
        (circle(36)[:9], "parallel", "expected at least 180°, got 90°"),
    ],
    ids=["too short", "uneven", "three views", "quarter circle"],
)
def test_scans_without_an_fbp_are_refused(angles, beam, message):
    values = {"angles": angles, "n_cols": 40, "col_pitch": 3.0}
    if beam == "fan":
        geometry = FanBeam(**values, src_iso=120.0, src_det=220.0)
    else:
        geometry = ParallelBeam(**values)
    A = operator(geometry, GRID)
    A(torch.zeros(GRID.shape))  # projecting is possible all the same
    with pytest.raises(DataError, match=message):
        A.fbp(torch.zeros(geometry.shape))
