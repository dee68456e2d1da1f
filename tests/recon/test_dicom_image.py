"""Reading real and broken series; writing derived ones that hold no identity."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

from recon.dicom_image import read_images, write_series
from recon.dicom_series import HU_RANGE
from recon.errors import DataError

DATA = Path(__file__).parents[2] / "../shared/data"
ABDOMEN, HEAD = DATA / "abdomen", DATA / "head"
MARKER = "Zq7Planted"
TWO_EXPOSURES = pytest.mark.filterwarnings("ignore:.*exposure .0018,1152.")

needs = {
    folder: pytest.mark.skipif(not folder.is_dir(), reason=f"no real slices in {folder.name}")
    for folder in (ABDOMEN, HEAD)
}


def scene(slices=3, rows=20, cols=30, seed=0):
    """Air, tissue and metal with an off-centre asymmetric block; values with fractions."""
    hu = np.random.default_rng(seed).uniform(-1000, 3000, (slices, rows, cols)).astype(np.float32)
    hu[:, 3:9, 20:28] = 60.4
    return hu


def write(folder, hu=None, **changes):
    hu = scene() if hu is None else hu
    setting = {
        "spacing": (0.7, 0.8),
        "slice_thickness": 1.5,
        "positions": [(-12.5, -7.25, 10.0 + k) for k in range(len(hu))],
        "series_description": "10 mAs, hann",
        "kvp": 120.0,
        "mas": 10.0,
        "kernel": "hann",
        **changes,
    }
    return write_series(folder, hu, **setting)


def edited(source, target, **changes):
    ds = pydicom.dcmread(source)
    for keyword, value in changes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.save_as(target)
    return target


@pytest.fixture
def small(tmp_path):
    """Return pydicom's real slice, alone in a folder."""
    folder = tmp_path / "scan"
    folder.mkdir()
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "a.dcm")
    return folder


# reading


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


@pytest.mark.data
@needs[ABDOMEN]
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
@needs[HEAD]
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
    assert "without DICOM images" in refusal(tmp_path)
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
        ({"KVP": "80"}, ("KVP", "b.dcm")),
        ({"ImagePositionPatient": [-158.1, -179.0, -75.699997]}, ("one place", "a.dcm")),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, ("localizer", "b.dcm")),
        ({"RescaleSlope": None}, ("RescaleSlope", "b.dcm")),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, ("axial", "b.dcm")),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, ("Secondary Capture", "b.dcm")),
    ],
)
def test_what_does_not_belong_is_named(small, changes, words):
    edited(small / "a.dcm", small / "b.dcm", **{"ImagePositionPatient": [0, 0, 0], **changes})
    said = refusal(small)
    for word in words:
        assert word in said


# writing


def test_what_was_written_is_read_back(tmp_path):
    hu = scene()
    files = write(tmp_path / "out", hu)
    assert [f.name for f in files] == ["slice-001.dcm", "slice-002.dcm", "slice-003.dcm"]
    back = read_images(tmp_path / "out")
    assert np.array_equal(back.hu, np.rint(hu)), "HU is exact to rounding"
    assert back.spacing == (0.7, 0.8) and back.slice_thickness == 1.5
    assert back.positions.tolist() == [[-12.5, -7.25, 10.0 + k] for k in range(3)]
    assert (back.kvp, back.mas, back.tilt) == (120.0, 10.0, 0.0)
    assert pydicom.dcmread(files[0]).ConvolutionKernel == "hann"


def test_heights_alone_put_the_slices_on_the_axis(tmp_path):
    write(tmp_path, positions=[3.0, 5.0, 4.0])
    back = read_images(tmp_path)
    assert back.positions == pytest.approx(np.array([[-11.6, -6.65, z] for z in (3.0, 4.0, 5.0)]))


def test_values_beyond_the_range_are_clipped(tmp_path):
    hu = np.array([[[-1e5, -40000, -32768.4], [32767.4, 1e6, 0.5]]])
    write(tmp_path, hu)
    low, high = HU_RANGE
    assert read_images(tmp_path).hu.tolist() == [[[low, low, low], [high, high, 0]]]


def test_a_fraction_of_a_milliampere_second_survives(tmp_path):
    write(tmp_path, mas=7.25)
    assert read_images(tmp_path).mas == 7.25


def test_the_header_of_a_derived_image(tmp_path):
    ds = pydicom.dcmread(write(tmp_path)[1])
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == CTImageStorage
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert ds.PatientIdentityRemoved == "YES" and not ds.PatientName and not ds.PatientID
    assert (ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType) == (1, 0, "HU")
    assert (ds.BitsStored, ds.PixelRepresentation, ds.InstanceNumber) == (16, 1, 2)
    assert not [element for element in ds.iterall() if element.tag.is_private]


def uids(files):
    keys = "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"
    return [[ds[key].value for key in keys] for ds in map(pydicom.dcmread, files)]


