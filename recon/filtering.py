"""From a sinogram to filtered parallel projections: the plan of every FBP backend.

A fan is rebinned to parallel beams (θ = β + γ, t = src_iso·sin γ): for each column the angle shifts
by a constant, so one cubic interpolation along the views and one along the columns do it. The two
opposite rays of a full circle are averaged. The ramp filter gives samples at half the ray distance
(band-limited interpolation), so that the linear interpolation of the backprojection costs no
resolution.
Kak and Slaney, Principles of Computerized Tomographic Imaging (1988), sections 3.3 and 3.4.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import DataError
from .geometry import FanBeam, Geometry, ImageGrid, ParallelBeam
from .windows import Window, window_response

__all__ = [
    "FbpPlan",
    "Rebinning",
    "cubic_weights",
    "fine_responses",
    "plan_fbp",
    "ramp_response",
]


@dataclass(frozen=True)
class Rebinning:
    """Two cubic interpolations that turn a full circle of fans into parallel beams.

    ``view_first`` (cols,) and ``view_weight`` (cols, 4): parallel view k takes the views
    ``k + view_first + 0…3`` (modulo the circle) of a column. ``col_first`` (2, t) and
    ``col_weight`` (2, t, 4): sample m takes ``col_first + 0…3`` of view k and of the opposite view;
    the weights hold the average of both. With an odd number of views no view has an opposite, and
    the second half of the tables is zero.
    """

    view_first: np.ndarray
    view_weight: np.ndarray
    col_first: np.ndarray
    col_weight: np.ndarray


@dataclass(frozen=True)
class FbpPlan:
    """Everything that one FBP needs besides the data.

    Parallel views at ``theta`` (K,) with ``n_t`` samples ``pitch`` [mm] apart, the first at
    ``t_first`` [mm]; after the filter ``n_fine`` samples pitch/2 apart, the first ``fine_first``
    half-steps from ``t_first``. ``n_fft``, a power of 2, is the length of the padded transform.
    """

    theta: np.ndarray
    n_t: int
    pitch: float
    t_first: float
    fine_first: int
    n_fine: int
    n_fft: int
    rebinning: Rebinning | None

    def pixel_lines(self, grid: ImageGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (a, b, c), each (K,): pixel (i, j) lies at fine sample ``a_k·j + b_k·i + c_k``."""
        step = self.pitch / 2
        origin = self.t_first + self.fine_first * step
        a = np.cos(self.theta) * grid.spacing[1] / step
        b = -np.sin(self.theta) * grid.spacing[0] / step
        c = (np.cos(self.theta) * grid.x[0] - np.sin(self.theta) * grid.y[0] - origin) / step
        return a, b, c


def cubic_weights(offset: np.ndarray) -> np.ndarray:
    """Lagrange weights of the samples 0, 1, 2, 3 at position ``offset``; shape (..., 4)."""
    x = np.asarray(offset, dtype=np.float64)
    return np.stack(
        [
            -(x - 1) * (x - 2) * (x - 3) / 6,
            x * (x - 2) * (x - 3) / 2,
            -x * (x - 1) * (x - 3) / 2,
            x * (x - 1) * (x - 2) / 6,
        ],
        axis=-1,
    )


def ramp_response(n_fft: int, pitch: float, window: Window) -> np.ndarray:
    """Transfer function of the ramp [1/mm] at the ``n_fft//2 + 1`` frequencies of a real FFT.

    It is the transform of the band-limited ramp sampled at the ray distance, ``h(0) = 1/4``,
    ``h(n) = -1/(πn)²`` for odd n (Kak and Slaney, equation 61), which has the right mean, times the
    window.
    """
    n = np.arange(n_fft)
    n = np.minimum(n, n_fft - n)
    kernel = np.zeros(n_fft)
    kernel[0] = 0.25
    odd = n % 2 == 1
    kernel[odd] = -1.0 / (np.pi * n[odd]) ** 2
    response = np.fft.rfft(kernel).real / pitch
    return response * window_response(window, np.arange(len(response)) / (n_fft / 2))


