"""Flow matching against closed forms: the integration, the loss at its minimum, trained samples."""

import math

import pytest
import torch
from torch import nn

from ctxai.files.modules import load_module, save_module
from ctxai.files.tensors import digest_tensors
from ctxai.representation.flow import FlowMatching
from ctxai.representation.midpoint import integrate
from ctxai.sampling.draw import draw, sample_invariances
from ctxai.sampling.model import FlowModel
from ctxai.training.flow import FlowTask
from ctxai.training.loop import train
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError

TOLERANCES = {
    "midpoint": 0.02,  # of C^½, in the two steps that samples are drawn in: .019; Heun's rule .091
    "loss": 0.01,  # of π/2, over 5e5 values with stratified times: a standard error of 2e-3
    "sd": 0.1,  # of what 400 training steps of a tiny network reach: measured .04
    "correlation": 0.08,  # the same: measured .03
}
SIDE = 16

pytestmark = pytest.mark.usefixtures("one_thread")


def gaussian_velocity(covariance):
    """E[u₁ - v | u_t] for u₁ ~ N(0, C), v ~ N(0, 1): (tC - (1-t)) ((1-t)² + t²C)⁻¹ u."""
    values, vectors = torch.linalg.eigh(covariance)

    def velocity(u, t):
        gain = (t * values - (1 - t)) / ((1 - t) ** 2 + t**2 * values)
        return (u @ vectors * gain) @ vectors.T

    return velocity


@pytest.fixture
def covariance():
    mix = torch.tensor([[1.0, 0.8, -0.3], [0.0, 0.5, 0.9], [0.4, 0.0, 0.3]], dtype=torch.float64)
    return mix @ mix.T


def test_the_optimal_velocity_of_a_gaussian_carries_white_noise_to_it(covariance):
    """Its flow is known: u(t) = ((1-t)² + t²C)^½ v, so that u(1) = C^½ v."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.sqrt() @ vectors.T
    v = torch.eye(3, dtype=torch.float64)
    errors = [
        float((integrate(gaussian_velocity(covariance), v, steps=n) - root).norm() / root.norm())
        for n in (2, 4, 8)
    ]
    assert errors[0] < TOLERANCES["midpoint"]
    assert errors[0] / errors[1] > 4.0 and errors[1] / errors[2] > 4.0  # second order at least


class Seen:
    """z is the image itself."""

    def phi(self, x):
        return x


def blurred(noise):
    """Noise with weights ¼, ½, ¼ along the columns: variance ⅜, correlations ⅔ and ⅙."""
    return 0.5 * noise + 0.25 * noise.roll(1, -1) + 0.25 * noise.roll(-1, -1)


def pairs(n, generator):
    """x is white, of 100 HU; y = x + blurred noise of 30·√⅜ HU: p(y | x) is N(x, 900 BBᵀ)."""
    x, noise = torch.randn(2, n, 1, SIDE, SIDE, generator=generator)
    return 100.0 * x + 20.0, 100.0 * x + 30.0 * blurred(noise)


def small(**changes):
    torch.manual_seed(1)
    return FlowMatching(**{"condition_shape": (1, SIDE, SIDE), "widths": (16, 16, 16), **changes})


def test_the_loss_of_the_optimal_velocity_is_the_least_there_is(monkeypatch):
    """For a white residual ∫ dt / ((1-t)² + t²) = π/2, whatever v and the image are."""

    def white(n, generator):
        x, noise = torch.randn(2, n, 1, SIDE, SIDE, generator=generator)
        return x, x + 7.0 * noise

    flow = small()
    task = FlowTask(flow, Seen(), white, domain="y", batch=1024, steps=2)
    weight = nn.Parameter(torch.zeros(()))  # something with a gradient

    def optimal(u, t, condition, noise=None):
        t = t[:, None, None, None]
        return u * (2 * t - 1) / ((1 - t) ** 2 + t**2) + 0 * weight + 0 * condition.sum()

    monkeypatch.setattr(flow, "velocity", optimal)
    losses = [task.step(k, torch.Generator().manual_seed(k))["loss"] for k in range(2)]
    assert sum(losses) / 2 == pytest.approx(math.pi / 2, rel=TOLERANCES["loss"])
    assert float(flow.scale) == pytest.approx(7.0, rel=0.02)


@pytest.fixture(scope="module")
def trained(one_thread):
    flow = small()
    task = FlowTask(flow, Seen(), pairs, domain="y", batch=16, steps=400, lr=5e-3)
    return flow, train(task, steps=400, seed=3, progress=False)


def test_trained_samples_have_the_covariance_of_the_posterior(trained):
    flow, logs = trained
    assert float(flow.scale) == pytest.approx(30 * math.sqrt(3 / 8), rel=0.05)
    last = sum(log["loss"] for log in logs[-50:]) / 50
    assert last < 0.95 * math.pi / 2  # a white residual's least: the correlation is learnt
    x, _ = pairs(1, torch.Generator().manual_seed(9))
    with torch.no_grad():
        samples = flow.generate(torch.randn(400, flow.latent), x, steps=8)
    deviation = samples[:, 0] - (x[0, 0] - 20.0)
    inner = deviation[:, 3:-3, 3:-3]
    variance = inner.var(0).mean()
    assert float(variance.sqrt()) == pytest.approx(30 * math.sqrt(3 / 8), rel=TOLERANCES["sd"])
    assert float(inner.mean(0).square().mean().sqrt()) < 0.25 * float(variance.sqrt())
    for (down, right), expected in {(0, 1): 2 / 3, (0, 2): 1 / 6, (1, 0): 0.0}.items():
        moved = deviation.roll((-down, -right), (1, 2))[:, 3:-3, 3:-3]
        found = float((inner * moved).mean() / variance)
        assert found == pytest.approx(expected, abs=TOLERANCES["correlation"])


def test_the_linear_guess_finds_a_linear_law():
    z = torch.randn(64, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    z -= z.mean((0, 2, 3), keepdim=True)  # beyond the border the guess sees the mean, the image 0
    z[:, 1] *= 40.0
    z[:, 2] = 9.0  # a dead channel
    image = torch.full((64, 1, SIDE, SIDE), 12.0)
    image[..., 1:] += 3.0 * z[:, :1, :, :-1]  # the left neighbour
    image[..., :-2, :] -= 0.5 * z[:, 1:2, 2:]  # two pixels below
    flow = small(condition_shape=(3, SIDE, SIDE))
    flow.fit_scales(image, z)
    off = (flow.guess(z) - image).square().mean().sqrt()
    assert float(off) < 1e-2 * float(image.std())  # zero outside is the mean
    assert torch.isfinite(flow.guess(z)).all()
    assert torch.isfinite(flow.generate(torch.randn(2, flow.latent), z[:1])).all()


def test_a_resumed_run_ends_in_the_same_bits(tmp_path):
    def task():
        return FlowTask(small(), Seen(), pairs, domain="y", batch=4, steps=8)

    straight, broken, resumed = task(), task(), task()
    train(straight, steps=8, seed=2, progress=False)
    step = broken.step

    def stop(index, generator):
        if index == 5:
            raise KeyboardInterrupt
        return step(index, generator)

    broken.step = stop
    with pytest.raises(KeyboardInterrupt):
        train(broken, steps=8, seed=2, checkpoint=tmp_path / "c", every=4, progress=False)
    train(resumed, steps=8, seed=2, checkpoint=tmp_path / "c", every=4, progress=False)
    digests = {digest_tensors(t.flow.state_dict()) for t in (straight, resumed)}
    assert len(digests) == 1


@pytest.fixture
def in_32_bits(monkeypatch):
    """Where the processor multiplies 16 bits, samples scatter by that rounding, by .5 HU (rms)."""
    monkeypatch.setattr("ctxai.precision._multiplies_bfloat16", lambda: False)


@pytest.mark.usefixtures("in_32_bits")
def test_saved_in_half_precision_it_gives_nearly_the_same_samples(trained, tmp_path):
    flow, _ = trained
    save_module(tmp_path / "flow.safetensors", flow, half=True)
    again, _ = load_module(tmp_path / "flow.safetensors")
    v, (x, _) = torch.randn(3, flow.latent), pairs(1, torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = again.generate(v, x) - flow.generate(v, x)
    assert difference.abs().max() < 0.5  # HU
    assert again.config == flow.config


class Blur(nn.Module):
    """A small denoiser HU → HU with one layer inside."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(12, 1, 3, padding=1)

    def forward(self, x):
        return self.conv2(self.relu1(self.conv1(x / 100.0))) * 100.0


