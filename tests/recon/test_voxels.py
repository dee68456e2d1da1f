"""Volumes on a helix against closed forms, sampling along each ray, and exact ellipsoids."""

import math

import numpy as np
import pytest
from ct_files import write
from helical_scans import elements
from real_data import DATA, needs
from scipy.ndimage import map_coordinates

from recon.dicom.images import read_images
from recon.dicom.write import write_series
from recon.errors import DataError
from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom
from recon.phantom.volumes.files import read_volume
from recon.phantom.volumes.voxels import VoxelPhantom
from recon.scan.helix import HelicalScan
from recon.volumes.files import write_volume

VOXELS = {
    # float32 sums of some ten terms of about 1
    "closed form, rel": 2e-6,
    # planes a voxel apart against points 0.05 mm apart in a smooth volume
    "sampled": 3e-3,
    # relative L2 over off-centre ellipsoids in voxels of 1.5 mm, whose edges are two voxels wide;
    # measured .0198, .0122 at 1 mm and .0092 at 0.75 mm; half a voxel of shift gives .038 to .051
    "ellipsoids, rel": 0.022,
}


def helix(**changes):
    views = np.arange(12)
    return HelicalScan(
        **{
            "angles": 0.2 + views * 0.55, "z": 9 - 1.5 * views, "src_iso": 595.0, "n_rows": 6,
            "src_det": 1085.6, "n_cols": 60, "row_pitch": 6.0, "col_pitch": 3.5, "col_offset": 0.3,
            "row_offset": 0.25, "views_per_rotation": 12, "shift_angle": 1e-3, "focal_spot": "FFSZ",
            "shift_z": np.where(views % 2, -0.66, 0.0),
            "shift_radius": np.where(views % 2, 5.45, 0.0), **changes,
        }
    )  # fmt: skip


def straight(angle, **changes):
    """One view whose middle column runs along an axis of the volume."""
    plain = {"shift_z": 0.0, "shift_radius": 0.0, "shift_angle": 0.0, "col_offset": 0.0}
    return helix(angles=[angle], z=[0.0], n_cols=3, row_offset=0.0, **plain, **changes)


def volume(**changes):
    hu = np.random.default_rng(5).uniform(-900, 900, (5, 7, 9)).astype(np.float32)
    return VoxelPhantom(**{"hu": hu, "spacing": (4.0, 2.0, 3.0), "mu_water": 0.02, **changes})


@pytest.mark.parametrize("turn", range(4))
def test_along_an_axis_voxels_add_up(turn):
    """From above (β = 0) along y, from the left (π/2) along x: values times their distance."""
    phantom = volume()
    mu = 0.02 * (1 + phantom.hu / 1000)
    p = phantom.line_integrals(straight(turn * math.pi / 2, n_rows=1))[0, 0, 1]
    expected = mu[2, :, 4].sum() * 2.0 if turn % 2 == 0 else mu[2, 3, :].sum() * 3.0
    assert p == pytest.approx(expected, rel=VOXELS["closed form, rel"])


def test_rows_climb_through_the_slices():
    """µ linear in z is interpolated exactly: each plane is met at z = h·u, 1/cos κ apart."""
    z = (np.arange(31) - 15) * 4.0
    hu = np.broadcast_to(5.0 * z[:, None, None], (31, 7, 9))
    g = straight(0.0, n_rows=5, row_pitch=30.0)
    p = volume(hu=hu).line_integrals(g)[0, :, 1]
    for height, found in zip(g.row_heights, p):
        u = (595.0 + (np.arange(7) - 3) * 2.0) / 1085.6
        expected = np.sum(0.02 * (1 + 5e-3 * height * u)) * 2.0 * math.hypot(1, height / 1085.6)
        assert found == pytest.approx(expected, rel=VOXELS["closed form, rel"])
    assert p[0] > p[4]  # row 0 is the highest


