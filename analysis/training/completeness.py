"""What an autoencoder loses of images: a sampler in its latents cannot do better than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..numbers import rms

__all__ = ["SOFT_TISSUE", "completeness"]

SOFT_TISSUE = (-150.0, 200.0)
"""HU, after a mean over 5 × 5 pixels that takes the noise away."""

_MEAN = 5


@torch.no_grad()
def completeness(
    vae: Any,
    images: Tensor,
    condition: Tensor | None = None,
    denoisers: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> dict[str, float]:
    """Distance [HU] of images from what their latents give back, D(E(x)) with the posterior mean.

    Parameters
    ----------
    vae : object
        Anything with ``encode`` and ``decode``, as :class:`ctxai.VAE` has them.
    images : Tensor, (n, 1, H, W)
        [HU].
    condition : Tensor, optional
        What a conditional autoencoder is given.
    denoisers : mapping, optional
        Networks f by name, for ``‖f(D(E(x))) - f(x)‖``; for inputs of a network.

    Returns
    -------
    dict
        ``"rebuilt [HU]"``, ``"rebuilt, soft tissue [HU]"`` where there is any, and
        ``"rebuilt, change of NAME [HU]"``.

    Examples
    --------
    >>> import torch
    >>> from ctxai import LinearAutoencoder
    >>> from analysis.training.completeness import completeness
    >>> lossless = LinearAutoencoder(shape=(8, 8), scale=100.0)
    >>> completeness(lossless, 40 * torch.randn(3, 1, 8, 8))["rebuilt [HU]"] < 1e-3
    True
    """
    given = () if condition is None else (condition,)
    rebuilt = vae.decode(vae.encode(images, *given).loc, *given)
    off = rebuilt - images
    found = {"rebuilt [HU]": float(rms(off.flatten(), dims=1))}
    pad = _MEAN // 2
    level = torch.nn.functional.avg_pool2d(images, _MEAN, 1, pad, count_include_pad=False)
    soft = (level > SOFT_TISSUE[0]) & (level < SOFT_TISSUE[1])
    if bool(soft.any()):
        found["rebuilt, soft tissue [HU]"] = float(rms(off[soft], dims=1))
    for name, f in (denoisers or {}).items():
        change = f(rebuilt) - f(images)
        found[f"rebuilt, change of {name} [HU]"] = float(rms(change.flatten(), dims=1))
    return found
