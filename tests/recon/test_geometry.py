"""Conventions: where the pixels are, where the rays run, and what is refused."""

import math

import numpy as np
import pytest

from recon.backends import astra as astra_backend
from recon.backends.tomosipo import to_tomosipo
from recon.errors import DataError
from recon.geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial

ANGLES = np.arange(12) * (2 * np.pi / 12) + 0.1


def fan(**changes):
    values = {
        "angles": ANGLES,
        "n_cols": 20,
        "col_pitch": 3.0,
        "src_iso": 300.0,
        "src_det": 500.0,
    }
    return FanBeam(**{**values, "col_offset": -1.125, **changes})


def rays_from_points(start, through):
    """(θ, t) of the lines through pairs of points, from their definition alone."""
    direction = (through - start) / np.linalg.norm(through - start, axis=-1, keepdims=True)
    theta = np.arctan2(direction[..., 0], direction[..., 1])
    t = start[..., 0] * np.cos(theta) - start[..., 1] * np.sin(theta)
    return theta, t


def same_angle(a, b):
    return np.abs(np.angle(np.exp(1j * (a - b)))).max()


@pytest.mark.parametrize("detector", ["arc", "flat"])
def test_a_fan_ray_is_the_parallel_ray_beta_plus_gamma(detector):
    geometry = fan(detector=detector)
    beta = ANGLES[:, None]
    focus = 300.0 * np.stack([-np.sin(beta), -np.cos(beta)], -1)
    ray, across = (
        np.stack([np.sin(beta), np.cos(beta)], -1),
        np.stack([np.cos(beta), -np.sin(beta)], -1),
    )
    place = (np.arange(20) - 9.5 - 1.125) * 3.0
    if detector == "arc":
        gamma = (place / 500.0)[None, :, None]
        cell = focus + 500.0 * (np.cos(gamma) * ray + np.sin(gamma) * across)
    else:
        cell = focus + 500.0 * ray + place[None, :, None] * across
    theta, t = rays_from_points(np.broadcast_to(focus, cell.shape), cell)
    ours_theta, ours_t = geometry.rays()
    assert same_angle(theta, ours_theta) < 1e-12
    np.testing.assert_allclose(np.broadcast_to(ours_t, t.shape), t, atol=1e-10)
    assert same_angle(ours_theta, beta + geometry.fan_angles) < 1e-12
    np.testing.assert_allclose(ours_t[0], 300.0 * np.sin(geometry.fan_angles))


def test_focal_spot_starts_at_twelve_o_clock_and_goes_counter_clockwise():
    # first view from above the image (y < 0), a quarter of a turn later from its left (x < 0)
    spot = [300.0 * np.array([-math.sin(b), -math.cos(b)]) for b in (0.0, math.pi / 2)]
    np.testing.assert_allclose(spot, [[0, -300], [-300, 0]], atol=1e-12)
    theta, t = fan(angles=[0.0, math.pi / 2], col_offset=0.5).rays()
    # the ray of column 9 passes through the focal spot and the isocentre
    assert theta[0, 9] == 0.0
    assert t[0, 9] == 0.0


def test_column_of_inverts_fan_angles():
    for detector in ("arc", "flat"):
        geometry = fan(detector=detector)
        np.testing.assert_allclose(geometry.column_of(geometry.fan_angles), np.arange(20))


def test_pixels_are_centred_where_the_convention_says():
    grid = ImageGrid(shape=(3, 4), spacing=(2.0, 1.5), centre=(10.0, -5.0))
    np.testing.assert_allclose(grid.x, [7.75, 9.25, 10.75, 12.25])
    np.testing.assert_allclose(grid.y, [-7.0, -5.0, -3.0])
    assert grid.radius == pytest.approx(math.hypot(13, 8))


def test_geometries_compare_by_value_and_hash():
    assert fan() == fan(angles=ANGLES.tolist())
    assert hash(fan()) == hash(fan())
    assert fan() != fan(col_offset=0.0)
    assert fan() != fan(angles=ANGLES + 1e-9)
    assert fan() != fan(detector="flat")
    parallel = ParallelBeam(angles=ANGLES, n_cols=20, col_pitch=3.0)
    assert parallel != fan()
    assert parallel == ParallelBeam(angles=ANGLES, n_cols=20, col_pitch=3.0)
    assert ImageGrid(shape=(2, 2), spacing=(1, 1)) == ImageGrid(shape=[2, 2], spacing=[1.0, 1.0])
    assert len(repr(flash_axial())) < 120


