"""The convolutional cINN: inversion, volume, closed-form conditionals, other sizes and shapes of z.

Images y = x + 30·(blurred white noise) are to be sampled given z = x: then y given z is normal with
the mean x and a covariance known pixel by pixel.
"""

import math

import pytest
import torch

from ctxai.files.modules import load_module, save_module
from ctxai.representation.convolutional_cinn import ConvolutionalINN
from ctxai.representation.linear import LinearAutoencoder
from ctxai.sampling.draw import draw
from ctxai.sampling.model import InvarianceModel
from ctxai.training.cinn import INNTask
from ctxai.training.loop import train
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError

SIDE = 16
TOLERANCES = {
    "inversion": 1e-3,  # must-value; in units of z̄
    "log-determinant": 1e-3,  # nats, of 192 dimensions in 32 bits
    "sd": 0.05,  # must-value
    "correlation": 0.05,  # 400 samples of 100 pixels scatter by .01
    "ranks, χ² p": 1e-4,  # four standard errors
}

pytestmark = pytest.mark.usefixtures("one_thread")


def small(**changes):
    sizes = {
        "latent_shape": (12, 4, 4), "condition_shape": (3, 16, 16), "blocks": 3, "hidden": 8,
        "embedding": 8,
    }  # fmt: skip
    torch.manual_seed(0)
    network = ConvolutionalINN(**(sizes | changes))
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.03 * torch.randn(weight.shape)
    return network.eval().requires_grad_(False)


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_inverts_and_counts_volume_as_autograd_does():
    cinn, latent, z = small(), normal(2, 192), normal(2, 3, 16, 16, seed=2)
    v, log_det = cinn(latent, z)
    assert float((cinn.inverse(v, z) - latent).abs().max()) < TOLERANCES["inversion"]
    jacobian = torch.autograd.functional.jacobian(
        lambda one: cinn(one[None], z[:1])[0][0], latent[0]
    )
    expected = float(torch.linalg.slogdet(jacobian.double())[1])
    assert float(log_det[0]) == pytest.approx(expected, abs=TOLERANCES["log-determinant"] * 192)


@pytest.mark.parametrize(
    "shape", [(5,), (3, 8, 8), (2, 32, 32), (70, 4, 4), (3, 20, 20), (9, 2, 2)]
)
def test_z_of_any_shape_conditions_it(shape):
    """A vector, maps of the latent's grid, finer and coarser ones."""
    cinn = small(condition_shape=shape)
    cinn.fit_scales(normal(120, 192), 5.0 + normal(120, *shape, seed=3))
    latent, z = normal(2, 192), normal(2, *shape, seed=4)
    v, _ = cinn(latent, z)
    assert float((cinn.inverse(v, z) - latent).abs().max()) < TOLERANCES["inversion"]
    other, _ = cinn(latent, z + normal(2, *shape, seed=5))
    assert float((other - v).abs().max()) > 0.01


def test_scales_are_fitted_to_what_a_linear_guess_leaves():
    """z̄ is a linear map of z within one block, and noise of sd 0.25."""
    cinn = small(condition_shape=(1, 16, 16))
    with torch.no_grad():
        cinn.correction.weight.zero_()
        cinn.correction.bias.zero_()
    z = 40.0 * normal(60, 1, 16, 16)
    mixing = normal(12, 16, seed=2) / 40.0
    blocks = torch.nn.functional.pixel_unshuffle(z, 4)
    latent = torch.einsum("ab,nbhw->nahw", mixing, blocks) + 0.25 * normal(60, 12, 4, 4, seed=3)
    cinn.fit_scales(latent.flatten(1), z)
    assert bool(cinn.fitted)
    sd = (-cinn.log_scale).exp().flatten()
    # 145 weights of a guess are fitted to 960 blocks: they take up 8 % of the noise's sd
    assert sd.tolist() == pytest.approx([0.25] * 12, rel=0.15)
    guess, *_ = cinn.embed(z)
    assert float((guess - latent).std()) == pytest.approx(0.25, rel=0.15)


def test_the_same_weights_serve_larger_images():
    """Away from the border, v of a place depends on its surroundings alone."""
    cinn = small(condition_shape=(1, 16, 16), blocks=1)
    wide = cinn.resized((128, 128), (16, 16))
    assert wide.latent_shape == (12, 32, 32) and wide.condition_shape == (1, 128, 128)
    latent, z = normal(1, 12, 32, 32), normal(1, 1, 128, 128, seed=2)
    moved = torch.roll(latent, (1, 2), (2, 3)), torch.roll(z, (4, 8), (2, 3))
    v = wide(latent.flatten(1), z)[0].reshape(12, 32, 32)
    of_moved = wide(moved[0].flatten(1), moved[1])[0].reshape(12, 32, 32)
    inner = slice(15, 18)  # convolutions reach 10 places
    back = torch.roll(of_moved, (-1, -2), (1, 2))
    assert float((back - v)[:, inner, inner].abs().max()) < 1e-4


