"""Reading real and broken series: CT numbers, geometry, exposure, and what is refused."""

import shutil

import numpy as np
import pydicom
import pytest
from ct_files import TWO_EXPOSURES
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from real_data import DATA, needs

from recon.dicom.images import read_images
from recon.errors import DataError

ABDOMEN, HEAD = DATA / "abdomen", DATA / "head"


def edited(source, target, **changes):
    ds = pydicom.dcmread(source)
    for keyword, value in changes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.save_as(target)
    return target


@TWO_EXPOSURES
def test_a_real_slice_in_hu(small):
    images = read_images(small)
    ds = pydicom.dcmread(small / "a.dcm")
    stored = np.frombuffer(ds.PixelData, "<i2").reshape(128, 128)
    assert images.hu.dtype == np.float32
    assert np.array_equal(images.hu[0], stored - 1024.0)
    assert images.spacing == (0.661468, 0.661468)
    assert (images.slice_thickness, images.kvp, images.tilt) == (5.0, 120.0, 0.0)
    assert images.positions.tolist() == [[-158.135803, -179.035797, -75.699997]]
    assert images.patient_position == "FFS" and images.files == (small / "a.dcm",)
    single = read_images(small / "a.dcm")
    assert np.array_equal(single.hu, images.hu)


def test_exposure_is_current_times_time_and_a_disagreement_warns(small):
    with pytest.warns(UserWarning, match=r"170 mAs.*272\.2 mAs, which is used"):
        assert read_images(small).mas == pytest.approx(170 * 1.601)


def test_the_exposure_attribute_serves_where_current_and_time_are_absent(small):
    edited(small / "a.dcm", small / "a.dcm", XRayTubeCurrent=None)
    assert read_images(small).mas == 170.0
    edited(small / "a.dcm", small / "a.dcm", Exposure=None)
    images = read_images(small)
    assert images.mas is None and "unknown mAs" in repr(images)
    edited(small / "a.dcm", small / "a.dcm", XRayTubeCurrent=-170)
    assert read_images(small).mas is None


@pytest.mark.data
@needs("abdomen")
def test_the_real_abdomen():
    with pytest.warns(UserWarning, match=r"5100 mAs.*151\.2 mAs") as caught:
        images = read_images(ABDOMEN)
    assert len(caught) == 1
    assert images.hu.shape == (3, 512, 512) and images.mas == pytest.approx(151.2)
    assert images.spacing == (0.810547, 0.810547) and images.slice_thickness == 1.25
    assert images.positions[:, 2].tolist() == [-128.690002, -127.690002, -126.690002]
    assert [f.name for f in images.files] == ["03.dcm", "02.dcm", "01.dcm"]
    assert images.hu.min() == -1024.0, "padding of -3024 HU is air"
    assert images.hu[:, 0, 0].tolist() == [-1000.0] * 3
    body = images.hu[1, 200:300, 150:350]
    assert -50 < np.median(body) < 150
    one = images[2]
    assert one.hu.shape == (1, 512, 512) and one.files[0].name == "01.dcm"
    assert len(images[:2]) == 2 and images[-1].positions[0, 2] == -126.690002


@pytest.mark.data
@needs("head")
def test_the_real_head_is_tilted():
    with pytest.warns(UserWarning) as caught:
        images = read_images(HEAD)
    said = " ".join(str(w.message) for w in caught)
    assert "tilted by 18.5°" in said and "4 to 7 mm" in said and "320 to 360 mAs" in said
    assert np.degrees(images.tilt) == pytest.approx(18.5)
    assert images.hu.min() >= -1024 and images.hu[0, 0, 0] == -1000
    assert images[0].slice_thickness == 4.0 and images[3].slice_thickness == 7.0


@TWO_EXPOSURES
def test_slices_are_sorted_by_position_not_by_name(small):
    for name, z in (("b.dcm", -90.0), ("c.dcm", -60.0)):
        edited(small / "a.dcm", small / name, ImagePositionPatient=[0, 0, z],
               SOPInstanceUID=generate_uid())  # fmt: skip
    (small / "notes.txt").write_text("not an image")
    assert [f.name for f in read_images(small).files] == ["b.dcm", "a.dcm", "c.dcm"]


