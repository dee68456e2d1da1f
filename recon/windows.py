"""Apodisation windows of the ramp filter: W(f/f_nyquist), with W(0) = 1.

The Nyquist frequency is that of the rays at the isocentre: ``src_det / (2·src_iso·col_pitch)`` for
a fan.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .errors import DataError

__all__ = ["WINDOWS", "Window", "check_window", "window_response"]

Window = str | Callable[[np.ndarray], np.ndarray]

WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ram-lak": np.ones_like,
    "shepp-logan": lambda f: np.sinc(f / 2),
    "cosine": lambda f: np.cos(np.pi * f / 2),
    "hann": lambda f: 0.5 * (1 + np.cos(np.pi * f)),
}
"""Names that ``A.fbp(p, window=...)`` takes; see Kak and Slaney, section 3.3."""


def check_window(window: Window) -> None:
    """Raise DataError unless ``window`` is a known name or a callable."""
    if not callable(window) and not (isinstance(window, str) and window in WINDOWS):
        raise DataError(
            "unknown window",
            where="window",
            expected=f"{', '.join(map(repr, WINDOWS))} or a callable W(f/f_nyquist)",
            got=repr(window),
        )


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
    law = window if callable(window) else WINDOWS[window]
    response = np.asarray(law(frequency), dtype=np.float64)
    if response.shape != frequency.shape or not np.isfinite(response).all():
        raise DataError(
            "the window is not usable",
            where="window",
            expected=f"{frequency.size} finite values",
            got=f"shape {response.shape}",
        )
    return response
