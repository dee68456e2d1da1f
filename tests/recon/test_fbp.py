"""R⁻¹: HU values, position, short and truncated scans, gradients, and what is refused."""

import numpy as np
import pytest
import torch
from ellipse_truth import BODY, MU_WATER, fan_sinogram, integrals, raster
from tolerances import FBP

from recon.errors import DataError
from recon.filtering import cubic_weights, interleaves, plan_fbp, ramp_response
from recon.geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from recon.operator import operator
from recon.redundancy import redundancy_weights
from recon.truncation import extrapolate, widened
from recon.units import mu_to_hu
from recon.windows import Kernel

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
scenes = pytest.mark.parametrize("geometry", SCENES.values(), ids=SCENES.keys())


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


@pytest.fixture(scope="module", params=["arc", "flat", "shifted arc"])
def body_hu(request):
    """The body's image [HU] from its exact sinogram, with Ram-Lak."""
    geometry = FanBeam(
        angles=circle(1152), n_cols=736, col_pitch=1.2858, src_iso=595.0, src_det=1085.6,
        detector=request.param.split()[-1], col_offset=-1.125 if "shifted" in request.param else 0,
    )  # fmt: skip
    sinogram = torch.from_numpy(fan_sinogram(BODY, geometry).astype(np.float32))
    return mu_to_hu(operator(geometry, FINE).fbp(sinogram), MU_WATER).double().numpy()


def test_water_is_water(body_hu):
    assert abs(body_hu[even_part(FINE)].mean()) < FBP["water [HU]"]


@pytest.mark.parametrize(("insert", "value"), [(1, 100.0), (2, -100.0)])
def test_inserts_have_their_value_where_they_are(body_hu, insert, value):
    x, y, radius, *_ = BODY[insert]
    found = body_hu[disc(FINE, x, y, 0.7 * radius)].mean()
    assert found == pytest.approx(value, abs=FBP["insert [HU]"])


def test_nothing_is_mirrored_or_shifted(body_hu):
    # every insert's centroid, from the excess over water around it
    for x, y, a, b, *_ in (BODY[1], BODY[4]):
        around = np.where(disc(FINE, x, y, max(a, b) + 6), body_hu, 0.0)
        at = (
            (around * FINE.x[None, :]).sum() / around.sum(),
            (around.T @ FINE.y).sum() / around.sum(),
        )
        np.testing.assert_allclose(at, (x, y), atol=FBP["centroid [pixels]"] * FINE.spacing[0])
    # the body's own, and its noise of reconstruction against the rasterised truth
    truth = mu_to_hu(raster(BODY, FINE).astype(np.float64), MU_WATER)
    for axis, centres in ((0, FINE.x), (1, FINE.y)):
        place = [
            ((hu + 1000).sum(axis) * centres).sum() / (hu + 1000).sum() for hu in (body_hu, truth)
        ]
        assert abs(place[0] - place[1]) < FBP["centroid [pixels]"] * FINE.spacing[0]
    assert rmse_inside(body_hu, truth, FINE) < FBP["rmse [HU]"]


@pytest.mark.parametrize("full", [False, True], ids=["half circle", "full circle"])
def test_parallel_beams(full):
    geometry = ParallelBeam(
        angles=circle(720)[: 720 if full else 360], n_cols=500, col_pitch=0.8, col_offset=0.25
    )
    theta, t = geometry.rays()
    fine = [(k + 0.5) / 5 - 0.5 for k in range(5)]
    exact = sum(
        integrals(
            BODY,
            ((t + f * 0.8) * np.cos(theta), -(t + f * 0.8) * np.sin(theta)),
            (np.sin(theta), np.cos(theta)),
        )
        for f in fine
    )
    sinogram = torch.from_numpy((exact / 5).astype(np.float32))
    grid = ImageGrid(shape=(256, 256), spacing=(1.5, 1.5))
    hu = mu_to_hu(operator(geometry, grid).fbp(sinogram, window="hann"), MU_WATER).numpy()
    assert abs(hu[even_part(grid)].mean()) < FBP["water of small images [HU]"]
    x, y, radius, *_ = BODY[1]
    assert hu[disc(grid, x, y, 0.6 * radius)].mean() == pytest.approx(
        100.0, abs=FBP["insert of small images [HU]"]
    )


