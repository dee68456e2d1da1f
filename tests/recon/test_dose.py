"""The noise model against its own definition, numbers drawn by NumPy, and published figures."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from tolerances import DOSE, DOSE_SD_AT_COUNTS, STREAMS

from recon.dose.kernels import FLOOR_QUANTA
from recon.dose.noise import insert_noise, sample_transmission, starved_rays
from recon.errors import DataError
from recon.geometry import flash_axial
from recon.tube import mu_water, photons_per_column

SIGMA = 3.0


def phantom(seed=0, shape=(3, 20, 48)):
    return 5 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def oracle(n0, p, sigma, count, seed):
    """Draw the model with NumPy's own generators."""
    draw = np.random.default_rng(seed)
    y = draw.poisson(n0 * math.exp(-p), count) + sigma * draw.standard_normal(count)
    return -np.log(np.maximum(y, FLOOR_QUANTA) / n0)


def true_moments(counts, sigma):
    """Mean and standard deviation of the model's line integrals of 0, summed over its law."""
    z = np.linspace(-9, 9, 20001)
    normal = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    n = np.arange(int(stats.poisson.isf(1e-13, counts)) + 1)
    readings = np.array([-np.log(np.maximum(k + sigma * z, FLOOR_QUANTA) / counts) for k in n])
    law = stats.poisson.pmf(n, counts)
    mean, square = (law @ (readings**power @ normal) for power in (1, 2))
    return mean, math.sqrt(square - mean**2)


def both(p, **changes):
    setting = {"photons": 2e4, "electronic_noise": SIGMA, "seed": 9, **changes}
    return (
        sample_transmission(p, **setting),
        insert_noise(p, dose_fraction=0.2, **setting),
    )


@pytest.mark.parametrize("counts", [4.0, 30.0, 1e3, 5e4])
def test_sampling_agrees_with_numpy(counts):
    p = torch.full((400, 500), 2.0, dtype=torch.float64)
    n0 = counts * math.exp(2.0)
    ours = sample_transmission(p, photons=n0, electronic_noise=SIGMA, seed=1).numpy().ravel()
    theirs = oracle(n0, 2.0, SIGMA, ours.size, seed=2)
    assert stats.ks_2samp(ours, theirs).pvalue > STREAMS["p-value"]


def test_log_bias_and_variance_of_many_counts():
    """Bias 1/(2N) + σe²/(2N²), variance (1 + σe²/N)/N; next orders are 1/N² = 1e-4 of them."""
    n = 1e2
    p = torch.zeros(2000, 2000, dtype=torch.float64)
    noisy = sample_transmission(p, photons=n, electronic_noise=SIGMA, seed=3)
    assert noisy.mean().item() == pytest.approx(
        1 / (2 * n) + SIGMA**2 / (2 * n**2), rel=DOSE["log bias at 100 counts, rel"]
    )
    assert noisy.var().item() == pytest.approx(
        (1 + SIGMA**2 / n) / n, rel=DOSE["log variance at 100 counts, rel"]
    )


