"""Hounsfield units and linear attenuation.

``HU = 1000 (µ - µ_water) / µ_water``, with µ in 1/mm. The functions take and return whatever
they are given (NumPy arrays, torch tensors, plain numbers) and are differentiable for tensors.
`hu_remark` says when numbers cannot be HU.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from .errors import DataError

__all__ = ["AIR_HU", "hu_remark", "hu_to_mu", "mu_to_hu"]

AIR_HU = -1000.0
"""CT number of vacuum; anything below it (padding, ringing) is no attenuation at all."""

_MEANS = -1100.0, 3100.0  # HU, of any image: air, and dense bone throughout
_ENOUGH = 1_000_000  # numbers that are looked at

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

    Returns
    -------
    as hu
        Attenuation [1/mm].

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

    Parameters
    ----------
    mu : array, tensor or float
        Attenuation [1/mm], any shape.
    mu_water : float
        Attenuation of water [1/mm].

    Returns
    -------
    as mu
        CT numbers [HU].

    Examples
    --------
    >>> from recon import mu_to_hu
    >>> mu_to_hu(0.0, 0.02)
    -1000.0
    """
    return (mu / _check(mu_water) - 1.0) * 1000.0  # type: ignore[operator, return-value]


def hu_remark(hu: Any) -> str | None:
    """What keeps numbers from being HU, in words with the number; None if nothing does.

    Nothing is said of a constant image, nor of one that might be the inside of a body.

    Parameters
    ----------
    hu : array
        An image or a volume.

    Returns
    -------
    str or None

    Examples
    --------
    >>> import numpy as np
    >>> from recon import hu_remark
    >>> print(hu_remark(np.linspace(0.0, 1.0, 64)))
    numbers from 0 to 1: scaled, or attenuations in 1/mm
    >>> print(hu_remark(np.linspace(0.0, 2200.0, 64)))
    numbers from 0 to 2200 without anything below water: stored ones, 1000 or 1024 above HU
    >>> print(hu_remark(np.linspace(-1024.0, 1500.0, 64)))
    None
    """
    values = np.asarray(hu, dtype=np.float32).ravel()
    values = values[:: max(1, values.size // _ENOUGH)]
    low, high, mean = float(values.min()), float(values.max()), float(values.mean(dtype=float))
    if -1.0 <= low < high <= 1.0:
        return f"numbers from {low:g} to {high:g}: scaled, or attenuations in 1/mm"
    if not _MEANS[0] <= mean <= _MEANS[1]:
        return f"a mean of {mean:.0f}, where air has -1000 HU and dense bone 3000"
    first, most = np.quantile(values, (0.01, 0.9))
    if first >= 0.0 and most > 700.0:  # body and air with an offset; no bone fills an image
        return (
            f"numbers from {low:g} to {high:g} without anything below water: stored ones, "
            "1000 or 1024 above HU"
        )
    return None
