"""A patch in its surroundings: the scan, the studies, and a sampler trained on patches alone."""

import numpy as np
import pytest
import torch
from small_slice import GEOMETRY, SPACING, phantom
from torch.nn.functional import avg_pool2d

from analysis.invariances.study import invariance_study
from analysis.projection_domain.pair import Pair
from analysis.scanner.slice_scanner import SliceScanner, seam_weight
from analysis.scanner.slices import place_patch, resample_to
from analysis.scanner.surroundings import measure_surroundings, window_in
from analysis.target_domain.kalman import KalmanUpdate
from analysis.target_domain.study import sample_targets
from ctxai import SHIPPED, InPlace, PlacedModel
from recon import ImageGrid

SIDE = 16
ROI = (66, 94)


def blur(x):
    return avg_pool2d(x, 5, 1, 2)


def scanner(*, around=True, spacing=(1.0, 1.0)):
    hu = phantom()
    patch = place_patch(hu, SPACING, shape=(SIDE, SIDE), to_spacing=spacing, roi=ROI).grid
    context = measure_surroundings(blur, hu, SPACING, patch).grid if around else None
    return SliceScanner(
        hu, SPACING, kvp=120.0, slice_thickness=1.5, patch_grid=patch, context_grid=context, seed=3,
        geometry=GEOMETRY,
    )  # fmt: skip


def test_surroundings_lie_on_the_pixels_of_the_patch():
    hu = phantom()
    patch = place_patch(hu, SPACING, shape=(SIDE, SIDE), to_spacing=(1.0, 1.0), roi=ROI).grid
    around = measure_surroundings(blur, hu, SPACING, patch)
    assert around.grid.shape == (SIDE + 4, SIDE + 4) and not around.whole
    place = window_in(around.grid, patch)
    assert (place.top, place.left) == (2, 2)
    assert np.allclose(around.grid.x[2:-2], patch.x) and np.allclose(around.grid.y[2:-2], patch.y)
    rows, cols = around.slice_shape  # as many whole pixels as the slice holds
    assert 223 <= rows <= 225 and 236 <= cols <= 238


def test_a_network_that_sees_everything_is_given_every_pixel_of_the_slice():
    hu = phantom()
    patch = place_patch(hu, SPACING, shape=(SIDE, SIDE), to_spacing=SPACING, roi=ROI).grid
    around = measure_surroundings(lambda x: x - x.mean((2, 3), keepdim=True), hu, SPACING, patch)
    assert around.whole and around.grid.shape == hu.shape
    assert np.allclose(resample_to(hu, SPACING, around.grid), hu, atol=1e-2)  # its own pixels


def test_the_scan_of_a_patch_is_the_same_with_its_surroundings():
    alone, placed = scanner(around=False), scanner()
    x, wide = alone.low_dose(10.0, draws=2), placed.low_dose(10.0, draws=2)
    assert wide.shape == (2, SIDE + 4, SIDE + 4)
    noise = float((x - alone.y).std())
    assert float((placed.place.of(wide) - x).std()) < 0.02 * noise  # rays beside it have noise too
    ybar = placed.y[None] + 100.0
    change = placed.rescan(ybar, 1e7)[0, 0] - placed.low_dose(1e7)[0]
    around = change.clone()
    placed.place.of(around)[:] = 0.0
    assert around.abs().max() > 5.0  # the edge of what was exchanged shows beside the patch
    assert float(placed.place.of(change)[4:-4, 4:-4].mean()) == pytest.approx(100.0, abs=3.0)


@pytest.fixture(scope="module")
def model():
    return SHIPPED.load_model("chen", "output", "x", sampler="flow", shape=(SIDE, SIDE))


