"""How equal two numbers of one series must be: as far as the format rounds them.

Scanners write one number in two ways within a series: 0.9765625 and 0.976562, -0.0087265 and
-0.00872653, 120 and 120.0. A decimal string has 16 characters, of which many leave a few digits.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["BINARY", "DECIMAL", "alike"]

DECIMAL = 1e-4
"""Relative rounding of numbers that are written as text (DS, IS)."""

BINARY = 1e-5
"""Relative rounding of binary numbers (FL, FD), which programs convert from one another."""


def alike(
    ours: Sequence[float], theirs: Sequence[float], *, rounding: float = DECIMAL, least: float = 0.0
) -> bool:
    """Whether two lists are the same numbers, but for how they are written.

    Parameters
    ----------
    ours, theirs : sequence of float
        In the same order.
    rounding : float
        Relative difference that is allowed.
    least : float
        Smaller numbers count as large as this: 1 for cosines, whose zeros are rounded, too.

    Examples
    --------
    >>> from recon.dicom.alike import alike
    >>> alike([0.9765625], [0.976562]), alike([0.9765625], [0.9785])
    (True, False)
    >>> alike([1.0, 0.0], [1.0, 1e-6]), alike([1.0, 0.0], [1.0, 1e-6], least=1.0)
    (False, True)
    """
    return len(ours) == len(theirs) and all(
        abs(a - b) <= rounding * max(abs(a), abs(b), least) for a, b in zip(ours, theirs)
    )
