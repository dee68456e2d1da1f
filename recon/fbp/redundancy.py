"""How much each ray of a scan counts that is neither half nor a full circle.

The ray (θ, t) is the same line as (θ + π, -t): view β and fan angle γ see it again from view
``β + π + 2γ``, and from every full turn later. A view counts c(β), which falls to zero towards both
ends of the scan as a squared sine over at most 20°, and a ray counts its share,
``w = c(β) / Σ c(β')`` over all views β' that see the same line. So the weights of a line sum to
one, and they are smooth along every filtered row: for the shortest scan, 180° plus the fan's
opening, Parker's conditions (Med. Phys. 9:254, 1982), and likewise for any longer one.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import DataError
from ..geometry import FanBeam, Geometry

__all__ = ["check_range", "redundancy_weights"]

_TAPER = math.radians(20.0)
_LEAST = 1e-6  # a view at the very end still counts where it is the only one


def check_range(geometry: Geometry, step: float) -> None:
    """Raise DataError if views ``step`` [rad] apart miss some line through the fan."""
    widest = float(np.abs(geometry.fan_angles).max()) if isinstance(geometry, FanBeam) else 0.0
    needed = math.pi + 2 * widest
    scanned = geometry.shape[0] * abs(step)
    # a view stands for the angles half a step to either side of it; one step more is forgiven
    if scanned + abs(step) < needed:
        raise DataError(
            "the angular range cannot be reconstructed",
            where="angles",
            expected=f"at least {math.degrees(needed):.4g}°"
            + (" (180° and the fan's opening)" if widest else ""),
            got=f"{math.degrees(scanned):.4g}° in equal steps",
            remedy="measure more views, or fewer columns",
        )


def redundancy_weights(geometry: Geometry, step: float) -> np.ndarray:
    """Return the weight of each ray, (views, cols) or (views, 1), for views ``step`` [rad] apart.

    Examples
    --------
    >>> import numpy as np
    >>> from recon import ParallelBeam
    >>> beam = ParallelBeam(angles=np.radians(np.arange(0, 240, 10)), n_cols=4, col_pitch=1.0)
    >>> weights = redundancy_weights(beam, np.radians(10.0))[:, 0]
    >>> (weights[:6] + weights[18:]).round(12).tolist(), float(weights[10])
    ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 1.0)
    """
    views, pace = geometry.shape[0], abs(step)
    scanned = views * pace

    def count(place: np.ndarray) -> np.ndarray:
        inside = np.minimum(place, scanned - place)
        rise = np.sin(np.clip(inside / _TAPER, 0.0, 1.0) * math.pi / 2) ** 2
        return np.where(inside > 0, np.maximum(rise, _LEAST), 0.0)

    place = ((np.arange(views) + 0.5) * pace)[:, None]
    gamma = geometry.fan_angles if isinstance(geometry, FanBeam) else np.zeros(1)
    again = place + math.copysign(1.0, step) * (math.pi + 2 * gamma[None, :])
    turns = math.ceil(scanned / (2 * math.pi)) + 1
    total = np.zeros_like(again)
    for turn in range(-turns, turns + 1):
        for where in (place, again):
            total += count(where + 2 * math.pi * turn)
    return np.broadcast_to(count(place), total.shape) / total
