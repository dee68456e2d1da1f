r"""Could this output have come from that anatomy? f(x) ranked among scans of each ȳ.

The question is about one output. (Whether two anatomies can be told apart by scanning them again
is another one: :mod:`analysis.target_domain.telling`.) Each sampled anatomy ȳ is scanned and
denoised K times. The deviation of f(x) from the mean of these outputs, over the standard deviation
of each pixel, is judged by four statistics, each of which may be too large or too small:

- the largest deviation, with its sign kept, after smoothing with σ = 1.5 and with σ = 4 pixels: a
  small change, and a larger one;
- the mean square after smoothing with σ = 4 pixels: a change that is spread;
- the mean square of single pixels, χ²: noise of another strength or grain.

What the statistics are for an output that does belong is known from scans of the true anatomy y,
each against the mean of K others of them. There the logarithm of each statistic is put in units of
its standard deviation; the largest of the four deviations, either way, is the score of an output
and its rank among the scores of the scans is p (the combination of Westfall and Young,
Resampling-Based Multiple Testing, 1993, with one scale for all in place of single ranks, which
would tie). All of this treats f(x) as one more of the scans, so that p of y itself is uniform. That
the noise about ȳ is that about y is an assumption, and is tested: the K outputs of each ȳ are put
to the same test, each against the others, and α of them should be refused (`level`).

An anatomy with p above α is *compatible* with the output. What that means is said by the power for
a lesion: the share of outputs of y with the lesion that this blind test tells from y.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from recon import DataError, ImageGrid

from ..fidelity.statistics import without_noise
from ..lesions.lesion import Lesion, middle_of
from ..numbers import Share, rms

__all__ = [
    "ALPHA",
    "NULL_DRAWS",
    "POWER_SCANS",
    "Compatibility",
    "NullOutputs",
    "compatibility",
    "most_different",
    "power_lesion",
]

ALPHA = 0.05
NULL_DRAWS = 199
POWER_SCANS = 192
"""Scans of the slice with a lesion, from which powers are estimated."""

_SMOOTH = (0.0, 1.5, 4.0)  # pixels: single ones, a small lesion, a larger one


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
    array([0.005])
    """

    fx: Tensor
    outputs: Tensor
    seed: int
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.outputs.ndim != 3 or len(self.outputs) < 19:
            raise DataError(
                "too few redrawn scans for a test at 5 %",
                expected="(n, H, W) with n of 19 or more",
                got=tuple(self.outputs.shape),
            )

    def p_values(self, scans: Tensor) -> np.ndarray:
        """p of f(x) among scans of each of several anatomies, (groups, K, H, W) → (groups,)."""
        means = scans.double().mean(1)
        return self._p(self.fx.double() - means, scans.shape[1])

    def p_of_scans(self, scans: Tensor) -> np.ndarray:
        """p of each scan among the others of its anatomy, (groups, K, H, W) → (groups, K).

        Raises
        ------
        DataError
            If K is 1: there are no others.
        """
        groups, draws = scans.shape[:2]
        if draws < 2:
            raise DataError("a scan has no others to be held against", expected="K ≥ 2", got=draws)
        images = scans.double()
        others = (images.sum(1, keepdim=True) - images) / (draws - 1)
        p = self._p((images - others).flatten(0, 1), draws - 1)
        return p.reshape(groups, draws)

    def p_against_truth(self, outputs: Tensor, draws: int) -> np.ndarray:
        """p of many outputs (m, H, W) among K scans of the true anatomy, others for each: (m,)."""
        random = np.random.default_rng(self.seed + 1)
        mean = torch.stack([
            self.outputs[random.choice(len(self.outputs), draws, replace=False)].double().mean(0)
            for _ in outputs
        ])  # fmt: skip
        return self._p(outputs.double() - mean, draws)

    def statistics(self, deviations: Tensor) -> np.ndarray:
        """Logarithms of the four statistics of deviations (m, H, W) [HU]: (m, 4)."""
        parts = _smoothed(deviations)
        return _statistics(parts, [np.sqrt(v)[None] for v in self._variances()[0]])

    def _p(self, deviations: Tensor, draws: int) -> np.ndarray:
        own, known = self.statistics(deviations), self._references(draws)
        p, total = np.empty(len(own)), len(known) + 1
        for k, values in enumerate(own):
            pool = np.concatenate([values[None], known])
            sd = np.maximum(pool.std(0), 1e-12)
            score = (np.abs(pool - pool.mean(0)) / sd).max(1)
            p[k] = np.sum(score >= score[0]) / total
        return p

    def _references(self, draws: int) -> np.ndarray:
        """Statistics of each scan of y against the mean of K others, (n, 4)."""
        if draws not in self._known:
            n = len(self.outputs)
            if draws >= n:
                raise DataError(
                    "too few redrawn scans to hold each against as many as there are of an anatomy",
                    expected=f"more than {draws}", got=n,
                )  # fmt: skip
            random = np.random.default_rng(self.seed)
            weights = np.zeros((n, n))  # rows: the mean of K others
            for k in range(n):
                others = random.choice(n - 1, draws, replace=False)
                weights[k, others + (others >= k)] = 1.0 / draws
            flat = self.outputs.double().cpu().flatten(1).numpy()
            deviations = torch.from_numpy(flat - weights @ flat).reshape(self.outputs.shape)
            sd = [np.sqrt(v) for v in self._variances()[1]]
            self._known[draws] = _statistics(_smoothed(deviations), sd)
        return self._known[draws]

    def _variances(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Variance of each pixel over the scans of y, for each smoothing: of all, and without each.

        A scan is judged by the spread of the others, as f(x) is.
        """
        if "variances" not in self._known:
            everything, others, n = [], [], len(self.outputs)
            for part in _smoothed(self.outputs):
                deviation = part - part.mean(0)
                total = np.square(deviation).sum(0)
                everything.append(np.maximum(total / (n - 1), 1e-12))
                without = (total - np.square(deviation) * n / (n - 1)) / (n - 2)
                others.append(np.maximum(without, 1e-12))
            self._known["variances"] = everything, others
        return self._known["variances"]


def _smoothed(images: Tensor) -> list[np.ndarray]:
    values = images.double().cpu().numpy()
    rows, cols = values.shape[-2:]
    return [
        _smoother(rows, width) @ values @ _smoother(cols, width).T if width else values
        for width in _SMOOTH
    ]


@functools.cache
def _smoother(n: int, width: float) -> np.ndarray:
    """A Gaussian along one axis, reflected at its ends, as a matrix (n, n)."""
    return gaussian_filter1d(np.eye(n), width, axis=0, mode="reflect")


def _statistics(parts: list[np.ndarray], sd: list[np.ndarray]) -> np.ndarray:
    """Logarithms of the four statistics of deviations, given for each smoothing."""
    pixels, small, large = (part / scale for part, scale in zip(parts, sd, strict=True))
    found = [
        np.abs(small).max((1, 2)), np.abs(large).max((1, 2)),
        np.square(large).mean((1, 2)), np.square(pixels).mean((1, 2)),
    ]  # fmt: skip
    return np.log(np.maximum(np.stack(found, -1), 1e-12))


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
    """The lesion by which the tests are judged: 20 HU, radius 3 mm, in the patch's middle."""
    return Lesion(contrast=20.0, radius=3.0, place=middle_of(grid))


@dataclass(frozen=True)
class Compatibility:
    """What the test of an output says of each ȳ, and how much that means."""

    p: np.ndarray  # of f(x) among the scans of each ȳ
    share: Share  # of the ȳ that are compatible: p above α
    level: Share | None  # of the scans of the ȳ that the test refuses among their own others
    power: Share  # of outputs of y with the lesion, told from y without knowing what is looked for
    null_draws: int  # scans of y
    draws: int  # scans of each ȳ
    most_different: list[int]  # the compatible ȳ that differ most from y


def compatibility(
    null: NullOutputs, *, xprime: Tensor, ybar: Tensor, y: Tensor, with_lesion: Tensor
) -> Compatibility:
    """Test f(x) among the scans of each sampled anatomy, and the test itself.

    Parameters
    ----------
    null : NullOutputs
    xprime : Tensor, (n, K, H, W)
        Outputs of the scans of each ȳ [HU].
    ybar, y : Tensor, (n, H, W) and (H, W)
        Anatomies [HU].
    with_lesion : Tensor, (m, H, W)
        Outputs of scans of y with the lesion of :func:`power_lesion` [HU].
    """
    draws = xprime.shape[1]
    p, found = null.p_values(xprime), null.p_against_truth(with_lesion, draws)
    level = None
    if draws > 1:
        refused = null.p_of_scans(xprime) <= ALPHA
        level = Share.of(int(refused.sum()), refused.size)
    return Compatibility(
        p,
        share=Share.of(int(np.sum(p > ALPHA)), len(p)),
        level=level,
        power=Share.of(int(np.sum(found <= ALPHA)), len(found)),
        null_draws=len(null.outputs),
        draws=draws,
        most_different=most_different(ybar, y, p),
    )