@TWO_EXPOSURES
def test_orientation_alone_reveals_a_tilt(small):
    c, s = np.cos(0.2), np.sin(0.2)
    edited(small / "a.dcm", small / "a.dcm", ImageOrientationPatient=[1, 0, 0, 0, c, s],
           GantryDetectorTilt=0)  # fmt: skip
    with pytest.warns(UserWarning, match=r"tilted by 11\.5°"):
        assert read_images(small).tilt == pytest.approx(0.2, abs=1e-5)


@TWO_EXPOSURES
def test_a_padding_value_is_air_whatever_its_sign_convention(small):
    ds = pydicom.dcmread(small / "a.dcm")
    pixels = ds.pixel_array.copy()
    pixels[:5] = -2000
    ds.PixelData = pixels.tobytes()
    ds.save_as(small / "a.dcm")
    assert (read_images(small).hu[0, :5] == -1000).all()
    # as found in files: the same 16 bits written as an unsigned number; and a range
    for padding in ({0x00280120: ("US", 65536 - 2000)},
                    {0x00280120: ("SS", -2100), 0x00280121: ("SS", -1900)}):  # fmt: skip
        for tag, (vr, value) in padding.items():
            ds.add_new(tag, vr, value)
        ds.save_as(small / "a.dcm")
        assert (read_images(small).hu[0, :5] == -1000).all()


def refusal(path):
    with pytest.raises(DataError) as caught:
        read_images(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_to_read(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "absent")
    assert "subfolders are not searched" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert "without DICOM images" in refusal(tmp_path)
    assert "notes.txt" in refusal(tmp_path / "notes.txt")
    (tmp_path / "broken.dcm").write_text("hello")
    assert "not a DICOM file" in refusal(tmp_path) and "broken.dcm" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.99, 0.6, 0.2, 0.05, 0.01])
def test_a_truncated_file_is_named(small, share):
    whole = (small / "a.dcm").read_bytes()
    (small / "a.dcm").write_bytes(whole[: int(len(whole) * share)])
    said = refusal(small)
    assert "truncated" in said and "a.dcm" in said


def test_mr_is_refused(small):
    shutil.copy(get_testdata_file("MR_small.dcm"), small / "mr.dcm")
    said = refusal(small)
    assert "mr.dcm" in said and "expected modality CT" in said and "got MR" in said


@TWO_EXPOSURES
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SeriesInstanceUID": "1.2.3"}, ("1.2.3", "a.dcm", "b.dcm")),
        ({"PixelSpacing": [1.0, 1.0]}, ("Pixel Spacing", "b.dcm")),
        ({"PixelSpacing": [0.0, 0.0]}, ("not positive", "(0028,0030)", "b.dcm")),
        ({"PixelSpacing": [-1.0, 1.0]}, ("not positive", "(0028,0030)", "b.dcm")),
        ({"PixelSpacing": [1.0]}, ("2 finite numbers", "(0028,0030)", "b.dcm")),
        ({"SliceThickness": "0"}, ("not positive", "(0018,0050)", "b.dcm")),
        ({"RescaleSlope": "1000"}, ("no CT numbers", "32767 HU", "b.dcm")),
        ({"KVP": "80"}, ("KVP", "b.dcm")),
        ({"ImagePositionPatient": [-158.1, -179.0, -75.699997]}, ("one place", "a.dcm")),
        ({"RescaleSlope": None}, ("RescaleSlope", "b.dcm")),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, ("axial", "b.dcm")),
    ],
)
def test_what_does_not_belong_is_named(small, changes, words):
    edited(small / "a.dcm", small / "b.dcm", **{"ImagePositionPatient": [0, 0, 0], **changes})
    said = refusal(small)
    for word in words:
        assert word in said
