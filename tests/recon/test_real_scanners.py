"""Projection scans as scanners and archives write them: not exact, not complete, not alone."""

import numpy as np
import pydicom
import pytest
from ctpd_files import RAW_DATA, Series, datasets, save, write
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless, generate_uid
from small_scans import small_scan

from recon.ctpd.order import check_steps
from recon.ctpd.read import read_scan
from recon.ctpd.write import write_scan
from recon.errors import DataError
from recon.scan.at_dose import at_dose
from recon.scan.scan import Scan

LOW_PITCH = Series(views=160, feed=1.0)  # 0.06 mm a view
SHIFT_Z, SHIFT_ANGLE, SHIFT_RADIUS = 0x7033100C, 0x7033100B, 0x7033100D
Z = 0x70311002


def with_noise(views, tag, sd, seed=3):
    rng = np.random.default_rng(seed)
    for ds in views:
        ds[tag].value = float(ds[tag].value) + sd * rng.standard_normal()
    return views


def test_positions_are_read_back_with_noise(tmp_path):
    views = with_noise(datasets(LOW_PITCH), Z, 0.03)
    scan = read_scan(save(tmp_path / "scan", views))
    assert np.std(np.diff(scan.geometry.z)) > 0.03
    views[80][Z].value += 0.4  # that is no noise
    with pytest.raises(DataError, match="irregular step in z"):
        read_scan(save(tmp_path / "wrong", views))


@pytest.mark.parametrize(("feed", "held"), [(0.06, 0.25), (0.5, 0.25), (2.0, 1.0)])
def test_a_step_in_z_is_off_by_a_quarter_of_a_millimetre_or_half_of_itself(feed, held):
    """The larger of both: positions are read back with noise, whatever the pitch."""
    angles = 2 * np.pi / 1152 * np.arange(400)
    paths = [f"{k}.dcm" for k in range(400)]
    for off, refused in ((0.9 * held, False), (1.1 * held, True)):
        z = feed * np.arange(400)
        z[200:] += off  # one step alone
        z -= off * np.arange(400) / 400  # and the whole still straight
        if refused:
            with pytest.raises(DataError, match=r"irregular step in z.*199.dcm and 200.dcm"):
                check_steps(angles, z, paths, views_per_rotation=1152)
        else:
            check_steps(angles, z, paths, views_per_rotation=1152)


@pytest.mark.parametrize("ffs", ["FFSNONE", "FFSZ", "FFSXYZ"])
def test_the_spot_jitters_by_some_micrometres(ffs, tmp_path):
    """Its states are told all the same, and are as many as the mode has."""
    views = datasets(Series(views=64, ffs=ffs))
    for tag, sd in ((SHIFT_Z, 0.004), (SHIFT_RADIUS, 0.004), (SHIFT_ANGLE, 0.004 / 595)):
        with_noise(views, tag, sd, seed=tag)
    g = read_scan(save(tmp_path / "scan", views)).geometry
    period = {"FFSNONE": 1, "FFSZ": 2, "FFSXYZ": 4}[ffs]
    assert g.states.tolist() == [k % period for k in range(64)]
    exact = read_scan(write(tmp_path / "exact", views=64, ffs=ffs)).geometry
    assert g.shift_z == pytest.approx(exact.shift_z, abs=0.003)
    assert g.shift_angle == pytest.approx(exact.shift_angle, abs=1e-5)


@pytest.mark.parametrize(
    ("tag", "good", "bad"),
    [(SHIFT_Z, 0.015, 0.03), (SHIFT_RADIUS, 0.015, 0.03), (SHIFT_ANGLE, 2e-5, 5e-5)],
)
def test_a_shift_of_another_state_is_no_jitter(tag, good, bad, tmp_path):
    for name, by in (("good", good), ("bad", bad), ("worse", -bad)):
        views = datasets(Series())
        views[11][tag].value = float(views[11][tag].value) + by
        folder = save(tmp_path / name, views)
        if name == "good":
            read_scan(folder)
            continue
        with pytest.raises(DataError, match="shifts do not repeat"):
            read_scan(folder)


@pytest.mark.parametrize("feed", [12.0, -12.0, 1.0])
def test_a_turn_that_is_missing_is_counted(feed, tmp_path):
    views = datasets(Series(views=80, feed=feed))
    names = [f"{k:03d}.dcm" for k in range(80)]
    folder = save(tmp_path / "scan", views[:30] + views[46:], names=names[:30] + names[46:])
    with pytest.raises(DataError, match="16 views are missing") as refused:
        read_scan(folder)
    assert "029.dcm" in str(refused.value) and "046.dcm" in str(refused.value)


