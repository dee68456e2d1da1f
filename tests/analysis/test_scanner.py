"""The slice in the scanner: linearity, place, bias, and noise that can be had again."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from small_slice import GEOMETRY, SPACING, phantom
from tolerances import SCANNER

from analysis.scanner.low_dose import low_dose_slices, scanned_slices, thinned_slices
from analysis.scanner.slice_scanner import SliceScanner, derived_seed
from analysis.scanner.slices import place_patch, resample_to
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial

SCANNER_PATCH = {
    # the requirements; the same rays and the same quanta, but for float32
    "signal, rel": 1e-4,
    "sd of each pixel, rel": 0.01,
    "total noise, rel": 0.01,
}
FEW_VIEWS = {"kvp": 120.0, "slice_thickness": 1.5, "geometry": flash_axial(views=72)}


@pytest.fixture(scope="module")
def scanner():
    hu = phantom()
    roi = (round(74.5 - 12 / 1.5), round(84.5 + 14 / 1.4))  # the insert is not central
    patch = place_patch(hu, SPACING, shape=(32, 32), roi=roi)
    return SliceScanner(
        hu,
        SPACING,
        kvp=120.0,
        slice_thickness=1.5,
        patch_grid=patch.grid,
        seed=3,
        image=5,
        geometry=GEOMETRY,
    )


def test_no_detail_of_the_slice_stays_behind_where_another_anatomy_is_put():
    """Pixels of 0.8 mm hold a texture that those of 1 mm do not; a flat ȳ has none of it."""
    shape, spacing = (180, 180), (0.8, 0.8)
    texture = np.random.default_rng(1).normal(0.0, 60.0, shape)
    hu = (phantom(shape, spacing) + texture).astype(np.float32)
    patch = place_patch(hu, spacing, shape=(40, 40), roi=(88, 92))
    scanner = SliceScanner(
        hu, spacing, kvp=120.0, slice_thickness=1.5, patch_grid=patch.grid, seed=3
    )
    flat = scanner.rescan(torch.full((1, 40, 40), 40.0), 5e7)[0, 0]
    inner = flat[4:-4, 4:-4]  # not the seam, where y passes into the slice
    assert abs(float(inner.mean()) - 40.0) < 0.1
    assert float(inner.std()) < 0.6  # HU; 5.8 HU while the texture that y does not hold was there


def test_the_patch_shows_the_insert_where_it_is(scanner):
    grid = scanner.patch_grid
    truth = resample_to(phantom(), SPACING, grid)
    assert truth.max() > 120 and truth.min() < 20
    image = scanner.low_dose(1e6)[0].numpy()
    difference = image - truth
    assert abs(difference.mean()) < SCANNER["noise-free bias [HU]"]
    assert np.sqrt(np.mean(difference**2)) < SCANNER["noise-free rms [HU]"]
    for wrong in (truth[::-1], truth[:, ::-1], truth.T):
        assert np.sqrt(np.mean((image - wrong) ** 2)) > 4 * SCANNER["noise-free rms [HU]"]


def test_rescanning_the_true_patch_is_the_low_dose_image_bit_for_bit(scanner):
    x = scanner.low_dose(10.0, draws=3)
    again = scanner.rescan(scanner.y[None], 10.0, draws=3)
    assert again.shape == (1, 3, 32, 32)
    assert torch.equal(again[0], x)


def test_exchanging_the_patch_is_scanning_the_exchanged_slice(scanner):
    """Linearity: R y + R(ȳ - y) is the projection of the slice that holds ȳ."""
    bump = torch.zeros(32, 32)
    bump[8:20, 12:18] = 90.0
    change = scanner.rescan((scanner.y + bump)[None], 1e6)[0, 0] - scanner.low_dose(1e6)[0]
    y, x = scanner.patch_grid.y, scanner.patch_grid.x
    mass = float(change.sum()), float(bump.sum())
    assert abs(mass[0] / mass[1] - 1) < SCANNER["mass of an exchanged patch, rel"]
    for axis, position in ((1, y), (0, x)):
        weights = change.sum(axis).numpy(), bump.sum(axis).numpy()
        centres = [float((w * position).sum() / w.sum()) for w in weights]
        assert abs(centres[0] - centres[1]) < SCANNER["centre of an exchanged patch [mm]"]


def test_draws_images_and_seeds_differ_and_repeat(scanner):
    first = scanner.low_dose(10.0, draws=18)
    assert torch.equal(first[17], scanner.low_dose(10.0, draws=1, first_draw=17)[0])
    assert torch.equal(first[2], scanner.low_dose(10.0, draws=3, seed=3)[2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], scanner.low_dose(10.0, seed=4)[0])
    many = scanner.rescan(scanner.y.expand(18, -1, -1), 10.0)[:, 0]
    assert len({image.sum().item() for image in many}) == 18
    redrawn = scanner.redraw(4, 3, mas=10.0)
    assert redrawn.shape == (4, 32, 32)
    assert not any(torch.equal(a, b) for a in redrawn for b in first)
    assert derived_seed(1, "a") != derived_seed(2, "a") != derived_seed(2, "b")


def test_noise_falls_with_the_root_of_the_exposure(scanner):
    sd = {mas: scanner.low_dose(mas, draws=32).std(0).mean() for mas in (25.0, 100.0)}
    assert abs(float(sd[25.0] / sd[100.0]) / 2 - 1) < SCANNER["sd, rel"]


def test_slice_and_patch_are_one_scan():
    series = low_dose_slices(
        np.stack([phantom()] * 6),
        SPACING,
        mas=10.0,
        kvp=120.0,
        slice_thickness=1.5,
        seed=3,
        geometry=GEOMETRY,
    )
    whole, limit = series[5], SCANNER["patch against slice [HU]"]
    centre = (70 + 15.5 - 84.5) * 1.4, (40 + 11.5 - 74.5) * 1.5
    coincident = ImageGrid(shape=(24, 32), spacing=SPACING, centre=centre)
    part = SliceScanner(
        phantom(), SPACING, kvp=120.0, slice_thickness=1.5, patch_grid=coincident, seed=3, image=5,
        geometry=GEOMETRY,
    )  # fmt: skip
    crop = np.s_[40:64, 70:102]
    np.testing.assert_allclose(part.low_dose(10.0)[0], whole[crop], rtol=0, atol=limit)
    np.testing.assert_allclose(part.y, phantom()[crop], rtol=0, atol=1e-3)
    assert np.abs(series[4][crop] - whole[crop]).mean() > 10.0  # another slice, other noise


def test_air_below_minus_1000_is_no_attenuation(scanner):
    padded = np.where(phantom() < -990, -3024.0, phantom())
    clean = np.where(phantom() < -990, -1000.0, phantom())
    kwargs = {
        "kvp": 120.0,
        "slice_thickness": 1.5,
        "patch_grid": scanner.patch_grid,
        "seed": 3,
        "geometry": GEOMETRY,
    }
    a, b = (SliceScanner(hu, SPACING, **kwargs) for hu in (padded, clean))
    assert torch.equal(a.p, b.p)
    low = scanner.y.clone()
    low[3, 4] = -5000.0
    floor = low.clamp(min=-1000.0)
    assert torch.equal(scanner.rescan(low[None], 10.0), scanner.rescan(floor[None], 10.0))


def test_facts_are_plain_and_say_what_was_done(scanner):
    import json

    facts = json.loads(json.dumps(scanner.facts(10.0)))
    assert facts["backend"] and facts["backend_reason"]
    assert 0.0 <= facts["starved_share"] < 0.01
    assert facts["quanta_at_centre"] == pytest.approx(scanner.facts(20.0)["quanta_at_centre"] / 2)


def test_anatomies_on_another_grid_are_refused(scanner):
    with pytest.raises(DataError, match="grid"):
        scanner.rescan(torch.zeros(2, 31, 32), 10.0)


def test_slices_of_differing_thickness_get_their_own_quanta() -> None:
    hu = np.zeros((16, 48, 48), np.float32)
    thin = {"mas": 10.0, "kvp": 120.0, "seed": 4}
    both = low_dose_slices(hu, (4.0, 4.0), slice_thickness=np.repeat([1.0, 9.0], 8), **thin)
    alone = low_dose_slices(hu, (4.0, 4.0), slice_thickness=1.0, **thin)
    np.testing.assert_array_equal(both[0], alone[0])
    inside = both[:, 12:36, 12:36]
    ratio = inside[:8].std() / inside[8:].std()
    assert ratio == pytest.approx(3.0, rel=0.1)  # nine times the quanta; six standard errors


def test_patch_and_whole_slice_give_one_signal_and_one_noise(scanner):
    """An anatomy exchanged on the patch's grid against the slice that holds it, noise included."""
    from recon.dose.noise import sample_transmission
    from recon.units import hu_to_mu, mu_to_hu

    centre = (70 + 15.5 - 84.5) * 1.4, (40 + 11.5 - 74.5) * 1.5
    crop = np.s_[..., 40:64, 70:102]
    part = SliceScanner(
        phantom(), SPACING, kvp=120.0, slice_thickness=1.5, seed=3, image=5, geometry=GEOMETRY,
        patch_grid=ImageGrid(shape=(24, 32), spacing=SPACING, centre=centre),
    )  # fmt: skip
    ybar = part.y + 300.0 * torch.rand(24, 32, generator=torch.Generator().manual_seed(1))
    changed = torch.from_numpy(phantom())
    changed[crop] = ybar
    whole = scanner.slice_operator
    p = whole(hu_to_mu(changed, part.mu_water))
    signal = whole.fbp(p - part.p, window="hann")[crop]
    change = (ybar - part.y) * (part.mu_water / 1000.0)
    by_patch = part.patch_operator.fbp(part.patch_operator(change), window="hann")
    assert float((by_patch - signal).norm() / signal.norm()) < SCANNER_PATCH["signal, rel"]

    draws, quanta = 24, part.photons(20.0)
    exchanged = part.p + part.patch_operator(change)  # float32 of other rays moves single quanta
    noisy = torch.stack([
        sample_transmission(
            exchanged, photons=quanta, electronic_noise=3.0, seed=3, image=5, draw=k
        )
        for k in range(draws)
    ])  # fmt: skip
    expected = mu_to_hu(whole.fbp(noisy, window="hann"), part.mu_water)[crop].std(0)
    found = part.rescan(ybar[None], 20.0, draws=draws)[0].std(0)
    assert float((found / expected - 1).abs().max()) < SCANNER_PATCH["sd of each pixel, rel"]


