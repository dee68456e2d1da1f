"""What trained networks achieve on images they were not trained on, kept beside the weights."""

from __future__ import annotations

from typing import Any

import torch

from ctxai.data import pick_domain
from ctxai.representation.vae import VAE, active_dimensions
from ctxai.sampling.draw import draw
from ctxai.sampling.model import InvarianceModel, Model

__all__ = ["collapse_alarm", "denoiser_figures", "model_figures", "vae_figures"]

_FEW = 0.05  # of the latent: with fewer dimensions in use, samples are nearly all the same


@torch.no_grad()
def denoiser_figures(f: Any, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """Distance [HU] of held-out x and f(x) from y."""
    return {"rmse_x_hu": _rms(x - y), "rmse_fx_hu": _rms(f(x) - y)}


@torch.no_grad()
def vae_figures(
    vae: VAE, images: torch.Tensor, condition: torch.Tensor | None = None
) -> dict[str, float]:
    """Reconstruction error [HU] of held-out images, and dimensions of the latent in use."""
    rebuilt = vae.decode(vae.encode(images, condition).mean, condition)
    return {
        "rmse_hu": _rms(rebuilt - images),
        "active_dimensions": int(active_dimensions(vae, images, condition)),
    }


def collapse_alarm(active: int, latent: int) -> str | None:
    """What to say of an autoencoder that hardly uses its latent, None of one that does.

    Such an autoencoder can look perfect: latents are normal, the likelihood is high and the
    inversion exact, and no two samples differ.

    Examples
    --------
    >>> from analysis.training.scores import collapse_alarm
    >>> collapse_alarm(0, 128)
    'the autoencoder has collapsed: 0 of 128 dimensions are active; train with more free bits'
    >>> collapse_alarm(90, 128)
    """
    if active >= _FEW * latent:
        return None
    return (
        f"the autoencoder has collapsed: {active} of {latent} dimensions are active; "
        "train with more free bits"
    )


@torch.no_grad()
def model_figures(
    model: Model, x: torch.Tensor, y: torch.Tensor, *, images: int = 8, n: int = 24
) -> dict[str, float]:
    """Spread of plain samples of held-out images, and for x how far they change the output [HU].

    For a cINN also the likelihood of held-out latents.
    """
    figures = {}
    if isinstance(model, InvarianceModel):
        z = model.wiretap.phi(x)
        latent = model.encode(pick_domain((x, y), model.domain), z).mean
        v, log_det = model.cinn(latent, z)
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
