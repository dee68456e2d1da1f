"""NIfTI and NRRD: every voxel at its place in the patient, and a round trip that keeps it there.

The object is one bright voxel off every centre in slices without symmetry, so that a flipped or
swapped axis moves it. Affines are checked against nibabel's own and against SimpleITK.
"""

import itertools

import numpy as np
import pydicom
import pytest
from ct_files import scene, write
from real_data import DATA, needs

from recon.dicom.images import CTImages, read_images
from recon.dicom.write import write_series
from recon.errors import DataError
from recon.volumes.files import write_volume

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: pip install '.[images]'")
nrrd = pytest.importorskip("nrrd", reason="pynrrd is not installed: pip install '.[images]'")

FORMATS = ("nii", "nii.gz", "nrrd")
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MARKED = 1, 7, 21  # slice, row, column
PLACE = np.array([-12.5 + 21 * 0.875, -7.25 + 7 * 0.75, 10.0 + 1.5])  # of that voxel, LPS


def series():
    """Three slices of 20 × 30; numbers that float32 holds exactly."""
    hu = np.rint(scene())
    hu[MARKED] = 3071
    n = len(hu)
    return CTImages(
        hu=hu, spacing=(0.75, 0.875), kvp=None, thicknesses=np.full(n, 1.5),
        positions=np.array([(-12.5, -7.25, 10.0 + 1.5 * k) for k in range(n)]),
        exposures=np.full(n, np.nan),
    )  # fmt: skip


def place_of(images, index):
    """Where a voxel (slice, row, column) lies, by the definition of DICOM (PS3.3 C.7.6.2.1.1)."""
    k, i, j = index
    across, down = np.reshape(images.orientation, (2, 3))
    return images.positions[k] + across * j * images.spacing[1] + down * i * images.spacing[0]


def nifti(path, values, affine, **codes):
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=codes.get("sform", 1))
    image.set_qform(affine if codes.get("qform", 1) else None, code=codes.get("qform", 1))
    nibabel.save(image, path)
    return path


def test_a_file_of_one_slice_may_have_two_axes(tmp_path):
    image = series().hu[1]
    path = nifti(tmp_path / "one.nii", image.T, RAS)  # x, y
    read = read_images(path)
    assert read.hu.shape == (1, *image.shape)
    flat, deep = (
        read_images(nifti(tmp_path / f"{k}.nii", values, RAS))
        for k, values in enumerate((image.T, image.T[..., None]))
    )
    assert (flat.hu == deep.hu).all() and (flat.positions == deep.positions).all()


def test_slices_are_a_sequence_that_ends():
    images = series()
    assert [one.positions[0, 2] for one in images] == [10.0, 11.5, 13.0]
    assert [len(one) for one in images] == [1, 1, 1]
    assert images[np.int64(2)].positions[0, 2] == images[-1].positions[0, 2] == 13.0
    for outside in (3, -4, 100):
        with pytest.raises(IndexError):
            images[outside]
    with pytest.raises(TypeError):
        images["first"]
    assert len(images[3:]) == 0 and "no slices" in repr(images[3:])


def test_slices_are_an_array():
    images = series()
    assert np.asarray(images) is images.hu
    assert np.array(images).shape == (3, 20, 30) and np.array(images) is not images.hu
    assert np.asarray(images, dtype=np.float64).dtype == np.float64
    assert np.stack(list(images)).shape == (3, 1, 20, 30)
    assert float(np.max(images[1])) == 3071.0


@pytest.mark.parametrize("form", FORMATS)
def test_a_round_trip_keeps_numbers_and_places(tmp_path, form):
    images = series()
    back = read_images(write_volume(tmp_path / f"ct.{form}", images.hu, like=images))
    assert np.array_equal(back.hu, images.hu) and back.hu.dtype == np.float32
    assert back.spacing == pytest.approx(images.spacing, abs=1e-6)
    assert back.positions == pytest.approx(images.positions, abs=1e-6)
    assert place_of(back, MARKED) == pytest.approx(PLACE, abs=1e-6)
    assert back.slice_thickness == pytest.approx(1.5, abs=1e-6)
    assert back.kvp is None and back.mas is None and len(back.files) == 3
    assert back.orientation == pytest.approx((1, 0, 0, 0, 1, 0))