THINNING = {
    # the requirement; two stacks of 64 images of 72 × 76 pixels: over 8 seeds the ratio is
    # 1.004 ± .004, that of the image's own variance to the lower exposure's .500 and .199
    "variance against a true scan, rel": 0.01,
}


def small_scans(mas, n, seed, **more):
    """A body of 200 mm whose rays are few enough for electronic noise to matter at 10 mAs."""
    hu = np.repeat(phantom((72, 76), (3.1, 2.9))[None], n, axis=0)
    return low_dose_slices(
        hu, (3.1, 2.9), mas=mas, kvp=120.0, slice_thickness=0.6, seed=seed, geometry=GEOMETRY,
        **more,
    )  # fmt: skip


def thinned(hu, image_mas, mas, seed, **more):
    return thinned_slices(
        hu, (3.1, 2.9), image_mas=image_mas, mas=mas, kvp=120.0, slice_thickness=0.6, seed=seed,
        geometry=GEOMETRY, **more,
    )  # fmt: skip


@pytest.mark.parametrize(("high", "low"), [(200.0, 100.0), (40.0, 8.0)])
def test_an_image_of_200_mas_taken_to_100_has_the_noise_of_a_scan_at_100(high, low):
    n = 64
    truth = small_scans(None, 1, 0)
    there = thinned(small_scans(high, n, seed=1), high, low, seed=1) - truth
    true = small_scans(low, n, seed=2) - truth
    ratio = there.var(0).mean() / true.var(0).mean()
    assert ratio == pytest.approx(1.0, abs=THINNING["variance against a true scan, rel"])
    assert abs(there.mean() - true.mean()) < 0.5