def test_rays_are_those_of_the_geometry():
    """Any view, row and column of a smooth volume against points along the ray."""
    k, i, j = np.meshgrid(*(np.arange(n) for n in (20, 40, 50)), indexing="ij")
    hu = 400 * np.sin(0.35 * k + 0.2) * np.cos(0.21 * i) + 300 * np.sin(0.17 * j + 0.1 * i)
    fade = (
        np.sin(np.pi * (k + 1) / 21) * np.sin(np.pi * (i + 1) / 41) * np.sin(np.pi * (j + 1) / 51)
    )
    hu = (hu + 1000) * fade - 1000  # no edge that a plane could miss
    phantom = volume(hu=hu, spacing=(2.5, 2.0, 1.8), centre=(20.0, -15.0, 4.0))
    g = helix()
    p = phantom.line_integrals(g)
    mu = np.pad(0.02 * (1 + hu / 1000), 1)
    sources, columns = g.sources(), elements(g)
    middle = (np.array(mu.shape) - 1) / 2
    u = (np.arange(20000) + 0.5) / 20000
    for v, r, c in np.ndindex(g.shape):
        if (7 * v + r + c) % 11 == 0:
            ray = columns[v, c] + [0, 0, g.row_heights[r]] - sources[v]
            x, y, z = (sources[v] - phantom.centre)[:, None] + ray[:, None] * u
            places = np.stack([z / 2.5, y / 2.0, x / 1.8]) + middle[:, None]
            points = map_coordinates(mu, places, order=1, mode="constant")
            sampled = np.linalg.norm(ray) * points.mean()
            assert p[v, r, c] == pytest.approx(sampled, abs=VOXELS["sampled"])
    assert p.max() > 1.0


def test_rasterised_ellipsoids_have_the_line_integrals_of_ellipsoids():
    parts = [
        Ellipsoid(centre=(40.0, -25.0, 3.0), axes=(30.0, 22.0, 18.0), angle=0.4, value=0.02),
        Ellipsoid(centre=(-30.0, 35.0, -8.0), axes=(35.0, 16.0, 25.0), angle=-0.7, value=0.01),
    ]
    exact = EllipsoidPhantom(parts).line_integrals(helix())
    size, fine = 1.5, 4
    shape = np.array([48, 88, 108])  # (z, y, x) voxels around (0, 5, -4)

    def axis(n, centre):
        return (np.arange(n * fine) - (n * fine - 1) / 2) * size / fine + centre

    z, y, x = (axis(n, c) for n, c in zip(shape, (-4.0, 5.0, 0.0)))
    mu = np.zeros(shape * fine, dtype=np.float32)
    for e in parts:
        dx, dy, dz = x - e.centre[0], (y - e.centre[1])[:, None], z - e.centre[2]
        along = dx * math.cos(e.angle) + dy * math.sin(e.angle)
        across = dy * math.cos(e.angle) - dx * math.sin(e.angle)
        flat = (along / e.axes[0]) ** 2 + (across / e.axes[1]) ** 2
        mu[flat + (dz[:, None, None] / e.axes[2]) ** 2 <= 1] += e.value
    mu = mu.reshape(shape[0], fine, shape[1], fine, shape[2], fine).mean(axis=(1, 3, 5))
    phantom = VoxelPhantom(
        hu=(mu / 0.02 - 1) * 1000, spacing=(size,) * 3, mu_water=0.02, centre=(0.0, 5.0, -4.0)
    )
    p = phantom.line_integrals(helix())
    error = np.linalg.norm(p - exact) / np.linalg.norm(exact)
    assert error < VOXELS["ellipsoids, rel"]
    moved = VoxelPhantom(
        hu=phantom.hu, spacing=phantom.spacing, mu_water=0.02, centre=(0.0, 5.0, -4.75)
    ).line_integrals(helix())
    assert np.linalg.norm(moved - exact) > 1.5 * np.linalg.norm(p - exact)


def test_views_come_in_any_pieces_within_their_range():
    phantom = volume(hu=np.random.default_rng(1).uniform(-3000, 3000, (9, 60, 70)))
    views = phantom.views(helix())
    whole = views[:]
    np.testing.assert_array_equal(np.concatenate([views[:5], views[5:12]]), whole)
    np.testing.assert_array_equal(views[4], whole[4])
    low, high = views.range
    assert low == 0.0 <= whole.min() and whole.max() <= high < 4 * whole.max()


def test_padding_and_everything_outside_is_air():
    hu = np.full((3, 20, 20), -3024, dtype=np.int16)
    assert (volume(hu=hu).line_integrals(helix()) == 0).all()
    hu[1, 8:12, 8:12] = 40
    low = volume(hu=hu, centre=(0, 0, -300.0))  # below every ray
    assert (low.line_integrals(helix()) == 0).all()
    assert (volume(hu=hu).line_integrals(helix()) >= 0).all()


def test_digests_tell_volumes_apart():
    assert volume().digest == volume().digest
    assert volume().digest != volume(spacing=(4.0, 2.0, 2.0)).digest


def save(folder, **arrays):
    np.savez(folder / "v.npz", **arrays)
    return folder / "v.npz"


