"""Observers in Gaussian noise against their closed forms, and lesions with known answers."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from analysis.lesions.lesion import (
    FINE_HU,
    Lesion,
    _damped,
    contrast_recovery,
    hiding_cost,
    lesion_likeness,
)
from analysis.observers.human import dense_dog_channels, observe, train_cho, train_npw
from analysis.observers.ideal import auc, detectability
from analysis.observers.jacobian import Jacobian
from recon.errors import DataError
from recon.geometry import ImageGrid

TOLERANCES = {
    # 1,500 training and 1,500 test images: 2 % of d' each, a channel's share of overtraining
    "observer, rel": 0.08,
    # τ against 0.95 τ, the residual that is aimed at; the rest is exact
    "hiding, rel": 0.06,
}
GRID = ImageGrid(shape=(24, 24), spacing=(1.0, 1.0))
LESION = Lesion(contrast=6.0, radius=3.0, place=(2.5, -1.5), edge=0.7)
PLACE = (12 - 1.5 - 0.5, 12 + 2.5 - 0.5)
N = 1500


def noise(n, seed, blur):
    """White noise of 10 HU, or the same through a blur."""
    white = np.random.default_rng(seed).normal(0.0, 10.0, (n, *GRID.shape))
    return torch.from_numpy(gaussian_filter(white, (0, blur, blur), mode="wrap") if blur else white)


def covariance(blur):
    """``v ↦ Σ v`` of that noise."""

    def times(v):
        twice = v.double().numpy()
        for _ in range(2 if blur else 0):
            twice = gaussian_filter(twice, (0, blur, blur), mode="wrap")
        return torch.from_numpy(100.0 * twice)

    return times


def linear_detectability(template, signal, covariance):
    """d' of any linear observer in Gaussian noise, ``wᵀs / √(wᵀ Σ w)``, from images (H, W)."""
    spread = (template.double() * covariance(template[None])[0].double()).sum()
    return float((template.double() * signal.double()).sum() / spread.sqrt())


@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_observers_have_their_closed_forms(blur):
    signal, sigma = LESION.on(GRID).double(), covariance(blur)
    channels = dense_dog_channels(GRID.shape, place=PLACE)
    K = channels.T @ sigma(channels.T.reshape(-1, *GRID.shape)).flatten(1).T
    seen = channels.T @ signal.flatten()
    expected = {
        "NPW": linear_detectability(signal, signal, sigma),
        "CHO": math.sqrt(seen @ torch.linalg.solve(K, seen)),
    }
    train, test = noise(N, 1, blur), (noise(N, 2, blur), noise(N, 3, blur) + signal)
    templates = {
        "NPW": train_npw(train, train + signal),
        "CHO": train_cho(train, train + signal, channels),
    }
    for name, template in templates.items():
        found = observe(template, *test, seed=5)
        assert found.d == pytest.approx(expected[name], rel=TOLERANCES["observer, rel"]), name
        low, high = found.d_interval
        assert 0.1 < high - low < 0.3  # 1,500 images: √((2 + d'²/4)·2/3000) each way
        assert low - (high - low) / 2 < expected[name] < high + (high - low) / 2  # 4 sd
        assert found.auc == pytest.approx(auc(expected[name]), abs=0.02)
    if not blur:  # NPW is ideal in white noise, the CHO below it
        assert expected["NPW"] == pytest.approx(float(signal.norm()) / 10.0)
        ideal = detectability(sigma, signal[None], tolerances=[1e-3])[0, 0]
        assert expected["CHO"] < expected["NPW"] == pytest.approx(ideal)


@pytest.mark.parametrize("variance", [1e-4, 0.25, 400.0])
def test_weak_and_strong_white_noise_have_the_same_closed_form(variance):
    """d'_τ = ‖s‖/√(σ² + τ²), from a single product, however small σ² + τ² is."""
    signal = LESION.on(GRID).double()
    tolerances = [0.01, 0.5]
    found = detectability(lambda v: variance * v, signal[None], tolerances=tolerances)[0]
    expected = [float(signal.norm()) / math.sqrt(variance + tau**2) for tau in tolerances]
    assert found == pytest.approx(expected, rel=1e-9)


