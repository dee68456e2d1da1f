"""Two processes under torchrun train as one does.

Run as a script, this file is what torchrun starts: it trains every kind of task for a few steps and
the first process writes the logs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_tasks import LARGE, MAKERS, STEPS, task

from ctxai.training import parallel
from ctxai.training.loop import train

TOLERANCES = {
    "loss of two processes, rel": 1e-5,  # the specification's; sums in another order give 1e-7
}
ROOT = Path(__file__).parents[2]


def logs(folder=None):
    """What each kind of task logs in a few steps, and running statistics of the large one."""
    torch.set_num_threads(1)
    made = {name: task(name) for name in MAKERS}
    found = {
        name: train(
            one, steps=STEPS, seed=3, every=2, progress=False,
            checkpoint=None if folder is None else folder / name,
        )
        for name, one in made.items()
    }  # fmt: skip
    norm = made[LARGE].vae.encoder.bn1
    found["statistics"] = [
        {"mean": float(norm.running_mean.norm()), "variance": float(norm.running_var.norm())}
    ]
    return found


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", __file__, str(tmp_path),
        ],
        check=True, timeout=400, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    together = json.loads((tmp_path / "logs.json").read_text())
    for name, alone in logs().items():
        for step, (one, two) in enumerate(zip(alone, together[name], strict=True)):
            expected = pytest.approx(one, rel=TOLERANCES["loss of two processes, rel"], abs=1e-7)
            assert two == expected, (name, step)


def test_one_process_is_left_alone():
    value = torch.ones(3, requires_grad=True)
    assert parallel.mean(value) is value
    assert parallel.rows(value)[0] is value
    assert parallel.is_first() and parallel.processes() == 1


if __name__ == "__main__":
    found = logs(Path(sys.argv[1]))
    if parallel.is_first():
        (Path(sys.argv[1]) / "logs.json").write_text(json.dumps(found))
