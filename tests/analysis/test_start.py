"""What the command line answers at once: help, version, misuse, and paths that are not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import analysis
import ctxai
import recon
from analysis.main import main

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numba", "matplotlib", "astra")
STUDY = ["--images", "images", "--out", "new"]
ANSWERS = [  # words, exit status, what the one line says
    (["--help"], 0, ""),
    (["--version"], 0, ""),
    (["invariances", "--help"], 0, ""),
    (["recon", "--help"], 0, ""),
    (["nonsense"], 2, "no such command"),
    (["invariances", *STUDY], 2, "--denoiser"),
    (["invariances", *STUDY, "--denoiser", "chen", "--colour"], 2, "--colour"),
    (["invariances", *STUDY, "--denoiser", "chen", "--mas", "-1"], 2, "--mas"),
    (["invariances", *STUDY, "--denoiser", "nobody"], 2, "nobody"),
    (["target-domain", *STUDY, "--denoiser", "no.py:make"], 2, "no.py"),
    (["target-domain", *STUDY, "--denoiser", "mine.py:make:no.pt"], 2, "no.pt"),
    (["target-domain", *STUDY, "--denoiser", "no.onnx"], 2, "no.onnx"),
    (["target-domain", *STUDY, "--denoiser", "redcnn:no.safetensors"], 2, "no.safetensors"),
    (["target-domain", *STUDY, "--denoiser", "mine.py:make", "--input", "mg"], 2, "--input"),
    (["target-domain", *STUDY, "--denoiser", "chen", "--input", "water"], 2, "--input"),
    (["target-domain", *STUDY, "--denoiser", "chen", "--weights", "images"], 2, "manifest.json"),
    (["target-domain", *STUDY, "--denoiser", "chen"], 2, "without DICOM images"),
    (["target-domain", "--images", "no", "--denoiser", "chen", "--out", "new"], 2, "(no)"),
    (["target-domain", *STUDY[:3], "mine.py", "--denoiser", "chen"], 2, "output is a file"),
    (["projection-domain", "--images", "no", "--denoiser", "chen", "--out", "new"], 2, "(no)"),
    (["recon", "no", "--out", "new"], 2, "(no)"),
    (["simulate", "no", "--mas", "10", "--out", "new"], 2, "(no)"),
    (["simulate", "--images", "no", "--mas", "10", "--out", "new"], 2, "(no)"),
    (["inspect", "no"], 2, "(no)"),
    (["verify", "no"], 2, "(no)"),
    (["phantom", "--volume", "no.npz", "--out", "new"], 2, "no.npz"),
    (["train", "--denoiser", "no.py:make", "--out", "new"], 2, "no.py"),
    (["train", "--preset", "talk", "--out", "mine.py"], 2, "output is a file"),
    (["demo", "--out", "mine.py/new"], 2, "mine.py/new"),
    (["report", "no"], 2, "no such run folder"),
    (["report", "images"], 2, "run.json"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Status, what was said and what heavy was loaded, of all commands one after the other."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "images").mkdir()
    (folder / "mine.py").write_text("def make():\n    return lambda x: x\n")
    code = (
        "import contextlib, io, json, sys\nfrom analysis.main import main\n"
        f"for words in {[words for words, *_ in ANSWERS]!r}:\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        status = main(words)\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    print(json.dumps([status, err.getvalue(), heavy]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    left = sorted(item.name for item in folder.iterdir())
    return [json.loads(line) for line in done.stdout.splitlines()], left


@pytest.mark.parametrize("k", range(len(ANSWERS)), ids=lambda k: " ".join(ANSWERS[k][0]))
def test_it_is_answered_in_one_line_before_anything_heavy_is_loaded(answers, k):
    _, status, said = ANSWERS[k]
    found, error, heavy = answers[0][k]
    assert found == status, error
    assert len(error.splitlines()) == (status == 2), error
    assert said in error
    assert heavy == []


def test_nothing_is_left_of_a_refusal(answers):
    assert answers[1] == ["images", "mine.py"]


def test_the_version_is_stated_in_one_place(capsys):
    assert main(["--version"]) == 0
    name, version = capsys.readouterr().out.split()
    assert name == "ctxai"
    assert version == recon.__version__ == ctxai.__version__ == analysis.__version__
    stated = [line for line in (ROOT / "setup.cfg").read_text().splitlines() if "version" in line]
    assert stated[0] == f"version = {version}"
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text().splitlines()
    for package in ("recon", "ctxai", "analysis"):
        assert (ROOT / package / "py.typed").exists()
        with pytest.raises(AttributeError):
            getattr(sys.modules[package], "nothing")  # noqa: B009


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "OUT/slice-001.dcm"), "No space left"),
        (FileNotFoundError(2, "No such file or directory", "slice-001.dcm"), "slice-001.dcm"),
        (PermissionError(13, "Permission denied", "OUT"), "Permission denied"),
        (MemoryError("Unable to allocate 64 GiB"), "not enough memory: Unable to allocate 64 GiB"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_the_machine_lacks_is_one_line(error, words, monkeypatch, capsys, tmp_path):
    def failing(*_):
        raise error

    monkeypatch.setattr("analysis.session.open_scan", failing)
    assert main(["inspect", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_whoever_stops_reading_ends_the_command_without_a_word():
    """`ctxai simulate --help | head -1`."""
    command = [sys.executable, "-m", "analysis.main", "simulate", "--help"]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **both) as run:
        run.stdout.close()
        assert (run.stderr.read(), run.wait()) == (b"", 141)


def test_a_pipe_is_no_folder_of_images(tmp_path):
    """Nobody writes to it: reading would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(recon.DataError, match="neither a file nor a folder"):
        recon.read_images(tmp_path / "pipe")
    with pytest.raises(recon.DataError, match="no such folder"):
        recon.read_scan(tmp_path / "pipe")


def test_a_scan_has_no_more_views_than_a_machine_holds():
    for how in ({"length": 99999.0}, {"length": 80.0, "pitch": 1e-5}):
        with pytest.raises(recon.DataError, match="too many views"):
            recon.flash_helical(**how)
