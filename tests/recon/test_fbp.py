"""R⁻¹ of full and half circles: HU values, position, agreement with the reference, gradients."""

import numpy as np
import pytest
import torch
from ellipse_truth import BODY, MU_WATER, fan_sinogram, integrals, raster
from fbp_scenes import (
    FINE,
    GRID,
    SCENES,
    circle,
    disc,
    even_part,
    relative,
    rmse_inside,
    signed,
    small_fan,
)
from tolerances import FBP

from recon.fbp.plan import interleaves, plan_fbp, ramp_response
from recon.fbp.rebinning import cubic_weights
from recon.fbp.windows import Kernel
from recon.geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from recon.operator import operator
from recon.units import mu_to_hu

scenes = pytest.mark.parametrize("geometry", SCENES.values(), ids=SCENES.keys())


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


def test_a_small_region_needs_few_filtered_samples():
    plan = plan_fbp(flash_axial(), ImageGrid(shape=(64, 64), spacing=(1.0, 1.0)))
    assert plan.n_fine < 0.25 * 2 * plan.n_t
