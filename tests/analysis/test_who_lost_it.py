"""Readers with channels and the chain of d', against closed forms and exact answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.lesions.lesion import Lesion
from analysis.observers.channelised import HUMAN_EFFICIENCY, Reader, internal_noise
from analysis.observers.human import dense_dog_channels
from analysis.observers.ideal import detectability
from analysis.projection_domain.chain import over_slices, who_lost_it
from analysis.projection_domain.inserted import lesion_rays
from analysis.projection_domain.losses import Estimate, Losses, jackknife, mean_of
from analysis.scanner.covariance import ImageCovariance
from analysis.scanner.slice_scanner import SliceScanner
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial

SHAPE = (20, 20)
DISC = Lesion(contrast=10.0, radius=3.0, place=(0.5, 0.5), edge=0.6)
GRID = ImageGrid(shape=SHAPE, spacing=(1.0, 1.0))
MIDDLE = (10.0, 10.0)


@pytest.fixture(scope="module")
def correlated():
    """A covariance of noise that is not white, dense, [HU²]."""
    rows, cols = (n.ravel() for n in np.mgrid[: SHAPE[0], : SHAPE[1]])
    apart = np.hypot(rows[:, None] - rows, cols[:, None] - cols)
    return torch.from_numpy(225.0 * np.exp(-apart / 1.5) + 9.0 * np.eye(len(rows)))


def times(matrix):
    return lambda v: (v.double().flatten(1) @ matrix).reshape(v.shape)


def test_a_reader_whose_channels_span_the_template_is_the_ideal_observer(correlated):
    signal = DISC.on(GRID).double()
    for tolerance in (0.5, 5.0):
        whole = correlated + tolerance**2 * torch.eye(len(correlated))
        template = torch.linalg.solve(whole, signal.flatten())
        generator = torch.Generator().manual_seed(1)
        others = torch.randn(len(template), 3, generator=generator).double()
        reader = Reader(torch.cat([template[:, None], others], 1), internal=0.0)
        own = reader.detectability(times(correlated), signal[None], tolerances=[tolerance])
        best = detectability(times(correlated), signal[None], tolerances=[tolerance])
        assert own[0, 0] == pytest.approx(best[0, 0], rel=1e-6)
        # without the template among them the same channels are worse
        poor = Reader(others, internal=0.0)
        assert (
            poor.detectability(times(correlated), signal[None], tolerances=[tolerance]) < 0.5 * own
        )


def test_a_reader_in_white_noise_has_the_efficiency_that_was_published():
    place, radius = (9.0, 10.0), 4.0
    reader = Reader.of(SHAPE, place, radius)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    spot = np.exp(-((rows - place[0]) ** 2 + (cols - place[1]) ** 2) / (0.5 * radius**2))
    signal = torch.from_numpy(spot)[None]
    d = reader.detectability(lambda v: 49.0 * v, signal, tolerances=[0.0])[0, 0]
    assert d**2 / (spot**2).sum() * 49.0 == pytest.approx(HUMAN_EFFICIENCY, rel=1e-6)
    with pytest.raises(DataError, match="no internal noise"):
        internal_noise(dense_dog_channels(SHAPE), signal[0], efficiency=0.999)


def test_the_reader_of_scans_agrees_with_the_reader_of_moments(correlated):
    """The jackknife of d'² from 400 draws, against the closed form from the covariance."""
    reader, signal = Reader.of(SHAPE, MIDDLE, 3.0), DISC.on(GRID).double()
    exact = reader.detectability(times(correlated), signal[None], tolerances=[1.0])[0, 0] ** 2
    factor = torch.linalg.cholesky(correlated)
    generator, inside, values = torch.Generator().manual_seed(2), 0, []
    for _ in range(20):
        draws = torch.randn(200, len(factor), generator=generator).double() @ factor.T
        seen = reader.respond(draws.reshape(-1, *SHAPE))

        def found(kept, seen=seen):
            moments = reader.respond(signal[None]), torch.cov(seen[kept].T)
            return float(reader.from_moments(*moments, tolerances=[1.0])[0, 0] ** 2)

        without = [found(np.flatnonzero(np.arange(200) % 10 != g)) for g in range(10)]
        estimate = jackknife(found(np.arange(200)), np.array(without))
        inside += estimate.low <= exact <= estimate.high
        values.append(estimate.value)
    assert inside >= 17  # of 20, 19 expected
    assert np.mean(values) == pytest.approx(exact, rel=0.03)