def test_a_study_judges_the_network_in_its_place(model):
    hu = phantom()
    patch = place_patch(hu, SPACING, shape=(SIDE, SIDE), to_spacing=(1.0, 1.0), roi=ROI).grid
    around = measure_surroundings(model.wiretap.f, hu, SPACING, patch)
    assert around.grid.shape == (SIDE + 14, SIDE + 14)  # Chen's CNN looks at 7 pixels around
    placed = SliceScanner(
        hu, SPACING, kvp=120.0, slice_thickness=1.5, patch_grid=patch, context_grid=around.grid,
        seed=3, geometry=GEOMETRY,
    )  # fmt: skip
    result = invariance_study(
        {"output": model}, placed, denoiser="chen", mas=10.0, n=3, redraws=4, seed=1,
        progress=False,
    )  # fmt: skip
    scan = placed.low_dose(10.0, seed=1)[0]
    f = model.wiretap.f
    whole = placed.place.of(f(scan[None, None]))[0, 0]
    assert torch.allclose(result.scanned.fx, whole, atol=1e-3)
    for found in result.layers[0].sets:
        image = scan.clone()
        placed.place.of(image)[:] = found.images[1]
        assert torch.allclose(
            found.outputs[1], placed.place.of(f(image[None, None]))[0, 0], atol=1e-3
        )
        # corners are the scan's own: nothing is put there that could be seen as a seam
        corner = found.images[:, 0, 0] - result.scanned.x[0, 0]
        middle = found.images[:, 8, 8] - result.scanned.x[8, 8]
        if not found.projected:
            assert corner.abs().max() < 0.05 * middle.abs().max()


def test_a_change_of_zero_gives_the_output_of_the_scan(model):
    placed = scanner()
    place = InPlace(model.wiretap.f, placed.place, placed.low_dose(10.0)[0])
    sampler = PlacedModel(model, place, seam_weight(placed))
    x = place.inside
    assert torch.equal(sampler.blend(x[None])[0], x)
    assert torch.equal(place(x[None, None]), place(place.surroundings[None, None]))


@pytest.mark.parametrize("moved", [True, False])
def test_anatomies_pass_into_the_slice_without_a_seam(moved, monkeypatch):
    placed, alone = scanner(), scanner(around=False)
    if not moved:
        monkeypatch.setattr(KalmanUpdate, "of_outputs", lambda self, missed: 0.0 * missed)
    targets = SHIPPED.load_model("chen", "output", "y", sampler="flow", shape=(SIDE, SIDE))
    ybar = sample_targets(targets, placed, mas=10.0, n=2, seed=1)
    off, free = ybar - placed.y, sample_targets(targets, alone, mas=10.0, n=2, seed=1) - alone.y
    assert off[:, 0].abs().max() < 0.1 * free[:, 0].abs().max()
    if not moved:  # where a scan says more of the slice than of a patch alone, it moves ȳ by more
        assert off[:, 4:-4, 4:-4].std() > 0.5 * free[:, 4:-4, 4:-4].std()


def test_what_a_network_loses_is_measured_in_its_place():
    """A blur sees signal and noise beyond the patch; d' is that of a direct solution."""
    placed = scanner()
    change = 40.0 * torch.exp(-((torch.arange(SIDE) - 3.0) ** 2) / 8.0)
    ybar = placed.y + change[:, None] * change[None, :] / 40.0
    pair = Pair(placed, ybar)
    x = placed.low_dose(10.0)[0]
    f = InPlace(blur, placed.place, x)
    got = pair.after_network(f, x, 10.0, [1.0], parts=slice(0, 1))[0, 0]
    noise = pair.covariance.times(10.0)
    n = x.numel()
    unit = torch.eye(n).reshape(n, *x.shape)
    blurred = placed.place.of(blur(unit[:, None])[:, 0]).reshape(n, -1)  # J, transposed
    sigma = noise(unit).reshape(n, n)
    A = blurred.T.double() @ sigma.double() @ blurred.double()
    s = blurred.T.double() @ pair.signal[0].double().flatten()
    direct = (s @ torch.linalg.solve(A + torch.eye(len(A)).double(), s)).sqrt()
    assert got == pytest.approx(float(direct), rel=2e-3)


def test_a_patch_can_have_the_pixels_of_the_slice():
    grid = ImageGrid(shape=(4, 4), spacing=SPACING, centre=(0.7, -0.75))
    assert window_in(ImageGrid(shape=(150, 170), spacing=SPACING), grid).top == 72
