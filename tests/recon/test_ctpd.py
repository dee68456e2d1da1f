"""DICOM-CT-PD in: every dialect, in scan order, and headers only until rays are asked for."""

import math
import time

import numpy as np
import pydicom
import pytest
from ctpd_files import OLD, SHIFTS, VARIANTS, Series, datasets, save, write
from helical_scans import elements
from real_data import DATA, needs
from tolerances import CTPD

from recon.ctpd.read import read_scan
from recon.scan.helix import HelicalScan
from recon.scan.scan import Scan

REAL_VIEW = DATA / "ctpd" / "batelle.dcm"


def test_a_table_that_does_not_move_is_still_and_one_view_tells_nothing():
    said = {
        views: HelicalScan(
            angles=np.arange(views) * 0.1, z=np.zeros(views), src_iso=595, src_det=1085.6, n_rows=4,
            n_cols=8, row_pitch=1.1, col_pitch=1.3, views_per_rotation=64,
        ).table_direction
        for views in (1, 2)
    }  # fmt: skip
    assert said == {1: "not to be told from one view", 2: "still"}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_reads_every_kind_in_scan_order(changes, tmp_path):
    """Values and geometry of view k, although file names are shuffled."""
    series = Series(**changes)
    scan = read_scan(write(tmp_path / "scan", series))
    g = scan.geometry
    k = np.arange(series.views)
    np.testing.assert_array_equal(scan.line_integrals[:], series.line_integrals())
    np.testing.assert_allclose(
        g.angles - g.angles[0], series.angle(k) - series.angle(0), atol=CTPD["angle [rad]"]
    )
    np.testing.assert_allclose(g.z, series.z(k), atol=CTPD["z [mm]"])
    shifts = np.array([SHIFTS[series.ffs][i % len(SHIFTS[series.ffs])] for i in k])
    found = np.stack([g.shift_angle, g.shift_z, g.shift_radius], axis=1)
    np.testing.assert_allclose(found, shifts, atol=1e-6)
    assert g.shape == scan.line_integrals.shape == (series.views, series.rows, series.cols)
    assert (g.src_iso, g.focal_spot, g.views_per_rotation) == (595.0, series.ffs, series.per_turn)
    assert g.feed == pytest.approx(series.feed, rel=1e-5)
    assert g.table_direction == ("into the gantry" if series.feed < 0 else "out of the gantry")
    assert g.pitch == pytest.approx(abs(series.feed) / (8 * 8.0 * 595 / 1085.6), rel=1e-5)
    assert g.stated_pitch == 0.7 and g.patient_position == "HFS"
    assert len(np.unique(g.states)) == len(SHIFTS[series.ffs])
    assert scan.kvp == 120 and scan.mu_water == pytest.approx(0.0192)
    assert scan.series_uid == "1.2.3.4"
    np.testing.assert_allclose(
        scan.exposures, [round(400 * (1 + 0.1 * math.sin(i))) * 0.5 for i in k]
    )
    assert scan.mas == pytest.approx(scan.exposures.mean())
    if series.creator != OLD:
        np.testing.assert_array_equal(scan.photons, [series.photons(i) for i in k])


def test_central_column_counts_from_one_or_from_the_last(tmp_path):
    siemens = read_scan(write(tmp_path / "siemens", central=(7.625, 4.5), cols=16))
    assert siemens.geometry.col_offset == pytest.approx(7.5 - 6.625)
    # GE states 444.75 for 888 columns where 443.25, counted from zero, is meant
    ge = read_scan(write(tmp_path / "ge", central=(8.75, 4.5), manufacturer="GE MEDICAL SYSTEMS"))
    assert ge.geometry.col_offset == pytest.approx(7.5 - (16 - 8.75))
    assert any("mirrored" in note for note in ge.notes)