def test_losses_say_only_what_their_intervals_allow():
    def losses(image, output):
        return Losses.between(100.0, 10.0, image, output, mas=10.0, full_mas=100.0)

    clear = losses(9.0, Estimate(4.5, 4.0, 5.0))
    assert clear.loser == "network" and clear.dose_is_arithmetic
    parts = clear.dose, clear.reconstruction, clear.network, clear.left
    assert sum(part.value for part in parts) == pytest.approx(1.0)
    assert losses(9.0, Estimate(8.0, 6.0, 10.0)).loser is None  # 11 %, from -11 to 33 %
    assert losses(5.0, Estimate(4.9, 4.8, 5.0)).loser == "reconstruction"
    assert losses(9.99, Estimate(9.97, 9.95, 9.985)).loser == "neither"
    noisy = Losses.between(100.0, 8.0, 7.0, Estimate.exact(7.0), mas=10.0, full_mas=100.0)
    assert not noisy.dose_is_arithmetic  # the electronics took two hundredths
    assert mean_of([3.0]).high == math.inf


def test_where_two_intervals_touch_neither_step_lost_more():
    def loser(first, second):
        parts = {"of_reconstruction": Estimate(*first), "of_network": Estimate(*second)}
        return Losses(*[Estimate.exact(0.25)] * 4, **parts, arithmetic_dose=0.25).loser

    low, high, above = (0.15, 0.1, 0.2), (0.3, 0.2, 0.4), (0.3, 0.21, 0.4)
    assert loser(low, high) is None and loser(high, low) is None
    assert loser(low, above) == "network" and loser(above, low) == "reconstruction"


@pytest.fixture(scope="module")
def scanner(body):
    grid = ImageGrid(shape=(16, 16), spacing=(1.5, 1.5), centre=(-20.0, 0.0))
    around = ImageGrid(shape=(20, 20), spacing=(1.5, 1.5), centre=(-20.0, 0.0))
    return SliceScanner(
        body, (2.0, 2.0), kvp=120.0, slice_thickness=1.5, patch_grid=grid, context_grid=around,
        seed=1, geometry=flash_axial(views=96), electronic_noise=0.0,
    )  # fmt: skip


LESIONS = [
    Lesion(contrast=contrast, radius=radius, place=(-20.0, 0.75))
    for radius in (2.5, 5.0) for contrast in (20.0, 40.0)
]  # fmt: skip


def blur(x):
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 3, stride=1)


@pytest.fixture(scope="module")
def covariance(scanner):
    return ImageCovariance.of(scanner)


@pytest.fixture(scope="module")
def chains(scanner):
    return who_lost_it(
        blur, scanner, LESIONS, mas=10.0, full_mas=100.0, tolerances=[1.0, 10.0], draws=150,
        seed=3,
    )  # fmt: skip


def test_a_lesion_in_the_projections_is_the_lesion_in_the_image(scanner):
    """Its rays weigh as much as its disc, and the patch's own pixels give the same but for them."""
    lesion = Lesion(contrast=20.0, radius=5.0, place=(-20.0, 0.75))
    rays = lesion_rays(scanner, lesion)
    coarse = lesion.on(scanner.patch_grid) * (scanner.mu_water / 1000.0)
    pixels = scanner.patch_operator(coarse)[..., scanner.crossing]
    assert float((rays - pixels).norm() / pixels.norm()) < 0.05
    longest = 20.0 * 2 * 5.0 * scanner.mu_water / 1000.0  # through the middle, edges aside
    assert float(rays.max()) == pytest.approx(longest, rel=0.03)
    with pytest.raises(DataError, match="does not lie in the patch"):
        lesion_rays(scanner, replace(lesion, place=(20.0, 0.0)))


