"""Sampling invariances: same v everywhere, tolerances that hold, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from tolerances import SAMPLING
from torch import nn

from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.vae import VAE
from ctxai.sampling.draw import draw, sample_invariances
from ctxai.sampling.model import InvarianceModel
from ctxai.training.cinn import INNTask
from ctxai.training.loop import train
from ctxai.training.vae import VAETask
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError

SIDE, LATENT = 16, 6

pytestmark = pytest.mark.usefixtures("one_thread")


class Blur(nn.Module):
    """A small denoiser HU → HU with one layer inside."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        return self.conv2(self.relu1(self.conv1(x / 100.0))) * 100.0


def rms(values):
    return values.flatten(1).square().mean(1).sqrt()


def redraw(x, n, seed):
    generator = torch.Generator().manual_seed(seed)
    return x + 20.0 * torch.randn(n, *x.shape, generator=generator)


def build(f, layer, channels, *, domain="x", unit="HU", redraw=redraw):
    """An untrained model: tolerances must hold whatever the networks give."""
    torch.manual_seed(3)
    model = InvarianceModel(
        wiretap=Wiretap(f, layer),
        vae=VAE(shape=(SIDE, SIDE), latent=LATENT, widths=(8, 16), scale=200.0, unit=unit),
        cinn=ConditionalINN(
            latent=LATENT, condition_shape=(channels, SIDE, SIDE), blocks=2, hidden=8, embedding=4
        ),
        domain=domain,
        redraw=redraw,
    )
    for part in (model.vae, model.cinn):
        part.eval()
        for parameter in part.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
    return model


@pytest.fixture
def blur():
    torch.manual_seed(2)
    return Blur().eval()


@pytest.fixture
def image():
    return 100.0 * torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1)) - 30.0


def test_identity_denoiser_keeps_every_sample_within_3_hu(image):
    model = build(lambda x: x, "output", 1)
    samples = sample_invariances(model, image, n=40, tolerance_hu=3.0, seed=1)
    assert samples.shape == (40, SIDE, SIDE)
    assert (rms(samples - image) <= 3.0).all()
    assert samples.std(0).mean() > 0.1
    free = draw(model, image, n=40, seed=1)
    assert torch.allclose(free.violation, rms(free.images - image), rtol=1e-4)
    assert free.violation.min() > 30.0 and free.tolerance is None and free.n_pulled == 0


def test_samples_are_decoded_latents(blur, image):
    model = build(blur, 1, 4)
    v = torch.randn(5, LATENT)
    z = model.wiretap.phi(image[None, None])
    with torch.no_grad():
        expected = torch.cat(
            [model.vae.decode(model.cinn.inverse(one[None], z))[:, 0] for one in v]
        )
    samples = draw(model, image, n=5, v=v, seed=0)
    assert torch.allclose(samples.images, expected, atol=1e-3)
    assert torch.equal(samples.v, v) and not samples.images.requires_grad


def test_seed_decides_and_v_serves_every_layer_and_image(blur, image):
    first, last = build(blur, 1, 4), build(blur, "output", 1)
    one = draw(first, image, n=7, seed=5)
    assert torch.equal(one.v, draw(last, image + 10.0, n=7, seed=5).v)
    assert torch.equal(one.images, sample_invariances(first, image, n=7, v=one.v, seed=99))
    assert not torch.equal(one.v, draw(first, image, n=7, seed=6).v)


def test_batches_are_images_one_by_one(blur, image):
    model = build(blur, "output", 1)
    batch = torch.stack([image, image.flip(0) + 40.0, 0.5 * image])
    together = draw(model, batch, n=4, tolerance_hu=5.0, seed=2)
    assert together.images.shape == (4, 3, SIDE, SIDE) and together.violation.shape == (4, 3)
    assert together.tolerance.shape == (3,) and together.pulled.shape == (4, 3)
    for k in range(3):
        alone = draw(model, batch[k], n=4, tolerance_hu=5.0, seed=2)
        assert torch.allclose(together.images[:, k], alone.images, atol=1e-2)
    four = sample_invariances(model, batch[:, None], n=4, seed=2)
    assert four.shape == (4, 3, 1, SIDE, SIDE)