def test_an_image_at_its_own_exposure_comes_back_and_padding_stays():
    hu = phantom((40, 44), (4.0, 4.0))[None] - 200.0  # air of -1200 HU
    same = thinned(hu, 200.0, 200.0, seed=1)
    assert np.array_equal(same, hu)
    low = thinned(hu, 200.0, 190.0, seed=1)
    assert not np.array_equal(low, hu)
    corner = hu[0, :4, :4]
    assert corner.mean() < -1150 and low[0, :4, :4].mean() == pytest.approx(corner.mean(), abs=20)


def test_the_noise_of_two_steps_is_independent_of_that_of_the_first():
    """With one seed for all: from 200 to 100 to 50 mAs has the noise of 200 to 50 mAs."""
    hu = np.repeat(phantom((40, 44), (5.0, 5.0))[None], 16, axis=0)
    half = thinned(hu, 200.0, 100.0, seed=1)
    first, second = half - hu, thinned(half, 100.0, 50.0, seed=1) - half
    straight = thinned(hu, 200.0, 50.0, seed=1) - hu
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02
    assert (first + second).var() == pytest.approx(straight.var(), rel=0.05)
    exposures = np.repeat([100.0, 200.0], 8)  # each slice has its own
    both = thinned(hu, exposures, 50.0, seed=1) - hu
    assert np.array_equal(both[8:], straight[8:])
    assert both[:8].var() / straight[:8].var() == pytest.approx((1 / 50 - 1 / 100) / (
        1 / 50 - 1 / 200), rel=0.1)  # fmt: skip


