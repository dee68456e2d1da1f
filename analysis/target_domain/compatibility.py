r"""Could this output have come from that anatomy? A test against redrawn noise.

Each sampled anatomy ȳ is scanned and denoised K times, giving x'. Under the null hypothesis, that
the true anatomy y would have given the same images, they are drawn as the outputs of redrawn
scans of y are. Two statistics tell an output from f(x):

- the rms of x' - f(x) over the patch;
- the maximum of ``|x' - f(x)| / sd``, smoothed with σ = 2 pixels, with the standard deviation of
  each pixel over the null: it sees a small change that the rms does not.

Each is averaged over the K draws and ranked among the means of random sets of K out of these draws
and those of the null, which is exact under the null hypothesis (a permutation test); the larger of
the two ranks is ranked again (Westfall and Young, Resampling-Based Multiple Testing, 1993), so
that α holds for both together. An anatomy with p above α is *compatible* with the output: this
test, which knows the scans of the true anatomy alone, does not rule it out. How much that means is
said by its power, the share of lesions that it would have found, and by d' of an ideal observer of
the rays who knows ȳ as well: what the scanner could have told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import binomtest
from torch import Tensor

from recon import DataError, ImageGrid

from ..lesions.lesion import Lesion
from ..numbers import rms
from ..runs.store import Study

__all__ = [
    "ALPHA",
    "NULL_DRAWS",
    "NullOutputs",
    "add_compatibility",
    "most_different",
    "power_lesion",
]

ALPHA = 0.05
NULL_DRAWS = 199
_TELLING = 0.5  # power from which the test tells a lesion more often than not
POWER_SCANS = 40
"""Groups of K draws of the slice with a lesion, from which the power is estimated."""

_SETS = 999  # random sets of K draws; p is a multiple of 1/1000
_SMOOTH = 2.0  # pixels


@dataclass(frozen=True)
class NullOutputs:
    """Outputs of redrawn scans of the true anatomy, and the output that is asked about.

    Parameters
    ----------
    fx : Tensor, (H, W)
        f(x) [HU].
    outputs : Tensor, (n, H, W)
        f of n scans of the true y with fresh noise [HU]; 199 by convention.
    seed : int
        Of the random sets.

    Examples
    --------
    >>> import torch
    >>> from analysis.target_domain.compatibility import NullOutputs
    >>> noise = torch.randn(200, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> null = NullOutputs(noise[0], noise[1:], seed=1)
    >>> null.p_values(noise[1:9].reshape(1, 8, 16, 16) + 3.0)
    array([0.001])
    """

    fx: Tensor
    outputs: Tensor
    seed: int

    def __post_init__(self) -> None:
        if self.outputs.ndim != 3 or len(self.outputs) < 19:
            raise DataError(
                "too few redrawn scans for a test at 5 %",
                expected="(n, H, W) with n of 19 or more",
                got=tuple(self.outputs.shape),
            )

    def statistics(self, images: Tensor) -> np.ndarray:
        """Rms [HU] and largest smoothed deviation [sd] of images (..., H, W): (..., 2)."""
        difference = (images - self.fx).cpu()
        sd = self.outputs.double().std(0).clamp_min(1e-6).cpu()
        deviation = (difference.double().abs() / sd).numpy()
        flat = deviation.reshape(-1, *deviation.shape[-2:])
        smooth = gaussian_filter(flat, (0.0, _SMOOTH, _SMOOTH), mode="reflect")
        largest = smooth.max((1, 2)).reshape(deviation.shape[:-2])
        return np.stack([rms(difference).double().numpy(), largest], -1)

    def p_values(self, images: Tensor) -> np.ndarray:
        """p of each group of draws, (groups, K, H, W) → (groups,)."""
        null, found = self.statistics(self.outputs), self.statistics(images)
        groups, draws = found.shape[:2]
        random = np.random.default_rng(self.seed)
        total = len(null) + draws
        chosen = np.argsort(random.random((_SETS, total)), axis=1)[:, :draws]
        p = np.empty(groups)
        for g in range(groups):
            pool = np.concatenate([found[g], null])
            means = np.concatenate([found[g].mean(0)[None], pool[chosen].mean(1)])  # own set first
            ranks = np.stack([_share_below(column) for column in means.T], 1).max(1)
            p[g] = np.mean(ranks >= ranks[0])
        return p


def _share_below(values: np.ndarray) -> np.ndarray:
    """Share of values that do not exceed each value."""
    return np.searchsorted(np.sort(values), values, "right") / len(values)


def most_different(
    ybar: Tensor, y: Tensor, p: np.ndarray, *, count: int = 6, alpha: float = ALPHA
) -> list[int]:
    """Numbers of the compatible anatomies that differ most from the true one, in that order."""
    distance = rms(ybar - y).cpu().numpy()
    compatible = np.flatnonzero(p > alpha)
    return [int(k) for k in compatible[np.argsort(-distance[compatible])][:count]]


def power_lesion(grid: ImageGrid) -> Lesion:
    """The lesion by which the test is judged: 20 HU, radius 3 pixels, in the patch's middle."""
    place = (float(grid.x[grid.shape[1] // 2]), float(grid.y[grid.shape[0] // 2]))
    return Lesion(contrast=20.0, radius=3.0 * grid.spacing[0], place=place)


def add_compatibility(
    study: Study,
    null: NullOutputs,
    *,
    xprime: Tensor,
    ybar: Tensor,
    y: Tensor,
    with_lesion: Tensor,
    rays: np.ndarray,
    sampler: str,
) -> None:
    """Add the test's numbers to a study of sampled anatomies.

    Rows: the share of compatible ȳ, the test's power with its 95 % interval (Clopper and Pearson),
    and what an ideal observer of the rays makes of the compatible ȳ. ``facts["compatibility"]``
    holds alpha, null_draws, compatible_share, power, power_low, power_high, power_scans, rays
    (least, median, largest d'), and ``most_different``, the numbers of the compatible ȳ that differ
    most from y. Arrays ``compatibility_p`` and ``rays_d`` (n,) [1]. The verdict, where there is
    one, is given the power and d' as reasons.

    Parameters
    ----------
    study : Study
        Its facts and arrays are in place.
    null : NullOutputs
    xprime : Tensor, (n, K, H, W)
        Outputs of the scans of each ȳ [HU].
    ybar, y : Tensor, (n, H, W) and (H, W)
        Anatomies [HU].
    with_lesion : Tensor, (m, K, H, W)
        Outputs of scans of y with the lesion of :func:`power_lesion` [HU].
    rays : ndarray, (n,)
        d' of ȳ - y in the rays, :func:`analysis.projection_domain.pair.ray_detectability`.
    sampler : str
    """
    p, found = null.p_values(xprime), null.p_values(with_lesion)
    share, noticed = float(np.mean(p > ALPHA)), int(np.sum(found <= ALPHA))
    power = noticed / len(found)
    interval = binomtest(noticed, len(found)).proportion_ci(0.95)
    draws = xprime.shape[1]
    study.add(
        "share of ȳ compatible with the output", share, "1", sampler=sampler,
        should_be=f"{1 - ALPHA:g} if the ȳ are invariances; read it beside the test's power",
        meaning=f"p > {ALPHA:g} for rms and largest smoothed deviation together; "
        f"{len(null.outputs)} redraws of the true y, {draws} draws of each ȳ",
    )  # fmt: skip
    study.add(
        "power of the test of compatibility", power, "1", sampler="y with a lesion",
        should_be="near 1: else even a wrong anatomy passes",
        meaning=f"share of {len(found)} scans of y with a lesion of 20 HU, radius 3 pixels, that "
        f"the test tells from y, {draws} draws each; 95 % interval {interval.low:.2f} to "
        f"{interval.high:.2f}",
    )  # fmt: skip
    study.facts["compatibility"] = {
        "alpha": ALPHA,
        "null_draws": len(null.outputs),
        "draws": draws,
        "compatible_share": share,
        "power": power,
        "power_low": float(interval.low),
        "power_high": float(interval.high),
        "power_scans": len(found),
        "most_different": most_different(ybar, y, p),
    }
    study.arrays["compatibility_p"] = p.astype(np.float32)
    study.arrays["rays_d"] = rays.astype(np.float32)
    if share:
        d = rays[p > ALPHA]
        seen = {"least": d.min(), "median": np.median(d), "largest": d.max()}
        study.facts["compatibility"]["rays"] = {name: float(value) for name, value in seen.items()}
        for name, value in seen.items():
            study.add(
                f"d' of ȳ - y in the rays, {name} of the compatible ȳ", float(value), "1",
                layer="projections", sampler=sampler,
                should_be="below 2.77 if the scanner cannot tell them from y",
                meaning="ideal observer who knows both anatomies, one scan at this exposure",
            )  # fmt: skip
    if "verdict" in study.facts:
        told = (
            f"a lesion of 20 HU and 3 pixels radius in the true anatomy is noticed in {power:.0%} "
            f"of its scans ({interval.low:.0%} to {interval.high:.0%} by {len(found)} of them)"
        )
        little = "" if power >= _TELLING else ", so that to be compatible says little at this dose"
        reasons = study.facts["verdict"]["reasons"]
        reasons.append(told + little)
        if share:
            reasons.append(
                "an ideal observer of the rays, who knows both anatomies, tells compatible ones "
                f"from the true one with d' {d.min():.3g} to {d.max():.3g} (2.77 is detection)"
            )