HU, SPACING = np.zeros((3, 4, 5), np.int16), np.array([3.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"spacing_mm": SPACING}, "only spacing_mm"),
        ({"hu": HU}, "only hu"),
        ({"image": HU}, "neither"),
        ({"hu": HU[0], "spacing_mm": SPACING}, r"\(4, 5\)"),
        ({"hu": HU[:, :1], "spacing_mm": SPACING}, r"\(3, 1, 5\)"),
        ({"hu": HU[:0], "spacing_mm": SPACING}, r"\(0, 4, 5\)"),
        ({"hu": np.full((3, 4, 5), np.nan), "spacing_mm": SPACING}, "NaN"),
        ({"hu": HU.astype(str), "spacing_mm": SPACING}, "not numbers"),
        ({"hu": HU + 1j, "spacing_mm": SPACING}, "not numbers"),
        ({"hu": np.array([None]), "spacing_mm": SPACING}, "cannot be read"),  # would be unpickled
        ({"hu": HU, "spacing_mm": SPACING[:2]}, "spacing"),
        ({"hu": HU, "spacing_mm": np.array(3.0)}, "spacing"),
        ({"hu": HU, "spacing_mm": -SPACING}, "spacing"),
        ({"hu": HU, "spacing_mm": SPACING * [0, 1, 1]}, "spacing"),
        ({"hu": HU, "spacing_mm": SPACING * np.nan}, "spacing"),
    ],
)
def test_archives_that_are_no_volume_are_refused(arrays, word, tmp_path):
    file = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=word) as refusal:
        read_volume(file, mu_water=0.02)
    assert str(file) in str(refusal.value)


def test_files_that_are_no_archive_are_refused(tmp_path):
    file = save(tmp_path, hu=np.arange(60).reshape(3, 4, 5), spacing_mm=SPACING)
    content = file.read_bytes()
    broken = bytearray(content)
    broken[content.index(b"NUMPY") + 140] ^= 255  # caught by the archive's checksum
    np.save(tmp_path / "array.npy", HU)
    for text in (b"", b"text", content[:-30], bytes(broken), (tmp_path / "array.npy").read_bytes()):
        file.write_bytes(text)
        with pytest.raises(DataError):
            read_volume(file, mu_water=0.02)
    with pytest.raises(DataError, match="no such volume"):
        read_volume(tmp_path / "none.npz", mu_water=0.02)
    with pytest.raises(DataError, match="DICOM"):
        read_volume(tmp_path, mu_water=0.02)


def test_a_series_of_slices_is_a_volume(tmp_path):
    hu = np.random.default_rng(2).integers(-1000, 900, (4, 6, 8))
    setting = {"spacing": (1.5, 1.25), "slice_thickness": 2.0, "series_description": "volume"}
    write_series(tmp_path / "even", hu, positions=[10.0, 12.0, 14.0, 16.0], **setting)
    phantom = read_volume(tmp_path / "even", mu_water=0.02)
    np.testing.assert_array_equal(phantom.hu, hu)
    assert phantom.spacing == pytest.approx((2.0, 1.5, 1.25))
    write_series(tmp_path / "gap", hu, positions=[10.0, 12.0, 14.0, 18.0], **setting)
    with (
        pytest.warns(UserWarning, match="may be missing"),
        pytest.raises(DataError, match="evenly"),
    ):
        read_volume(tmp_path / "gap", mu_water=0.02)


def test_a_nifti_file_is_the_volume_that_its_series_is(tmp_path):
    pytest.importorskip("nibabel", reason="nibabel is not installed: pip install '.[images]'")
    write(tmp_path / "series")
    images = read_images(tmp_path / "series")
    file = write_volume(tmp_path / "ct.nii.gz", images.hu, like=images)
    one, two = (read_volume(path, mu_water=0.02) for path in (tmp_path / "series", file))
    assert np.array_equal(one.hu, two.hu) and one.spacing == pytest.approx(two.spacing, abs=1e-6)


def test_volumes_that_reach_the_tube_are_refused():
    with pytest.raises(DataError, match="focal spot"):
        volume(spacing=(2.0, 150.0, 150.0)).views(helix())


@pytest.mark.data
@needs("volume/torso_3mm.npz")
def test_the_torso_is_a_volume():
    phantom = read_volume(DATA / "volume" / "torso_3mm.npz", mu_water=0.0193)
    assert phantom.hu.shape == (112, 101, 122) and phantom.spacing == (3.0, 3.0, 3.0)
    assert phantom.size == (336.0, 303.0, 366.0)
