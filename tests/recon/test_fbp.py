"""R⁻¹: HU values, position, resolution of windows, gradients, and what is refused."""

import numpy as np
import pytest
import torch
from ellipse_truth import BODY, MU_WATER, fan_sinogram, integrals, raster

from recon.errors import DataError
from recon.filtering import cubic_weights, plan_fbp, ramp_response
from recon.geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from recon.operator import operator
from recon.units import mu_to_hu
from recon.windows import WINDOWS, window_response

TOLERANCE = {
    "water": 0.2,  # HU; the mean over the body's even part
    "insert": 0.5,  # HU; inserts of ±100 HU
    "centroid": 0.02,  # pixels; a shift by one detector column would move it by 0.9
    "transpose": 1e-6,  # float32 sums of signed data
    "float32": 1e-5,  # float32 against float64 through a filter that cancels low frequencies
    "region": 1e-4,  # places of samples are float32, 1e-4 of a sample apart for another origin
}
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
    assert abs(body_hu[even_part(FINE)].mean()) < TOLERANCE["water"]


@pytest.mark.parametrize(("insert", "value"), [(1, 100.0), (2, -100.0)])
def test_inserts_have_their_value_where_they_are(body_hu, insert, value):
    x, y, radius, *_ = BODY[insert]
    found = body_hu[disc(FINE, x, y, 0.7 * radius)].mean()
    assert found == pytest.approx(value, abs=TOLERANCE["insert"])


def test_nothing_is_mirrored_or_shifted(body_hu):
    # every insert's centroid, from the excess over water around it
    for x, y, a, b, *_ in (BODY[1], BODY[4]):
        around = np.where(disc(FINE, x, y, max(a, b) + 6), body_hu, 0.0)
        at = (
            (around * FINE.x[None, :]).sum() / around.sum(),
            (around.T @ FINE.y).sum() / around.sum(),
        )
        np.testing.assert_allclose(at, (x, y), atol=TOLERANCE["centroid"] * FINE.spacing[0])
    # the body's own, and its noise of reconstruction against the rasterised truth
    truth = mu_to_hu(raster(BODY, FINE).astype(np.float64), MU_WATER)
    for axis, centres in ((0, FINE.x), (1, FINE.y)):
        place = [
            ((hu + 1000).sum(axis) * centres).sum() / (hu + 1000).sum() for hu in (body_hu, truth)
        ]
        assert abs(place[0] - place[1]) < TOLERANCE["centroid"] * FINE.spacing[0]
    assert np.sqrt(np.mean((body_hu - truth)[even_part(FINE)] ** 2)) < 4.5


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
    assert abs(hu[even_part(grid)].mean()) < TOLERANCE["water"]
    x, y, radius, *_ = BODY[1]
    assert hu[disc(grid, x, y, 0.6 * radius)].mean() == pytest.approx(100.0, abs=0.5)


def test_a_region_off_centre_is_a_cut_out_of_the_whole():
    geometry = flash_axial(views=180)
    whole = ImageGrid(shape=(120, 120), spacing=(2.0, 1.5))
    region = ImageGrid(
        shape=(30, 20), spacing=(2.0, 1.5), centre=(whole.x[40:60].mean(), whole.y[70:100].mean())
    )
    sinogram = torch.from_numpy(fan_sinogram(BODY, geometry, 1).astype(np.float32))
    cut = operator(geometry, whole).fbp(sinogram)[70:100, 40:60]
    assert relative(operator(geometry, region).fbp(sinogram), cut) < TOLERANCE["region"]


@pytest.mark.parametrize("window", [*WINDOWS, lambda f: np.exp(-3 * f**2)])
def test_windows_keep_the_mean(window):
    geometry = flash_axial(views=192)
    grid = ImageGrid(shape=(40, 40), spacing=(1.0, 1.0))
    sinogram = torch.from_numpy(
        fan_sinogram([(0, 0, 100.0, 100.0, 0, MU_WATER)], geometry, 1).astype(np.float32)
    )
    assert float(operator(geometry, grid).fbp(sinogram, window).mean()) == pytest.approx(
        MU_WATER, rel=2e-4
    )


