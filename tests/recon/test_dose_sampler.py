"""Poisson's law and the words of the sampler, compiled and in torch (run here on CPU tensors)."""

import numpy as np
import pytest
import torch
from scipy import stats
from tolerances import STREAMS

from recon.dose.kernels import Stream
from recon.dose.noise import sample_transmission
from recon.dose.on_gpu import philox_words, sample_on_device
from recon.dose.streams import philox4x32
from recon.dose.vectors import exponential, logarithm, normals

RAYS = 3 * 2**18


def sample(p, n0, *, sigma=0.0, seed=1, image=0, draw=0, first_view=0, first_ray=0):
    n0 = torch.full((1, 1, 1), float(n0), dtype=p.dtype)
    stream = Stream(np.uint64(seed), image, draw, first_view, first_ray)
    return sample_on_device(p, n0, sigma, stream)


def test_the_words_are_philox() -> None:
    ray, view = torch.tensor([0, 7, 735, 2**32 - 1]), torch.tensor([0, 3, 2**31, 1151])
    keys = torch.tensor([0, 2**32 - 1, 5, 99]), torch.tensor([0, 1, 2**31, 12345])
    words = torch.stack(philox_words(ray, view, 3, *keys), 1).tolist()
    for i, found in enumerate(words):
        counter = int(ray[i]), int(view[i]), 0, 3
        assert found == [int(w) for w in philox4x32(*counter, int(keys[0][i]), int(keys[1][i]))]


def compiled(p, n0, *, sigma=0.0, seed=1):
    return sample_transmission(p, photons=n0, electronic_noise=sigma, seed=seed)


@pytest.mark.parametrize("sampler", [sample, compiled])
@pytest.mark.parametrize("mean", [0.3, 4.0, 30.0, 49.9, 50.1, 120.0, 2000.0])
def test_counts_follow_poissons_law(mean: float, sampler) -> None:
    n0 = 1e4
    p = torch.full((1, 1024, RAYS // 1024), float(np.log(n0 / mean)), dtype=torch.float64)
    counts = n0 * torch.exp(-sampler(p, n0))
    counts = counts.round().long().numpy().ravel()  # below the floor of 1 there is 0 only
    law = stats.poisson(mean)
    low, high = int(law.ppf(1e-4)), int(law.ppf(1 - 1e-4))
    low = max(low, 2) if mean < 50 else low  # 0 and 1 both read as the floor
    expected = [law.cdf(low - 1), *law.pmf(np.arange(low, high)), law.sf(high - 1)]
    edges = [-1, *range(low, high + 1), counts.max() + high + 1]
    seen, _ = np.histogram(counts, edges)
    assert stats.chisquare(seen, np.array(expected) * RAYS).pvalue > STREAMS["p-value"]


def test_electronic_noise_is_normal_and_of_its_own() -> None:
    mean, n0, sigma = 400.0, 1e4, 30.0
    p = torch.full((1, 1024, RAYS // 1024), float(np.log(n0 / mean)), dtype=torch.float64)
    with_it, without = (n0 * torch.exp(-sample(p, n0, sigma=s)) for s in (sigma, 0.0))
    noise = ((with_it - without) / sigma).flatten().numpy()
    assert stats.kstest(noise, "norm").pvalue > STREAMS["p-value"]
    assert abs(np.corrcoef(noise, without.flatten())[0, 1]) < 4 / np.sqrt(RAYS)


def test_a_rays_noise_is_its_own_however_the_scan_is_cut() -> None:
    p = 2.0 + 6.0 * torch.rand(3, 8, 40, generator=torch.Generator().manual_seed(1))
    whole = sample(p, 1e4, sigma=3.0, seed=2**63 + 5)
    key = {"sigma": 3.0, "seed": 2**63 + 5}
    assert torch.equal(sample(p[1:], 1e4, image=1, **key), whole[1:])
    assert torch.equal(sample(p[:, 3:], 1e4, first_view=3, **key), whole[:, 3:])
    part = sample(p[..., 11:30].contiguous(), 1e4, first_ray=11, **key)
    torch.testing.assert_close(part, whole[..., 11:30], rtol=0, atol=1e-6)
    for other in ({"draw": 1}, {"image": 9}, {"first_view": 1}):
        assert not torch.equal(sample(p, 1e4, **key, **other), whole)


def test_compiled_and_torch_draw_the_same_numbers() -> None:
    p = 8.0 * torch.rand(2, 64, 500, generator=torch.Generator().manual_seed(1)).double()
    both = (sampler(p, 3e4, sigma=3.0, seed=2**63 + 5) for sampler in (sample, compiled))
    torch.testing.assert_close(*both, rtol=0, atol=1e-9)  # no quantum moved, in 64 bits


def test_the_compiled_functions_are_the_functions() -> None:
    x = np.exp(np.linspace(-600, 600, 9973))
    out, other = np.empty_like(x), np.empty_like(x)
    logarithm(x, out)
    np.testing.assert_allclose(out, np.log(x), rtol=1e-13, atol=1e-13)
    x = np.linspace(-700, 100, 9973)
    exponential(x, out)
    np.testing.assert_allclose(out, np.exp(x), rtol=1e-12)
    w0, w1 = (np.random.default_rng(k).integers(0, 2**32, 9973) for k in (1, 2))
    normals(w0, w1, out, other)
    radius, angle = np.sqrt(-2 * np.log((w0 + 0.5) / 2**32)), w1 * (2 * np.pi / 2**32)
    np.testing.assert_allclose(out, radius * np.cos(angle), rtol=0, atol=1e-12)
    np.testing.assert_allclose(other, radius * np.sin(angle), rtol=0, atol=1e-12)
