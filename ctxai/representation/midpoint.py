"""The midpoint rule for the ordinary differential equation of a flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["integrate"]


def integrate(velocity: Any, u: Tensor, *, steps: int) -> Tensor:
    """Solve du/dt = velocity(u, t) from t = 0 to 1 by the midpoint rule.

    Parameters
    ----------
    velocity : callable
        ``velocity(u, t)`` with a scalar tensor t; of the shape of u.
    u : Tensor
        Where to start.
    steps : int
        Equal steps; the error falls with their square.

    Examples
    --------
    >>> import torch
    >>> from ctxai.representation.midpoint import integrate
    >>> round(float(integrate(lambda u, t: u, torch.tensor(1.0), steps=100)), 3)
    2.718
    """
    length = 1.0 / steps
    for k in range(steps):
        t = torch.tensor(k * length).to(u)
        middle = u + 0.5 * length * velocity(u, t)
        u = u + length * velocity(middle, t + 0.5 * length)
    return u
