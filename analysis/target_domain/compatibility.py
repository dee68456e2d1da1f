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

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import binomtest, rankdata
from torch import Tensor

from recon import DataError, ImageGrid

from ..fidelity.statistics import without_noise
from ..lesions.lesion import Lesion, middle_of
from ..numbers import rms

__all__ = [
    "ALPHA",
    "NULL_DRAWS",
    "Compatibility",
    "NullOutputs",
    "compatibility",
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
        Seed of the random sets.

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
            ranks = rankdata(means, "max", axis=0).max(1)
            p[g] = np.mean(ranks >= ranks[0])
        return p


def most_different(
    ybar: Tensor, y: Tensor, p: np.ndarray, *, count: int = 6, alpha: float = ALPHA
) -> list[int]:
    """Numbers of the compatible anatomies that differ most from the true one, in that order.

    They differ by their tissue and organs: the noise of a sampled anatomy counts for nothing.
    """
    distance = rms(without_noise(ybar - y)).cpu().numpy()
    compatible = np.flatnonzero(p > alpha)
    return [int(k) for k in compatible[np.argsort(-distance[compatible])][:count]]


def power_lesion(grid: ImageGrid) -> Lesion:
    """The lesion by which the test is judged: 20 HU, radius 3 pixels, in the patch's middle."""
    return Lesion(contrast=20.0, radius=3.0 * grid.spacing[0], place=middle_of(grid))


@dataclass(frozen=True)
class Compatibility:
    """What the test says of each ȳ, and how much that means."""

    p: np.ndarray  # p-value of each ȳ
    rays_d: np.ndarray  # d' of ȳ - y to an ideal observer of the rays
    compatible_share: float  # of the ȳ: p above α
    null_draws: int  # scans of y
    draws: int  # scans of each ȳ
    power: float  # share of scans of y with the lesion that the test tells from y
    power_low: float  # its 95 % interval (Clopper and Pearson)
    power_high: float
    power_scans: int
    most_different: list[int]  # the compatible ȳ that differ most from y

    @property
    def telling(self) -> bool:
        """Whether the test notices the lesion more often than not."""
        return self.power >= _TELLING

    @property
    def rays(self) -> dict[str, float]:
        """Least, median and largest d' in the rays of the compatible ȳ; empty without any."""
        d = self.rays_d[self.p > ALPHA]
        if not len(d):
            return {}
        return {"least": float(d.min()), "median": float(np.median(d)), "largest": float(d.max())}

    def facts(self) -> dict[str, Any]:
        """Plain values for run.json."""
        found = {"alpha": ALPHA, **asdict(self)}
        del found["p"], found["rays_d"]
        return {**found, "rays": self.rays} if self.rays else found


def compatibility(
    null: NullOutputs,
    *,
    xprime: Tensor,
    ybar: Tensor,
    y: Tensor,
    with_lesion: Tensor,
    rays_d: np.ndarray,
) -> Compatibility:
    """Test each of the sampled anatomies, and the test itself by scans of y with a lesion.

    Parameters
    ----------
    null : NullOutputs
    xprime : Tensor, (n, K, H, W)
        Outputs of the scans of each ȳ [HU].
    ybar, y : Tensor, (n, H, W) and (H, W)
        Anatomies [HU].
    with_lesion : Tensor, (m, K, H, W)
        Outputs of scans of y with the lesion of :func:`power_lesion` [HU].
    rays_d : ndarray, (n,)
        d' of ȳ - y in the rays, :func:`analysis.projection_domain.pair.ray_detectability`.
    """
    p, found = null.p_values(xprime), null.p_values(with_lesion)
    noticed = int(np.sum(found <= ALPHA))
    interval = binomtest(noticed, len(found)).proportion_ci(0.95)
    return Compatibility(
        p,
        rays_d,
        compatible_share=float(np.mean(p > ALPHA)),
        null_draws=len(null.outputs),
        draws=xprime.shape[1],
        power=noticed / len(found),
        power_low=float(interval.low),
        power_high=float(interval.high),
        power_scans=len(found),
        most_different=most_different(ybar, y, p),
    )
