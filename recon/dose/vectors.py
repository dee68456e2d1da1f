"""Random words and elementary functions for a row of rays, in loops that fill SIMD lanes.

The functions are power series with IEEE operations alone, so that a value does not depend on where
in a row it stands, nor on the length of the machine's registers.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["exponential", "logarithm", "nearest", "normals", "row_normals", "row_words"]

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ROOT_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))
_LN2 = math.log(2.0)
_LN2_HIGH = float(np.float32(_LN2))
_LN2_LOW = _LN2 - _LN2_HIGH
_WHOLE = 1.5 * 2.0**52
_TURN = 2.0 * math.pi * 2.0**-32


@njit(cache=True, error_model="numpy")
def nearest(x: float) -> float:
    """The nearest whole number below 2^51: what follows the point does not fit beside 2^52."""
    return (x + _WHOLE) - _WHOLE


@njit(cache=True, error_model="numpy")
def row_words(first_ray, view, purpose, key, words):  # type: ignore[no-untyped-def]
    """Fill (4, rays) with `philox4x32` of the counters ``(ray, view, 0, purpose)`` of a row."""
    key0, key1 = np.uint64(key[0]), np.uint64(key[1])
    w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
    for r in range(words.shape[1]):  # rays
        x0, x1 = np.uint64(first_ray + r) & _LOW, np.uint64(view) & _LOW
        x2, x3 = np.uint64(0), np.uint64(purpose)
        a, b = key0, key1
        for _ in range(10):  # rounds of the cipher
            product0, product1 = np.uint64(0xD2511F53) * x0, np.uint64(0xCD9E8D57) * x2
            x0 = ((product1 >> _SHIFT) ^ x1 ^ a) & _LOW
            x2 = ((product0 >> _SHIFT) ^ x3 ^ b) & _LOW
            x1, x3 = product1 & _LOW, product0 & _LOW
            a, b = (a + np.uint64(0x9E3779B9)) & _LOW, (b + np.uint64(0xBB67AE85)) & _LOW
        w0[r], w1[r], w2[r], w3[r] = np.int64(x0), np.int64(x1), np.int64(x2), np.int64(x3)


@njit(cache=True, error_model="numpy")
def logarithm(x, out):  # type: ignore[no-untyped-def]
    """``out = ln x`` of positive normal numbers: ln 2^e + 2 artanh((m - 1)/(m + 1)), m² in ½…2."""
    bits = x.view(np.int64)
    power, mantissa = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    for i in range(len(x)):  # numbers, as 2^power times a mantissa
        power[i] = (bits[i] - _ROOT_HALF) >> 52
        mantissa[i] = bits[i] - (power[i] << 52)
    m = mantissa.view(np.float64)
    for i in range(len(x)):  # artanh as a power series
        s = (m[i] - 1.0) / (m[i] + 1.0)
        q = s * s
        series = 1.0 / 13.0 + q * (1.0 / 15.0)
        series = 1.0 / 9.0 + q * (1.0 / 11.0 + q * series)
        series = 1.0 / 5.0 + q * (1.0 / 7.0 + q * series)
        series = 1.0 + q * (1.0 / 3.0 + q * series)
        out[i] = float(power[i]) * _LN2 + 2.0 * s * series


@njit(cache=True, error_model="numpy")
def exponential(x, out):  # type: ignore[no-untyped-def]
    """``out = e^x`` for x from -700 to 700: 2^k times a power series."""
    power = np.empty(len(x), np.int64)
    for i in range(len(x)):  # numbers, as k·ln 2 plus a rest within half of it
        k = nearest(x[i] * (1.0 / _LN2))
        r = (x[i] - k * _LN2_HIGH) - k * _LN2_LOW
        series = 1.0 + r * (1.0 / 10.0) * (1.0 + r * (1.0 / 11.0) * (1.0 + r * (1.0 / 12.0)))
        series = 1.0 + r * (1.0 / 7.0) * (1.0 + r * (1.0 / 8.0) * (1.0 + r * (1.0 / 9.0) * series))
        series = 1.0 + r * (1.0 / 4.0) * (1.0 + r * (1.0 / 5.0) * (1.0 + r * (1.0 / 6.0) * series))
        out[i] = 1.0 + r * (1.0 + r * (1.0 / 2.0) * (1.0 + r * (1.0 / 3.0) * series))
        power[i] = (np.int64(k) + 1023) << 52
    scale = power.view(np.float64)
    for i in range(len(x)):  # times 2^k
        out[i] *= scale[i]


@njit(cache=True, error_model="numpy")
def normals(w0, w1, first, second):  # type: ignore[no-untyped-def]
    """Two independent N(0, 1) numbers from two words (Box and Muller, 1958)."""
    uniform = np.empty(len(w0))
    for i in range(len(w0)):  # pairs of normal numbers: the first word makes their radius
        uniform[i] = (float(w0[i]) + 0.5) * 2.0**-32
    radius, quarter = np.empty(len(w0)), np.empty(len(w0), np.int64)
    logarithm(uniform, radius)
    for i in range(len(w0)):  # the second word makes their angle: quarter turns and the rest
        radius[i] = math.sqrt(-2.0 * radius[i])
        quarter[i] = (w1[i] + (1 << 29)) >> 30
        uniform[i] = float(w1[i] - (quarter[i] << 30)) * _TURN  # within an eighth of a turn
    sine, cosine = np.empty(len(w0)), np.empty(len(w0))
    for i in range(len(w0)):  # power series of sine and cosine, within an eighth of a turn
        q = uniform[i] * uniform[i]
        series = 1.0 - q * (1.0 / 110.0) * (1.0 - q * (1.0 / 156.0))
        series = 1.0 - q * (1.0 / 20.0) * (
            1.0 - q * (1.0 / 42.0) * (1.0 - q * (1.0 / 72.0) * series)
        )
        sine[i] = radius[i] * uniform[i] * (1.0 - q * (1.0 / 6.0) * series)
        series = 1.0 - q * (1.0 / 90.0) * (1.0 - q * (1.0 / 132.0) * (1.0 - q * (1.0 / 182.0)))
        series = 1.0 - q * (1.0 / 12.0) * (
            1.0 - q * (1.0 / 30.0) * (1.0 - q * (1.0 / 56.0) * series)
        )
        cosine[i] = radius[i] * (1.0 - q * (1.0 / 2.0) * series)
    for i in range(len(w0)):  # radius times the sine of the whole angle
        value = sine[i] if quarter[i] & 1 else cosine[i]
        first[i] = value * float(1 - ((quarter[i] + 1) & 2))
    for i in range(len(w0)):  # radius times its cosine
        value = cosine[i] if quarter[i] & 1 else sine[i]
        second[i] = value * float(1 - (quarter[i] & 2))


@njit(cache=True, error_model="numpy")
def row_normals(first_ray, view, purpose, key, out):  # type: ignore[no-untyped-def]
    """Fill a row with N(0, 1) numbers: rays 2k and 2k + 1 share the block of words number k."""
    before = first_ray % 2  # 1 if the row begins with the second ray of a pair
    pairs = (before + len(out) + 1) // 2
    words = np.empty((4, pairs), np.int64)
    row_words(first_ray // 2, view, purpose, key, words)
    first, second = np.empty(pairs), np.empty(pairs)
    normals(words[0], words[1], first, second)
    for r in range(len(out)):  # rays
        place = before + r
        out[r] = second[place // 2] if place % 2 else first[place // 2]
