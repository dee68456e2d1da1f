"""Presets: the numbers of the papers, a step of each network, and the two of the talk."""

from dataclasses import replace

import pytest
import torch

from analysis.data.phantom_pairs import WorkingPoint
from analysis.main import main
from analysis.training.presets import PRESETS, preset_task, train_preset
from ctxai.data import PatchPairs
from ctxai.files.modules import load_module
from ctxai.training.loop import train
from ctxai.weights.load import load_denoiser
from recon.errors import DataError

POINT = WorkingPoint(spacing_mm=4.0, matrix=100)


def test_the_papers_settings():
    [chen], [yang] = PRESETS["chen2017"], PRESETS["yang2018"]
    y = torch.zeros(1, 100, 100)
    _, task = preset_task(yang, PatchPairs(y, y), seed=1)
    assert (task.batch, task.lr, task.critic_steps) == (128, 1e-5, 4)
    assert (task.penalty, task.feature_weight, task.features.cut) == (10.0, 0.1, "relu5_4")
    assert yang.steps * yang.batch == 100 * 782 * 128  # 100 epochs of 100,096 patches
    assert {group["betas"] for o in task.optimisers.values() for group in o.param_groups} == {
        (0.5, 0.9)
    }
    f, task = preset_task(chen, PatchPairs(y, y, patch=92), seed=1)
    assert sum(p.numel() for p in f.parameters()) == 24513
    assert task.steps is None  # a constant rate
    assert [(p.name, p.anatomies) for p in PRESETS["talk"]] == [
        ("t-net", ("thorax",)), ("a-net", ("abdomen",)),
    ]  # fmt: skip


def test_a_step_with_the_papers_settings_lowers_the_loss():
    generator = torch.Generator().manual_seed(1)
    y = 100.0 * torch.randn(2, 100, 100, generator=generator)
    [preset] = PRESETS["chen2017"]
    pairs = PatchPairs(y + 30.0, y, patch=92)

    class Fixed:
        digest = "fixed"

        def batch(self, n, generator):
            return pairs.batch(2, torch.Generator().manual_seed(0))

    _, task = preset_task(preset, Fixed(), seed=1)
    logs = train(task, steps=4, seed=1, progress=False)
    assert logs[-1]["loss"] < logs[0]["loss"]


@pytest.mark.slow
def test_the_talks_two_networks_train_and_can_be_named(tmp_path):
    files = train_preset("talk", tmp_path, steps=2, slices=1, point=POINT, progress=False)
    assert [path.name for path in files] == ["t-net.safetensors", "a-net.safetensors"]
    _, facts = load_module(files[0])
    assert facts["preset"]["anatomies"] == ["thorax"] and facts["preset"]["steps"] == 2
    nets = [load_denoiser(str(path)) for path in files]
    assert [name for _, name, _ in nets] == ["t-net", "a-net"]
    assert len({digest for _, _, digest in nets}) == 2
    again = train_preset("talk", tmp_path, steps=2, slices=1, point=POINT, progress=False)
    assert load_denoiser(str(again[1]))[2] == nets[1][2]


@pytest.mark.slow
def test_random_features_are_told_and_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    [yang] = PRESETS["yang2018"]
    monkeypatch.setitem(PRESETS, "yang2018", (replace(yang, batch=2),))
    [path] = train_preset("yang2018", tmp_path, steps=1, slices=1, point=POINT, progress=False)
    told = [line for line in capsys.readouterr().err.splitlines() if "random" in line]
    assert len(told) == 1 and told[0].startswith("yang2018: random (Kaiming normal, seed 0)")
    assert load_module(path)[1]["features"].startswith("random (Kaiming normal, seed 0)")


def test_what_is_refused(tmp_path, capsys):
    with pytest.raises(DataError, match="no such preset"):
        train_preset("chen2016", tmp_path)
    assert main(["train", "--out", str(tmp_path), "--steps", "3"]) == 2
    assert "--preset" in capsys.readouterr().err