def test_views_are_read_one_by_one_and_in_any_slice(tmp_path):
    series = Series()
    rays = read_scan(write(tmp_path / "scan", series)).line_integrals
    p = series.line_integrals()
    for which in (
        slice(3, 9),
        slice(None),
        slice(20, 99),
        slice(9, 3),
        slice(2, 20, 5),
        slice(-3, None),
    ):
        found = rays[which]
        assert found.dtype == np.float32 and found.flags.c_contiguous
        np.testing.assert_array_equal(found, p[which])
    np.testing.assert_array_equal(rays[-1], p[-1])
    with pytest.raises(IndexError):
        rays[len(p)]


def test_spot_and_detector_lie_where_the_format_says(tmp_path):
    """12 o'clock at φ = 0, counter-clockwise; row 1 highest; the arc stays about the centre."""
    g = HelicalScan(
        angles=[0.0, math.pi / 2], z=[10.0, 12.0], src_iso=600, src_det=1000, n_rows=4, n_cols=5,
        row_pitch=2.0, col_pitch=100.0, views_per_rotation=4, shift_radius=[0.0, 5.0],
        shift_z=[0.0, -0.5],
    )  # fmt: skip
    np.testing.assert_allclose(g.sources(), [[0, -600, 10], [-605, 0, 11.5]], atol=1e-9)
    columns = elements(g)
    np.testing.assert_allclose(columns[0, 2], [0, 400, 10], atol=1e-9)  # 6 o'clock
    assert columns[0, 0, 0] < 0 < columns[0, 4, 0]  # column 1 is leftmost
    np.testing.assert_allclose(columns[1, 2], [400, 0, 12], atol=1e-9)
    centre = np.array([-600, 0, 12])
    np.testing.assert_allclose(np.linalg.norm(columns[1] - centre, axis=1), 1000)
    assert g.row_heights.tolist() == [3, 1, -1, -3]
    np.testing.assert_allclose(np.diff(g.fan_angles), 0.1)


def test_scan_order_needs_no_exact_heights(tmp_path):
    """Heights given to 0.1 mm only: the angle decides within a turn."""
    series = Series(feed=0.8, views=64, timestamps=False)
    views = datasets(series)
    for ds in views:
        ds[0x70311002].value = round(ds[0x70311002].value, 1)
    scan = read_scan(save(tmp_path / "scan", views))
    np.testing.assert_array_equal(scan.line_integrals[:], series.line_integrals())


def test_clockwise_gantry_is_told_by_time(tmp_path):
    series = Series()
    views = datasets(series)
    for k, ds in enumerate(views):
        ds[0x70311001].value = -series.angle(k)
    scan = read_scan(save(tmp_path / "scan", views))
    np.testing.assert_array_equal(scan.line_integrals[:], series.line_integrals())
    assert np.all(np.diff(scan.geometry.angles) < 0)


def test_numbers_are_read_from_vrs_that_are_not_their_own(tmp_path):
    """Standard elements as binary floats, and a pitch of four bytes in implicit VR."""
    views = datasets(Series(explicit=True))
    for ds in views:
        ds[0x00180060].VR = "FL"
        ds[0x00180060]._value = 120.0
        ds.add_new(0x70331013, "UL", 16)
    scan = read_scan(save(tmp_path / "scan", views, explicit=True))
    assert scan.kvp == 120 and scan.geometry.views_per_rotation == 16
    views = datasets(Series())
    for ds in views:
        ds[0x00189311].VR = "FL"
    assert read_scan(save(tmp_path / "short", views)).geometry.stated_pitch == pytest.approx(0.7)


def test_sequences_and_companions_are_passed_over(tmp_path):
    views = datasets(Series(explicit=True))
    inner = pydicom.Dataset()
    inner.CodeValue = "1"
    inner.PurposeOfReferenceCodeSequence = [pydicom.Dataset()]
    for ds in views:
        ds.ProcedureCodeSequence = [inner, inner]
        ds["ProcedureCodeSequence"].is_undefined_length = True
    folder = save(tmp_path / "scan", views, explicit=True)
    (folder / "LICENSE").write_text("CC BY 4.0")
    (folder / "metadata.csv").write_text("a,b")
    assert len(read_scan(folder)) == 24


