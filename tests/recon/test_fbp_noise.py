"""The covariance of an FBP's noise: against the FBP of every ray alone, and against drawn noise."""

import numpy as np
import pytest
import torch
from fbp_scenes import GRID, SCENES, small_fan

from recon.backends import image_noise
from recon.errors import DataError
from recon.fbp.windows import Kernel
from recon.geometry import ImageGrid
from recon.operator import operator

TOLERANCES = {
    # float32 sums over some thousand rays
    "of the largest variance": 3e-6,
    # 4,000 draws of 357 correlated pixels: some 2 % of each variance, .2 % of their mean
    "drawn, mean variance, rel": 0.01,
}


def uneven(geometry):
    """A variance that differs between all rays, and is not symmetric."""
    views, cols = geometry.shape
    v, d = np.mgrid[:views, :cols]
    return 0.4 + v / views + (d / cols) ** 2 + 0.3 * np.sin(1.7 * v) * np.cos(0.9 * d)


def every_ray(geometry, grid, variance, window):
    """``B diag(σ²) Bᵀ`` in 64 bits, of the images of all rays."""
    units = torch.eye(variance.size, dtype=torch.float64).reshape(-1, *geometry.shape)
    B = operator(geometry, grid, backend="reference").fbp
    images = torch.cat([B(part, window=window) for part in units.split(128)]).flatten(1)
    return (images.T * torch.from_numpy(variance).flatten()) @ images


QUARTER = small_fan(col_offset=0.25)


@pytest.mark.parametrize(
    ("geometry", "window"),
    [*((scene, "hann") for scene in SCENES.values()), (QUARTER, Kernel(mtf50=1.5, mtf10=3.0))],
    ids=[*SCENES, "arc, opposite rays interleaved"],
)
def test_it_is_that_of_all_rays(geometry, window, monkeypatch):
    """Some views at a time, of which the last have followers on the other side."""
    monkeypatch.setattr(image_noise, "_ROOM", 7 * 384 * 176)
    variance = uneven(geometry)
    expected = every_ray(geometry, GRID, variance, window)
    found = operator(geometry, GRID).fbp_covariance(torch.from_numpy(variance), window=window)
    limit = TOLERANCES["of the largest variance"] * float(expected.max())
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=limit)


def test_it_is_the_variance_of_drawn_noise():
    geometry = SCENES["arc"]
    variance = uneven(geometry)
    A = operator(geometry, GRID)
    rays = torch.randn(4000, *geometry.shape, generator=torch.Generator().manual_seed(1))
    drawn = A.fbp(rays * torch.from_numpy(variance).sqrt().float()).flatten(1).var(0)
    known = A.fbp_covariance(variance).diagonal()
    ratio = float(drawn.mean() / known.mean())
    assert abs(ratio - 1) < TOLERANCES["drawn, mean variance, rel"]
    assert float(torch.corrcoef(torch.stack([drawn, known]))[0, 1]) > 0.5  # where it is large


@pytest.mark.parametrize("shape", [(1, 1), (3, 150), (64, 1)])
def test_grids_of_any_shape_are_taken(shape):
    """One pixel, a row longer than a group of pixels, a column of one group."""
    geometry, grid = SCENES["arc"], ImageGrid(shape=shape, spacing=(0.5, 0.4), centre=(3.0, 2.0))
    variance = uneven(geometry)
    found = operator(geometry, grid).fbp_covariance(variance)
    expected = every_ray(geometry, grid, variance, "ram-lak")
    limit = TOLERANCES["of the largest variance"] * float(expected.max())
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=limit)


def test_rays_without_noise_leave_none():
    assert not operator(QUARTER, GRID).fbp_covariance(np.zeros(QUARTER.shape)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[1:], r"wrong shape.*\(36, 40\).*\(35, 40\)"),
        (lambda v: v - 1.0, "negative or not finite.*0 or more"),
        (lambda v: v * np.where(v > 1.5, np.nan, 1.0), "negative or not finite"),
    ],
    ids=["a view less", "negative", "NaN"],
)
def test_what_is_no_variance_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        operator(SCENES["arc"], GRID).fbp_covariance(change(uneven(SCENES["arc"])))
