"""Training: resumed runs, learning rates, and single optimiser steps against hand-written ones.

Run as a script, this file is what gets killed: it trains in forks, so that a kill costs no import
of torch, with the checkpoint it is given.
"""

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from ctxai.checkpoints import digest_tensors, load_tensors, save_module
from ctxai.critic import Critic
from ctxai.data import PatchPairs
from ctxai.denoiser_tasks import SupervisedTask, WganVggTask, gradient_penalty
from ctxai.denoisers import Chen
from ctxai.features import VGG19Features
from ctxai.training import one_cycle, set_lr, train
from recon.errors import DataError

STEPS = 150
SCRIPT_STEPS = 120


class Toy:
    """Two small networks, two kinds of optimiser, and randomness from both sources."""

    def __init__(self, lr=1e-3, width=8, optimiser=torch.optim.Adam):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.3), nn.Linear(width, 4))
        scale = nn.Linear(1, 1)
        self.modules = {"net": net, "scale": scale}
        self.optimisers = {
            "net": optimiser(net.parameters(), lr),
            "scale": torch.optim.SGD(scale.parameters(), 1e-2, momentum=0.9),
        }
        self.calls = []
        self.stop_at = None

    def step(self, index, generator):
        if index == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append(index)
        set_lr(self.optimisers["net"], one_cycle(index, STEPS, 1e-2))
        x = torch.randn(16, 4, generator=generator)
        level = self.modules["scale"](torch.ones(1, 1))
        loss = (self.modules["net"](x) * level - x.flip(1)).square().mean()
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        loss.backward()
        for optimiser in self.optimisers.values():
            optimiser.step()
        return {"loss": loss.item(), "level": level.item()}


def digest(task):
    tensors = {
        f"{name}.{key}": value
        for name, module in task.modules.items()
        for key, value in module.state_dict().items()
    }
    return digest_tensors(tensors)


def run(task, **changes):
    options = {"steps": STEPS, "seed": 5, "progress": False, **changes}
    return train(task, **options)


def test_a_run_killed_again_and_again_ends_in_the_same_bits(tmp_path):
    """SIGKILL at random moments; every step writes a checkpoint, so most kills hit a write."""
    path, moments = tmp_path / "run", random.Random(3)
    process = subprocess.Popen(
        [sys.executable, __file__, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip

    found = []  # how many steps each attempt found done
    with process:
        straight = process.stdout.readline().strip()
        resumed = "killed"
        while resumed == "killed" and len(found) < 20:
            found.append(_steps_done(path))
            written = _time_written(path)
            process.stdin.write("go\n")
            worker = int(process.stdout.readline())
            if len(found) <= 6:
                begun = time.monotonic()
                while _time_written(path) == written and time.monotonic() - begun < 20:
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 0.04))
                with contextlib.suppress(ProcessLookupError):  # it may have ended in time
                    os.kill(worker, signal.SIGKILL)
            resumed = process.stdout.readline().strip()
        process.stdin.close()
    assert resumed == straight
    assert found == sorted(found)
    assert len({steps for steps in found if 0 < steps < SCRIPT_STEPS}) >= 3  # resumed midway
    assert [item.name for item in tmp_path.iterdir()] == ["run"]  # no half-written file is left


def _time_written(path):
    return path.stat().st_mtime_ns if path.exists() else 0


def _steps_done(path):
    return len(load_tensors(path)[1]["logs"]) if path.exists() else 0


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_an_interrupted_run_resumes_to_the_same_weights_and_logs(tmp_path, optimiser):
    straight = Toy(optimiser=optimiser)
    logs = run(straight)
    broken = Toy(optimiser=optimiser)
    broken.stop_at = 97
    with pytest.raises(KeyboardInterrupt):
        run(broken, checkpoint=tmp_path / "c", every=20)
    resumed = Toy(optimiser=optimiser)
    assert run(resumed, checkpoint=tmp_path / "c", every=20) == logs
    assert resumed.calls[0] == 80
    assert digest(resumed) == digest(straight)
    assert len(logs) == STEPS and logs[-1]["loss"] < logs[0]["loss"]


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path):
    first, again = Toy(), Toy()
    logs = run(first, checkpoint=tmp_path / "c")
    assert run(again, checkpoint=tmp_path / "c") == logs
    assert again.calls == [] and digest(again) == digest(first)
    assert not again.modules["net"].training


