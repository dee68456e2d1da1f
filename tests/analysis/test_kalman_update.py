"""A Kalman update of sampled anatomies: what is known exactly of Gaussian ones behind a filter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.target_domain.kalman import ENSEMBLE, KalmanUpdate

SIDE, SD, NOISE = 48, 30.0, 20.0
INNER = np.s_[..., 8:-8, 8:-8]
UPDATE = {
    # 64 anatomies give variances to 18 %, smoothed over 12 pixels; the taper of 8 pixels
    "sd of the exact conditional, rel": 0.1,
    # 400 samples of 32² pixels, correlated over some 6
    "mean change, of its sd": 0.1,
}
MISSED = UPDATE["mean change, of its sd"]


def frequency():
    f = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    return torch.hypot(f[:, None], f[None, :])


TISSUE = torch.exp(-0.5 * (frequency() / 0.12) ** 2)  # of an anatomy: square root of its spectrum
BLUR = torch.exp(-0.5 * (frequency() / 0.2) ** 2)  # R⁻¹R and f together


def filtered(images, transfer):
    return torch.fft.ifft2(torch.fft.fft2(images) * transfer).real


def white(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, SIDE, SIDE, generator=generator, dtype=torch.float64)


def anatomies(n, seed):
    return SD * filtered(white(n, seed), TISSUE / TISSUE.square().mean().sqrt())


def outputs(ybar, seed):
    """f(R⁻¹𝒫Rȳ) of a linear f: anatomy and noise behind the same filter."""
    return filtered(ybar + NOISE * white(len(ybar), seed), BLUR)


def twice(ybar, seed):
    return torch.stack([outputs(ybar, seed), outputs(ybar, seed + 1000)], dim=1)


def exact(noise):
    """Variance of an anatomy given one image with so much noise, frequency by frequency."""
    prior = SD**2 * TISSUE.square() / TISSUE.square().mean()
    return prior * noise**2 / (prior + noise**2)


def knowing(truth, n, seed):
    """Exact samples of the anatomies of an image with √3 of the noise: a third of the precision."""
    noise = NOISE * 3**0.5
    seen = truth + noise * white(1, seed)
    mean = filtered(seen, exact(noise) / noise**2)
    return mean + filtered(white(n, seed + 1), exact(noise).sqrt())


def test_anatomies_that_know_a_third_become_those_of_the_output():
    """The other two thirds come from an output with √1.5 of the noise.

    Then their spread is that of the exact conditional, and the truth lies among them.
    """
    spread, missed = [], []
    for k in range(12):
        truth = anatomies(1, 200 + k)
        seen = filtered(truth + 1.5**0.5 * NOISE * white(1, 300 + k), BLUR)
        both = knowing(truth, ENSEMBLE + 40, 400 + 2 * k)
        ensemble, drawn = both[:ENSEMBLE], both[ENSEMBLE:]
        update = KalmanUpdate.of(ensemble, twice(ensemble, 1))
        moved = drawn + update.of_outputs(seen - outputs(drawn, 50 + k))
        spread.append(float(moved[INNER].var(0).mean()))
        missed.append(float((moved.mean(0) - truth[0])[INNER].square().mean()))
    before, after = (float(exact(noise).mean().sqrt()) for noise in (NOISE * 3**0.5, NOISE))
    wanted = pytest.approx(after, rel=UPDATE["sd of the exact conditional, rel"])
    assert np.sqrt(np.mean(spread)) == wanted
    assert np.sqrt(np.mean(missed)) == wanted
    assert after < 0.75 * before


def test_what_is_known_is_moved_less():
    """Where anatomies hardly differ they stay; an output that shows nothing of them moves none.

    They move by half of their own 1.5 HU, for the correlations are those of the whole image.
    """
    ensemble = anatomies(ENSEMBLE, 5)
    ensemble[:, :, SIDE // 2 :] *= 0.05
    update = KalmanUpdate.of(ensemble, twice(ensemble, 6))
    change = update.of_outputs(outputs(torch.zeros(200, SIDE, SIDE), 7)).std(0)
    assert float(change[:, 34:].mean()) < 0.25 * float(change[:, :14].mean())
    blind = KalmanUpdate.of(ensemble, NOISE * white(2 * ENSEMBLE, 8).unflatten(0, (-1, 2)))
    moved = blind.of_outputs(NOISE * white(200, 9)).std()
    assert float(moved) < 0.3 * SD  # by chance, of 64 images


def test_a_mean_is_kept_and_nothing_moves_what_is_right():
    ensemble = anatomies(ENSEMBLE, 11)
    update = KalmanUpdate.of(ensemble, twice(ensemble, 12))
    update = replace(update, noise=torch.zeros_like(update.noise))
    assert not update.of_outputs(torch.zeros(2, SIDE, SIDE)).any()
    missed = outputs(torch.zeros(400, SIDE, SIDE), 13)
    change = update.of_outputs(torch.cat([missed, -missed]))
    assert float(change.mean(0).abs().max()) < MISSED * float(change.std(0).mean())
