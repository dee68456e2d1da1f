"""Statistics that exact samples would pass: noise power, ranks of the truth, normal latents."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ctxai import InvarianceModel
from recon import DataError

__all__ = [
    "BANDS",
    "SCALES",
    "LatentFigures",
    "RankHistogram",
    "deviation_by_scale",
    "fixed_features",
    "joint_rank",
    "latent_figures",
    "miss_relative_to_sd",
    "noise_power_ratio",
    "parts_by_scale",
    "rank_histogram",
    "without_noise",
]

BANDS = ((0.0, 0.06), (0.06, 0.15), (0.15, 0.25), (0.25, 0.35), (0.35, 0.5))
"""Radial frequencies [cycles/pixel] over which a noise power spectrum is averaged."""

SCALES = {"noise": (0.25, 1.0), "tissue": (0.06, 0.25), "organ": (0.0, 0.06)}
"""Radial frequencies [cycles/pixel]: grain of a pixel or two, texture and edges, whole organs."""

_WIDTHS = (0.0, 1.0, 2.0, 4.0)  # pixels; from single pixels to the size of an organ's texture


def noise_power_ratio(samples: Tensor, noise: Tensor) -> Tensor:
    """Noise power spectrum of samples over that of real noise, in radial bands.

    Both are deviations from their own mean, under a Hann window, with the mean's loss of
    1/(n - 1) restored (the ensemble estimate of ICRU Report 87, 2012).

    Parameters
    ----------
    samples : Tensor, (n, H, W)
        [HU], n ≥ 2.
    noise : Tensor, (m, H, W)
        Scans of one anatomy [HU], m ≥ 2.

    Returns
    -------
    Tensor, (5,)
        Ratio in each of `BANDS`; 1 if samples vary as the noise does.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity.statistics import noise_power_ratio
    >>> draws = torch.randn(200, 32, 32, generator=torch.Generator().manual_seed(1))
    >>> noise_power_ratio(3.0 * draws, draws).round(decimals=3)
    tensor([9., 9., 9., 9., 9.])
    """
    if len(samples) < 2 or len(noise) < 2:
        raise DataError(
            "a spectrum needs deviations",
            expected="at least 2 samples and 2 draws of the noise",
            got=f"{len(samples)} and {len(noise)}",
        )
    return (_band_power(samples) / _band_power(noise)).float()


def _cycles_per_pixel(rows: int, cols: int) -> Tensor:
    """Frequency of each coefficient of a two-dimensional FFT."""
    return (torch.fft.fftfreq(rows)[:, None].square() + torch.fft.fftfreq(cols).square()).sqrt()


def _band_power(images: Tensor) -> Tensor:
    rows, cols = images.shape[-2:]
    window = torch.hann_window(rows, periodic=False)[:, None] * torch.hann_window(
        cols, periodic=False
    )
    deviation = (images - images.mean(0)).double().cpu() * window
    power = torch.fft.fft2(deviation).abs().square().sum(0) / (len(images) - 1)
    radius = _cycles_per_pixel(rows, cols)
    return torch.stack([power[(radius >= low) & (radius < high)].mean() for low, high in BANDS])


def deviation_by_scale(deviations: Tensor) -> dict[str, float]:
    """Rms of deviations from their mean [HU], parted by `SCALES`; the squares add up to all of it.

    Parameters
    ----------
    deviations : Tensor, (n, H, W)
        Samples, or their differences from something [HU], n ≥ 2.

    Examples
    --------
    >>> import math, torch
    >>> from analysis.fidelity.statistics import deviation_by_scale
    >>> stripes = torch.sin(torch.arange(64) * 2 * math.pi / 8).expand(64, 64)
    >>> parts = deviation_by_scale(torch.stack([3.0 * stripes, -3.0 * stripes]))
    >>> {name: round(sd, 3) for name, sd in parts.items()}
    {'noise': 0.0, 'tissue': 3.0, 'organ': 0.0}
    """
    if len(deviations) < 2:
        raise DataError("a spread needs samples", expected="at least 2", got=len(deviations))
    rows, cols = deviations.shape[-2:]
    centred = (deviations - deviations.mean(0)).double().cpu()
    power = torch.fft.fft2(centred).abs().square().sum(0) / (len(centred) - 1) / (rows * cols) ** 2
    radius = _cycles_per_pixel(rows, cols)
    return {
        name: float(power[(radius >= low) & (radius < high)].sum().sqrt())
        for name, (low, high) in SCALES.items()
    }


def parts_by_scale(images: Tensor) -> dict[str, Tensor]:
    """Images (..., H, W) parted by `SCALES`: three that add up to each.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity.statistics import parts_by_scale
    >>> parts = parts_by_scale(torch.full((8, 8), 3.0))
    >>> {name: round(float(part.abs().max()), 3) for name, part in parts.items()}
    {'noise': 0.0, 'tissue': 0.0, 'organ': 3.0}
    """
    rows, cols = images.shape[-2:]
    radius = _cycles_per_pixel(rows, cols)
    spectrum = torch.fft.fft2(images.double().cpu())
    return {
        name: torch.fft.ifft2(spectrum * ((radius >= low) & (radius < high))).real.to(images)
        for name, (low, high) in SCALES.items()
    }


def without_noise(images: Tensor) -> Tensor:
    """Images (..., H, W) without what is finer than tissue, the first of `SCALES`.

    The patch is taken as periodic.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity.statistics import without_noise
    >>> checkers = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1.0
    >>> float(without_noise(checkers + 5.0).sub(5.0).abs().max()) < 1e-5
    True
    """
    parts = parts_by_scale(images)
    return parts["tissue"] + parts["organ"]


def joint_rank(truth: Tensor, samples: Tensor) -> float:
    """Where the truth lies among samples by its distance from one of them, 0 to 1.

    If truth and samples come from one distribution they can be exchanged, and the rank is uniform
    over many images, whatever the dimension: ½ on average, less if samples are too far apart, more
    if they are too much alike or in the wrong place (after Lemos et al., "Sampling-based accuracy
    testing of posterior estimators", ICML 2023, with a sample as the point of reference).

    Parameters
    ----------
    truth : Tensor, (H, W)
    samples : Tensor, (n, H, W)
        n ≥ 2; the first one is the point of reference.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity.statistics import joint_rank
    >>> joint_rank(torch.full((1, 1), 9.0), torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1))
    0.875
    """
    reference, others = samples[0].double(), samples[1:].double()
    far = (others - reference).square().sum((1, 2))
    below = (far < (truth.double() - reference).square().sum()).sum()
    return float((below + 0.5) / (len(others) + 1))


def miss_relative_to_sd(samples: Tensor, truth: Tensor) -> float:
    """How far the truth lies from the mean of n samples, over what their spread says of it.

    ``rms(x - mean) / (sd √(1 + 1/n))``: 1 if truth and samples are of one distribution, less if the
    samples vary too much, more if they are too much alike or in the wrong place (the spread–skill
    ratio of ensemble forecasts; Fortin et al., J. Hydrometeorol. 15, 2014).

    Parameters
    ----------
    samples : Tensor, (n, H, W)
        n ≥ 2.
    truth : Tensor, (H, W)

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity.statistics import miss_relative_to_sd
    >>> draws = torch.randn(25, 64, 64, generator=torch.Generator().manual_seed(1))
    >>> round(miss_relative_to_sd(draws[1:], draws[0]), 1)
    1.0
    """
    spread = samples.double().var(0).mean() * (1.0 + 1.0 / len(samples))
    missed = (truth.double() - samples.double().mean(0)).square().mean()
    return float((missed / spread.clamp_min(1e-30)).sqrt())


def fixed_features(shape: tuple[int, int], *, count: int = 8, seed: int = 0) -> Tensor:
    """Fixed linear features of an image: smoothed random patterns of norm 1, (count, H, W).

    The widths of the smoothing go from none to 4 pixels, so that fine and coarse structure is
    asked for alike.

    Examples
    --------
    >>> from analysis.fidelity.statistics import fixed_features
    >>> fixed_features((16, 16)).square().sum((1, 2)).round(decimals=4)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    generator = torch.Generator().manual_seed(seed)
    patterns = []
    for k in range(count):
        pattern = torch.fft.fft2(torch.randn(shape, generator=generator))
        radius = torch.fft.fftfreq(shape[0])[:, None].square() + torch.fft.fftfreq(shape[1]) ** 2
        width = _WIDTHS[k % len(_WIDTHS)]
        pattern = torch.fft.ifft2(pattern * torch.exp(-2 * (math.pi * width) ** 2 * radius)).real
        patterns.append(pattern / pattern.norm())
    return torch.stack(patterns)


