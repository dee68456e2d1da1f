"""Ellipsoids on a helix against plane ellipses and against sampling along each ray."""

import math

import numpy as np
import pytest
from helical_scans import elements
from tolerances import ELLIPSOIDS

from recon.errors import DataError
from recon.geometry import FanBeam
from recon.phantom.exact.ellipses import Ellipse, EllipsePhantom
from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom, water_with_inserts
from recon.scan.helix import HelicalScan
from recon.scan.scanners import SCANNERS, discovery_helical, flash_helical
from recon.scan.simulate import simulate_scan

BALL = Ellipsoid(centre=(40.0, -25.0, 3.0), axes=(30.0, 12.0, 18.0), angle=0.4, value=0.02)
ROD = Ellipsoid(centre=(-20.0, 35.0, 0.0), axes=(15.0, 9.0, math.inf), angle=-0.7, value=-0.01)


def helix(**changes):
    views = np.arange(10)
    return HelicalScan(
        **{
            "angles": 0.3 + views * 0.7, "z": 12 - 2.4 * views, "src_iso": 595.0, "n_rows": 6,
            "src_det": 1085.6, "n_cols": 40, "row_pitch": 6.0, "col_pitch": 7.0, "col_offset": 0.3,
            "row_offset": 0.25, "views_per_rotation": 9, "shift_angle": 1e-3, "focal_spot": "FFSZ",
            "shift_z": np.where(views % 2, -0.66, 0.0),
            "shift_radius": np.where(views % 2, 5.45, 0.0), **changes,
        }
    )  # fmt: skip


def sampled(ellipsoid, source, element, steps=20001):
    """Line integral by counting points inside, along one ray."""
    u = (np.arange(steps) + 0.5) / steps
    x, y, z = (
        source[:, None] + (element - source)[:, None] * u - np.array(ellipsoid.centre)[:, None]
    )
    cosine, sine = math.cos(ellipsoid.angle), math.sin(ellipsoid.angle)
    a, b, c = ellipsoid.axes
    inside = ((x * cosine + y * sine) / a) ** 2 + ((y * cosine - x * sine) / b) ** 2 + (z / c) ** 2
    return ellipsoid.value * np.linalg.norm(element - source) * np.mean(inside <= 1)


@pytest.mark.parametrize("ellipsoid", [BALL, ROD], ids=["ball", "rod"])
def test_every_ray_runs_where_the_geometry_says(ellipsoid):
    """From the flying spot to the element: positions from the geometry, length by counting."""
    g = helix()
    p = EllipsoidPhantom([ellipsoid]).line_integrals(g)
    sources, columns = g.sources(), elements(g)
    hits = 0
    for v, r, c in np.ndindex(10, 6, 40):
        if (v + r + c) % 7 == 0:
            element = columns[v, c] + [0, 0, g.row_heights[r]]
            counted = sampled(ellipsoid, sources[v], element)
            assert p[v, r, c] == pytest.approx(counted, abs=ELLIPSOIDS["counted"])
            hits += counted != 0
    assert hits > 20


def test_rods_seen_at_mid_height_are_ellipses():
    """Without a flying spot, the middle row of a rod is a fan through an ellipse."""
    g = helix(n_rows=3, row_offset=0.0, shift_angle=0.0, shift_z=0.0, shift_radius=0.0)
    fan = FanBeam(
        angles=g.angles, n_cols=40, col_pitch=7.0, src_iso=595, src_det=1085.6, col_offset=0.3
    )
    flat = Ellipse(centre=(-20.0, 35.0), axes=(15.0, 9.0), angle=-0.7, value=-0.01)
    expected = EllipsePhantom([flat]).line_integrals(fan)
    p = EllipsoidPhantom([ROD]).line_integrals(g)
    np.testing.assert_allclose(p[:, 1], expected, atol=ELLIPSOIDS["closed form"])
    outer = 1 / np.cos(np.arctan(6.0 / 1085.6))  # longer by the cone angle
    np.testing.assert_allclose(p[:, 0], expected * outer, atol=ELLIPSOIDS["closed form"])


