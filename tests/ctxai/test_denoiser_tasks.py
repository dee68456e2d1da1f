"""Training of denoisers: single optimiser steps against hand-written ones, and noise removed."""

import copy
import math

import pytest
import torch
from steps_by_hand import STEP_REL, assert_adam_step
from tolerances import DENOISER_TASKS
from torch import nn
from torch.nn import functional

from ctxai.data import PatchPairs
from ctxai.denoisers import Chen
from ctxai.training.critic import Critic
from ctxai.training.denoiser import SupervisedTask, WganVggTask, gradient_penalty
from ctxai.training.features import VGG19Features
from ctxai.training.loop import train


class Fixed:
    """Pairs that are the same at every draw."""

    digest = "fixed"

    def __init__(self, x, y):
        self.x, self.y = x, y

    def batch(self, n, generator):
        return self.x, self.y


@pytest.fixture
def patches():
    generator = torch.Generator().manual_seed(8)
    y = 300 * torch.randn(3, 1, 16, 16, generator=generator).double() - 100
    return Fixed(y + 40 * torch.randn(y.shape, generator=generator), y)


def chen_by_hand(weights, x):
    h = (x + 400) / 450
    for n, padding in ((0, 4), (2, 1), (4, 2)):
        h = functional.conv2d(
            h if n == 0 else h.relu(),
            weights[f"layers.{n}.weight"],
            weights[f"layers.{n}.bias"],
            padding=padding,
        )
    return 450 * h - 400


def leaves(module):
    return {
        name: value.detach().clone().requires_grad_() for name, value in module.named_parameters()
    }


def test_a_supervised_step_is_the_hand_written_one(patches):
    torch.manual_seed(1)
    f = Chen().double()
    before, weights = copy.deepcopy(f), leaves(f)
    loss = ((chen_by_hand(weights, patches.x) - patches.y) ** 2).sum() / patches.y.numel()
    log = SupervisedTask(f, patches, batch=3, steps=100, lr=1e-3).step(0, torch.Generator())
    assert log["loss"] == pytest.approx(loss.item(), rel=STEP_REL)
    assert log["rmse_hu"] == pytest.approx(math.sqrt(loss.item()), rel=STEP_REL)
    first_rate = 1e-3 / 25  # of the cycle
    assert_adam_step(f, before, torch.autograd.grad(loss, list(weights.values())), first_rate)


def test_a_wgan_vgg_step_is_the_hand_written_one(patches):
    torch.manual_seed(1)
    f, critic = Chen().double(), Critic(shape=(16, 16), width=1 / 16).double()
    features = VGG19Features(cut="relu1_2").double()
    first_f, first_critic = copy.deepcopy(f), copy.deepcopy(critic)
    x, y = patches.x, patches.y

    def score(weights, u):  # of normalised images
        for number in range(6):
            w, b = weights[f"net.{2 * number}.weight"], weights[f"net.{2 * number}.bias"]
            u = functional.conv2d(u, w, b, stride=1 + number % 2, padding=1)
            u = torch.where(u > 0, u, 0.2 * u)
        u = u.flatten(1) @ weights["net.13.weight"].T + weights["net.13.bias"]
        u = torch.where(u > 0, u, 0.2 * u)
        return u @ weights["net.15.weight"].T + weights["net.15.bias"]

    weights = leaves(critic)
    share = torch.rand(3, 1, 1, 1, generator=torch.Generator().manual_seed(6)).double()
    u, v = (y + 400) / 450, (f(x).detach() + 400) / 450
    between = (share * u + (1 - share) * v).requires_grad_()
    (slope,) = torch.autograd.grad(score(weights, between).sum(), between, create_graph=True)
    penalty = ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
    loss = score(weights, v).mean() - score(weights, u).mean() + 10 * penalty
    down_critic = torch.autograd.grad(loss, list(weights.values()))

    stepped = {
        name: weight - 1e-5 * gradient / (gradient.abs() + 1e-8)
        for (name, weight), gradient in zip(weights.items(), down_critic)
    }
    weights = leaves(f)
    denoised = chen_by_hand(weights, x)
    perceptual = ((features(denoised) - features(y)) ** 2).mean()
    loss = 0.1 * perceptual - score(stepped, (denoised + 400) / 450).mean()
    down_f = torch.autograd.grad(loss, list(weights.values()))

    task = WganVggTask(f, critic, features, patches, batch=3, critic_steps=1)
    log = task.step(0, torch.Generator().manual_seed(6))
    assert log["penalty"] == pytest.approx(penalty.item(), rel=STEP_REL)
    assert log["loss"] == pytest.approx(loss.item(), rel=STEP_REL)
    assert_adam_step(critic, first_critic, down_critic, 1e-5)
    assert_adam_step(f, first_f, down_f, 1e-5)
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_the_defaults_of_wgan_vgg_are_the_papers(patches):
    task = WganVggTask(Chen(), Critic(), VGG19Features(), patches)
    assert (task.batch, task.critic_steps, task.penalty, task.feature_weight) == (128, 4, 10, 0.1)
    for optimiser in task.optimisers.values():
        assert optimiser.defaults["lr"] == 1e-5 and optimiser.defaults["betas"] == (0.5, 0.9)


def test_the_critic_has_its_four_steps_on_four_batches(patches):
    drawn = []
    patches.batch = lambda n, generator: drawn.append(n) or (patches.x, patches.y)
    critic = Critic(shape=(16, 16), width=1 / 16).double()
    features = VGG19Features(cut="relu1_1").double()
    task = WganVggTask(Chen().double(), critic, features, patches, batch=3)
    task.step(0, torch.Generator())
    assert drawn == [3] * 5
    steps = {
        name: {int(s["step"]) for s in o.state.values()} for name, o in task.optimisers.items()
    }
    assert steps == {"f": {1}, "critic": {4}}


def test_the_penalty_of_a_linear_critic_is_known(patches):
    """D(u) = ⟨a, u⟩ has the gradient a everywhere, u being the normalised image."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.linspace(-1, 1, 256).reshape(1, 16, 16))
            self.register_buffer("scale", torch.tensor(450.0))

        def forward(self, x):
            return (self.a * (x + 400) / self.scale).sum((1, 2, 3))

    critic = Linear().double()
    length = critic.a.norm().item()
    penalty = gradient_penalty(critic, patches.x)
    assert penalty.item() == pytest.approx((length - 1) ** 2, rel=1e-5)
    penalty.backward()
    expected = 2 * (length - 1) * critic.a / length
    assert torch.allclose(critic.a.grad, expected, rtol=1e-4, atol=1e-5)


def test_chen_learns_to_take_noise_away():
    """Blocks of constant HU in white noise: a 9 × 9 filter averages most of the noise out."""
    generator = torch.Generator().manual_seed(0)
    coarse = 150 * torch.randn(12, 8, 8, generator=generator)
    y = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)
    x = y + 60 * torch.randn(y.shape, generator=generator)
    torch.manual_seed(0)
    f = Chen()
    pairs = PatchPairs(x[:10], y[:10], patch=24)
    task = SupervisedTask(f, pairs, batch=4, steps=200, lr=5e-3)
    logs = train(task, steps=200, seed=1, progress=False)
    assert logs[0]["rmse_hu"] > 200
    with torch.no_grad():
        left = (f(x[10:, None]) - y[10:, None]).square().mean().sqrt()
    assert left < DENOISER_TASKS["noise left by Chen [HU]"]
