"""An ideal observer behind a denoiser that is linearised at a scan: noise of covariance J Σ Jᵀ.

Of a denoiser that looks at few neighbours J is known as a matrix (:class:`ctxai.LocalJacobian`).
Where Σ is kept as one, too, so is J Σ Jᵀ, and d' at a τ costs a factorisation
(:func:`analysis.observers.ideal.detectability`). Else it is a product, and a stationary noise like
Σ, of which J makes a matrix, saves steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..observers.ideal import Product, detectability
from ..observers.jacobian import Jacobian
from ..scanner.covariance import ImageCovariance

__all__ = ["Behind"]


class Behind:
    """The noise of a scan behind a denoiser, which is linearised there.

    Parameters
    ----------
    f : callable
        The denoiser in its place, (B, 1, rows, cols) to (B, 1, H, W) [HU].
    x : Tensor, (rows, cols)
        The scan of the patch in its surroundings [HU].
    covariance : ImageCovariance
        Of the noise before the denoiser.
    mas : float
        Exposure [mAs].
    """

    def __init__(self, f: Product, x: Tensor, covariance: ImageCovariance, mas: float) -> None:
        self.at, self._covariance, self._mas = Jacobian(f, x), covariance, mas
        self._local = self.at.local() if covariance.fits else None  # only for matrices of Σ
        self._matrix: Tensor | None = None
        if self._local is not None and covariance.matrices is not None:
            self._matrix = self._local.around(covariance.matrix(mas))

    def detectability(self, signals: Tensor, tolerances: Sequence[float]) -> np.ndarray:
        """d'_τ of signals (n, rows, cols) before the denoiser, in its output: (n, tolerances)."""
        seen, like = self.at.times_j(signals), None
        if self._matrix is not None:
            return detectability(self._matrix, seen, tolerances=tolerances)
        sigma = self._covariance.times(self._mas)
        if self._local is not None and len(tolerances) == 1:
            stationary = self._covariance.like(self._mas, tuple(signals.shape[1:]))
            like = None if stationary is None else self._local.around(stationary)
        return detectability(
            lambda v: self.at.times_j(sigma(self.at.times_jt(v))), seen,
            tolerances=tolerances, like=like,
        )  # fmt: skip
