"""What a projection scan needs to be told: geometry, position, and what is in OUT already."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from small_scans import small_scan

from analysis import session
from analysis.main import main
from analysis.projections.slices import SliceOptions, plan_slices
from recon.ctpd.read import read_scan
from recon.ctpd.write import write_scan
from recon.dicom.images import read_images
from recon.phantom.exact.ellipsoids import water_with_inserts
from recon.storage import digest_files

SMALL = ["--matrix", "32", "--fov", "192"]
FEW = [*SMALL, "--z-range", "0", "1"]
FITTED = 3.0  # HU rms to the true images that what fits may have; what is stated has 5.7


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """One scan with the column centre as it is, and with the other sign."""
    folder = tmp_path_factory.mktemp("scans")
    scan = small_scan(seed=4, phantom=water_with_inserts(0.0193), turns=2.5)
    write_scan(scan, folder / "true")
    wrong = replace(scan.geometry, col_offset=-scan.geometry.col_offset)
    write_scan(scan.changed(geometry=wrong), folder / "wrong")
    return folder


@pytest.mark.parametrize("argv", [["recon"], ["simulate", "--mas", "50"]])
def test_a_geometry_that_does_not_fit_is_refused_with_a_way_out(argv, scans, tmp_path, capsys):
    command, *more = argv
    out = tmp_path / "out"
    assert main([command, str(scans / "wrong"), *more, "--out", str(out), *FEW]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    for words in (
        "as stated does not fit", "column centre mirrored", "--geometry as-fitted",
        "--geometry as-stated",
    ):  # fmt: skip
        assert words in line
    assert list(tmp_path.iterdir()) == []


def run(scan, out, *more):
    assert main(["recon", str(scan), "--out", str(out), *FEW, *more]) == 0
    return read_images(out), json.loads((out / "run.json").read_text())


@pytest.fixture(scope="module")
def fitted(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted")
    return {
        "true": run(scans / "true", out / "true"),
        "as-stated": run(scans / "wrong", out / "stated", "--geometry", "as-stated"),
        "as-fitted": run(
            scans / "wrong", out / "fitted", "--geometry", "as-fitted", "--patient-position", "FFS"
        ),
    }


def test_what_fits_gives_the_true_images_and_what_is_stated_does_not(fitted):
    true, fits, stated = (fitted[name][0].hu for name in ("true", "as-fitted", "as-stated"))
    assert np.sqrt(np.mean((fits - true) ** 2)) < FITTED
    assert np.sqrt(np.mean((stated - true) ** 2)) > FITTED


def test_the_choice_is_on_record(fitted):
    for name, words in (
        ("as-stated", "does not fit the data and is used all the same"),
        ("as-fitted", "does not fit the data; taken: column centre mirrored"),
    ):
        record = fitted[name][1]
        assert record["audit"][0]["verdict"] == "does not fit"
        assert any(words in note for note in record["notes"])
        assert record["configuration"]["geometry"] == name
    assert fitted["true"][1]["audit"][0]["verdict"] == "fits"
    assert fitted["true"][1]["configuration"]["geometry"] is None
    assert fitted["true"][1]["inputs"]["views"] == 240


def test_the_position_of_the_patient_is_as_asked_for(fitted):
    images, record = fitted["as-fitted"]
    assert pydicom.dcmread(images.files[0]).PatientPosition == "FFS"
    assert any("position FFS as asked for, HFS stated" in note for note in record["notes"])


def test_what_will_be_done_is_said_before(fitted):
    (said,) = [note for note in fitted["true"][1]["notes"] if "slices of" in note]
    assert said == (
        "2 slices of 32², 192 mm wide, z 0.0 to 1.0 mm, 1.5 mm thick, window hann; about 1 s"
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--patient-position", "upside"], "--patient-position"),
        (["--geometry", "guessed"], "--geometry"),
        (["--slice-thickness", "500"], "--slice-thickness"),
        (["--z-range", "-50", "50"], "--z-range"),
        (["--centre", "450", "0", "--fov", "100"], "outside the measured field"),
    ],
)
def test_what_cannot_be_is_refused(more, words, scans, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["recon", str(scans / "true"), "--out", str(out), *SMALL, *more]
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line and not out.exists()


def test_images_partly_outside_the_field_are_told(scans):
    scan = read_scan(scans / "true")
    radius = scan.geometry.field_radius
    options = SliceOptions(fov=192, matrix=32, centre=(radius, 0.0), z_range=(0.0, 1.0))
    with pytest.warns(UserWarning, match=r"% of the image lies outside the measured field") as told:
        plan_slices(scan, options)
    share = float(str(told[0].message).split()[0])
    assert 50 < share < 75  # its middle is at the border, which curves inward
    plan_slices(scan, replace(options, centre=(0.0, 0.0)))


def test_verify_reads_the_pixels(scans, tmp_path, capsys):
    assert main(["verify", str(scans / "true")]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("OK: 240 views") and not said.err
    scan = read_scan(scans / "true")
    for k, file in enumerate(scan.files):
        content = bytearray(Path(file).read_bytes())
        if k == 100:
            content[int(scan.line_integrals.offsets[k]) :] = bytes(2 * 92 * 16)
        (tmp_path / f"{k}.dcm").write_bytes(content)
    assert main(["verify", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "100.dcm, PixelData (7FE0,0010)" in line


def test_results_are_not_replaced_unasked_and_never_mixed(scans, tmp_path, capsys):
    """`inspect` where `recon` left a series: refused; with --overwrite nothing of that stays."""
    out = tmp_path / "out"
    run(scans / "true", out)
    (out / "notes.txt").write_text("mine")
    (out / "trained").mkdir()
    before = sorted(item.name for item in out.iterdir())
    for argv in (
        ["inspect", str(scans / "true")],
        ["recon", str(scans / "true"), *FEW],
        ["simulate", str(scans / "true"), "--mas", "50", *FEW],
    ):
        assert main([*argv, "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert "folder is not empty" in error and "--overwrite" in error
        assert sorted(item.name for item in out.iterdir()) == before
    (out / "figures").mkdir()
    assert main(["inspect", str(scans / "true"), "--out", str(out), "--overwrite"]) == 0
    assert sorted(item.name for item in out.iterdir()) == [
        "metrics.csv", "notes.txt", "run.json", "scan.png", "trained",
    ]  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert sorted(record["parts"]) == ["metrics.csv", "scan.png"]


def test_networks_that_were_trained_do_not_bar_a_folder(scans, tmp_path):
    (tmp_path / "out" / "trained").mkdir(parents=True)
    assert main(["inspect", str(scans / "true"), "--out", str(tmp_path / "out")]) == 0


def test_a_series_is_chosen_by_name(ct_folder, tmp_path, capsys):
    both = tmp_path / "both"
    both.mkdir()
    for file in ct_folder.iterdir():
        ds = pydicom.dcmread(file)
        for number, name in ((1, "soft"), (2, "hard")):
            ds.SeriesNumber, ds.SeriesDescription = number, name
            ds.SeriesInstanceUID = f"1.2.{number}"
            ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.{number}"
            ds.save_as(both / f"{name}-{file.name}")
    out = tmp_path / "out"
    argv = ["simulate", "--images", str(both), "--mas", "50", "--out", str(out)]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert "1 'soft'" in error and "2 'hard'" in error and "--series" in error
    assert main([*argv, "--series", "firm"]) == 2
    assert "'firm'" in capsys.readouterr().err
    found = session.open_images(
        both, series="hard", kvp=None, image_mas=None, options=SliceOptions(), electronic_noise=3.0,
        seed=1,
    ).images  # fmt: skip
    assert found.inputs().keys() == {f"hard-{file.name}" for file in ct_folder.iterdir()}
    assert found.inputs() == digest_files(found.files)
    assert main(["simulate", str(both), "--mas", "5", "--out", str(out), "--series", "1"]) == 2
    assert "--series" in capsys.readouterr().err
