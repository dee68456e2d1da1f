"""DICOM-CT-PD in and out: every dialect, in scan order, and exactly."""

import math
import time
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from ctpd_files import OLD, SHIFTS, Series, datasets, save, write
from tolerances import CTPD

from recon.ctpd import read_scan
from recon.ctpd_write import write_scan
from recon.errors import DataError
from recon.scan import Scan
from recon.scan_dose import at_dose
from recon.scan_geometry import HelicalScan

DATA = Path(__file__).resolve().parents[2] / "../shared/data/ctpd/batelle.dcm"

VARIANTS = {
    "Siemens, z flying, table out": {},
    "table in": {"feed": -12.0},
    "FFSNONE": {"ffs": "FFSNONE"},
    "FFSXY": {"ffs": "FFSXY"},
    "FFSXYZ": {"ffs": "FFSXYZ"},
    "explicit, decoded": {"explicit": True},
    "explicit, UN": {"explicit": True, "unknown": True},
    "implicit, as bytes": {"unknown": True},
    "rows first": {"transposed": False},
    "another private block": {"block": 0x12},
    "no time stamps": {"timestamps": False, "feed": -9.0},
    "neither time stamps nor instance numbers": {"timestamps": False, "instances": False},
    "2016 dictionary": {"creator": OLD},
    "2016 dictionary, table in": {"creator": OLD, "feed": -12.0, "explicit": True},
    "GE": {"manufacturer": "GE MEDICAL SYSTEMS", "ffs": "FFSNONE", "central": (8.75, 4.5)},
    "low pitch": {"feed": 1.0, "views": 64},
}


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
    columns = g.elements()
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
@pytest.mark.skipif(not DATA.is_file(), reason="the real view is not there")
def test_a_real_view_of_the_old_format():
    scan = read_scan(DATA.parent)
    header = pydicom.dcmread(DATA)
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
@pytest.mark.skipif(not DATA.is_file(), reason="the real view is not there")
def test_air_of_a_real_view_has_the_noise_of_the_bowtie():
    """Beside the object 1/var(p) is N0: 1.2e5 at channel 10, 1.8e5 at 160, as scan.photons."""
    scan = read_scan(DATA)
    p = scan.line_integrals[0].astype(np.float64)
    curved = p[2:] - 2 * p[1:-1] + p[:-2]  # along rows, where air is smooth
    for channel, quanta in ((10, 1.2e5), (160, 1.8e5)):
        near = curved[:, max(channel - 16, 0) : channel + 17]
        measured = 6 / np.mean(near**2)
        assert measured == pytest.approx(quanta, rel=CTPD["bowtie, rel"])
    for channel, quanta in ((10, 1.2e5), (160, 1.8e5), (250, 3.4e5), (369, 7.5e5)):
        assert scan.photons[0, channel] == pytest.approx(quanta, rel=CTPD["bowtie, rel"])


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_what_is_read_is_written_exactly(changes, tmp_path):
    scan = read_scan(write(tmp_path / "source", **changes))
    write_scan(scan, tmp_path / "copy")
    copy = read_scan(tmp_path / "copy")
    np.testing.assert_array_equal(copy.line_integrals[:], scan.line_integrals[:])
    np.testing.assert_array_equal(copy.photons, scan.photons)
    np.testing.assert_allclose(copy.exposures, scan.exposures, rtol=1e-8)
    for name in ("z", "shift_angle", "shift_z", "shift_radius"):
        np.testing.assert_array_equal(
            getattr(copy.geometry, name), getattr(scan.geometry, name), err_msg=name
        )
    np.testing.assert_allclose(copy.geometry.angles, scan.geometry.angles, atol=3e-7)
    for name in (
        "src_iso", "src_det", "n_rows", "n_cols", "row_pitch", "col_pitch", "views_per_rotation",
        "row_offset", "focal_spot", "patient_position", "table_direction",
    ):  # fmt: skip
        assert getattr(copy.geometry, name) == getattr(scan.geometry, name), name
    assert copy.geometry.col_offset == pytest.approx(scan.geometry.col_offset, abs=1e-6)
    for name in ("kvp", "vendor", "corrections", "rotation_time", "fov", "ctdi_vol"):
        assert getattr(copy, name) == getattr(scan, name), name
    assert copy.mu_water == pytest.approx(scan.mu_water, rel=1e-8)
    assert copy.series_uid != scan.series_uid


