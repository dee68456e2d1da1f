"""Near-null energy and dimension by Lanczos, against the singular value decomposition itself."""

import numpy as np
import pytest
import torch
from torch.func import jacrev
from torch.nn import functional as F

from ctxai.sampling.jacobian import linearise
from ctxai.sampling.local import LocalJacobian
from ctxai.sampling.near_null import near_null, unseen_part
from ctxai.weights.sets import load
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError

# must-values: 60 Lanczos steps against the exact share of energy, absolute
ENERGY = 0.02
# must-value, of the 1,024 dimensions: DRAWS of white noise scatter by
# sqrt(2 × .5² / 1024 / 16) = .0055 at most, a fifth of it
DIMENSION, DRAWS = 0.03, 16

pytestmark = pytest.mark.usefixtures("one_thread")


def noisy_patch(side, seed=0):
    """Two tissues in the noise of a low dose, off centre, (1, 1, side, side) [HU]."""
    generator = torch.Generator().manual_seed(seed)
    rows, cols = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    organ = ((rows - 0.4 * side) / 9.0) ** 2 + ((cols - 0.6 * side) / 6.0) ** 2 < 1
    white = torch.randn(1, 1, side + 2, side + 2, generator=generator)
    noise = 60.0 * F.avg_pool2d(white, 3, 1) * 2.0
    return 40.0 + 60.0 * organ + noise


def deviations(side, n=2, seed=1):
    """White noise, smooth noise and a point, so that shares differ."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(n, 1, side, side, generator=generator)
    smooth = F.avg_pool2d(torch.randn(n, 1, side + 4, side + 4, generator=generator), 5, 1)
    point = torch.zeros(1, 1, side, side)
    point[..., side // 3, side // 2] = 1.0
    return torch.cat([white, smooth, point])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), [("chen", "output"), ("yang", "4")])
def test_lanczos_agrees_with_the_exact_decomposition_at_32(name, layer, record_property):
    phi = Wiretap(load(name)[0].to(memory_format=torch.channels_last), layer).phi
    x, d = noisy_patch(32), deviations(32)
    jacobian = jacrev(phi, chunk_size=64)(x).flatten(end_dim=-5).reshape(-1, 1024).double()
    squares, vectors = np.linalg.eigh((jacobian.T @ jacobian).numpy())
    sigma = np.sqrt(squares.clip(0))
    blind = sigma < 0.1 * sigma.max()
    flat = d.flatten(1).double().numpy()
    exact = ((flat @ vectors[:, blind]) ** 2).sum(1) / (flat**2).sum(1)
    found = near_null(phi, x, d, draws=DRAWS, seed=3)
    record_property("largest error", float(np.abs(found.energy.numpy() - exact).max()))
    record_property("dimension, exact and found", (int(blind.sum()), found.dimension))
    assert found.largest == pytest.approx(sigma.max(), rel=1e-3)
    assert np.abs(found.energy.numpy() - exact).max() < ENERGY
    assert abs(found.dimension - blind.sum()) < DIMENSION * 1024
    gain = np.linalg.norm(jacobian.numpy() @ flat.T, axis=0) / np.linalg.norm(flat, axis=1)
    assert np.allclose(found.gain.numpy(), gain, rtol=1e-4)


def test_a_filter_is_blind_to_the_frequencies_that_it_takes_out():
    """Periodic convolution: Fourier modes are the singular vectors, |kernel transform| the σ."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    kernel = (kernel[:, None] * kernel).reshape(1, 1, 5, 5)

    def blur(x):
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="circular"), kernel)

    side = 32
    gain = torch.fft.fft2(kernel[0, 0], s=(side, side)).abs()
    blind = gain < 0.1 * gain.max()
    d = deviations(side)
    power = torch.fft.fft2(d[:, 0]).abs().square()
    exact = power[:, blind].sum(1) / power.sum((1, 2))
    found = near_null(blur, noisy_patch(side), d, draws=DRAWS, seed=1)
    assert (found.energy - exact).abs().max() < ENERGY
    assert abs(found.dimension - blind.sum()) < DIMENSION * side**2
    assert found.white_energy == pytest.approx(float(blind.double().mean()), abs=DIMENSION)
    assert found.largest == pytest.approx(1.0, rel=1e-4)
    expected = (power * gain.square()).sum((1, 2)).sqrt() / power.sum((1, 2)).sqrt()
    assert torch.allclose(found.gain, expected, rtol=1e-4)


