"""The noise model in torch operations, on the device of the tensor: what CUDA tensors get.

The random words and what is made of them are those of :func:`recon.dose.kernels.sample`. A number
differs from the CPU's where rounding does, now and then by one quantum.
"""

from __future__ import annotations

import math

import torch

from .kernels import EXACT_BELOW, FLOOR_QUANTA, MOST, QUANTA, Stream
from .streams import stream_key

__all__ = ["philox_words", "sample_on_device"]

_RAYS_AT_ONCE = 2**24
_LOW = 0xFFFFFFFF


def philox_words(
    ray: torch.Tensor, view: torch.Tensor, purpose: int, k0: torch.Tensor, k1: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four 32-bit words, as int64, for counters ``(ray, view, 0, purpose)`` and keys; broadcast.

    Examples
    --------
    >>> import torch
    >>> from recon.dose.on_gpu import philox_words
    >>> zero = torch.zeros(1, dtype=torch.int64)
    >>> [hex(int(word)) for word in philox_words(zero, zero, 0, zero, zero)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    x0, x1 = ray, view
    x2, x3 = torch.zeros_like(ray), torch.full_like(ray, purpose)
    for _ in range(10):  # rounds of the cipher
        # int64 products wrap, and their bits are those of the unsigned product
        product0, product1 = x0 * 0xD2511F53, x2 * 0xCD9E8D57
        x0, x2 = ((product1 >> 32) & _LOW) ^ x1 ^ k0, ((product0 >> 32) & _LOW) ^ x3 ^ k1
        x1, x3 = product1 & _LOW, product0 & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return x0, x1, x2, x3


def sample_on_device(
    p: torch.Tensor, quanta: torch.Tensor, sigma: float, stream: Stream
) -> torch.Tensor:
    """A measurement of each ray of p (images, views, rays); quanta broadcast to it."""
    _, views, rays = p.shape
    seed, image, draw, first_view, first_ray = stream
    ray = torch.arange(first_ray, first_ray + rays, device=p.device)[None, None, :]
    view = torch.arange(first_view, first_view + views, device=p.device)[None, :, None]
    out = torch.empty_like(p)
    step = max(1, _RAYS_AT_ONCE // (views * rays))
    for low in range(0, len(p), step):  # images, some at once
        part = p[low : low + step]
        keys = torch.tensor(
            [stream_key(seed, image + low + i, draw) for i in range(len(part))],
            dtype=torch.int64, device=p.device,
        )  # fmt: skip
        words = philox_words(ray, view, QUANTA, keys[:, 0, None, None], keys[:, 1, None, None])
        n0 = quanta[low : low + step] if len(quanta) > 1 else quanta
        y = _quanta(n0 * torch.exp(-part), words, sigma)
        out[low : low + step] = -torch.log(y.clamp(min=FLOOR_QUANTA) / n0)
    return out


def _quanta(mean: torch.Tensor, words: tuple[torch.Tensor, ...], sigma: float) -> torch.Tensor:
    """Poisson(mean) + N(0, σ²) from the four words of each ray."""
    radius = torch.sqrt(-2.0 * torch.log((words[0].to(mean.dtype) + 0.5) * 2.0**-32))
    angle = words[1].to(mean.dtype) * (2.0 * math.pi * 2.0**-32)
    z, root = radius * torch.cos(angle), torch.sqrt(mean)
    y = torch.floor(mean + root * z + (1 / 3 + z * z / 6) - (z / 36 + z**3 / 72) / root)
    few = mean < EXACT_BELOW
    if bool(few.any()):
        y[few] = _few_quanta(mean[few].double(), words[2][few], words[3][few]).to(y.dtype)
    return y + (sigma * radius) * torch.sin(angle)


def _few_quanta(mean: torch.Tensor, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Poisson numbers by inversion of the distribution function at a 52-bit uniform number."""
    uniform = (((high << 20) | (low >> 12)).double() + 0.5) * 2.0**-52
    term = torch.exp(-mean)
    total, count = term.clone(), torch.zeros_like(mean)
    for k in range(1, MOST + 1):  # counts, until their chances add up to the number
        above = uniform > total
        if not bool(above.any()):
            break
        count += above
        term *= mean / k
        total += term
    return count
