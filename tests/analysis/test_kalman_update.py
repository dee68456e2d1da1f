"""A Kalman update of sampled anatomies: what is known exactly of Gaussian ones behind a filter."""

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


def exact_sd():
    """Root mean variance of an anatomy given one output, frequency by frequency."""
    prior = SD**2 * TISSUE.square() / TISSUE.square().mean()
    return float((prior * NOISE**2 / (prior + NOISE**2)).mean().sqrt())


def test_anatomies_that_know_nothing_become_those_of_the_output():
    """Their spread is that of the exact conditional, and the truth lies among them."""
    ensemble = anatomies(ENSEMBLE, 1)
    update = KalmanUpdate.of(ensemble, outputs(ensemble, 2))
    truth = anatomies(12, 3)
    seen, spread, missed = outputs(truth, 4), [], []
    for k in range(len(truth)):
        drawn = anatomies(40, 10 + k)
        moved = drawn + update.of_outputs(seen[k] - outputs(drawn, 50 + k))
        spread.append(float(moved[INNER].var(0).mean()))
        missed.append(float((moved.mean(0) - truth[k])[INNER].square().mean()))
    wanted = pytest.approx(exact_sd(), rel=UPDATE["sd of the exact conditional, rel"])
    assert np.sqrt(np.mean(spread)) == wanted
    assert np.sqrt(np.mean(missed)) == wanted
    assert exact_sd() < 0.6 * SD  # the output says much


def test_what_is_known_is_moved_less():
    """Where anatomies hardly differ they stay; an output that shows nothing of them moves none.

    They move by half of their own 1.5 HU, for the correlations are those of the whole image.
    """
    ensemble = anatomies(ENSEMBLE, 5)
    ensemble[:, :, SIDE // 2 :] *= 0.05
    update = KalmanUpdate.of(ensemble, outputs(ensemble, 6))
    change = update.of_outputs(outputs(torch.zeros(200, SIDE, SIDE), 7)).std(0)
    assert float(change[:, 34:].mean()) < 0.25 * float(change[:, :14].mean())
    blind = KalmanUpdate.of(ensemble, NOISE * white(ENSEMBLE, 8))
    moved = blind.of_outputs(NOISE * white(200, 9)).std()
    assert float(moved) < 0.3 * SD  # by chance, of 64 images


def test_a_mean_is_kept_and_nothing_moves_what_is_right():
    ensemble = anatomies(ENSEMBLE, 11)
    update = KalmanUpdate.of(ensemble, outputs(ensemble, 12))
    assert not update.of_outputs(torch.zeros(2, SIDE, SIDE)).any()
    missed = outputs(torch.zeros(400, SIDE, SIDE), 13)
    change = update.of_outputs(torch.cat([missed, -missed]))
    assert float(change.mean(0).abs().max()) < MISSED * float(change.std(0).mean())