def test_npw_may_rise_where_the_ideal_observer_cannot():
    """A blur makes the NPW better than it was, and the ideal observer no better."""
    signal = LESION.on(GRID).double()
    blur = lambda v: torch.from_numpy(gaussian_filter(v.numpy(), (0, 1.0, 1.0), mode="wrap"))
    blurred = blur(signal[None])[0]
    before = linear_detectability(signal, signal, covariance(0.0))
    small = Lesion(contrast=6.0, radius=0.8, edge=0.2).on(GRID).double()
    rough = covariance(0.0)
    coloured = lambda v: 100.0 * (v - 0.95 * blur(v.double()))  # noise of high frequencies
    npw = (
        linear_detectability(signal, signal, coloured),
        linear_detectability(blurred, blurred, lambda v: blur(coloured(blur(v.double())))),
    )
    assert npw[1] > 1.05 * npw[0]
    ideal = (
        detectability(coloured, signal[None], tolerances=[0.1])[0, 0],
        detectability(lambda v: blur(coloured(blur(v.double()))), blurred[None], tolerances=[0.1]),
    )
    assert ideal[1][0, 0] < ideal[0]
    assert before == pytest.approx(float(signal.norm()) / 10) and rough(small[None]).shape[0] == 1


def test_more_draws_than_channels_are_asked_for():
    channels = dense_dog_channels(GRID.shape)
    with pytest.raises(DataError, match="channels"):
        train_cho(noise(10, 1, 0.0), noise(10, 2, 0.0), channels)
    assert channels.shape == (576, 10)
    assert channels.norm(dim=0).allclose(torch.ones(10).double())


def test_a_lesion_lies_where_it_is_put_and_is_recovered():
    image = LESION.on(GRID)
    x, y = GRID.x, GRID.y
    centre = [
        float((image.sum(a) * torch.from_numpy(p)).sum() / image.sum()) for a, p in ((0, x), (1, y))
    ]
    np.testing.assert_allclose(centre, LESION.place, atol=0.02)
    area = float(image.sum()) / LESION.contrast
    assert area == pytest.approx(math.pi * (3.0**2 + (math.pi * 0.7) ** 2 / 3), rel=0.01)
    base = noise(5, 1, 0.0)
    assert contrast_recovery(base, base + 0.4 * image, LESION, GRID) == pytest.approx(0.4, rel=1e-4)
    with pytest.raises(DataError, match="radius"):
        Lesion(contrast=1.0, radius=0.0)
    with pytest.raises(DataError, match="contrast"):
        Lesion(contrast=0.0, radius=1.0)


def test_hiding_from_the_identity_costs_what_it_leaves():
    """f = identity in white noise: δ* = -l shortened until the rest has a norm of τ."""
    lesion = LESION.on(GRID).double()
    tau = 0.3
    hiding = hiding_cost(
        lambda x: x, torch.zeros(24, 24).double(), lesion, covariance(0.0), tolerance_hu=tau
    )
    norm = float(lesion.norm())
    assert hiding.hidden and hiding.left <= tau * 1.01
    expected = (norm - tau * 24) / 10.0
    assert hiding.cost == pytest.approx(expected, rel=TOLERANCES["hiding, rel"])
    assert hiding.lesion == pytest.approx(norm / math.sqrt(100.0 + FINE_HU**2), rel=1e-5)


def test_a_network_that_sees_little_is_cheap_to_hide_from():
    """Only the mean of each row is seen: δ* has its closed form, and costs less than the lesion."""

    def rows(x):
        return x.mean(-1, keepdim=True).expand_as(x).contiguous()

    lesion, tau = LESION.on(GRID).double(), 0.02
    hiding = hiding_cost(rows, noise(1, 4, 0.0)[0], lesion, covariance(0.0), tolerance_hu=tau)
    seen = rows(lesion[None])[0]  # only this part has to be undone
    expected = (float(seen.norm()) - tau * 24) / 10.0
    assert hiding.hidden
    assert hiding.cost == pytest.approx(expected, rel=TOLERANCES["hiding, rel"])
    assert hiding.cost < 0.7 * hiding.lesion
    ratio = float((hiding.change * seen).sum() / (hiding.change.norm() * seen.norm()))
    assert ratio == pytest.approx(-1.0, abs=1e-3)