@pytest.mark.parametrize(("off", "fits"), [(1.008, True), (0.992, True), (1.013, False)])
def test_views_per_rotation_fit_to_one_in_a_hundred(off, fits):
    angles = np.arange(400) * 2 * np.pi / 360 * off
    files = [f"{k}.dcm" for k in range(400)]
    if fits:
        check_steps(angles, np.arange(400.0), files, views_per_rotation=360)
        return
    with pytest.raises(DataError, match="views per rotation"):
        check_steps(angles, np.arange(400.0), files, views_per_rotation=360)


@pytest.mark.parametrize("photons", [True, False])
def test_images_need_no_exposure(photons, tmp_path):
    """Neither tube current nor exposure: read, described and written; no lower dose of it."""
    views = datasets(Series())
    for ds in views:
        del ds.XRayTubeCurrent
        if not photons:
            del ds[0x70331065]
    scan = read_scan(save(tmp_path / "scan", views))
    assert np.isnan(scan.mas) and np.isfinite(scan.photons).all()
    assert any("exposure is not stated" in note for note in scan.notes)
    assert any("at 200 mAs" in note for note in scan.notes) != photons
    assert dict(scan.describe())["exposure"] == "not stated"
    with pytest.raises(DataError, match="exposure of the scan is not known"):
        at_dose(scan, dose_fraction=0.5, seed=1)
    files = write_scan(scan, tmp_path / "written")
    assert "XRayTubeCurrent" not in pydicom.dcmread(files[0])
    again = read_scan(tmp_path / "written")
    assert np.isnan(again.mas) and again.geometry.shape == scan.geometry.shape


def test_exposures_are_known_or_not():
    scan = small_scan(turns=0.2)
    exposures = scan.exposures.copy()
    exposures[3] = np.nan
    with pytest.raises(DataError, match="exposures are not positive"):
        scan.changed(exposures=exposures)
    assert isinstance(scan.changed(exposures=np.full(len(scan), np.nan)), Scan)


def put_compressed(file, sop_class, syntax=JPEG2000Lossless, **attributes):
    """An object with pixels in fragments."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(100)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.save_as(file, enforce_file_format=True)


CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_compressed_objects_beside_views_are_passed_over(syntax, tmp_path):
    folder = write(tmp_path / "scan")
    put_compressed(folder / "a.dcm", CAPTURE, syntax)
    put_compressed(folder / "zz", CT, syntax, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    notes = read_scan(folder).notes
    assert "passed over what is no view: localizer (1), screen capture (1)" in notes


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.3.4"])
def test_an_object_in_any_syntax_is_told_by_its_class(uid, tmp_path):
    """Deflated, big endian and a maker's own: the class stands before what cannot be read."""
    folder = write(tmp_path / "scan")
    put_compressed(folder / "a.dcm", CAPTURE)
    content, old = (folder / "a.dcm").read_bytes(), str(JPEG2000Lossless).encode()
    new = uid.encode().ljust(len(old), b"\0")[: len(old)]
    (folder / "a.dcm").write_bytes(content.replace(old, new, 1)[:700])
    assert len(read_scan(folder)) == 24


def test_a_compressed_view_is_refused_for_that(tmp_path):
    folder = write(tmp_path / "scan")
    put_compressed(folder / "a.dcm", RAW_DATA)
    with pytest.raises(DataError, match=r"transfer syntax.*gdcmconv --raw"):
        read_scan(folder)


def test_what_is_written_reaches_to_the_largest_and_smallest_value(tmp_path):
    """Rounded outward: no line integral lies beyond the largest or the smallest stored number."""
    for k, (least, most) in enumerate(((0.0, 8.123456789), (-0.1234567, 3.000000049))):
        scan = small_scan(turns=0.2)
        rays = np.asarray(scan.line_integrals[:]).copy()
        rays *= most / rays.max()
        rays[3, 2, 1] = least
        files = write_scan(scan.changed(line_integrals=rays), tmp_path / str(k))
        ds = pydicom.dcmread(files[0])
        slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
        assert 0 <= intercept + 65535 * slope - float(rays.max()) < 1e-6
        assert 0 <= float(rays.min()) - intercept < 1e-6
        again = read_scan(tmp_path / str(k)).line_integrals[:]
        assert np.abs(again - rays).max() <= 0.5 * slope + 1e-6  # float32 of 8