def test_a_region_off_centre_is_a_cut_out_of_the_whole():
    geometry = flash_axial(views=180)
    whole = ImageGrid(shape=(120, 120), spacing=(2.0, 1.5))
    region = ImageGrid(
        shape=(30, 20), spacing=(2.0, 1.5), centre=(whole.x[40:60].mean(), whole.y[70:100].mean())
    )
    sinogram = torch.from_numpy(fan_sinogram(BODY, geometry, 1).astype(np.float32))
    cut = operator(geometry, whole).fbp(sinogram)[70:100, 40:60]
    assert relative(operator(geometry, region).fbp(sinogram), cut) < FBP["region"]


def test_the_ramp_is_f_without_a_bias():
    response = ramp_response(512, 0.7, "ram-lak")
    frequency = np.arange(257) / (512 * 0.7)
    # the sampled kernel leaves 2 % of one bin at f = 0 and nothing elsewhere
    np.testing.assert_allclose(response, frequency, atol=0.25 * frequency[1])
    assert ramp_response(512, 0.7, "hann")[-1] == pytest.approx(0, abs=1e-12)


def test_cubic_weights_reproduce_cubics():
    at = np.linspace(0, 3, 7)
    weights = cubic_weights(at)
    for power in range(4):
        np.testing.assert_allclose(weights @ np.arange(4.0) ** power, at**power, atol=1e-12)


@scenes
@pytest.mark.parametrize("window", ["ram-lak", Kernel(mtf50=0.6, mtf10=1.1)])
def test_compiled_fbp_and_its_transpose_agree_with_the_reference(geometry, window):
    fast, slow = operator(geometry, GRID), operator(geometry, GRID, backend="reference")
    p = signed(2, *geometry.shape).requires_grad_()
    x = signed(2, *GRID.shape, seed=1)
    q = p.detach().double().requires_grad_()
    out, expected = fast.fbp(p, window), slow.fbp(q, window)
    assert relative(out.detach(), expected.detach()) < FBP["float32"]
    (out * x).sum().backward()
    (expected * x.double()).sum().backward()
    assert relative(p.grad, q.grad) < FBP["float32"]
    out, p_values = out.detach(), p.detach()
    difference = float((out * x).double().sum() - (p_values * p.grad).double().sum())
    assert abs(difference) < FBP["transpose"] * float(out.norm() * x.norm())


@pytest.mark.parametrize("images", [1, 5, 17])
def test_every_image_of_a_stack_is_reconstructed_alike(images):
    A = operator(SCENES["arc"], GRID)
    p = signed(images, 36, 40)
    one_by_one = torch.stack([A.fbp(sinogram) for sinogram in p])
    assert relative(A.fbp(p), one_by_one) < 1e-6
    assert A.fbp(p[:, None]).shape == (images, 1, *GRID.shape)


@pytest.mark.parametrize("views", [8, 7])
def test_gradcheck_of_the_reference_fbp(views):
    geometry = small_fan(views=views, n_cols=8, col_pitch=14.0, col_offset=0.25)
    A = operator(geometry, ImageGrid(shape=(4, 3), spacing=(8.0, 7.0)), backend="reference")
    p = signed(1, views, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda q: A.fbp(q, "hann"), p)


MEDIUM = ImageGrid(shape=(256, 256), spacing=(400 / 256, 400 / 256))


def scan(views, *, first=0.0, turn=1, **changes):
    """Some views, a 1152nd of a circle apart, of a scanner like the Flash."""
    values = {"n_cols": 736, "col_pitch": 1.2858, "src_iso": 595.0, "src_det": 1085.6, **changes}
    return FanBeam(angles=first + turn * np.arange(views) * (2 * np.pi / 1152), **values)