@dataclass(frozen=True)
class RankHistogram:
    """Ranks of the truth's features among those of samples.

    Attributes
    ----------
    counts : Tensor
        Images in each bin, ``(features, bins)``; flat if the samples are exact, high at the ends
        if they are too much alike.
    p : Tensor
        Of a χ² test of flatness for each feature, ``(features,)``.
    """

    counts: Tensor
    p: Tensor


def rank_histogram(truth: Tensor, samples: Tensor, *, bins: int = 10, seed: int) -> RankHistogram:
    """Rank histograms of features over images (Hamill, Mon. Weather Rev. 129, 2001).

    Parameters
    ----------
    truth : Tensor, (images, features)
        Features of the true images.
    samples : Tensor, (images, n, features)
        The same of n samples for each.
    bins : int
        Bins of the histogram; ranks are spread over them at random where n + 1 is no multiple.
    seed : int
        Of that, and of the order of ties.

    Examples
    --------
    >>> import torch
    >>> from analysis.fidelity.statistics import rank_histogram
    >>> normal = torch.randn(300, 25, 1, generator=torch.Generator().manual_seed(1))
    >>> exact = rank_histogram(normal[:, 0], normal[:, 1:], seed=1)
    >>> narrow = rank_histogram(normal[:, 0], 0.5 * normal[:, 1:], seed=1)
    >>> bool(exact.p > 0.01), bool(narrow.p < 1e-6)
    (True, True)
    """
    from scipy.stats import chi2

    images, n, features = samples.shape
    if tuple(truth.shape) != (images, features):
        raise DataError(
            "features of the truth do not fit those of the samples",
            expected=(images, features),
            got=tuple(truth.shape),
        )
    if images < 5 * bins:
        raise DataError(
            "too few images for a χ² test", expected=f"at least 5 for each of {bins} bins",
            got=images,
        )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    below = (samples < truth[:, None]).sum(1).double()
    equal = (samples == truth[:, None]).sum(1).double()
    place = torch.rand(truth.shape, generator=generator, dtype=torch.float64).to(below)
    level = (below + place * (equal + 1.0)) / (n + 1.0)
    slot = (level * bins).long().clamp_max(bins - 1)
    counts = torch.stack([(slot == b).sum(0) for b in range(bins)], dim=1)
    expected = images / bins
    statistic = ((counts - expected) ** 2 / expected).sum(1)
    p = chi2.sf(statistic.cpu().numpy(), bins - 1)
    return RankHistogram(counts=counts, p=torch.as_tensor(p))


