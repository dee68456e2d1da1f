"""Both samplers on 64² texture behind an ideal low-pass, where the answer is known mode by mode.

x is a stationary Gaussian field of 20 HU and f keeps the spatial frequencies below .16 cycles a
pixel: given f(x), the modes that f keeps are known and the others have the power that they had.
"""

import math

import pytest
import torch
from scipy.stats import chisquare

from ctxai.representation.convolutional_cinn import ConvolutionalINN
from ctxai.representation.flow import FlowMatching
from ctxai.representation.linear import LinearAutoencoder
from ctxai.sampling.draw import draw
from ctxai.sampling.model import FlowModel, InvarianceModel
from ctxai.training.cinn import INNTask
from ctxai.training.flow import FlowTask
from ctxai.training.loop import train
from ctxai.wiretap.wiretap import Wiretap

SIDE, CUT, WIDTH = 64, 0.16, 1.0
RADIUS = torch.hypot(torch.fft.fftfreq(SIDE)[:, None], torch.fft.fftfreq(SIDE)[None])
POWER = 1.0 / (1.0 + (RADIUS / 0.12) ** 2) ** 1.2
POWER = POWER / POWER.mean() * 20.0**2
SEEN = (RADIUS < CUT).float()
EXACT = float((POWER * (1 - SEEN)).mean().sqrt())  # 15.48 HU
TOLERANCES = {
    "sd": 0.05,  # must-value
    "ranks, χ² p": 1e-4,  # four standard errors
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def low_pass(x):
    return torch.fft.ifft2(torch.fft.fft2(x) * SEEN).real


def field(n, generator):
    white = torch.randn(n, 1, SIDE, SIDE, generator=generator)
    return torch.fft.ifft2(torch.fft.fft2(white) * POWER.sqrt()).real


def pairs(n, generator):
    return (x := field(n, generator)), x


def cinn():
    linear = LinearAutoencoder(shape=(SIDE, SIDE), scale=20.0, width=WIDTH)
    network = ConvolutionalINN(
        latent_shape=linear.latent_shape, condition_shape=(1, SIDE, SIDE), blocks=6
    )
    wiretap = Wiretap(low_pass, "output")
    task = INNTask(network, linear, wiretap, pairs, batch=8, steps=700, lr=2e-3)
    train(task, steps=700, seed=1, progress=False)
    return InvarianceModel(wiretap=wiretap, vae=linear, cinn=network.requires_grad_(False))


def flow():
    network = FlowMatching(condition_shape=(1, SIDE, SIDE), steps=4)
    wiretap = Wiretap(low_pass, "output")
    task = FlowTask(network, wiretap, pairs, batch=12, steps=700, lr=2e-3)
    train(task, steps=700, seed=1, progress=False)
    return FlowModel(wiretap=wiretap, flow=network.requires_grad_(False))


@pytest.mark.parametrize("sampler", [cinn, flow])
def test_samples_have_the_power_that_the_low_pass_took(sampler, record_property):
    torch.manual_seed(0)
    model = sampler()
    width = WIDTH if sampler is cinn else 0.0
    x = field(60, torch.Generator().manual_seed(77))
    exact = math.sqrt(EXACT**2 + width**2)
    spread = [float(draw(model, image[0], n=48, seed=1).images.var(0).mean()) for image in x[:4]]
    ratio = math.sqrt(sum(spread) / 4) / exact
    record_property("sd, relative", ratio)
    assert ratio == pytest.approx(1.0, abs=TOLERANCES["sd"])
    ranks = []
    for i, image in enumerate(x):
        samples = draw(model, image[0], n=9, seed=i).images[:, 8::16, 8::16]
        ranks += (samples < image[0, 8::16, 8::16]).sum(0).flatten().tolist()
    p = chisquare([ranks.count(k) for k in range(10)]).pvalue
    record_property("p", p)
    assert p > TOLERANCES["ranks, χ² p"]
