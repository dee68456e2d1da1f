"""Noise of the model seen in images: a water cylinder of 160 mm diameter, off centre.

The noise of a pixel is propagated ray by ray. With the weights w of the filtered backprojection
(its transpose applied to the pixel), ``σ² = Σ w² (1 + σe²/N)/N`` for N = N0·e^-p quanta.

In a parallel beam the weights are known in closed form. A pixel at the isocentre of K views over
π sees ray samples n·τ with ``w = π/K · τ·h(nτ)``, and the ramp's taps (Kak and Slaney, 1988,
equation 61) are ``h(0) = 1/(4τ²)``, ``h(nτ) = -1/(πnτ)²`` for odd n and 0 for even n, so that

    Σ (τh)² = [1/16 + 2/π⁴ · (1 + 1/3⁴ + 1/5⁴ + …)] / τ² = [1/16 + 2/π⁴ · π⁴/96] / τ² = 1/(12 τ²)

and rays of equal noise s give ``σ² = π² s² / (12 K τ²)``.
"""

import math

import numpy as np
import pytest
import torch
from tolerances import DOSE_IMAGE

from recon.dose.noise import insert_noise, sample_transmission
from recon.geometry import FanBeam, ImageGrid, ParallelBeam
from recon.operator import operator
from recon.tube import mu_water, photons_per_column

MU = mu_water(120)
RADIUS = 80.0
OFF_CENTRE = (7.3, -4.1)
DRAWS = 48

# fewer views than a scanner has, and an image of the middle only: noise does not mind either
FAN = FanBeam(
    angles=np.arange(360) * math.tau / 360, n_cols=288, col_pitch=1.2858, src_iso=595.0,
    src_det=1085.6, col_offset=-1.125,
)  # fmt: skip
GRID = ImageGrid(shape=(33, 33), spacing=(1.3, 1.3), centre=OFF_CENTRE)


def cylinder(geometry, centre=OFF_CENTRE):
    """Exact line integrals of the water cylinder, (views, cols)."""
    theta, t = geometry.rays()
    distance = t - centre[0] * np.cos(theta) + centre[1] * np.sin(theta)
    chord = 2 * np.sqrt(np.maximum(RADIUS**2 - distance**2, 0.0))
    return torch.tensor(MU * chord, dtype=torch.float32)


def quanta(mas, slice_thickness=0.6):
    """N0 as if the exposure were spread over the 1152 views of the real rotation."""
    return photons_per_column(
        mas=mas * 360 / 1152, kvp=120, geometry=FAN, slice_thickness=slice_thickness
    )


def weights(A, row, col):
    """What each ray adds to one pixel: the transpose of the FBP applied to it."""
    p = torch.zeros(A.geometry.shape, requires_grad=True)
    A.fbp(p)[row, col].backward()
    return p.grad.double().numpy()


def propagated(A, variance):
    """Standard deviation in the image, over nine of its pixels, for a variance of each ray."""
    rows = cols = (4, 16, 28)
    return math.sqrt(
        np.mean([(weights(A, i, j) ** 2 * variance).sum() for i in rows for j in cols])
    )


def measured(A, p, *, seed=1, **setting):
    """Noise images (draws, rows, cols) and their standard deviation over draws and pixels."""
    many = p.expand(DRAWS, *p.shape)
    images = A.fbp(sample_transmission(many, seed=seed, **setting)).double()
    return images, images.var(dim=0).mean().sqrt().item()


@pytest.fixture(scope="module")
def fan():
    return operator(FAN, GRID, backend="numba"), cylinder(FAN)


def test_the_weights_are_those_of_the_analytic_filtered_backprojection():
    views, tau = 180, 1.3
    geometry = ParallelBeam(angles=np.arange(views) * math.pi / views, n_cols=161, col_pitch=tau)
    A = operator(geometry, ImageGrid(shape=(1, 1), spacing=(1.0, 1.0)), backend="numba")
    w = weights(A, 0, 0)
    expected = math.pi**2 / (12 * views * tau**2)
    assert (w**2).sum() == pytest.approx(expected, rel=DOSE_IMAGE["analytic weights, rel"])


