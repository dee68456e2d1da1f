# mypy: disable-error-code="call-arg, index, valid-type, var-annotated"
"""The ramp filter as an FFT along the detector, one image per SIMD lane.

Two views are the real and the imaginary part of one complex transform, since the filter's kernel is
real. The forward transform (decimation in frequency, radix 4) leaves the spectrum in digit-reversed
order, the response is kept in that order, and the inverse (its mirror image) restores the natural
one, so that nothing is ever reordered. See Van Loan, Computational Frameworks for the Fast Fourier
Transform (1992), chapters 1 and 2; the ramp's response is that of Kak and Slaney (1988), equation
61, see :func:`recon.fbp.plan.ramp_response`.

A view of ``n_t`` samples becomes ``n_fine`` samples at half their distance: those at whole steps by
one response, those half-way between them by the other one.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

from ..engine.machine_code import kernel
from ..engine.simd import add, fma, load, scale, store, sub, zero
from ..fbp.plan import FbpPlan, fine_responses
from ..fbp.windows import Window

__all__ = ["FilterTables", "Samples", "filter_tables", "filter_transpose", "filter_views"]

f32 = nb.float32
i64 = nb.int64


class FilterTables(NamedTuple):
    """Twiddle factors, and the responses at whole and half steps in digit-reversed order, (n, 2).

    The twiddle factors are ``exp(-2πi·k/n)``; the two columns are real and imaginary parts.
    """

    twiddle: f32[:, ::1]
    whole: f32[:, ::1]  # [1/mm], divided by n
    half: f32[:, ::1]


class Samples(NamedTuple):
    """How many views and samples there are."""

    views: i64
    n_t: i64  # samples of a view before the filter
    fine_first: i64  # where the first sample after it lies, in half steps from the first before it
    n_fine: i64  # samples of a view after the filter


def _digit_reversed(n: int) -> np.ndarray:
    """Frequency that the forward transform leaves at each place."""
    if n == 1:
        return np.zeros(1, np.int64)
    radix = 4 if n % 4 == 0 and n.bit_length() % 2 == 1 else 2
    inner = _digit_reversed(n // radix)
    return np.concatenate([radix * inner + first for first in range(radix)])


def _pairs(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.stack([values.real, values.imag], axis=1), dtype=np.float32)


def filter_tables(plan: FbpPlan, window: Window) -> FilterTables:
    """Return the tables of a plan and a window."""
    n = plan.n_fft
    whole, half = fine_responses(plan, window)
    half = half.copy()
    half[-1] = half[-1].real  # what a real signal can hold at the Nyquist frequency
    order = _digit_reversed(n)
    complete = [
        np.concatenate([part, np.conj(part[1:-1])[::-1]])[order] / n
        for part in (whole.astype(complex), half)
    ]
    twiddle = np.exp(-2j * np.pi * np.arange(n) / n)
    return FilterTables(_pairs(twiddle), _pairs(complete[0]), _pairs(complete[1]))


@nb.njit(inline="always")
def _turn(re, im, factor_re, factor_im):
    """The complex product of (re, im), one number in each lane, and one factor for all of them."""
    return (
        fma(scale(re, factor_re), im, -factor_im),
        fma(scale(im, factor_re), re, factor_im),
    )


@nb.njit
def _forward(tag, re, im, n, twiddle):
    """Transform n complex numbers (n·L) in place; the spectrum is in digit-reversed order."""
    width = i64(len(tag))
    size = n
    odd = True
    m = n
    while m > 1:  # halve n until 1 is left
        m //= 2
        odd = not odd
    # odd is true for a power of 4; otherwise one stage of radix 2 comes first
    if not odd:
        half = n // 2
        for j in range(half):  # pairs of samples, half the length apart
            p, q = j * width, (j + half) * width
            ar, ai, br, bi = load(tag, re, p), load(tag, im, p), load(tag, re, q), load(tag, im, q)
            store(re, p, add(ar, br))
            store(im, p, add(ai, bi))
            xr, xi = _turn(sub(ar, br), sub(ai, bi), twiddle[j, 0], twiddle[j, 1])
            store(re, q, xr)
            store(im, q, xi)
        size = half
    while size > 1:  # stages: four transforms of a quarter of the size from each
        quarter = size // 4
        step = n // size
        for block in range(0, n, size):  # blocks of samples
            for j in range(quarter):  # quadruples of samples, a quarter of the block apart
                p0 = (block + j) * width
                p1 = p0 + quarter * width
                p2 = p1 + quarter * width
                p3 = p2 + quarter * width
                ar, ai = load(tag, re, p0), load(tag, im, p0)
                br, bi = load(tag, re, p1), load(tag, im, p1)
                cr, ci = load(tag, re, p2), load(tag, im, p2)
                dr, di = load(tag, re, p3), load(tag, im, p3)
                sr, si, tr, ti = add(ar, cr), add(ai, ci), sub(ar, cr), sub(ai, ci)
                ur, ui, vr, vi = add(br, dr), add(bi, di), sub(br, dr), sub(bi, di)
                store(re, p0, add(sr, ur))
                store(im, p0, add(si, ui))
                w = j * step
                xr, xi = _turn(add(tr, vi), sub(ti, vr), twiddle[w, 0], twiddle[w, 1])
                store(re, p1, xr)
                store(im, p1, xi)
                xr, xi = _turn(sub(sr, ur), sub(si, ui), twiddle[2 * w, 0], twiddle[2 * w, 1])
                store(re, p2, xr)
                store(im, p2, xi)
                xr, xi = _turn(sub(tr, vi), add(ti, vr), twiddle[3 * w, 0], twiddle[3 * w, 1])
                store(re, p3, xr)
                store(im, p3, xi)
        size = quarter


@nb.njit
def _inverse(tag, re, im, n, twiddle):
    """Undo :func:`_forward`, but for the factor n, by its steps in reverse."""
    width = i64(len(tag))
    size = i64(4)
    while size <= n:  # stages: one transform of four times the size from four
        quarter = size // 4
        step = n // size
        for block in range(0, n, size):  # blocks of samples
            for j in range(quarter):  # quadruples of samples, a quarter of the block apart
                p0 = (block + j) * width
                p1 = p0 + quarter * width
                p2 = p1 + quarter * width
                p3 = p2 + quarter * width
                w = j * step
                ar, ai = load(tag, re, p0), load(tag, im, p0)
                br, bi = _turn(load(tag, re, p1), load(tag, im, p1), twiddle[w, 0], -twiddle[w, 1])
                cr, ci = _turn(
                    load(tag, re, p2), load(tag, im, p2), twiddle[2 * w, 0], -twiddle[2 * w, 1]
                )
                dr, di = _turn(
                    load(tag, re, p3), load(tag, im, p3), twiddle[3 * w, 0], -twiddle[3 * w, 1]
                )
                sr, si, tr, ti = add(ar, cr), add(ai, ci), sub(ar, cr), sub(ai, ci)
                ur, ui, vr, vi = add(br, dr), add(bi, di), sub(br, dr), sub(bi, di)
                store(re, p0, add(sr, ur))
                store(im, p0, add(si, ui))
                store(re, p1, sub(tr, vi))
                store(im, p1, add(ti, vr))
                store(re, p2, sub(sr, ur))
                store(im, p2, sub(si, ui))
                store(re, p3, add(tr, vi))
                store(im, p3, sub(ti, vr))
        size *= 4
    if size == 2 * n:  # not a power of 4: the stage of radix 2 comes last
        half = n // 2
        for j in range(half):  # pairs of samples, half the length apart
            p, q = j * width, (j + half) * width
            ar, ai = load(tag, re, p), load(tag, im, p)
            br, bi = _turn(load(tag, re, q), load(tag, im, q), twiddle[j, 0], -twiddle[j, 1])
            store(re, p, add(ar, br))
            store(im, p, add(ai, bi))
            store(re, q, sub(ar, br))
            store(im, q, sub(ai, bi))


@kernel
def filter_views(
    tag, room: f32[::1], first: i64, last: i64, views: f32[::1], samples: Samples,
    tables: FilterTables, filtered: f32[::1],
):  # fmt: skip
    """Views (K·t·L) to filtered views (K·fine·L): whole steps and the half-steps between them.

    Its tasks are pairs of views; the room is 4·n·L floats, with n the length of the transform.
    """
    width = i64(len(tag))
    count, n_t, fine_first, n_fine = samples
    n = len(tables.twiddle)
    part_size = n * width
    re, im = room[:part_size], room[part_size : 2 * part_size]  # the filtered signal
    sr, si = room[2 * part_size : 3 * part_size], room[3 * part_size :]  # the spectrum
    for pair in range(first, last):  # two parallel views a time
        k = 2 * pair
        two = k + 1 < count
        for m in range(n_t):  # samples along t
            store(sr, m * width, load(tag, views, (k * n_t + m) * width))
            if two:
                store(si, m * width, load(tag, views, ((k + 1) * n_t + m) * width))
            else:
                store(si, m * width, zero(tag))
        for m in range(n_t, n):  # zeros, so that the convolution does not come round
            store(sr, m * width, zero(tag))
            store(si, m * width, zero(tag))
        _forward(tag, sr, si, n, tables.twiddle)
        for part in range(2):  # whole steps, half steps
            table = tables.whole if part == 0 else tables.half
            for m in range(n):  # frequencies, in digit-reversed order
                xr, xi = _turn(
                    load(tag, sr, m * width), load(tag, si, m * width), table[m, 0], table[m, 1]
                )
                store(re, m * width, xr)
                store(im, m * width, xi)
            _inverse(tag, re, im, n, tables.twiddle)
            for f in range((part - fine_first) % 2, n_fine, 2):  # every other fine sample
                m = ((fine_first + f) // 2) % n
                store(filtered, (k * n_fine + f) * width, load(tag, re, m * width))
                if two:
                    store(filtered, ((k + 1) * n_fine + f) * width, load(tag, im, m * width))


@kernel
def filter_transpose(
    tag, room: f32[::1], first: i64, last: i64, filtered: f32[::1], samples: Samples,
    tables: FilterTables, views: f32[::1],
):  # fmt: skip
    """Transpose of :func:`filter_views`, with the same tasks and room."""
    width = i64(len(tag))
    count, n_t, fine_first, n_fine = samples
    n = len(tables.twiddle)
    part_size = n * width
    re, im = room[:part_size], room[part_size : 2 * part_size]  # the fine samples' signal
    sr, si = room[2 * part_size : 3 * part_size], room[3 * part_size :]  # the sum of spectra
    for pair in range(first, last):  # two parallel views a time
        k = 2 * pair
        two = k + 1 < count
        for m in range(n):  # samples along t, and zeros
            store(sr, m * width, zero(tag))
            store(si, m * width, zero(tag))
        for part in range(2):  # whole steps, half steps
            table = tables.whole if part == 0 else tables.half
            for m in range(n):  # the same, for this part
                store(re, m * width, zero(tag))
                store(im, m * width, zero(tag))
            for f in range((part - fine_first) % 2, n_fine, 2):  # every other fine sample
                m = ((fine_first + f) // 2) % n
                store(re, m * width, load(tag, filtered, (k * n_fine + f) * width))
                if two:
                    store(im, m * width, load(tag, filtered, ((k + 1) * n_fine + f) * width))
            _forward(tag, re, im, n, tables.twiddle)
            for m in range(n):  # frequencies, in digit-reversed order; the response's conjugate
                xr, xi = _turn(
                    load(tag, re, m * width),
                    load(tag, im, m * width),
                    table[m, 0],
                    -table[m, 1],
                )
                store(sr, m * width, add(load(tag, sr, m * width), xr))
                store(si, m * width, add(load(tag, si, m * width), xi))
        _inverse(tag, sr, si, n, tables.twiddle)
        for m in range(n_t):  # samples along t
            store(views, (k * n_t + m) * width, load(tag, sr, m * width))
            if two:
                store(views, ((k + 1) * n_t + m) * width, load(tag, si, m * width))