def test_noise_cannot_be_taken_from_an_image():
    with pytest.raises(DataError, match="noise can be added to a measurement"):
        thinned(np.zeros((1, 16, 16), np.float32), 50.0, 100.0, seed=1)


def body_with_noise(count, mas, seed):
    """Small slices of a body at an exposure, (n, 48, 48) [HU]."""
    hu = np.stack([phantom((48, 48), (4.5, 4.5))] * count)
    return low_dose_slices(hu, (4.5, 4.5), mas=mas, seed=seed, **FEW_VIEWS)


def test_noise_is_added_once_to_a_slice_that_has_some():
    """100 of 200 mAs: own and added noise have the variance of a scan at 100 mAs, within 1 %."""
    count = 320
    own = body_with_noise(count, 200.0, 1)
    total = scanned_slices(own, (4.5, 4.5), image_mas=200.0, mas=100.0, seed=2, **FEW_VIEWS)
    true = body_with_noise(count, 100.0, 3)
    inside = phantom((48, 48), (4.5, 4.5)) > -50
    variance, wanted = (images.var(0, ddof=1)[inside].mean() for images in (total, true))
    assert abs(variance / wanted - 1) < SCANNER_PATCH["total noise, rel"]


def test_a_scanner_adds_what_its_slice_lacks():
    """As the series does, and to ȳ what it adds to y; at its own exposure and above, everything."""
    y = body_with_noise(1, 200.0, 1)[0]
    centre, shape = (0.0, -9.0), (24, 20)
    grid = ImageGrid(shape=shape, spacing=(4.5, 4.5), centre=centre)
    whole = scanned_slices(y[None], (4.5, 4.5), image_mas=200.0, mas=100.0, seed=2, **FEW_VIEWS)[0]
    scanner = SliceScanner(
        y, (4.5, 4.5), patch_grid=grid, image_mas=200.0, seed=2, **FEW_VIEWS
    )  # fmt: skip
    there = np.s_[10:34, 14:34]
    x = scanner.low_dose(100.0)[0]
    assert abs(x.numpy() - whole[there])[4:-4, 4:-4].max() < SCANNER["patch against slice [HU]"]
    assert torch.equal(scanner.rescan(scanner.y[None], 100.0)[0, 0], x)
    bump = torch.zeros(shape)
    bump[10:14, 8:12] = 50.0
    change = scanner.rescan((scanner.y + bump)[None], 100.0)[0, 0] - x
    plain = SliceScanner(y, (4.5, 4.5), patch_grid=grid, seed=2, **FEW_VIEWS)
    without_noise = plain.rescan((plain.y + bump)[None], 1e7)[0, 0] - plain.low_dose(1e7)[0]
    assert abs(change - without_noise).max() < 2.0  # R⁻¹R of it; its quanta change the noise
    assert torch.equal(scanner.low_dose(200.0), plain.low_dose(200.0))
    assert scanner.facts(100.0)["added_share"] == 0.5 and scanner.facts(200.0)["added_share"] == 1.0
    with pytest.raises(DataError, match="not positive"):
        SliceScanner(y, (4.5, 4.5), patch_grid=grid, image_mas=0.0, seed=2, **FEW_VIEWS)


