"""The preset eulig2024: its numbers, a step of its losses, and the set that its command leaves."""

from dataclasses import replace

import pytest
import torch

from analysis.data.phantom_pairs import WorkingPoint
from analysis.training.eulig2024 import EULIG2024, eulig_cinn_task, eulig_vae_task, train_eulig
from analysis.training.stages import Stages
from ctxai.data import PatchPairs
from ctxai.sampling.draw import draw
from ctxai.weights.sets import SHIPPED, WeightSet

POINT = WorkingPoint(spacing_mm=4.0, matrix=100)
TINY = replace(
    EULIG2024, slices=1, patch=32, latent=64, width=1, critic_width=0.05, vae_batch=2,
    vae_steps=2, blocks=2, hidden=16, embedding=8, inn_batch=4, inn_steps=2,
)  # fmt: skip


class Fixed:
    """The same two patches whatever is asked for."""

    def __init__(self, side):
        generator = torch.Generator().manual_seed(1)
        y = 100.0 * torch.randn(2, side, side, generator=generator)
        self.pairs = PatchPairs(y + 30.0, y, patch=side)

    def batch(self, n, generator):
        return self.pairs.batch(2, torch.Generator().manual_seed(0))


def test_the_papers_numbers():
    preset = EULIG2024
    assert (preset.patch, preset.latent, preset.blocks, preset.hidden) == (128, 256, 12, 1024)
    _, task, _ = eulig_vae_task(TINY, SHIPPED.load("chen")[0], Fixed(32), seed=1)
    assert (task.l1_weight, task.kl_weight, task.feature_weight) == (0.00119, 0.575, 0.121)
    assert (task.penalty, task.features.cut) == (10.0, "relu5_4")
    assert [task.optimisers[name].defaults["lr"] for name in ("vae", "critic")] == [1e-5, 4e-5]


def _one_step_lowers_each_loss(preset):
    """The loss that a second step finds, of the same images and noise, is lower."""
    f, _ = SHIPPED.load("chen")
    preset, pairs = replace(preset, vae_batch=2, inn_batch=2), Fixed(preset.patch)
    vae, task, _ = eulig_vae_task(preset, f, pairs, seed=1)
    first, second = (task.step(i, torch.Generator().manual_seed(2)) for i in range(2))
    assert second["loss"] < first["loss"]
    model, inn_task = eulig_cinn_task(preset, f, vae, pairs, seed=1)
    inn_task.step(0, torch.Generator().manual_seed(2))  # it also fits the scales, with other draws
    first, second = (inn_task.step(i, torch.Generator().manual_seed(3)) for i in (1, 2))
    assert second["loss"] < first["loss"]
    return model


def test_a_step_of_the_small_one_lowers_its_loss():
    _one_step_lowers_each_loss(TINY)


@pytest.mark.parametrize(
    ("fewer", "expected"), [({}, (25_000, 15_625, 4000)), ({"steps": 3, "slices": 2}, (3, 3, 2))]
)
def test_fewer_steps_are_those_of_both_networks(fewer, expected, tmp_path, monkeypatch):
    class Begun(Exception):
        """With the preset that training would begin with."""

    def begin(preset, *_, **__):
        raise Begun(preset)

    monkeypatch.setattr("analysis.training.eulig2024.eulig_vae_task", begin)
    monkeypatch.setattr(Stages, "patches", lambda *_: Fixed(128).pairs)
    with pytest.raises(Begun) as caught:
        train_eulig(tmp_path, point=POINT, progress=False, **fewer)
    (preset,) = caught.value.args
    assert (preset.vae_steps, preset.inn_steps, preset.slices) == expected


@pytest.mark.slow
def test_the_full_size_builds_and_learns():
    model = _one_step_lowers_each_loss(EULIG2024)
    couplings = [step for step in model.cinn.flow.transforms if hasattr(step, "hyper")]
    assert len(couplings) == 2 * 12
    assert couplings[0].hyper[0].out_features == 1024
    x = torch.zeros(128, 128)
    assert draw(model, x, n=2, seed=1).images.shape == (2, 128, 128)


@pytest.mark.slow
def test_the_command_leaves_a_set_that_can_be_sampled(tmp_path, capsys):
    files = train_eulig(tmp_path, preset=TINY, point=POINT, progress=False)
    assert [path.stem for path in files] == ["vae_x", "cinn-yang-output-x"]
    weights = WeightSet(tmp_path)
    figures = weights.manifest["figures"]["vae_x"]
    told = capsys.readouterr().err
    assert ("collapsed" in told) == (figures["active_dimensions"] < 4)
    assert "vae_x, encoder: random" in told and "vae_x, features: random" in told
    assert weights.manifest["recipe"]["encoder"].startswith("random")
    model = weights.load_model("yang", "output", "x")
    x = torch.zeros(32, 32)
    samples = draw(model, x, n=3, tolerance_hu=3.0, seed=1)
    assert (samples.violation <= 3.0001).all()


@pytest.mark.slow
def test_a_second_run_takes_what_is_there(tmp_path):
    digests = []
    for _ in range(2):
        train_eulig(tmp_path, preset=TINY, point=POINT, progress=False)
        digests.append(WeightSet(tmp_path).manifest["sha256"])
    assert digests[0] == digests[1]
