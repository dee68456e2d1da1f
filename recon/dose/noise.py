"""Quantum and electronic noise in the projection domain: a scan at any exposure.

The detector reads ``y ~ Poisson(N0 e^-p) + N(0, σe²)`` quanta and reports ``p' = -ln(y/N0)``.
Noise-free line integrals are sampled from exactly this model; measured ones, which carry noise
already, receive only what a lower exposure adds to it.

A reading below :data:`FLOOR_QUANTA` has no meaningful logarithm and is set to it. Such a ray is
*starved*; :func:`starved_rays` says how many there are.
"""

from __future__ import annotations

from typing import Any

import torch

from ..checks import number
from ..errors import DataError
from .kernels import sample, starvation, thin
from .rays import Rays

__all__ = [
    "ELECTRONIC_NOISE",
    "insert_noise",
    "sample_transmission",
    "starved_rays",
]

ELECTRONIC_NOISE = 3.0
"""σe of a clinical detector [quanta]: σe² is 8 to 11, whatever the dose."""


def insert_noise(
    p: torch.Tensor,
    *,
    photons: Any,
    dose_fraction: float,
    electronic_noise: float,
    seed: int,
    first_view: int = 0,
    first_ray: int = 0,
    image: int = 0,
    draw: int = 0,
) -> torch.Tensor:
    """Measured line integrals as they would be at a fraction of their exposure.

    ``y_a = a·y + N(0, a(1-a)·y + (1-a²)·σe²)``, ``p_a = -ln(max(y_a, floor) / (a·N0))`` with
    ``y = N0·e^-p`` and the dose fraction ``a``. The measured reading has the variance ``N + σe²``;
    scaled by a it brings ``a²(N + σe²)``, and the second term adds what is missing to the
    ``a·N + σe²`` of the lower exposure. Two reductions in a row are distributed as one.

    Parameters
    ----------
    p : torch.Tensor
        Measured line integrals, ``(..., views, cols)``; leading elements are consecutive images.
        With photons of shape ``(..., views, 1, cols)``, the same for all rows of the detector,
        p is a scan ``(..., views, rows, cols)``.
    photons : array, tensor or float
        Quanta N0 per ray without an object, **at the exposure of p**; broadcast to p as in NumPy.
    dose_fraction : float
        a = mAs / mAs of p, above 0 and at most 1. At 1 the values of p come back bit for bit.
    electronic_noise : float
        σe, standard deviation of the electronic noise [quanta], the same at every exposure.
    seed : int
        Seed of the noise.
    first_view : int
        Number of the first view of p in its scan: a scan treated in pieces gets the noise that it
        gets in one.
    first_ray : int
        Likewise the number of the first ray of p in its view.
    image, draw : int
        Number of the first image of p, and of the noise realisation, in the stream of ``seed``.

    Returns
    -------
    torch.Tensor
        Line integrals at the lower exposure; shape, type and device of p. Divide photons and mAs
        by the same fraction to go on with them.

    Raises
    ------
    DataError
        If a fraction above 1 is asked for (noise cannot be taken away), or an argument is not
        usable (NaN, not positive, photons that do not broadcast to p).

    Examples
    --------
    >>> import torch
    >>> from recon import insert_noise
    >>> p = torch.full((2, 3), 2.0)
    >>> low = insert_noise(p, photons=1e5, dose_fraction=0.1, electronic_noise=3.0, seed=1)
    >>> bool((low - p).abs().max() < 0.2)
    True
    """
    fraction = number("dose_fraction", dose_fraction)
    if not 0.0 < fraction <= 1.0:
        raise DataError(
            "dose fraction of a measured scan",
            where="dose_fraction",
            expected="a value above 0 and at most 1",
            got=dose_fraction,
            remedy="noise can be added to a measurement but not taken from it",
        )
    rays = Rays(
        p, photons, electronic_noise, seed=seed, first_view=first_view, first_ray=first_ray,
        image=image, draw=draw,
    )  # fmt: skip
    if fraction == 1.0:
        return p.detach().clone()
    return rays.run(thin, fraction)


def sample_transmission(
    p: torch.Tensor,
    *,
    photons: Any,
    electronic_noise: float,
    seed: int,
    first_view: int = 0,
    first_ray: int = 0,
    image: int = 0,
    draw: int = 0,
) -> torch.Tensor:
    """One measurement of noise-free line integrals: the full noise model.

    ``y ~ Poisson(N0·e^-p) + N(0, σe²)``, ``p' = -ln(max(y, floor) / N0)``. Counts are sampled
    exactly below a mean of 50 and by their quantile's expansion above, see
    :func:`recon.dose.kernels.sample`; on the device of p.

    Parameters
    ----------
    p : torch.Tensor
        Noise-free line integrals, ``(..., views, cols)``; leading elements are consecutive images.
        With photons of shape ``(..., views, 1, cols)``, the same for all rows of the detector,
        p is a scan ``(..., views, rows, cols)``.
    photons : array, tensor or float
        Quanta N0 per ray without an object; broadcast to p as in NumPy.
    electronic_noise : float
        σe, standard deviation of the electronic noise [quanta].
    seed : int
        Seed of the noise.
    first_view : int
        Number of the first view of p in its scan.
    first_ray : int
        Number of the first ray of p in its view: some columns of a view get the noise that they get
        in the whole of it.
    image, draw : int
        Number of the first image of p, and of the noise realisation, in the stream of ``seed``.

    Returns
    -------
    torch.Tensor
        Noisy line integrals; shape, type and device of p.

    Raises
    ------
    DataError
        If an argument is not usable (NaN, not positive, photons that do not broadcast to p).

    Examples
    --------
    >>> import torch
    >>> from recon import sample_transmission
    >>> p = torch.zeros(4, 1, 8)
    >>> noisy = sample_transmission(p, photons=1e4, electronic_noise=3.0, seed=1)
    >>> third = sample_transmission(p[2], photons=1e4, electronic_noise=3.0, seed=1, image=2)
    >>> bool((noisy[2] == third).all())
    True
    """
    rays = Rays(
        p, photons, electronic_noise, seed=seed, first_view=first_view, first_ray=first_ray,
        image=image, draw=draw,
    )  # fmt: skip
    return rays.run(sample, 1.0) if rays.p.device.type == "cpu" else rays.run_on_device()


def starved_rays(p: torch.Tensor, *, photons: Any, electronic_noise: float) -> float:
    """Expected share of rays whose reading does not exceed the floor of one quantum.

    ``mean over rays of P(Poisson(N0·e^-p) + N(0, σe²) ≤ floor)``.

    Parameters
    ----------
    p : torch.Tensor
        Noise-free line integrals, ``(..., views, cols)``.
    photons : array, tensor or float
        Quanta N0 per ray without an object at the exposure in question; broadcast to p.
    electronic_noise : float
        σe [quanta].

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> import torch
    >>> from recon import starved_rays
    >>> p = torch.tensor([[2.0, 30.0]])
    >>> round(starved_rays(p, photons=1e5, electronic_noise=0.0), 3)
    0.5
    """
    rays = Rays(p, photons, electronic_noise)
    chance = rays.run(starvation, 1.0)
    return float(chance.double().mean())