def test_noise_at_the_centre_is_the_analytic_noise():
    """Parallel beam through the centred cylinder: s² = 1/N, three quarters from the middle ray."""
    views, tau, n0 = 24, 1.3, 2e4
    geometry = ParallelBeam(angles=np.arange(views) * math.pi / views, n_cols=161, col_pitch=tau)
    A = operator(geometry, ImageGrid(shape=(1, 1), spacing=(1.0, 1.0)), backend="numba")
    p = cylinder(geometry, centre=(0.0, 0.0))
    draws = 8192
    noisy = sample_transmission(p.expand(draws, *p.shape), photons=n0, electronic_noise=0.0, seed=3)
    variance = A.fbp(noisy).double().var().item()
    n = n0 * np.exp(-p[0].double().numpy())
    columns = np.arange(161) - 80
    taps = np.where(columns == 0, 1 / 16, (columns % 2) / (math.pi * columns.clip(1)) ** 4)
    taps[columns < 0] = taps[columns > 0][::-1]
    analytic = math.pi**2 / (views * tau**2) * (taps / n).sum()
    flat = math.pi**2 / (12 * views * tau**2) / n[80]
    assert analytic == pytest.approx(flat, rel=DOSE_IMAGE["one count for all rays, rel"])
    assert variance == pytest.approx(analytic, rel=DOSE_IMAGE["variance of a pixel, rel"])


def test_image_noise_follows_the_exposure(fan):
    A, p = fan
    exposures = np.array([10.0, 20.0, 50.0, 100.0])
    noise = np.array(
        [measured(A, p, photons=quanta(mas), electronic_noise=0.0)[1] for mas in exposures]
    )
    law = noise[-1] * np.sqrt(exposures[-1] / exposures)
    assert noise == pytest.approx(law, rel=DOSE_IMAGE["image noise, rel"])
    slope = np.polyfit(np.log(exposures), np.log(noise), 1)[0]
    assert slope == pytest.approx(-0.5, abs=DOSE_IMAGE["slope of noise against mAs"])


def test_image_noise_is_the_noise_propagated_per_ray(fan):
    A, p = fan
    n0 = quanta(20.0)
    expected = propagated(A, 1 / (n0 * np.exp(-p.double().numpy())))
    found = measured(A, p, photons=n0, electronic_noise=0.0)[1]
    assert found == pytest.approx(expected, rel=DOSE_IMAGE["image noise, rel"])


@pytest.mark.parametrize("mas", [2.0, 10.0])
def test_the_excess_of_electronic_noise_is_propagated_per_ray(fan, mas):
    A, p = fan
    sigma, n0 = 3.0, quanta(mas)
    n = n0 * np.exp(-p.double().numpy())
    quantum, without = measured(A, p, photons=n0, electronic_noise=0.0)
    both, total = measured(A, p, photons=n0, electronic_noise=sigma)
    rel = DOSE_IMAGE["electronic excess, rel"]
    expected = propagated(A, (1 + sigma**2 / n) / n) / propagated(A, 1 / n)
    assert total / without == pytest.approx(expected, rel=rel)
    if mas == 10.0:
        # the quanta are the same in both: their difference is the electronic noise alone
        alone = (both - quantum).var(dim=0).mean().sqrt().item()
        assert alone == pytest.approx(propagated(A, sigma**2 / n**2), rel=rel)


def test_a_reduced_scan_has_the_image_noise_of_a_scan_at_that_exposure(fan):
    """Also with the noise of the full dose in it; its noise would add 5 % if counted twice."""
    A, p = fan
    sigma = 3.0
    full = sample_transmission(
        p.expand(DRAWS, *p.shape), photons=quanta(100.0), electronic_noise=sigma, seed=5
    )
    reduced = insert_noise(
        full, photons=quanta(100.0), dose_fraction=0.1, electronic_noise=sigma, seed=6
    )
    found = A.fbp(reduced).double().var(dim=0).mean().sqrt().item()
    direct = measured(A, p, photons=quanta(10.0), electronic_noise=sigma, seed=7)[1]
    assert found == pytest.approx(direct, rel=DOSE_IMAGE["image noise, rel"])