@pytest.mark.parametrize("form", FORMATS)
def test_a_round_trip_of_numbers_that_are_written_in_decimals(tmp_path, form):
    images = read_images(write(tmp_path / "dicom", spacing=(0.661468, 0.810547),
                               positions=[(-158.135803, -179.035797, -75.7 + 1.25 * k)
                                          for k in range(3)])[0].parent)  # fmt: skip
    back = read_images(write_volume(tmp_path / f"ct.{form}", images.hu, like=images))
    place = 1e-6 if form == "nrrd" else 1.6e-5  # NIfTI-1 keeps the affine in float32
    assert back.positions == pytest.approx(images.positions, abs=place)
    assert back.spacing == pytest.approx(images.spacing, abs=1e-6)


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
@pytest.mark.parametrize("signs", itertools.product((1, -1), repeat=3))
def test_any_order_and_direction_of_the_axes_is_turned(tmp_path, order, signs):
    """As a viewer would: the bright voxel stays where the affine put it, slices become axial."""
    images = series()
    affine = np.diag([0.875, 0.875, 1.5, 1.0])  # (x, y, z) of the patient, LPS
    affine[:3, 3] = images.positions[0]
    values = images.hu.transpose(2, 1, 0)
    for axis in range(3):
        if signs[axis] < 0:
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
            values = np.flip(values, axis)
    values, affine = values.transpose(order), affine[:, [*order, 3]]
    back = read_images(nifti(tmp_path / "ct.nii", np.ascontiguousarray(values), RAS @ affine))
    assert np.array_equal(back.hu, images.hu)
    found = np.unravel_index(back.hu.argmax(), back.hu.shape)
    (stored,) = np.argwhere(values == 3071)
    assert place_of(back, found) == pytest.approx((affine @ [*stored, 1])[:3], abs=1e-6)
    assert back.positions == pytest.approx(images.positions, abs=1e-6)
    assert back.orientation == pytest.approx((1, 0, 0, 0, 1, 0)) and back.spacing == (0.875, 0.875)


def test_nibabel_sees_the_voxel_at_its_place(tmp_path):
    images = series()
    image = nibabel.load(write_volume(tmp_path / "ct.nii.gz", images.hu, like=images))
    (stored,) = np.argwhere(image.get_fdata() == 3071)
    right, front, up = nibabel.affines.apply_affine(image.affine, stored)
    assert (-right, -front, up) == pytest.approx(PLACE, abs=1e-6)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-5)


@pytest.mark.parametrize("form", FORMATS)
def test_simpleitk_sees_the_voxel_at_its_place(tmp_path, form):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    images = series()
    image = sitk.ReadImage(str(write_volume(tmp_path / f"ct.{form}", images.hu, like=images)))
    (stored,) = np.argwhere(sitk.GetArrayFromImage(image) == 3071).tolist()
    assert image.TransformIndexToPhysicalPoint(stored[::-1]) == pytest.approx(PLACE, abs=1e-5)
    assert image.GetSpacing() == pytest.approx((0.875, 0.75, 1.5), abs=1e-6)


def test_simpleitk_reads_the_dicom_series_and_the_volume_alike(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    files = write(tmp_path / "dicom")
    images = read_images(tmp_path / "dicom")
    one = sitk.ReadImage([str(file) for file in files])
    two = sitk.ReadImage(str(write_volume(tmp_path / "ct.nrrd", images.hu, like=images)))
    assert np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(two))
    for fact in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(one, fact)() == pytest.approx(getattr(two, fact)(), abs=1e-6)


