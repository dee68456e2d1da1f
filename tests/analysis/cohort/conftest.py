"""A cohort whose cells are written by hand: everything about it but the physics."""

import json

import pytest

from analysis.cohort.cells import Kind
from recon.storage import run_folder, write_csv, write_json

KINDS = {
    "target-domain": Kind(
        ("images",),
        {"denoiser": None, "mas": 10.0, "n": 250, "weights": None, "sampler": None},
        needs=(("denoiser",),),
        placed=True,
    ),
    "simulate": Kind(("scan", "images"), {"mas": None, "fov": 400.0}, needs=(("mas",),)),
}


@pytest.fixture
def kinds():
    return KINDS


def write_cell(folder, rows, *, place=(3, 40, 50), seconds=10.0):
    """A cell as a study leaves it, with numbers (quantity, value, other fields)."""
    with run_folder(folder) as made:
        write_csv(
            made / "metrics.csv",
            [
                {
                    "study": "s", "quantity": "words", "denoiser": "chen", "layer": "output",
                    "sampler": "cinn", "mas": "10", "value": value, "unit": "1", "should_be": "",
                    "meaning": "", "id": quantity, **more,
                }
                for quantity, value, more in rows
            ],
        )  # fmt: skip
        slice_, *roi = place
        write_json(
            made / "run.json",
            {
                "configuration": {"slice": slice_, "roi": roi},
                "seconds": seconds,
                "versions": {"python": "3.11", "torch": "2"},
            },
        )


@pytest.fixture
def cell_writer():
    return write_cell


@pytest.fixture
def patients(tmp_path):
    """Three folders of files that stand for images."""
    for name in "ABC":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_text(f"slice of {name}")
    return tmp_path


@pytest.fixture
def by_hand(monkeypatch):
    """The command with a study that only writes; the tasks that it was given."""
    from analysis.commands import study_cells

    seen = []

    def compute(task, folder):
        seen.append(task["digest"])
        value = f"{task['seed'] % 97 + task['options'].get('mas', 0)}"
        name = task["options"]["denoiser"]
        rows = [("share_inside", value, {"mas": f"{task['options']['mas']:g}", "denoiser": name})]
        write_cell(folder, rows)

    monkeypatch.setattr(study_cells, "_compute_cell", compute)
    monkeypatch.setattr(study_cells, "check_cell", lambda cell: None)
    return seen


def read(path):
    return json.loads(path.read_text())
