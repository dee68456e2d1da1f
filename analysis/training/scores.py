"""What trained networks achieve on images they were not trained on, kept beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ctxai import InvarianceModel, Model, active_dimensions, describe_noise, draw, pick_domain

from .completeness import completeness

__all__ = ["denoiser_figures", "model_figures", "vae_figures"]


@torch.no_grad()
def denoiser_figures(f: Any, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """Distance [HU] of held-out x and f(x) from y."""
    return {"rmse_x_hu": _rms(x - y), "rmse_fx_hu": _rms(f(x) - y)}


@torch.no_grad()
def vae_figures(
    vae: Any,
    images: torch.Tensor,
    condition: torch.Tensor | None = None,
    denoisers: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """What an autoencoder loses of held-out images [HU], and dimensions of the latent in use."""
    lost = completeness(vae, images, condition, denoisers)
    return {
        "rmse_hu": lost.pop("rebuilt [HU]"),
        **lost,
        "active_dimensions": int(active_dimensions(vae, images, condition)),
    }


@torch.no_grad()
def model_figures(
    model: Model,
    x: torch.Tensor,
    y: torch.Tensor,
    noise: torch.Tensor | None = None,
    *,
    images: int = 8,
    n: int = 24,
) -> dict[str, float]:
    """Spread of plain samples of held-out images, and for x how far they change the output [HU].

    A sampler that learnt from scans of many kinds is told of the noise of x. For a
    cINN also the likelihood of held-out latents.
    """
    figures = {}
    if noise is not None:
        model = replace(model, noise=describe_noise(noise[:, 0][None]))
    if isinstance(model, InvarianceModel):
        z = model.wiretap.phi(x)
        latent = model.encode(pick_domain((x, y), model.domain), z).mean
        v, log_det = model.cinn(latent, z, *model.told)
        figures["nll_per_dimension"] = (
            float((0.5 * v.square().sum(1) - log_det).mean()) / v.shape[1]
        )
        figures["rms_v"] = _rms(v)
    samples = torch.stack([draw(model, x[i], n=n, seed=i).images for i in range(images)])
    figures["sd_hu"] = float(samples.std(1).mean())
    if model.domain == "x":
        f, flat = model.wiretap.f, samples.reshape(-1, *x.shape[1:])
        change = f(flat).reshape(images, n, -1) - f(x[:images]).reshape(images, 1, -1)
        figures["consistency_hu"] = _rms(change)
    return figures


def _rms(batch: torch.Tensor) -> float:
    """Root mean square of a whole batch, to the last digit: it is part of what is sealed."""
    return float(batch.double().square().mean().sqrt())
