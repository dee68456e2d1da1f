"""A patch lies where it is said to lie, and resampling neither shifts nor shades."""

import numpy as np
import pytest
from real_data import DATA, needs
from tolerances import IMAGES

from analysis.scanner.slices import body_centre, load_slices, place_patch, resample, resample_to
from recon.errors import DataError
from recon.geometry import ImageGrid


def blob(shape, spacing, at, sigma=9.0):
    """A Gaussian of 100 HU, centred at (x, y) mm from the image's centre."""
    y = (np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing[0]
    x = (np.arange(shape[1]) - (shape[1] - 1) / 2) * spacing[1]
    r2 = (x[None, :] - at[0]) ** 2 + (y[:, None] - at[1]) ** 2
    return (100.0 * np.exp(-r2 / (2 * sigma**2))).astype(np.float32)


def centroid(hu, grid):
    weight = hu / hu.sum()
    return float((weight * grid.x).sum()), float((weight * grid.y[:, None]).sum())


@pytest.mark.parametrize("to_spacing", [(1.0, 1.0), (2.0, 1.6), (0.5, 0.4)])
def test_resampling_does_not_shift(to_spacing):
    hu = blob((180, 200), (0.9, 0.81), at=(11.3, -7.9))
    shape = tuple(int(100 / s) for s in to_spacing)
    grid = ImageGrid(shape=shape, spacing=to_spacing, centre=(13.0, -5.0))
    x, y = centroid(resample_to(hu, (0.9, 0.81), grid), grid)
    assert abs(x - 11.3) < IMAGES["place after resampling [mm]"]
    assert abs(y + 7.9) < IMAGES["place after resampling [mm]"]


def test_resampling_keeps_constants_and_coincident_pixels():
    image = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    same = ImageGrid(shape=(4, 3), spacing=(2.0, 3.0), centre=(3.0, -6.0))
    np.testing.assert_allclose(
        resample_to(image, (2.0, 3.0), same), image[1:5, 4:7], rtol=0, atol=1e-6
    )
    flat = resample(np.full((2, 50, 40), -37.0, np.float32), (0.7, 0.6), (1.0, 1.3))
    assert flat.shape == (2, 35, 18)
    np.testing.assert_allclose(flat, -37.0, rtol=1e-6)


def test_coarser_pixels_are_antialiased():
    """A pattern above the new Nyquist frequency vanishes instead of folding to a coarse one."""
    stripes = np.tile(np.where(np.arange(160) % 2, 100.0, -100.0).astype(np.float32), (160, 1))
    coarse = resample(stripes, (0.5, 0.5), (1.25, 1.25))
    assert np.abs(coarse[:, 2:-2]).max() < IMAGES["pattern beyond Nyquist [HU]"]


def test_patch_is_centred_on_its_pixel():
    hu = blob((200, 160), (0.8, 0.9), at=(0.0, 0.0)) - 1000.0
    row, col = 70, 110
    hu[row, col] = 500.0
    patch = place_patch(hu, (0.8, 0.9), roi=(row, col))
    assert patch.roi == (row, col)
    place = patch.grid.x[32], patch.grid.y[32]
    assert place == pytest.approx(((110 - 79.5) * 0.9, (70 - 99.5) * 0.8))
    inside = resample_to(hu, (0.8, 0.9), patch.grid)
    assert np.unravel_index(np.argmax(inside), inside.shape) == (32, 32)


@pytest.mark.parametrize("side", [16, 17])
def test_a_patch_of_the_slice_s_own_pixels_is_cut_out_as_it_is(side):
    hu = np.random.default_rng(2).normal(size=(40, 50)).astype(np.float32)
    row, col = 20, 30
    patch = place_patch(hu, (0.7, 0.7), shape=(side, side), to_spacing=(0.7, 0.7), roi=(row, col))
    first = [at - side // 2 for at in (row, col)]
    cut = hu[first[0] : first[0] + side, first[1] : first[1] + side]
    np.testing.assert_allclose(resample_to(hu, (0.7, 0.7), patch.grid), cut, rtol=0, atol=1e-5)
    edge = place_patch(hu, (0.7, 0.7), shape=(40, 16), to_spacing=(0.7, 0.7), roi=(20, 8))
    np.testing.assert_allclose(resample_to(hu, (0.7, 0.7), edge.grid), hu[:, :16], atol=1e-5)


@pytest.mark.parametrize("roi", [(10, 80), (190, 80), (100, 5), (100, 155), (-1, 80), (100, 900)])
def test_patch_outside_the_slice_is_refused(roi):
    with pytest.raises(DataError, match="does not fit"):
        place_patch(np.zeros((200, 160)), (0.8, 0.9), roi=roi)


@pytest.mark.parametrize("side", [7, 8])
def test_a_patch_may_touch_the_borders_of_the_slice_and_not_pass_them(side):
    """Pixels of 1 mm in a slice of 2 mm pixels: all patches whose edges lie within are taken."""
    hu, before = np.zeros((12, 15)), (side // 2 + 0.5) / 2  # pixels of the slice
    for axis, n in enumerate(hu.shape):
        for at in range(-1, n + 1):
            roi = (at, 6) if axis == 0 else (6, at)
            if at - before >= -0.5 and at - before + side / 2 <= n - 0.5:
                grid = place_patch(hu, (2.0, 2.0), shape=(side, side), roi=roi).grid
                assert resample_to(hu, (2.0, 2.0), grid).shape == (side, side)
                continue
            with pytest.raises(DataError, match="does not fit"):
                place_patch(hu, (2.0, 2.0), shape=(side, side), roi=roi)


def test_a_patch_as_large_as_the_slice_lies_in_its_middle():
    patch = place_patch(
        np.zeros((5, 6)), (2.0, 2.0), shape=(5, 6), to_spacing=(2.0, 2.0), roi=(2, 3)
    )
    assert patch.grid.centre == (0.0, 0.0)
    with pytest.raises(DataError, match="smaller than"):
        place_patch(np.zeros((5, 5)), (2.0, 2.0), shape=(5, 6), to_spacing=(2.0, 2.0), roi=(2, 3))


@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_images_reach_to_the_edges_of_their_pixels(way):
    """A pixel centred within is made, one whose centre lies beyond the last pixel's edge is not."""
    image = np.arange(12.0).reshape(3, 4)
    for beyond in (-0.01, 0.01):
        for axis, edge in enumerate((4.0, 3.0)):  # mm, of the columns along x, of the rows along y
            centre = [0.0, 0.0]
            centre[axis] = way * (edge + beyond)
            grid = ImageGrid(shape=(1, 1), spacing=(1.0, 1.0), centre=tuple(centre))
            if beyond < 0:
                assert np.isfinite(resample_to(image, (2.0, 2.0), grid)).all()
                continue
            with pytest.raises(DataError, match="inside the image"):
                resample_to(image, (2.0, 2.0), grid)


def test_slice_smaller_than_the_patch_is_refused():
    with pytest.raises(DataError, match="smaller than"):
        place_patch(np.zeros((50, 160)), (0.8, 0.9))
    with pytest.raises(DataError, match="inside the image"):
        resample_to(np.zeros((9, 9)), (1.0, 1.0), ImageGrid(shape=(9, 9), spacing=(2.0, 2.0)))


def test_body_centre_ignores_table_and_lungs():
    hu = np.full((200, 220), -1000.0)
    y, x = np.mgrid[:200, :220]
    hu[((x - 120) / 70) ** 2 + ((y - 90) / 50) ** 2 < 1] = 30.0
    hu[((x - 90) / 20) ** 2 + ((y - 85) / 30) ** 2 < 1] = -850.0
    hu[170:174] = 200.0  # a table across the whole image
    assert body_centre(hu) == (90, 120)
    assert body_centre(np.full((11, 21), -1000.0)) == (5, 10)


@pytest.mark.data
@pytest.mark.parametrize(
    "folder", [pytest.param(name, marks=needs(name)) for name in ("abdomen", "head")]
)
def test_real_slices_are_read_in_hu_and_clipped(folder):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own headers disagree; the reader says so
        images = load_slices(DATA / folder)
    assert images.hu.min() >= -1000.0
    row, col = body_centre(images.hu[0])
    assert -100 < np.median(images.hu[0][row - 20 : row + 20, col - 20 : col + 20]) < 150
    patch = place_patch(images.hu[0], images.spacing)
    assert resample_to(images.hu[0], images.spacing, patch.grid).shape == (64, 64)
