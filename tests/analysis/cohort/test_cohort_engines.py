"""One manifest by every engine, with whoever carries it out killed on the way: the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from analysis.cohort.cluster import on_cluster
from analysis.cohort.engines import in_processes
from recon.dicom.write import write_series

ROOT = Path(__file__).resolve().parents[3]
FAKE = """
import os, time
from analysis.cohort.work import Outcome

def work(task):
    if task["digest"] == "deadly":
        os._exit(9)
    time.sleep(0.05)
    return Outcome(task["digest"], "no good" if task["digest"] == "bad" else "")
"""
TABLES = ("table.csv", "table.parquet", "summary.csv", "differences.csv", "cells.csv")
PATIENTS = 3
MANIFEST = """
weights = "{weights}"
n = 2
tolerance_hu = 0
"""
ROWS = """
[[row]]
patient = "P{k}"
images = "P{k}"
study = "simulate"
mas = [10, 20, 30, 40, 50, 60]

[[row]]
patient = "P{k}"
images = "P{k}"
study = "invariances"
denoiser = ["chen", "yang"]
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "fake_work.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import fake_work

    return fake_work.work


def tasks(*names):
    return [{"digest": name, "options": {}} for name in names]


def test_a_process_that_dies_takes_its_cell_alone(fake):
    found = in_processes(tasks("a", "bad", "deadly", "b", "c"), fake, jobs=2)
    said = {outcome.digest: outcome.error for outcome in found}
    assert said == {
        "a": "", "b": "", "c": "", "bad": "no good", "deadly": "its process was killed, twice",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of what a cluster leaves behind when it closes
def test_a_dask_scheduler_gets_the_same_cells(fake):
    distributed = pytest.importorskip("distributed")
    how = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**how) as cluster:
        found = on_cluster(tasks("a", "bad", "b"), fake, scheduler=cluster.scheduler_address)
        said = {outcome.digest: outcome.error for outcome in found}
    assert said == {"a": "", "b": "", "bad": "no good"}


def environment():
    one = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, "PYTHONPATH": str(ROOT), **one}


def start(module, *words, **how):
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)], env=environment(),
        stdout=subprocess.DEVNULL, **{"stderr": subprocess.DEVNULL, **how},
    )  # fmt: skip


def study(manifest, out, *words):
    return start("analysis.main", "study", manifest, "--out", out, *words, stderr=subprocess.PIPE)


def ended(process, status=0):
    error = process.communicate()[1]
    assert process.returncode == status, error.decode()


def there(out):
    """Cells that are there, with the time of their record; not one that is still being written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/[!.]*/run.json")}


def results(out):
    """All bytes that must not depend on the engine."""
    paths = [out / name for name in TABLES]
    for name in ("metrics.csv", "samples.zarr/**/*", "**/*.dcm", "*.png"):
        paths += [path for path in out.glob(f"cells/*/{name}") if path.is_file()]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def litter(out):
    hidden = [*out.parent.glob(f".{out.name}*"), *out.rglob(".*")]
    return [str(path) for path in hidden if "samples.zarr" not in str(path)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, tiny_weights):
    folder = tmp_path_factory.mktemp("cohort")
    y, x = np.mgrid[-35.5:36, -39.5:40] * 2.0
    for k in range(PATIENTS):
        hu = np.where((x / 60) ** 2 + (y / 45) ** 2 < 1, 5.0 * k, -1000.0)
        hu = np.where(((x - 8) / 9) ** 2 + ((y + 6) / 5) ** 2 < 1, 120.0, hu).astype(np.float32)
        write_series(
            folder / f"P{k}", hu[None], spacing=(2.0, 2.0), slice_thickness=1.5, kvp=120.0,
            mas=150.0, positions=[(-79.0, -71.0, 0.0)], series_description="", uid_seed=k + 1,
        )  # fmt: skip
    text = MANIFEST.format(weights=tiny_weights.folder)
    text += "".join(ROWS.format(k=k) for k in range(PATIENTS))
    (folder / "cohort.toml").write_text(text)
    return folder / "cohort.toml"


@pytest.fixture(scope="module")
def by_one_process(manifest):
    out = manifest.parent / "one"
    ended(study(manifest, out))
    assert len(there(out)) == 24
    return results(out)


def same(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name, content in found.items() if content != expected[name]] == []


@pytest.mark.slow
def test_four_shards_and_their_merger(manifest, by_one_process):
    out = manifest.parent / "shards"
    running = [study(manifest, out, "--shard", f"{k}/4") for k in (1, 2)]
    for process in running:
        ended(process)
    assert not (out / "table.csv").exists() and len(there(out)) == 12
    for k in (3, 4):
        ended(study(manifest, out, "--shard", f"{k}/4"))
    before = there(out)
    ended(study(manifest, out))
    assert there(out) == before and len(before) == 24
    same(results(out), by_one_process)
    assert litter(out) == []


def wait_for_cells(out, count, process):
    while len(there(out)) < count and process.poll() is None:
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_killed_again_and_again(manifest, by_one_process):
    out, draw = manifest.parent / "killed", random.Random(3)
    before = {}
    for kill in range(8):
        number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[kill % 3]
        process = study(manifest, out, "--jobs", "2")
        wait_for_cells(out, len(before) + draw.choice([0, 1, 2]), process)
        time.sleep(draw.uniform(0.0, 3.0))
        process.send_signal(number)
        process.communicate()
        now = there(out)
        assert before.items() <= now.items()  # nothing lost, nothing twice
        assert all((out / "cells" / name / "metrics.csv").exists() for name in now)
        before = now
    ended(study(manifest, out, "--jobs", "2"))
    assert before.items() <= there(out).items()
    same(results(out), by_one_process)
    assert litter(out) == []


@pytest.mark.slow
def test_dask_workers_and_their_client_killed(manifest, by_one_process):
    pytest.importorskip("distributed")
    out, address = manifest.parent / "dask", manifest.parent / "scheduler.json"
    bare = ("--no-dashboard",)
    processes = [
        start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", 0,
            "--scheduler-file", address, *bare,
        )
    ]  # fmt: skip

    def worker():
        processes.append(
            start(
                "distributed.cli.dask_worker", "--scheduler-file", address, "--nthreads", 1,
                "--host", "127.0.0.1", "--no-nanny", *bare,
            )
        )  # fmt: skip
        return processes[-1]

    try:
        workers = [worker(), worker()]
        client = study(manifest, out, "--scheduler", address)
        for k, count in ((0, 2), (1, 5)):
            wait_for_cells(out, count, client)
            workers[k].kill()
            workers[k].wait()  # else its number still counts as that of a process
            worker()
        wait_for_cells(out, 9, client)
        assert client.poll() is None
        client.kill()
        client.communicate()
        before = there(out)
        assert 9 <= len(before) < 24
        ended(study(manifest, out, "--scheduler", address))
        assert before.items() <= there(out).items()
        same(results(out), by_one_process)
        assert litter(out) == []
    finally:
        for process in processes:
            process.kill()
            process.wait()
