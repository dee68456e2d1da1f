"""Values out of reason in the headers of CT images: refused by file and tag, before any pixel."""

import dataclasses

import numpy as np
import pydicom
import pytest
from ct_files import TWO_EXPOSURES

import recon.dicom.images as images_module
from recon.dicom.acquisition import Acquisition
from recon.dicom.images import read_images
from recon.dicom.reason import _REASONS
from recon.dicom.write import write_series
from recon.errors import DataError
from recon.scan.scan import own_uid

SLOPE, INTERCEPT = 0x00281053, 0x00281052
ORIENTATION, POSITION, SPACING = 0x00200037, 0x00200032, 0x00280030
THICKNESS, TILT, CURRENT = 0x00180050, 0x00181120, 0x00181151


def changed(folder, tag, text, vr="DS"):
    """The slice with one element set to the very bytes of a text."""
    ds = pydicom.dcmread(folder / "a.dcm")
    ds[tag] = pydicom.DataElement(tag, "UN", b"")  # no conversion, no check
    ds[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), vr, 0, text.encode(), 0, False, True
    )
    ds.save_as(folder / "a.dcm")
    return folder


OUT_OF_REASON = [
    (SLOPE, "0"), (SLOPE, "-1"), (SLOPE, "nan"), (SLOPE, "inf"), (SLOPE, "1e-9"), (SLOPE, "1\\1"),
    (SLOPE, "one"), (SLOPE, "1e9"),
    (INTERCEPT, "1e9"), (INTERCEPT, "-1e9"), (INTERCEPT, "inf"), (INTERCEPT, "-inf"),
    (INTERCEPT, "nan"), (INTERCEPT, "-100000"),
    (ORIENTATION, "1\\0\\0\\0\\nan\\0"), (ORIENTATION, "1\\0\\0\\0\\1"),
    (ORIENTATION, "2\\0\\0\\0\\2\\0"), (ORIENTATION, "1\\0\\0\\0\\1\\0\\0"),
    (ORIENTATION, "1\\0\\0\\1\\0\\0"), (ORIENTATION, "0\\0\\0\\0\\0\\0"),
    (ORIENTATION, "0.9\\0\\0\\0\\1\\0"), (ORIENTATION, "1\\0\\0\\0.1\\0.995\\0"),
    (POSITION, "1\\2"), (POSITION, "1\\2\\3\\4"), (POSITION, "1\\2\\nan"), (POSITION, "1\\2\\1e9"),
    (POSITION, "1"), (POSITION, "a\\b\\c"),
    (SPACING, "0\\1"), (SPACING, "-1\\1"), (SPACING, "1"), (SPACING, "1\\inf"),
    (SPACING, "1e-9\\1"), (SPACING, "1\\1\\1"), (SPACING, "500\\500"),
    (THICKNESS, "1e-9"), (THICKNESS, "1000"), (THICKNESS, "0"), (THICKNESS, "-5"),
    (THICKNESS, "inf"), (THICKNESS, "5\\5"),
    (TILT, "inf"), (TILT, "nan"), (TILT, "1e5"),
    (0x00180060, "1e9"), (0x00180060, "nan"), (0x00180060, "inf"),
    # just outside
    (SLOPE, "1001"), (SLOPE, "9e-7"), (INTERCEPT, "65537"), (INTERCEPT, "-65537"),
    (SPACING, "1\\100.1"), (SPACING, "9e-4\\1"), (POSITION, "1\\2\\-100001"),
    (POSITION, "100001\\2\\3"), (THICKNESS, "0.009"), (THICKNESS, "100.1"), (TILT, "90.5"),
    (TILT, "-90.5"), (0x00180060, "0.9"), (0x00180060, "10001"), (0x00180088, "100.1"),
    (0x00180088, "-100.1"),
]  # fmt: skip
WHOLE = [
    (CURRENT, "1000000000"), (0x00181150, "2000000000"), (0x00181152, "2000000000"),
    (0x00181153, "2000000000"), (0x00280008, "2"),
    # just outside
    (CURRENT, "10001"), (0x00181150, "1000001"), (0x00181152, "1000001"),
    (0x00181153, "1000000001"),
]  # fmt: skip
SHORT = [(0x00280002, 3), (0x00280101, 8)]


def test_a_padding_value_is_a_stored_number_of_at_most_32_bits_with_a_sign_or_without():
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        assert (_REASONS[name].low, _REASONS[name].high) == (-2147483648, 4294967296)


def refusal(folder, monkeypatch):
    def never(header):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(images_module, "read_slice_pixels", never)
    with pytest.raises(DataError) as caught:
        read_images(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tag", "text", "vr"),
    [(*one, "DS") for one in OUT_OF_REASON]
    + [(*one, "IS") for one in WHOLE]
    + [(tag, value.to_bytes(2, "little").decode(), "US") for tag, value in SHORT],
)
def test_what_is_out_of_reason_is_refused_by_file_and_tag(small, tag, text, vr, monkeypatch):
    said = refusal(changed(small, tag, text, vr), monkeypatch)
    assert f"({tag >> 16:04X},{tag & 0xFFFF:04X})" in said and "a.dcm" in said
    assert "expected" in said and "got" in said and "\n" not in said


@pytest.mark.parametrize("text", ["MGML", "Z_EFF", "OD", "PCT"])
def test_values_of_another_kind_are_no_ct_numbers(small, text, monkeypatch):
    said = refusal(changed(small, 0x00281054, text, "LO"), monkeypatch)
    assert "RescaleType (0028,1054)" in said and text in said


