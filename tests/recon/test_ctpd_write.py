"""DICOM-CT-PD out: exact to quantisation, as other readers expect it, and without identity."""

import math
import warnings

import numpy as np
import pydicom
import pytest
from ctpd_files import VARIANTS, Series, datasets, save, write

from recon.ctpd.read import read_scan
from recon.ctpd.write import write_scan
from recon.errors import DataError
from recon.scan.at_dose import at_dose


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


MARKER = "MustermannErika"  # long enough never to stand in pixels or digests by chance
BORN = "19450718"


def texts(file):
    """What a file's elements say in letters, one by one; pixels, UIDs and numbers are no text."""
    for element in pydicom.dcmread(file).iterall():
        value = element.value
        if element.VR == "UN" and value.isascii() and value.decode().strip("\0").isprintable():
            yield value.decode()  # private, in implicit VR
        elif element.VR not in ("UI", "UN", "OW", "SQ"):
            yield str(value)


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
        ds.PatientBirthDate = ds.StudyDate = BORN
        ds.StudyInstanceUID = secret_uid + ".1"
        ds.SeriesInstanceUID = secret_uid + ".2"
        ds.SOPInstanceUID = f"{secret_uid}.3.{k}"
        ds.FrameOfReferenceUID = secret_uid + ".4"
        ds.add_new(0x00090010, "LO", MARKER)
        ds.add_new(0x00091001, "LO", MARKER)
        ds.add_new(0x70291099, "LO", MARKER)
        ds.add_new(0x70411099, "LO", MARKER)
    folder = save(tmp_path / "source", views, explicit=True)
    planted = list(texts(next(folder.iterdir())))
    assert planted.count(BORN) == 2 and planted.count(MARKER) > 15  # it is seen where it is
    scan = read_scan(folder)
    assert scan.vendor == "SIEMENS"
    assert MARKER not in repr(scan) + str(scan.describe())
    for file in write_scan(at_dose(scan, mas=20, seed=1), tmp_path / "out"):
        content = file.read_bytes()
        for marker in (MARKER.encode(), b"99999.31415926"):
            assert marker not in content
        said = " ".join(texts(file))
        assert "SIEMENS" in said and "CYLINDRICAL" in said
        assert BORN not in said and BORN[:4] not in said
        assert MARKER not in file.name
