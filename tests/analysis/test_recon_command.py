"""`ctxai recon` and `ctxai simulate` on small scans, from files to DICOM."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from small_scans import BALL, write_small

from analysis.data.image_pairs import folder_pairs
from analysis.main import main
from recon.ctpd.read import read_scan
from recon.dicom.images import read_images
from recon.scan.at_dose import at_dose

COMMANDS = {
    # the ball's centre of mass, pixels of 3 mm and slices of 1 mm: measured 0.3 mm
    "place of the ball [mm]": 1.0,
    # added against predicted noise: 13 pixels across, 9 slices that overlap; over 12 seeds the
    # ratio is .991 ± .036, and that is its standard error
    "added noise, rel": 0.15,
    # variance of a scan of its own noise and added noise, which are independent: over 12 seeds
    # the ratio to the sum of both is .98 ± .042, and that is its standard error
    "sum of variances, rel": 0.17,
}
SMALL = ["--matrix", "64", "--fov", "192", "--slice-thickness", "1.5"]
TRUTH = {  # signs of x, y, z of the scanner in the patient's left, posterior, superior
    "HFS": (1, 1, 1), "HFP": (-1, -1, 1), "FFS": (-1, 1, -1), "FFP": (1, -1, -1),
}  # fmt: skip


def refusals(said):
    """What a command said on stderr, but for its notes."""
    return [line for line in said.strip().splitlines() if not line.startswith("ctxai: note:")]


@pytest.fixture(scope="module")
def scan_folder(tmp_path_factory):
    return write_small(tmp_path_factory.mktemp("scans") / "scan", seed=3)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def ball_in_patient(folder):
    """Centre of mass of what is dense, in patient coordinates, from the files alone."""
    total, moment = 0.0, np.zeros(3)
    for file in sorted(folder.glob("*.dcm")):
        ds = pydicom.dcmread(file)
        mass = np.maximum(ds.pixel_array.astype(float) - 400.0, 0.0)
        (sy, sx) = ds.PixelSpacing
        along_row, along_col = np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float)
        i, j = np.indices(mass.shape)
        corner = np.array(ds.ImagePositionPatient, dtype=float)
        places = corner + along_row * sx * j[..., None] + along_col * sy * i[..., None]
        total += mass.sum()
        moment += (mass[..., None] * places).sum(axis=(0, 1))
    return moment / total


@pytest.mark.parametrize("position", TRUTH)
def test_an_off_centre_ball_lands_in_its_octant(position, tmp_path):
    folder = write_small(tmp_path / "scan", position=position)
    out = tmp_path / "out"
    assert main(["recon", str(folder), "--out", str(out), *SMALL, "--z-range", "-2", "9"]) == 0
    expected = np.array(TRUTH[position]) * np.array(BALL)
    found = ball_in_patient(out)
    assert (np.sign(found) == np.sign(expected)).all()
    assert found == pytest.approx(expected, abs=COMMANDS["place of the ball [mm]"])


def test_recon_writes_a_series_with_its_record(scan_folder, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["recon", str(scan_folder), "--out", str(out), *SMALL, "--centre", "10", "-6"]
    assert main(argv) == 0
    assert "slices of 64²" in capsys.readouterr().out
    images = read_images(out)
    heights = images.positions[:, 2]
    assert np.allclose(np.diff(heights), 1.0) and heights[0] == round(heights[0])
    assert heights[0] < -1 and heights[-1] > 1
    assert images.positions[0, :2] == pytest.approx([10 - 94.5, -6 - 94.5])
    assert images.mas == pytest.approx(200) and images.kvp == 120
    middle = images.hu[len(images) // 2]
    assert abs(middle[28:36, 26:34].mean()) < 15  # water
    names = {item.name for item in out.iterdir()}
    assert {"run.json", "metrics.csv", "overview.png", "slice-001.dcm"} <= names
    assert len(names) == 3 + len(images)
    record = json.loads((out / "run.json").read_text())
    assert record["configuration"]["matrix"] == 64 and record["slices"]["slices"] == len(images)
    assert record["inputs"]["views"] == 288 and len(record["inputs"]["sha256"]) == 64
    assert record["backend"]["name"] == "numba" and record["versions"]["numba"]
    numbers = {row["name"]: float(row["value"]) for row in rows(out / "metrics.csv")}
    assert numbers["slices"] == len(images) and numbers["z_first"] == heights[0]
    picture = np.asarray(Image.open(io.BytesIO((out / "overview.png").read_bytes())).convert("L"))
    assert picture.shape[1] > 1000 and picture.std() > 10
    assert main(argv) == 2  # the folder is full
    assert "not empty" in capsys.readouterr().err


def test_a_preview_is_much_the_same_image(scan_folder, tmp_path):
    heights = ["--z-range", "-1", "1"]
    for name, more in (("full", []), ("preview", ["--preview"])):
        argv = ["recon", str(scan_folder), "--out", str(tmp_path / name), *SMALL, *heights, *more]
        assert main(argv) == 0
    full, preview = read_images(tmp_path / "full"), read_images(tmp_path / "preview")
    assert np.corrcoef(full.hu.ravel(), preview.hu.ravel())[0, 1] > 0.99
    assert not np.array_equal(full.hu, preview.hu)
    assert "preview" in pydicom.dcmread(preview.files[0]).SeriesDescription


@pytest.fixture(scope="module")
def simulated(scan_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "out"
    argv = ["simulate", str(scan_folder), "--mas", "20", "50", "--dose-fraction", "0.25", "1"]
    assert main([*argv, "--out", str(out), "--projections", *SMALL]) == 0
    return out


def test_simulate_writes_a_series_for_each_exposure(simulated, scan_folder):
    assert sorted(item.name for item in simulated.iterdir()) == [
        "mas-020", "mas-050", "mas-200", "metrics.csv", "overview.png", "run.json",
    ]  # fmt: skip
    assert read_images(simulated / "mas-020").mas == pytest.approx(20)
    record = json.loads((simulated / "run.json").read_text())
    assert record["seed"] == 1 and record["configuration"]["dose_fraction"] == [0.25, 1]
    assert [level["mas"] for level in record["exposures"]] == pytest.approx([200, 50, 20])


def test_its_folders_are_pairs_to_train_on(simulated, tmp_path):
    for patient in ("A", "B"):
        shutil.copytree(simulated, tmp_path / patient)
    low, high = (read_images(simulated / f"mas-{mas}") for mas in ("020", "200"))
    found = folder_pairs(
        tmp_path, patch=16, spacing=float(low.spacing[0]), seed=1, progress=False
    )  # fmt: skip
    assert found.patients == (1, 1)
    assert (found.mas, found.high_mas) == pytest.approx((20.0, 200.0), rel=1e-3)
    for ours, written in ((found.train.x, low.hu), (found.train.y, high.hu)):
        np.testing.assert_allclose(ours, written.clip(-1000), atol=1e-3)  # nothing is below air


def test_the_noise_is_what_the_rays_predict(simulated):
    found = {(float(row["mas"]), row["name"]): float(row["value"]) for row in rows(
        simulated / "metrics.csv"
    )}  # fmt: skip
    for mas in (20.0, 50.0):
        assert found[mas, "added_noise_sd"] == pytest.approx(
            found[mas, "added_noise_expected"], rel=COMMANDS["added noise, rel"]
        )
        both = found[200.0, "noise_sd"] ** 2 + found[mas, "added_noise_sd"] ** 2
        assert found[mas, "noise_sd"] ** 2 == pytest.approx(
            both, rel=COMMANDS["sum of variances, rel"]
        )
        assert 0 <= found[mas, "starved_share"] < 1e-3
    assert found[200.0, "added_noise_sd"] == found[200.0, "added_noise_expected"] == 0
    assert found[20.0, "noise_sd"] > found[50.0, "noise_sd"] > found[200.0, "noise_sd"]


def test_the_projections_are_those_of_at_dose(simulated, scan_folder):
    scan = read_scan(scan_folder)
    low = at_dose(scan, mas=20, seed=1)
    back = read_scan(simulated / "mas-020" / "projections")
    assert back.mas == pytest.approx(20) and back.geometry.shape == scan.geometry.shape
    step = back.line_integrals.scale[0]
    np.testing.assert_allclose(back.line_integrals[:], low.line_integrals[:], atol=0.51 * step)
    np.testing.assert_allclose(back.photons, scan.photons / 10, rtol=1e-6)


def test_any_number_of_threads_gives_the_same_bytes(scan_folder, tmp_path):
    def run(threads):
        out = tmp_path / f"threads-{threads}"
        argv = ["simulate", str(scan_folder), "--mas", "15", "--out", str(out), *SMALL]
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(threads)
            assert main([*argv, "--z-range", "0", "2", "--projections"]) == 0
        finally:
            torch.set_num_threads(before)
        files = sorted((out / "mas-015").rglob("*.dcm"))
        return {str(file.relative_to(out)): file.read_bytes() for file in files}

    one, three = run(1), run(3)
    assert len(one) == 3 + 288 and one == three


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["recon", "SCAN", "--fov", "0"], "--fov"),
        (["recon", "SCAN", "--fov", "9000"], "focal spot's orbit (--fov"),
        (["recon", "SCAN", "--slice-increment", "1e-9"], "too many slices"),
        (["recon", "SCAN", "--matrix", "0"], "--matrix"),
        (["recon", "SCAN", "--slice-increment", "-1"], "--slice-increment"),
        (["recon", "SCAN", "--window", "sharp"], "window"),
        (["recon", "SCAN", "--z-range", "5", "-5"], "--z-range"),
        (["recon", "SCAN", "--z-range", "0", "500"], "within"),
        (["recon", "SCAN", "--centre", "nan", "0"], "--centre"),
        (["recon", "SCAN", "--device", "cuda"], "cuda"),
        (["recon", "NOWHERE"], "no such folder"),
        (["simulate", "SCAN", "--mas", "201", *SMALL], "200 mAs"),
        (["simulate", "SCAN", "--mas", "0"], "--mas"),
        (["simulate", "SCAN", "--dose-fraction", "1.5", *SMALL], "dose_fraction"),
        (["simulate", "SCAN", "--mas", "10", "--seed", "-1"], "--seed"),
        (["simulate", "SCAN", "--mas", "10", "--electronic-noise", "-1"], "σe"),
        (["simulate", "SCAN"], "--mas"),
    ],
)
def test_bad_usage_is_one_line(argv, words, scan_folder, tmp_path, capsys):
    out = tmp_path / "out"
    named = {"SCAN": str(scan_folder), "NOWHERE": str(tmp_path / "nowhere")}
    assert main([*(named.get(word, word) for word in argv), "--out", str(out)]) == 2
    error = refusals(capsys.readouterr().err)
    assert len(error) == 1 and words in error[0]
    assert not out.exists() and list(tmp_path.iterdir()) == []


def test_a_scan_that_breaks_on_the_way_leaves_nothing(tmp_path, capsys):
    """A file that is shortened after the headers were read: one line, no half series."""
    folder = write_small(tmp_path / "scan")
    out = tmp_path / "out"
    from recon.ctpd import view_files

    kept = view_files.ViewFiles._content

    def broken(self, view):
        if view == 150:
            Path(self.paths[view]).write_bytes(b"")
        return kept(self, view)

    view_files.ViewFiles._content = broken
    try:
        assert main(["recon", str(folder), "--out", str(out), *SMALL]) == 2
    finally:
        view_files.ViewFiles._content = kept
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ctxai:")]
    error = [line for line in said if "note:" not in line]
    assert len(error) == 1 and "shortened" in error[0]
    assert not out.exists() and [item.name for item in tmp_path.iterdir()] == ["scan"]


@pytest.mark.parametrize("command", ["recon", "simulate"])
def test_help_teaches_with_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Example: ctxai {command} SCAN" in said
    for word in ("--fov", "--slice-thickness", "--z-range", "--window", "--preview"):
        assert word in said


def test_what_is_assumed_is_said_aloud(tmp_path, capsys):
    """Without PhotonStatistics the quanta are the tube model's; without a position it is HFS."""
    folder = write_small(tmp_path / "scan", seed=3)
    for file in folder.iterdir():
        ds = pydicom.dcmread(file)
        del ds[0x7033, 0x1065]
        del ds.PatientPosition
        ds.save_as(file)
    out = tmp_path / "out"
    argv = ["simulate", str(folder), "--mas", "50", "--out", str(out), *SMALL]
    assert main([*argv, "--z-range", "0", "0"]) == 0
    error = capsys.readouterr().err
    notes = json.loads((out / "run.json").read_text())["notes"]
    for words in ("tube model", "HFS assumed"):
        assert words in error and any(words in note for note in notes)
    assert pydicom.dcmread(out / "mas-050" / "slice-001.dcm").PatientPosition == "HFS"
