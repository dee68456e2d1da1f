"""What samplers are told of noise: its description, and what a flow and a cINN make of it."""

import math

import pytest
import torch

from ctxai import (
    ConvolutionalINN,
    FlowMatching,
    FlowModel,
    LinearAutoencoder,
    Wiretap,
    describe_noise,
)
from ctxai.representation.linear_guess import fit_filters
from ctxai.representation.noise_told import ToldNoise, weights_of
from ctxai.training.cinn import INNTask
from ctxai.training.flow import FlowTask
from recon import DataError

SIDE = 16


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_description_is_that_of_a_known_noise():
    """Weights .2, .6, .2 along rows and columns: correlations 6/11 and 1/11 at lags of 1 and 2."""
    noise = 30.0 * normal(2, 40, 96, 96)
    for dim in (2, 3):
        noise = 0.6 * noise + 0.2 * noise.roll(1, dim) + 0.2 * noise.roll(-1, dim)
    log_sd, near, far = describe_noise(torch.stack([noise[0], 2.0 * noise[1]])).T
    assert log_sd.exp().tolist() == pytest.approx([30 * 0.44, 60 * 0.44], rel=0.01)
    assert near.tolist() == pytest.approx([6 / 11] * 2, abs=0.005)
    assert far.tolist() == pytest.approx([1 / 11] * 2, abs=0.005)


def test_one_patch_describes_its_noise_to_some_percent():
    one = describe_noise(20.0 * normal(50, 1, 64, 64))
    assert float(one[:, 0].std()) == pytest.approx(1 / math.sqrt(2 * 64**2), rel=0.3)
    assert float(one[:, 1].std()) == pytest.approx(1 / math.sqrt(2 * 64**2), rel=0.3)


@pytest.mark.parametrize("shape", [(4, 64, 64), (1, 2, 2, 64), (1, 0, 64, 64)])
def test_no_draws_of_noise_are_refused(shape):
    with pytest.raises(DataError, match="no draws of noise"):
        describe_noise(torch.zeros(shape))


def test_no_noise_at_all_is_described_too():
    assert torch.isfinite(describe_noise(torch.zeros(2, 1, 8, 8))).all()


def test_what_is_not_told_is_the_mean_of_the_training():
    told = ToldNoise(4)
    seen = torch.tensor([[1.0, 0.2, 0.0], [3.0, 0.6, 0.1]])
    told.fit(seen)
    torch.nn.init.normal_(told.layers[-1].weight)
    assert torch.allclose(told(None), told(seen.mean(0)[None]))
    assert not torch.allclose(told(None), told(seen[:1]))
    far = seen.mean(0) + 100.0 * seen.std(0)
    assert torch.equal(told.normalised(far[None]), torch.tensor([[3.0, 3.0, 3.0]]))


def test_a_scale_that_follows_the_noise_is_found():
    """missed = 5 σ^0.7, whatever the correlations."""
    told, noise = ToldNoise(4), normal(200, 3)
    told.fit(noise)
    missed = 5.0 * (0.7 * noise[:, :1]).exp()
    at_mean, slopes = told.log_linear(missed, noise)
    per_spread = 0.7 * float(noise[:, 0].std())
    assert float(at_mean) == pytest.approx(math.log(5.0) + 0.7 * float(noise[:, 0].mean()), abs=0.1)
    assert slopes[0].tolist() == pytest.approx([per_spread, 0.0, 0.0], abs=0.05)


def test_a_guess_counts_scans_by_their_weights():
    """Half of the scans are twice z with little noise, half are 3 z: weights choose the first."""
    z = normal(40, 1, 8, 8)
    images = torch.cat([2.0 * z[:20], 3.0 * z[20:]])
    noise = torch.zeros(40, 3)
    noise[20:, 0] = 10.0
    assert float(fit_filters(z, images, side=1)[0]) == pytest.approx(2.5, abs=0.1)
    found = fit_filters(z, images, side=1, weights=weights_of(noise))[0]
    assert float(found) == pytest.approx(2.0, abs=1e-3)


def scans(n, generator):
    """x = y + noise of 2 or 20 HU, every other time; z is y."""
    y = 100.0 * torch.randn(n, 1, SIDE, SIDE, generator=generator)
    sd = torch.where(torch.arange(n) % 2 == 0, 2.0, 20.0)[:, None, None, None]
    noise = sd * torch.randn(y.shape, generator=generator)
    return y + noise, y, y, noise


