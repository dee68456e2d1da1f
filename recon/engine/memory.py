"""Arrays that begin at a cache line.

A vector register holds a cache line of 64 bytes. NumPy's large arrays begin 16 bytes behind one, so
that each load of a register touches two: projections take a tenth longer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["aligned_empty", "aligned_zeros"]


def aligned_empty(shape: int | tuple[int, ...]) -> np.ndarray:
    """An array of float32 to be filled.

    Examples
    --------
    >>> aligned_empty((3, 16)).ctypes.data % 64
    0
    """
    empty: np.ndarray = torch.empty(shape, dtype=torch.float32).numpy()  # torch aligns its memory
    return empty


def aligned_zeros(shape: int | tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """An array of zeros, whose memory is there: pages that are asked for one by one are slow.

    Examples
    --------
    >>> aligned_zeros(3, np.uint16)
    array([0, 0, 0], dtype=uint16)
    """
    zeros: np.ndarray = torch.zeros(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype).numpy()
    return zeros
