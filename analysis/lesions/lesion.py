r"""Lesions: put into an anatomy, recovered or not, and what it costs to hide one.

A lesion is a disc with a soft edge, ``l(r) = c / (1 + exp((r - r_0) / w))``.

*Cost of hiding.* Which change δ of the image, as little surprising as possible to the noise Σ,
makes the network give the same output with the lesion as without it?

.. math:: δ^* = \arg\min_δ\, δᵀ Σ^{-1} δ \quad\text{s.t.}\quad ‖f(x + l + δ) - f(x)‖ ≤ τ

Its cost ``√(δ*ᵀ Σ⁻¹ δ*)`` is in units of d' and stands beside the lesion's own ``√(lᵀ Σ⁻¹ l)``,
which is what it costs to remove it. Around an image it is a Tikhonov problem in the metric of Σ,
``δ = -ΣJᵀ (JΣJᵀ + λI)⁻¹ r``, with λ such that the output just comes within τ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from recon import DataError, ImageGrid

from ..numbers import apply, rms
from ..observers.ideal import RESIDUAL, Krylov, Product, detectability, lanczos
from ..observers.jacobian import Jacobian

__all__ = [
    "FINE_HU",
    "Hiding",
    "Lesion",
    "contrast_recovery",
    "hiding_cost",
    "lesion_likeness",
    "match_lesions",
    "middle_of",
    "site_lesion",
]

FINE_HU = 0.1
"""τ of a lesion's own d' [HU], far below any noise."""

_OUTER = 8  # linearisations of the network, at most
_MOST_CONTRAST = 10_000.0  # HU, of metal
_AIM = 0.95  # of τ, for the linearised residual
_TEMPLATES = (1.5, 3.0)  # pixels


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A disc with a soft edge.

    Attributes
    ----------
    contrast : float
        c [HU], of either sign.
    radius : float
        r₀ [mm].
    place : (x, y)
        Its centre [mm], in the axes of the slice.
    edge : float
        w [mm]; from 12 to 88 % of the contrast takes 4 w.

    Examples
    --------
    >>> from analysis import Lesion
    >>> from recon import ImageGrid
    >>> grid = ImageGrid(shape=(9, 9), spacing=(1.0, 1.0))
    >>> image = Lesion(contrast=20.0, radius=3.0).on(grid)
    >>> image[4, 4].round().item(), image[4, 7].item()
    (20.0, 10.0)
    """

    contrast: float
    radius: float
    place: tuple[float, float] = (0.0, 0.0)
    edge: float = 0.5

    def __post_init__(self) -> None:
        for name in ("radius", "edge"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise DataError(f"{name} of a lesion", expected="mm > 0", got=getattr(self, name))
        if not 0.0 < abs(self.contrast) <= _MOST_CONTRAST:
            raise DataError(
                "contrast of a lesion", expected=f"not 0, and at most {_MOST_CONTRAST:g} HU",
                got=self.contrast,
            )  # fmt: skip

    def distance(self, grid: ImageGrid) -> Tensor:
        """Distance of each pixel from the lesion's centre (H, W) [mm]."""
        x, y = grid.x - self.place[0], grid.y - self.place[1]
        return torch.from_numpy(np.hypot(x[None, :], y[:, None]))

    def on(self, grid: ImageGrid) -> Tensor:
        """The lesion alone on a grid (H, W) [HU]."""
        profile = torch.sigmoid((self.radius - self.distance(grid)) / self.edge)
        return (self.contrast * profile).float()

    def core(self, grid: ImageGrid) -> Tensor:
        """Pixels well inside, (H, W): no nearer to the edge than half a pixel, at least one."""
        distance = self.distance(grid)
        reach = max(self.radius - 0.5 * max(grid.spacing), float(distance.min()))
        return distance <= reach


def site_lesion(*, contrast: float, radius: float, grid: ImageGrid) -> Lesion:
    """A lesion at the site of a patch, its radius [pixels] and edge (half a pixel) in pixels.

    Examples
    --------
    >>> from analysis.lesions.lesion import site_lesion
    >>> from recon import ImageGrid
    >>> grid = ImageGrid(shape=(8, 8), spacing=(2.0, 2.0))
    >>> lesion = site_lesion(contrast=20.0, radius=1.5, grid=grid)
    >>> lesion.radius, lesion.place, int(lesion.on(grid).argmax()) == 4 * 8 + 4
    (3.0, (1.0, 1.0), True)
    """
    step = grid.spacing[0]
    return Lesion(contrast=contrast, radius=radius * step, place=middle_of(grid), edge=0.5 * step)


def middle_of(grid: ImageGrid) -> tuple[float, float]:
    """Where the pixel (rows // 2, cols // 2) of a patch lies, (x, y) [mm]."""
    return float(grid.x[grid.shape[1] // 2]), float(grid.y[grid.shape[0] // 2])


def contrast_recovery(
    without: Tensor, with_lesion: Tensor, lesion: Lesion, grid: ImageGrid
) -> float:
    """Share of a lesion's contrast that pairs of images show in its core.

    Parameters
    ----------
    without, with_lesion : Tensor, (n, H, W)
        Images of the two anatomies [HU]; best with the same noise.
    """
    core = lesion.core(grid)
    seen = (with_lesion - without)[..., core].double().mean()
    return float(seen / lesion.on(grid)[core].double().mean())


@dataclass(frozen=True)
class Hiding:
    """What it takes to hide a lesion from a network.

    Attributes
    ----------
    change : Tensor, (H, W)
        δ* [HU].
    cost, lesion : float
        ``√(δ*ᵀ Σ⁻¹ δ*)`` and ``√(lᵀ Σ⁻¹ l)`` [d'], the latter with τ = :data:`FINE_HU`.
    left : float
        ‖f(x + l + δ*) - f(x)‖ [HU].
    hidden : bool
        Whether that is at most τ, to within 1 %.
    """

    change: Tensor
    cost: float
    lesion: float
    left: float
    hidden: bool


@torch.no_grad()
def hiding_cost(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    lesion: Tensor,
    covariance: Product,
    *,
    tolerance_hu: float,
) -> Hiding:
    """Least surprising change that hides a lesion from a network.

    Parameters
    ----------
    f : callable
        The denoiser, (B, 1, H, W) to the same, or to a window of it [HU].
    x : Tensor, (H, W)
        Low-dose image without the lesion [HU].
    lesion : Tensor, (H, W)
        What the lesion adds to x [HU].
    covariance : callable
        ``v ↦ Σ v`` of images (n, H, W) [HU²].
    tolerance_hu : float
        τ [HU], rms over the patch.

    Returns
    -------
    Hiding
        The network is linearised anew after each step, at most 8 times; ``hidden`` says whether
        the output came within the tolerance.

    Raises
    ------
    DataError
        If the tolerance is not positive.
    """
    if not tolerance_hu > 0.0:
        raise DataError("tolerance is not positive", where="tolerance_hu", got=tolerance_hu)
    goal, aim = apply(f, x), _AIM * tolerance_hu
    own = float(detectability(covariance, lesion[None], tolerances=[FINE_HU])[0, 0])
    change, cost = torch.zeros_like(x), 0.0
    for _ in range(_OUTER):
        at = Jacobian(f, x + lesion + change)
        if float(rms(at.value - goal)) <= 1.01 * tolerance_hu:
            break
        residual = at.value - goal - at.times_j(change[None])[0]
        dual = _damped(at, covariance, residual, aim * math.sqrt(goal.numel()))
        change = -covariance(at.times_jt(dual[None]))[0]
        cost = math.sqrt(-float((dual.double() * at.times_j(change[None])[0]).sum()))
    left = float(rms(apply(f, x + lesion + change) - goal))
    return Hiding(change, cost, own, left, left <= 1.01 * tolerance_hu)


def _damped(at: Jacobian, covariance: Product, residual: Tensor, aim: float) -> Tensor:
    """``(JΣJᵀ + λI)⁻¹ r`` with the λ that leaves a residual of norm ``aim``."""

    def noise(v: Tensor) -> Tensor:
        return at.times_j(covariance(at.times_jt(v)))

    def left(log_shift: float, krylov: Krylov) -> float:
        shift = math.exp(log_shift)
        parts = krylov.vectors[0] / (krylov.values + shift)
        return shift * krylov.norm * float(np.linalg.norm(parts)) - aim

    if float(residual.double().norm()) <= aim:
        return torch.zeros_like(residual)
    tolerance = 10.0
    while True:
        krylov = lanczos(noise, residual[None], tolerance=tolerance, keep=True)[0]
        low, high = math.log(1e-6), math.log(1e3 * float(krylov.values.max()))
        shift = math.exp(brentq(left, low, high, args=(krylov,))) if left(low, krylov) < 0 else 1e-6
        if krylov.residual(math.sqrt(shift)) <= RESIDUAL or tolerance < 1e-2:
            return krylov.solve(shift).reshape(residual.shape).to(residual)
        tolerance = min(0.5 * tolerance, 0.9 * math.sqrt(shift))


def lesion_likeness(samples: Tensor, x: Tensor, lesion: Tensor) -> tuple[Tensor, Tensor]:
    """Which sampled images differ from x as a lesion would, anywhere in the patch.

    The normalised cross-correlation of ``x̄ - x`` with the lesion, both of zero mean under the
    lesion's window; the lesion must be small against the patch and centred in it.

    Parameters
    ----------
    samples : Tensor, (n, H, W)
        Sampled invariances x̄ or ȳ [HU].
    x : Tensor, (H, W)
        What they are compared with [HU].
    lesion : Tensor, (H, W)
        The lesion alone [HU].

    Returns
    -------
    score : Tensor, (n,)
        Largest correlation over the patch, -1 to 1: 1 is the lesion itself.
    place : Tensor, (n, 2)
        Row and column of the lesion's centre there.
    """
    return _best(*_likeness_by_place(samples, x, lesion))


def _likeness_by_place(samples: Tensor, x: Tensor, lesion: Tensor) -> tuple[Tensor, list[int]]:
    """The correlation at every place (n, rows, cols), and the row and column of the first place."""
    inside = lesion.abs() > 0.02 * lesion.abs().max()
    rows, cols = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
    template = lesion[window].double()
    template = template - template.mean()
    difference = (samples - x).double()[:, None]
    difference = difference - difference.mean((2, 3), keepdim=True)
    sums = torch.stack([template, torch.ones_like(template)])[:, None]
    like, total = torch.nn.functional.conv2d(difference, sums).unbind(1)
    energy = torch.nn.functional.conv2d(difference.square(), sums[1:])[:, 0]
    spread = energy - total.square() / template.numel()
    # where a difference is constant, rounding alone is left
    least = 1e-12 * difference.square().mean((2, 3)).clamp_min(1e-12)[..., None]
    scores = like / (spread.clamp_min(least).sqrt() * template.norm())
    return scores, [side // 2 for side in template.shape]


def _best(scores: Tensor, first: list[int]) -> tuple[Tensor, Tensor]:
    """The largest correlation (n,) and the row and column of its place (n, 2)."""
    best = scores.flatten(1).argmax(1)
    place = torch.stack([best // scores.shape[2] + first[0], best % scores.shape[2] + first[1]], 1)
    return scores.flatten(1).gather(1, best[:, None])[:, 0].float(), place


def match_lesions(samples: Tensor, x: Tensor, grid: ImageGrid) -> tuple[Tensor, list[Lesion]]:
    """How like a lesion, bright or dark, x̄ - x is where it is most like one, and where that is.

    The score is the largest normalised cross-correlation
    (:func:`lesion_likeness`) with discs of 1.5 and 3 pixels radius.

    Parameters
    ----------
    samples : Tensor, (n, H, W)
        Sampled images x̄ [HU].
    x : Tensor, (H, W)
        What they are compared with [HU].
    grid : ImageGrid
        Grid of the patch, with square pixels.

    Returns
    -------
    score : Tensor, (n,)
        Largest correlation over templates, signs and places, -1 to 1.
    lesion : list of Lesion
        The template of contrast ±1 HU at its best place, one a sample.
    """
    templates, found = [], []
    for radius in _TEMPLATES:
        lesion = site_lesion(contrast=1.0, radius=radius, grid=grid)
        scores, first = _likeness_by_place(samples, x, lesion.on(grid))
        templates += [lesion, replace(lesion, contrast=-1.0)]
        found += [_best(scores, first), _best(-scores, first)]
    score, which = torch.stack([score for score, _ in found]).max(0)
    lesions = []
    for k, best in enumerate(which.tolist()):
        row, col = found[best][1][k].tolist()
        lesions.append(replace(templates[best], place=(float(grid.x[col]), float(grid.y[row]))))
    return score, lesions
