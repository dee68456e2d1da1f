"""Apodisation windows of the ramp filter, and clinical kernels given by the resolution they reach.

A window is W(f/f_nyquist) with W(0) = 1. The Nyquist frequency is that of the rays at the
isocentre: ``src_det / (2·src_iso·col_pitch)`` for a fan.

A clinical kernel is a :class:`Kernel`: the spatial frequencies at which the modulation transfer
function (MTF) of the *image* has fallen to 50 % and to 10 %. The filter follows from it by dividing
out what the columns' width and the interpolations of the reconstruction take away
(:func:`recon.fbp.plan.chain_mtf`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..checks import positive
from ..errors import DataError

__all__ = ["KERNELS", "WINDOWS", "Kernel", "Window", "check_window", "window_response"]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A reconstruction kernel, known by the resolution of its images near the isocentre.

    Between and beyond the two given points, ``MTF(f) = 0.5^((f/mtf50)^k)``, with k such that it is
    10 % at ``mtf10``; k is about 2, a Gaussian, on most scanners (Nickoloff and Riley, Med. Phys.
    12:437, 1985).

    Parameters
    ----------
    mtf50, mtf10 : float
        Spatial frequencies [lp/cm] at which the MTF is 50 % and 10 %.

    Raises
    ------
    DataError
        If a frequency is not positive, or the second not above the first.

    Examples
    --------
    >>> import numpy as np
    >>> Kernel(mtf50=3.5, mtf10=5.9).mtf(np.array([0.0, 0.35, 0.59])).round(3).tolist()
    [1.0, 0.5, 0.1]
    """

    mtf50: float
    mtf10: float

    def __post_init__(self) -> None:
        for name in ("mtf50", "mtf10"):
            object.__setattr__(self, name, positive(name, getattr(self, name), "lp/cm"))
        if self.mtf10 <= self.mtf50:
            raise DataError(
                "the kernel's MTF rises",
                where="mtf10",
                expected=f"lp/cm above mtf50 = {self.mtf50:g}",
                got=f"{self.mtf10:g}",
            )

    def mtf(self, frequency: np.ndarray) -> np.ndarray:
        """MTF of the image at ``frequency`` [1/mm]."""
        power = math.log(math.log(10) / math.log(2)) / math.log(self.mtf10 / self.mtf50)
        return 0.5 ** ((10 * np.asarray(frequency) / self.mtf50) ** power)


Window = str | Kernel | Callable[[np.ndarray], np.ndarray]

WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ram-lak": np.ones_like,
    "shepp-logan": lambda f: np.sinc(f / 2),
    "cosine": lambda f: np.cos(np.pi * f / 2),
    "hann": lambda f: 0.5 * (1 + np.cos(np.pi * f)),
}
"""Names that ``A.fbp(p, window=...)`` takes; see Kak and Slaney, section 3.3."""

KERNELS: dict[str, Kernel] = {
    "smooth": Kernel(mtf50=3.5, mtf10=5.9),
    "medium": Kernel(mtf50=4.2, mtf10=6.8),
    "sharp": Kernel(mtf50=5.6, mtf10=9.4),
}
"""Clinical kernels by name, likewise.

"smooth" and "sharp" have the figures that are published for the Siemens kernels B30 (medium smooth)
and D45 (medium sharp) of the Mayo low-dose images: Nelson and Zeng (FDA), pediatric image quality
phantoms, make_CTP404.m, 2022. "medium" is a choice between the two, such that a detector without
a quarter offset resolves it as well.
"""


def check_window(window: Window) -> None:
    """Raise DataError unless ``window`` is a known name, a kernel or a callable."""
    named = isinstance(window, str) and (window in WINDOWS or window in KERNELS)
    if not (named or isinstance(window, Kernel) or callable(window)):
        raise DataError(
            "unknown window",
            where="window",
            expected=f"{', '.join(map(repr, (*WINDOWS, *KERNELS)))}, a Kernel, "
            "or a callable W(f/f_nyquist)",
            got=repr(window),
        )


def as_kernel(window: Window) -> Kernel | None:
    """Return the clinical kernel that ``window`` is or names, or None."""
    if isinstance(window, str):
        return KERNELS.get(window)
    return window if isinstance(window, Kernel) else None


def window_response(window: Window, frequency: np.ndarray) -> np.ndarray:
    """Values of a window at frequencies given as a share of the Nyquist frequency.

    Parameters
    ----------
    window : str or callable
        A name of :data:`WINDOWS`, or W(f/f_nyquist) that takes and returns an array.
    frequency : array of float, shape (n,)
        f/f_nyquist in [0, 1].

    Returns
    -------
    array of float64, shape (n,)

    Raises
    ------
    DataError
        If the name is unknown, or the callable gives another shape or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> window_response("hann", np.array([0.0, 0.5, 1.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    check_window(window)
    if as_kernel(window) is not None:
        raise DataError(
            "a clinical kernel is no function of f/f_nyquist alone",
            where="window",
            expected=", ".join(map(repr, WINDOWS)),
            got=repr(window),
            remedy="pass it to A.fbp, which knows the rays",
        )
    law = WINDOWS[window] if isinstance(window, str) else window
    response = np.asarray(law(frequency), dtype=np.float64)  # type: ignore[operator]
    if response.shape != frequency.shape or not np.isfinite(response).all():
        raise DataError(
            "the window is not usable",
            where="window",
            expected=f"{frequency.size} finite values",
            got=f"shape {response.shape}",
        )
    return response
