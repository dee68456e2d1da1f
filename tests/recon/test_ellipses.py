"""Ellipse phantoms against closed forms: chords, projections, rasters, conventions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from tolerances import PHANTOM

from recon.errors import DataError
from recon.geometry import FanBeam, ImageGrid, ParallelBeam
from recon.phantom import (
    Ellipse,
    EllipsePhantom,
    inserts_phantom,
    water_cylinder,
)

OBLIQUE = Ellipse(centre=(37.0, -52.0), axes=(30.0, 12.0), angle=0.6, value=0.02)


def flash(**changes) -> FanBeam:
    facts = {
        "angles": np.linspace(0.0, 2 * np.pi, 24, endpoint=False),
        "n_cols": 736,
        "col_pitch": 1.2858,
        "src_iso": 595.0,
        "src_det": 1085.6,
        "col_offset": -1.125,
    }
    return FanBeam(**{**facts, **changes})


def fan_rays(geometry: FanBeam) -> tuple[np.ndarray, np.ndarray]:
    """Focal spots and unit directions, written from the conventions in words, not from θ and t."""
    offset = np.arange(geometry.n_cols) - (geometry.n_cols - 1) / 2 + geometry.col_offset
    beta = np.asarray(geometry.angles)[:, None]
    central = np.stack([np.sin(beta), np.cos(beta)], axis=-1)
    along = np.stack([np.cos(beta), -np.sin(beta)], axis=-1)
    if geometry.detector == "arc":
        gamma = (offset * geometry.col_pitch / geometry.src_det)[None, :, None]
        direction = np.cos(gamma) * central + np.sin(gamma) * along
    else:
        cell = geometry.src_det * central + (offset * geometry.col_pitch)[None, :, None] * along
        direction = cell / np.linalg.norm(cell, axis=-1, keepdims=True)
    source = np.broadcast_to(-geometry.src_iso * central, direction.shape)
    return source, direction


# ---------------------------------------------------------------- line integrals


def test_chord_of_a_centred_disc_is_its_closed_form():
    rays = ParallelBeam(angles=[0.0, 0.7, 2.0], n_cols=201, col_pitch=1.0)
    t = np.arange(201) - 100.0
    chord = 2 * np.sqrt(np.maximum(80.0**2 - t**2, 0.0)) * 0.02
    got = water_cylinder(160.0, 0.02).line_integrals(rays)
    assert got.dtype == np.float32
    assert np.abs(got - chord).max() < PHANTOM["closed form"]


@pytest.mark.parametrize("detector", ["arc", "flat"])
def test_off_centre_disc_in_a_fan_is_the_distance_rule(detector):
    """A disc's chord depends on the ray's distance from its centre alone."""
    geometry = flash(detector=detector)
    centre = np.array([61.0, -23.0])
    disc = EllipsePhantom([Ellipse(centre=tuple(centre), axes=(35.0, 35.0), value=0.02)])
    source, direction = fan_rays(geometry)
    towards = centre - source
    distance = towards[..., 0] * direction[..., 1] - towards[..., 1] * direction[..., 0]
    expected = 0.04 * np.sqrt(np.maximum(35.0**2 - distance**2, 0.0))
    assert np.abs(disc.line_integrals(geometry) - expected).max() < PHANTOM["closed form"]


@pytest.mark.parametrize("detector", ["arc", "flat"])
def test_oblique_ellipse_matches_rays_sampled_through_its_raster(detector):
    grid = ImageGrid(shape=(320, 320), spacing=(0.25, 0.25), centre=(37.0, -52.0))
    image = EllipsePhantom([OBLIQUE]).raster(grid)
    geometry = flash(detector=detector, angles=[0.0, 0.9, 2.2, 4.0])
    source, direction = fan_rays(geometry)
    step = 0.1
    s = np.arange(450.0, 760.0, step)[:, None, None]
    x, y = (source[..., k] + s * direction[..., k] for k in (0, 1))
    rows, cols = (y + 52.0) / 0.25 + 159.5, (x - 37.0) / 0.25 + 159.5
    sampled = map_coordinates(image, [rows, cols], order=1).sum(axis=0) * step
    exact = EllipsePhantom([OBLIQUE]).line_integrals(geometry)
    through = exact > 0.3 * exact.max()  # tangents feel the raster's blur
    assert exact.max() > 0.4 and through.sum() > 80
    assert np.abs(exact - sampled)[through].max() < PHANTOM["ray through the raster"]


def test_conventions_at_twelve_o_clock():
    """β = 0: the focal spot is above the picture, columns run from left to right."""
    right = EllipsePhantom([Ellipse(centre=(50.0, 0.0), axes=(5.0, 5.0), value=0.02)])
    geometry = flash(angles=[0.0, np.pi / 2], col_offset=0.0)
    first, second = right.line_integrals(geometry, subrays=16)
    columns = np.arange(736) - 367.5
    seen = float((first * columns).sum() / first.sum()) * geometry.col_pitch / geometry.src_det
    assert seen == pytest.approx(math.asin(50.0 / math.hypot(50.0, 595.0)), abs=2e-5)
    # at β = π/2 the focal spot is at 9 o'clock and the disc lies on the central ray
    assert abs(float((second * columns).sum() / second.sum())) < 1e-3
    # nearer to the focal spot the shadow grows: an object above the isocentre is near at β = 0
    above = EllipsePhantom([Ellipse(centre=(0.0, -200.0), axes=(5.0, 5.0), value=0.02)])
    near, far = above.line_integrals(flash(angles=[0.0, np.pi]))
    assert (near > 0).sum() > 1.9 * (far > 0).sum()


def test_column_offset_moves_the_shadow():
    """A positive offset turns column c towards larger angles: the shadow moves to smaller c."""
    disc = water_cylinder(40.0, 0.02)
    columns = np.arange(736)
    centre = [
        float((p * columns).sum() / p.sum())
        for offset in (0.0, 2.0)
        for p in disc.line_integrals(flash(angles=[0.3], col_offset=offset))
    ]
    assert centre[0] - centre[1] == pytest.approx(2.0, abs=1e-3)


def test_parallel_projections_conserve_mass():
    """∫ p dt is Σ value · area at every angle."""
    phantom = inserts_phantom().shifted(7.3, -4.1)
    rays = ParallelBeam(angles=np.linspace(0.0, np.pi, 7), n_cols=800, col_pitch=0.5)
    mass = sum(e.value * math.pi * e.axes[0] * e.axes[1] for e in phantom.ellipses)
    sums = phantom.line_integrals(rays, subrays=4).astype(np.float64).sum(axis=1) * 0.5
    assert np.abs(sums / mass - 1.0).max() < PHANTOM["mass of a projection"]


def test_subrays_are_the_mean_over_a_column():
    wide = ParallelBeam(angles=[0.4], n_cols=100, col_pitch=2.0)
    fine = ParallelBeam(angles=[0.4], n_cols=500, col_pitch=0.4)
    phantom = inserts_phantom().shifted(20.0, 11.0)
    mean = phantom.line_integrals(fine).reshape(1, 100, 5).mean(axis=2)
    assert np.abs(phantom.line_integrals(wide, subrays=5) - mean).max() < PHANTOM["rounding"]


def test_shifting_the_phantom_shifts_its_parallel_shadow():
    theta, step = 0.8, 12.0
    rays = ParallelBeam(angles=[theta], n_cols=300, col_pitch=1.0)
    moved = inserts_phantom().shifted(step * math.cos(theta), -step * math.sin(theta))
    before, after = inserts_phantom().line_integrals(rays), moved.line_integrals(rays)
    assert np.abs(after[0, 12:] - before[0, :-12]).max() < PHANTOM["rounding"]


# ---------------------------------------------------------------- raster


def test_raster_keeps_area_and_place():
    grid = ImageGrid(shape=(200, 180), spacing=(1.5, 1.25), centre=(10.0, -20.0))
    image = EllipsePhantom([OBLIQUE]).raster(grid).astype(np.float64)
    area = math.pi * 30.0 * 12.0
    assert abs(image.sum() * 1.5 * 1.25 / (0.02 * area) - 1.0) < PHANTOM["area of a raster"]
    x = (np.arange(180) - 89.5) * 1.25 + 10.0
    y = (np.arange(200) - 99.5) * 1.5 - 20.0
    assert (image * x).sum() / image.sum() == pytest.approx(37.0, abs=0.01)
    assert (image * y[:, None]).sum() / image.sum() == pytest.approx(-52.0, abs=0.01)
    # the long axis points right and down: x and y vary together
    assert (image * (x - 37.0) * (y[:, None] + 52.0)).sum() > 0


def test_inserts_have_their_contrasts_where_they_belong():
    grid = ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
    image = inserts_phantom(0.02).raster(grid) / 0.02

    def at(x: float, y: float) -> float:
        return float(image[round(y + 199.5), round(x + 199.5)])

    places = {(0, 0): 1.0, (60, -30): 1.1, (-60, -30): 0.9, (0, 60): 1.5, (-80, 40): 2.0}
    for (x, y), contrast in places.items():
        assert at(x, y) == pytest.approx(contrast, abs=1e-6)
    assert at(40, 40) == pytest.approx(1.3, abs=1e-6)
    assert at(165, 0) == 0.0
    # as displayed the oblique insert leans to the left at its upper end
    assert at(-7, 40) > at(7, 40)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: Ellipse(centre=(0.0, 0.0), axes=(0.0, 1.0), value=1.0),
        lambda: Ellipse(centre=(math.nan, 0.0), axes=(1.0, 1.0), value=1.0),
        lambda: EllipsePhantom([]),
        lambda: water_cylinder(100.0, 0.02).line_integrals(flash(), subrays=0),
        lambda: water_cylinder(1300.0, 0.02).line_integrals(flash()),
        lambda: water_cylinder(9.0, 1.0).raster(
            ImageGrid(shape=(4, 4), spacing=(1.0, 1.0)), supersample=0
        ),
    ],
)
def test_impossible_phantoms_are_refused(attempt):
    with pytest.raises(DataError):
        attempt()