def measured_hu(geometry, **options):
    sinogram = torch.from_numpy(fan_sinogram(BODY, geometry, 3).astype(np.float32))
    return mu_to_hu(operator(geometry, MEDIUM).fbp(sinogram, **options), MU_WATER).double().numpy()


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
    assert weights.max() <= 1


def test_a_body_wider_than_the_detector(medium_truth):
    geometry = scan(1152, n_cols=300)
    radius = 0.9 * 595 * np.sin(150 * 1.2858 / 1085.6)
    inside = even_part(MEDIUM) & disc(MEDIUM, 0, 0, radius)
    cut = (measured_hu(geometry) - medium_truth)[inside]
    continued = (measured_hu(geometry, extrapolated=True) - medium_truth)[inside]
    assert cut.mean() > 100  # what it is good for
    assert abs(continued.mean()) < FBP["truncated, bias [HU]"]
    assert continued.std() < FBP["truncated, sd [HU]"]


@pytest.mark.parametrize("geometry", list(SCENES.values())[:3] + list(SCENES.values())[-1:])
def test_continued_projections_of_an_object_within_the_detector_change_nothing(geometry):
    A, wide = operator(geometry, GRID), widened(geometry)
    assert wide.n_cols > geometry.n_cols
    np.testing.assert_allclose(
        np.intersect1d(wide.columns.round(9), geometry.columns.round(9)), geometry.columns.round(9)
    )
    p = A(torch.rand(17, *GRID.shape))
    p[..., :4] = 0
    p[..., -4:] = 0
    extra = (wide.n_cols - geometry.n_cols) // 2
    assert torch.equal(extrapolate(p, geometry)[..., extra:-extra], p)
    assert extrapolate(p, geometry)[..., :extra].abs().max() == 0
    assert relative(A.fbp(p, extrapolated=True), A.fbp(p)) < FBP["transform"]
    assert A.fbp(p[:, None], extrapolated=True).shape == (17, 1, *GRID.shape)


def test_no_gradient_flows_through_a_continuation():
    A = operator(SCENES["arc"], GRID)
    p = torch.ones(36, 40, requires_grad=True)
    with pytest.raises(DataError, match=r"no gradient.*detach"):
        A.fbp(p, extrapolated=True)
    assert torch.isfinite(A.fbp(p.detach(), extrapolated=True)).all()


def test_gradcheck_of_a_short_scan():
    geometry = small_fan(n_cols=8, col_pitch=14.0)
    geometry = FanBeam(**{**vars(geometry), "angles": circle(12)[:8]})
    A = operator(geometry, ImageGrid(shape=(4, 3), spacing=(8.0, 7.0)), backend="reference")
    p = signed(1, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda q: A.fbp(q, "hann"), p)


def test_interleaved_rays_reach_the_reference_and_their_transpose():
    geometry = small_fan(col_offset=0.25)
    fast, slow = operator(geometry, GRID), operator(geometry, GRID, backend="reference")
    kernel = Kernel(mtf50=3.0, mtf10=5.0)  # one view ends at 3.06 lp/cm
    assert interleaves(geometry, kernel)
    p = signed(2, 36, 40).requires_grad_()
    x = signed(2, *GRID.shape, seed=1)
    out = fast.fbp(p, kernel)
    assert relative(out.detach(), slow.fbp(p.detach().double(), kernel)) < FBP["float32"]
    (out * x).sum().backward()
    difference = float((out.detach() * x).double().sum() - (p.detach() * p.grad).double().sum())
    assert abs(difference) < FBP["transpose"] * float(out.detach().norm() * x.norm())


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


def test_a_small_region_needs_few_filtered_samples():
    plan = plan_fbp(flash_axial(), ImageGrid(shape=(64, 64), spacing=(1.0, 1.0)))
    assert plan.n_fine < 0.25 * 2 * plan.n_t
