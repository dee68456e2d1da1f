"""Training: runs that are killed and resumed, checkpoints that are refused, learning rates.

Run as a script, this file is what gets killed: it trains in forks, so that a kill costs no import
of torch, with the checkpoint it is given.
"""

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

from ctxai.denoisers import Chen
from ctxai.files.modules import save_module
from ctxai.files.tensors import digest_tensors, load_tensors
from ctxai.training.loop import descend, one_cycle, set_lr, train
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


class Patient(Toy):
    """Waits for its end after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def step(self, index, generator):
        if self.left == 0:
            time.sleep(120)
        self.left -= 1
        return super().step(index, generator)


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


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_again_and_again_ends_in_the_same_bits(tmp_path, kills):
    """SIGKILL at random moments; every step writes a checkpoint, so most kills hit a write.

    A worker that is to be killed stops after its share of the steps and waits for it: however fast
    the processor and however late the kill, the run does not end before the last of them.
    """
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
        while resumed == "killed" and len(found) < 4 * kills:
            found.append(_steps_done(path))
            written = _time_written(path)
            killed = len(found) <= kills
            process.stdin.write(f"{(SCRIPT_STEPS - 1) // kills if killed else SCRIPT_STEPS}\n")
            worker = int(process.stdout.readline())
            if killed:
                begun = time.monotonic()
                while _time_written(path) == written and time.monotonic() - begun < 60:
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 0.24 / kills))
                os.kill(worker, signal.SIGKILL)
            resumed = process.stdout.readline().strip()
        process.stdin.close()
    assert resumed == straight
    assert found == sorted(found)
    assert len({steps for steps in found if 0 < steps < SCRIPT_STEPS}) == kills  # resumed midway
    assert {item.name for item in tmp_path.iterdir()} == {
        "run",
        "run.csv",
    }  # no half-written file is left


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


class Drawn(Toy):
    """Notes what it draws from both sources."""

    def __init__(self):
        super().__init__()
        self.numbers = []

    def step(self, index, generator):
        self.numbers += [torch.rand(()).item(), torch.rand((), generator=generator).item()]
        return super().step(index, generator)


def test_no_two_steps_seeds_or_sources_draw_the_same():
    """Also where seed and step written one after the other are the same digits."""
    numbers = []
    for seed in (0, 1, 11, 111, -1):
        task = Drawn()
        run(task, steps=12, seed=seed)
        numbers += task.numbers
    assert len(set(numbers)) == 5 * 12 * 2


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


def test_a_gradient_that_is_not_finite_moves_no_weight():
    weight = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(DataError, match="diverged: got a gradient of nan, a loss of nan"):
        descend(torch.optim.SGD([weight], 0.1), (weight * math.nan).sum(), largest_norm=1.0)
    assert weight.tolist() == [1.0, 1.0]


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


def _main(path):
    """Say the digest of an undisturbed run; then, at each line of input, train in a fork.

    The line says how many steps the fork may do before it waits for its end. Of each fork, say its
    process number, and at its end the digest or "killed".
    """
    torch.set_num_threads(1)
    straight = Toy()
    run(straight, steps=SCRIPT_STEPS)
    print(digest(straight), flush=True)
    for line in sys.stdin:
        reading, writing = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(reading)
            task = Patient(int(line))
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