@pytest.mark.parametrize(("layer", "channels"), [(1, 4), ("output", 1)])
def test_relative_tolerance_is_a_multiple_of_redrawn_noise(blur, image, layer, channels):
    model = build(blur, layer, channels)
    phi = model.wiretap.phi
    samples = draw(model, image, n=20, tolerance=0.5, seed=4)
    with torch.no_grad():
        z = phi(image[None, None])
        noise = rms(phi(redraw(image, 400, 11)[:, None]) - z).median()
        violation = rms(phi(samples.images[:, None]) - z)
    assert float(samples.tolerance) == pytest.approx(
        0.5 * float(noise), rel=SAMPLING["relative tolerance, rel"]
    )
    assert (violation <= samples.tolerance * (1 + SAMPLING["rounding of a tolerance, rel"])).all()
    assert torch.allclose(violation, samples.violation, rtol=1e-3)


def test_what_gauss_newton_cannot_reach_is_pulled_and_counted(image):
    model = build(lambda x: 50.0 * torch.round(x / 50.0), "output", 1)
    samples = draw(model, image, n=6, tolerance_hu=10.0, seed=1)
    assert samples.n_pulled == 6
    assert (samples.violation <= 10.0).all()
    assert (rms(samples.images - image) > 0).all()


def test_target_domain_samples_have_no_violation(blur, image):
    samples = draw(build(blur, "output", 1, domain="y"), image, n=3, seed=1)
    assert samples.violation is None and samples.images.shape == (3, SIDE, SIDE)


def test_250_samples_come_in_one_call(blur, image):
    assert sample_invariances(build(blur, "output", 1), image, seed=1).shape == (250, SIDE, SIDE)


def test_numpy_images_are_welcome(blur, image):
    model = build(blur, "output", 1)
    tensor = sample_invariances(model, image, n=2, seed=1)
    assert torch.equal(tensor, sample_invariances(model, image.numpy().astype(float), n=2, seed=1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tolerance": 1.0, "tolerance_hu": 3.0}, "tolerance=1.0 and tolerance_hu=3.0"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance_hu": -3.0}, "tolerance_hu"),
        ({"tolerance_hu": float("nan")}, "tolerance_hu"),
        ({"v": torch.zeros(4, LATENT)}, r"\(5, 6\)"),
        ({"v": torch.zeros(5, LATENT + 1)}, r"\(5, 6\)"),
        ({"n": 0}, "samples"),
    ],
)
def test_bad_arguments_are_refused(blur, image, options, words):
    with pytest.raises(DataError, match=words):
        sample_invariances(build(blur, "output", 1), image, **({"n": 5, "seed": 1} | options))


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"redraw": None}, {"tolerance": 1.0}, "redraw"),
        ({"domain": "y"}, {"tolerance": 1.0}, "domain 'y'"),
        ({"domain": "y"}, {"tolerance_hu": 1.0}, "domain 'y'"),
        ({"unit": ""}, {"tolerance_hu": 1.0}, "unit"),
        ({"redraw": lambda x, n, seed: x}, {"tolerance": 1.0}, "redraw"),
        ({"redraw": lambda x, n, seed: x.expand(n, -1, -1)}, {"tolerance": 1.0}, "redrawing"),
        ({"domain": "z"}, {}, "domain"),
    ],
)
def test_models_that_cannot_do_it_are_refused(blur, image, change, options, words):
    with pytest.raises(DataError, match=words):
        sample_invariances(build(blur, "output", 1, **change), image, n=2, seed=1, **options)


