"""Fibres that can be drawn by hand: a circle, two points, and the null space of a filter.

The circle and the sign are learned: x ~ N(0, 1) in two dimensions, z̄ = x with a little noise, and
the invertible network is trained to sample z̄ given z = ‖x‖ or z = |x₁|. Given the norm the angle
is uniform; given the absolute value both signs are equally likely.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch.distributions import Normal
from torch.nn import functional as F

from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.convolutional_cinn import ConvolutionalINN
from ctxai.sampling.fibre import project_to_fibre
from ctxai.training.cinn import INNTask
from ctxai.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

LIMITS = {
    # must-value; 20,000 samples of a uniform angle scatter by .006
    "angle, Kolmogorov–Smirnov": 0.03,
    # 16 places, each with its own condition; 4,000 samples of a uniform angle scatter by .014
    "angle at a place, Kolmogorov–Smirnov": 0.06,
    # must-value
    "share of either sign": (0.4, 0.6),
    # the noise of z̄ is .1: what a perfect flow would give, and as much again;
    # reached .116 to .144 over three seeds
    "distance from the circle": 0.2,
    # must-values
    "residual on the fibre [HU]": 0.1,
    "covariance in the null space, rel": 0.10,
}
SPREAD = 0.1


@dataclass
class Plane:
    """Points of a plane as images of two pixels, seen through a function."""

    see: callable
    latent, channels, shape, unit, layer = 2, 1, (1, 2), "", "output"

    def sample(self, n, generator):
        x = torch.randn(n, 1, 1, 2, generator=generator)
        return x, x

    def phi(self, x):
        return self.see(x.flatten(1))

    def encode(self, x):
        return Normal(x.flatten(1), SPREAD, validate_args=False)

    def decode(self, latent):
        return latent.reshape(-1, 1, 1, 2)


def trained(case, *, steps, batch, hidden, lr):
    """Away from the identity at the start.

    There the law's symmetry is a saddle: z is ignored for as long as chance leaves the network on
    it, 200 steps or more than 900.
    """
    torch.manual_seed(0)
    cinn = ConditionalINN(latent=2, condition_shape=(1,), blocks=6, hidden=hidden, embedding=8)
    with torch.no_grad():
        for weight in cinn.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    task = INNTask(cinn, case, case, case.sample, batch=batch, steps=steps, lr=lr)
    train(task, steps=steps, seed=1, progress=False)
    return cinn.eval().requires_grad_(False)


@pytest.mark.slow
def test_given_the_norm_the_angle_is_uniform(record_property):
    case = Plane(lambda x: x.norm(dim=1, keepdim=True))
    cinn = trained(case, steps=900, batch=512, hidden=48, lr=6e-3)
    generator = torch.Generator().manual_seed(3)
    for radius in (0.8, 1.5):
        v = torch.randn(20_000, 2, generator=generator)
        points = cinn.inverse(v, torch.tensor([[radius]]))
        off = float((points.norm(dim=1) - radius).square().mean().sqrt())
        record_property(f"distance from the circle {radius}", off)
        assert off < LIMITS["distance from the circle"]
        angle = torch.atan2(points[:, 1], points[:, 0]).sort().values / (2 * np.pi) + 0.5
        steps = torch.arange(len(angle) + 1) / len(angle)
        ks = float(torch.maximum((steps[1:] - angle).max(), (angle - steps[:-1]).max()))
        record_property(f"KS {radius}", ks)
        assert ks < LIMITS["angle, Kolmogorov–Smirnov"]
        tied = project_to_fibre(
            case.phi, case.decode(points[:500]), torch.tensor([[radius]]), tolerance=0.01
        )
        assert tied.converged.all()


def test_given_the_absolute_value_both_signs_come(record_property):
    case = Plane(lambda x: x[:, :1].abs())
    cinn = trained(case, steps=300, batch=256, hidden=64, lr=8e-3)
    generator = torch.Generator().manual_seed(4)
    for z in (0.7, 1.4):
        v = torch.randn(20_000, 2, generator=generator)
        first = cinn.inverse(v, torch.tensor([[z]]))[:, 0]
        share = float((first > 0).double().mean())
        record_property(f"positive {z}", share)
        low, high = LIMITS["share of either sign"]
        assert low < share < high
        far = float(((first.abs() - z).abs() > 3 * SPREAD).double().mean())
        record_property(f"far from either point {z}", far)
        assert far < 0.1


@dataclass
class Field:
    """A plane in each of 4 × 4 places: images of two channels, seen through a function of each."""

    see: callable
    latent, channels, shape, unit, layer = 32, 2, (4, 4), "", "output"

    def sample(self, n, generator):
        x = torch.randn(n, 2, 4, 4, generator=generator)
        return x, x

    def phi(self, x):
        return self.see(x)

    def encode(self, x):
        return Normal(x.flatten(1), SPREAD, validate_args=False)


def drawn_fields(see, steps):
    """Points (n, 2, 4, 4) that a convolutional cINN gives, and the z (1, 4, 4) they are given."""
    case = Field(see)
    torch.manual_seed(0)
    cinn = ConvolutionalINN(
        latent_shape=(2, 4, 4), condition_shape=(1, 4, 4), blocks=6, hidden=48, embedding=16
    )
    with torch.no_grad():
        for weight in cinn.parameters():  # away from the saddle of the law's symmetry
            weight += 0.05 * torch.randn(weight.shape)
    task = INNTask(cinn, case, case, case.sample, batch=64, steps=steps, lr=4e-3)
    train(task, steps=steps, seed=1, progress=False)
    generator = torch.Generator().manual_seed(5)
    x, _ = case.sample(1, generator)
    with torch.no_grad():
        z = case.phi(x)
        points = cinn.eval().inverse(torch.randn(4000, 32, generator=generator), z)
    return points.reshape(-1, 2, 4, 4), z[0]


@pytest.mark.slow
def test_on_every_place_of_an_image_the_angle_is_uniform(record_property):
    points, radius = drawn_fields(lambda x: x.norm(dim=1, keepdim=True), 3000)
    off = float((points.norm(dim=1) - radius[0]).square().mean().sqrt())
    record_property("distance from the circles", off)
    assert off < LIMITS["distance from the circle"]
    angle = torch.atan2(points[:, 1], points[:, 0]).flatten(1) / (2 * np.pi) + 0.5
    for place in range(16):
        ks = kstest(angle[:, place].numpy(), "uniform").statistic
        record_property(f"KS at {place}", ks)
        assert ks < LIMITS["angle at a place, Kolmogorov–Smirnov"]


@pytest.mark.slow
def test_on_every_place_of_an_image_both_signs_come(record_property):
    points, size = drawn_fields(lambda x: x[:, :1].abs(), 800)
    first = points[:, 0]
    share = (first > 0).double().mean(0)
    record_property("positive, least and most", (float(share.min()), float(share.max())))
    clear = size[0] > 5 * SPREAD  # where the two points are apart
    low, high = LIMITS["share of either sign"]
    assert low < share[clear].min() and share[clear].max() < high
    far = ((first.abs() - size[0]).abs() > 3 * SPREAD).double().mean()
    record_property("far from either point", float(far))
    assert far < 0.1


def box(x):
    """The mean of 4 × 4 pixels, periodic: blind to every frequency of a quarter and a half."""
    return F.avg_pool2d(F.pad(x, (1, 2, 1, 2), mode="circular"), 4, 1)


def test_filter_of_64_leaves_the_null_space_its_covariance(record_property):
    """Stationary texture: given z, the modes that the filter is blind to keep their power."""
    side, n = 64, 200  # the power of each mode is then known to 7 %
    f = np.fft.fftfreq(side)
    radius = torch.tensor(np.hypot(f[:, None], f))
    power = (40.0**2 / (1.0 + (radius / 0.15) ** 2)).float()  # of each mode, HU² a pixel
    noise = torch.randn(n + 1, 1, side, side, generator=torch.Generator().manual_seed(5))
    images = torch.fft.ifft2(torch.fft.fft2(noise) * power.sqrt()).real
    anchor, start = images[:1], images[1:]
    limit = LIMITS["residual on the fibre [HU]"]
    result = project_to_fibre(box, start, box(anchor), tolerance=limit, anchor=anchor)
    assert not result.pulled.any()
    assert (result.residual <= limit).all()

    transfer = torch.fft.fft2(F.pad(torch.ones(4, 4) / 16, (0, side - 4, 0, side - 4))).abs()
    blind, clear = transfer < 1e-5, transfer > 0.2
    assert blind.sum() == 2 * 3 * side - 9
    modes = torch.fft.fft2(result.x[:, 0].double())

    def covariance(spectrum):
        """Of pixels by their distance, of the modes that the filter is blind to."""
        return torch.fft.ifft2(spectrum * blind).real

    found = covariance(modes.abs().square().mean(0) / side**2)
    true = covariance(power.double())
    error = float((found - true).norm() / true.norm())
    record_property("error of the covariance in the null space", error)
    assert error < LIMITS["covariance in the null space, rel"]
    aim = torch.fft.fft2(anchor[:, 0].double())
    seen = ((modes - aim).abs().square().mean(0)[clear] / side**2).mean().sqrt()
    assert seen < limit / 0.2
