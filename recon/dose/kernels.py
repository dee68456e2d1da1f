"""The noise model ray by ray: what :mod:`recon.dose` runs over a batch of images.

Every kernel takes line integrals p and an array ``out`` ``(images, views, rays)``, the
:class:`Exposure` and what keys the random numbers, the :class:`Stream`. Its tasks, from ``first``
up to ``last``, are the views of all images; within a view, loops over the rays are kept apart, so
that they fill SIMD lanes. All readings are in quanta.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from .streams import stream_key
from .vectors import exponential, logarithm, nearest, normals, row_normals, row_words

__all__ = ["FLOOR_QUANTA", "Exposure", "Stream", "sample", "starvation", "thin"]

FLOOR_QUANTA = 1.0
"""Smallest reading [quanta] whose logarithm is taken; lower ones (also negative) are set to it."""


EXACT_BELOW = 50.0
"""Mean number of quanta below which the Poisson distribution is sampled exactly."""

QUANTA = 3
"""Purpose of the words that make a ray's quanta and electronic noise."""

MISSING = 1
"""Purpose of the words that make the noise which a lower exposure adds."""

SMALLEST = 1e-290
"""Chance that adds nothing to a sum; denormal numbers, far below, take a processor long."""

BESIDE = 64  # rays that are drawn side by side

MOST = 200  # P(count > 200) < 1e-50 for a mean of 50: ends the sum's rounding tail


class Exposure(NamedTuple):
    """What the rays are measured with; N0 lies in steps that are 0 where it is broadcast."""

    quanta: np.ndarray  # (n,) N0 without an object
    per_image: int  # places from one image's N0 to the next
    per_view: int
    per_ray: int
    fraction: float  # dose fraction a, of N0
    sigma: float  # σe, electronic noise [quanta]


class Stream(NamedTuple):
    """Which random numbers the rays get: those of this seed, from these numbers on."""

    seed: np.uint64
    image: int = 0
    draw: int = 0
    first_view: int = 0
    first_ray: int = 0


@njit(nogil=True, cache=True, error_model="numpy")
def sample(first, last, p, out, exposure, stream):  # type: ignore[no-untyped-def]
    """A measurement of each ray: Poisson quanta and electronic noise, from one block of words each.

    Two words make the normal numbers of the quanta and of the electronics, two the quanta of a ray
    with few of them: below 50 on average these are drawn exactly, by inversion. From 50 on their
    quantile is the normal one with two corrections, within 0.01 quanta (M. B. Giles, ACM Trans.
    Math. Softw. 42 (2016) 7, equation for Q_N2).
    """
    views, rays = p.shape[1:]
    quanta, per_image, per_view, per_ray, fraction, sigma = exposure
    for job in range(first, last):  # views
        i, v = job // views, job % views
        key = stream_key(stream.seed, stream.image + i, stream.draw)
        words = np.empty((4, rays), np.int64)
        row_words(stream.first_ray, stream.first_view + v, QUANTA, key, words)
        z, electronic = np.empty(rays), np.empty(rays)
        n0, mean, y = np.empty(rays), np.empty(rays), np.empty(rays)
        place, few_mean, drawn = np.empty(rays, np.int64), np.empty(rays), np.empty(rays)
        normals(words[0], words[1], z, electronic)
        for r in range(rays):  # quanta that set out, and the exponent of the transmission
            n0[r] = fraction * quanta[i * per_image + v * per_view + r * per_ray]
            y[r] = max(-float(p[i, v, r]), -700.0)
        exponential(y, mean)
        many_quanta(n0, z, mean, y)
        few = 0
        for r in range(rays):  # rays with few quanta: side by side, to be drawn again, exactly
            if mean[r] < EXACT_BELOW:
                place[few], few_mean[few] = r, mean[r]
                words[2, few], words[3, few] = words[2, r], words[3, r]
                few += 1
        few_quanta(few_mean[:few], words[2], words[3], drawn)
        for k in range(few):  # and back to their places
            y[place[k]] = drawn[k]
        reading(n0, sigma, electronic, y)
        logarithm(y, mean)
        for r in range(rays):  # from shares of N0 to line integrals
            out[i, v, r] = -mean[r]


@njit(cache=True, error_model="numpy")
def many_quanta(n0, z, mean, y):  # type: ignore[no-untyped-def]
    """Multiply the transmission in ``mean`` by n0, and set y to its Poisson quantile at z sd."""
    for r in range(len(y)):  # rays: from transmission to expected quanta
        mean[r] *= n0[r]
    for r in range(len(y)):  # rays: from expected to found quanta, a whole number
        root = math.sqrt(mean[r])
        cubic = z[r] * (1.0 / 36.0 + z[r] * z[r] * (1.0 / 72.0)) / root
        quantile = mean[r] + root * z[r] + (1.0 / 3.0 + z[r] * z[r] * (1.0 / 6.0)) - cubic
        y[r] = nearest(quantile - 0.5)