def test_hu_tolerance_belongs_to_the_output(blur, image):
    with pytest.raises(DataError, match="output"):
        sample_invariances(build(blur, 1, 4), image, n=2, tolerance_hu=3.0, seed=1)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(SIDE, SIDE + 1),
        torch.zeros(SIDE),
        torch.zeros(2, 2, SIDE, SIDE),
        torch.full((SIDE, SIDE), float("nan")),
    ],
)
def test_images_that_do_not_fit_are_refused(blur, x):
    with pytest.raises(DataError, match="image"):
        sample_invariances(build(blur, "output", 1), x, n=2, seed=1)


def test_networks_of_different_latents_are_refused(blur):
    model = build(blur, "output", 1)
    with pytest.raises(DataError, match="latents"):
        dataclasses.replace(model, cinn=ConditionalINN(latent=4, condition_shape=(1, 16, 16)))


def test_plain_arrays_end_to_end():
    """Sums of two waves in no unit; the network keeps the slow one and is blind to the fast one."""
    rows = torch.arange(SIDE)[:, None].expand(SIDE, SIDE) / SIDE
    slow, fast = torch.cos(2 * np.pi * rows), torch.cos(8 * np.pi * rows.T)

    def sampler(n, generator):
        a = torch.randn(n, 2, 1, 1, 1, generator=generator)
        image = a[:, 0] * slow + a[:, 1] * fast
        return image + 0.05 * torch.randn(image.shape, generator=generator), image

    def f(x):
        return (x * slow).mean((-1, -2), keepdim=True) / slow.square().mean() * slow

    torch.manual_seed(8)
    vae = VAE(shape=(SIDE, SIDE), latent=4, widths=(16, 32), unit="")
    train(VAETask(vae, sampler, batch=32, steps=200, lr=3e-3), steps=200, seed=1, progress=False)
    tap = Wiretap(f, "output")
    cinn = ConditionalINN(
        latent=4, condition_shape=(1, SIDE, SIDE), blocks=3, hidden=32, embedding=8
    )
    task = INNTask(cinn, vae, tap, sampler, batch=64, steps=250, lr=5e-3)
    train(task, steps=250, seed=1, progress=False)
    x = 1.0 * slow - 0.5 * fast
    samples = draw(InvarianceModel(wiretap=tap, vae=vae, cinn=cinn), x, n=1000, seed=1)
    seen = (samples.images * slow).mean((1, 2)) / slow.square().mean()
    unseen = (samples.images * fast).mean((1, 2)) / fast.square().mean()
    assert seen.mean() == pytest.approx(1.0, abs=SAMPLING["mean of what z keeps"])
    assert seen.std() < SAMPLING["sd of what z keeps"]
    open_ = SAMPLING["law of what z leaves open"]
    assert unseen.mean() == pytest.approx(0.0, abs=open_)  # not the -0.5 of x
    assert unseen.std() == pytest.approx(1.0, abs=open_)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.linspace(0, 1, SIDE**2), "from 0 to 1: scaled"),
        (torch.linspace(0, 2300, SIDE**2), "from 0 to 2300 .*1000 or 1024 above HU"),
        (torch.linspace(0, 65535, SIDE**2), "a mean of 3276[78]"),
        (torch.full((SIDE**2,), -2048.0), "a mean of -2048"),
    ],
)
def test_an_image_that_can_hardly_be_in_hu_is_remarked_upon(x, words):
    model, x = build(Blur(), "output", 1), x.reshape(SIDE, SIDE)
    with pytest.warns(UserWarning, match=f"taken as HU, but it holds .*{words}"):
        draw(model, x, n=1, seed=1)
    draw(build(Blur(), "output", 1, unit="1"), x, n=1, seed=1)  # in the unit of another model


@pytest.mark.parametrize("low, high", [(0, 0), (-1024, 3071), (-1000, -1000), (20, 80), (0, 400)])
def test_an_image_that_may_be_in_hu_is_not(low, high):
    x = torch.linspace(low, high, SIDE**2).reshape(SIDE, SIDE)
    draw(build(Blur(), "output", 1), x, n=1, seed=1)  # warnings are errors here
