"""The counter-based stream: published vectors, exact distributions, independence."""

import numpy as np
import pytest
from numba import njit
from scipy import stats
from tolerances import STREAMS

from recon.dose.kernels import EXACT_BELOW, MISSING, QUANTA, few_quanta, many_quanta
from recon.dose.streams import philox4x32, stream_index, stream_key
from recon.dose.vectors import normals, row_normals, row_words
from recon.errors import DataError

N = 300_000


@njit
def _poissons(mean, count):
    words = np.empty((4, count), np.int64)
    row_words(0, 3, QUANTA, stream_key(np.uint64(11), 0, 0), words)
    z, other, means, out = np.empty(count), np.empty(count), np.full(count, mean), np.empty(count)
    normals(words[0], words[1], z, other)
    many_quanta(np.ones(count), z, means, out)
    if mean < EXACT_BELOW:
        few_quanta(np.full(count, mean), words[2], words[3], out)
    return out


def _normals(count, view=0, first_ray=0):
    out = np.empty(count)
    row_normals(first_ray, view, MISSING, stream_key(np.uint64(5), 1, 2), out)
    return out


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known-answer file of Random123, the authors' own implementation
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, expected):
    assert list(philox4x32(*counter, *key)) == expected


def test_normal_numbers_are_normal_and_independent():
    here, next_view = _normals(N), _normals(N, view=1)
    assert stats.kstest(here, "norm").pvalue > STREAMS["p-value"]
    pairs = {
        "of a block": (here[::2], here[1::2]),
        "of blocks side by side": (here[1:-1:2], here[2::2]),
        "next view": (here, next_view),
    }
    for name, (a, b) in pairs.items():
        assert stats.pearsonr(a, b).pvalue > STREAMS["p-value"], name
        assert stats.pearsonr(a**2, b**2).pvalue > STREAMS["p-value"], name


@pytest.mark.parametrize("first_ray", [1, 6, 7])
@pytest.mark.parametrize("count", [1, 8, 9])
def test_a_ray_has_its_normal_number_wherever_its_row_begins(first_ray, count):
    whole = _normals(40)
    assert (_normals(count, first_ray=first_ray) == whole[first_ray : first_ray + count]).all()


# both sides of 50, where inversion hands over to the expansion, and far into either method
@pytest.mark.parametrize("mean", [0.05, 1.0, 10.0, 47.3, 49.999, 50.0, 52.7, 1000.0, 2.5e5])
def test_poisson_numbers_have_their_distribution(mean):
    drawn = _poissons(mean, N)
    assert (drawn == np.floor(drawn)).all() and drawn.min() >= 0
    law = stats.poisson(mean)
    cuts = np.unique(law.ppf(np.linspace(0.0, 1.0, 42)[1:-1]))  # 40 bins of about equal chance
    edges = np.concatenate([[-1.0], cuts, [np.inf]])
    seen = np.histogram(drawn, bins=edges + 0.5)[0]
    expected = np.diff(np.concatenate([[0.0], law.cdf(cuts), [1.0]])) * N
    keep = expected > 0
    assert stats.chisquare(seen[keep], expected[keep]).pvalue > STREAMS["p-value"]
    # five standard errors of the mean and of the variance of N draws
    assert abs(drawn.mean() - mean) < 5 * np.sqrt(mean / N)
    assert abs(drawn.var() - mean) < 5 * np.sqrt((2 * mean**2 + mean) / N)


@pytest.mark.parametrize("mean", [20.0, 50.0])
def test_poisson_tails_are_exact(mean):
    drawn = _poissons(mean, 10 * N)
    for far in (stats.poisson.ppf(1e-4, mean), stats.poisson.isf(1e-4, mean)):
        below = far < mean
        chance = stats.poisson.cdf(far, mean) if below else stats.poisson.sf(far, mean)
        seen = int((drawn <= far).sum() if below else (drawn > far).sum())
        assert stats.binomtest(seen, drawn.size, chance).pvalue > STREAMS["p-value"]


def test_poisson_of_nothing_is_nothing():
    assert (_poissons(0.0, 100) == 0).all()


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, "7", None, True])
def test_an_index_that_is_no_word_is_refused(value):
    with pytest.raises(DataError, match="view"):
        stream_index("view", value)
