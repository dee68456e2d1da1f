"""Pixels of views are looked at while they are read: constant, repeated, foreign, off, cut off."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from small_scans import small_scan, water_ball

from recon.ctpd.pixels import PixelWatch, _is_noisy
from recon.ctpd.read import read_scan
from recon.ctpd.write import write_scan
from recon.errors import DataError
from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom

TURNS, LAST = 1.5, 143
MU = 0.0193


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A measured scan of water and a ball."""
    folder = tmp_path_factory.mktemp("pixels") / "scan"
    write_scan(small_scan(seed=3, turns=TURNS), folder)
    return folder


def stored(folder, view):
    scan = read_scan(folder)
    with open(scan.files[view], "rb") as handle:
        handle.seek(int(scan.line_integrals.offsets[view]))
        return np.frombuffer(handle.read(2 * 92 * 16), "<u2")


def pass_through(folder, views=50, backward=False):
    scan = read_scan(folder)
    chunks = list(scan.chunks(views))
    for chunk in chunks[::-1] if backward else chunks:
        _ = scan.line_integrals[chunk]


class Altered:
    """A folder of which one view is another for a while."""

    def __init__(self, folder, view, pixels):
        scan = read_scan(folder)
        self.file, start = Path(scan.files[view]), int(scan.line_integrals.offsets[view])
        self.whole = self.file.read_bytes()
        content = np.asarray(pixels, "<u2").tobytes()
        self.altered = self.whole[:start] + content + self.whole[start + len(content) :]

    def __enter__(self):
        self.file.write_bytes(self.altered)
        return self.file

    def __exit__(self, *_):
        self.file.write_bytes(self.whole)


def test_a_good_scan_passes_in_either_direction(good):
    pass_through(good)
    pass_through(good, views=7, backward=True)


def zero(folder, view):
    return np.zeros(92 * 16)


def full(folder, view):
    return np.full(92 * 16, 65535)


def another(folder, view):
    return stored(folder, 70 if view != 70 else 30)


def neighbour(folder, view):
    return stored(folder, view + 1 if view < LAST else view - 1)


def foreign(folder, view):
    """A view of another place, with noise of its own."""
    noise = np.random.default_rng(1).integers(-20, 20, 92 * 16)
    return np.clip(another(folder, view).astype(int) + noise, 0, 65535)


def torn(folder, view):
    """Zeros where the end of the file never came."""
    whole = stored(folder, view).copy()
    whole[len(whole) // 2 :] = 0
    return whole


def swapped(folder, view):
    return stored(folder, view).byteswap()


@pytest.mark.parametrize("fault", [zero, full, another, neighbour, foreign, torn, swapped])
@pytest.mark.parametrize("view", [0, 1, 77, LAST])
def test_a_view_whose_pixels_are_not_its_own_is_refused(fault, view, good):
    with (
        Altered(good, view, fault(good, view)) as file,
        pytest.raises(DataError, match=r"\(7FE0,0010\)") as refused,
    ):
        pass_through(good, backward=view == 1)
    said = str(refused.value)
    if fault is neighbour:
        assert "two views hold the same pixels" in said
    else:
        assert file.name in said
    assert "expected" in said and "got" in said


def test_two_broken_views_do_not_hide_each_other(good):
    with (
        Altered(good, 60, zero(good, 60)),
        Altered(good, 61, zero(good, 61)),
        pytest.raises(DataError, match=r"view-00006[0-3]"),
    ):
        pass_through(good)


def test_views_without_noise_may_be_alike(tmp_path):
    """A cylinder along z, exactly measured; and air above a body that is shorter than the scan."""
    cylinder = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 0), axes=(80, 80, np.inf), value=MU)])
    short = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 0), axes=(60, 60, 4), value=MU)])
    for name, phantom in (("cylinder", cylinder), ("short", short)):
        write_scan(small_scan(phantom=phantom, turns=2.0), tmp_path / name)
        pass_through(tmp_path / name)


def test_a_scan_of_nothing_is_refused(tmp_path):
    nothing = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 0), axes=(60, 60, 4), value=0.0)])
    write_scan(small_scan(phantom=nothing, turns=0.5), tmp_path / "scan")
    with pytest.raises(DataError, match="no view shows anything"):
        pass_through(tmp_path / "scan")


@pytest.mark.parametrize("offset", [0.7, 0.1, -0.12])
def test_an_offset_of_the_air_beside_the_body_is_told(offset, good):
    scan = read_scan(good)
    scan.line_integrals.intercepts = scan.line_integrals.intercepts + offset
    with pytest.warns(UserWarning, match=rf"air beside the body .* {offset:.2f}") as told:
        for chunk in scan.chunks():
            _ = scan.line_integrals[chunk]
    assert len(told) == 1


@pytest.mark.parametrize(("diameter", "columns"), [(420.0, 40), (240.0, 92)])
def test_a_body_that_fills_the_fan_is_no_offset(diameter, columns, tmp_path):
    wide = water_ball(diameter=diameter)
    write_scan(small_scan(seed=3, turns=1.0, n_cols=columns, phantom=wide), tmp_path / "scan")
    pass_through(tmp_path / "scan")


def looked(views, cut, offset=0.0):
    """A watch that has seen random views, of which some are cut off at the largest number."""
    rng = np.random.default_rng(2)
    watch = PixelWatch([f"{k}.dcm" for k in range(views)], 1, np.full((views, 32), 1e5, np.float32))
    for k in range(views):
        raw = rng.integers(0, 60000, (8, 32)).astype("<u2")
        raw.flat[: int(cut * raw.size)] = 65535
        watch.look(k, raw, (raw * 1e-4 + offset).astype(np.float32))
    watch.judge(0, views)
    return watch


def test_rays_at_the_largest_number_are_told():
    looked(30, cut=0.04)
    with pytest.warns(UserWarning, match="30 of 30 views more than 5 %"):
        looked(30, cut=0.06)


def test_little_is_kept_of_a_view():
    watch = looked(20, cut=0.0)
    arrays = [value for value in vars(watch).values() if isinstance(value, np.ndarray)]
    kept = sum(array.nbytes for array in arrays if array is not watch._photons)
    assert kept <= 20 * 300


@pytest.mark.parametrize(
    ("level", "told"), [(0.04, False), (0.06, True), (-0.06, True), (1.45, True), (1.55, False)]
)
def test_air_is_told_where_no_noise_nor_body_explains_it(level, told):
    """Less may be noise or a calibration's rest, more may be a body that fills the fan."""
    watch = PixelWatch([f"{k}.dcm" for k in range(8)], 1, np.full((8, 32), 1e5, np.float32))
    rng = np.random.default_rng(3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(8):
            p = level + np.where(np.abs(np.arange(32) - 15.5) < 8, 3.0, 0.0)
            p = (p + rng.normal(0.0, 5e-4, (8, 32))).astype(np.float32)
            watch.look(k, np.rint(1e4 * (p + 1.0)).astype("<u2"), p)
        watch.judge(0, 8)
    assert any("air beside the body" in str(one.message) for one in caught) == told


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize(("share", "noisy"), [(0.18, False), (0.22, True)])
def test_noise_is_measured_in_that_of_the_quanta(rows, share, noisy):
    """Its standard deviation at a line integral p and N0 quanta is √(exp(p) / N0)."""
    p, photons = 2.0, np.full(2000, 1e5, np.float32)
    noise = share * np.sqrt(np.exp(p) / 1e5)
    white = np.random.default_rng(4).normal(0.0, noise, (rows, 2000))
    assert _is_noisy((p + white).astype(np.float32), photons) == noisy
