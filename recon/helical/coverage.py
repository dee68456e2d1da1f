"""Which slices, up to which pitch, a helix measures completely."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DataError
from .plan import HelicalPlan

__all__ = ["angles_that_see", "check_pitch", "complete_range"]

_STEPS = 65


def _lines(plan: HelicalPlan) -> tuple[np.ndarray, np.ndarray]:
    """Fan angles |γ| of lines through the field of view, and half their chord over ρ0."""
    rho = plan.geometry.src_iso
    t = np.linspace(0.0, plan.radius, _STEPS)
    return np.arcsin(t / rho), np.sqrt(plan.radius**2 - t**2) / rho


def _half_height(plan: HelicalPlan) -> float:
    """Half the height of the rows that have weight, all but the outermost, on the axis [mm]."""
    return (plan.geometry.n_rows - 2) / 2 * plan.geometry.row_width


def check_pitch(plan: HelicalPlan) -> None:
    """Refuse a scan that leaves gaps between opposite rays.

    A line at the fan angle γ is measured from both sides in turn, after π - 2γ and π + 2γ of
    the tube's rotation; a point that both see must lie within both fans, whose half heights there
    add up to the collimation times cos γ: complete up to the pitch ``2π cos γ / (π + 2γ)``.

    Raises
    ------
    DataError
        If the pitch is above that at the border of the field of view.
    """
    gamma, _ = _lines(plan)
    rows = 2 * _half_height(plan) / plan.geometry.collimation
    limits = rows * 2 * math.pi * np.cos(gamma) / (math.pi + 2 * gamma)
    pitch = plan.geometry.pitch
    if not pitch <= limits[-1]:
        enough = gamma[limits >= pitch]
        within = plan.geometry.src_iso * math.sin(float(enough[-1])) if len(enough) else 0.0
        raise DataError(
            "the pitch is too high for complete data",
            where="pitch",
            expected=f"at most {limits[-1]:.3f} for pixels {plan.radius:.0f} mm off the axis",
            got=f"{pitch:.3f}",
            remedy=f"reconstruct pixels within {within:.0f} mm" if within else None,
        )


def complete_range(plan: HelicalPlan) -> tuple[float, float]:
    """Lowest and highest slice whose every voxel is seen from 180° [mm]."""
    g = plan.geometry
    if plan.count < plan.half:
        raise DataError(
            "the scan is too short",
            expected="views over 180° and the fan's opening",
            got=f"{g.rotations * 360:.0f}°",
        )
    gamma, chord = _lines(plan)
    feed = abs(g.feed)
    # the first ray of each line comes up to π + γ after the first complete parallel view
    missing = feed * (math.pi + gamma) / (2 * math.pi) - _half_height(plan) * (
        np.cos(gamma) - chord
    )
    ends = []
    for number in (0, plan.count - 1):  # the first and the last parallel angle
        beta = plan.theta(np.array([number]), 0)
        ends.append(float(np.interp(beta, plan.states[0].angles, _heights(plan))[0]))
    low, high = min(ends), max(ends)
    margin = float(missing.max())
    return low + margin, high - margin


def _heights(plan: HelicalPlan) -> np.ndarray:
    """Height of the focal centre at the views of the first state [mm]."""
    return np.asarray(plan.geometry.z[plan.states[0].views])


def angles_that_see(plan: HelicalPlan, low: float, high: float) -> tuple[int, int]:
    """First and last + 1 of the parallel angles whose rays reach slices from low to high [mm]."""
    g = plan.geometry
    feed = abs(g.feed)
    off = max(float(np.abs(s.off).max()) for s in plan.states)
    # up to the far border of the field of view, and for rays measured earlier and later
    reach = _half_height(plan) * (1 + plan.radius / g.src_iso) + feed * off / (2 * math.pi)
    reach += 2 * g.row_width + float(np.abs(g.shift_z).max())
    beta = plan.theta(np.arange(plan.count), 0)
    height = np.interp(beta, plan.states[0].angles, _heights(plan))
    seen = np.flatnonzero((height >= low - reach) & (height <= high + reach))
    return (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