def test_uids_are_a_digest_of_the_content(tmp_path):
    first, again = write(tmp_path / "a"), write(tmp_path / "b")
    for one, other in zip(first, again):
        assert one.read_bytes() == other.read_bytes()
    known = uids(first)
    assert len({instance for instance, *_ in known}) == 3
    assert len({series for _, series, *_ in known}) == 1
    assert all(uid.startswith("2.25.") and uid.is_valid for row in known for uid in row)
    changes = [
        {"hu": scene(seed=1)}, {"mas": 20.0}, {"kernel": "ram-lak"}, {"uid_seed": 5},
        {"series_description": "other"}, {"spacing": (0.7, 0.81)},
    ]  # fmt: skip
    for k, change in enumerate(changes):
        other = uids(write(tmp_path / f"changed-{k}", **change))
        assert not {row[0] for row in known} & {row[0] for row in other}, change
        assert known[0][1] != other[0][1], change


@TWO_EXPOSURES
def test_series_of_one_source_share_study_and_frame(small, tmp_path):
    source = read_images(small)
    setting = {"like": source, "spacing": None, "positions": None, "slice_thickness": None}
    ten, fifty = (write(tmp_path / f"{mas}", source.hu, mas=mas, **setting) for mas in (10, 50))
    (a,), (b,) = uids(ten), uids(fifty)
    assert a[2:] == b[2:] and a[0] != b[0] and a[1] != b[1]
    original = pydicom.dcmread(small / "a.dcm")
    assert a[1] != original.SeriesInstanceUID and a[2] != original.StudyInstanceUID
    reference = pydicom.dcmread(ten[0]).SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == original.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == CTImageStorage
    back = read_images(tmp_path / "10")
    assert np.array_equal(back.hu, source.hu) and back.spacing == source.spacing
    assert np.array_equal(back.positions, source.positions)
    assert back.patient_position == "FFS" and back.slice_thickness == 5.0


def planted(source, target):
    """Plant the marker in every attribute that takes text, in sequences and in private tags."""
    ds = pydicom.dcmread(source)
    text = {"PN", "LO", "SH", "LT", "ST", "UT", "AE", "UC", "CS"}
    keep = {"Modality", "ImageType", "PhotometricInterpretation", "SpecificCharacterSet"}
    for element in ds.iterall():
        if element.VR in text and element.keyword not in keep and element.tag.element != 0x10:
            element.value = MARKER.upper() if element.VR == "CS" else MARKER
    ds.PatientName = f"{MARKER}^Ada"
    ds.InstitutionName = ds.ReferringPhysicianName = ds.AccessionNumber = MARKER
    ds.StudyDescription = ds.SeriesDescription = ds.ProtocolName = ds.ImageComments = MARKER
    ds.PatientBirthDate, ds.StudyDate, ds.StudyTime = "19010203", "19040506", "070809"
    item = Dataset()
    item.PatientID = MARKER
    ds.OtherPatientIDsSequence = [item]
    ds.private_block(0x0099, "Planted", create=True).add_new(1, "LO", MARKER)
    ds.save_as(target)


@TWO_EXPOSURES
def test_no_identity_reaches_an_output(small, tmp_path):
    planted(get_testdata_file("CT_small.dcm"), small / "a.dcm")
    raw = (small / "a.dcm").read_bytes()
    assert raw.lower().count(MARKER.lower().encode()) > 15
    source = read_images(small)
    assert MARKER.lower() not in repr(source).lower()
    (file,) = write_series(
        tmp_path / "out", source.hu, like=source, series_description="x", kernel="hann",
        kvp=source.kvp, mas=source.mas,
    )  # fmt: skip
    written = file.read_bytes().lower()
    for secret in (MARKER.lower().encode(), b"19010203", b"19040506", b"070809", b"ge medical"):
        assert secret not in written
    original = pydicom.dcmread(small / "a.dcm")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert original[keyword].value.encode() not in written


@TWO_EXPOSURES
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"spacing": None}, "geometry"),
        ({"positions": None}, "geometry"),
        ({"slice_thickness": None}, "geometry"),
        ({"spacing": (0.0, 1.0)}, "positive"),
        ({"positions": [(0, 0, 0)]}, "positions"),
        ({"positions": [1.0]}, "positions"),
        ({"spacing": 1.0}, "spacing"),
        ({"positions": "here"}, "positions"),
        ({"hu": np.full((1, 2, 2), np.nan), "positions": [(0, 0, 0)]}, "NaN"),
        ({"hu": np.zeros((2, 2))}, "slices, rows, cols"),
        ({"series_description": "x" * 65}, "64"),
        ({"kernel": "a\\b"}, "backslash"),
        ({"mas": -10.0}, "mas"),
        ({"kvp": float("nan")}, "kvp"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, change, word):
    with pytest.raises(DataError, match=word):
        write(tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


@TWO_EXPOSURES
def test_images_on_other_pixels_need_their_own_geometry(small, tmp_path):
    source = read_images(small)
    setting = {"like": source, "series_description": "resampled"}
    with pytest.raises(DataError, match="spacing and positions"):
        write_series(tmp_path / "out", np.zeros((1, 64, 64)), **setting)
    write_series(
        tmp_path / "out",
        np.zeros((1, 64, 64)),
        spacing=(1.0, 1.0),
        positions=[(1, 2, 3)],
        **setting,
    )
    assert read_images(tmp_path / "out").positions.tolist() == [[1, 2, 3]]