@pytest.mark.parametrize("fraction", [0.1, 0.25])
@pytest.mark.parametrize(
    ("counts", "sigma", "sd", "bias"),
    [  # the sd and bias of the true distribution at the lower dose
        (124, 8.0, 0.112, 0.006),
        (50, 8.0, 0.229, 0.025),
        (23, 8.0, 0.57, 0.12),
        (124, 3.0, 0.094, None),
        (50, 3.0, 0.157, None),
        (23, 3.0, 0.265, None),
    ],
)
def test_a_reduced_measurement_is_distributed_as_a_measurement_at_low_dose(
    counts, sigma, sd, bias, fraction
):
    true_bias, true_sd = true_moments(counts, sigma)
    assert true_sd == pytest.approx(sd, rel=DOSE["published digits of an sd, rel"])
    if bias is not None:
        assert true_bias == pytest.approx(bias, abs=DOSE["published bias, abs"])
    # near its bound, the sd of few counts takes the most rays
    rays = 10_000_000 if (counts, sigma, fraction) == (23, 3.0, 0.1) else 2_500_000
    p = torch.full((1000, rays // 1000), 1.5, dtype=torch.float64)
    n0 = counts / fraction * math.exp(1.5)
    full = sample_transmission(p, photons=n0, electronic_noise=sigma, seed=4)
    low = insert_noise(full, photons=n0, dose_fraction=fraction, electronic_noise=sigma, seed=5)
    assert low.std().item() == pytest.approx(true_sd, rel=DOSE_SD_AT_COUNTS[counts])
    assert low.std().item() == pytest.approx(sd, rel=DOSE["published sd, rel"])
    assert low.mean().item() - 1.5 == pytest.approx(true_bias, abs=DOSE["bias, abs"])


def test_two_reductions_are_distributed_as_one():
    p, n0 = torch.full((1000, 1000), 2.0, dtype=torch.float64), 4e3 * math.exp(2.0)
    full = sample_transmission(p, photons=n0, electronic_noise=SIGMA, seed=1)
    setting = {"electronic_noise": SIGMA}
    half = insert_noise(full, photons=n0, dose_fraction=0.5, seed=2, **setting)
    twice = insert_noise(half, photons=0.5 * n0, dose_fraction=0.2, seed=3, **setting)
    once = insert_noise(full, photons=n0, dose_fraction=0.1, seed=4, **setting)
    assert twice.std().item() == pytest.approx(once.std().item(), rel=DOSE["sd, rel"])
    assert twice.mean().item() == pytest.approx(
        once.mean().item(), abs=DOSE["bias of two reductions, abs"]
    )
    some = slice(0, 10)
    assert stats.ks_2samp(twice[some].ravel(), once[some].ravel()).pvalue > STREAMS["p-value"]


def test_noise_already_there_is_not_counted_twice():
    """The variance of (reduced - true) is the low dose's own, not the sum of both."""
    p, n0, fraction = torch.full((500, 1000), 1.0), 1e5, 0.25
    full = sample_transmission(p, photons=n0, electronic_noise=0.0, seed=1)
    low = insert_noise(full, photons=n0, dose_fraction=fraction, electronic_noise=0.0, seed=2)
    expected = math.e / (fraction * n0)
    assert low.double().var().item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_full_dose_comes_back_bit_for_bit(dtype):
    p = phantom().to(dtype) - 0.1
    same = insert_noise(p, photons=1e3, dose_fraction=1, electronic_noise=8.0, seed=1)
    assert torch.equal(same, p) and same.dtype == dtype and same is not p


def test_a_view_does_not_depend_on_the_call_that_holds_it():
    p = phantom()
    for whole, part in zip(
        both(p, first_view=5, image=7, draw=2),
        both(p[1:, 4:9], first_view=9, image=8, draw=2),
    ):
        assert torch.equal(whole[1:, 4:9], part)


def test_leading_dimensions_count_images():
    p = phantom(shape=(2, 3, 5, 16))
    for nested, flat, one in zip(both(p), both(p.reshape(6, 5, 16)), both(p[1, 2], image=5)):
        assert torch.equal(nested.reshape(6, 5, 16), flat)
        assert torch.equal(nested[1, 2], one)


def test_a_scan_counts_views_on_its_first_axis():
    """photons[:, None, :] says that axis -2 is the detector's rows."""
    p = phantom(shape=(10, 4, 16))
    n0 = torch.linspace(1e3, 1e4, 160).reshape(10, 16)
    whole = both(p, photons=n0[:, None, :])
    part = both(p[3:7], photons=n0[3:7, None, :], first_view=3)
    for a, b in zip(whole, part):
        assert torch.equal(a[3:7], b)


def test_threads_do_not_matter():
    p = phantom(shape=(2, 64, 200))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = both(p)
        torch.set_num_threads(3)
        three = both(p)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(one, three):
        assert torch.equal(a, b)


@pytest.mark.parametrize("change", [{"seed": 10}, {"draw": 1}, {"image": 3}, {"first_view": 20}])
def test_every_key_gives_other_noise(change):
    p = phantom()
    for a, b in zip(both(p), both(p, **change)):
        differences = (a - p).ravel(), (b - p).ravel()
        assert (
            not torch.isclose(*differences, atol=0).any()
            or (differences[0] == differences[1]).float().mean() < 0.05
        )
        assert abs(np.corrcoef(*differences)[0, 1]) < DOSE["correlation of two streams"]


def test_noise_of_neighbouring_rays_views_and_images_is_uncorrelated():
    p = torch.zeros(8, 200, 300)
    for noisy in both(p):
        noise = (noisy - noisy.mean()).double()
        for axis in range(3):
            here, there = (
                noise.narrow(axis, 0, noise.shape[axis] - 1),
                noise.narrow(axis, 1, noise.shape[axis] - 1),
            )
            assert abs((here * there).mean() / noise.var()) < DOSE["correlation of neighbours"]


@pytest.mark.parametrize("shape", [(), (1,), (16,), (20, 16), (20, 1), (3, 20, 16), (3, 1, 1)])
def test_photons_broadcast_as_in_numpy(shape):
    p = phantom(shape=(3, 20, 16))
    n0 = np.random.default_rng(1).uniform(1e3, 1e5, shape)
    spread = np.broadcast_to(n0, p.shape).copy()
    for a, b, c in zip(
        both(p, photons=n0), both(p, photons=spread), both(p, photons=torch.tensor(n0))
    ):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_inputs_are_left_alone_and_strides_do_not_matter():
    p = phantom()
    kept = p.clone()
    turned = p.transpose(-1, -2).contiguous().transpose(-1, -2)
    for a, b in zip(both(p), both(turned)):
        assert torch.equal(a, b) and a.shape == p.shape and a.dtype == p.dtype
    assert torch.equal(p, kept)


def test_400_mm_of_water_at_10_mas_starves_and_stays_finite():
    fan = flash_axial(1152)
    n0 = photons_per_column(mas=10.0, kvp=120, geometry=fan, slice_thickness=0.6)
    t = fan.src_iso * np.sin(fan.fan_angles)
    chord = 2 * np.sqrt(np.maximum(200.0**2 - t**2, 0.0))
    p = torch.tensor(mu_water(120) * chord, dtype=torch.float32).expand(1152, -1)
    noisy = sample_transmission(p, photons=n0, electronic_noise=SIGMA, seed=1)
    reduced = insert_noise(p, photons=20 * n0, dose_fraction=0.05, electronic_noise=SIGMA, seed=1)
    for result in (noisy, reduced):
        assert torch.isfinite(result).all()
        # no reading is below the floor
        assert (result.double() <= torch.log(torch.tensor(n0 / FLOOR_QUANTA)) + 1e-5).all()
    share = starved_rays(p, photons=n0, electronic_noise=SIGMA)
    on_floor = (noisy.double() >= torch.log(torch.tensor(n0 / FLOOR_QUANTA)) - 1e-5).double().mean()
    assert 0.05 < share < 0.5
    assert share == pytest.approx(on_floor.item(), abs=DOSE["share of starved rays"])


@pytest.mark.parametrize("sigma", [0.0, 0.3, 3.0, 11.0])
@pytest.mark.parametrize("mean", [1e-6, 0.7, 6.0, 60.0])
def test_the_share_of_starved_rays_is_the_chance_of_the_floor(mean, sigma):
    k = np.arange(400)
    reach = stats.norm.cdf(FLOOR_QUANTA - k, scale=sigma) if sigma else k <= FLOOR_QUANTA
    expected = (stats.poisson.pmf(k, mean) * reach).sum()
    p = torch.full((2, 2), 3.0, dtype=torch.float64)
    found = starved_rays(p, photons=mean * math.exp(3.0), electronic_noise=sigma)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_rays_without_any_quanta_stand_on_the_floor():
    p = torch.full((4, 4), 80.0)
    for noisy in both(p, electronic_noise=0.0):
        assert torch.isfinite(noisy).all() and torch.equal(noisy, noisy[:1, :1].expand(4, 4))
    noisy = sample_transmission(p, photons=1e5, electronic_noise=0.0, seed=1)
    assert noisy[0, 0].item() == pytest.approx(math.log(1e5 / FLOOR_QUANTA))


@pytest.mark.parametrize("fraction", [1.0001, 0.0, -0.1, math.nan, math.inf, "half"])
def test_an_impossible_dose_fraction_is_refused(fraction):
    with pytest.raises(DataError, match="dose_fraction"):
        insert_noise(phantom(), photons=1e4, dose_fraction=fraction, electronic_noise=0.0, seed=1)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"photons": 0.0}, "quanta"),
        ({"photons": -1.0}, "quanta"),
        ({"photons": math.nan}, "quanta"),
        ({"photons": np.ones(7)}, "broadcasts"),
        ({"photons": np.ones((2, 3, 20, 48))}, "broadcasts"),
        ({"photons": "many"}, "photons"),
        ({"electronic_noise": -1.0}, "electronic_noise"),
        ({"electronic_noise": math.nan}, "electronic_noise"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"first_view": -1}, "first_view"),
        ({"p": torch.full((2, 2), math.nan)}, "finite"),
        ({"p": torch.full((2, 2), math.inf)}, "finite"),
        ({"p": torch.zeros(4)}, "views"),
        ({"p": torch.zeros(2, 2, dtype=torch.int64)}, "floating"),
        ({"p": np.zeros((2, 2), np.float32)}, "from_numpy"),
    ],
)
def test_unusable_arguments_are_refused(change, word):
    setting = {"p": phantom(), **change}
    with pytest.raises(DataError, match=word):
        both(setting.pop("p"), **setting)


@pytest.mark.parametrize("first", [2, 5])
def test_some_columns_of_a_view_have_the_noise_they_have_in_the_whole(first):
    p = torch.linspace(0, 6, 4 * 31).reshape(4, 31)
    photons = np.linspace(500, 5000, 31)
    noise = {"electronic_noise": 3.0, "seed": 5, "image": 2}
    whole = sample_transmission(p, photons=photons, **noise)
    part = sample_transmission(
        p[:, first:20].contiguous(), photons=photons[first:20], first_ray=first, **noise
    )
    assert torch.equal(part, whole[:, first:20])
