"""The tolerances that tests of the packages rest on: property, value, and why that value.

One mapping per subject, named for it; the keys are properties, with their unit in brackets where
they have one, and the comment says where the number comes from. Tests read it with
``from tolerances import DOSE``. Rounding to 32 or 64 bits in a single comparison, and bounds that
follow from the few lines of one test, stay in the test.
"""

# --- recon: streams, noise, tube, phantoms --------------------------------------------------------

STREAMS: dict[str, float] = {
    # four standard errors: a correct generator fails one test in 16,000
    "p-value": 6e-5,
}

# all at least four standard errors of the sample from what a right program gives
DOSE: dict[str, float] = {
    # of 1e6 rays: 1/sqrt(2e6) = 0.07 %, times about 2 for the heavy tail
    "sd, rel": 0.006,
    # the model's own is 7e-4 at most (23 counts), and sd 0.57 / sqrt(2.5e6) = 4e-4
    "bias, abs": 2.5e-3,
    # 1e2 counts: the next orders of both expansions are 1/N² = 1e-4, of a bias of 5e-3
    "log bias at 100 counts, rel": 0.04,
    "log variance at 100 counts, rel": 0.025,
    # published with three digits or two, which the law itself meets to 0.8 %; the noise added at
    # 23 counts departs by 1.8 % ± 0.06 % of 1e7 rays
    "published digits of an sd, rel": 0.009,
    "published sd, rel": 0.02,
    "published bias, abs": 5e-3,
    # of 1e6 rays at 400 counts: standard error 0.05 / sqrt(1e6) = 5e-5 each
    "bias of two reductions, abs": 3e-4,
    # of 2880 rays: four standard errors
    "correlation of two streams": 0.08,
    # of 4e5 pairs of neighbours: five standard errors
    "correlation of neighbours": 8e-3,
    # expected against counted in 8.5e5 rays: standard error 5e-4
    "share of starved rays": 2e-3,
}

# added noise is Gaussian: it does not carry the third moment of the Poisson part, which shows at
# low counts (published: 1.5 to 2.3 % of the sd at 23 counts). Measured 0.3, 0.7 and 1.85 %, each
# ± 0.06 % (0.16 % at 23 counts and 8 quanta of electronic noise, where it is 0.55 %)
DOSE_SD_AT_COUNTS: dict[int, float] = {124: 0.006, 50: 0.01, 23: 0.0225}

DOSE_IMAGE: dict[str, float] = {
    # float32 filter and finite number of taps
    "analytic weights, rel": 1e-3,
    # 48 draws × 1089 pixels, neighbours nearly uncorrelated: 0.4 % of a standard deviation
    "image noise, rel": 0.02,
    "slope of noise against mAs": 0.02,
    "electronic excess, rel": 0.03,
    # sqrt(2/8192) = 1.6 % of a variance over 8192 draws, four times
    "variance of a pixel, rel": 0.0625,
    # the chords beside the longest are shorter and weigh little
    "one count for all rays, rel": 0.01,
}

