"""Finetuning against undesired invariances: steps by hand, and the control as its special case."""

import copy
import math

import pytest
import torch
from tolerances import REPAIR
from torch import nn

from ctxai.data import PatchPairs
from ctxai.denoisers import Chen
from ctxai.training.denoiser import SupervisedTask
from ctxai.training.loop import train
from ctxai.training.repair import RepairTask
from recon.errors import DataError


class Curve(nn.Module):
    """f(x) = a x + b x² / 100, whose gradients are easily written down."""

    def __init__(self, a, b):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(b, dtype=torch.float64))

    def forward(self, x):
        return self.a * x + self.b * x**2 / 100


class Fixed:
    """Pairs that are the same at every draw."""

    digest = "fixed"

    def __init__(self, a, b):
        self.pair = a, b

    def batch(self, n, generator):
        return self.pair


def normal(*shape, seed, sd):
    generator = torch.Generator().manual_seed(seed)
    return sd * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_three_steps_are_the_hand_written_ones():
    y = normal(4, 1, 6, 6, seed=1, sd=50.0)
    x = y + normal(4, 1, 6, 6, seed=2, sd=30.0)
    base, d = normal(3, 1, 5, 5, seed=3, sd=60.0), normal(3, 1, 5, 5, seed=4, sd=20.0)
    weight, lr = 700.0, 0.02
    f = Curve(0.7, 0.3)
    task = RepairTask(
        f, Fixed(x, y), Fixed(base, base + d), weight=weight, batch=4, steps=None, lr=lr
    )
    a, b = 0.7, 0.3
    moments = {"a": (0.0, 0.0), "b": (0.0, 0.0)}
    for index in range(3):
        off = a * x + b * x**2 / 100 - y
        bend = ((base + d) ** 2 - base**2) / 100  # what b adds to f(base + d) - f(base)
        missed = a * d + b * bend - d
        norm = (d**2).sum((1, 2, 3))
        loss = float((off**2).mean() + weight * ((missed**2).sum((1, 2, 3)) / norm).mean())
        slope = {
            "a": 2 * (off * x).mean() + 2 * weight * ((missed * d).sum((1, 2, 3)) / norm).mean(),
            "b": 2 * (off * x**2 / 100).mean()
            + 2 * weight * ((missed * bend).sum((1, 2, 3)) / norm).mean(),
        }
        for name, gradient in slope.items():  # Adam
            first = 0.9 * moments[name][0] + 0.1 * float(gradient)
            second = 0.999 * moments[name][1] + 0.001 * float(gradient) ** 2
            moments[name] = first, second
            rate = math.sqrt(second / (1 - 0.999 ** (index + 1))) + 1e-8
            step = lr * first / (1 - 0.9 ** (index + 1)) / rate
            a, b = (a - step, b) if name == "a" else (a, b - step)
        log = task.step(index, torch.Generator())
        assert log["loss"] == pytest.approx(loss, rel=REPAIR["step by hand"])
        assert f.a.item() == pytest.approx(a, abs=REPAIR["step by hand"])
        assert f.b.item() == pytest.approx(b, abs=REPAIR["step by hand"])


def phantom_like(seed):
    y = normal(4, 40, 40, seed=seed, sd=40.0).float()
    return y + normal(4, 40, 40, seed=seed + 1, sd=30.0).float(), y


def test_without_weight_a_repair_is_its_control_to_the_bit():
    pairs, others = PatchPairs(*phantom_like(1), patch=16), PatchPairs(*phantom_like(5), patch=12)
    torch.manual_seed(0)
    first = Chen()
    trained = {}
    for name, make in (
        ("control", lambda f: SupervisedTask(f, pairs, batch=3, steps=5, lr=1e-3)),
        ("none", lambda f: RepairTask(f, pairs, others, weight=0.0, batch=3, steps=5, lr=1e-3)),
        ("some", lambda f: RepairTask(f, pairs, others, weight=9.0, batch=3, steps=5, lr=1e-3)),
    ):
        f = copy.deepcopy(first)
        train(make(f), steps=5, seed=7, progress=False)
        trained[name] = f.state_dict()
    for key, value in trained["control"].items():
        assert torch.equal(value, trained["none"][key]), key
        if value.numel() > 1:
            assert not torch.equal(value, trained["some"][key]) or "weight" not in key


def test_what_is_repaired_shows():
    """A network that halves everything learns to show differences, though all y are zero."""
    x = normal(4, 1, 8, 8, seed=1, sd=10.0)
    f = Curve(0.5, 0.0)
    task = RepairTask(
        f, Fixed(x, 0 * x), Fixed(x, x + 5.0), weight=1e6, batch=4, steps=None, lr=0.02
    )
    logs = train(task, steps=60, seed=1, progress=False)
    assert logs[0]["blindness"] == pytest.approx(0.25)
    assert logs[-1]["blindness"] < 0.01
    assert f.a.item() == pytest.approx(1.0, abs=0.05)


def test_the_weight_and_the_differences_are_part_of_a_run(tmp_path):
    pairs, others = PatchPairs(*phantom_like(1), patch=16), PatchPairs(*phantom_like(5), patch=12)

    def task(weight, undesired):
        return RepairTask(Chen(), pairs, undesired, weight=weight, batch=2, steps=2, lr=1e-3)

    path = tmp_path / "run.safetensors"
    train(task(5.0, others), steps=2, seed=1, checkpoint=path, progress=False)
    for other in (task(6.0, others), task(5.0, pairs)):
        with pytest.raises(DataError, match="another run"):
            train(other, steps=2, seed=1, checkpoint=path, progress=False)
    for weight in (-1.0, float("nan")):
        with pytest.raises(DataError, match="weight of a repair"):
            task(weight, others)
