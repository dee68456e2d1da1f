"""The noise of a patch as a matrix: against the dense product, against sampled noise, any dose."""

import numpy as np
import pytest
import torch

from analysis.scanner.columns import crossing_columns, with_columns
from analysis.scanner.covariance import ImageCovariance, ray_variance
from analysis.scanner.slice_scanner import SliceScanner
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial

TOLERANCES = {
    # rays outside the margin are left out: (32π)⁻² of the filter's peak, squared and summed
    "cropped detector, rel": 1e-4,
    # 400 draws of 256 correlated pixels: 0.5 % of a mean variance, and the logarithm's curvature
    # at 2,000 quanta and more
    "sampled variance, rel": 0.03,
    # float32 sums
    "matrix against product, rel": 1e-5,
}


@pytest.fixture(scope="module")
def scanner(body):
    grid = ImageGrid(shape=(16, 12), spacing=(1.0, 1.5), centre=(21.0, -14.0))
    return SliceScanner(
        body, (2.0, 2.0), kvp=120.0, slice_thickness=1.5, patch_grid=grid, seed=1,
        geometry=flash_axial(views=144),
    )  # fmt: skip


@pytest.fixture(scope="module")
def covariance(scanner):
    return ImageCovariance.of(scanner)


def dense_backprojector(scanner):
    """B as (pixels, rays), from the whole detector, by its transpose."""
    rows, cols = scanner.patch_grid.shape
    unit = torch.eye(rows * cols).reshape(-1, rows, cols)
    rays = torch.zeros(len(unit), *scanner.geometry.shape, requires_grad=True)
    image = scanner.patch_operator.fbp(rays, window=scanner.window)
    (spread,) = torch.autograd.grad(image, rays, unit * 1000.0 / scanner.mu_water)
    return spread.flatten(1).double().numpy()


PIXELS = torch.eye(192).reshape(-1, 16, 12)
"""Images in which one pixel is 1 and the others are 0."""


def pixel_variance(covariance, mas):
    """Variance of each pixel, the diagonal of the covariance."""
    return covariance.times(mas)(PIXELS).flatten(1).diagonal().double()


@pytest.mark.parametrize("mas", [0.0005, 50.0])
def test_it_is_the_dense_product_over_all_rays(scanner, covariance, mas):
    """At 0.0005 mAs the electronic noise rules, at 50 mAs the quanta."""
    B = dense_backprojector(scanner)
    counts = scanner.photons(mas)[None, :] * np.exp(-scanner.p.double().numpy())
    variance = (1 / counts + scanner.electronic_noise**2 / counts**2).ravel()
    expected = (B * variance) @ B.T
    assert (scanner.electronic_noise**2 / counts > 1).mean() > 0.1 or mas > 1
    found = covariance.times(mas)(PIXELS).flatten(1).double().numpy()
    limit = TOLERANCES["cropped detector, rel"] * expected.max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    np.testing.assert_allclose(pixel_variance(covariance, mas), np.diag(expected), rtol=1e-3)


def test_it_is_the_variance_of_sampled_noise(scanner, covariance):
    x = scanner.low_dose(50.0, draws=400)
    ratio = float(x.double().var(0).mean() / pixel_variance(covariance, 50.0).mean())
    assert abs(ratio - 1) < TOLERANCES["sampled variance, rel"]


def test_a_patch_above_the_limit_goes_without_matrices(scanner, covariance, monkeypatch):
    """192 pixels, with the limit at 192 and at 191."""
    change = torch.zeros(16, 12)
    change[4:9, 2:6] = 400.0
    monkeypatch.setattr("analysis.scanner.covariance._LARGEST", 192)
    with_matrix = ImageCovariance.of(scanner, change)
    monkeypatch.setattr("analysis.scanner.covariance._LARGEST", 191)
    without = ImageCovariance.of(scanner, change)
    assert with_matrix.matrices is not None and without.matrices is None
    v = torch.randn(3, 16, 12, generator=torch.Generator().manual_seed(2))
    a, b = with_matrix.times(7.0)(v), without.times(7.0)(v)
    assert float((a - b).norm() / b.norm()) < TOLERANCES["matrix against product, rel"]
    # the mean of both hypotheses: a denser patch is noisier
    assert (
        float(pixel_variance(with_matrix, 7.0).mean() / pixel_variance(covariance, 7.0).mean())
        > 1.005
    )
    torch.testing.assert_close(
        pixel_variance(without, 7.0), pixel_variance(with_matrix, 7.0), rtol=1e-5, atol=0.0
    )


