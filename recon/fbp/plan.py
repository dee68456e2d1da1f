"""From a sinogram to filtered parallel projections: the plan of every FBP backend.

A fan is rebinned to parallel beams (:mod:`recon.fbp.rebinning`). A scan that is neither half nor a
full circle has its rays weighted by how often they are measured (:mod:`recon.fbp.redundancy`). The
ramp filter gives samples at half the ray distance (band-limited interpolation), so that the linear
interpolation of the backprojection costs no resolution.
Kak and Slaney, Principles of Computerized Tomographic Imaging (1988), sections 3.3 and 3.4.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..geometry import FanBeam, Geometry, ImageGrid, ParallelBeam
from .rebinning import Rebinning, can_interleave, interpolation_mtf, rebin_tables
from .redundancy import check_range, redundancy_weights
from .windows import Kernel, Window, as_kernel, window_response

__all__ = [
    "FbpPlan",
    "chain_mtf",
    "fine_responses",
    "fine_samples",
    "interleaves",
    "plan_fbp",
    "ramp_response",
]

_LEAST_GAIN = 0.05  # of the chain; what it takes away beyond that is not given back


@dataclass(frozen=True)
class FbpPlan:
    """Everything that one FBP needs besides the data.

    The measured views of the scanner ``geometry``, times ``weights`` (views, cols) or (views, 1) if
    there are any, are followed by ``spare`` views of zeros and rebinned. The parallel views at
    ``theta`` (K,), each of which stands for ``share`` [rad] of the half circle, have ``n_t``
    samples ``pitch`` [mm] apart, the first at ``t_first`` [mm]; after the filter ``n_fine`` samples
    pitch/2 apart, the first ``fine_first`` half-steps from ``t_first``. ``n_fft``, a power of 2, is
    the length of the padded transform.
    """

    geometry: Geometry
    theta: np.ndarray
    share: float
    n_t: int
    pitch: float
    t_first: float
    fine_first: int
    n_fine: int
    n_fft: int
    rebinning: Rebinning | None
    weights: np.ndarray | None
    spare: int
    interleaved: bool

    def pixel_lines(self, grid: ImageGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (a, b, c), each (K,): pixel (i, j) lies at fine sample ``a_k·j + b_k·i + c_k``."""
        step = self.pitch / 2
        origin = self.t_first + self.fine_first * step
        a = np.cos(self.theta) * grid.spacing[1] / step
        b = -np.sin(self.theta) * grid.spacing[0] / step
        c = (np.cos(self.theta) * grid.x[0] - np.sin(self.theta) * grid.y[0] - origin) / step
        return a, b, c


def ramp_response(n_fft: int, pitch: float, window: Window) -> np.ndarray:
    """Transfer function of the ramp [1/mm] at the ``n_fft//2 + 1`` frequencies of a real FFT.

    It is the transform of the band-limited ramp sampled at the ray distance, ``h(0) = 1/4``,
    ``h(n) = -1/(πn)²`` for odd n (Kak and Slaney, equation 61), which has the right mean, times the
    window.
    """
    response = _ramp(n_fft, pitch)
    return response * window_response(window, np.arange(len(response)) / (n_fft / 2))


def _ramp(n_fft: int, pitch: float) -> np.ndarray:
    n = np.arange(n_fft)
    n = np.minimum(n, n_fft - n)
    kernel = np.zeros(n_fft)
    kernel[0] = 0.25
    odd = n % 2 == 1
    kernel[odd] = -1.0 / (np.pi * n[odd]) ** 2
    return np.fft.rfft(kernel).real / pitch


def _ray_pitch(geometry: Geometry) -> float:
    """Distance of neighbouring rays of one view at the isocentre [mm]."""
    if isinstance(geometry, FanBeam):
        return geometry.col_pitch * geometry.src_iso / geometry.src_det
    return geometry.col_pitch


def chain_mtf(plan: FbpPlan, frequency: np.ndarray) -> np.ndarray:
    """MTF near the isocentre of everything but the window, at ``frequency`` [1/mm], shape (n,).

    The product of the columns' width (as wide as their pitch), the interpolation along the columns
    and the linear interpolation of the backprojection.
    """
    pitch = _ray_pitch(plan.geometry)
    gain = np.abs(np.sinc(frequency * pitch)) * np.sinc(frequency * plan.pitch / 2) ** 2
    if isinstance(plan.geometry, FanBeam):
        t = plan.t_first + np.arange(plan.n_t) * plan.pitch
        t = t[np.abs(t) < pitch]
        gain = gain * interpolation_mtf(
            plan.geometry, t, frequency * pitch, interleave=plan.interleaved
        )
    return gain


def interleaves(geometry: Geometry, window: Window) -> bool:
    """Whether opposite rays are interleaved for this window: for a clinical kernel, where they can.

    All other windows end at the Nyquist frequency of one view, where averaging opposite rays is
    enough.
    """
    if as_kernel(window) is None or not isinstance(geometry, FanBeam):
        return False
    return can_interleave(geometry) and _spans(geometry, _equal_steps(geometry), 2 * math.pi)


