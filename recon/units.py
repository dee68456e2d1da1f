"""Hounsfield units and linear attenuation.

``HU = 1000 (µ - µ_water) / µ_water``, with µ in 1/mm. The functions take and return whatever
they are given (NumPy arrays, torch tensors, plain numbers) and are differentiable for tensors.
"""

from __future__ import annotations

from typing import TypeVar

from .errors import DataError

__all__ = ["AIR_HU", "hu_to_mu", "mu_to_hu"]

AIR_HU = -1000.0
"""CT number of vacuum; anything below it (padding, ringing) is no attenuation at all."""

T = TypeVar("T")


def _check(mu_water: float) -> float:
    if not 0.0 < float(mu_water) < 1.0:
        raise DataError(
            "water attenuation is not plausible",
            where="mu_water",
            expected="a value between 0 and 1 per mm (about 0.019 at 120 kV)",
            got=mu_water,
            remedy="divide a value in 1/cm by 10",
        )
    return float(mu_water)


def hu_to_mu(hu: T, mu_water: float) -> T:
    """Linear attenuation [1/mm] of a CT number [HU]: ``µ = µ_water (1 + HU/1000)``.

    Parameters
    ----------
    hu : array, tensor or float
        CT numbers [HU], any shape. Not clipped: -1000 gives 0, less gives a negative µ.
    mu_water : float
        Attenuation of water [1/mm].

    Raises
    ------
    DataError
        If ``mu_water`` is not between 0 and 1 per mm.

    Examples
    --------
    >>> from recon import hu_to_mu
    >>> float(hu_to_mu(0.0, 0.02))
    0.02
    """
    return (hu * 1e-3 + 1.0) * _check(mu_water)  # type: ignore[operator, return-value]


def mu_to_hu(mu: T, mu_water: float) -> T:
    """CT number [HU] of a linear attenuation [1/mm]; the inverse of :func:`hu_to_mu`.

    Examples
    --------
    >>> from recon import mu_to_hu
    >>> mu_to_hu(0.0, 0.02)
    -1000.0
    """
    return (mu / _check(mu_water) - 1.0) * 1000.0  # type: ignore[operator, return-value]