def test_angles_cannot_be_changed_from_outside():
    angles = ANGLES.copy()
    geometry = fan(angles=angles)
    angles[0] = 9.0
    assert geometry.angles[0] == ANGLES[0]
    with pytest.raises(ValueError, match="read-only"):
        geometry.angles[0] = 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"angles": [0.0, 1.0, 0.5]}, "not monotonic.*1 then 0.5"),
        ({"angles": [0.0, 0.0]}, "not monotonic"),
        ({"angles": [0.0, np.nan]}, "finite angles"),
        ({"angles": []}, "finite angles"),
        ({"angles": "north"}, "not numbers"),
        ({"n_cols": 0}, "n_cols"),
        ({"n_cols": 2.5}, "n_cols"),
        ({"col_pitch": -1.0}, "col_pitch"),
        ({"col_pitch": np.inf}, "col_pitch"),
        ({"src_iso": 0.0}, "src_iso"),
        ({"src_det": 200.0}, "before the isocentre"),
        ({"detector": "round"}, "'arc' or 'flat'"),
        ({"col_offset": np.nan}, "col_offset"),
        ({"col_pitch": 100.0}, "too wide"),
    ],
)
def test_impossible_scanners_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        fan(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"shape": (0, 4)}, {"shape": 4}, {"spacing": (1.0, 0.0)}, {"spacing": 1.0},
     {"centre": (0.0, np.nan)}, {"centre": None}],
)  # fmt: skip
def test_impossible_grids_are_refused(changes):
    with pytest.raises(DataError):
        ImageGrid(**{"shape": (4, 4), "spacing": (1.0, 1.0), **changes})


@pytest.mark.parametrize(
    "geometry",
    [
        fan(),
        fan(detector="flat"),
        ParallelBeam(angles=ANGLES, n_cols=20, col_pitch=3.0, col_offset=0.25),
    ],
    ids=["arc", "flat", "parallel"],
)
def test_astra_vectors_draw_the_same_rays(geometry):
    described = astra_backend.projection_geometry(geometry)
    vectors = described["Vectors"]
    step = np.arange(20) - 9.5
    pitch = vectors[:, None, 6:9]
    if described["type"] == "cyl_cone_vec":
        # the middle of the detector is turned about the cylinder's axis, here the focal spot
        radius = vectors[:, None, 12:13]
        angle = step[None, :, None] * np.linalg.norm(pitch, axis=-1, keepdims=True) / radius
        radial = vectors[:, None, 3:6] - vectors[:, None, 0:3]
        tangent = pitch / np.linalg.norm(pitch, axis=-1, keepdims=True) * radius
        cell = vectors[:, None, 0:3] + np.cos(angle) * radial + np.sin(angle) * tangent
        start = np.broadcast_to(vectors[:, None, 0:3], cell.shape)
    else:
        cell = vectors[:, None, 3:6] + step[None, :, None] * pitch
        flat = described["type"] == "cone_vec"
        start = np.broadcast_to(vectors[:, None, :3], cell.shape)
        start = start if flat else cell - 100.0 * start
    theta, t = rays_from_points(start[..., :2], cell[..., :2])
    ours_theta, ours_t = geometry.rays()
    assert same_angle(theta, ours_theta) < 1e-12
    np.testing.assert_allclose(np.broadcast_to(ours_t, t.shape), t, atol=1e-9)


@pytest.mark.parametrize(
    "geometry",
    [
        fan(detector="flat"),
        fan(detector="flat", col_offset=0.0, angles=-ANGLES),
        ParallelBeam(angles=ANGLES[:6], n_cols=20, col_pitch=3.0, col_offset=0.25),
    ],
    ids=["flat", "flat, clockwise", "parallel"],
)
def test_tomosipo_vectors_draw_the_same_rays(geometry):
    pytest.importorskip("tomosipo", reason="tomosipo is not installed")
    grid = ImageGrid(shape=(6, 8), spacing=(2.0, 1.5), centre=(3.0, -4.0))
    volume, projection = to_tomosipo(geometry, grid)
    assert (volume.shape, projection.det_shape) == ((1, 6, 8), (1, 20))
    vectors = projection.to_vec()
    # coordinates are (z, y, x); a column of the detector is one pixel wide
    step = (np.arange(20) - 9.5)[None, :, None]
    cell = vectors.det_pos[:, None] + step * vectors.det_u[:, None]
    ray = vectors.ray_dir[:, None] if projection.is_parallel else cell - vectors.src_pos[:, None]
    assert np.abs(cell[..., 0]).max() == np.abs(ray[..., 0]).max() == 0
    theta, t = rays_from_points((cell - ray)[..., :0:-1], cell[..., :0:-1])
    ours_theta, ours_t = geometry.rays()
    assert same_angle(theta, ours_theta) < 1e-9
    np.testing.assert_allclose(np.broadcast_to(ours_t, t.shape), t, atol=1e-9)
    # places of the pixels, from the volume's middle and size
    (_, y, x), (_, high, wide) = np.ravel(volume.pos), np.ravel(volume.size)
    np.testing.assert_allclose(x + (np.arange(8) - 3.5) * wide / 8, grid.x)
    np.testing.assert_allclose(y + (np.arange(6) - 2.5) * high / 6, grid.y)


def test_tomosipo_cannot_have_an_arc():
    with pytest.raises(DataError, match="no curved detectors"):
        to_tomosipo(fan(), ImageGrid(shape=(4, 4), spacing=(1.0, 1.0)))
