"""The geometry audit finds what is stated wrongly, and says when it cannot tell.

A body without symmetry, with structure along z, is scanned on small versions of both scanners.
"""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest

from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom
from recon.scan.audit import geometry_audit
from recon.scan.helix import HelicalScan
from recon.scan.simulate import simulate_scan

AUDIT = {
    # of the column centre that is fitted, at 200 mAs: measured 0.01
    "fitted column": 0.05,
    # rms residual against what quanta and the rays' tilts make together: measured 1 %
    "noise adds in squares, rel": 0.05,
}
MU = 0.0193
BODY = EllipsoidPhantom(
    [
        Ellipsoid(centre=(12, -8, 5), axes=(140, 95, 300), angle=0.2, value=MU),
        Ellipsoid(centre=(-55, 10, 10), axes=(40, 55, 60), angle=-0.3, value=-0.7 * MU),
        Ellipsoid(centre=(60, -5, -12), axes=(35, 50, 70), value=-0.6 * MU),
        Ellipsoid(centre=(10, 50, -20), axes=(14, 12, 11), value=0.9 * MU),
        Ellipsoid(centre=(30, 30, 12), axes=(20, 16, 9), value=0.2 * MU),
        Ellipsoid(centre=(-20, -40, 25), axes=(25, 10, 12), value=0.5 * MU),
        Ellipsoid(centre=(-90, 20, -25), axes=(8, 9, 10), value=0.8 * MU),
    ]
)
UNIFORM = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 0), axes=(120, 120, math.inf), value=MU)])


def helix(*, table=-1.0, flash=True, turns=1.9, views=288):
    """The Flash with z-flying focal spot, or the GE geometry: half the rows, columns and views."""
    count = round(turns * views)
    feed = 19.2 if flash else 20.0
    z = table * (np.arange(count) - (count - 1) / 2) * feed / views
    common = {"angles": 0.7 + np.arange(count) * 2 * math.pi / views, "z": z, "n_rows": 32}
    if not flash:
        return HelicalScan(
            **common, src_iso=541.0, src_det=949.0, n_cols=444, row_pitch=40 / 64 * 949 / 541,
            col_pitch=2.0478, views_per_rotation=views, col_offset=0.25,
        )  # fmt: skip
    odd = np.arange(count) % 2
    return HelicalScan(
        **common, src_iso=595.0, src_det=1085.6, n_cols=368, row_pitch=1.0947, col_pitch=2.571678,
        views_per_rotation=views, col_offset=-0.625, shift_angle=3.35e-4, shift_z=-0.66 * odd,
        shift_radius=5.45 * odd, focal_spot="FFSZ",
    )  # fmt: skip


@functools.cache
def measured(geometry_of, phantom, seed, mas):
    """A scan whose views, once made, are kept for the tests that follow."""
    geometry = geometry_of()
    scan = simulate_scan(
        phantom.views(geometry), geometry, mas=mas, kvp=120, mu_water=MU, name="body", seed=seed
    )
    return scan.changed(line_integrals=Kept(scan.line_integrals))


class Kept:
    """Views that are made once, with their rows in order or in reverse."""

    def __init__(self, source, rows=1):
        self.source, self.shape, self.rows, self.views = source, source.shape, rows, {}

    def __getitem__(self, which):
        if which not in self.views:
            self.views[which] = self.source[which]
        return self.views[which][..., :: self.rows, :]


def scanned(geometry_of, *, phantom=BODY, seed=None, mas=200.0, stated=None, rows=1):
    """A scan whose files state another geometry than it was taken with, or rows in reverse."""
    scan = measured(geometry_of, phantom, seed, mas)
    if rows < 0:
        scan = scan.changed(line_integrals=Kept(scan.line_integrals, rows))
    return scan if stated is None else scan.changed(geometry=stated)


def flash():
    return helix()


def flash_out():
    return helix(table=1.0)


def ge():
    return helix(flash=False)


def short():
    return helix(turns=0.5)