def test_what_is_assumed_is_said(tmp_path):
    scan = read_scan(write(tmp_path / "scan", creator=OLD, position=""))
    assert any("HFS assumed" in note for note in scan.notes)
    assert any("tube model" in note for note in scan.notes)
    ratio = scan.photons[5] / scan.photons[0]
    np.testing.assert_allclose(ratio, scan.exposures[5] / scan.exposures[0], rtol=1e-5)


def test_exposure_that_contradicts_current_and_time_warns(tmp_path):
    views = datasets(Series())
    for ds in views:
        ds.Exposure = 5100
    with pytest.warns(UserWarning, match="5100"):
        scan = read_scan(save(tmp_path / "scan", views))
    assert scan.mas == pytest.approx(200, rel=0.05)


@pytest.mark.data
@needs("ctpd/batelle.dcm")
def test_a_real_view_of_the_old_format():
    scan = read_scan(REAL_VIEW.parent)
    header = pydicom.dcmread(REAL_VIEW)
    p = scan.line_integrals[0]
    assert p.shape == (32, 736) and scan.line_integrals.shape == (1, 32, 736)
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    assert p.min() == pytest.approx(header.SmallestImagePixelValue * slope + intercept, rel=1e-6)
    assert p.max() == pytest.approx(header.LargestImagePixelValue * slope + intercept, rel=1e-6)
    np.testing.assert_allclose(p.T, header.pixel_array * slope + intercept, atol=1e-6)
    g = scan.geometry
    assert (g.src_iso, g.focal_spot, g.views_per_rotation) == (595.0, "FFSNONE", 1152)
    assert g.src_det == pytest.approx(1085.6) and g.col_offset == -1.125 and g.row_offset == 0
    assert g.angles[0] == pytest.approx(-1.52171) and g.z[0] == pytest.approx(-764.31)
    assert g.shift_angle[0] == pytest.approx(3.36134e-4, rel=1e-5) and g.shift_z[0] == 0
    assert scan.mu_water == pytest.approx(0.0192) and scan.kvp == 120
    assert scan.mas == pytest.approx(297.5) and g.pitch == 1.0
    assert scan.vendor == "SIEMENS" and "scatter" not in scan.corrections
    assert len(scan.corrections) == 5


@pytest.mark.data
@needs("ctpd/batelle.dcm")
def test_air_of_a_real_view_has_the_noise_of_the_bowtie():
    """Beside the object 1/var(p) is N0: 1.2e5 at channel 10, 1.8e5 at 160, as scan.photons."""
    scan = read_scan(REAL_VIEW)
    p = scan.line_integrals[0].astype(np.float64)
    curved = p[2:] - 2 * p[1:-1] + p[:-2]  # along rows, where air is smooth
    for channel, quanta in ((10, 1.2e5), (160, 1.8e5)):
        near = curved[:, max(channel - 16, 0) : channel + 17]
        measured = 6 / np.mean(near**2)
        assert measured == pytest.approx(quanta, rel=CTPD["bowtie, rel"])
    for channel, quanta in ((10, 1.2e5), (160, 1.8e5), (250, 3.4e5), (369, 7.5e5)):
        assert scan.photons[0, channel] == pytest.approx(quanta, rel=CTPD["bowtie, rel"])


def test_opening_reads_headers_only(tmp_path, monkeypatch):
    """Opening must not touch the pixels, and takes well under a millisecond a view."""
    import recon.ctpd.view_files

    folder = write(tmp_path / "scan", views=120, rows=8, cols=40, central=(20.5, 4.5))

    def refuse(*_):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(recon.ctpd.view_files.ViewFiles, "_content", refuse)
    start = time.process_time()
    scan = read_scan(folder)
    assert time.process_time() - start < 120 * CTPD["opening a view [s]"]
    assert isinstance(scan, Scan) and len(scan) == 120
    with pytest.raises(AssertionError):
        scan.line_integrals[0]
