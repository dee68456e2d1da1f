"""What fits the data is taken in place of what a scan states wrongly."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from small_scans import small_scan

from recon.errors import DataError
from recon.phantom.exact.ellipsoids import water_with_inserts
from recon.scan.audit import fit_geometry
from recon.scan.lazy_views import ReversedRows

COLUMN = 0.05  # columns, of the fitted centre: measured 0.001


@functools.cache
def measured():
    scan = small_scan(seed=4, phantom=water_with_inserts(0.0193))
    return scan.changed(
        line_integrals=scan.line_integrals[:], geometry=replace(scan.geometry, row_offset=0.0)
    )


def faulty(*, column=None, rows=1):
    scan = measured()
    rays = scan.line_integrals if rows > 0 else scan.line_integrals[:, ::-1]
    offset = scan.geometry.col_offset if column is None else column
    return scan.changed(line_integrals=rays, geometry=replace(scan.geometry, col_offset=offset))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({}, []),
        ({"column": -0.25}, ["column centre mirrored"]),
        ({"column": 1.1}, ["column centre fitted"]),
        ({"rows": -1}, ["row order flipped"]),
        ({"column": -0.25, "rows": -1}, ["column centre mirrored", "row order flipped"]),
    ],
)
def test_what_fits_is_taken(fault, words):
    true, stated = measured(), faulty(**fault)
    found, changed = fit_geometry(stated)
    assert [one.split(" (")[0] for one in changed] == words
    assert found.geometry.col_offset == pytest.approx(0.25, abs=COLUMN)
    np.testing.assert_allclose(found.line_integrals[5:9], true.line_integrals[5:9], atol=1e-6)
    if not words:
        assert found is stated


def test_rows_in_reverse_keep_their_heights():
    """Row r at z lies, counted from the other end, at the same z."""
    scan = faulty(rows=-1)
    scan = scan.changed(geometry=replace(scan.geometry, row_offset=0.3))
    found, changed = fit_geometry(scan)
    assert changed[0] == "row order flipped" and found.geometry.row_offset == -0.3


def test_what_is_reversed_keeps_its_scale():
    class Stored(np.ndarray):
        range, scale = (-0.2, 9.0), (1.5e-4, -0.2)

    rays = ReversedRows(np.arange(24.0).reshape(2, 3, 4).view(Stored))
    assert rays.shape == (2, 3, 4) and rays.range == (-0.2, 9.0) and rays.scale == (1.5e-4, -0.2)
    assert ReversedRows(np.zeros((1, 1, 1))).scale is None


def test_where_nothing_fits_that_is_said(monkeypatch):
    """Each reading is better than the last, and none is right."""
    from recon.scan import audit

    def never(scan):
        lines, readings = kept(scan)
        wrong = replace(lines[0], verdict="does not fit")
        return [wrong, *(replace(line, verdict="cannot be told") for line in lines[1:])], readings

    kept = audit._audit
    monkeypatch.setattr(audit, "_audit", never)
    with pytest.raises(DataError, match=r"no geometry was found.*as-stated"):
        fit_geometry(measured())
    assert math.isfinite(measured().mas)