def verdicts(scan):
    return {line.name: line for line in geometry_audit(scan)}


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("geometry_of", [flash, flash_out, ge])
def test_the_true_geometry_fits(geometry_of, seed):
    geometry = geometry_of()
    found = verdicts(scanned(geometry_of, seed=seed))
    assert found["as stated"].verdict == "fits"
    assert found["row order flipped"].verdict == "does not fit"
    assert found["column centre mirrored"].verdict == "does not fit"
    if geometry.focal_spot == "FFSZ":
        assert found["focal spot Δφ with the other sign"].verdict == "does not fit"
        assert found["focal spot Δz with the other sign"].verdict != "fits"
    fitted = found["column centre fitted"]
    assert fitted.verdict == "fits"
    column = float(fitted.detail.split()[0])
    assert column == pytest.approx(geometry.col_offset, abs=AUDIT["fitted column"] + 5e-3)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("col_offset", "column centre mirrored"),
        ("rows", "row order flipped"),
        ("shift_z", "focal spot Δz with the other sign"),
        ("shift_angle", "focal spot Δφ with the other sign"),
    ],
)
def test_a_wrong_sign_is_found(fault, name, seed):
    true = flash()
    if fault == "rows":
        scan = scanned(flash, seed=seed, rows=-1)
    else:
        scan = scanned(flash, seed=seed, stated=replace(true, **{fault: -getattr(true, fault)}))
    found = verdicts(scan)
    assert found["as stated"].verdict == "does not fit"
    assert found[name].verdict == "fits"
    others = {line.verdict for line in found.values() if line.name not in (name, "as stated")}
    assert "does not fit" in others
    if fault == "col_offset":
        column = float(found["column centre fitted"].detail.split()[0])
        assert column == pytest.approx(true.col_offset, abs=AUDIT["fitted column"] + 5e-3)


@pytest.mark.parametrize("seed", [None, 5])
def test_a_wrong_column_centre_is_found_on_the_ge(seed):
    true = ge()
    found = verdicts(scanned(ge, seed=seed, stated=replace(true, col_offset=-0.25)))
    assert found["as stated"].verdict == "does not fit"
    assert found["column centre mirrored"].verdict == "fits"


def test_a_column_centre_that_is_no_sign_error_is_fitted():
    true = flash()
    found = verdicts(scanned(flash, seed=5, stated=replace(true, col_offset=0.9)))
    assert found["as stated"].verdict == "does not fit"
    assert float(found["column centre fitted"].detail.split()[0]) == pytest.approx(
        -0.625, abs=AUDIT["fitted column"] + 5e-3
    )


@pytest.mark.parametrize("seed", [None, 5])
def test_what_an_object_does_not_show_cannot_be_told(seed):
    """A cylinder along z is the same with its rows in reverse, and without the flight along z."""
    found = verdicts(scanned(flash, phantom=UNIFORM, seed=seed))
    for name in ("row order flipped", "focal spot Δz with the other sign", "focal spot Δz ignored"):
        assert found[name].verdict == "cannot be told"
    assert found["as stated"].verdict == "fits"


def test_too_few_quanta_cannot_tell_the_sign_of_the_focal_spot():
    true = flash()
    for stated in (true, replace(true, shift_z=-true.shift_z)):
        found = verdicts(scanned(flash, seed=5, mas=4.0, stated=stated))
        assert found["focal spot Δz with the other sign"].verdict == "cannot be told"
        assert found["row order flipped"].verdict == "does not fit"


def test_the_residual_is_that_of_the_quanta_besides_the_tilts():
    without = verdicts(scanned(flash))["as stated"]
    noisy = verdicts(scanned(flash, seed=5))["as stated"]
    assert without.noise == pytest.approx(noisy.noise, rel=0.01)
    assert noisy.residual == pytest.approx(
        math.hypot(without.residual, noisy.noise), rel=AUDIT["noise adds in squares, rel"]
    )


def test_a_short_scan_has_no_opposite_rays():
    assert geometry_audit(scanned(short)) == []


def test_few_views_are_read_of_a_long_scan():
    """The audit of a series of any length reads a bounded number of views."""
    geometry = helix(turns=12.0)
    true = BODY.views(geometry)
    read = set()

    class Counted:
        shape = geometry.shape

        def __getitem__(self, which):
            read.add(which)
            return true[which]

    scan = simulate_scan(Counted(), geometry, mas=200, kvp=120, mu_water=MU, name="long", seed=None)
    assert verdicts(scan)["as stated"].verdict == "fits"
    assert len(read) < 450 < len(scan) / 5
