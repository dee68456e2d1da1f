"""Writing derived series: read back exactly, with UIDs of their content and without identity."""

import numpy as np
import pydicom
import pytest
from ct_files import TWO_EXPOSURES, scene, write
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from recon.dicom.elements import HU_RANGE
from recon.dicom.images import read_images
from recon.dicom.write import write_series
from recon.errors import DataError

MARKER = "Zq7PlantedHere"  # long enough never to stand in pixels by chance


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
    assert ds.PatientIdentityRemoved == "YES" and not ds.PatientName
    assert ds.PatientID == f"ctxai-{ds.StudyID}" and ds.StudyDate == "20000101" and ds.SeriesNumber
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


def texts(file):
    """What a file's elements say; in pixels and in digits of UIDs a date may stand by chance."""
    elements = pydicom.dcmread(file).iterall()
    return " ".join(str(e.value) for e in elements if e.VR not in ("OW", "SQ", "UI")).lower()


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
    assert MARKER.lower().encode() not in written
    before, after = texts(small / "a.dcm"), texts(file)
    for secret in ("19010203", "19040506", "070809"):
        assert secret in before and secret not in after
    assert "derived" in after and "ge medical" not in after
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