@njit(cache=True, error_model="numpy")
def reading(n0, sigma, electronic, y):  # type: ignore[no-untyped-def]
    """Add electronic noise to the quanta in y and make them shares of n0, above the floor."""
    for r in range(len(y)):  # rays, in quanta
        y[r] = max(y[r] + sigma * electronic[r], FLOOR_QUANTA)
    for r in range(len(y)):  # rays: from quanta to shares of N0
        y[r] /= n0[r]


@njit(cache=True, error_model="numpy")
def few_quanta(mean, high, low, count):  # type: ignore[no-untyped-def]
    """Poisson numbers by inversion of the distribution function, each at a 52-bit uniform number.

    Rays beside each other, which have about as many quanta, fill SIMD lanes and take as many steps
    as the one with the most: a step more finds that the sum is above the uniform number still.
    """
    n = len(mean)
    uniform, term, total = np.empty(n), np.empty(n), np.empty(n)
    for r in range(n):  # rays
        uniform[r] = (float((high[r] << 20) | (low[r] >> 12)) + 0.5) * 2.0**-52
        term[r], count[r] = -mean[r], 0.0
    exponential(term, total)
    for r in range(n):  # the chance of no quanta
        term[r] = total[r]
    for first in range(0, n, BESIDE):
        rays = slice(first, first + BESIDE)
        add_up(uniform[rays], mean[rays], term[rays], total[rays], count[rays])


@njit(cache=True, error_model="numpy")
def add_up(uniform, mean, term, total, count):  # type: ignore[no-untyped-def]
    """Count until the chances, term by term, add up to each uniform number."""
    for k in range(1, MOST, 4):  # counts, four of them without going back to memory
        above = 0
        shares = 1.0 / k, 1.0 / (k + 1), 1.0 / (k + 2), 1.0 / (k + 3)
        for r in range(len(uniform)):  # rays
            u, m, chance, below, found = uniform[r], mean[r], term[r], total[r], count[r]
            for share in shares:
                found += u > below
                chance = max(chance * (m * share), SMALLEST)
                below += chance
            above += u > below
            term[r], total[r], count[r] = chance, below, found
        if above == 0:
            break


@njit(nogil=True, cache=True, error_model="numpy")
def thin(first, last, p, out, exposure, stream):  # type: ignore[no-untyped-def]
    """Each measured ray at a fraction of its exposure: the noise that is missing, added.

    ``y_a = a·y + N(0, a(1-a)·y + (1-a²)·σe²)``, see :func:`recon.dose.noise.insert_noise`.
    """
    views, rays = p.shape[1:]
    quanta, per_image, per_view, per_ray, fraction, sigma = exposure
    quantum = fraction * (1.0 - fraction)
    electronic = (1.0 - fraction * fraction) * sigma * sigma
    for job in range(first, last):  # views
        i, v = job // views, job % views
        key = stream_key(stream.seed, stream.image + i, stream.draw)
        # without a sign: whether a place is counted from the end would be asked ray by ray
        place, step = np.uint64(i * per_image + v * per_view), np.uint64(per_ray)
        z, y, other = np.empty(rays), np.empty(rays), np.empty(rays)
        row_normals(stream.first_ray, stream.first_view + v, MISSING, key, z)
        for r in range(rays):  # exponent of the transmission
            y[r] = max(-float(p[i, v, r]), -700.0)
        exponential(y, other)
        for r in range(rays):  # quanta found, and those at the lower exposure as shares of its N0
            n0 = quanta[place + np.uint64(r) * step]
            found = n0 * other[r]
            found = fraction * found + math.sqrt(quantum * found + electronic) * z[r]
            y[r] = max(found, FLOOR_QUANTA) / (fraction * n0)
        logarithm(y, other)
        for r in range(rays):  # back to line integrals
            out[i, v, r] = -other[r]


@njit(nogil=True, cache=True, error_model="numpy")
def starvation(first, last, p, out, exposure, stream):  # type: ignore[no-untyped-def]
    """Chance of each ray to read no more than the floor."""
    views, rays = p.shape[1:]
    quanta, per_image, per_view, per_ray, fraction, sigma = exposure
    most = int(FLOOR_QUANTA + 8.0 * sigma)  # beyond 8 σe the electronic noise does not reach back
    below = np.ones(most + 1)
    for count in range(most + 1):  # quanta: chance that the electronics read them as the floor
        if sigma > 0.0:
            below[count] = 0.5 * math.erfc((count - FLOOR_QUANTA) / (sigma * math.sqrt(2.0)))
    for job in range(first, last):  # views
        i, v = job // views, job % views
        for r in range(rays):  # the Poisson chance of each count, times the electronics' chance
            n0 = fraction * quanta[i * per_image + v * per_view + r * per_ray]
            mean = n0 * math.exp(-p[i, v, r])
            term, total = math.exp(-mean), 0.0
            if mean < 4.0 * most + 100.0:  # above, P(count ≤ most) < 1e-25
                for count in range(most + 1):  # quanta up to the floor
                    total += term * below[count]
                    term *= mean / (count + 1.0)
            out[i, v, r] = total
