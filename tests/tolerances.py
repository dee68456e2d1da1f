"""Every tolerance that a test of the packages rests on: property, value, and why that value.

One mapping per subject, named for it; the keys are properties, with their unit in brackets where
they have one, and the comment says where the number comes from. Tests read it with
``from tolerances import DOSE``. Counts, sizes of cases and bounds that follow from a test's own
few lines stay in the test.
"""

# --- recon: streams, noise, tube, phantoms --------------------------------------------------------

STREAMS: dict[str, float] = {
    # a correct generator fails a test once in a thousand seeds; the seed is fixed
    "p-value": 1e-3,
}

# the stream is seeded, so these are not flaky; they are 5 or more standard errors of the sample
DOSE: dict[str, float] = {
    # of 1e6 rays: 1/sqrt(2e6) = 0.07 %, times about 2 for the heavy tail
    "sd, rel": 0.006,
    # sd 0.57 / sqrt(1e6) = 6e-4
    "bias, abs": 3e-3,
}

# added noise is Gaussian: it does not carry the third moment of the Poisson part, which shows at
# low counts (published: 1.5 to 2.3 % of the sd at 23 counts)
DOSE_SD_AT_COUNTS: dict[int, float] = {124: 0.006, 50: 0.012, 23: 0.025}

DOSE_IMAGE: dict[str, float] = {
    # float32 filter and finite number of taps
    "analytic weights, rel": 1e-3,
    # 48 draws × 1089 pixels, neighbours nearly uncorrelated: 0.4 % of a standard deviation
    "image noise, rel": 0.02,
    "slope of noise against mAs": 0.02,
    "electronic excess, rel": 0.03,
}

TUBE: dict[str, float] = {
    # published figures are given to two digits, which is 1 to 4 %
    "two digits, rel": 0.04,
}

PHANTOM: dict[str, float] = {
    # float32 storage of a value of about 3
    "closed form": 1e-6,
    # float32 line integrals of about 6
    "rounding": 2e-6,
    # bilinear interpolation of a 0.25 mm raster along rays of 0.1 mm steps; measured 0.0024 of 0.48
    "ray through the raster": 5e-3,
    # sums over 0.125 mm rays of chords with square-root edges; measured 4e-6
    "mass of a projection": 2e-5,
    # 8 × 8 points a pixel; measured 3e-5
    "area of a raster": 1e-4,
    # the same patient at half the resolution: edges are exact, textures and overlapping edges are
    # not; measured 0.2 to 1.4 HU, the most in a lung full of vessels
    "two grids, mean absolute [HU]": 2.5,
    "two grids, bias [HU]": 0.8,
    # float32 positions in the same patient
    "moved grid [HU]": 0.05,
}

# --- ctxai: networks, fibres, sampling ------------------------------------------------------------

CINN: dict[str, float] = {
    # float32 through 6 blocks and back, latents of size 1: the requirement on the inversion
    "inversion": 1e-4,
    # float64; slogdet of an 8×8 Jacobian loses a few digits
    "log-determinant": 1e-9,
    # 250 samples of a 128-dimensional latent take about 10 ms on two idle cores
    "inverse of 250 samples [s]": 0.3,
}

KNOWN_ANSWERS: dict[str, float] = {
    # relative Frobenius error; reached .037, of which .02 is the scatter of 8 × 16,000 samples
    "covariance": 0.08,
    # rms over latent dimensions of size 1; reached .025
    "mean": 0.06,
    # Kullback–Leibler divergence [nats] of two 64-dimensional normals; reached .05
    "divergence": 0.2,
    # output violation relative to what 0.3 ε alone gives; reached 1.01
    "violation": 0.05,
    # float32 through 4 blocks and back
    "inversion": 1e-4,
}

FIBRE: dict[str, float] = {
    # float32 sums over a 32² image of about 100 HU: rounding of 1e-6 relative, some hundred terms
    "null space moved [HU]": 2e-3,
    # conjugate gradients stop at 0.8 of the tolerance: two batch sizes round differently
    "batched against one by one [HU]": 1e-2,
    # 8 CG iterations solve a system of 8 distinct eigenvalues exactly but for float64 rounding
    "damped step [HU]": 1e-8,
}

SAMPLING: dict[str, float] = {
    # relative; the projection itself aims at 0.999 of a tolerance
    "rounding of a tolerance, rel": 1e-3,
}

# --- analysis: the slice in the scanner -----------------------------------------------------------

SCANNER: dict[str, float] = {
    # noise-free R⁻¹R of a phantom whose edges are 4 mm wide: Hann at 0.7 mm detector pitch and
    # 1.5 mm pixels smooth its edges a little; a patch moved by a pixel would differ by 50 HU
    "noise-free rms [HU]": 4.0,
    "noise-free bias [HU]": 1.0,
    # float32 backprojection of the same rays onto the same points, summed in another order
    "patch against slice [HU]": 0.05,
    # sd over 32 draws of 1,024 correlated pixels
    "sd, rel": 0.08,
}
