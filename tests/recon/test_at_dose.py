"""A scan at a lower dose: the noise it should have, lazily, whatever the pieces."""

import itertools

import numpy as np
import pytest
from ctpd_files import Series, write
from tolerances import AT_DOSE

from recon.ctpd.read import read_scan
from recon.ctpd.write import write_scan
from recon.dose.noise import insert_noise
from recon.errors import DataError
from recon.scan.at_dose import at_dose
from recon.scan.helix import HelicalScan
from recon.scan.scan import Scan


def scan_of(p, *, n0=1e5, mas=200.0, uid="1.2.3"):
    """A scan of given line integrals (views, rows, cols)."""
    views, rows, cols = p.shape
    turn = 2 * np.pi / 16
    helix = HelicalScan(
        angles=np.arange(views) * turn, z=np.arange(views) * 0.5, src_iso=595, src_det=1085.6,
        n_rows=rows, n_cols=cols, row_pitch=1.1, col_pitch=1.3, views_per_rotation=16,
    )  # fmt: skip
    photons = n0 * np.linspace(0.5, 1.5, cols) * np.ones((views, 1))
    return Scan(
        line_integrals=p.astype(np.float32), geometry=helix, photons=photons, mu_water=0.0192,
        exposures=np.full(views, mas), kvp=120, series_uid=uid,
    )  # fmt: skip


def uniform(value=2.0, views=64, rows=16, cols=64):
    return scan_of(np.full((views, rows, cols), value))


def measured(scan, seed):
    """Noise of the scan's own exposure (Gaussian, many quanta)."""
    rng = np.random.default_rng(seed)
    p = scan.line_integrals
    counts = scan.photons[:, None, :] * np.exp(-p)
    noisy = p + rng.standard_normal(p.shape) / np.sqrt(counts)
    return scan.changed(line_integrals=noisy.astype(np.float32))


