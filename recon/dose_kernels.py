"""The noise model ray by ray, on all cores: what :mod:`recon.dose` runs over a batch of images.

Every kernel takes line integrals p and an array ``out`` ``(images, views, rays)``, the quanta N0 as
flat values with a stride for each of these axes (0 where they are broadcast), the dose fraction,
σe, and what keys the random numbers: seed, first image, draw, first view and first ray.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .streams import normal_pair, poisson, stream_key

__all__ = ["FLOOR_QUANTA", "sample", "starvation", "thin"]

FLOOR_QUANTA = 1.0
"""Smallest reading [quanta] whose logarithm is taken; lower ones (also negative) are set to it."""


@njit(parallel=True, cache=True, error_model="numpy")
def sample(p, out, quanta, strides, fraction, sigma, seed, image, draw, first_view, first_ray):  # type: ignore[no-untyped-def]
    """A measurement of each ray: Poisson quanta and electronic noise, drawn exactly."""
    images, views, rays = p.shape
    for job in prange(images * views):
        i, v = job // views, job % views
        k0, k1 = stream_key(seed, image + i, draw)
        view = first_view + v
        spare = 0.0
        for r in range(rays):
            ray = first_ray + r
            n0 = fraction * quanta[i * strides[0] + v * strides[1] + r * strides[2]]
            y = poisson(n0 * math.exp(-p[i, v, r]), ray, view, k0, k1)
            if sigma > 0.0:
                if r == 0 or ray % 2 == 0:
                    noise, spare = normal_pair(ray // 2, view, k0, k1)
                if ray % 2 == 1:
                    noise = spare
                y += sigma * noise
            out[i, v, r] = -math.log(max(y, FLOOR_QUANTA) / n0)


@njit(parallel=True, cache=True, error_model="numpy")
def thin(p, out, quanta, strides, fraction, sigma, seed, image, draw, first_view, first_ray):  # type: ignore[no-untyped-def]
    """Each measured ray at a fraction of its exposure: the noise that is missing, added."""
    images, views, rays = p.shape
    quantum = fraction * (1.0 - fraction)
    electronic = (1.0 - fraction * fraction) * sigma * sigma
    for job in prange(images * views):
        i, v = job // views, job % views
        k0, k1 = stream_key(seed, image + i, draw)
        view = first_view + v
        spare = 0.0
        for r in range(rays):
            ray = first_ray + r
            n0 = quanta[i * strides[0] + v * strides[1] + r * strides[2]]
            y = n0 * math.exp(-p[i, v, r])
            if r == 0 or ray % 2 == 0:
                noise, spare = normal_pair(ray // 2, view, k0, k1)
            if ray % 2 == 1:
                noise = spare
            y = fraction * y + math.sqrt(quantum * y + electronic) * noise
            out[i, v, r] = -math.log(max(y, FLOOR_QUANTA) / (fraction * n0))


@njit(parallel=True, cache=True, error_model="numpy")
def starvation(p, out, quanta, strides, fraction, sigma, seed, image, draw, first_view, first_ray):  # type: ignore[no-untyped-def]
    """Chance of each ray to read no more than the floor."""
    images, views, rays = p.shape
    last = int(FLOOR_QUANTA + 8.0 * sigma)  # beyond 8 σe the electronic noise does not reach back
    below = np.ones(last + 1)
    for count in range(last + 1):
        if sigma > 0.0:
            below[count] = 0.5 * math.erfc((count - FLOOR_QUANTA) / (sigma * math.sqrt(2.0)))
    for job in prange(images * views):
        i, v = job // views, job % views
        for r in range(rays):
            n0 = fraction * quanta[i * strides[0] + v * strides[1] + r * strides[2]]
            mean = n0 * math.exp(-p[i, v, r])
            term, total = math.exp(-mean), 0.0
            if mean < 4.0 * last + 100.0:  # above, P(count ≤ last) < 1e-25
                for count in range(last + 1):
                    total += term * below[count]
                    term *= mean / (count + 1.0)
            out[i, v, r] = total