def test_columns_that_cross_the_patch_are_kept():
    """Every ray that the projector gives to a patch lies within the columns, without a margin."""
    from recon.operator import operator

    geometry = flash_axial(views=36)
    grid = ImageGrid(shape=(8, 8), spacing=(2.0, 2.0), centre=(-60.0, 35.0))
    seen = operator(geometry, grid)(torch.ones(8, 8)).amax(0).nonzero()[:, 0]
    columns = crossing_columns(geometry, grid, margin=0)
    assert columns.start <= seen.min() <= columns.start + 3
    assert columns.stop - 4 <= seen.max() < columns.stop
    part = with_columns(geometry, columns)
    np.testing.assert_allclose(part.fan_angles, geometry.fan_angles[columns], atol=1e-12)
    with pytest.raises(DataError, match="orbit"):
        crossing_columns(geometry, ImageGrid(shape=(8, 8), spacing=(9.0, 9.0), centre=(570.0, 0.0)))


@pytest.mark.parametrize("centre", [(60.0, 35.0), (-60.0, 35.0), (60.0, -35.0), (-60.0, -35.0)])
def test_columns_follow_from_the_farthest_corner_of_the_patch(centre):
    """A point at r from the axis is seen within asin(r / R) of the middle, in any quadrant."""
    geometry = flash_axial(views=36)
    grid = ImageGrid(shape=(6, 4), spacing=(9.0, 7.0), centre=centre)
    corner = np.hypot(60.0 + 2 * 7.0, 35.0 + 3 * 9.0)
    edge = np.arcsin(corner / geometry.src_iso)
    low, high = geometry.column_of(np.array([-edge, edge]))
    expected = slice(int(np.floor(low)), int(np.ceil(high)) + 1)
    assert crossing_columns(geometry, grid, margin=0) == expected
    wider = crossing_columns(geometry, grid, margin=5)
    assert (wider.start, wider.stop) == (expected.start - 5, expected.stop + 5)


def test_variance_of_a_ray_is_that_of_its_samples():
    from recon.dose.noise import sample_transmission

    p = torch.full((400, 100), 3.0)
    photons = np.full(100, 500.0)  # at 1 mAs; 30 mAs leave 750 quanta
    quantum, electronic = ray_variance(p[:1], photons, 20.0)
    expected = float((quantum / 30 + electronic / 900).mean())
    noisy = sample_transmission(p, photons=30 * photons, electronic_noise=20.0, seed=3)
    assert float(noisy.double().var()) == pytest.approx(expected, rel=0.03)  # 40,000 samples


def test_the_largest_patch_with_matrices_has_81_pixels_a_side(scanner):
    """64 and what eight convolutions see around them; 82 × 81 are one row more."""
    grid = ImageGrid(shape=(82, 81), spacing=(1.0, 1.0))
    large = SliceScanner(
        scanner.hu, scanner.spacing, kvp=120.0, slice_thickness=1.5, patch_grid=grid, seed=1,
        geometry=flash_axial(views=24),
    )  # fmt: skip
    covariance = ImageCovariance.of(large)
    assert covariance.matrices is None
    v = torch.zeros(1, 82, 81)
    v[0, 30, 30] = 1.0
    assert covariance.times(7.0)(v)[0, 30, 30] > 0


@pytest.mark.parametrize("shape", [(16, 12), (9, 10)])
def test_the_stationary_likeness_has_the_mean_autocovariance(scanner, covariance, shape):
    """Of a noise that is stationary already it is the noise, as far as the taper leaves it."""

    def kernel(i, j):  # uneven along the axes and across them
        return 50.0 * np.exp(-((i / 2.0) ** 2) - (j / 1.5) ** 2 - i * j / 4.0)

    pixels = np.indices((16, 12)).reshape(2, -1)
    offsets = pixels[:, :, None] - pixels[:, None]
    sigma = torch.from_numpy(kernel(*offsets))
    of_noise = ImageCovariance.of(scanner, kept=False)
    of_noise.times = lambda mas: lambda v: (v.double().flatten(1) @ sigma).reshape(v.shape)
    found = of_noise.like(50.0, shape).double().numpy()
    assert (found == found.T).all() and np.linalg.eigvalsh(found).min() > -1e-5 * found.max()
    inside = np.indices(shape).reshape(2, -1)
    i, j = inside[:, :, None] - inside[:, None]
    expected = kernel(i, j) * (1 - abs(i) / 16) * (1 - abs(j) / 12)
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_the_stationary_likeness_is_like_the_noise(scanner, covariance):
    like, own = covariance.like(50.0, (16, 12)), covariance.matrix(50.0)
    assert float((like - own).norm() / own.norm()) < 0.2
    assert float((like - own.mean()).norm() / own.norm()) > 0.8  # not any matrix is
    assert covariance.like(50.0, (90, 90)) is None  # 81² pixels at most