def fine_responses(plan: FbpPlan, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Transfer functions of the samples at the rays (real) and half-way between them (complex)."""
    whole = ramp_response(plan.n_fft, plan.pitch, window)
    return whole, whole * np.exp(1j * np.pi * np.arange(len(whole)) / plan.n_fft)


def _equal_steps(geometry: Geometry) -> float:
    """Angle between views, checked to be the same throughout."""
    angles = np.asarray(geometry.angles)
    if len(angles) < 4 or geometry.n_cols < 4:
        raise DataError(
            "too few rays for filtered backprojection",
            expected="at least 4 views and 4 columns",
            got=f"{len(angles)} and {geometry.n_cols}",
        )
    step = (angles[-1] - angles[0]) / (len(angles) - 1)
    if np.abs(np.diff(angles) - step).max() > 1e-3 * abs(step):
        raise DataError(
            "views are not equally spaced",
            where="angles",
            expected="one angle step throughout",
            got=f"steps from {np.diff(angles).min():.6g} to {np.diff(angles).max():.6g} rad",
        )
    return float(step)


def _check_range(geometry: Geometry, step: float, allowed: tuple[float, ...]) -> None:
    scanned = abs(step) * len(np.asarray(geometry.angles))
    if not any(abs(scanned - angle) < 1e-2 * abs(step) for angle in allowed):
        wanted = " or ".join(f"{math.degrees(angle):g}°" for angle in allowed)
        raise DataError(
            "the angular range cannot be reconstructed",
            where="angles",
            expected=f"{wanted} in equal steps, the end point left out",
            got=f"{math.degrees(scanned):.4g}°",
            remedy="short scans are not weighted here",
        )


def _rebin_columns(fan: FanBeam, t: np.ndarray, both: bool) -> tuple[np.ndarray, np.ndarray]:
    first, weight, seen = [], [], []
    for sign in (1.0, -1.0):
        gamma = np.arcsin(np.clip(sign * t / fan.src_iso, -1.0, 1.0))
        column = fan.column_of(gamma)
        base = np.clip(np.floor(column) - 1, 0, fan.n_cols - 4)
        first.append(base.astype(np.int64))
        weight.append(cubic_weights(column - base))
        # half a pixel beyond the last centre still belongs to the detector
        seen.append((column > -0.5) & (column < fan.n_cols - 0.5))
    share = np.stack([seen[0], seen[1] & both]).astype(np.float64)
    share /= np.maximum(share.sum(axis=0), 1.0)
    return np.stack(first), np.stack(weight) * share[..., None]


def plan_fbp(geometry: Geometry, grid: ImageGrid) -> FbpPlan:
    """Return the plan of an FBP of ``geometry`` on ``grid``.

    Raises
    ------
    DataError
        If the views are not a full circle in equal steps (half a circle for parallel beams).
    """
    step = _equal_steps(geometry)
    angles = np.asarray(geometry.angles)
    rebinning = None
    if isinstance(geometry, ParallelBeam):
        _check_range(geometry, step, (math.pi, 2 * math.pi))
        theta, pitch, n_t = angles, geometry.col_pitch, geometry.n_cols
        t_first = float(geometry.columns[0]) * pitch
    elif isinstance(geometry, FanBeam):
        _check_range(geometry, step, (2 * math.pi,))
        both = len(angles) % 2 == 0
        theta = angles[: len(angles) // 2] if both else angles
        pitch = geometry.col_pitch * geometry.src_iso / geometry.src_det
        edge = geometry.src_iso * math.sin(float(np.abs(geometry.fan_angles).max()))
        n_t = 2 * math.ceil(edge / pitch) + 2
        t_first = -(n_t - 1) / 2 * pitch
        shift = -geometry.fan_angles / step
        base = np.floor(shift) - 1
        col_first, col_weight = _rebin_columns(geometry, t_first + np.arange(n_t) * pitch, both)
        rebinning = Rebinning(
            view_first=base.astype(np.int64),
            view_weight=cubic_weights(shift - base),
            col_first=col_first,
            col_weight=col_weight,
        )
    else:
        raise DataError("unknown geometry", expected="FanBeam or ParallelBeam", got=geometry)
    # the fine samples that the grid asks for, with one to spare on either side
    corners = np.array([[grid.x[i], grid.y[j]] for i in (0, -1) for j in (0, -1)])
    reach = corners[:, :1] * np.cos(theta) - corners[:, 1:] * np.sin(theta)
    half = pitch / 2
    fine_first = math.floor((reach.min() - t_first) / half) - 1
    fine_last = math.ceil((reach.max() - t_first) / half) + 2
    # circular convolution stays linear while no lag exceeds half its length
    lag = max(fine_last // 2 + 1, n_t - fine_first // 2)
    return FbpPlan(
        theta=theta,
        n_t=n_t,
        pitch=pitch,
        t_first=t_first,
        fine_first=fine_first,
        n_fine=fine_last - fine_first + 1,
        n_fft=1 << (max(2 * lag, 16) - 1).bit_length(),
        rebinning=rebinning,
    )