def test_a_network_that_is_blind_needs_nothing_hidden():
    hiding = hiding_cost(
        lambda x: 0.0 * x, noise(1, 4, 0.0)[0], LESION.on(GRID).double(), covariance(0.0),
        tolerance_hu=1.0,
    )  # fmt: skip
    assert hiding.hidden and hiding.cost == 0.0 and hiding.left == 0.0


@pytest.mark.parametrize("share", [0.1, 0.01])
def test_a_residual_is_left_as_asked_for_in_few_products_with_the_noise(share):
    """Variances of seven decades in 256 directions: two Krylov spaces do, one rough, one fine."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.linalg.qr(torch.randn(256, 256, generator=generator).double())[0]
    sigma = (directions * torch.logspace(-4, 3, 256).double()) @ directions.T
    products = 0

    def times(v):
        nonlocal products
        products += 1
        return (v.double().flatten(1) @ sigma).reshape(v.shape).to(v)

    at = Jacobian(lambda x: x, torch.zeros(16, 16).double())
    residual = 10.0 * torch.randn(16, 16, generator=generator).double()
    dual = _damped(at, times, residual, share * float(residual.norm()))
    assert products <= 2 * 256
    left = residual - (dual.flatten() @ sigma).reshape(16, 16)
    assert float(left.norm() / residual.norm()) == pytest.approx(share, rel=1e-4)


def test_a_likeness_saves_products_and_changes_no_d(seed=3):
    """Variances of four decades, known to within a factor of 1.5 either way."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(256, 256, generator=generator).double())[0]
    values = torch.logspace(-2, 3, 256).double()
    off = torch.exp(0.4 * (2.0 * torch.rand(256, generator=generator).double() - 1.0))
    sigma, like = ((directions * v) @ directions.T for v in (values, values * off))
    signals = torch.randn(2, 16, 16, generator=generator).double()
    products = 0

    def times(v):
        nonlocal products
        products += 1
        return (v.double().flatten(1) @ sigma).reshape(v.shape)

    def found(tolerances, like=None):
        nonlocal products
        products = 0
        return detectability(times, signals, tolerances=tolerances, like=like), products

    plain, many = found([0.3])
    helped, few = found([0.3], like)
    exact = detectability(sigma, signals, tolerances=[0.3])
    np.testing.assert_allclose(plain, exact, rtol=5e-5)
    np.testing.assert_allclose(helped, exact, rtol=5e-5)
    assert few <= 30 < 100 < many
    # of several tolerances, and where what is said to be like the noise has no factors, none is
    # saved, and none is wrong
    for tolerances, alike in (([0.3, 2.0], like), ([0.3], -like)):
        again, count = found(tolerances, alike)
        assert count == many and again[:, 0] == pytest.approx(plain[:, 0], rel=1e-12)


def test_samples_that_look_like_the_lesion_are_found_where_they_are():
    template = Lesion(contrast=20.0, radius=2.0).on(ImageGrid(shape=(25, 25), spacing=(1.0, 1.0)))
    there = torch.roll(template, (-3, 5), (0, 1))
    base = noise(1, 7, 0.0)[0].float()
    other = base + 20.0 * torch.linspace(-1, 1, 24)[None, :]
    found = torch.zeros(25, 25)
    x = torch.nn.functional.pad(base, (0, 1, 0, 1))
    samples = torch.stack([x + there, torch.nn.functional.pad(other, (0, 1, 0, 1)), x - there])
    score, place = lesion_likeness(samples, x, template)
    assert score[0] > 0.99 and place[0].tolist() == [9, 17]
    assert score[1] < 0.6 and score[2] < 0.6 and not found.any()