@pytest.mark.parametrize("space", ["right-anterior-superior", "LPS", "left-anterior-superior"])
def test_nrrd_in_any_of_a_patients_spaces(tmp_path, space):
    images = series()
    signs = {"r": (-1, -1, 1), "L": (1, 1, 1), "l": (1, -1, 1)}[space[0]]
    header = {
        "space": space, "space origin": images.positions[0] * signs,
        "space directions": np.diag(np.multiply((0.875, 0.75, 1.5), signs)),
    }  # fmt: skip
    nrrd.write(str(tmp_path / "ct.nrrd"), images.hu.transpose(2, 1, 0), header)
    header["space directions"] = header["space directions"][[1, 0, 2]]  # a row an axis of the array
    nrrd.write(str(tmp_path / "turned.nrrd"), images.hu.transpose(1, 2, 0), header)
    for name in ("ct.nrrd", "turned.nrrd"):
        back = read_images(tmp_path / name)
        assert np.array_equal(back.hu, images.hu)
        assert place_of(back, MARKED) == pytest.approx(PLACE, abs=1e-6)


@pytest.mark.parametrize("form", FORMATS)
def test_integers_are_small_and_one_slice_is_enough(tmp_path, form):
    images = series()[1]
    path = write_volume(tmp_path / f"ct.{form}", images.hu.astype(np.int32), like=images)
    back = read_images(path)
    assert back.positions == pytest.approx(images.positions) and np.array_equal(back.hu, images.hu)
    if form == "nii":
        assert nibabel.load(path).get_data_dtype() == np.int16
    again = write_volume(tmp_path / f"other.{form}", images.hu.astype(np.int32), like=images)
    assert path.read_bytes() == again.read_bytes(), "no date, no name"
    with pytest.raises(DataError, match="int16"):
        write_volume(path, np.full((1, 20, 30), 40000), like=images)


def test_a_series_of_a_volume_has_a_study_of_its_own(tmp_path):
    images = series()
    first = read_images(write_volume(tmp_path / "a.nii", images.hu, like=images))
    second = read_images(write_volume(tmp_path / "b.nii", images.hu + 1, like=images))
    assert first.study_uid and first.study_uid != second.study_uid
    files = write_series(tmp_path / "out", first.hu, like=first, series_description="same")
    assert "SourceImageSequence" not in pydicom.dcmread(files[0]), "it has no images in DICOM"
    back = read_images(tmp_path / "out")
    assert np.array_equal(back.hu, first.hu)
    assert back.positions == pytest.approx(first.positions, abs=1e-6)


def refusal(path):
    with pytest.raises(DataError) as caught:
        read_images(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def turned(degrees, axis=0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    i, j = [k for k in range(3) if k != axis]
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def test_oblique_volumes_are_refused_with_the_angle(tmp_path):
    hu = series().hu
    assert "18.0° off" in refusal(nifti(tmp_path / "a.nii", hu, turned(18)))
    assert "oblique" in refusal(nifti(tmp_path / "b.nii", hu, turned(45)))
    sheared = np.eye(4)
    sheared[1, 2] = 0.3  # slices of a tilted gantry, not straightened
    assert "oblique" in refusal(nifti(tmp_path / "c.nii", hu, sheared, qform=0))
    assert len(read_images(nifti(tmp_path / "d.nii", hu, turned(0.3)))) == 30


def test_sagittal_slices_are_refused_but_cubes_in_any_order_are_not(tmp_path):
    sagittal = np.zeros((4, 4))
    sagittal[1, 0], sagittal[2, 1], sagittal[0, 2], sagittal[3, 3] = 0.7, 0.7, 3.0, 1.0
    said = refusal(nifti(tmp_path / "a.nii", series().hu, sagittal))
    assert "not axial" in said and "sagittal" in said and "3 × 0.7" in said
    sagittal[0, 2] = 0.7
    assert len(read_images(nifti(tmp_path / "b.nii", series().hu, sagittal))) == 20


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.linspace(0, 1, 60), "from 0 to 1"),
        (np.full(60, np.nan), "nan to nan"),
        (np.full(60, 4e4), "32767"),
    ],
)
def test_numbers_that_cannot_be_hu_are_refused(tmp_path, values, words):
    values = values.reshape(3, 4, 5).astype(np.float32)
    assert words in refusal(nifti(tmp_path / "ct.nii", values, np.eye(4)))