def test_files_are_what_other_readers_expect(tmp_path):
    """As pydicom sees them: Siemens' transposed frames, private elements as bytes."""
    series = Series()
    scan = read_scan(write(tmp_path / "source", series))
    files = write_scan(scan, tmp_path / "copy")
    assert [file.name for file in files[:2]] == ["view-000001.dcm", "view-000002.dcm"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = pydicom.dcmread(files[3])
        assert ds.file_meta.TransferSyntaxUID == pydicom.uid.ImplicitVRLittleEndian
        assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66"
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        p = ds.pixel_array.T * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    np.testing.assert_allclose(p, series.line_integrals()[3], rtol=1e-6)
    assert ds[0x70290010].value == "CtProjectionData-MayoClinc-v1"
    assert np.frombuffer(ds[0x70311033].value, "<f4").tolist() == list(series.central)
    assert np.frombuffer(ds[0x70311002].value, "<f4")[0] == pytest.approx(series.z(3))
    angle = np.frombuffer(ds[0x70311001].value, "<f4")[0]
    assert angle == pytest.approx(math.remainder(series.angle(3), 2 * math.pi), abs=1e-6)
    np.testing.assert_array_equal(np.frombuffer(ds[0x70331065].value, "<f4"), series.photons(3))
    assert ds[0x7033100E].value.strip() == b"FFSZ" and ds[0x70391009].value == b"YES "
    uids = {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files}
    assert len(uids) == len(files)


def test_writing_is_deterministic_and_keeps_out_of_full_folders(tmp_path):
    scan = read_scan(write(tmp_path / "source"))
    first = write_scan(scan, tmp_path / "a")
    second = write_scan(scan, tmp_path / "b")
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]
    with pytest.raises(DataError, match="not empty"):
        write_scan(scan, tmp_path / "a")
    assert len(read_scan(tmp_path / "a")) == len(scan)


def test_rays_that_were_changed_fit_into_16_bits(tmp_path):
    scan = read_scan(write(tmp_path / "source"))
    rng = np.random.default_rng(1)
    p = rng.uniform(-0.5, 11.0, scan.geometry.shape).astype(np.float32)
    write_scan(scan.changed(line_integrals=p), tmp_path / "copy")
    copy = read_scan(tmp_path / "copy")
    step = 11.5 / 65535
    assert np.abs(copy.line_integrals[:] - p).max() <= 0.5 * step * 1.01
    assert scan.changed(line_integrals=p).line_integrals is p
    p[3, 2, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        write_scan(scan.changed(line_integrals=p), tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


def test_low_dose_is_written_within_quantisation(tmp_path):
    scan = read_scan(write(tmp_path / "source"))
    low = at_dose(scan, mas=10, seed=3)
    write_scan(low, tmp_path / "low")
    copy = read_scan(tmp_path / "low")
    p = low.line_integrals[:]
    assert np.abs(copy.line_integrals[:] - p).max() <= 0.51 * copy.line_integrals.slopes[0]
    assert copy.mas == pytest.approx(10, rel=1e-8)
    np.testing.assert_allclose(copy.photons, low.photons, rtol=1e-6)


MARKER = "Mustermann"


def test_no_identity_is_written(tmp_path):
    """Markers in identity, private and free-text elements, and in UIDs, appear nowhere."""
    views = datasets(Series(explicit=True))
    secret_uid = "1.2.840.99999.31415926"
    for k, ds in enumerate(views):
        for keyword in (
            "PatientName", "PatientID", "InstitutionName", "StationName", "OperatorsName",
            "ReferringPhysicianName", "AccessionNumber", "StudyDescription", "SeriesDescription",
            "ProtocolName", "PatientComments", "ImageComments", "DeviceSerialNumber", "StudyID",
            "ManufacturerModelName",
        ):  # fmt: skip
            setattr(ds, keyword, MARKER)
        ds.Manufacturer = f"SIEMENS {MARKER}"
        ds.PatientBirthDate = ds.StudyDate = "19450718"
        ds.StudyInstanceUID = secret_uid + ".1"
        ds.SeriesInstanceUID = secret_uid + ".2"
        ds.SOPInstanceUID = f"{secret_uid}.3.{k}"
        ds.FrameOfReferenceUID = secret_uid + ".4"
        ds.add_new(0x00090010, "LO", MARKER)
        ds.add_new(0x00091001, "LO", MARKER)
        ds.add_new(0x70291099, "LO", MARKER)
        ds.add_new(0x70411099, "LO", MARKER)
    scan = read_scan(save(tmp_path / "source", views, explicit=True))
    assert scan.vendor == "SIEMENS"
    assert MARKER not in repr(scan) + str(scan.describe())
    for file in write_scan(at_dose(scan, mas=20, seed=1), tmp_path / "out"):
        content = file.read_bytes()
        for marker in (MARKER.encode(), b"19450718", b"99999.31415926", b"1945"):
            assert marker not in content
        assert MARKER not in file.name


# --- size -----------------------------------------------------------------------------------------


def test_opening_reads_headers_only(tmp_path, monkeypatch):
    """Opening must not touch the pixels, and takes well under a millisecond a view."""
    import recon.view_files

    folder = write(tmp_path / "scan", views=300, rows=8, cols=40, central=(20.5, 4.5))

    def refuse(*_):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(recon.view_files.ViewFiles, "_read", refuse)
    start = time.perf_counter()
    scan = read_scan(folder)
    assert time.perf_counter() - start < 300 * CTPD["opening a view [s]"]
    assert isinstance(scan, Scan) and len(scan) == 300
    with pytest.raises(AssertionError):
        scan.line_integrals[0]