class Given:
    """A layer that is never asked: the pairs bring z with them."""

    layer, phi = "output", None


def spread_at(generate, noise_sd):
    """Standard deviation of samples [HU] for one z, when noise of that much is told."""
    told = describe_noise(noise_sd * normal(1, 8, SIDE, SIDE, seed=3))
    return float(generate(told).std(0).square().mean().sqrt())


def test_a_cinn_draws_the_noise_that_it_is_told_of():
    torch.manual_seed(0)
    linear = LinearAutoencoder(shape=(SIDE, SIDE), scale=100.0, width=0.2)
    cinn = ConvolutionalINN(
        latent_shape=linear.latent_shape, condition_shape=(1, SIDE, SIDE), blocks=1, hidden=8,
        embedding=16,
    )  # fmt: skip
    task = INNTask(cinn, linear, Given(), scans, batch=16, steps=60)
    generator = torch.Generator().manual_seed(1)
    for step in range(60):
        task.step(step, generator)
    z, v = scans(2, torch.Generator().manual_seed(9))[2][:1], normal(30, linear.latent, seed=4)

    @torch.no_grad()
    def generate(told):
        return linear.decode(cinn.inverse(v, z, told))

    assert spread_at(generate, 2.0) == pytest.approx(2.0, rel=0.15)
    assert spread_at(generate, 20.0) == pytest.approx(20.0, rel=0.15)


def test_a_flow_scales_what_it_is_told_of():
    torch.manual_seed(0)
    flow = FlowMatching(condition_shape=(1, SIDE, SIDE), widths=(8, 8, 8))
    task = FlowTask(flow, Given(), scans, batch=8, steps=40)
    generator = torch.Generator().manual_seed(1)
    for step in range(40):
        task.step(step, generator)
    z, v = scans(2, torch.Generator().manual_seed(9))[2][:1], normal(30, flow.latent, seed=4)

    @torch.no_grad()
    def generate(told):
        return flow.generate(v, z, told)

    assert spread_at(generate, 2.0) == pytest.approx(2.0, rel=0.25)
    assert spread_at(generate, 20.0) == pytest.approx(20.0, rel=0.25)


def test_what_is_told_adds_to_what_a_flow_knows_of_the_time():
    """Told b, with features of the time of 0, it moves as told nothing, with features of b.

    The features end in x σ(x): b follows from the last bias, whatever the time.
    """
    torch.manual_seed(0)
    flow = FlowMatching(condition_shape=(1, SIDE, SIDE), widths=(16, 16, 16)).requires_grad_(False)
    for parameter in flow.parameters():  # blocks begin as the identity
        parameter += 0.1 * torch.randn(parameter.shape)
    u, z, t = normal(2, 1, SIDE, SIDE), normal(1, 1, SIDE, SIDE, seed=2), torch.tensor([0.2, 0.9])
    condition, before = flow.condition(z), torch.linspace(0.5, 2.0, flow.time[2].out_features)
    flow.time[2].weight.zero_()
    flow.told.layers[-1].weight.zero_()

    def velocity(time, told):
        flow.time[2].bias.copy_(time)
        flow.told.layers[-1].bias.copy_(told)
        return flow.velocity(u, t, condition)

    b, none = torch.nn.functional.silu(before), torch.zeros(len(before))
    assert torch.allclose(velocity(none, b), velocity(before, none), atol=1e-5)
    assert not torch.allclose(velocity(none, b), velocity(none, none), atol=1e-2)


@pytest.mark.parametrize(
    ("facts", "told"), [({"scans": {"spacing_mm": [0.4, 1.2]}}, True), ({}, False)]
)
def test_a_sampler_of_many_kinds_of_scans_is_told_of_this_one(facts, told):
    """Scans that vary by a quarter of the noise's variance have half of its standard deviation."""
    flow = FlowMatching(condition_shape=(1, SIDE, SIDE), widths=(8, 8, 8))
    model = FlowModel(Wiretap(lambda x: x, "output"), flow, facts=facts)
    scans = normal(SIDE, SIDE, seed=5) * 200.0 + 10.0 * normal(12, SIDE, SIDE)
    known = model.told_of(scans, 0.25)
    assert (known.noise is not None) == told
    if told:
        assert float(known.noise[0, 0].exp()) == pytest.approx(20.0, rel=0.05)
        assert model.noise is None and known.resized((SIDE, 2 * SIDE)).noise is known.noise
