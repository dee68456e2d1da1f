import math

import pytest
import torch

from ctxai.data import PatchPairs
from recon.errors import DataError


def images(slices=3, rows=40, cols=50, seed=0):
    """Body (0 HU) off-centre in air; each pixel has a number of its own below 1 HU."""
    y = torch.full((slices, rows, cols), -1000.0)
    y[:, 6:30, 11:48] = 0.0
    y += torch.arange(y.numel()).reshape(y.shape) * 1e-4
    return y + 5.0, y


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def test_patches_are_cut_from_the_images_pixel_on_pixel_and_half_are_mirrored():
    x, y = images()
    patches = y.unfold(1, 12, 1).unfold(2, 12, 1).reshape(-1, 12, 12)
    known = {patch.numpy().tobytes(): False for patch in patches}
    known |= {patch.flip(-1).contiguous().numpy().tobytes(): True for patch in patches}
    drawn_x, drawn_y = PatchPairs(x, y, patch=12).batch(1600, generator())
    assert drawn_x.shape == drawn_y.shape == (1600, 1, 12, 12)
    # y + 5 in 32 bits rounds by half a unit in the last place of 1000, i.e. 3e-5
    assert torch.allclose(drawn_x - drawn_y, torch.tensor(5.0), atol=1e-4)
    mirrored = [known[patch.contiguous().numpy().tobytes()] for patch in drawn_y[:, 0]]
    # 1,600 fair coins: 800 ± 20, and 5 standard deviations either side
    assert 700 <= sum(mirrored) <= 900


def test_the_allowed_places_are_those_whose_mean_is_inside():
    x, y = images()
    pairs = PatchPairs(x, y, patch=12, inside_hu=-300.0)
    means = y.double().unfold(1, 12, 1).unfold(2, 12, 1).mean((-2, -1))
    assert torch.equal(pairs._allowed, means > -300.0)
    _, drawn = pairs.batch(200, generator())
    assert (drawn.double().mean((1, 2, 3)) > -300.0).all()


def test_every_allowed_place_is_drawn_equally_often():
    y = torch.zeros(2, 5, 6)
    y += torch.arange(60.0).reshape(2, 5, 6)
    _, drawn = PatchPairs(y, y, patch=4, inside_hu=-math.inf).batch(12_000, generator())
    corner = drawn[:, 0, 0].amin(-1)  # the smaller of both upper corners, mirrored or not
    _, counts = corner.unique(return_counts=True)
    assert len(counts) == 2 * 2 * 3
    expected = 12_000 / 12
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # chi-squared with 11 degrees of freedom exceeds it once in 20,000 seeds
    assert chi2 < 39.2


def test_a_batch_is_a_function_of_its_generator():
    pairs = PatchPairs(*images(), patch=12)
    first = pairs.batch(7, generator(3))
    again = pairs.batch(7, generator(3))
    other = pairs.batch(7, generator(4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_one_allowed_place_is_found():
    y = torch.full((4, 60, 60), -1000.0)
    y[2, 60 - 16 :, 60 - 16 :] = 1000.0
    _, drawn = PatchPairs(y, y, patch=16, inside_hu=999.0).batch(3, generator())
    assert (drawn == 1000.0).all()


def test_the_digest_depends_on_all_that_decides_a_batch():
    x, y = images()
    digests = {
        PatchPairs(x, y, patch=12).digest,
        PatchPairs(x, y, patch=13).digest,
        PatchPairs(x, y, patch=12, inside_hu=-500.0).digest,
        PatchPairs(x + 1, y, patch=12).digest,
        PatchPairs(y, x, patch=12).digest,
    }
    assert len(digests) == 5
    assert PatchPairs(x.clone(), y.clone(), patch=12).digest in digests


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:2], y), "must match"),
        (lambda x, y: (x[0], y[0]), "must match"),
        (lambda x, y: (x[:0], y[:0]), "must match"),
        (lambda x, y: (x.short(), y), "floating-point"),
        (lambda x, y: (x.numpy(), y), "from_numpy"),
        (lambda x, y: (x, y / 0), "NaN or infinity"),
        (lambda x, y: (x[:, :8], y[:, :8]), "smaller than a patch"),
        (lambda x, y: (x - 1000, y - 1000), "no patch shows the body"),
    ],
)
def test_images_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        PatchPairs(*change(*images()), patch=12)
