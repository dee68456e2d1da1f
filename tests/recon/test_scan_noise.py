"""Noise of a helical scan in its images, through files: exposure, prediction, power spectrum.

The reconstruction is linear in the rays. What its weights make of noise is therefore known from any
noise of known variance: Gaussian rays, with the variance ``(1 + σe²/N)/N`` that N quanta and the
electronics give each of them, must leave the same noise in the images as the counted quanta do.
"""

import math

import numpy as np
import pytest
from small_scans import MU, small_helix

from recon.ctpd.read import read_scan
from recon.ctpd.write import write_scan
from recon.geometry import ImageGrid
from recon.helical import covered, reconstruct
from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom
from recon.scan.at_dose import at_dose
from recon.scan.scanners import flash_helical
from recon.scan.simulate import simulate_scan

SCAN_NOISE = {
    # 10 draws × 40 slices of 48 × 48 pixels: from seed to seed a ratio of two scatters by 0.35 %
    # about 0.995 to 1.003, one to the half as many of the prediction by 0.4 %
    "image noise, rel": 0.02,
    "slope of noise against mAs": 0.02,
    # L2 distance of two normalised spectra of 400 patches: 1.1 ± 0.3 % by chance
    "NPS shape": 0.03,
    # 48,000 pixels that are 3 mm apart: 0.33 % each
    "image noise of the Flash, rel": 0.02,
}
GRID = ImageGrid(shape=(48, 48), spacing=(2.0, 2.0), centre=(5.0, -3.0))
WATER = EllipsoidPhantom(
    [Ellipsoid(centre=(5.0, -3.0, 0.0), axes=(80.0, 80.0, math.inf), value=MU)]
)
HELIX = small_helix(turns=4.5, n_rows=64, feed=28.0)  # few files, of many rows
HEIGHTS = -58.5 + 3.0 * np.arange(40)
DRAWS = 10  # of 4, two spectra of one distribution differ by up to 3 %; of 10 by less than 2 %
SIGMA = 3.0


def scan_at(mas, *, seed, sigma=SIGMA, helix=HELIX):
    return simulate_scan(
        WATER.views(helix), helix, mas=mas, kvp=120, mu_water=MU, name="water", seed=seed,
        electronic_noise=sigma,
    )  # fmt: skip


def images(scan, grid=GRID, z=HEIGHTS, thickness=1.5):
    return reconstruct(scan, grid=grid, z=z, slice_thickness=thickness).astype(np.float64)


@pytest.fixture(scope="module")
def clean():
    """Images without noise, for all exposures the same."""
    return images(scan_at(100.0, seed=None))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Scans at 200 mAs, written and read again: one a draw."""
    folder = tmp_path_factory.mktemp("measured")
    for seed in range(DRAWS):
        write_scan(scan_at(200.0, seed=seed + 1), folder / str(seed))
    return [read_scan(folder / str(seed)) for seed in range(DRAWS)]


@pytest.fixture(scope="module")
def reduced(files, clean):
    """Noise images of those scans at lower exposures, by exposure: (draws, slices, rows, cols)."""
    return {
        mas: np.stack(
            [images(at_dose(scan, mas=mas, seed=9, electronic_noise=SIGMA)) for scan in files]
        )
        - clean
        for mas in (20.0, 100.0)
    }


def gaussian(p, photons, sigma, seed):
    """Rays with the variance of the noise model, without its skew."""
    n = photons[:, None, :] * np.exp(-p)
    rng = np.random.default_rng(seed)
    return p + (rng.standard_normal(p.shape) * np.sqrt((1 + sigma**2 / n) / n)).astype(np.float32)


def predicted(mas, clean):
    """Image noise from the variance of the rays."""
    scan = scan_at(mas, seed=None)
    p = scan.line_integrals[:]
    noise = [
        images(scan.changed(line_integrals=gaussian(p, scan.photons, SIGMA, seed))) - clean
        for seed in range(DRAWS // 2)
    ]
    return np.std(noise)


def test_the_heights_are_covered():
    low, high = covered(HELIX, GRID)
    assert low <= HEIGHTS[0] and HEIGHTS[-1] <= high


def test_image_noise_is_what_the_variance_of_the_rays_predicts(reduced, clean):
    for mas in (20.0, 100.0):
        assert reduced[mas].std() == pytest.approx(
            predicted(mas, clean), rel=SCAN_NOISE["image noise, rel"]
        )


def test_image_noise_follows_the_exposure(reduced):
    """Slope -1/2 of log noise against log mAs: electronic noise is a thousandth of the quanta's."""
    exposures = sorted(reduced)
    noise = [reduced[mas].std() for mas in exposures]
    slope = np.polyfit(np.log(exposures), np.log(noise), 1)[0]
    assert slope == pytest.approx(-0.5, abs=SCAN_NOISE["slope of noise against mAs"])


def spectrum(noise, bins=12):
    """Radial noise power spectrum, normalised to its integral, (bins,)."""
    n = noise.shape[-1]
    patches = noise.reshape(-1, n, n)
    patches = patches - patches.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(patches)) ** 2).mean(axis=0)
    frequency = np.fft.fftfreq(n)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    number = np.minimum((radius / 0.5 * bins).astype(int), bins).ravel()
    radial = np.bincount(number, power.ravel())[:bins] / np.bincount(number)[:bins]
    return radial / radial.sum()


def test_the_noise_has_the_power_spectrum_of_a_scan_at_that_dose(reduced, clean):
    direct = np.stack([images(scan_at(20.0, seed=50 + k)) for k in range(DRAWS)]) - clean
    assert reduced[20.0].std() == pytest.approx(direct.std(), rel=SCAN_NOISE["image noise, rel"])
    ours, theirs = spectrum(reduced[20.0]), spectrum(direct)
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) < SCAN_NOISE["NPS shape"]
    white = spectrum(np.random.default_rng(1).standard_normal(direct.shape))
    assert np.linalg.norm(ours - white) / np.linalg.norm(white) > 0.2  # a shape it does have


@pytest.mark.slow
def test_two_reductions_through_files_equal_one(reduced, files, clean, tmp_path):
    twice = []
    for number, scan in enumerate(files):
        write_scan(at_dose(scan, mas=80, seed=4, electronic_noise=SIGMA), tmp_path / str(number))
        half = read_scan(tmp_path / str(number))
        assert half.mas == pytest.approx(80)
        twice.append(images(at_dose(half, mas=20, seed=4, electronic_noise=SIGMA)) - clean)
    assert np.std(twice) == pytest.approx(reduced[20.0].std(), rel=SCAN_NOISE["image noise, rel"])


@pytest.mark.slow
def test_image_noise_of_a_flash_with_a_flying_focal_spot():
    helix = flash_helical(length=76.8)
    grid = ImageGrid(shape=(48, 48), spacing=(3.0, 3.0), centre=(5.0, -3.0))
    low, high = covered(helix, grid)
    z = np.linspace(low, high, 21)
    clean_scan = scan_at(100.0, seed=None, helix=helix)
    p = clean_scan.line_integrals[:]
    clean = images(clean_scan.changed(line_integrals=p), grid, z)
    full = scan_at(100.0, seed=1, helix=helix)
    low_dose = images(at_dose(full, mas=20, seed=2), grid, z) - clean
    rays = gaussian(p, clean_scan.photons / 5, SIGMA, 3)
    expected = images(clean_scan.changed(line_integrals=rays), grid, z) - clean
    assert low_dose.std() == pytest.approx(
        expected.std(), rel=SCAN_NOISE["image noise of the Flash, rel"]
    )
