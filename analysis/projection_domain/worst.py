r"""The worst case: what may be there, or not, and no observer of the rays could have told.

Among all changes δ of the anatomy with d' ≤ 1 in the rays, ``δᵀMδ ≤ 1``
(:mod:`analysis.projection_domain.consistent`):

*The largest change of the output.* With f linearised at the scan x, a generalised eigenproblem,

.. math:: (JH)ᵀ(JH)\, δ = λ M δ,  \max ‖f(x + Hδ) - f(x)‖ = \sqrt{λ_1},

solved by Lanczos iterations on ``L⁻¹(JH)ᵀ(JH)L⁻ᵀ`` with M = LLᵀ. A network bends: from the
eigenvector on, J is taken anew at x + Hδ and the step ``δ ∝ M⁻¹Hᵀ Jᵀ (f(x + Hδ) - f(x))`` repeated
as long as the change of the output grows. For a linear f this is the power method, and the
eigenvector its fixed point.

*The largest hidden lesion.* The largest contrast c of a disc with any change e around it, so that
neither the rays nor the output tell:

.. math:: \max c \;\text{ s.t. }\; δ = c\,l + e,\; δᵀMδ ≤ 1,\; ‖JHδ‖ ≤ τ.

Without the second condition it is the bound of Cramér and Rao on the disc's contrast. With it, the
multipliers of both leave one number to be found, ``δ ∝ (M + µ(JH)ᵀ(JH))⁻¹ l``: all µ come from one
run of the Lanczos process (:func:`analysis.observers.ideal.lanczos`). All that is returned is
measured with f itself; a lesion that f turns out to show is scaled down until it is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from recon import DataError

from ..lesions.lesion import Lesion
from ..numbers import apply, rms
from ..observers.ideal import Krylov, lanczos
from ..observers.jacobian import Jacobian
from .consistent import ConsistentSet

__all__ = ["HiddenInDose", "WorstChange", "largest_change", "largest_hidden_lesion"]

_ROUNDS = 8  # linearisations, at most
_GAIN = 1e-3  # a round that adds less is the last
_INSIDE = 0.02  # of a lesion's contrast: pixels with more belong to it
_LEAST_SHIFT = 1e-6  # of the largest eigenvalue

Denoiser = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class WorstChange:
    """The largest change of the output by an anatomy that the rays cannot tell from y.

    Attributes
    ----------
    anatomy : Tensor, (H, W)
        δ [HU].
    output : Tensor, (H, W)
        f(x + Hδ) - f(x) [HU].
    change, peak : float
        Its rms over the patch, and its largest pixel [HU].
    linear : float
        The rms that the Jacobian at x alone allows, √(λ₁/pixels) [HU].
    rays : float
        d' of δ in the rays: 1.
    rounds : int
        Linearisations of f.
    """

    anatomy: Tensor
    output: Tensor
    change: float
    peak: float
    linear: float
    rays: float
    rounds: int


@dataclass(frozen=True)
class HiddenInDose:
    """The largest lesion that neither the rays nor the output tell.

    Attributes
    ----------
    anatomy : Tensor, (H, W)
        c l + e [HU].
    contrast : float
        c [HU], of the lesion's sign, hidden from the rays (d' ≤ 1) and from the output (‖·‖ ≤ τ,
        as f has it).
    from_rays : float
        Its size if the output may show it: the Cramér–Rao bound [HU].
    alone : float
        Its size without any change around it, at d' = 1 [HU].
    change, tolerance_hu : float
        ‖f(x + Hδ) - f(x)‖ and τ, rms over the patch [HU].
    rays : float
        d' of δ in the rays.
    """

    anatomy: Tensor
    contrast: float
    from_rays: float
    alone: float
    change: float
    tolerance_hu: float
    rays: float


class _Seen:
    """f about a scan: what the output makes of parameters θ of an anatomy, δ = S θ, whitened.

    Changes are u with ``d' = ‖u‖``: θ = L⁻ᵀu, SᵀMS = LLᵀ.
    """

    def __init__(self, f: Denoiser, x: Tensor, fisher: Tensor, response: Tensor) -> None:
        self.f, self.x, self.response = f, x, response
        self.start = apply(f, x)
        try:
            self.factor = torch.linalg.cholesky(fisher)
        except torch.linalg.LinAlgError as error:
            raise DataError(
                "the rays do not determine the patch", where="patch_grid",
                remedy="take pixels no finer than the detector's",
            ) from error  # fmt: skip

    def theta(self, u: Tensor) -> Tensor:
        """Parameters of whitened changes (n, parameters)."""
        return torch.linalg.solve_triangular(self.factor.T, u.double().T, upper=True).T

    def whitened(self, gradient: Tensor) -> Tensor:
        """L⁻¹ g of gradients in θ (n, parameters)."""
        return torch.linalg.solve_triangular(self.factor, gradient.double().T, upper=False).T

    def image(self, u: Tensor) -> Tensor:
        """H δ of whitened changes, (n, rows, cols) [HU]."""
        return (self.theta(u).float() @ self.response.T).reshape(-1, *self.x.shape)

    def back(self, image: Tensor) -> Tensor:
        """The transpose: L⁻¹ SᵀHᵀ of images (n, rows, cols)."""
        return self.whitened(image.flatten(1) @ self.response)

    def moved(self, u: Tensor) -> Tensor:
        """f(x + Hδ) - f(x) of one change."""
        return apply(self.f, self.x + self.image(u[None])[0]) - self.start

    def at(self, u: Tensor) -> Jacobian:
        """f linearised where a change leads."""
        return Jacobian(self.f, self.x + self.image(u[None])[0])

    def normal(self, at: Jacobian, u: Tensor) -> Tensor:
        """``L⁻¹(JHS)ᵀ(JHS)L⁻ᵀ u`` of (n, parameters)."""
        return self.back(at.times_jt(at.times_j(self.image(u))))


@torch.no_grad()
def largest_change(
    f: Denoiser, x: Tensor, consistent: ConsistentSet, *, seed: int = 0
) -> WorstChange:
    """The largest change of f's output by an anatomy with d' ≤ 1 in the rays.

    Parameters
    ----------
    f : callable
        The denoiser in its place, (B, 1, rows, cols) to (B, 1, H, W) [HU].
    x : Tensor, (rows, cols)
        The scan of y, in its surroundings [HU].
    consistent : ConsistentSet
        Of the patch, at the exposure of x.
    seed : int
        Of the vector that the iteration starts with.

    Returns
    -------
    WorstChange

    Examples
    --------
    >>> import numpy as np, torch
    >>> from analysis import SliceScanner
    >>> from analysis.projection_domain.consistent import ConsistentSet
    >>> from analysis.projection_domain.worst import largest_change
    >>> from recon import ImageGrid, flash_axial
    >>> water = np.where(np.hypot(*np.mgrid[-16:16, -16:16]) < 14, 0.0, -1000.0)
    >>> scanner = SliceScanner(water, (4.0, 4.0), kvp=120.0, slice_thickness=1.5, seed=1,
    ...     patch_grid=ImageGrid(shape=(8, 8), spacing=(3.0, 3.0)), geometry=flash_axial(views=64))
    >>> x = scanner.low_dose(10.0)[0]
    >>> found = largest_change(lambda x: 0.5 * x, x, ConsistentSet.of(scanner, 10.0))
    >>> round(found.change / found.linear, 3), round(found.rays, 3)  # f is linear
    (1.0, 1.0)
    """
    seen = _Seen(f, x, consistent.fisher, consistent.response)
    size = len(consistent.fisher)
    at = Jacobian(f, x)
    product = LinearOperator(
        (size, size), dtype=np.float64,
        matvec=lambda v: seen.normal(at, torch.from_numpy(np.array(v, float).reshape(1, -1)))[0],
    )  # fmt: skip
    start = np.random.default_rng(seed).normal(size=size)
    value, vector = eigsh(product, k=1, which="LA", v0=start, tol=1e-4)
    u, rounds = torch.from_numpy(vector[:, 0].copy()), 1
    u, moved = max(((s * u, seen.moved(s * u)) for s in (1.0, -1.0)), key=lambda p: p[1].norm())
    while rounds < _ROUNDS:
        step = seen.back(seen.at(u).times_jt(moved[None]))[0]
        step = step / step.norm()
        further = seen.moved(step)
        rounds += 1
        grown = float(further.norm() / moved.norm()) - 1.0
        if grown > 0.0:
            u, moved = step, further
        if grown < _GAIN:
            break
    anatomy = consistent.anatomy(seen.theta(u[None])[0])
    return WorstChange(
        anatomy, moved, float(rms(moved)), float(moved.abs().max()),
        math.sqrt(float(value[0]) / moved.numel()), consistent.detectability(anatomy), rounds,
    )  # fmt: skip


@torch.no_grad()
def largest_hidden_lesion(
    f: Denoiser,
    x: Tensor,
    consistent: ConsistentSet,
    lesion: Lesion,
    *,
    tolerance_hu: float | None = None,
) -> HiddenInDose:
    """The largest contrast of a disc that, with a change around it, neither rays nor output tell.

    Parameters
    ----------
    f, x, consistent
        As for :func:`largest_change`.
    lesion : Lesion
        Its radius, edge, place and sign.
    tolerance_hu : float, optional
        τ of the output, rms over the patch [HU]; by default a tenth of what the disc alone changes
        where its d' is 1.

    Returns
    -------
    HiddenInDose

    Raises
    ------
    DataError
        If the tolerance is not positive, no pixel belongs to the lesion, or a part of it lies where
        nothing may change.
    """
    if tolerance_hu is not None and not tolerance_hu > 0.0:
        raise DataError("tolerance is not positive", where="tolerance_hu", got=tolerance_hu)
    grid = consistent.scanner.patch_grid
    whole = lesion.on(grid) / abs(lesion.contrast)
    disc = consistent.values(whole)
    cut = (whole - consistent.anatomy(disc)).abs().max()
    if float(cut) > _INSIDE:
        raise DataError(
            "a part of the lesion lies where nothing may change", where="lesion",
            got=f"radius {lesion.radius:g} mm at {lesion.place}",
        )  # fmt: skip
    outside = (disc.abs() <= _INSIDE).nonzero()[:, 0]
    if len(outside) == len(disc):
        raise DataError("no pixel belongs to the lesion", where="lesion", got=lesion.place)
    fisher, response = _with_disc(consistent, disc, outside)
    seen = _Seen(f, x, fisher, response)
    unit = torch.zeros(1, len(fisher)).double()
    unit[0, 0] = 1.0
    target = seen.whitened(unit)[0]  # c = targetᵀ u
    alone = 1.0 / math.sqrt(float(fisher[0, 0]))
    if tolerance_hu is None:
        shown = apply(f, x + alone * response[:, 0].reshape(x.shape)) - seen.start
        tolerance_hu = 0.1 * float(rms(shown))
    limit = tolerance_hu * math.sqrt(seen.start.numel())
    best, u = torch.zeros_like(target), torch.zeros_like(target)
    for _ in range(_ROUNDS):
        u = _hidden(partial(seen.normal, seen.at(u)), target, limit)
        u = _scaled(seen, u, limit)
        if float(u @ target) <= (1.0 + _GAIN) * float(best @ target):
            break
        best = u
    theta = seen.theta(best[None])[0]
    values = theta[0] * disc.double()
    values[outside] += theta[1:]
    anatomy = consistent.anatomy(values)
    return HiddenInDose(
        anatomy,
        contrast=math.copysign(float(theta[0]), lesion.contrast),
        from_rays=float(target.norm()),
        alone=alone,
        change=float(rms(seen.moved(best))),
        tolerance_hu=tolerance_hu,
        rays=consistent.detectability(anatomy),
    )


def _with_disc(consistent: ConsistentSet, disc: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
    """M and H for a disc of 1 HU, the first parameter, and the pixels outside it."""
    M, H, d = consistent.fisher, consistent.response, disc.double()
    across = (M[outside] @ d)[:, None]
    own = (d @ M @ d).reshape(1, 1)
    inner = M[outside][:, outside]
    fisher = torch.cat([torch.cat([own, across.T], 1), torch.cat([across, inner], 1)])
    return fisher, torch.cat([(H @ disc)[:, None], H[:, outside]], 1)


def _hidden(product: Callable[[Tensor], Tensor], target: Tensor, limit: float) -> Tensor:
    """The u of largest ``targetᵀu`` with ‖u‖ ≤ 1 and ``uᵀAu ≤ limit²``."""

    def times(v: Tensor) -> Tensor:
        return product(v.flatten(1)).reshape(v.shape)

    free = target / target.norm()
    if float(free @ product(free[None])[0]) <= limit**2:
        return free
    signal = target[None, None]
    largest = float(lanczos(times, signal, tolerance=1.0, steps=20)[0].values.max())
    least = _LEAST_SHIFT * largest
    krylov = lanczos(times, signal, tolerance=math.sqrt(least), keep=True)[0]
    low, high = math.log(least), math.log(1e6 * largest)

    def excess(log_shift: float) -> float:
        """ln of uᵀAu for ‖u‖ = 1, over what is allowed."""
        kept = _spectral(krylov, math.exp(log_shift))
        return math.log(float((krylov.values.clip(0.0) * kept**2).sum() / (kept**2).sum())) - 2 * (
            math.log(limit)
        )

    # where even the least shift shows too much, the output alone limits u, and ‖u‖ < 1
    shift = math.exp(brentq(excess, low, high)) if excess(low) < 0.0 else math.exp(low)
    u = krylov.solve(shift)
    shown = math.sqrt(max(float(u @ product(u[None])[0]), 1e-300))
    return u * min(1.0 / float(u.norm()), limit / shown)


def _spectral(krylov: Krylov, shift: float) -> np.ndarray:
    """Coefficients of ``(A + shift)⁻¹ target`` along the Ritz vectors."""
    return krylov.norm * krylov.vectors[0] / (krylov.values + shift)


def _scaled(seen: _Seen, u: Tensor, limit: float) -> Tensor:
    """u itself if f hides it, else the largest part of it that f was found to hide."""

    def excess(part: float) -> float:
        return float(seen.moved(part * u).norm()) - limit

    if excess(1.0) <= 1e-3 * limit:
        return u
    low = 1.0
    while excess(low) > 0.0 and low > 1e-6:
        low *= 0.5
    return u * float(brentq(excess, low, 2.0 * low, xtol=1e-4 * low))