def test_rays_within_an_element_average_over_it():
    g = helix()
    phantom = EllipsoidPhantom([BALL, ROD])
    fine = phantom.line_integrals(
        helix(n_rows=18, n_cols=80, row_pitch=2.0, col_pitch=3.5, row_offset=0.75, col_offset=0.6)
    )
    averaged = phantom.line_integrals(g, subrays=(3, 2))
    expected = fine.reshape(10, 6, 3, 40, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(averaged, expected, atol=ELLIPSOIDS["closed form"])
    assert np.abs(averaged - phantom.line_integrals(g)).max() > 1e-3


def heap(overlap="replace"):
    """Six ellipsoids that cover parts of one another, one of them nothing but a hole."""
    rng = np.random.default_rng(4)
    parts = [
        Ellipsoid(
            centre=tuple(rng.uniform(-25, 25, 3)), axes=tuple(rng.uniform(10, 40, 3)),
            angle=rng.uniform(0, 3), value=value,
        )
        for value in (0.02, 0.035, 0.01, 0.05, 0.0, 0.03)
    ]  # fmt: skip
    return EllipsoidPhantom(parts, overlap=overlap)


@pytest.mark.parametrize("overlap", ["replace", "add"])
def test_where_ellipsoids_overlap(overlap):
    """Against the values at points along each ray; the order of the ellipsoids matters."""
    g, phantom = helix(), heap(overlap)
    p = phantom.line_integrals(g)
    sources, columns = g.sources(), elements(g)
    u = (np.arange(20001) + 0.5) / 20001
    for v, r, c in np.ndindex(10, 6, 40):
        if (v + r + c) % 7 == 0:
            ray = columns[v, c] + [0, 0, g.row_heights[r]] - sources[v]
            points = phantom.values(*(sources[v][:, None] + ray[:, None] * u))
            counted = np.linalg.norm(ray) * points.mean()
            assert p[v, r, c] == pytest.approx(counted, abs=6 * ELLIPSOIDS["counted"])  # six
    if overlap == "replace":
        turned = EllipsoidPhantom(phantom.ellipsoids[::-1], overlap="replace")
        assert np.abs(turned.line_integrals(g) - p).max() > 0.1


def test_views_come_in_any_pieces():
    views = water_with_inserts(0.02).views(helix())
    whole = views[:]
    np.testing.assert_array_equal(np.concatenate([views[:3], views[3:10]]), whole)
    np.testing.assert_array_equal(views[4], whole[4])
    low, high = views.range
    assert low <= whole.min() and whole.max() <= high and views[2:2].shape == (0, 6, 40)
    high = heap().views(helix(n_rows=30)).range[1]
    highest = heap().line_integrals(helix(n_rows=30), (2, 5)).max()
    assert highest <= high <= 2 * highest


def test_scanners_are_those_of_the_literature():
    flash = flash_helical(length=76.8, pitch=0.6, table="out")
    assert flash.collimation == pytest.approx(38.4) and flash.row_pitch == pytest.approx(
        1.0947, 1e-4
    )
    assert flash.feed == pytest.approx(0.6 * 38.4) and flash.pitch == pytest.approx(0.6)
    assert flash.states[:4].tolist() == [0, 1, 0, 1]
    ge = discovery_helical(length=80.0, pitch=1.4)
    assert ge.feed == pytest.approx(-56.0) and ge.views_per_rotation == 984
    # the true central column, counted from zero
    assert (ge.n_cols - 1) / 2 - ge.col_offset == 443.25
    for make in SCANNERS.values():
        for wrong in ({"length": 0}, {"length": 10, "pitch": -1}, {"length": 10, "table": "up"}):
            with pytest.raises(DataError):
                make(**wrong)


def test_a_measurement_has_the_noise_of_its_quanta():
    """Air in pieces equals air at once; its variance is 1/N0 + σe²/N0²."""
    g = helix(n_rows=64)
    nothing = Ellipsoid(centre=(0, 0, 1e4), axes=(1, 1, 1), value=0.02)
    rays = EllipsoidPhantom([nothing]).views(g)
    scan = simulate_scan(rays, g, mas=50.0, kvp=120, mu_water=0.0193, name="air", seed=3)
    p = scan.line_integrals[:]
    np.testing.assert_array_equal(
        np.concatenate([scan.line_integrals[:4], scan.line_integrals[4:]]), p
    )
    expected = 1 / scan.photons.astype(float) + 9 / scan.photons.astype(float) ** 2
    ratio = p.var(axis=1, ddof=1) / expected
    assert ratio.mean() == pytest.approx(1, abs=ELLIPSOIDS["noise of air, rel"])
    quiet = simulate_scan(rays, g, mas=50.0, kvp=120, mu_water=0.0193, name="air", seed=None)
    assert (quiet.line_integrals[:] == 0).all() and quiet.mas == 50
    low, high = scan.line_integrals.range
    assert low <= p.min() and p.max() <= high


@pytest.mark.parametrize(
    "build",
    [
        lambda: Ellipsoid(centre=(0, 0, 0), axes=(1, 0, 1), value=1),
        lambda: Ellipsoid(centre=(0, math.nan, 0), axes=(1, 1, 1), value=1),
        lambda: EllipsoidPhantom([]),
        lambda: EllipsoidPhantom([BALL], overlap="or"),
        lambda: EllipsoidPhantom([ROD], overlap="replace"),  # negative
        lambda: EllipsoidPhantom([BALL]).line_integrals(helix(), subrays=0),
        lambda: water_with_inserts(0.02, diameter=1200).line_integrals(helix()),
        lambda: simulate_scan(
            water_with_inserts(0.02).views(helix()), helix(), mas=-1, kvp=120, mu_water=0.02,
            name="", seed=1,
        ),
    ],
)  # fmt: skip
def test_impossible_phantoms_are_refused(build):
    with pytest.raises(DataError):
        build()