@pytest.mark.usefixtures("in_32_bits")
@pytest.mark.parametrize(("layer", "channels"), [("output", 1), ("1", 12)])
def test_it_stands_behind_the_interface_of_the_cinn(layer, channels):
    torch.manual_seed(2)
    wiretap = Wiretap(Blur().eval().requires_grad_(False), layer)
    model = FlowModel(wiretap, small(condition_shape=(channels, SIDE, SIDE)))
    assert model.latent == SIDE**2 and model.shape == (SIDE, SIDE) and model.unit == "HU"
    x = 100.0 * torch.randn(SIDE, SIDE)
    v = torch.randn(30, model.latent)  # more than are worked on at once
    samples = draw(model, x, n=30, v=v, seed=1)
    assert samples.images.shape == (30, SIDE, SIDE)
    single = draw(model, x, n=1, v=v[28:29], seed=1).images
    torch.testing.assert_close(samples.images[28:29], single, rtol=1e-4, atol=1e-2)
    if layer == "output":
        near = sample_invariances(model, x, n=3, tolerance_hu=2.0, seed=1)
        change = wiretap.f(near[:, None]) - wiretap.f(x[None, None])
        assert change.square().mean((1, 2, 3)).sqrt().max() <= 2.0


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: small(condition_shape=(5,)), "feature map of the image's own size"),
        (lambda: small(condition_shape=(1, 20, 16)), "multiples of 8"),
        (lambda: small(widths=(8, 12, 8)), "bad widths"),
        (lambda: small(steps=0), "no steps"),
        (lambda: small().generate(torch.zeros(2, 5), torch.zeros(1, 1, SIDE, SIDE)), "one z"),
        (lambda: small().guess(torch.zeros(1, 2, SIDE, SIDE)), "does not fit the flow"),
        (lambda: FlowTask(small(), Seen(), pairs, domain="z"), "domain"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, what):
    with pytest.raises(DataError, match=what):
        wrong()
