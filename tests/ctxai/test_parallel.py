"""Two processes under torchrun train as one does.

Run as a script, this file is what torchrun starts: it trains every kind of task for a few steps and
the first process writes the logs.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ctxai import parallel
from ctxai.cinn import ConditionalINN
from ctxai.cinn_task import INNTask
from ctxai.critic import Critic
from ctxai.data import PatchPairs
from ctxai.denoiser_tasks import SupervisedTask, WganVggTask
from ctxai.denoisers import Chen
from ctxai.eulig_vae import EuligVAE
from ctxai.flow_matching import FlowMatching
from ctxai.flow_task import FlowTask
from ctxai.repair_task import RepairTask
from ctxai.training import train
from ctxai.vae import VAE
from ctxai.vae_gan_task import VAEGANTask
from ctxai.vae_task import VAETask

STEPS = 4
TOLERANCES = {
    "loss of two processes, rel": 1e-5,  # the specification's; sums in another order give 1e-7
}
ROOT = Path(__file__).parents[2]


class Output:
    """z is the image itself."""

    def phi(self, x):
        return x


def tasks():
    """One of each kind, on patches of 16²."""
    torch.manual_seed(1)
    y = 200.0 * torch.randn(3, 40, 40)
    pairs = PatchPairs(y + 40.0 * torch.randn(y.shape), y, patch=16)
    vae = VAE(shape=(16, 16), latent=4, widths=(8, 8), scale=200.0)
    cinn = ConditionalINN(latent=4, condition_shape=(1, 16, 16), blocks=2, hidden=8, embedding=4)
    flow = FlowMatching(condition_shape=(1, 16, 16), widths=(8, 8, 8))
    shrink = nn.AvgPool2d(4)
    critic = Critic(shape=(16, 16), width=0.1)
    return {
        "supervised": SupervisedTask(Chen(), pairs, batch=4, steps=STEPS, lr=1e-3),
        "wgan": WganVggTask(Chen(), critic, shrink, pairs, batch=4, steps=STEPS, lr=1e-3),
        "vae": VAETask(vae, pairs.batch, batch=4, steps=STEPS),
        "cinn": INNTask(cinn, vae, Output(), pairs.batch, batch=4, steps=STEPS),
        "flow": FlowTask(flow, Output(), pairs.batch, batch=4, steps=STEPS),
        "repair": RepairTask(Chen(), pairs, pairs, weight=9.0, batch=4, steps=STEPS, lr=1e-3),
        "with a critic": gan(VAE(shape=(16, 16), latent=4, widths=(8, 8), scale=200.0), y, lr=1e-3),
        # at a larger rate Adam turns the rounding of its smallest gradients, 1e-15, into steps
        "large, with a critic": gan(
            EuligVAE(shape=(32, 32), latent=64, width=1, condition=0, scale=200.0), y, lr=1e-5
        ),
    }


def gan(vae, y, *, lr):
    """An autoencoder against a critic; in 64 bits, for its distance is a difference of scores."""
    y = y.double()
    pairs = PatchPairs(y + 40.0 * torch.randn(y.shape), y, patch=vae.shape[0])
    critic = Critic(shape=vae.shape, width=0.1, scale=vae.scale).double()
    return VAEGANTask(vae.double(), critic, nn.AvgPool2d(4), pairs.batch, batch=4, lr=lr)


def logs(folder=None):
    """What each kind of task logs in a few steps, and running statistics of the large one."""
    torch.set_num_threads(1)
    made = tasks()
    found = {
        name: train(
            task, steps=STEPS, seed=3, every=2, progress=False,
            checkpoint=None if folder is None else folder / name,
        )
        for name, task in made.items()
    }  # fmt: skip
    norm = made["large, with a critic"].vae.encoder.bn1
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
        check=True, timeout=400, cwd=ROOT, env={**_environment(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    together = json.loads((tmp_path / "logs.json").read_text())
    for name, alone in logs().items():
        for step, (one, two) in enumerate(zip(alone, together[name], strict=True)):
            expected = pytest.approx(one, rel=TOLERANCES["loss of two processes, rel"], abs=1e-7)
            assert two == expected, (name, step)


def _environment():
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_one_process_is_left_alone():
    value = torch.ones(3, requires_grad=True)
    assert parallel.mean(value) is value
    assert parallel.rows(value)[0] is value
    assert parallel.is_first() and parallel.processes() == 1


if __name__ == "__main__":
    found = logs(Path(sys.argv[1]))
    if parallel.is_first():
        (Path(sys.argv[1]) / "logs.json").write_text(json.dumps(found))
