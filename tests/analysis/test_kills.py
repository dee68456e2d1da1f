"""Commands killed at random moments: what is there is one whole run, the earlier or the new one.

Beside the cohort's kills (tests/analysis/cohort/test_cohort_engines.py, eight), 24 over the others.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_scans import write_small

from recon.storage import read_json
from recon.storage.parts import require_parts

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--matrix", "48", "--fov", "192", "--slice-thickness", "1.5"]
KILLS = 6  # of each command
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@pytest.fixture(scope="module")
def commands(tmp_path_factory, ct_folder, tiny_weights):
    """Each command twice, with results that differ."""
    scan = write_small(tmp_path_factory.mktemp("scans") / "scan", seed=3)
    target = [
        "target-domain", "--images", ct_folder, "--denoiser", "chen", "--mas", "10", "-n", "4",
        "--draws", "1", "--weights", tiny_weights.folder,
    ]  # fmt: skip
    found = {
        "recon": [["recon", scan, *SMALL, "--window", window] for window in ("hann", "ram-lak")],
        "simulate": [["simulate", scan, *SMALL, "--mas", mas] for mas in ("20", "50")],
        "target-domain": [[*target, "--seed", seed] for seed in ("1", "2")],
    }
    return {name: [list(map(str, words)) for words in both] for name, both in found.items()}


def start(words, out):
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    where = ["--out", str(out), "--overwrite"] if words[0] != "report" else [str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "analysis.main", *words, *where], cwd=ROOT, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(words, out):
    process = start(words, out)
    error = process.communicate()[1]
    assert process.returncode == 0, error


def results(out):
    """Digests of the parts of a run, after they were found to be those of its record."""
    record = read_json(out / "run.json")
    require_parts(out, record, list(record["parts"]))
    there = {item.name for item in out.iterdir() if not item.name.startswith(".")}
    assert there - {"report.html", "run.json"} == {*record["parts"]}
    return record["parts"]


def litter(out):
    """What only kill -9 may leave, until the next run."""
    return [str(item) for item in (*out.parent.iterdir(), *out.iterdir()) if item.name[0] == "."]


def killed(words, out, seconds, draw, number):
    process = start(words, out)
    time.sleep(draw.uniform(0.2, 1.0) * seconds)
    process.send_signal(number)
    error = process.communicate()[1]
    assert "Traceback" not in error
    assert process.returncode in (0, -number, 128 + number), error


@pytest.mark.parametrize("name", ["recon", "simulate", "target-domain"])
def test_a_killed_command_leaves_one_whole_run(commands, name, tmp_path):
    first, second = commands[name]
    out, draw = tmp_path / "OUT", random.Random(name)
    run(second, out)
    new = results(out)
    began = time.monotonic()
    run(first, out)
    seconds, old = time.monotonic() - began, results(out)
    assert old != new
    for kill in range(KILLS):
        words, other = (first, second)[kill % 2], (second, first)[kill % 2]
        run(other, out)
        killed(words, out, seconds, draw, SIGNALS[kill % 3])
        assert results(out) in (old, new)
    run(second, out)
    assert results(out) == new and litter(out) == []


def test_a_killed_report_leaves_the_earlier_one_or_a_new_one(commands, tmp_path):
    out, draw = tmp_path / "OUT", random.Random(5)
    run(commands["target-domain"][0], out)
    parts, page = results(out), (out / "report.html").read_bytes()
    began = time.monotonic()
    run(["report"], out)
    seconds = time.monotonic() - began
    assert (out / "report.html").read_bytes() == page
    for kill in range(KILLS):
        killed(["report"], out, seconds, draw, SIGNALS[kill % 3])
        assert results(out) == parts and (out / "report.html").read_bytes() == page
    run(["report"], out)
    assert litter(out) == []