TUBE: dict[str, float] = {
    # published figures are given to two digits, which is 1 to 4 %
    "two digits, rel": 0.04,
    # 1.2e5 at the centre is given to two digits
    "quanta of a Flash, rel": 0.02,
    # constants are kept with three digits
    "attenuation of water, rel": 5e-3,
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

# --- recon: the projector layer -------------------------------------------------------------------

PROJECTOR: dict[str, float] = {
    # Joseph's interpolation of a rasterised phantom against bin-averaged rays; measured 8.99e-4
    # (arc) and 9.44e-4 (flat), and the requirement is 9e-4 on the arc
    "forward, arc": 9.0e-4,
    "forward, flat": 9.6e-4,
    # pixels of 0.3 mm; an eighth of a column of shift would give 2e-2
    "shifted detector": 5e-3,
    # float32 sums of some 500 signed products; a wrong weight would give 1e-3 and more
    "adjoint": 1e-7,
    # float32 against float64 with the same weights, or one float32 path against another
    "float32": 5e-6,
    # ASTRA adds up lengths in pixels, we interpolate; on these Gaussians it is 2.8e-3 away from the
    # exact integrals and we are 0.8e-3; half a column or pixel of shift would give 0.05
    "astra": 4e-3,
    # rays of another grid: places are float32, 1e-5 of a pixel apart
    "region": 1e-5,
}

FBP: dict[str, float] = {
    # the requirement; measured 0.004, the mean of 80,000 pixels
    "water [HU]": 0.02,
    # the requirement, on inserts of ±100 HU; measured 0.02
    "insert [HU]": 0.1,
    # the requirement, inside the body with its inserts; measured 4.3 (arc), edges of pixels
    "rmse [HU]": 4.45,
    # fewer views of thinner grids: means over some 5,000 pixels
    "water of small images [HU]": 0.2,
    "insert of small images [HU]": 0.5,
    # pixels; a shift by one detector column would move it by 0.9
    "centroid [pixels]": 0.02,
    # a short scan has fewer rays to average; measured 5 % more than the full circle's
    "rmse of a short scan, ratio": 1.10,
    # float32 sums of signed data
    "transpose": 1e-6,
    # float32 against float64 through a filter that cancels low frequencies
    "float32": 1e-5,
    # places of samples are float32, 1e-4 of a sample apart for another origin
    "region": 1e-4,
    # mean of a wide disc through any window: the window's bins next to f = 0
    "mean, rel": 2e-4,
}

MTF: dict[str, float] = {
    # the requirement [lp/cm] 100 mm off centre, Hann; measured 5.10
    "hann, 10 % [lp/cm]": 5.0,
    # rings of 0.2 lp/cm around a wire that is seen by finitely many views; measured 0.6 %
    "kernel, rel": 0.015,
}

MEMORY: dict[str, float] = {
    # the requirement: peak of everything that R and FBP hold, over input plus output
    "peak, ratio": 2.0,
}

COLD: dict[str, float] = {
    # the requirements, on two idle cores; other work on the machine makes them longer
    "compile one operator [s]": 15.0,
    "first result from the disk cache [s]": 0.5,
}

# --- ctxai: networks, fibres, sampling ------------------------------------------------------------

VAE: dict[str, float] = {
    # the requirement on what ships
    "size of a file [bytes]": 2.5e6,
    # float32: the logarithm of sums over a batch
    "logs of a step, rel": 1e-4,
    # of the images' own spread, after 400 steps on ellipses in noise
    "reconstruction error, rel": 0.25,
}

CINN: dict[str, float] = {
    # float32 through 6 blocks and back, latents of size 1: the requirement on the inversion
    "inversion": 1e-4,
    # float64; slogdet of an 8×8 Jacobian loses a few digits
    "log-determinant": 1e-9,
    # v of size 1, weights rounded to 16 bits: 5e-4 each, through 6 blocks
    "16 bits against 32": 0.05,
    # the requirement on what ships, for z of 1 and of 32 channels
    "size of a file [bytes]": 1.9e6,
    # 500 samples of unit spread after 60 steps of training
    "slope against z, rel": 0.15,
}

KNOWN_ANSWERS: dict[str, float] = {
    # relative Frobenius error; reached .05, of which .02 is the scatter of 8 × 16,000 samples
    "covariance": 0.08,
    # rms over latent dimensions of size 1; reached .033
    "mean": 0.06,
    # Kullback–Leibler divergence [nats] of two 64-dimensional normals; reached .10
    "divergence": 0.2,
    # output violation relative to what 0.3 ε alone gives; reached 1.03
    "violation": 0.05,
    # float32 through 4 blocks and back
    "inversion": 1e-4,
    # of v over 32,000 draws: standard error .006, the most of 64 dimensions; reached .043 and .025
    "mean of v": 0.06,
    "sd of v": 0.05,
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
    # 16 redraws stand for the median; for the rms over 256 pixels it scatters by some percent
    "relative tolerance, rel": 0.15,
    # amplitudes of size 1 after 250 steps of a small network, which leave .1; 1,000 samples scatter
    # by .03
    "mean of what z keeps": 0.15,
    "sd of what z keeps": 0.25,
    "law of what z leaves open": 0.25,
}

DENOISER_TASKS: dict[str, float] = {
    # of 60 HU of noise, on images not trained on; about 32 is reached
    "noise left by Chen [HU]": 40.0,
}

REPAIR: dict[str, float] = {
    # the requirement; both sides in float64
    "step by hand": 1e-6,
    # 60 patches of 32²: 1/√(2·61440) = 0.3 %, four times
    "sd of 60 patches, rel": 0.012,
    # 240 test scores of each kind, d' of 2 to 9: √((2 + d'²/4)/240)/d' = 2 to 6 %, and the template
    # is the signal itself, since the network is linear
    "NPW of white noise, rel": 0.15,
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
    # the tails that the ramp filter spreads beyond the patch
    "mass of an exchanged patch, rel": 0.02,
    # a tenth of a pixel: half a pixel is what a shifted grid would give
    "centre of an exchanged patch [mm]": 0.1,
}

IMAGES: dict[str, float] = {
    # the blob's tails are cut by the grid's edge; half a pixel would be 0.2 to 1 mm
    "place after resampling [mm]": 0.02,
    # sinc² of the 1.25 mm tent at 1/mm leaves 0.081² of the pattern: 1 HU, 5 HU at the edges
    "pattern beyond Nyquist [HU]": 5.0,
}

FIDELITY: dict[str, float] = {
    # 14,400 independent pixels: standard error 0.004 at most
    "coverage of exact samples": 0.015,
}

STUDIES: dict[str, float] = {
    # medians over 24 means of 4 draws, of few independent pixels
    "distance of the truth to itself, rel": 0.1,
    # 25 perfect samples against 64 redraws
    "distance of fresh scans, rel": 0.1,
    "sd of fresh scans, rel": 0.1,
    # 256 correlated pixels
    "coverage of fresh scans": 0.12,
}

# --- recon: projection scans ----------------------------------------------------------------------

CTPD: dict[str, float] = {
    # float32 of an angle within ±π: 2.4e-7
    "angle [rad]": 5e-7,
    # float32 of a height of some 100 mm: 8e-6
    "z [mm]": 1e-5,
    # published: four quanta to two digits from one real view; 33 channels × 30 rows: 5 %
    "bowtie, rel": 0.10,
    # 0.13 ms measured, of which half on a busy machine; 35,000 views must open within seconds
    "opening a view [s]": 2e-3,
}

SCAN_GATE: dict[str, float] = {
    # a refusal comes from headers, in milliseconds; what must never happen is work by the lengths
    # that a broken file states
    "refusal [s]": 1.0,
    "refusal [bytes]": 256e6,
}

AT_DOSE: dict[str, float] = {
    # 128 views × 64 rows × 64 columns: standard error 0.2 % of a variance, 0.26 % of a ratio; the
    # logarithm's curvature at 1,000 quanta adds 0.4 %: four and a half standard errors
    "variance, rel": 0.015,
}

ELLIPSOIDS: dict[str, float] = {
    # 20,001 points on 1,100 mm of ray, two edges: 0.055 mm × 0.02 each
    "counted": 2.5e-3,
    # float32 line integrals of about 1
    "closed form": 1e-6,
    # 400 variances of 64 samples: 0.9 %
    "noise of air, rel": 0.04,
}