@dataclass(frozen=True)
class LatentFigures:
    """v = t(z̄ | z) of images with their own z, which a trained cINN makes standard normal.

    Attributes
    ----------
    mean, sd : float
        Over all images and dimensions.
    ks : float
        Kolmogorov–Smirnov distance of all entries from the standard normal distribution.
    inversion : float
        Rms of ``t⁻¹(v | z) - z̄``, in units of the spread of z̄.
    """

    mean: float
    sd: float
    ks: float
    inversion: float


@torch.no_grad()
def latent_figures(
    model: InvarianceModel, z: Tensor, images: Tensor, *, seed: int
) -> LatentFigures:
    """Latent normality and inversion error of a cINN on pairs that it was not trained on.

    Parameters
    ----------
    model : InvarianceModel
    z : Tensor, (B, ...)
        What the cINN is given.
    images : Tensor, (B, C, H, W)
        Images of the model's domain that belong to them: x, or y.
    seed : int
        Of the posterior samples z̄.
    """
    posterior = model.encode(images, z)
    noise = torch.randn(posterior.loc.shape, generator=torch.Generator().manual_seed(seed))
    latent = posterior.loc + posterior.scale * noise.to(posterior.loc)
    v, _ = model.cinn(latent, z, *model.told)
    back = model.cinn.inverse(v, z, *model.told)
    spread = latent.std().clamp_min(1e-12)
    flat = v.double().flatten().sort().values.cpu()
    normal = torch.distributions.Normal(0.0, 1.0).cdf(flat)
    steps = torch.arange(len(flat) + 1, dtype=torch.float64) / len(flat)
    ks = torch.maximum((steps[1:] - normal).max(), (normal - steps[:-1]).max())
    return LatentFigures(
        mean=float(flat.mean()),
        sd=float(flat.std()),
        ks=float(ks),
        inversion=float(((back - latent) / spread).double().square().mean().sqrt()),
    )