def blurred(noise):
    """Noise with weights .2, .6, .2 along the columns: variance .44, correlations 6/11 and 1/11."""
    return 0.6 * noise + 0.2 * noise.roll(1, -1) + 0.2 * noise.roll(-1, -1)


def pairs(n, generator):
    x, noise = torch.randn(2, n, 1, SIDE, SIDE, generator=generator)
    return 100.0 * x + 20.0, 100.0 * x + 30.0 * blurred(noise)


@pytest.fixture(scope="module")
def trained(one_thread):
    """The sampler of y given x, over latents that hold an image completely."""
    torch.manual_seed(0)
    linear = LinearAutoencoder(shape=(SIDE, SIDE), scale=100.0, width=1.0)
    cinn = ConvolutionalINN(
        latent_shape=linear.latent_shape, condition_shape=(1, SIDE, SIDE), blocks=4, hidden=32,
        embedding=16,
    )  # fmt: skip
    wiretap = Wiretap(lambda x: x, "output")
    task = INNTask(cinn, linear, wiretap, pairs, domain="y", batch=16, steps=300, lr=4e-3)
    train(task, steps=300, seed=3, progress=False)
    cinn.eval().requires_grad_(False)
    return InvarianceModel(wiretap=wiretap, vae=linear, cinn=cinn, domain="y")


def test_samples_have_the_covariance_of_the_closed_form(trained, record_property):
    x, _ = pairs(1, torch.Generator().manual_seed(9))
    samples = draw(trained, x[0, 0], n=400, seed=1).images
    deviation = samples - (x[0, 0] - 20.0)
    inner = deviation[:, 3:-3, 3:-3]
    variance = float(inner.var(0).mean())
    exact = math.sqrt(900 * 0.44 + 1.0)  # 1 HU is the width of the posterior
    record_property("sd", math.sqrt(variance) / exact)
    assert math.sqrt(variance) == pytest.approx(exact, rel=TOLERANCES["sd"])
    assert float(inner.mean(0).square().mean()) < (0.25 * exact) ** 2
    for (down, right), expected in {(0, 1): 6 / 11, (0, 2): 1 / 11, (1, 0): 0.0}.items():
        moved = deviation.roll((-down, -right), (1, 2))[:, 3:-3, 3:-3]
        found = float((inner * moved).mean() / variance)
        record_property(f"correlation {down}, {right}", found)
        assert found == pytest.approx(expected, abs=TOLERANCES["correlation"])


def test_ranks_of_the_truth_are_flat(trained, record_property):
    """One pixel of each of 200 images among 19 samples: a χ² test of 20 equal bins."""
    from scipy.stats import chisquare

    x, y = pairs(200, torch.Generator().manual_seed(4))
    ranks = []
    for i in range(200):
        samples = draw(trained, x[i, 0], n=19, seed=i).images[:, 5, 9]
        ranks.append(int((samples < y[i, 0, 5, 9]).sum()))
    p = chisquare([ranks.count(k) for k in range(20)]).pvalue
    record_property("p", p)
    assert p > TOLERANCES["ranks, χ² p"]


def test_a_file_gives_back_the_same_network(tmp_path):
    cinn = small()
    loaded, _ = load_module(save_module(tmp_path / "cinn.safetensors", cinn))
    latent, z = normal(2, 192), normal(2, 3, 16, 16, seed=2)
    assert torch.equal(loaded(latent, z)[0], cinn(latent, z)[0])


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: small(latent_shape=(1, 4, 4)), "latent_shape"),
        (lambda: small(condition_shape=(3, 4)), "condition_shape"),
        (lambda: small(condition_shape=(0,)), "condition_shape"),
        (lambda: small()(normal(2, 191), normal(2, 3, 16, 16)), "latent"),
        (lambda: small().inverse(normal(3, 192), normal(2, 3, 16, 16)), "v"),
        (lambda: small()(normal(2, 192), normal(2, 3, 16, 12)), "z"),
    ],
)
def test_what_does_not_fit_is_refused(call, where):
    with pytest.raises(DataError, match=where):
        call()
