"""`ctxai phantom` writes the scan of a known object, or says in one line why it cannot."""

import numpy as np
import pytest

from analysis.commands.phantom import _geometry as geometry_of
from analysis.main import main
from recon.ctpd.read import read_scan
from recon.dicom.write import write_series
from recon.phantom.bodies.body import body
from recon.phantom.volumes.voxels import VoxelPhantom
from recon.scan.tube_current import modulated_exposures
from recon.storage.files import digest_tree, read_json

WATER = 0.0193
PHANTOM_FILES = {
    # half a step of 16 bits in the series' range, and float32 positions
    "steps": 0.51,
    "positions": 5e-5,
    # µA in a decimal string
    "current, rel": 1e-5,
}


def scanned(out, *words):
    assert main(["phantom", "--out", str(out), *words]) == 0
    return read_scan(out)


def assert_is(scan, exact):
    step = scan.line_integrals.slopes[0]
    assert step < 3e-4
    limit = PHANTOM_FILES["steps"] * step + PHANTOM_FILES["positions"]
    np.testing.assert_allclose(scan.line_integrals[:], exact, atol=limit, rtol=0)


@pytest.mark.parametrize(
    ("words", "vendor", "focal_spot"),
    [
        (["--anatomy", "thorax", "--focal-spot", "FFSNONE"], "SIEMENS", "FFSNONE"),
        (["--anatomy", "head", "--table", "out", "--pitch", "0.6"], "SIEMENS", "FFSZ"),
        (["--anatomy", "abdomen", "--scanner", "discovery"], "GE MEDICAL SYSTEMS", "FFSNONE"),
    ],
)
def test_bodies_are_scanned_exactly(words, vendor, focal_spot, tmp_path, capsys):
    scan = scanned(tmp_path / "scan", "--length", "0.2", "--no-noise", *words)
    assert "views in" in capsys.readouterr().out
    g = scan.geometry
    assert scan.vendor == vendor and g.focal_spot == focal_spot
    assert_is(scan, body(words[1], WATER).line_integrals(g))


def test_a_modulated_scan_says_so_in_every_view(tmp_path):
    """Current and PhotonStatistics of each view; the mean is what was asked for."""
    words = ["--anatomy", "thorax", "--length", "0.7", "--mas", "80", "--modulation"]
    scan = scanned(tmp_path / "scan", *words)
    expected = modulated_exposures(body("thorax", WATER), scan.geometry, 80.0)
    assert scan.exposures == pytest.approx(expected, rel=PHANTOM_FILES["current, rel"])
    assert scan.mas == pytest.approx(80) and np.ptp(expected) > 0.1
    per_mas = scan.photons / scan.exposures[:, None]
    np.testing.assert_allclose(per_mas, np.broadcast_to(per_mas[0], per_mas.shape), rtol=1e-4)


def test_a_volume_is_scanned_over_its_height(tmp_path):
    """Hollow, shifted to one side; from an archive and from a DICOM series alike."""
    hu = np.full((2, 30, 40), -1000, dtype=np.int16)
    hu[:, 5:25, 4:30] = 40
    hu[1, 10:14, 8:14] = 600
    file = tmp_path / "v.npz"
    np.savez(file, hu=hu, spacing_mm=[0.5, 5.0, 6.0])
    words = ["--volume", str(file), "--no-noise", "--length", "0.3", "--table", "out"]
    scan = scanned(tmp_path / "scan", *words)
    phantom = VoxelPhantom(hu=hu, spacing=(0.5, 5.0, 6.0), mu_water=WATER)
    exact = phantom.line_integrals(scan.geometry)
    assert_is(scan, exact)
    assert exact.max() > 0.05
    setting = {"spacing": (5.0, 6.0), "slice_thickness": 0.5, "series_description": "volume"}
    write_series(tmp_path / "series", hu, positions=[0.0, 0.5], **setting)
    words[1] = str(tmp_path / "series")
    assert_is(scanned(tmp_path / "again", *words), exact)


def test_a_scan_is_replaced_when_that_is_asked_for_and_says_what_was_scanned(tmp_path, capsys):
    """Ten views, then seven in their place: none of the former stays, and nothing of the user's."""
    out = tmp_path / "scan"
    assert len(scanned(out, "--length", "0.3", "--anatomy", "head")) == 10
    record = read_json(out / "run.json")
    assert record["configuration"]["object"] == "head" and record["configuration"]["seed"] == 1
    assert digest_tree(out / "view-000001.dcm") == record["parts"]["view-000001.dcm"]
    (out / "mine.txt").write_text("mine")
    before = {item.name: item.read_bytes() for item in out.iterdir()}
    assert main(["phantom", "--out", str(out), "--length", "0.2"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {item.name: item.read_bytes() for item in out.iterdir()} == before
    assert len(scanned(out, "--length", "0.2", "--overwrite")) == 7
    assert len(list(out.iterdir())) == 7 + len(["run.json", "mine.txt"])


def test_views_of_another_scan_are_not_mixed_with_those_that_replace_a_run(tmp_path, capsys):
    out = tmp_path / "scan"
    scanned(out, "--length", "0.3", "--anatomy", "head")
    (out / "view-000001.dcm").rename(out / "foreign.dcm")
    before = {item.name: item.read_bytes() for item in out.iterdir()}
    assert main(["phantom", "--out", str(out), "--length", "0.2", "--overwrite"]) == 2
    assert "views of two scans must not mix" in capsys.readouterr().err
    assert {item.name: item.read_bytes() for item in out.iterdir()} == before


def test_a_volume_decides_the_length():
    """Its height and a turn, so that every slice is complete; 76.8 mm for what has no end."""
    volume = geometry_of("discovery", "own", 0.5, "out", None, 100.0)
    assert np.ptp(volume.z) == pytest.approx(100 + 0.5 * 40, abs=0.02)
    assert np.ptp(geometry_of("flash", "own", 1.0, "in", None, None).z) == pytest.approx(76.8)
    assert np.ptp(geometry_of("flash", "own", 1.0, "in", 50.0, 100.0).z) == pytest.approx(50, 1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--volume", "nowhere.npz"], "no such file or folder"),
        (["--volume", __file__, "--anatomy", "head"], "--anatomy or --volume"),
        (["--scanner", "discovery", "--focal-spot", "FFSZ"], "--focal-spot"),
        (["--scanner", "toy"], "--scanner"),
        (["--focal-spot", "FFSXY"], "--focal-spot"),
        (["--kvp", "125"], "kV"),
    ],
)
def test_what_cannot_be_scanned_is_one_line(words, said, tmp_path, capsys):
    out = tmp_path / "scan"
    assert main(["phantom", "--out", str(out), "--length", "0.3", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and said in error[0]
    assert list(tmp_path.iterdir()) == []