def _kernel_response(plan: FbpPlan, kernel: Kernel) -> np.ndarray:
    nyquist = 1 / (2 * plan.pitch)
    if kernel.mtf10 / 10 > nyquist:
        raise DataError(
            "these rays do not resolve what the kernel asks for",
            where="window",
            expected=f"10 % of the MTF below {10 * nyquist:.3g} lp/cm",
            got=f"{kernel.mtf10:g} lp/cm",
            remedy="use a smoother kernel, or a full circle of an even number of views with the "
            "detector shifted by a quarter of a column",
        )
    frequency = np.arange(plan.n_fft // 2 + 1) / (plan.n_fft * plan.pitch)
    gain = np.maximum(chain_mtf(plan, frequency), _LEAST_GAIN)
    return _ramp(plan.n_fft, plan.pitch) * kernel.mtf(frequency) / gain


def fine_responses(plan: FbpPlan, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Transfer functions of the samples at the rays (real) and half-way between them (complex).

    Raises
    ------
    DataError
        If the window is not usable, or a clinical kernel is finer than the rays.
    """
    kernel = as_kernel(window)
    if kernel is None:
        whole = ramp_response(plan.n_fft, plan.pitch, window)
    else:
        whole = _kernel_response(plan, kernel)
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


def _spans(geometry: Geometry, step: float, angle: float) -> bool:
    """Whether views ``step`` apart make up this angle [rad], to a hundredth of a step."""
    return abs(abs(step) * geometry.shape[0] - angle) < 1e-2 * abs(step)


def fine_samples(low: float, high: float, t_first: float, n_t: int, pitch: float) -> dict[str, int]:
    """The fields of a plan that say which fine samples reach from ``low`` to ``high`` [mm]."""
    # one to spare on either side
    first = math.floor((low - t_first) / (pitch / 2)) - 1
    last = math.ceil((high - t_first) / (pitch / 2)) + 2
    # circular convolution stays linear while no lag exceeds half its length
    lag = max(last // 2 + 1, n_t - first // 2)
    n_fft = 1 << (max(2 * lag, 16) - 1).bit_length()
    return {"fine_first": first, "n_fine": last - first + 1, "n_fft": n_fft}


def plan_fbp(geometry: Geometry, grid: ImageGrid, *, interleave: bool = False) -> FbpPlan:
    """Return the plan of an FBP of ``geometry`` on ``grid``.

    Parameters
    ----------
    geometry : FanBeam or ParallelBeam
    grid : ImageGrid
    interleave : bool
        Sample the parallel beams at half the ray distance, from rays and opposite rays in turn; see
        :func:`interleaves`.

    Raises
    ------
    DataError
        If the views are not equally spaced, or less than 180° and the fan's opening.
    """
    if not isinstance(geometry, (FanBeam, ParallelBeam)):
        raise DataError("unknown geometry", expected="FanBeam or ParallelBeam", got=geometry)
    step = _equal_steps(geometry)
    angles = np.asarray(geometry.angles)
    views = len(angles)
    fan = isinstance(geometry, FanBeam)
    circle = _spans(geometry, step, 2 * math.pi) or (not fan and _spans(geometry, step, math.pi))
    if not circle:
        check_range(geometry, step)
    weights = None if circle else redundancy_weights(geometry, step)
    pitch = _ray_pitch(geometry) / (2 if interleave else 1)
    rebinning, spare, theta = None, 0, angles
    if isinstance(geometry, FanBeam):
        edge = geometry.src_iso * math.sin(float(np.abs(geometry.fan_angles).max()))
        n_t = 2 * math.ceil(edge / pitch) + 2
        t_first = -(n_t - 1) / 2 * pitch
        half = views // 2 if circle and views % 2 == 0 else 0
        theta = angles[:half] if half else angles
        if not circle:
            # parallel views before the first and after the last measured one see part of it
            reach = math.ceil(float(np.abs(geometry.fan_angles).max()) / abs(step)) + 3
            spare = 2 * reach
            k = np.arange(views + spare)
            theta = angles[0] + step * np.where(k < views + reach, k, k - len(k))
        rebinning = rebin_tables(
            geometry, step, t_first + np.arange(n_t) * pitch, half=half, interleave=interleave
        )
    else:
        n_t, t_first = geometry.n_cols, float(geometry.columns[0]) * pitch
    corners = np.array([[grid.x[i], grid.y[j]] for i in (0, -1) for j in (0, -1)])
    reach_t = corners[:, :1] * np.cos(theta) - corners[:, 1:] * np.sin(theta)
    return FbpPlan(
        geometry=geometry,
        theta=theta,
        share=math.pi / len(theta) if circle else abs(step),
        n_t=n_t,
        pitch=pitch,
        t_first=t_first,
        **fine_samples(reach_t.min(), reach_t.max(), t_first, n_t, pitch),
        rebinning=rebinning,
        weights=weights,
        spare=spare,
        interleaved=interleave,
    )
