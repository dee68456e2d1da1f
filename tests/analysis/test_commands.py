"""The commands: what they leave behind, and how they refuse."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import torch
import zarr

from analysis.main import COMMANDS, main
from analysis.runs.quantities import BY_ID
from analysis.session.scene import open_scene
from ctxai.wiretap.wiretap import Wiretap
from recon.dicom.images import read_images
from recon.dicom.write import write_series
from recon.storage import digest_files

pytestmark = pytest.mark.usefixtures("few_scans")

ROOT = Path(__file__).resolve().parents[2]


def words(command, ct_folder, tiny_weights, out, *more):
    return [
        command, "--images", str(ct_folder), "--weights", str(tiny_weights.folder),
        "--out", str(out), *map(str, more),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def target_run(ct_folder, tiny_weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "target"
    more = ("--denoiser", "chen", "--mas", 10, 40, "-n", 20, "--draws", 2, "--roi", 36, 42)
    assert main(words("target-domain", ct_folder, tiny_weights, out, *more)) == 0
    return out


@pytest.fixture(scope="module")
def invariance_run(ct_folder, tiny_weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "invariances"
    more = ("--denoiser", "yang", "--layers", 1, "output", "-n", 5, "--tolerance-hu", 3)
    assert main(words("invariances", ct_folder, tiny_weights, out, *more)) == 0
    return out


def test_target_domain_leaves_a_whole_run(target_run, ct_folder, tiny_weights):
    record = json.loads((target_run / "run.json").read_text())
    assert record["seed"] == 1 and record["command"].startswith("ctxai target-domain")
    assert record["inputs"] == digest_files(sorted(ct_folder.glob("*.dcm")))
    assert record["versions"]["torch"]
    assert record["weights"]["sha256"] == tiny_weights.manifest["sha256"]
    scan = record["studies"][0]["scan"]
    assert scan["quanta_at_centre"] > 0 and "starved_share" in scan
    assert scan["backend"] and scan["backend_reason"]
    assert record["studies"][0]["weights"]["recipe"] == "untrained"
    assert any("pixels of 2 mm" in note for note in record["notes"])
    assert any("40 mAs" in note for note in record["notes"])
    root = zarr.open_group(str(target_run / "samples.zarr"), mode="r")
    group = root["target-domain-chen-mas-010"]
    assert group["ybar"].shape == (20, 16, 16)
    assert group["xprime"].shape == (20, 2, 16, 16)
    np.testing.assert_array_equal(root["target-domain-chen-mas-040"]["ybar"].shape, (20, 16, 16))
    rows = list(csv.DictReader((target_run / "metrics.csv").read_text().splitlines()))
    assert all(row["unit"] and row["should_be"] and row["meaning"] for row in rows)
    assert {row["id"] for row in rows} <= BY_ID.keys()
    assert {row["mas"] for row in rows} == {"10", "40"}


def test_low_dose_series_is_the_scan_that_was_studied(target_run, ct_folder):
    """DICOM output: all slices, derived, with new UIDs; noisier at the lower dose."""
    source = read_images(ct_folder)
    noise = {}
    for mas in (10, 40):
        low = read_images(target_run / f"mas-{mas:03d}")
        assert low.hu.shape == source.hu.shape and low.mas == mas
        np.testing.assert_allclose(low.positions, source.positions)
        noise[mas] = np.std((low.hu - source.hu)[:, 30:42, 25:35])
        header = pydicom.dcmread(low.files[0])
        assert list(header.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        assert header.SOPInstanceUID not in source.instance_uids
    assert 1.6 < noise[10] / noise[40] < 2.4


def test_invariances_leave_samples_of_each_layer(invariance_run):
    root = zarr.open_group(str(invariance_run / "samples.zarr"), mode="r")
    group = root["invariances-yang-mas-010"]
    assert group["layer-1/plain"].shape == (5, 16, 16)
    assert "layer-1/projected" not in group
    assert (group["layer-output/projected_distance"][...] <= 3.0).all()
    rows = csv.DictReader((invariance_run / "metrics.csv").read_text().splitlines())
    by_id = {row["id"]: row for row in rows}
    assert by_id.keys() <= BY_ID.keys()
    record = json.loads((invariance_run / "run.json").read_text())
    assert set(record["studies"][0]["verdicts"]) == {
        "1, plain", "output, plain", "output, projected",
    }  # fmt: skip
    # which of the last layer's last samples alter anatomy, in numbers, arrays and the report
    count = group["layer-output/projected"].shape[0]
    altered = record["studies"][0]["alterations"]
    assert sorted(one["sample"] for one in altered) == list(range(count))
    assert float(by_id["alterations"]["value"]) == sum(one["alters"] for one in altered)
    assert by_id["alterations"]["sampler"].endswith(", projected")
    assert "in x̄ than" in by_id["alterations"]["meaning"]
    assert {"invisible_noise_level", "off_lesion_contrast"} <= by_id.keys()
    d = group["alteration_d"][...]
    assert d[altered[0]["sample"]] == pytest.approx(altered[0]["d"], rel=1e-5)
    shown = [one["sample"] for one in altered[:4]]
    outputs = dict(zip(range(5), group["layer-output/projected_output"][...]))
    for k, image in zip(shown, group["alteration_output"][...], strict=True):
        if k in outputs:
            np.testing.assert_allclose(image, outputs[k], atol=1e-3)
    report = (invariance_run / "report.html").read_text()
    assert f"<th scope=row>x̄ {shown[0] + 1}</th>" in report and "<h2>Alterations</h2>" in report


@pytest.mark.parametrize("run", ["target_run", "invariance_run"])
def test_metrics_hold_the_verdict_of_each_set_with_its_reasons(run, request):
    out = request.getfixturevalue(run)
    with open(out / "metrics.csv", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["id"] == "verdict"]
    said = []
    for study in json.loads((out / "run.json").read_text())["studies"]:
        said += study["verdicts"].values() if "verdicts" in study else [study["verdict"]]
    assert len(rows) == len(said) >= 2
    assert all(verdict["kind"] and verdict["numbers"] for verdict in said)
    for row, verdict in zip(rows, said, strict=True):
        assert float(row["value"]) == verdict["holds"] and row["sampler"]
        for words in (verdict["label"], verdict["sentence"], *verdict["reasons"]):
            assert words in row["meaning"]
    report = (out / "report.html").read_text()
    assert report.count(said[0]["sentence"]) > 0 and "<th scope=row>verdict</th>" not in report


def test_the_report_is_made_again_from_the_run_alone(target_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(target_run, copy)
    first = (copy / "report.html").read_text()
    (copy / "report.html").unlink()
    assert main(["report", str(copy)]) == 0
    assert (copy / "report.html").read_text() == first


def test_a_mix_of_two_runs_is_refused(target_run, invariance_run, tmp_path, capsys):
    for part in ("metrics.csv", "samples.zarr"):
        copy = tmp_path / part.partition(".")[0]
        shutil.copytree(target_run, copy, ignore=shutil.ignore_patterns(part))
        other = invariance_run / part
        (shutil.copytree if other.is_dir() else shutil.copy)(other, copy / part)
        before = (copy / "report.html").read_text()
        assert main(["report", str(copy)]) == 2
        error = capsys.readouterr().err
        assert f"{part} is not the one that run.json was written with" in error
        assert len(error.splitlines()) == 1
        assert (copy / "report.html").read_text() == before


def test_the_same_command_gives_the_same_numbers(target_run, ct_folder, tiny_weights, tmp_path):
    more = ("--denoiser", "chen", "--mas", 10, "-n", 20, "--draws", 2, "--roi", 36, 42)
    assert main(words("target-domain", ct_folder, tiny_weights, tmp_path / "again", *more)) == 0
    again = (tmp_path / "again/metrics.csv").read_text().splitlines()
    assert again == (target_run / "metrics.csv").read_text().splitlines()[: len(again)]


def test_a_denoiser_of_ones_own_is_trained_once_and_kept(
    ct_folder, tiny_weights, tmp_path, monkeypatch, capsys
):
    import analysis.training.recipes
    from ctxai.sampling.model import InvarianceModel

    asked = []

    def train_for(f, *, name, digest, layers, domain, folder, **_):
        asked.append((name, len(digest), tuple(layers), domain, Path(folder)))
        model = tiny_weights.load_model("chen", "output", domain)
        return {
            layer: InvarianceModel(Wiretap(f, layer), model.vae, model.cinn, domain, facts={})
            for layer in layers
        }

    monkeypatch.setattr(analysis.training.recipes, "train_for", train_for)
    loads = tmp_path / "loads"
    (tmp_path / "mine.py").write_text(
        f"def same():\n    open({str(loads)!r}, 'a').write('.')\n    return lambda x: x\n"
    )
    out = tmp_path / "out"
    more = ("--denoiser", f"{tmp_path / 'mine.py'}:same", "-n", 4)
    assert main(words("invariances", ct_folder, tiny_weights, out, *more)) == 0
    assert loads.read_text() == "."  # loaded once, tried once
    printed = capsys.readouterr().out
    assert "mine.same, output, plain, 10 mAs: This layer is as good as injective" in printed
    assert "the median sample changes the output by" in printed
    assert asked == [("mine.same", 64, ("output",), "x", out / "trained")]
    group = zarr.open_group(str(out / "samples.zarr"), mode="r")["invariances-mine.same-mas-010"]
    x, fx = group["x"][...], group["fx"][...]
    np.testing.assert_array_equal(x, fx)  # the identity changes nothing: 0 HU
    change = group["layer-output/projected"][...] - x
    assert np.sqrt(np.mean(change**2, axis=(1, 2))).max() <= 3.0


def fails(capsys, argv, out, *expected):
    assert main([str(word) for word in argv]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    error = [line for line in error if not line.startswith("ctxai: note:")]
    assert len(error) == 1, error
    assert error[0].startswith("ctxai: ")
    assert not out.exists()
    assert [item.name for item in out.parent.iterdir() if ".partial" in item.name] == []
    for word in expected:
        assert word in error[0]


@pytest.mark.parametrize("command", ["target-domain", "invariances"])
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--mas", "-10"], "--mas"),
        (["--mas", "0"], "--mas"),
        (["-n", "0"], "-n"),
        (["-n", "1000000000000"], "too many"),
        (["--roi", "2", "40"], "--roi"),
        (["--roi", "36", "400"], "--roi"),
        (["--slice", "3"], "--slice"),
        (["--kvp", "60"], "kV"),
        (["--seed", "-1"], "--seed"),
        (["--denoiser", "nobody"], "nobody"),
        (["--denoiser", "no/such/file.py:make"], "file.py"),
        (["--colour", "red"], "--colour"),
        (["-n", "many"], "many"),
        (["--device", "cuda"], "cuda"),
        (["--sampler", "cinn", "--patch", "24"], "--patch"),
        (["--weights", "no/such/weights"], "no/such/weights"),
    ],
)
def test_bad_usage_is_one_line(
    command, more, expected, ct_folder, tiny_weights, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out = tmp_path / "out"
    argv = words(command, ct_folder, tiny_weights, out, "--denoiser", "chen", *more)
    fails(capsys, argv, out, expected)


def test_unknown_layer_is_one_line(ct_folder, tiny_weights, tmp_path, capsys):
    out = tmp_path / "out"
    more = ("--denoiser", "chen", "--layers", "output", "17")
    fails(capsys, words("invariances", ct_folder, tiny_weights, out, *more), out, "17")


def test_bad_input_is_one_line(ct_folder, tiny_weights, tmp_path, capsys):
    out = tmp_path / "out"
    empty, broken, other = (tmp_path / name for name in ("empty", "broken", "mr"))
    empty.mkdir()
    (empty / "notes.txt").write_text("no image")
    shutil.copytree(ct_folder, broken)
    file = sorted(broken.iterdir())[1]
    file.write_bytes(file.read_bytes()[:-4000])
    other.mkdir()
    mr = pydicom.dcmread(sorted(ct_folder.iterdir())[0])
    mr.Modality = "MR"
    mr.SOPClassUID = mr.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    mr.save_as(other / "mr.dcm")
    for folder, expected in (
        (tmp_path / "missing", "missing"),
        (empty, "empty"),
        (broken, file.name),
        (other, "mr.dcm"),
    ):
        argv = words("target-domain", folder, tiny_weights, out, "--denoiser", "chen")
        fails(capsys, argv, out, expected)


NUMPY = "import torch\ndef make():\n    return lambda x: torch.from_numpy(0.9 * x.numpy())\n"


def test_what_needs_a_derivative_is_refused_where_there_is_none(
    ct_folder, tiny_weights, tmp_path, capsys
):
    """d' is a derivative's; and one that is not that of the answers is refused by its number."""
    (tmp_path / "mine.py").write_text(NUMPY)
    own = ("--denoiser", f"{tmp_path / 'mine.py'}:make")
    argv = words("projection-domain", ct_folder, tiny_weights, tmp_path / "out", *own)
    said = ("cannot be differentiated", "without NumPy", "target-domain")
    fails(capsys, argv, tmp_path / "out", *said)
    (tmp_path / "mine.py").write_text("def make():\n    return lambda x: 0.5 * (x + x.detach())\n")
    for command in ("invariances", "projection-domain"):
        argv = words(command, ct_folder, tiny_weights, tmp_path / "out", *own)
        fails(capsys, argv, tmp_path / "out", "Jv is 50 % off finite differences")


def test_without_a_derivative_plain_samples_are_drawn_and_the_rest_is_named(
    ct_folder, tiny_weights, tmp_path, monkeypatch, capsys
):
    import analysis.training.recipes
    from ctxai.sampling.model import InvarianceModel

    def train_for(f, *, layers, domain, **_):
        model = tiny_weights.load_model("chen", "output", domain)
        return {
            layer: InvarianceModel(Wiretap(f, layer), model.vae, model.cinn, domain, facts={})
            for layer in layers
        }

    monkeypatch.setattr(analysis.training.recipes, "train_for", train_for)
    (tmp_path / "mine.py").write_text(NUMPY)
    more = ("--denoiser", f"{tmp_path / 'mine.py'}:make", "-n", 4)
    for command in ("invariances", "target-domain"):
        out = tmp_path / command
        assert main(words(command, ct_folder, tiny_weights, out, *more)) == 0
        told = "samples are not projected, and the near-null space is not looked at"
        assert (told in capsys.readouterr().err) == (command == "invariances")
    table = (tmp_path / "invariances/metrics.csv").read_text()
    assert "near_null" not in table and "projected" not in table and "verdict" in table


def test_what_projection_costs_is_said_before_it_is_paid(tmp_path, monkeypatch, capsys):
    """A step that takes twice as long, or twice as many samples, costs twice as much."""
    from analysis.commands.invariances import InvarianceOptions, _note_cost
    from ctxai import InPlace, Window, Wiretap
    from ctxai.sampling import cost
    from ctxai.sampling.fibre import at_once

    now = iter(range(0, 30000, 30))
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: float(next(now))))
    asked = {"images": tmp_path, "denoiser": "own.py:make", "out": tmp_path}
    model = SimpleNamespace(wiretap=Wiretap(torch.relu, "output"))
    place = InPlace(torch.relu, Window(0, 0, (16, 16), (16, 16)), torch.ones(16, 16))
    said, step = [], at_once(place.surroundings)  # as many samples as one step is measured with
    for n, layers in ((step, ["output"]), (2 * step, ["output"]), (2 * step, ["output", "1"])):
        options = InvarianceOptions(**asked, n=n)
        _note_cost(options, dict.fromkeys(layers, model), place)
        said.append(re.search(r"projecting (\d+) .* about (\d+) minutes", capsys.readouterr().err))
    counts, minutes = zip(*((int(found[1]), int(found[2])) for found in said))
    assert counts == (step, 2 * step, 2 * step)
    assert minutes[1] == minutes[2] == 2 * minutes[0]  # none are projected after layer 1


def test_a_unit_is_declared_and_recorded(ct_folder, tiny_weights, tmp_path, capsys):
    out, known = tmp_path / "out", ("--denoiser", "chen", "--input", "water")
    fails(capsys, words("target-domain", ct_folder, tiny_weights, out, *known), out, "--input")
    (tmp_path / "mine.py").write_text("def make():\n    return lambda x: x.clamp(0, 4095)\n")
    own = ("--denoiser", f"{tmp_path / 'mine.py'}:make", "--draws", 12, "--roi", 36, 42)
    argv = words("projection-domain", ct_folder, tiny_weights, out, *own)
    fails(capsys, argv, out, "air (-1000 HU) comes out", "try --input hu+1024")
    assert main([*argv, "--input", "hu+1000"]) == 0
    assert '"input": "hu+1000"' in (out / "run.json").read_text()


def test_an_empty_slice_is_noted(tmp_path, tiny_weights, capsys):
    air = np.full((1, 72, 80), -1000.0)
    write_series(
        tmp_path / "air", air, spacing=(2.0, 2.0), slice_thickness=1.5, positions=[0.0],
        series_description="air", kvp=120.0, mas=150.0,
    )  # fmt: skip
    open_scene(tmp_path / "air", number=None, roi=None, kvp=None, weights=tiny_weights)
    assert "nothing denser than -300 HU" in capsys.readouterr().err


def test_training_says_what_it_does_not_take_and_when_there_is_nothing_to_do(tmp_path, capsys):
    out = tmp_path / "out"
    for more in (["--layers", "4"], ["--sampler", "flow", "--preset", "talk"]):
        fails(capsys, ["train", "--out", out, *more], out, "--denoiser")
    assert main(["train", "--denoiser", "chen", "--out", str(out)]) == 0
    assert "nothing to train" in capsys.readouterr().out and not out.exists()


def test_output_that_is_a_file_is_refused(ct_folder, tiny_weights, tmp_path, capsys):
    out = tmp_path / "out"
    out.write_text("precious")
    argv = words("target-domain", ct_folder, tiny_weights, out, "--denoiser", "chen")
    assert main(argv) == 2
    argv = words("target-domain", ct_folder, tiny_weights, out / "sub", "--denoiser", "chen")
    assert main(argv) == 2
    assert main(["train", "--preset", "talk", "--out", str(out / "sub")]) == 2
    assert out.read_text() == "precious"


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["report"], ["report", "no/such/run"]])
def test_misuse_of_the_program_is_one_line(argv, capsys):
    assert main(argv) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_defect_keeps_its_traceback(monkeypatch, capsys, tmp_path):
    import analysis.report.page

    def broken(out):
        raise RuntimeError("a bug")

    monkeypatch.setattr(analysis.report.page, "write_report", broken)
    (tmp_path / "run.json").write_text('{"studies": []}')
    assert main(["report", str(tmp_path)]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_teaches(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example: ctxai" in text


def test_help_of_the_program_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys; from analysis.main import main; status = main(['--help'])\n"
        "print(status, [name for name in ('torch', 'numba', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert all(name in done.stdout for name in COMMANDS)


def test_the_process_ends_with_the_status(tmp_path):
    argv = ["target-domain", "--images", str(tmp_path / "none"), "--denoiser", "chen"]
    done = subprocess.run(
        [sys.executable, "-m", "analysis.main", *argv, "--out", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
