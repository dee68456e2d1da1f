r"""Detectability of a signal in correlated noise to a reader with finite precision.

.. math:: d'_τ² = sᵀ (A + τ² I)^{-1} s

with the signal s, the covariance A of the noise, and the tolerance τ [HU] of a reader or display
that adds white noise of its own (Barrett and Myers, Foundations of Image Science, 2004, section
13.2). Where A is known only as a product, the Lanczos process started at s turns it into a small
tridiagonal matrix T that bounds d'_τ for *all* τ at once,

.. math:: d'_τ² ≥ ‖s‖² e_1ᵀ (T + τ² I)^{-1} e_1,

and from above if T gets one row more whose eigenvalues include one that none of A + τ² I lies
below: the rules of Gauss and of Gauss and Radau (Golub and Meurant, Matrices, Moments and
Quadrature, 2010, chapters 6 and 7). The process ends when both agree. The relative residual of the
underlying system, which is the conjugate-gradient method with every shift, is of the order of the
square root of their difference; where the solution itself is asked for, it decides.

Where A is at hand as a matrix, Cholesky's factors solve the system for the smallest τ, and leave
few steps for the others. Where it is not, a matrix like A, of the factors L Lᵀ with τ² I, leaves of
some hundred steps some twenty for one τ alone: d'_τ is that of the signal L^{-1} s in the noise
L^{-1} (A + τ² I) L^{-T}.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.linalg import LinAlgError, cho_factor, eigh_tridiagonal, solveh_banded
from torch import Tensor

from recon import DataError

__all__ = ["Krylov", "auc", "detectability", "lanczos"]

RESIDUAL = 1e-4
"""Largest relative residual of a linear system whose solution is asked for."""

WITHIN = 1e-4
"""Largest distance of the two bounds of d'_τ², relative: d'_τ is right to half of that."""

_STEPS = 2000
_EVERY = 10  # steps between looks at the bounds
_ROUNDING = (0.1, 0.9)  # of τ²: by as much an eigenvalue of A may lie below 0, at best and at most

Product = Callable[[Tensor], Tensor]


def auc(d: float) -> float:
    """Area under the ROC curve of a Gaussian observer, ``Φ(d'/√2)``.

    Examples
    --------
    >>> from analysis.observers.ideal import auc
    >>> round(auc(2.77), 3)
    0.975
    """
    return 0.5 * (1.0 + math.erf(d / 2.0))


@dataclass(frozen=True)
class Krylov:
    """What the Lanczos process found of one signal: ``A V = V T + β v eᵀ``, ``s = ‖s‖ V e_1``.

    Attributes
    ----------
    norm : float
        ‖s‖.
    alphas, betas : ndarray, (k,)
        Diagonal of T, and what stands beside it; the last β is 0 if the signal's Krylov space is
        exhausted.
    basis : Tensor or None
        V, (k, n), if it was asked for.
    """

    norm: float
    alphas: np.ndarray
    betas: np.ndarray
    basis: Tensor | None = None

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray]:
        return eigh_tridiagonal(self.alphas, self.betas[:-1])

    @property
    def values(self) -> np.ndarray:
        """Eigenvalues of T, (k,)."""
        return self._eigen[0]

    @property
    def vectors(self) -> np.ndarray:
        """Eigenvectors of T, (k, k)."""
        return self._eigen[1]

    def bounds(self, tolerance: float) -> tuple[float, float]:
        """Lower and upper bound of d'_τ² for a tolerance τ [HU]."""
        shift, lower = tolerance**2, self._solved(tolerance)[0]
        for rounding in _ROUNDING:
            node = (1.0 - rounding) * shift  # no eigenvalue of A + τ² I lies below
            try:
                # the last pivot of T + τ² I - node I says what the added row has to be
                last = _solve(self.alphas + shift - node, self.betas[:-1], -1)[-1]
                added = node + float(self.betas[-1]) ** 2 * last
                upper = _solve(np.append(self.alphas + shift, added), self.betas, 0)[0]
            except LinAlgError:
                continue
            return self.norm**2 * float(lower), self.norm**2 * float(upper)
        raise self._refusal(tolerance)

    def detectability(self, tolerance: float) -> float:
        """d'_τ for a tolerance τ [HU]: the lower bound, which comes close long before the upper."""
        return math.sqrt(self.bounds(tolerance)[0])

    def apart(self, tolerance: float) -> float:
        """Distance of the bounds of d'_τ², relative to the upper one."""
        lower, upper = self.bounds(tolerance)
        return 1.0 - lower / upper if upper > 0.0 else 0.0

    def residual(self, tolerance: float) -> float:
        """Relative residual of the system behind d'_τ."""
        return abs(float(self.betas[-1] * self._solved(tolerance)[-1]))

    def solve(self, shift: float) -> Tensor:
        """``(A + shift I)^{-1} s``, (n,)."""
        if self.basis is None:
            raise DataError("the Krylov basis was not kept", where="keep", expected="True")
        y = self.norm * self._solved(math.sqrt(shift))
        return torch.from_numpy(y).to(self.basis) @ self.basis

    def _solved(self, tolerance: float) -> np.ndarray:
        """``(T + τ² I)^{-1} e_1``."""
        try:
            return _solve(self.alphas + tolerance**2, self.betas[:-1], 0)
        except LinAlgError:
            raise self._refusal(tolerance) from None

    def _refusal(self, tolerance: float) -> DataError:
        least = math.sqrt(max(0.0, -float(self.values.min()) / max(_ROUNDING)))
        return DataError(
            "the noise covariance is not positive to within its rounding",
            where="tolerance",
            expected=f"τ above {least:.2g} HU",
            got=f"{tolerance:.2g} HU",
        )


def _solve(diagonal: np.ndarray, beside: np.ndarray, place: int) -> np.ndarray:
    """The solution of a positive tridiagonal system whose right side is 1 at one place."""
    if len(diagonal) == 1:  # which LAPACK's routine does not take
        if diagonal[0] <= 0.0:
            raise LinAlgError
        return 1.0 / diagonal
    right = np.zeros(len(diagonal))
    right[place] = 1.0
    return solveh_banded(np.stack([np.append(0.0, beside), diagonal]), right)


def lanczos(
    product: Product, signals: Tensor, *, tolerance: float, steps: int = _STEPS, keep: bool = False
) -> list[Krylov]:
    """Run the Lanczos process for several signals until each is solved for a tolerance.

    Each new vector is kept orthogonal to all earlier ones, not to the last two alone (Parlett, The
    Symmetric Eigenvalue Problem, 1980, section 13.8).

    Parameters
    ----------
    product : callable
        ``v ↦ A v`` of images (n, H, W); symmetric.
    signals : Tensor, (n, H, W)
    tolerance : float
        Smallest τ [HU] that will be asked for.
    steps : int
        Products with A, at most.
    keep : bool
        Keep V, to solve systems, and go on until that is exact.
    """
    shape = signals.shape[1:]
    flat = signals.double().flatten(1)
    norms, steps = flat.norm(dim=1), min(steps, flat.shape[1])
    found: list[Krylov | None] = [
        None if norm > 0 else Krylov(0.0, np.ones(1), np.zeros(1)) for norm in norms
    ]
    active = [i for i, item in enumerate(found) if item is None]
    basis = flat.new_empty(len(active), min(steps, 64), flat.shape[1])
    v = flat[active] / norms[active, None]
    rows = [(np.empty(steps), np.empty(steps)) for _ in found]
    for step in range(1, steps + 1):
        if not active:
            break
        if step > basis.shape[1]:  # twice the room, at most the room for all
            more = min(steps, 2 * basis.shape[1]) - basis.shape[1]
            basis = torch.cat([basis, basis.new_empty(len(basis), more, basis.shape[2])], 1)
        basis[:, step - 1] = v
        w = product(v.reshape(-1, *shape).to(signals)).double().flatten(1)
        alpha = (w * v).sum(1)
        w -= alpha[:, None] * v
        for k, one in enumerate(basis[:, :step]):  # each signal's own vectors
            w[k] -= (one @ w[k]) @ one
        beta = w.norm(dim=1)
        stay = []
        for k, i in enumerate(active):
            alphas, betas = rows[i]
            alphas[step - 1], betas[step - 1] = float(alpha[k]), float(beta[k])
            spent = betas[step - 1] < 1e-13 * np.abs(alphas[:step]).max()
            stop = spent or step == steps
            if stop or step % _EVERY == 0:
                kept = betas[:step].copy()
                kept[-1] *= not spent
                state = Krylov(float(norms[i]), alphas[:step].copy(), kept)
                if not stop:
                    stop = (
                        state.residual(tolerance) <= RESIDUAL
                        if keep
                        else state.apart(tolerance) <= WITHIN
                    )
                if stop:
                    vectors = basis[k, :step].clone() if keep else None
                    found[i] = replace(state, basis=vectors)
                    continue
            stay.append(k)
        v = w / beta.clamp_min(1e-300)[:, None]
        if len(stay) < len(active):
            active, basis, v = [active[k] for k in stay], basis[stay], v[stay]
    return [item for item in found if item is not None]


def detectability(
    noise: Product | Tensor,
    signals: Tensor,
    *,
    tolerances: Sequence[float],
    like: Tensor | None = None,
    steps: int = _STEPS,
) -> np.ndarray:
    """d'_τ of each signal at each tolerance.

    Parameters
    ----------
    noise : callable or Tensor, (H·W, H·W)
        Covariance of the noise [HU²]: ``v ↦ A v`` of images (n, H, W), or A itself.
    signals : Tensor, (n, H, W)
        [HU].
    tolerances : sequence of float
        τ [HU], above 0.
    like : Tensor, (H·W, H·W), optional
        A positive matrix like A, where A is a product; it saves products for a single τ.
    steps : int
        Products with A, at most.

    Returns
    -------
    ndarray, (n, tolerances)

    Raises
    ------
    DataError
        If a tolerance is not positive, or the bounds of d'_τ² stay apart by more than 1e-4.

    Examples
    --------
    >>> import torch
    >>> from analysis.observers.ideal import detectability
    >>> signal = torch.tensor([[[3.0, 4.0]]])
    >>> detectability(lambda v: 24.0 * v, signal, tolerances=[1.0]).round(6).tolist()
    [[1.0]]
    """
    least = asked = min(tolerances)
    if not least > 0.0:
        raise DataError("tolerance is not positive", where="tolerances", expected="> 0", got=least)
    if isinstance(noise, Tensor):
        matrix = noise
        with suppress(LinAlgError):  # A is not positive to within its rounding: so may T be
            return _factorised(matrix, signals, tolerances)
        return detectability(
            lambda v: (v.flatten(1).to(matrix) @ matrix).reshape(v.shape),
            signals, tolerances=tolerances, steps=steps,
        )  # fmt: skip
    if like is not None and len(tolerances) == 1:
        with suppress(LinAlgError):  # nor need what is like A be positive
            noise, signals, least = _preconditioned(noise, like, signals, least)
            tolerances = [least]
    found = _solved_within(noise, signals, least, steps, asked=asked)
    return np.array([[item.detectability(t) for t in tolerances] for item in found])


def _factorised(matrix: Tensor, signals: Tensor, tolerances: Sequence[float]) -> np.ndarray:
    """d'_τ of each signal in noise whose covariance is a matrix, by Cholesky's factors for one τ.

    With L Lᵀ = A + t² I for the smallest, t, any other is that of the signal ``L⁻¹ s`` in noise of
    the covariance ``L⁻¹ L⁻ᵀ`` for a tolerance of ``1/√(τ² - t²)``, times that.
    """
    least = min(tolerances)
    lower = _factor(matrix, least)

    def product(v: Tensor) -> Tensor:
        return _solved(lower, _solved(lower, v, transposed=True))

    white = _solved(lower, signals)
    d = dict.fromkeys(tolerances, white.flatten(1).norm(dim=1).tolist())
    others = {t: 1.0 / math.sqrt(t**2 - least**2) for t in d if t**2 > least**2}
    if others:
        most = max(others)  # the farthest from t takes the most steps
        found = _solved_within(product, white, others[most], _STEPS, asked=most)
        d |= {t: [of * item.detectability(of) for item in found] for t, of in others.items()}
    return np.array([d[t] for t in tolerances]).T


def _solved_within(
    noise: Product, signals: Tensor, tolerance: float, steps: int, *, asked: float
) -> list[Krylov]:
    """The Lanczos process for several signals, or an error if their bounds stay apart.

    The tolerance may stand for the one that was ``asked`` for [HU].
    """
    found = lanczos(noise, signals, tolerance=tolerance, steps=steps)
    worst = max(item.apart(tolerance) for item in found)
    if worst > WITHIN:
        raise DataError(
            "d' was not solved to its accuracy",
            where=f"tolerance of {asked:g} HU",
            expected=f"bounds of d'² within {WITHIN:g} of each other",
            got=f"{worst:.2g} after {steps} steps",
            remedy="ask for a larger tolerance",
        )
    return found


def _preconditioned(
    noise: Product, like: Tensor, signals: Tensor, tolerance: float
) -> tuple[Product, Tensor, float]:
    """The same d' of other signals in another noise, in which they need fewer products.

    None of the eigenvalues of ``L⁻¹ (A + τ² I) L⁻ᵀ`` lies below ``τ²/‖LLᵀ‖``, which takes the place
    of τ² in the bounds.
    """
    lower = _factor(like, tolerance)
    least = tolerance**2 / (float(like.abs().sum(1).max()) + tolerance**2)

    def product(v: Tensor) -> Tensor:
        u = _solved(lower, v, transposed=True)
        through = noise(u.to(signals)).double() + tolerance**2 * u
        return _solved(lower, through) - least * v

    return product, _solved(lower, signals), math.sqrt(least)


def _factor(matrix: Tensor, tolerance: float) -> Tensor:
    """L of A + τ² I = L Lᵀ in 64 bits; what lies above its diagonal is of no meaning."""
    shifted = matrix.to(torch.float64, copy=True)
    shifted.diagonal().add_(tolerance**2)
    # the transpose is in Fortran's order, and so factorised in its place
    factor = cho_factor(shifted.numpy().T, overwrite_a=True, check_finite=False)[0]
    return torch.from_numpy(factor).T


def _solved(lower: Tensor, images: Tensor, *, transposed: bool = False) -> Tensor:
    """``L⁻¹ v`` of images (n, H, W) in 64 bits, or ``L⁻ᵀ v``."""
    factor = lower.T if transposed else lower
    flat = images.double().flatten(1).T
    return torch.linalg.solve_triangular(factor, flat, upper=transposed).T.reshape(images.shape)
