"""Curves for TensorBoard come from the logs of a training, and only when asked for."""

import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from ctxai.training.loop import train
from recon.errors import DataError
from recon.storage import write_csv

SCRIPT = Path(__file__).parents[2] / "scripts/tensorboard_curves.py"


class Mean:
    """A number that follows another."""

    def __init__(self):
        net = torch.nn.Linear(1, 1)
        self.modules, self.optimisers = (
            {"net": net},
            {"net": torch.optim.SGD(net.parameters(), 0.1)},
        )

    def step(self, index, generator):
        return {"loss": 1.0 / (index + 1), "rmse_hu": 20.0 - index}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    train(Mean(), steps=3, seed=1, checkpoint=folder / "checkpoints/chen.safetensors",
          progress=False)  # fmt: skip
    write_csv(folder / "metrics.csv", [{"quantity": "sd", "value": 1.0}])  # no log
    return folder


def test_a_training_leaves_none_by_itself(run):
    names = {path.name for path in run.rglob("*") if path.is_file()}
    assert names == {"chen.safetensors", "chen.csv", "metrics.csv"}
    code = "import sys, ctxai, analysis.training.recipes; print('tensorboard' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPT.parents[1], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False"


def test_every_number_of_every_log_is_written(run, tmp_path, monkeypatch):
    written = {}

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            assert purge_step == 0
            self.rows = written.setdefault(Path(folder).relative_to(tmp_path).as_posix(), [])

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_scalar(self, name, value, step):
            self.rows.append((name, step, value))

    stub = types.ModuleType("torch.utils.tensorboard")
    stub.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stub)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(run), "--out", str(tmp_path / "curves")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 0
    assert list(written) == ["curves/chen"]
    assert written["curves/chen"] == [
        row
        for k in range(3)
        for row in (("loss", k + 1, 1.0 / (k + 1)), ("rmse_hu", k + 1, 20.0 - k))
    ]


def test_what_is_missing_is_named(run, tmp_path, monkeypatch):
    write = runpy.run_path(str(SCRIPT))["write_curves"]
    with pytest.raises(DataError, match="no log of a training"):
        write(tmp_path / "empty", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DataError, match="pip install tensorboard"):
        write(run, tmp_path / "out")
