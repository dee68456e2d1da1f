"""`ctxai inspect` and `ctxai verify` on projection scans, good and broken."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from ctpd_files import OLD, Series, datasets, save, write
from PIL import Image
from small_scans import small_scan

from analysis.main import main
from recon.ctpd.read import read_scan
from recon.ctpd.write import write_scan
from recon.phantom.exact.ellipsoids import water_with_inserts

MARKER = "Mustermann-Erika"  # too long to stand in a picture by chance


@pytest.fixture
def scan_folder(tmp_path):
    views = datasets(Series(feed=-12.0))
    for ds in views:
        ds.PatientName = MARKER
        ds.InstitutionName = MARKER
    return save(tmp_path / "scan", views)


def test_inspect_prints_the_scan(scan_folder, capsys):
    assert main(["inspect", str(scan_folder)]) == 0
    said = capsys.readouterr()
    lines = dict(line.split("  ", 1) for line in said.out.strip().splitlines())
    assert lines["scanner"].strip() == "SIEMENS, 120 kV, 0.5 s a turn"
    assert "24, 16 a turn, 1.5 turns" in lines["views"]
    assert "8 rows × 16 columns" in lines["detector"]
    assert "into the gantry, 12 mm a turn" in lines["table"]
    assert "FFSZ" in lines["focal spot"] and "Δz -0.66 mm, Δρ 5.45 mm" in lines["focal spot"]
    assert "mAs a turn" in lines["exposure"] and "effective" in lines["exposure"]
    assert "CTDIvol 12.5 mGy" in lines["dose"]
    assert "at the centre" in lines["quanta"] and "at the edge" in lines["quanta"]
    assert "z 82.8 to 100.0 mm" in lines["span"]
    assert MARKER not in said.out + said.err


def test_inspect_draws_the_scan(scan_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["inspect", str(scan_folder), "--out", str(out)]) == 0
    assert sorted(item.name for item in out.iterdir()) == ["metrics.csv", "run.json", "scan.png"]
    picture = np.asarray(Image.open(io.BytesIO((out / "scan.png").read_bytes())).convert("L"))
    assert picture.shape[0] > 500 and picture.std() > 10
    rows = {
        row["name"]: row for row in csv.DictReader((out / "metrics.csv").read_text().splitlines())
    }
    assert float(rows["feed"]["value"]) == pytest.approx(-12, rel=1e-4)
    assert rows["feed"]["unit"] == "mm" and float(rows["views"]["value"]) == 24
    photons = [Series().photons(k)[8] for k in range(24)]
    assert float(rows["quanta_at_centre"]["value"]) == pytest.approx(np.median(photons), rel=1e-6)
    record = json.loads((out / "run.json").read_text())
    assert record["scan"]["patient"] == "HFS" and record["versions"]["pydicom"]
    for file in out.iterdir():
        assert MARKER.encode() not in file.read_bytes()
    assert str(out / "scan.png") in capsys.readouterr().out


def test_what_is_assumed_is_said_aloud(tmp_path, capsys):
    folder = write(tmp_path / "scan", creator=OLD, position="")
    assert main(["inspect", str(folder)]) == 0
    error = capsys.readouterr().err
    assert "HFS assumed" in error and "tube model" in error


def test_verify_says_ok_in_one_line(scan_folder, capsys):
    assert main(["verify", str(scan_folder)]) == 0
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("OK: 24 views of 8 × 16")


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_broken_scan_is_one_line(command, scan_folder, tmp_path, capsys):
    out = tmp_path / "out"
    argv = [command, str(scan_folder), *(["--out", str(out)] if command == "inspect" else [])]
    file = sorted(scan_folder.iterdir())[5]
    content = file.read_bytes()
    file.unlink()
    assert main(argv) == 2
    missing = capsys.readouterr().err.strip().splitlines()
    assert len(missing) == 1 and "missing" in missing[0] and "expected" in missing[0]
    file.write_bytes(content[:-20])
    assert main(argv) == 2
    cut = capsys.readouterr().err.strip().splitlines()
    assert len(cut) == 1 and file.name in cut[0] and "truncated" in cut[0]
    assert main([command, str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not out.exists()


def test_a_phantom_is_a_scan_that_reads_back(tmp_path, capsys):
    """Geometry, exposure and rays of the Flash, with little enough noise to see the water."""
    out = tmp_path / "scan"
    argv = ["phantom", "--out", str(out), "--length", "0.5", "--mas", "400", "--table", "out"]
    assert main(argv) == 0
    assert "16 views" in capsys.readouterr().out
    scan = read_scan(out)
    g = scan.geometry
    assert g.shape == (16, 64, 736) and g.focal_spot == "FFSZ" and scan.vendor == "SIEMENS"
    assert g.table_direction == "out of the gantry" and g.patient_position == "HFS"
    assert scan.mas == pytest.approx(400) and scan.mu_water == 0.0193
    exact = water_with_inserts(0.0193).line_integrals(g)
    error = scan.line_integrals[:] - exact
    counts = scan.photons[:, None, :] * np.exp(-exact)
    assert np.std(error * np.sqrt(counts)) == pytest.approx(1, abs=0.02)
    assert main(argv) == 2  # the folder is full
    assert "not empty" in capsys.readouterr().err


def test_a_phantom_without_noise_is_exact(tmp_path):
    out = tmp_path / "scan"
    argv = ["phantom", "--out", str(out), "--length", "0.3", "--scanner", "discovery", "--no-noise"]
    assert main(argv) == 0
    scan = read_scan(out)
    assert scan.vendor == "GE MEDICAL SYSTEMS"
    assert scan.geometry.col_offset == pytest.approx(0.25, abs=1e-4)
    exact = water_with_inserts(0.0193).line_integrals(scan.geometry)
    step = scan.line_integrals.slopes[0]
    np.testing.assert_allclose(scan.line_integrals[:], exact, atol=0.51 * step + 2e-5)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--mas", "0"], "--mas"),
        (["--pitch", "-1"], "--pitch"),
        (["--length", "0"], "--length"),
        (["--kvp", "60"], "kV"),
        (["--anatomy", "fish"], "--anatomy"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_impossible_phantoms_are_one_line(more, words, tmp_path, capsys):
    out = tmp_path / "scan"
    assert main(["phantom", "--out", str(out), "--length", "0.3", *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and words in error[0] and not out.exists()


def test_inspect_asks_the_data_whether_the_geometry_is_true(tmp_path, capsys):
    """The column centre as it is, and with the other sign, which GE files invite to."""
    scan = small_scan(seed=4, phantom=water_with_inserts(0.0193), n_cols=92)
    wrong = replace(scan.geometry, col_offset=-scan.geometry.col_offset)
    write_scan(scan, tmp_path / "true")
    write_scan(scan.changed(geometry=wrong), tmp_path / "wrong")
    assert main(["inspect", str(tmp_path / "true")]) == 0
    said = capsys.readouterr()
    assert "geometry audit" in said.out and "quanta alone" in said.out
    table = {line.strip().split("  ")[0]: line for line in said.out.splitlines()}
    assert table["as stated"].endswith("fits") and "not" not in table["as stated"]
    assert "does not fit" in table["column centre mirrored"] and not said.err
    out = tmp_path / "out"
    assert main(["inspect", str(tmp_path / "wrong"), "--out", str(out)]) == 0
    error = capsys.readouterr().err
    assert "does not fit the data; fits: column centre mirrored" in error
    record = json.loads((out / "run.json").read_text())
    assert [line["verdict"] for line in record["audit"]][:2] == ["does not fit", "fits"]
    assert "audit: as stated" in (out / "metrics.csv").read_text()