def test_quanta_make_the_dose_arithmetic_for_both_observers(chains):
    assert [chain.observer for chain in chains] == ["ideal", "cho"] * 4
    for chain in chains:
        assert chain.rays / chain.full == pytest.approx(0.1, rel=1e-6)  # d'² ∝ mAs, no electronics
        assert all(loss.dose_is_arithmetic for loss in chain.losses)


def test_d_follows_the_contrast_and_no_stage_adds_for_the_ideal_observer(chains):
    ideal, reader = chains[::2], chains[1::2]
    for observers in (ideal, reader):
        for low, high in zip(observers[::2], observers[1::2], strict=True):
            assert high.rays == pytest.approx(4 * low.rays, rel=1e-6)
            assert high.image[0] == pytest.approx(4 * low.image[0], rel=1e-3)
            assert high.output[0].value == pytest.approx(4 * low.output[0].value, rel=0.05)
    for chain in ideal:
        assert chain.rays >= chain.image[0] * 0.999 >= chain.output[0].value * 0.998
        assert chain.image[0] > chain.image[1] and chain.output[0].value > chain.output[1].value
    for best, human in zip(ideal, reader, strict=True):
        assert human.rays < 0.8 * best.rays and human.image[0] < 0.8 * best.image[0]


def test_the_ideal_chain_of_a_linear_f_is_the_closed_form(scanner, covariance, chains):
    """Dense (JΔ)ᵀ(JΣJᵀ + τ²I)⁻¹(JΔ) with the blur as a matrix."""
    pixels = 20 * 20
    sigma = covariance.times(10.0)(torch.eye(pixels).reshape(-1, 20, 20)).reshape(pixels, pixels)
    unit = torch.eye(pixels).reshape(-1, 1, 20, 20)
    J = scanner.place.of(blur(unit)[:, 0]).flatten(1).T.double()
    rays = lesion_rays(scanner, LESIONS[0])
    signal = covariance.operator.fbp(rays, window="hann") * covariance.hu
    seen, noise = J @ signal.double().flatten(), J @ sigma.double() @ J.T
    expected = [
        seen @ torch.linalg.solve(noise + t**2 * torch.eye(len(noise)), seen) for t in (1, 10)
    ]
    found = chains[0].output
    assert [d.value for d in found] == pytest.approx([float(d) for d in expected], rel=2e-3)
    assert found[0].high - found[0].low < 1e-3 * found[0].value  # a linear f has one Jacobian


def test_a_reader_of_scans_of_a_linear_f_agrees_with_its_closed_form(scanner, covariance, chains):
    """cho behind the blur, drawn by 𝒫 itself, against Uᵀ(JΣJᵀ)U."""
    lesion = LESIONS[2]
    noise = covariance.times(10.0)

    def J(v):
        return scanner.place.of(blur(v[:, None])[:, 0])

    unit = torch.eye(400).reshape(-1, 20, 20)
    matrix = J(unit).flatten(1)  # Jᵀ
    reader = Reader.of((16, 16), ((0.75 - scanner.patch_grid.y[0]) / 1.5, 7.5), 5.0 / 1.5)
    signal = covariance.operator.fbp(lesion_rays(scanner, lesion), window="hann") * covariance.hu
    exact = reader.detectability(
        lambda v: J(noise((v.flatten(1).float() @ matrix.T).reshape(-1, 20, 20))), J(signal[None]),
        tolerances=[1.0],
    )[0, 0]  # fmt: skip
    found = chains[5].output[0]
    assert chains[5].lesion == lesion and chains[5].observer == "cho"
    assert found.low <= exact**2 <= found.high
    assert found.value == pytest.approx(exact**2, rel=0.25)


def test_slices_give_an_interval_of_their_own(chains):
    first = chains[0]
    other = replace(first, output=tuple(d.mapped(0.5) for d in first.output), losses=())
    both = over_slices([first, other])
    loss = both.losses[0].of_network
    singles = [chain.losses[0].of_network.value for chain in (first, other)]
    assert loss.value == pytest.approx(np.mean(singles))
    assert loss.high - loss.low == pytest.approx(12.706 * abs(singles[0] - singles[1]), rel=1e-3)
    with pytest.raises(DataError, match="one observer"):
        over_slices(chains[:2])