def test_stored_numbers_are_remarked_upon(tmp_path):
    raw = np.linspace(0, 2200, 60).reshape(3, 4, 5)
    with pytest.warns(UserWarning, match="from 0 to 2200.*1024 above HU"):
        read_images(nifti(tmp_path / "ct.nii", raw, np.eye(4)))


def test_what_a_file_does_not_say(tmp_path):
    hu = series().hu
    assert "sform_code" in refusal(nifti(tmp_path / "a.nii", hu, np.eye(4), sform=0, qform=0))
    image = nibabel.Nifti1Image(hu, np.eye(4))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "b.nii")
    assert "micron" in refusal(tmp_path / "b.nii")
    nrrd.write(str(tmp_path / "c.nrrd"), hu)
    assert "space" in refusal(tmp_path / "c.nrrd")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 3)), np.eye(4)), tmp_path / "d.nii")
    assert "(4, 4, 4, 3)" in refusal(tmp_path / "d.nii")
    image.header.set_xyzt_units("mm")
    image.set_sform(np.eye(4), code=1)
    image.set_qform(np.diag([1.0, 1.0, 1.1, 1.0]), code=1)
    nibabel.save(image, tmp_path / "e.nii")
    with pytest.warns(UserWarning, match="3 mm apart"):
        read_images(tmp_path / "e.nii")


def test_broken_files_are_named(tmp_path):
    images = series()
    for form in FORMATS:
        path = write_volume(tmp_path / f"ct.{form}", images.hu, like=images)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        said = refusal(path)
        assert "truncated" in said and path.name in said
    (tmp_path / "text.nii").write_text("hello")
    assert "text.nii" in refusal(tmp_path / "text.nii")
    detached = tmp_path / "other.nrrd"
    detached.write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 1 1 1\nencoding: raw\ndata file: /etc/hostname"
        "\n\n"
    )
    assert "another file" in refusal(detached)
    assert "name the volume file itself" in refusal(tmp_path)


def test_what_cannot_be_written(tmp_path):
    images = series()
    with pytest.raises(DataError, match=r"\.nii, |\.nii or"):
        write_volume(tmp_path / "ct.mha", images.hu, like=images)
    with pytest.raises(DataError, match="NaN"):
        write_volume(tmp_path / "ct.nii", np.full((1, 2, 2), np.nan), like=images)
    with pytest.raises(DataError, match="geometry"):
        write_volume(tmp_path / "ct.nii", images.hu)
    with pytest.raises(DataError, match="one place per slice"):
        write_volume(tmp_path / "ct.nii", images.hu[:2], like=images)
    uneven = [(0, 0, z) for z in (0.0, 1.0, 3.0)]
    with pytest.raises(DataError, match="not evenly spaced"):
        write_volume(tmp_path / "ct.nii", images.hu, spacing=(1, 1), slice_thickness=1,
                     positions=uneven)  # fmt: skip


def test_a_missing_package_is_named_with_how_to_get_it(tmp_path, monkeypatch):
    images = series()
    path = write_volume(tmp_path / "ct.nii", images.hu, like=images)
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    assert "nibabel is not installed" in refusal(path)
    assert "pip install 'ctxai-invariances[images]'" in refusal(path)


@pytest.mark.data
@needs("abdomen")
@pytest.mark.filterwarnings("ignore:.*exposure .0018,1152.")
def test_the_real_abdomen_goes_through(tmp_path):
    images = read_images(DATA / "abdomen")
    for form in FORMATS:
        back = read_images(write_volume(tmp_path / f"ct.{form}", images.hu, like=images))
        assert np.array_equal(back.hu, images.hu)
        assert back.positions == pytest.approx(images.positions, abs=1e-4)
