"""What lies in real folders beside the slices or the views, and how one series is told."""

import shutil

import numpy as np
import pydicom
import pytest
from ct_files import TWO_EXPOSURES, scene, write
from ctpd_files import RAW_DATA
from ctpd_files import write as write_views
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from recon.ctpd.read import read_scan
from recon.dicom.folder import list_files
from recon.dicom.images import read_images
from recon.errors import DataError
from recon.phantom.volumes.files import read_volume

STORAGE = "1.2.840.10008.5.1.4.1.1"
NO_SLICES = {  # class and what it is called
    f"{STORAGE}.88.67": "report",
    f"{STORAGE}.88.59": "report",
    f"{STORAGE}.11.1": "presentation state",
    f"{STORAGE}.481.5": "radiotherapy",
    f"{STORAGE}.481.3": "radiotherapy",
    f"{STORAGE}.7": "screen capture",
    f"{STORAGE}.104.1": "document",
    f"{STORAGE}.66.4": "segmentation",
    "1.3.12.2.1107.5.9.1": "maker's own",
    "1.2.840.10008.1.3.10": "directory",
}


def put_object(file, sop_class, modality="", **attributes):
    """A small DICOM object that holds no slice."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    if sop_class != "1.2.840.10008.1.3.10":
        ds.SOPClassUID = sop_class
    ds.Modality = modality
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.save_as(file, enforce_file_format=True)


def put_litter(folder):
    """What discs, archives and operating systems leave."""
    for name in (
        "DIRFILE", "DICOMDIR", "._slice-001.dcm", ".DS_Store", "Thumbs.db", "desktop.ini", "README",
        "notes.txt", "list.csv", "report.pdf",
    ):  # fmt: skip
        (folder / name).write_bytes(b"\0\5\x16\7 no image")
    (folder / "nested").mkdir()


def edit(file, to=None, **changes):
    ds = pydicom.dcmread(file)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.save_as(to or file)
    return to or file


def test_litter_is_passed_over_in_silence(tmp_path):
    write(tmp_path)
    write_views(tmp_path / "views")
    for folder in (tmp_path, tmp_path / "views"):
        put_litter(folder)
    assert len(read_images(tmp_path)) == 3
    scan = read_scan(tmp_path / "views")
    assert len(scan) == 24 and not any("passed over" in note for note in scan.notes)


def test_a_directory_is_one_by_its_name_and_by_its_class(tmp_path):
    write(tmp_path)
    put_object(tmp_path / "DIRFILE", "1.2.840.10008.5.1.4.1.1.2")
    assert len(read_images(tmp_path)) == 3
    shutil.copy(get_testdata_file("DICOMDIR"), tmp_path / "INDEX")
    with pytest.warns(UserWarning, match=r"directory \(1\)"):
        assert len(read_images(tmp_path)) == 3


@pytest.mark.parametrize(("sop_class", "words"), NO_SLICES.items())
def test_objects_without_a_slice_are_counted(tmp_path, sop_class, words):
    write(tmp_path)
    put_object(tmp_path / "a.dcm", sop_class, "OT")
    put_object(tmp_path / "z", sop_class, "OT")
    with pytest.warns(UserWarning, match=rf"passed over.*{words}.*\(2\)"):
        assert len(read_images(tmp_path)) == 3
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_images(tmp_path / "a.dcm")


def test_projections_pass_over_the_same_objects(tmp_path):
    folder = write_views(tmp_path / "scan")
    plain = read_scan(folder)
    for k, sop_class in enumerate(NO_SLICES):
        put_object(folder / f"{'0' if k % 2 else 'zz'}{k}.dcm", sop_class, "OT")
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "000.dcm")
    edit(folder / "000.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    scan = read_scan(folder)
    (note,) = (note for note in scan.notes if "passed over" in note)
    assert "localizer (1)" in note and "report (2)" in note
    assert np.array_equal(scan.line_integrals[:], plain.line_integrals[:])
    assert np.array_equal(scan.photons, plain.photons)
    for file in folder.iterdir():
        if pydicom.dcmread(file, stop_before_pixels=True).get("SOPClassUID") == RAW_DATA:
            file.unlink()
    with pytest.raises(DataError, match=r"without DICOM-CT-PD views.*report \(2\)"):
        read_scan(folder)


def test_an_image_among_projections_is_refused(tmp_path):
    folder = write_views(tmp_path / "scan")
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "zz.dcm")
    with pytest.raises(DataError, match=r"not a DICOM-CT-PD view.*zz\.dcm"):
        read_scan(folder)


def test_a_view_that_lost_its_creator_is_not_passed_over(tmp_path):
    folder = write_views(tmp_path / "scan")
    put_object(sorted(folder.iterdir())[3], RAW_DATA, "CT")
    with pytest.raises(DataError, match="not a DICOM-CT-PD view"):
        read_scan(folder)


@pytest.mark.parametrize("values", [["ORIGINAL", "PRIMARY", "LOCALIZER"], ["DERIVED", "SECONDARY",
                                    "REFORMATTED", "MIP"]])  # fmt: skip
def test_a_localizer_in_the_folder_is_passed_over(tmp_path, values):
    files = write(tmp_path)
    edit(
        files[0], tmp_path / "0.dcm", ImageType=values, SeriesInstanceUID=generate_uid(),
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1], SliceThickness="500",
    )  # fmt: skip
    with pytest.warns(UserWarning, match=r"passed over.*\(1\)"):
        assert len(read_images(tmp_path)) == 3
    with pytest.raises(DataError, match="is not a slice"):
        read_images(tmp_path / "0.dcm")


def test_a_folder_of_nothing_but_other_objects_says_so(tmp_path):
    put_object(tmp_path / "a.dcm", f"{STORAGE}.88.67", "SR")
    (tmp_path / "series").mkdir()
    with pytest.raises(DataError, match=r"report \(1\), subfolder \(1\).*not searched"):
        read_images(tmp_path)


def test_one_of_several_series_is_chosen_by_number_uid_or_description(tmp_path):
    first = write(tmp_path, scene(slices=2))
    uid = generate_uid()
    for k, file in enumerate(first):
        edit(file, SeriesNumber=4, SeriesDescription="Abdomen 5.0 B30f")
        edit(file, tmp_path / f"other-{k}.dcm", SeriesNumber=7, SeriesInstanceUID=uid,
             SeriesDescription="Abdomen\x7f  1.0", PixelSpacing=[0.5, 0.5],
             SOPInstanceUID=generate_uid())  # fmt: skip
    with pytest.raises(DataError) as refused:
        read_images(tmp_path)
    said = str(refused.value)
    listed = f"7 'Abdomen 1.0' ({uid}, 2 slices"
    for word in ("2 series", listed, "slice-001.dcm", "other-0.dcm", "(0020,000E)", "--series"):
        assert word in said
    assert said.isprintable()
    assert read_images(tmp_path, series="abdomen 5.0  b30F").spacing == (0.7, 0.8)
    assert read_images(tmp_path, series="7").spacing == (0.5, 0.5)
    assert read_images(tmp_path, series=uid).spacing == (0.5, 0.5)
    assert read_images(tmp_path, series="4").spacing == (0.7, 0.8)
    for wrong in ("5", "1.2.3"):
        with pytest.raises(DataError, match=f"{wrong}.*2 series"):
            read_images(tmp_path, series=wrong)
    for file in tmp_path.iterdir():
        edit(file, SeriesDescription="one name")
    with pytest.raises(DataError, match="no series, or not one, is 'one name'"):
        read_images(tmp_path, series="one name")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ImageOrientationPatient": ["1", "-0.0087265", "0", "0.0087265", "1", "0"]},
         {"ImageOrientationPatient": ["1", "-0.00872653", "0", "0.00872653", "1", "-0.00000003"]}),
        ({"PixelSpacing": ["0.9765625", "0.9765625"]}, {"PixelSpacing": ["0.976562", "0.976563"]}),
        ({"KVP": "120"}, {"KVP": "120.0000"}),
        ({"KVP": "120"}, {"KVP": None}),
        ({"KVP": None}, {"KVP": "120"}),
    ],
)  # fmt: skip
def test_numbers_of_one_series_may_be_rounded(tmp_path, before, after):
    files = write(tmp_path)
    for file in files:
        edit(file, **before)
    edit(files[1], **after)
    images = read_images(tmp_path)
    assert len(images) == 3 and images.kvp == 120.0


@pytest.mark.parametrize(
    "other",
    [{"PixelSpacing": ["0.7005", "0.8"]}, {"KVP": "121"},
     {"ImageOrientationPatient": ["1", "0.00015", "0", "-0.00015", "1", "0"]}],
)  # fmt: skip
def test_more_than_rounding_is_another_series(tmp_path, other):
    edit(write(tmp_path)[1], **other)
    with pytest.raises(DataError, match="not of one series"):
        read_images(tmp_path)


@pytest.mark.parametrize("absent", [False, True])
def test_a_thickness_that_is_not_stated_is_the_distance(tmp_path, absent):
    files = write(tmp_path, positions=[1.0, 3.5, 6.0])
    for file in files[:2] if absent else files:
        ds = pydicom.dcmread(file)
        ds.SliceThickness = None
        if absent:
            del ds.SliceThickness
        ds.save_as(file)
    with pytest.warns(UserWarning) as caught:
        images = read_images(tmp_path)
    assert "2.5 mm, their distance" in " ".join(str(one.message) for one in caught)
    assert images.thicknesses.tolist() == [2.5, 2.5, 1.5 if absent else 2.5]


def test_thin_slices_may_not_state_their_thickness_either(tmp_path):
    for file in write(tmp_path, positions=[1.0, 1.4, 1.8]):
        edit(file, SliceThickness=None)
    with pytest.warns(UserWarning, match=r"0\.4 mm, their distance"):
        images = read_images(tmp_path)
    assert images.thicknesses.tolist() == pytest.approx([0.4] * 3)


def test_a_single_slice_may_not_state_its_thickness(tmp_path):
    (file,) = write(tmp_path, scene(slices=1))
    edit(file, SliceThickness=None)
    with pytest.warns(UserWarning, match="does not state its thickness"):
        images = read_images(tmp_path)
    assert "unknown thickness" in repr(images)
    with (
        pytest.warns(UserWarning, match="thickness"),
        pytest.raises(DataError, match=r"\(0018,0050\)"),
    ):
        read_volume(tmp_path, mu_water=0.02)
    edit(file, SpacingBetweenSlices=3.0)
    with pytest.warns(UserWarning, match="3 mm, their distance"):
        assert read_images(tmp_path).slice_thickness == 3.0


@pytest.mark.parametrize(("step", "digits"), [(0.625, 2), (0.75, 1), (1.25, 1), (2.5, 0)])
def test_positions_that_the_scanner_rounded_are_even(tmp_path, step, digits):
    z = [round(k * step, digits) for k in range(12)]
    if digits == 0:
        z = [k * step + 0.2 * (-1) ** k for k in range(12)]
    write(tmp_path, scene(slices=12), positions=z)
    assert read_volume(tmp_path, mu_water=0.02).spacing[0] == pytest.approx(step, rel=0.1)


def test_a_slice_that_is_missing_is_not_rounding(tmp_path):
    files = write(tmp_path, scene(slices=12), positions=[0.625 * k for k in range(12)])
    files[5].unlink()
    told = pytest.warns(UserWarning, match=r"1 slice of 0.625 mm may be missing: between z 2.5 and")
    with told, pytest.raises(DataError, match="not evenly spaced"):
        read_volume(tmp_path, mu_water=0.02)
    for k in (1, 2, 8):
        files[k].unlink()
    with pytest.warns(UserWarning, match=r"4 slices .* 0.0 and 1.9 mm, 2.5 and 3.8 mm, 4.4 and"):
        assert len(read_images(tmp_path)) == 8


@pytest.mark.parametrize(
    "directions",
    [(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)],
    ids=["head first supine", "head first prone", "feet first supine", "feet first prone"],
)
@pytest.mark.parametrize("turned", [False, True], ids=["", "decubitus"])
def test_any_axial_orientation_comes_into_the_common_frame(tmp_path, directions, turned):
    """A marker to the patient's left, at the back and towards the head stays there."""
    patient = np.full((4, 20, 30), -1000.0)
    patient[3, 16, 24] = 500.0  # superior, posterior, left
    x, y, z = directions
    seen = patient[::z, ::y, ::x]
    corner = np.array([0.0 if x > 0 else 29 * 0.8, 0.0 if y > 0 else 19 * 0.7])
    across, down = np.array([x, 0, 0]), np.array([0, y, 0])
    if turned:
        seen, across, down = seen.transpose(0, 2, 1), down, across
    places = [(*corner, 2.0 * k) for k in range(4)][::z]
    spacing = (0.8, 0.7) if turned else (0.7, 0.8)
    files = write(tmp_path, seen, positions=places, slice_thickness=2.0, spacing=spacing)
    for file in files:
        edit(file, ImageOrientationPatient=[*across.tolist(), *down.tolist()])
    phantom = read_volume(tmp_path, mu_water=0.02)
    assert phantom.spacing == pytest.approx((2.0, 0.7, 0.8))
    np.testing.assert_array_equal(phantom.hu, patient)


def test_what_stands_for_a_uid_in_a_view_is_not_kept(tmp_path):
    folder = write_views(tmp_path / "scan")
    for file in folder.iterdir():
        content = file.read_bytes()
        old = str(pydicom.dcmread(file).SeriesInstanceUID).encode()
        file.write_bytes(content.replace(old, b"Doe^Jane"[: len(old)].ljust(len(old), b"x")))
    uid = read_scan(folder).series_uid
    assert uid.startswith("2.25.") and pydicom.uid.UID(uid).is_valid


@TWO_EXPOSURES
def test_a_foreign_image_is_still_refused(small):
    shutil.copy(get_testdata_file("MR_small.dcm"), small / "mr.dcm")
    with pytest.raises(DataError, match=r"not a CT image.*folder of their own"):
        read_images(small)


def test_a_link_that_leads_back_to_itself_is_named(tmp_path):
    (tmp_path / "gone.dcm").symlink_to("nowhere.dcm")  # leads to nothing, as litter does
    assert list_files(tmp_path) == []
    (tmp_path / "loop.dcm").symlink_to("loop.dcm")
    with pytest.raises(DataError, match=r"cannot be looked into \(.*loop\.dcm\)"):
        list_files(tmp_path)