def test_windows_are_what_their_formulae_say():
    f = np.linspace(0.01, 1, 5)
    np.testing.assert_allclose(window_response("hann", f), np.cos(np.pi * f / 2) ** 2, atol=1e-15)
    np.testing.assert_allclose(window_response("cosine", f), np.cos(np.pi * f / 2))
    np.testing.assert_allclose(
        window_response("shepp-logan", f), np.sin(np.pi * f / 2) / (np.pi * f / 2)
    )
    np.testing.assert_allclose(window_response(lambda f: 1 - f, f), 1 - f)
    # white noise of the rays leaves the filter with the window's power under the ramp's
    sinogram = signed(4, 36, 40)
    A = operator(SCENES["arc"], GRID)
    assert A.fbp(sinogram, "hann").std() < 0.8 * A.fbp(sinogram, "shepp-logan").std()
    assert A.fbp(sinogram, lambda f: 0 * f).abs().max() == 0


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


def test_hann_resolves_five_line_pairs_per_cm_off_centre():
    """MTF of a thin disc 100 mm off centre falls to 10 % beyond 5.0 lp/cm."""
    geometry = FanBeam(
        angles=circle(1152), n_cols=736, col_pitch=1.2858, src_iso=595.0, src_det=1085.6
    )
    grid = ImageGrid(shape=(128, 128), spacing=(0.15, 0.15), centre=(60.0, 80.0))
    radius = 0.2
    wire = [(60.03, 80.02, radius, radius, 0.0, 1.0)]
    # many sub-rays, for the wire is thinner than a ray
    sinogram = torch.from_numpy(fan_sinogram(wire, geometry, 41).astype(np.float32))
    spread = operator(geometry, grid).fbp(sinogram, "hann").double().numpy()
    power = np.abs(np.fft.fftshift(np.fft.fft2(spread, (1024, 1024))))
    frequency = np.fft.fftshift(np.fft.fftfreq(1024, 0.15))  # per mm
    radial = np.hypot(frequency[:, None], frequency[None, :])
    rings = np.arange(0.0, 1.0, 0.02)
    mtf = np.array([power[(radial >= r) & (radial < r + 0.02)].mean() for r in rings])
    mtf /= mtf[0]
    tenth = np.interp(-0.1, -mtf[:40], rings[:40] + 0.01) * 10
    assert tenth > 5.0


@scenes
@pytest.mark.parametrize("window", ["ram-lak", "hann"])
def test_compiled_fbp_and_its_transpose_agree_with_the_reference(geometry, window):
    fast, slow = operator(geometry, GRID), operator(geometry, GRID, backend="reference")
    p = signed(2, *geometry.shape).requires_grad_()
    x = signed(2, *GRID.shape, seed=1)
    q = p.detach().double().requires_grad_()
    out, expected = fast.fbp(p, window), slow.fbp(q, window)
    assert relative(out.detach(), expected.detach()) < TOLERANCE["float32"]
    (out * x).sum().backward()
    (expected * x.double()).sum().backward()
    assert relative(p.grad, q.grad) < TOLERANCE["float32"]
    out, p_values = out.detach(), p.detach()
    difference = float((out * x).double().sum() - (p_values * p.grad).double().sum())
    assert abs(difference) < TOLERANCE["transpose"] * float(out.norm() * x.norm())


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


@pytest.mark.parametrize(
    ("angles", "beam", "message"),
    [
        (circle(36)[:24], "fan", "expected 360° in equal steps.*got 240°"),
        (circle(36) + 0.02 * (np.arange(36) == 9), "fan", "not equally spaced"),
        ([0.0, 1.0, 2.0], "parallel", "too few rays"),
        (circle(36)[:9], "parallel", "180° or 360°"),
    ],
    ids=["short scan", "uneven", "three views", "quarter circle"],
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


@pytest.mark.parametrize("window", ["hanning", 3, lambda f: f[1:], lambda f: f / 0 * 0])
def test_unusable_windows_are_refused(window):
    A = operator(SCENES["arc"], GRID)
    with pytest.raises(DataError, match="window"), np.errstate(all="ignore"):
        A.fbp(torch.zeros(36, 40), window)


def test_a_small_region_needs_few_filtered_samples():
    plan = plan_fbp(flash_axial(), ImageGrid(shape=(64, 64), spacing=(1.0, 1.0)))
    assert plan.n_fine < 0.25 * 2 * plan.n_t
