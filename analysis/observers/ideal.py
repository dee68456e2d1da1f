r"""Detectability of a signal in correlated noise to a reader with finite precision.

.. math:: d'_τ² = sᵀ (A + τ² I)^{-1} s

with the signal s, the covariance A of the noise, and the tolerance τ [HU] of a reader or display
that adds white noise of its own (Barrett and Myers, Foundations of Image Science, 2004, section
13.2). A is known only as a product. The Lanczos process started at s turns it into a small
tridiagonal matrix T that gives d'_τ for *all* τ at once,

.. math:: d'_τ² = ‖s‖² e_1ᵀ (T + τ² I)^{-1} e_1,

and the relative residual ``β_k |y_k|`` of the underlying solution: this is the conjugate-gradient
method with every shift (Golub and Meurant, Matrices, Moments and Quadrature, 2010, chapter 7). The
error of d'_τ² is of the order of the residual squared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from ctxai import linearise
from recon import DataError

__all__ = ["Jacobian", "Krylov", "auc", "detectability", "lanczos"]

RESIDUAL = 1e-4
"""Largest relative residual of the linear systems."""

_STEPS = 2000
_EVERY = 20  # steps between looks at the residual

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


class Jacobian:
    """A denoiser around one image: ``w ↦ Jw`` and ``u ↦ Jᵀu`` of images (n, H, W).

    Parameters
    ----------
    f : callable
        (B, 1, H, W) to the same [HU].
    x : Tensor, (H, W)
        [HU].

    Attributes
    ----------
    value : Tensor, (H, W)
        f(x) [HU].

    Examples
    --------
    >>> import torch
    >>> from analysis.observers.ideal import Jacobian
    >>> Jacobian(lambda x: x**2, torch.full((1, 2), 3.0)).times_j(torch.ones(1, 1, 2))
    tensor([[[6., 6.]]])
    """

    def __init__(self, f: Callable[[Tensor], Tensor], x: Tensor) -> None:
        self._at = linearise(f, x[None, None])
        self.value = self._at.value[0, 0]

    def times_j(self, images: Tensor) -> Tensor:
        """J w."""
        return self._each(self._at.times_j, images)

    def times_jt(self, images: Tensor) -> Tensor:
        """Jᵀ u."""
        return self._each(self._at.times_jt, images)

    @torch.no_grad()
    def _each(self, product: Product, images: Tensor) -> Tensor:
        batch = images[:, None]
        if self._at.recorded:  # the recorded chain takes any number of images
            return product(batch)[:, 0]
        return torch.cat([product(image[None]) for image in batch])[:, 0]


@dataclass(frozen=True)
class Krylov:
    """What the Lanczos process found of one signal: ``A V = V T + β v eᵀ``, ``s = ‖s‖ V e_1``.

    Attributes
    ----------
    norm : float
        ‖s‖.
    values, vectors : ndarray
        Eigenvalues (k,) and eigenvectors (k, k) of T.
    beta : float
        The last β: 0 if the signal's Krylov space is exhausted.
    basis : Tensor or None
        V, (k, n), if it was asked for.
    """

    norm: float
    values: np.ndarray
    vectors: np.ndarray
    beta: float
    basis: Tensor | None = None

    def detectability(self, tolerance: float) -> float:
        """d'_τ for a tolerance τ [HU]."""
        return self.norm * math.sqrt(
            float(np.sum(self.vectors[0] ** 2 / self._shifted(tolerance**2)))
        )

    def residual(self, tolerance: float) -> float:
        """Relative residual of the system behind d'_τ."""
        last = np.sum(self.vectors[0] * self.vectors[-1] / self._shifted(tolerance**2))
        return abs(self.beta * float(last))

    def solve(self, shift: float) -> Tensor:
        """``(A + shift I)^{-1} s``, (n,)."""
        if self.basis is None:
            raise DataError("the Krylov basis was not kept", where="keep", expected="True")
        y = self.norm * self.vectors @ (self.vectors[0] / self._shifted(shift))
        return torch.from_numpy(y).to(self.basis) @ self.basis

    def _shifted(self, shift: float) -> np.ndarray:
        shifted = self.values + shift
        if shifted.min() <= 0.1 * shift:
            raise DataError(
                "the noise covariance is not positive to within its rounding",
                where="tolerance",
                expected=f"τ above {math.sqrt(max(0.0, -2 * float(self.values.min()))):.2g} HU",
                got=f"{math.sqrt(shift):.2g} HU",
            )
        return shifted