def test_any_pieces_have_the_same_noise(tmp_path):
    scan = read_scan(write(tmp_path / "scan"))
    low = at_dose(scan, mas=20, seed=4).line_integrals
    whole = low[:]
    assert whole.dtype == np.float32 and whole.shape == scan.geometry.shape == low.shape
    for pieces in ([0, 1, 24], [0, 7, 8, 20, 24], list(range(25))):
        parts = [low[a:b] for a, b in itertools.pairwise(pieces)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(low[5], whole[5])
    np.testing.assert_array_equal(low[3:20:4], whole[3:20:4])
    assert low[9:9].shape == (0, *whole.shape[1:])
    assert not np.array_equal(at_dose(scan, mas=20, seed=5).line_integrals[:], whole)


def test_a_single_row_has_the_same_noise_in_any_pieces():
    low = at_dose(uniform(rows=1), mas=20, seed=4).line_integrals
    whole = low[:]
    np.testing.assert_array_equal(np.concatenate([low[:10], low[10:11], low[11:]]), whole)
    assert len(np.unique(whole[:, 0, 3])) > 60  # every view its own


def test_it_is_the_dose_model_on_the_native_rays():
    """Value by value what insert_noise gives on all rays at once."""
    import zlib

    import torch

    scan = uniform()
    direct = insert_noise(
        torch.from_numpy(scan.line_integrals),
        photons=scan.photons[:, None, :],
        dose_fraction=0.1,
        electronic_noise=3.0,
        seed=2,
        image=zlib.crc32(b"1.2.3"),
    )
    low = at_dose(scan, mas=20, seed=2)
    np.testing.assert_array_equal(low.line_integrals[:], direct.numpy())


def test_quanta_and_exposures_follow_the_dose():
    scan = uniform()
    low = at_dose(scan, mas=25, seed=1)
    assert low.mas == pytest.approx(25) and scan.mas == 200
    assert at_dose(scan.changed(ctdi_vol=16.0), mas=25, seed=1).ctdi_vol == 2.0
    np.testing.assert_allclose(low.photons, scan.photons / 8, rtol=1e-6)
    same = at_dose(scan, dose_fraction=0.125, seed=1)
    np.testing.assert_array_equal(same.line_integrals[:], low.line_integrals[:])
    assert same.series_uid == low.series_uid != scan.series_uid
    assert at_dose(scan, mas=25, seed=2).series_uid != low.series_uid


def test_variance_is_that_of_a_scan_at_the_lower_dose():
    """(e^p/N0' + σe²·e^2p/N0'^2) for a measured scan, N0' the quanta at the lower dose."""
    low = at_dose(measured(uniform(2.0, views=128, rows=64), 3), mas=10, seed=6)
    found = low.line_integrals[:].var(axis=(0, 1))
    counts = low.photons[0] * np.exp(-2.0)
    expected = 1 / counts + 9.0 / counts**2
    np.testing.assert_allclose(found.mean(), expected.mean(), rtol=AT_DOSE["variance, rel"])
    assert np.corrcoef(found, expected)[0, 1] > 0.9  # the bowtie shows


def test_two_reductions_equal_one_in_variance_through_files(tmp_path):
    scan = measured(uniform(2.0, views=128, rows=64), 1)
    once = at_dose(scan, mas=20, seed=7).line_integrals[:].var()
    half = at_dose(scan, mas=80, seed=7)
    np.testing.assert_allclose(
        at_dose(half, mas=20, seed=7).line_integrals[:].var(), once, rtol=AT_DOSE["variance, rel"]
    )  # although the seed is the same
    write_scan(half, tmp_path / "half")
    twice = at_dose(read_scan(tmp_path / "half"), mas=20, seed=7)
    np.testing.assert_allclose(twice.line_integrals[:].var(), once, rtol=AT_DOSE["variance, rel"])


def test_full_dose_changes_nothing(tmp_path):
    scan = read_scan(write(tmp_path / "scan"))
    for same in (at_dose(scan, dose_fraction=1, seed=1), at_dose(scan, mas=scan.mas, seed=1)):
        np.testing.assert_array_equal(same.line_integrals[:], scan.line_integrals[:])
        np.testing.assert_array_equal(same.photons, scan.photons)


def test_the_stated_range_holds_all_values():
    """What is written in 16 bits is not clipped, even with few quanta."""
    for n0, p in ((3e3, 0.0), (1e5, 6.0), (1e6, 0.5)):
        scan = scan_of(np.full((64, 16, 64), p), n0=n0)
        rays = at_dose(scan, mas=5, seed=1).line_integrals
        low, high = rays.range
        values = rays[:]
        assert low <= values.min() and values.max() <= high


@pytest.mark.parametrize(
    "arguments",
    [
        {"mas": 201},
        {"mas": 0},
        {"mas": -10},
        {"mas": float("nan")},
        {"mas": "low"},
        {"dose_fraction": 1.01},
        {"dose_fraction": 0},
        {"mas": 10, "dose_fraction": 0.1},
        {},
        {"mas": 10, "seed": -1},
        {"mas": 10, "electronic_noise": -3},
    ],
)
def test_impossible_doses_are_refused(arguments):
    with pytest.raises(DataError):
        at_dose(uniform(), **{"seed": 1, **arguments})


def test_more_than_the_scan_has_is_said_with_both_numbers():
    with pytest.raises(DataError, match=r"200 mAs.*got 300"):
        at_dose(uniform(), mas=300, seed=1)


def test_a_scan_refuses_what_does_not_fit():
    scan = uniform()
    for changes in (
        {"line_integrals": np.zeros((3, 2, 1), np.float32)},
        {"photons": np.ones(64)},
        {"photons": -scan.photons},
        {"exposures": np.where(np.arange(64) == 3, np.nan, 100.0)},
        {"mu_water": 0},
    ):
        with pytest.raises(DataError):
            scan.changed(**changes)
    with pytest.raises(DataError):
        HelicalScan(
            angles=[0.0, np.nan], z=0.0, src_iso=1, src_det=2, n_rows=1, n_cols=2, row_pitch=1,
            col_pitch=1, views_per_rotation=4,
        )  # fmt: skip


def test_series_of_many_views_keep_bounded_memory(tmp_path):
    """Rays are made chunk by chunk: the peak does not grow with the scan."""
    import tracemalloc

    class Rays:
        shape = (4000, 16, 64)

        def __getitem__(self, which):
            return np.ones((len(range(self.shape[0])[which]), 16, 64), np.float32)

    helix = uniform(views=4000, rows=16, cols=64).geometry
    scan = uniform().changed(
        line_integrals=Rays(), geometry=helix, photons=np.full((4000, 64), 1e5),
        exposures=np.full(4000, 200.0),
    )  # fmt: skip
    low = at_dose(scan, mas=10, seed=1)
    low.line_integrals[:1]
    tracemalloc.start()
    total = sum(float(low.line_integrals[chunk].sum()) for chunk in low.chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(total)
    assert peak < 0.25 * 4 * np.prod(Rays.shape)


def test_series_of_the_oracle_differ():
    """The oracle's own check: no two views alike, so that an order cannot be right by chance."""
    stored = Series().stored()
    assert len({view.tobytes() for view in stored}) == len(stored)