def test_the_scale_of_a_layer_does_not_matter():
    x, d = noisy_patch(16), deviations(16)

    def low_pass(x):
        return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2) + 0.01 * x

    plain = near_null(low_pass, x, d, draws=120, seed=1)
    faint = near_null(lambda x: 1e-4 * low_pass(x), x, 50.0 * d, seed=1)
    assert torch.allclose(plain.energy, faint.energy, atol=1e-3)
    assert faint.largest == pytest.approx(1e-4 * plain.largest, rel=1e-3)
    # three of four dimensions of a block; 256 × sqrt(2 × .75 × .25 / 256 / 120) = .9 is one
    # standard error
    assert plain.dimension == pytest.approx(192, abs=4)


def test_what_keeps_everything_has_no_near_null_space():
    d = deviations(8)
    found = near_null(lambda x: 3.0 * x, torch.zeros(1, 1, 8, 8), d, seed=1)
    assert found.energy.abs().max() == 0 and found.dimension == 0
    assert torch.allclose(found.gain, torch.tensor(3.0))
    blind = near_null(lambda x: x * 0.0, torch.zeros(1, 1, 8, 8), d, seed=1)
    assert (blind.energy == 1).all() and blind.dimension == 64


def test_few_steps_over_a_continuous_spectrum_are_off_neither_way():
    """σ evenly from 0 to 1, white energy: the share below τ is τ, on average over many τ.

    A node's weight, a tenth here, belongs half to each side of it: all of it on one side is off by
    half of it.
    """
    sigma = torch.linspace(0.0, 1.0, 1024).reshape(1, 1, 32, 32)
    d, x = torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    limits = np.linspace(0.21, 0.79, 8)
    found = [
        float(near_null(lambda x: sigma * x, x, d, threshold=t, steps=10, draws=1, seed=1).energy)
        for t in limits
    ]
    assert np.mean(found - limits) == pytest.approx(0.0, abs=0.005)
    assert np.abs(found - limits).max() < ENERGY


def test_a_known_jacobian_and_a_known_scale_give_the_same():
    torch.manual_seed(2)
    conv = torch.nn.Conv2d(1, 1, 5, padding=2).requires_grad_(False)
    x, d = noisy_patch(24), deviations(24)
    plain = near_null(conv, x, d, draws=2, seed=1)
    local = LocalJacobian.of(linearise(conv, x), (24, 24))
    known = near_null(local, x, d, draws=0, largest=plain.largest, seed=1)
    assert torch.allclose(known.energy, plain.energy, atol=1e-4) and known.energy.min() > 0.001
    assert torch.allclose(known.gain, plain.gain, rtol=1e-5)
    assert known.largest == pytest.approx(plain.largest)
    assert np.isnan([known.dimension, known.white_energy, known.white_gain]).all()
    twice = near_null(conv, x, d, draws=0, largest=2.0 * plain.largest, seed=1)
    wider = near_null(conv, x, d, draws=0, threshold=0.2, largest=plain.largest, seed=1)
    assert torch.equal(twice.energy, wider.energy) and (twice.energy > plain.energy).all()
    unseen = unseen_part(local, x, d)
    assert torch.allclose(unseen, unseen_part(conv, x, d), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"deviations": torch.ones(2, 1, 7, 8)}, "do not fit"),
        ({"deviations": torch.zeros(2, 1, 8, 8)}, "no direction"),
        ({"x": torch.zeros(2, 1, 8, 8)}, "do not fit"),
        ({"steps": 0}, "too few"),
        ({"draws": -1}, "too few"),
    ],
)
def test_bad_input_is_refused(change, word):
    given = {"x": torch.zeros(1, 1, 8, 8), "deviations": torch.ones(2, 1, 8, 8)} | change
    with pytest.raises(DataError, match=word):
        near_null(lambda x: x, given.pop("x"), given.pop("deviations"), seed=1, **given)