def test_the_seed_decides_and_the_callers_generator_is_left_alone():
    torch.manual_seed(77)
    expected = torch.rand(3)
    tasks = Toy(), Toy(), Toy()
    torch.manual_seed(77)
    for task, seed in zip(tasks, (1, 1, 2)):
        run(task, steps=3, seed=seed)
    assert torch.equal(torch.rand(3), expected)
    assert digest(tasks[0]) == digest(tasks[1]) != digest(tasks[2])


@pytest.mark.parametrize(
    ("task", "changes", "what"),
    [
        (Toy, {"seed": 6}, "its seed differ.* expected 6, got 5"),
        (Toy, {"steps": STEPS + 1}, "its steps differ"),
        (lambda: Toy(width=9), {}, r"its shapes differ.*net\.0\.weight.*\[9, 4\]"),
        (lambda: Toy(lr=2e-3), {}, r"its optimisers differ.*0\.002"),
        (lambda: Toy(optimiser=torch.optim.SGD), {}, "its optimisers differ"),
        (lambda: type("Other", (Toy,), {})(), {}, "its task differ.* expected Other, got Toy"),
        (lambda: type("Toy", (Toy,), {"settings": {"batch": 3}})(), {}, "its settings differ"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, task, changes, what):
    broken = Toy()
    broken.stop_at = 10
    with pytest.raises(KeyboardInterrupt):
        run(broken, checkpoint=tmp_path / "c", every=5)
    with pytest.raises(DataError, match=what):
        run(task(), checkpoint=tmp_path / "c", **changes)


def test_a_checkpoint_that_is_damaged_or_no_run_is_refused(tmp_path):
    path = tmp_path / "c"
    run(Toy(), checkpoint=path)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(DataError, match="truncated"):
        run(Toy(), checkpoint=path)
    path.write_bytes(content[:-5] + bytes([content[-5] ^ 4]) + content[-4:])
    with pytest.raises(DataError, match="not as it was written"):
        run(Toy(), checkpoint=path)
    save_module(path, Chen())
    with pytest.raises(DataError, match="not a checkpoint of a training run"):
        run(Toy(), checkpoint=path)


def test_half_a_checkpoint_of_a_killed_run_is_cleared_away(tmp_path):
    partial = tmp_path / ".c.partial-12345"
    partial.write_bytes(b"half")
    other = tmp_path / ".d.partial-12345"
    other.write_bytes(b"half")
    run(Toy(), steps=2, checkpoint=tmp_path / "c")
    assert not partial.exists() and other.exists()


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    class Diverging(Toy):
        def step(self, index, generator):
            log = super().step(index, generator)
            return log if index < 7 else {**log, "loss": math.nan}

    with pytest.raises(DataError, match=r"toy diverged at step 7.*lower the learning rate"):
        run(Diverging(), checkpoint=tmp_path / "c", every=5, label="toy")
    assert _steps_done(tmp_path / "c") == 5


@pytest.mark.parametrize("changes", [{"steps": 0}, {"every": 0}])
def test_no_steps_at_all(changes):
    with pytest.raises(DataError, match="needs steps"):
        run(Toy(), **changes)


def test_progress_is_shown_on_standard_error_with_the_loss(capsys):
    run(Toy(), steps=3, progress=True, label="toy x")
    out, err = capsys.readouterr()
    assert out == "" and "toy x: 100%" in err and "3/3" in err
    run(Toy(), steps=3)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("steps", [10, 50, 333])
def test_the_learning_rate_is_that_of_torchs_one_cycle(steps):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.02, total_steps=steps)
    for index in range(steps):
        assert one_cycle(index, steps, 0.02) == pytest.approx(oracle.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        if index + 1 < steps:
            oracle.step()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_a_learning_rate_too(steps):
    assert all(0 < one_cycle(index, steps, 1.0) <= 1.0 for index in range(steps))


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
    y = 300 * torch.randn(3, 1, 16, 16, generator=generator) - 100
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


def first_adam_step(weights, loss, lr):
    """After one step from zero moments, both bias corrections cancel: w - lr g / (|g| + 1e-8)."""
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {
        name: weight.detach() - lr * gradient / (gradient.abs() + 1e-8)
        for (name, weight), gradient in zip(weights.items(), gradients)
    }


def assert_same(module, expected):
    for name, value in module.named_parameters():
        assert torch.allclose(value, expected[name], atol=1e-6), name


def test_a_supervised_step_is_the_hand_written_one(patches):
    torch.manual_seed(1)
    f = Chen()
    weights = leaves(f)
    loss = ((chen_by_hand(weights, patches.x) - patches.y) ** 2).sum() / patches.y.numel()
    expected = first_adam_step(weights, loss, 1e-3 / 25)  # the first rate of the cycle
    log = SupervisedTask(f, patches, batch=3, steps=100, lr=1e-3).step(0, torch.Generator())
    assert log["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert log["rmse_hu"] == pytest.approx(math.sqrt(loss.item()), rel=1e-6)
    assert_same(f, expected)


def test_a_wgan_vgg_step_is_the_hand_written_one(patches):
    torch.manual_seed(1)
    f, critic = Chen(), Critic(shape=(16, 16), width=1 / 16)
    features = VGG19Features(cut="relu1_2")
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
    share = torch.rand(3, 1, 1, 1, generator=torch.Generator().manual_seed(6))
    u, v = (y + 400) / 450, (f(x).detach() + 400) / 450
    between = (share * u + (1 - share) * v).requires_grad_()
    (slope,) = torch.autograd.grad(score(weights, between).sum(), between, create_graph=True)
    penalty = ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
    loss = score(weights, v).mean() - score(weights, u).mean() + 10 * penalty
    expected_critic = first_adam_step(weights, loss, 1e-5)

    weights = leaves(f)
    denoised = chen_by_hand(weights, x)
    perceptual = ((features(denoised) - features(y)) ** 2).mean()
    loss = 0.1 * perceptual - score(expected_critic, (denoised + 400) / 450).mean()
    expected_f = first_adam_step(weights, loss, 1e-5)

    task = WganVggTask(f, critic, features, patches, batch=3, critic_steps=1)
    log = task.step(0, torch.Generator().manual_seed(6))
    assert log["penalty"] == pytest.approx(penalty.item(), rel=1e-4)
    assert log["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)
    assert_same(critic, expected_critic)
    assert_same(f, expected_f)
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_the_defaults_of_wgan_vgg_are_the_papers(patches):
    task = WganVggTask(Chen(), Critic(), VGG19Features(), patches)
    assert (task.batch, task.critic_steps, task.penalty, task.feature_weight) == (128, 4, 10, 0.1)
    for optimiser in task.optimisers.values():
        assert optimiser.defaults["lr"] == 1e-5 and optimiser.defaults["betas"] == (0.5, 0.9)


def test_the_critic_has_its_four_steps_on_four_batches(patches):
    drawn = []
    patches.batch = lambda n, generator: drawn.append(n) or (patches.x, patches.y)
    critic = Critic(shape=(16, 16), width=1 / 16)
    task = WganVggTask(Chen(), critic, VGG19Features(cut="relu1_1"), patches, batch=3)
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

    critic = Linear()
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
    assert left < 40  # of 60 HU, on images not trained on; about 32 is reached


def _main(path):
    """Say the digest of an undisturbed run; then, at each line of input, train in a fork.

    Of each fork, say its process number, and at its end the digest or "killed".
    """
    torch.set_num_threads(1)
    straight = Toy()
    run(straight, steps=SCRIPT_STEPS)
    print(digest(straight), flush=True)
    for _ in sys.stdin:
        reading, writing = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(reading)
            task = Toy()
            run(task, steps=SCRIPT_STEPS, checkpoint=path, every=1)
            os.write(writing, digest(task).encode())
            os._exit(0)
        os.close(writing)
        print(worker, flush=True)
        os.waitpid(worker, 0)
        print(os.read(reading, 100).decode() or "killed", flush=True)
        os.close(reading)


if __name__ == "__main__":
    _main(sys.argv[1])
