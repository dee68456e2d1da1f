"""Random numbers that belong to a ray, not to the thread that happens to compute it.

Every number is a pure function of *which* number it is: Philox4x32-10 (Salmon, Moraes, Dror and
Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11, 2011) encrypts the counter
``(ray, view, block, purpose)`` under a key made from ``(seed, image, draw)``. No state is carried
from one ray to the next, so a result depends neither on the number of threads nor on how the views
and images were divided into calls.

The functions are compiled for use inside kernels; they take and return plain integers and floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..checks import count

__all__ = ["philox4x32", "stream_index", "stream_key"]

_U32 = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@njit(cache=True, inline="never")
def philox4x32(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    """Four random 32-bit words for the 128-bit counter ``c0 … c3`` and the 64-bit key ``k0, k1``.

    Ten rounds of Philox4x32 (Salmon et al., SC11, 2011).

    Examples
    --------
    >>> from recon.dose.streams import philox4x32
    >>> [hex(word) for word in philox4x32(0, 0, 0, 0, 0, 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    x0, x1 = np.uint32(c0), np.uint32(c1)
    x2, x3 = np.uint32(c2), np.uint32(c3)
    key0, key1 = np.uint32(k0), np.uint32(k1)
    for _ in range(10):  # rounds of the cipher
        product0 = np.uint64(0xD2511F53) * np.uint64(x0)
        product1 = np.uint64(0xCD9E8D57) * np.uint64(x2)
        x0, x2 = (
            np.uint32(product1 >> _SHIFT) ^ x1 ^ key0,
            np.uint32(product0 >> _SHIFT) ^ x3 ^ key1,
        )
        x1, x3 = np.uint32(product1 & _U32), np.uint32(product0 & _U32)
        key0 = np.uint32(np.uint64(key0) + np.uint64(0x9E3779B9))
        key1 = np.uint32(np.uint64(key1) + np.uint64(0xBB67AE85))
    return x0, x1, x2, x3  # type: ignore[return-value]


@njit(cache=True)
def stream_key(seed: int | np.uint64, image: int, draw: int) -> tuple[int, int]:
    """Philox key of one noise realisation of one image: ``(image, draw)`` encrypted by ``seed``."""
    word = np.uint64(seed)
    low, high = word & _U32, word >> _SHIFT
    k0, k1, _, _ = philox4x32(image, draw, 0, 0, low, high)  # type: ignore[arg-type]
    return k0, k1


def stream_index(name: str, value: Any, *, bits: int = 32) -> int:
    """A seed or an index of the stream as an integer that fits its word, or a `DataError`.

    Examples
    --------
    >>> from recon.dose.streams import stream_index
    >>> stream_index("seed", 7, bits=64)
    7
    """
    return count(name, value, 0, 2**bits - 1)