def test_slices_of_several_exposures_get_what_each_lacks():
    hu = body_with_noise(3, 200.0, 1)
    mixed = [200.0, float("nan"), 50.0]
    found = scanned_slices(hu, (4.5, 4.5), image_mas=mixed, mas=100.0, seed=2, **FEW_VIEWS)
    thinned = thinned_slices(hu[:1], (4.5, 4.5), image_mas=200.0, mas=100.0, seed=2, **FEW_VIEWS)
    scans = low_dose_slices(hu, (4.5, 4.5), mas=100.0, seed=2, **FEW_VIEWS)
    assert np.array_equal(found[:1], thinned) and np.array_equal(found[1:], scans[1:])


def beyond_the_kernel(hu: np.ndarray) -> torch.Tensor:
    """Noise that a slice of 0.6 mm pixels, taken for a scan at 150 mAs, has beyond ours at 25."""
    grid = ImageGrid(shape=(64, 64), spacing=(0.6, 0.6))
    how = {"patch_grid": grid, "image_mas": 150.0, "seed": 1, **FEW_VIEWS}
    scanner = SliceScanner(hu, (0.6, 0.6), **how | {"geometry": flash_axial(views=360)})
    assert not scanner.finer_noise(150.0).any()
    return scanner.finer_noise(25.0)


def test_noise_finer_than_the_kernel_is_known_and_edges_are_not_taken_for_it():
    """White noise loses what a Hann window to the detector's Nyquist frequency takes from it."""
    white = 30.0 * np.random.default_rng(1).standard_normal((96, 96)).astype(np.float32)
    mm = np.hypot(*np.meshgrid(np.fft.fftfreq(96, 0.6), np.fft.fftfreq(96, 0.6)))
    nyquist = 0.5 / (1.2858 * 595.0 / 1085.6)  # at the axis [cycles a mm]
    passed = np.where(mm < nyquist, 0.5 + 0.5 * np.cos(np.pi * mm / nyquist), 0.0)
    taken = 30.0 * np.sqrt(np.mean((1.0 - passed) ** 2))
    found = float(beyond_the_kernel(white).std())
    assert found == pytest.approx(taken, rel=0.1)
    smooth = gaussian_filter(white, 3.0)
    assert float(beyond_the_kernel(30.0 * smooth / smooth.std()).std()) < 0.1 * found
    bone = white.copy()
    bone[40:60, 40:52] += 1000.0  # a border of 64 pixels, 2 wide on both sides, at most 3 sd each
    most = np.sqrt(1.0 + 4.0 * 64 / 4096 * 3.0**2)
    assert found < float(beyond_the_kernel(bone).std()) < most * found
