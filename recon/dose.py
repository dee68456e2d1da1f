"""Quantum and electronic noise in the projection domain: a scan at any exposure.

The detector reads ``y ~ Poisson(N0 e^-p) + N(0, σe²)`` quanta and reports ``p' = -ln(y/N0)``.
Noise-free line integrals are sampled from exactly this model; measured ones, which carry noise
already, receive only what a lower exposure adds to it.

A reading below :data:`FLOOR_QUANTA` has no meaningful logarithm and is set to it. Such a ray is
*starved*; :func:`starved_rays` says how many there are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from .dose_kernels import FLOOR_QUANTA, sample, starvation, thin
from .dose_torch import sample_on_device
from .errors import DataError
from .streams import stream_index

__all__ = [
    "ELECTRONIC_NOISE",
    "FLOOR_QUANTA",
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
    >>> from recon.dose import insert_noise
    >>> p = torch.full((2, 3), 2.0)
    >>> low = insert_noise(p, photons=1e5, dose_fraction=0.1, electronic_noise=3.0, seed=1)
    >>> bool((low - p).abs().max() < 0.2)
    True
    """
    fraction = _number("dose_fraction", dose_fraction)
    if not 0.0 < fraction <= 1.0:
        raise DataError(
            "dose fraction of a measured scan",
            where="dose_fraction",
            expected="a value above 0 and at most 1",
            got=dose_fraction,
            remedy="noise can be added to a measurement but not taken from it",
        )
    rays = _Rays(p, photons, electronic_noise, seed, first_view, image, draw)
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
    :func:`recon.dose_kernels.sample`; on the device of p.

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
    >>> from recon.dose import sample_transmission
    >>> p = torch.zeros(4, 1, 8)
    >>> noisy = sample_transmission(p, photons=1e4, electronic_noise=3.0, seed=1)
    >>> third = sample_transmission(p[2], photons=1e4, electronic_noise=3.0, seed=1, image=2)
    >>> bool((noisy[2] == third).all())
    True
    """
    rays = _Rays(p, photons, electronic_noise, seed, first_view, image, draw, first_ray)
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
    >>> from recon.dose import starved_rays
    >>> p = torch.tensor([[2.0, 30.0]])
    >>> round(starved_rays(p, photons=1e5, electronic_noise=0.0), 3)
    0.5
    """
    rays = _Rays(p, photons, electronic_noise, 0, 0, 0, 0)
    chance = rays.run(starvation, 1.0)
    return float(chance.double().mean())


class _Rays:
    """Line integrals with their quanta, as ``(images, views, rays)`` for the kernels."""

    def __init__(
        self,
        p: torch.Tensor,
        photons: Any,
        electronic_noise: float,
        seed: int,
        first_view: int,
        image: int,
        draw: int,
        first_ray: int = 0,
    ) -> None:
        self.p = _checked_line_integrals(p)
        n0 = _checked_photons(photons)
        self.sigma = _number("electronic_noise", electronic_noise)
        if not 0.0 <= self.sigma < math.inf:
            raise DataError(
                "electronic noise", where="electronic_noise", expected="σe ≥ 0", got=self.sigma
            )
        self.seed = stream_index("seed", seed, bits=64)
        self.stream = [
            stream_index(name, value)
            for name, value in (
                ("image", image),
                ("draw", draw),
                ("first_view", first_view),
                ("first_ray", first_ray),
            )
        ]
        # one value of N0 for all rows of the detector marks a scan (..., views, rows, cols)
        a_scan = n0.ndim >= 3 and n0.shape[-2] == 1 < p.shape[-2] and n0.shape[-1] == p.shape[-1]
        axis = p.ndim - (3 if a_scan else 2)
        self.shape = (
            math.prod(p.shape[:axis]),
            p.shape[axis],
            math.prod(p.shape[axis + 1 :]),
        )
        try:
            spread = np.broadcast_to(n0, tuple(p.shape)).reshape(self.shape)
        except ValueError:
            raise DataError(
                "quanta do not fit the line integrals",
                where="photons",
                expected=f"a shape that broadcasts to {tuple(p.shape)}",
                got=n0.shape,
                remedy="a scan passes photons[:, None, :]",
            ) from None
        self.spread = spread
        # the kernels walk the values where they lie: zero strides stand for the broadcast
        self.quanta = (n0 if np.shares_memory(n0, spread) else spread).reshape(-1)
        self.strides = tuple(stride // spread.itemsize for stride in spread.strides)

    def run(self, kernel: Any, fraction: float) -> torch.Tensor:
        p = self.p.detach().cpu().contiguous()
        out = torch.empty_like(p)
        kernel(
            p.numpy().reshape(self.shape),
            out.numpy().reshape(self.shape),
            self.quanta,
            self.strides,
            fraction,
            self.sigma,
            np.uint64(self.seed),
            *self.stream,
        )
        return out.to(self.p.device)

    def run_on_device(self) -> torch.Tensor:
        p = self.p.detach()
        # one image's quanta where all have the same, so that no more than they are moved
        quanta = self.spread[:1] if self.strides[0] == 0 else self.spread
        n0 = torch.from_numpy(np.ascontiguousarray(quanta)).to(p)
        found = sample_on_device(p.reshape(self.shape), n0, self.sigma, self.seed, *self.stream)
        return found.reshape(p.shape)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError("not a number", where=name, got=repr(value)) from None


def _checked_line_integrals(p: Any) -> torch.Tensor:
    if not isinstance(p, torch.Tensor) or p.dtype not in (torch.float32, torch.float64):
        raise DataError(
            "line integrals",
            where="p",
            expected="a floating-point torch tensor",
            got=p.dtype if isinstance(p, torch.Tensor) else type(p).__name__,
            remedy="wrap an array with torch.from_numpy",
        )
    if p.ndim < 2 or p.numel() == 0:
        raise DataError(
            "line integrals", where="p", expected="shape (..., views, cols)", got=tuple(p.shape)
        )
    low, high = (float(value) for value in torch.aminmax(p.detach()))
    if not (math.isfinite(low) and math.isfinite(high)) or low < -20.0:
        raise DataError(
            "line integrals are not attenuations",
            where="p",
            expected="finite values, not below -20",
            got=f"{low:.4g} to {high:.4g}",
        )
    return p


def _checked_photons(photons: Any) -> np.ndarray:
    if isinstance(photons, torch.Tensor):
        photons = photons.detach().cpu().numpy()
    try:
        n0 = np.ascontiguousarray(photons, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("quanta are not numbers", where="photons") from None
    if n0.size == 0 or not np.all((n0 > 0.0) & (n0 < 1e12)):
        raise DataError(
            "quanta per ray",
            where="photons",
            expected="positive finite numbers",
            got="no value" if n0.size == 0 else f"{n0.min():.4g} to {n0.max():.4g}",
        )
    return n0