@TWO_EXPOSURES
@pytest.mark.parametrize(
    ("tag", "text", "vr"),
    [
        (0x00281054, "US", "LO"), (0x00281054, "HU ", "LO"), (0x00281054, "", "LO"),
        (SLOPE, "1.0000000000000", "DS"), (INTERCEPT, "-1.024E+03", "DS"),
        (ORIENTATION, "0.999\\0\\0\\0\\1\\0", "DS"), (ORIENTATION, "-1\\0\\0\\0\\-1\\0", "DS"),
        (SPACING, "0.05\\0.05", "DS"), (THICKNESS, "0.0625", "DS"), (THICKNESS, "30", "DS"),
        (TILT, "", "DS"), (TILT, "-30", "DS"), (TILT, "-0.0", "DS"),
        (0x00180060, "", "DS"), (0x00180060, "0", "DS"), (0x00180060, "3500", "DS"),
        (CURRENT, "0", "IS"), (CURRENT, "-1", "IS"), (0x00181150, "", "IS"),
        (0x00280008, "1", "IS"), (POSITION, "-250\\-250.5\\-1875.25", "DS"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*slices are tilted")
def test_what_scanners_write_is_taken(small, tag, text, vr):
    assert len(read_images(changed(small, tag, text, vr))) == 1


@TWO_EXPOSURES
def test_a_limit_of_zero_bounds_the_padding(small):
    ds = pydicom.dcmread(small / "a.dcm")
    pixels = ds.pixel_array.copy()
    pixels[:5], pixels[5:7], pixels[7:9] = -2000, 0, 1
    ds.PixelData = pixels.tobytes()
    ds.add_new(0x00280120, "SS", -2000)
    ds.add_new(0x00280121, "SS", 0)
    ds.save_as(small / "a.dcm")
    hu = read_images(small).hu[0]
    assert (hu[:7] == -1000).all() and (hu[7:9] == 1 - 1024).all()


def test_a_value_that_is_no_number_is_not_repeated(small, monkeypatch):
    said = refusal(changed(small, SLOPE, "Doe^Jane"), monkeypatch)
    assert "Doe" not in said and "not a number" in said


@TWO_EXPOSURES
def test_a_coarsely_rounded_orientation_is_no_tilt(small):
    """0.999 is no cosine of 2.6°, but a 1 that was written with three digits."""
    images = read_images(changed(small, ORIENTATION, "0.999\\0\\0\\0\\0.999\\0"))
    assert images.tilt == 0.0


NO_UIDS = ["Doe^Jane", "<script>", "19010203", "1.2.03", "1..2", "1.2.", "3.1", "1." + "2" * 64]


@TWO_EXPOSURES
@pytest.mark.parametrize("text", NO_UIDS)
@pytest.mark.parametrize("tag", [0x00080018, 0x0020000D, 0x0020000E, 0x00200052])
def test_what_is_no_uid_is_never_copied(small, tmp_path, tag, text):
    images = read_images(changed(small, tag, text, "UI"))
    held = (*images.instance_uids, images.study_uid, images.frame_uid)
    assert all(pydicom.uid.UID(uid).is_valid and uid != text for uid in held)
    (file,) = write_series(tmp_path / "out", images.hu, like=images, series_description="x")
    written = pydicom.dcmread(file)
    uids = [str(e.value) for e in written.iterall() if e.VR == "UI"]
    assert len(uids) > 5 and text not in uids
    assert all(pydicom.uid.UID(uid).is_valid for uid in uids)


@TWO_EXPOSURES
def test_what_is_no_uid_is_not_written_either(small, tmp_path):
    images = dataclasses.replace(read_images(small), instance_uids=("Doe^Jane",))
    (file,) = write_series(tmp_path / "out", images.hu, like=images, series_description="x")
    assert b"Doe" not in file.read_bytes()
    nowhere = np.zeros((1, 3))
    acquisition = Acquisition(
        patient_position="HFS", orientation=images.orientation, positions=nowhere,
        isocentres=nowhere, targets=nowhere, study="s", frame="f", source_series="Doe^Jane",
        attributes={},
    )  # fmt: skip
    ds = pydicom.Dataset()
    acquisition.put(ds, 0)
    item = ds.ReferencedRawDataSequence[0].ReferencedSeriesSequence[0]
    assert item.SeriesInstanceUID == own_uid("Doe^Jane")


@TWO_EXPOSURES
@pytest.mark.parametrize("signed", [False, True])
def test_padding_of_an_implicit_file_is_a_number(small, signed):
    """Where no VR is written, the pixels' own sign says what the bytes mean."""
    ds = pydicom.dcmread(small / "a.dcm")
    pixels = ds.pixel_array.astype(np.int32).clip(0, 4000)
    pixels[:5] = -2000 if signed else 63536
    ds.PixelData = pixels.astype(np.int16 if signed else np.uint16).tobytes()
    ds.PixelRepresentation = int(signed)
    ds.add_new(0x00280120, "SS" if signed else "US", -2000 if signed else 63536)
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    ds.save_as(small / "a.dcm", implicit_vr=True, little_endian=True)
    hu = read_images(small).hu[0]
    assert (hu[:5] == -1000).all() and (hu[5:] == pixels[5:] - 1024).all()


def test_uids_that_are_some_stay():
    good = ("1.2.840.10008.5.1.4.1.1.2", "2.25.329800735698586629295641978511506172918", "0.0", "")
    assert [own_uid(uid) for uid in good] == list(good)
    new = {own_uid(text) for text in NO_UIDS}
    assert len(new) == len(NO_UIDS) and all(uid.startswith("2.25.") for uid in new)