def lanczos(
    product: Product, signals: Tensor, *, tolerance: float, steps: int = _STEPS, keep: bool = False
) -> list[Krylov]:
    """Run the Lanczos process for several signals until each is solved for a tolerance.

    Vectors are kept orthogonal to all earlier ones, twice (Parlett, The Symmetric Eigenvalue
    Problem, 1980, section 13.8).

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
        Keep V, to solve systems.
    """
    shape = signals.shape[1:]
    flat = signals.double().flatten(1)
    norms = flat.norm(dim=1)
    found: list[Krylov | None] = [
        None if norm > 0 else Krylov(0.0, np.ones(1), np.ones((1, 1)), 0.0) for norm in norms
    ]
    active = [i for i, item in enumerate(found) if item is None]
    if not active:
        return [item for item in found if item is not None]
    v = flat[active] / norms[active, None]
    basis = v[:, None]
    alphas, betas = torch.zeros(len(active), 0).double(), torch.zeros(len(active), 0).double()
    for step in range(1, min(steps, flat.shape[1]) + 1):
        w = product(basis[:, -1].reshape(-1, *shape).to(signals)).double().flatten(1)
        alpha = (w * basis[:, -1]).sum(1, keepdim=True)
        for _ in range(2):
            w = w - torch.einsum("nk,nki->ni", torch.einsum("nki,ni->nk", basis, w), basis)
        beta = w.norm(dim=1, keepdim=True)
        alphas, betas = torch.cat([alphas, alpha], 1), torch.cat([betas, beta], 1)
        end = step == min(steps, flat.shape[1])
        spent = beta[:, 0] < 1e-13 * alphas.abs().amax(1)
        if end or step % _EVERY == 0 or bool(spent.any()):
            stay = []
            for row, i in enumerate(active):
                off = betas[row, :-1].numpy()
                values, vectors = eigh_tridiagonal(alphas[row].numpy(), off)
                state = Krylov(
                    float(norms[i]),
                    values,
                    vectors,
                    0.0 if spent[row] else float(betas[row, -1]),
                    basis[row].clone() if keep else None,
                )
                if end or bool(spent[row]) or state.residual(tolerance) <= RESIDUAL:
                    found[i] = state
                else:
                    stay.append(row)
            if not stay:
                break
            active = [active[row] for row in stay]
            alphas, betas, basis, w, beta = (t[stay] for t in (alphas, betas, basis, w, beta))
        basis = torch.cat([basis, (w / beta.clamp_min(1e-300))[:, None]], 1)
    return [item for item in found if item is not None]


def detectability(
    product: Product, signals: Tensor, *, tolerances: Sequence[float], steps: int = _STEPS
) -> np.ndarray:
    """d'_τ of each signal at each tolerance.

    Parameters
    ----------
    product : callable
        ``v ↦ A v`` of images (n, H, W): the covariance of the noise [HU²].
    signals : Tensor, (n, H, W)
        [HU].
    tolerances : sequence of float
        τ [HU], above 0.
    steps : int
        Products with A, at most.

    Returns
    -------
    ndarray, (n, tolerances)

    Raises
    ------
    DataError
        If a tolerance is not positive, or a relative residual stays above 1e-4.

    Examples
    --------
    >>> import torch
    >>> from analysis.observers.ideal import detectability
    >>> signal = torch.tensor([[[3.0, 4.0]]])
    >>> detectability(lambda v: 24.0 * v, signal, tolerances=[1.0]).round(6).tolist()
    [[1.0]]
    """
    least = min(tolerances)
    if not least > 0.0:
        raise DataError("tolerance is not positive", where="tolerances", expected="> 0", got=least)
    found = lanczos(product, signals, tolerance=least, steps=steps)
    worst = max(item.residual(least) for item in found)
    if worst > RESIDUAL:
        raise DataError(
            "d' was not solved to its accuracy",
            where=f"tolerance of {least:g} HU",
            expected=f"a relative residual of at most {RESIDUAL:g}",
            got=f"{worst:.2g} after {steps} steps",
            remedy="ask for a larger tolerance",
        )
    return np.array([[item.detectability(t) for t in tolerances] for item in found])
