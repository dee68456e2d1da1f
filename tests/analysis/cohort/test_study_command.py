"""The command on a cohort whose cells are written by hand, and one that is computed."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.commands import study_cells
from analysis.main import main
from analysis.session.options import StudyOptions

ROOT = Path(__file__).resolve().parents[3]
LINES = "patient,images,study,denoiser,mas\n" + "".join(
    f"{name},{name},target-domain,chen; yang,10; 40\n" for name in "ABC"
)
TABLES = ("table.csv", "summary.csv", "differences.csv", "cells.csv", "table.parquet")


@pytest.fixture
def manifest(patients):
    (patients / "cohort.csv").write_text(LINES)
    return patients / "cohort.csv"


def run(manifest, out, *words):
    return main(["study", str(manifest), "--out", str(out), *words])


def tables(out):
    return {name: (out / name).read_bytes() for name in TABLES if (out / name).exists()}


def test_cells_are_computed_once(manifest, by_hand, tmp_path, capsys):
    out = tmp_path / "OUT"
    assert run(manifest, out) == 0
    first = tables(out)
    assert len(by_hand) == 12 == len(list((out / "cells").iterdir()))
    assert run(manifest, out) == 0
    assert len(by_hand) == 12 and tables(out) == first
    assert sorted(path.name for path in out.iterdir()) == sorted(
        {
            *first, "cells", "failed", "inputs.json", "report.html", "run.json",
            *(["summary.parquet", "differences.parquet"] if "table.parquet" in first else []),
        }
    )  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert record["cells"] == {"asked": 12, "there": 12, "failed": 0, "open": 0}
    assert "platform" not in record["versions"] and record["date"].endswith("+00:00")
    shutil.rmtree(out / "cells" / by_hand[4])
    assert run(manifest, out) == 0
    assert by_hand[12:] == [by_hand[4]] and tables(out) == first


@pytest.mark.slow
def test_shards_are_the_whole(manifest, by_hand, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(manifest, whole) == 0
    for k in (2, 1, 3):
        assert run(manifest, parts, "--shard", f"{k}/3") == 0
        assert not (parts / "table.csv").exists()
    assert len(by_hand) == 24 and sorted(by_hand[:12]) == sorted(by_hand[12:])
    assert run(manifest, parts) == 0
    assert len(by_hand) == 24 and tables(parts) == tables(whole)


def test_a_dry_run_lists_and_writes_nothing(manifest, by_hand, tmp_path, capsys):
    out = tmp_path / "OUT"
    assert run(manifest, out, "--dry-run") == 0
    assert not out.exists() and not by_hand
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 13 and said[-1].startswith("12 cells: 0 there, 12 to compute")
    assert run(manifest, out, "--shard", "1/2") == 0
    before = sorted(path for path in out.rglob("*"))
    capsys.readouterr()
    assert run(manifest, out, "--dry-run") == 0
    said = capsys.readouterr().out.splitlines()
    assert sum(": A, A" in line and line.split()[1] == "there:" for line in said) == 2
    assert "about 10 s" in "".join(said)
    assert "6 there, 6 to compute, about 0.017 hours" in said[-1]  # 6 × 10 s
    assert sorted(path for path in out.rglob("*")) == before


def test_a_cell_that_fails_stops_no_other(manifest, by_hand, tmp_path, capsys, monkeypatch):
    out, fine = tmp_path / "OUT", study_cells._compute_cell

    def compute(task, folder):
        if task["options"]["mas"] == 40 and task["input"][1].endswith("B"):
            raise RuntimeError("no such\nlayer")
        fine(task, folder)

    monkeypatch.setattr(study_cells, "_compute_cell", compute)
    assert run(manifest, out) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "2 of 12 cells failed" in error and "RuntimeError: no such layer" in error
    assert len(list((out / "failed").iterdir())) == 2
    states = (out / "cells.csv").read_text()
    assert (
        states.count(",failed,RuntimeError: no such layer") == 2 and states.count(",there,") == 10
    )
    assert "RuntimeError: no such layer" in (out / "report.html").read_text()
    capsys.readouterr()
    assert run(manifest, out, "--dry-run") == 0
    assert "failed: RuntimeError: no such layer" in capsys.readouterr().out
    monkeypatch.setattr(study_cells, "_compute_cell", fine)
    assert run(manifest, out) == 0
    assert (
        not list((out / "failed").iterdir()) and ",failed," not in (out / "cells.csv").read_text()
    )


@pytest.mark.parametrize("kind, points", [(errno.ENOSPC, 10), (errno.EDQUOT, 2), (errno.EROFS, 2)])
@pytest.mark.slow
def test_a_disk_that_is_full_is_told_in_one_line(
    manifest, by_hand, tmp_path, capsys, monkeypatch, kind, points
):
    """At points of a run from its first file to its last."""
    out, flush = tmp_path / "OUT", os.fsync
    assert run(manifest, out, "--shard", "1/4") == 0
    kept = {p: p.read_bytes() for p in (out / "cells").rglob("*") if p.is_file()}
    calls = []
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append(1) or flush(handle))
    shutil.copytree(out, tmp_path / "count")
    assert run(manifest, tmp_path / "count") == 0
    for point in [round(k * (len(calls) - 1) / (points - 1)) for k in range(points)]:
        left = [point]

        def full(handle, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(kind, os.strerror(kind))
            flush(handle)

        place = tmp_path / f"full-{point}"
        shutil.copytree(out, place)
        monkeypatch.setattr(os, "fsync", full)
        capsys.readouterr()
        assert run(manifest, place) == 2
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("ctxai: ")]
        assert len(lines) == 1 and os.strerror(kind) in lines[0], error
        for path, content in kept.items():
            assert (place / path.relative_to(out)).read_bytes() == content
        monkeypatch.setattr(os, "fsync", flush)
        assert run(manifest, place) == 0
        hidden = list(place.rglob(".*"))
        assert hidden == [] and len(list((place / "cells").iterdir())) == 12


@pytest.mark.slow
def test_what_killed_processes_left_is_cleared(manifest, by_hand, tmp_path):
    out = tmp_path / "OUT"
    assert run(manifest, out) == 0
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lost = by_hand[0]
    shutil.rmtree(out / "cells" / lost)
    left = out / "cells" / f".{by_hand[1]}.partial-{dead.pid}"
    left.mkdir()
    (left / ".run").write_text(json.dumps({"process": dead.pid, "host": os.uname().nodename}))
    (out / "cells" / f".{lost}.lock").write_text(str(dead.pid))
    (out / "failed" / f".{lost}.json.partial-{dead.pid}").write_text("{")
    assert run(manifest, out) == 0
    assert by_hand[12:] == [lost] and list(out.rglob(".*")) == []


def test_a_second_command_for_one_folder_is_refused(manifest, by_hand, tmp_path, capsys):
    out = tmp_path / "OUT"
    code = (
        "from recon.storage import holding\n"
        f"with holding({str(out)!r}):\n print(1, flush=True)\n input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        other.stdout.readline()
        assert run(manifest, out) == 2
        assert f"process {other.pid}" in capsys.readouterr().err
    finally:
        other.communicate(b"\n")
    assert run(manifest, out) == 0


def test_a_cell_that_another_process_computes_is_waited_for(manifest, by_hand, tmp_path):
    out = tmp_path / "OUT"
    assert run(manifest, out) == 0
    lost = by_hand[0]
    shutil.rmtree(out / "cells" / lost)
    code = (
        "import shutil, sys, time\nfrom recon.storage import holding\n"
        f"with holding({str(out / 'cells' / lost)!r}):\n"
        f" print(1, flush=True)\n time.sleep(1)\n"
        f" shutil.copytree({str(out / 'cells' / by_hand[1])!r}, {str(out / 'cells' / lost)!r})\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    other.stdout.readline()
    assert run(manifest, out) == 0
    other.communicate()
    assert len(by_hand) == 12


@pytest.mark.parametrize(
    "words, said",
    [
        (("--shard", "0/3"), "--shard"),
        (("--shard", "4/3"), "I from 1 to N"),
        (("--jobs", "0"), "--jobs"),
        (("--jobs", "2", "--scheduler", "tcp://a:1"), "one engine at a time"),
    ],
)
def test_words_that_make_no_sense(manifest, tmp_path, capsys, words, said):
    assert run(manifest, tmp_path / "OUT", *words) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1 and not (tmp_path / "OUT").exists()


def test_cells_are_told_apart_by_the_commands_own_options():
    """Every study has its own options, and none that a manifest says in another way."""
    found = study_cells.kinds()
    assert set(found) == {"target-domain", "invariances", "projection-domain", "simulate", "recon"}
    for name in ("target-domain", "invariances", "projection-domain"):
        assert {"denoiser", "mas", "weights", "input", "kvp"} <= found[name].options.keys()
        assert not {"out", "slice", "roi", "seed", "images"} & found[name].options.keys()
    assert "layer" in found["invariances"].options and "fov" in found["recon"].options


def test_the_record_of_a_cell_repeats_it(patients):
    task = {
        "study": "invariances", "input": ("images", "/ct A"), "place": (3, 40, 50), "seed": 7,
        "options": {"denoiser": "chen", "layer": "4", "mas": 5.0, "n": 20},
    }  # fmt: skip
    options, _ = study_cells._job(task, Path("OUT/cells/x"))
    assert isinstance(options, StudyOptions)
    assert (options.layers, options.mas, options.roi, options.slice) == (("4",), 5.0, (40, 50), 3)
    assert study_cells._command(task, Path("O")) == (
        "ctxai invariances --images '/ct A' --slice 3 --roi 40 50 --denoiser chen --layers 4 "
        "--mas 5.0 --n 20 --seed 7 --out O"
    )


@pytest.mark.slow
def test_a_series_is_taken_to_lower_doses(ct_folder, tmp_path, capsys):
    """A cell is the run folder of its command."""
    (tmp_path / "m.csv").write_text(f"patient,images,study,mas\nA,{ct_folder},simulate,20\n")
    out = tmp_path / "OUT"
    assert run(tmp_path / "m.csv", out) == 0
    (cell,) = (out / "cells").iterdir()
    assert sorted(item.name for item in cell.iterdir()) == [
        "mas-020", "metrics.csv", "overview.png", "run.json",
    ]  # fmt: skip
    assert len(list((cell / "mas-020").glob("*.dcm"))) == 3
    table = (out / "table.csv").read_text()
    assert re.search(r"^A,series0,,,,simulate,,,,20,added_noise_sd,\d", table, re.M)


def test_the_script_for_slurm_asks_for_what_it_says():
    """The script of the page is carried out up to the submission, and its job script read."""
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    page = (ROOT / "docs/cohort.md").read_text()
    script = next(
        part for part in re.findall(r"```python\n(.*?)```", page, re.S) if "SLURM" in part
    )
    call = re.search(r"SLURMCluster\((.*?)\n    \)", script, re.S)
    job = eval(f"dict({call[1]})", {})
    text = dask_jobqueue.slurm.SLURMJob(
        "tcp://10.0.0.1:8786", name="worker", **job
    ).job_script()  # fmt: skip
    for line in (
        "#SBATCH -p normal", "#SBATCH -n 1", "#SBATCH --cpus-per-task=1", "#SBATCH --mem=4G",
        "#SBATCH -t 04:00:00", "export OMP_NUM_THREADS=1", "--nthreads 1", "--lifetime 230m",
        "tcp://10.0.0.1:8786",
    ):  # fmt: skip
        assert line in text, text
    compile(script, "docs/cohort.md", "exec")
