"""`ctxai simulate --images`: the noise that is missing, and images in and out in every format."""

import csv
import json

import numpy as np
import pydicom
import pytest
from small_scans import write_small

from analysis.main import main
from analysis.scanner.low_dose import low_dose_slices, thinned_slices
from recon.dicom.images import read_images
from recon.dicom.write import write_series
from recon.storage import read_json
from recon.volumes.files import write_volume

SLICES = 3
PLACES = [(-60.25, -80.5, 12.0 + 3.0 * k) for k in range(SLICES)]
IMAGE = {
    # measured 1.01 of the variance of the rays' noise: three circles of 40 mm, 300 pixels each
    "added noise, rel": 0.15,
}


def small_body(rows=72, cols=80):
    """A water ellipse off the centre with an insert, pixels of 2 mm [HU]."""
    y = ((np.arange(rows) - (rows - 1) / 2) * 2.0)[:, None]
    x = ((np.arange(cols) - (cols - 1) / 2) * 2.0)[None, :]
    hu = np.where(np.hypot((x + 4) / 1.1, y - 3) < 50, 0.0, -1000.0)
    return (hu + 300.0 * (np.hypot(x - 18, y + 14) < 8)).astype(np.float32)


def series(folder, mas=200.0, kvp=120.0):
    hu = np.stack([small_body()] * SLICES)
    if mas is not None:
        hu = low_dose_slices(hu, (2.0, 2.0), mas=200.0, kvp=120.0, slice_thickness=3.0, seed=7)
    write_series(
        folder, hu, spacing=(2.0, 2.0), slice_thickness=3.0, positions=PLACES,
        series_description="high dose", kvp=kvp, mas=mas,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def high(tmp_path_factory):
    return series(tmp_path_factory.mktemp("high") / "dicom")


@pytest.fixture(scope="module")
def done(high, tmp_path_factory):
    out = tmp_path_factory.mktemp("low") / "out"
    argv = ["simulate", "--images", str(high), "--mas", "20", "50", "--dose-fraction", "0.25", "1"]
    assert main([*argv, "--out", str(out), "--volume", "nii.gz"]) == 0
    return out


def test_a_series_for_each_exposure_and_a_record(done, high):
    pytest.importorskip("nibabel", reason="nibabel is not installed: pip install '.[images]'")
    assert sorted(item.name for item in done.iterdir()) == [
        "mas-020", "mas-050", "mas-200", "metrics.csv", "overview.png", "run.json",
    ]  # fmt: skip
    record = json.loads((done / "run.json").read_text())
    assert record["configuration"]["images"] == str(high) and record["seed"] == 1
    assert [level["folder"] for level in record["exposures"]] == ["mas-200", "mas-050", "mas-020"]
    assert record["images"]["mas"] == [200, 200] and len(record["inputs"]) == SLICES
    assert any("has the texture" in note for note in record["notes"])
    source, low = read_images(high), read_images(done / "mas-020")
    assert low.mas == 20.0 and low.kvp == 120.0 and low.spacing == source.spacing
    assert np.array_equal(low.positions, source.positions)
    assert np.array_equal(read_images(done / "mas-200").hu, source.hu), "nothing is missing"
    ds, of = pydicom.dcmread(low.files[1]), pydicom.dcmread(source.files[1])
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == of.SOPInstanceUID
    assert ds.SeriesInstanceUID != of.SeriesInstanceUID
    other = pydicom.dcmread(read_images(done / "mas-050").files[1])
    assert ds.FrameOfReferenceUID == other.FrameOfReferenceUID


def test_the_images_are_the_thinned_ones_and_the_noise_is_told(done, high):
    source = read_images(high)
    x = thinned_slices(
        source.hu, source.spacing, image_mas=200, mas=20, kvp=120, slice_thickness=3.0, seed=1
    )
    assert np.abs(read_images(done / "mas-020").hu - x).max() <= 0.5
    with open(done / "metrics.csv") as file:
        rows = {(row["mas"], row["name"]): float(row["value"]) for row in csv.DictReader(file)}
    assert rows["200", "added_noise_sd"] == 0.0
    lacks = {mas: 1 / mas - 1 / 200 for mas in (20, 50)}
    ratio = rows["20", "added_noise_sd"] ** 2 / rows["50", "added_noise_sd"] ** 2
    assert ratio == pytest.approx(lacks[20] / lacks[50], rel=IMAGE["added noise, rel"])


def test_the_volume_beside_holds_the_same_slices(done):
    pytest.importorskip("nibabel", reason="nibabel is not installed: pip install '.[images]'")
    dicom, volume = (read_images(done / "mas-050" / name) for name in ("", "slices.nii.gz"))
    assert np.array_equal(dicom.hu, volume.hu)
    assert volume.positions == pytest.approx(dicom.positions, abs=1e-4)


@pytest.mark.parametrize("form", ["nii", "nrrd"])
def test_a_volume_goes_in_as_the_series_does(form, done, high, tmp_path):
    pytest.importorskip("nibabel", reason="nibabel is not installed: pip install '.[images]'")
    source = read_images(high)
    file = write_volume(tmp_path / f"ct.{form}", source.hu, like=source)
    argv = ["simulate", "--images", str(file), "--kvp", "120", "--image-mas", "200", "--mas", "20"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    there = read_images(tmp_path / "out" / "mas-020")
    assert np.array_equal(there.hu, read_images(done / "mas-020").hu)
    assert there.positions == pytest.approx(source.positions, abs=1e-6)


def test_what_will_be_computed_and_how_long_is_said_before_it_is(done):
    """Three exposures of three small slices: about a second."""
    (said,) = [note for note in read_json(done / "run.json")["notes"] if "slices, window" in note]
    assert said == "3 slices, window hann, at 200, 50, 20 mAs each; about 1 s"


def test_noise_free_images_are_scanned_as_a_whole(tmp_path):
    folder = series(tmp_path / "anatomy", mas=None)
    argv = ["simulate", "--images", str(folder), "--image-mas", "noise-free", "--mas", "300", "20"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    source = read_images(folder)
    x = low_dose_slices(source.hu, (2.0, 2.0), mas=20, kvp=120, slice_thickness=3.0, seed=1)
    found = read_images(tmp_path / "out" / "mas-020")
    assert np.abs(found.hu - x).max() <= 0.5
    assert pydicom.dcmread(found.files[0]).ConvolutionKernel == "hann"


def test_slices_of_several_exposures_each_lack_what_they_lack(tmp_path):
    hu = np.stack([small_body()] * 2)
    write_series(
        tmp_path / "high", hu, spacing=(2.0, 2.0), slice_thickness=3.0, positions=PLACES[:2],
        series_description="modulated", kvp=120.0, mas=[100.0, 200.0],
    )  # fmt: skip
    argv = ["simulate", "--images", str(tmp_path / "high"), "--dose-fraction", "0.5"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    with pytest.warns(UserWarning, match="varies from 50 to 100 mAs"):
        low = read_images(tmp_path / "out" / "mas-075")
    assert low.exposures.tolist() == [50.0, 100.0]
    added = (low.hu - hu).std(axis=(1, 2))
    assert added[0] / added[1] == pytest.approx(2**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--mas", "201"], "at most 200 mAs, the images' own, got 201 mAs"),
        (["--mas", "60", "--image-mas", "50"], "at most 50 mAs"),
        (["--dose-fraction", "1.5"], "at most 1, got 1.5"),
        (["--dose-fraction", "0.5", "--image-mas", "noise-free"], "give --mas"),
        (["--mas", "10", "--image-mas", "-5"], "--image-mas"),
        (["--mas", "10", "--matrix", "64"], "--matrix"),
        (["--mas", "10", "--slice-increment", "2"], "--slice-increment"),
        (["--mas", "10", "--projections"], "--projections"),
        (["--mas", "10", "--window", "sharpest"], "sharpest"),
        (["--mas", "10", "--kvp", "7"], "7"),
        ([], "--dose-fraction"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(more, words, high, tmp_path, capsys):
    assert main(["simulate", "--images", str(high), *more, "--out", str(tmp_path / "out")]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "ctxai: note" not in x]
    assert words in line
    assert not (tmp_path / "out").exists()


def test_one_input_and_its_exposure(high, tmp_path, capsys):
    out = ["--mas", "10", "--out", str(tmp_path / "out")]
    assert main(["simulate", *out]) == 2
    assert "got neither" in capsys.readouterr().err
    assert main(["simulate", "SCAN", "--images", str(high), *out]) == 2
    assert "got both" in capsys.readouterr().err
    assert main(["simulate", "SCAN", "--image-mas", "100", *out]) == 2
    assert "--image-mas" in capsys.readouterr().err
    silent = series(tmp_path / "silent", mas=None)
    assert main(["simulate", "--images", str(silent), *out]) == 2
    assert "--image-mas noise-free" in capsys.readouterr().err
    silent = series(tmp_path / "without", kvp=None)
    assert main(["simulate", "--images", str(silent), *out]) == 2
    assert "give --kvp" in capsys.readouterr().err


@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_recon_writes_the_slices_as_a_volume_too(position, tmp_path):
    pytest.importorskip("nrrd", reason="pynrrd is not installed: pip install '.[images]'")
    scan = write_small(tmp_path / "scan", position=position)
    argv = ["recon", str(scan), "--matrix", "48", "--fov", "192", "--z-range", "-2", "4"]
    assert main([*argv, "--out", str(tmp_path / "out"), "--volume", "nrrd"]) == 0
    dicom, volume = read_images(tmp_path / "out"), read_images(tmp_path / "out" / "slices.nrrd")
    assert brightest(volume) == pytest.approx(brightest(dicom), abs=1e-6)


def brightest(images):
    """Where in the patient the densest voxel lies, and what it reads."""
    k, i, j = np.unravel_index(images.hu.argmax(), images.hu.shape)
    across, down = np.reshape(images.orientation, (2, 3))
    (sy, sx) = images.spacing
    return [*(images.positions[k] + across * j * sx + down * i * sy), images.hu.max()]
