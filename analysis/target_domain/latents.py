r"""Directions of meaning in the latent of an autoencoder.

For a direction u of the image, the latent moves by ``E(x_i + u) - E(x_i)`` at redrawn scans x_i;
their mean w is the direction in the latent. It is decoded again, ``D(z + w) - D(z)``, and held
against u: an autoencoder that cannot tell the direction keeps nothing of it. A ridge probe says
whether the latent of a noisy scan tells how far it was moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ctxai import InvarianceModel
from recon import DataError

from .directions import Direction

__all__ = ["LatentDirection", "latent_directions"]

_LEAST = 16  # scans: half of them teach the probe, the others test it
_RIDGE = 0.1  # of the mean diagonal


@dataclass(frozen=True)
class LatentDirection:
    """What a unit of something nameable does to the latent.

    Attributes
    ----------
    direction : Direction
    latent : Tensor, (latent,)
        Mean change of the latent, per unit.
    consistency : float
        Mean cosine of the changes at single scans with their mean; 1 if the direction is the same
        everywhere.
    decoded : Tensor, (H, W)
        What the decoder makes of it [HU per unit].
    kept : float
        ``⟨decoded, u⟩/⟨u, u⟩`` over the patch: 1 if the autoencoder keeps the direction.
    probe : float
        r² of a ridge probe on scans that it did not learn from, moved by up to a step each way.
    """

    direction: Direction
    latent: Tensor
    consistency: float
    decoded: Tensor
    kept: float
    probe: float

    def coordinates(self, change: Tensor) -> Tensor:
        """How many units changes of the latent (n, latent) lie along the direction (n,)."""
        return (change @ self.latent) / self.latent.square().sum().clamp_min(1e-30)


@torch.no_grad()
def latent_directions(
    model: InvarianceModel, scans: Tensor, directions: Sequence[tuple[Direction, Tensor, float]]
) -> list[LatentDirection]:
    """Directions of meaning in the latent of a model's autoencoder.

    Parameters
    ----------
    model : InvarianceModel
        Whose autoencoder represents the scans.
    scans : Tensor, (n, H, W)
        Redrawn scans of one anatomy [HU].
    directions : sequence of (Direction, Tensor, float)
        Each with its image in the patch (H, W) [HU per unit], and the step [units].

    Returns
    -------
    list[LatentDirection]

    Raises
    ------
    DataError
        If there are fewer than 16 scans.
    """
    if len(scans) < _LEAST:
        raise DataError("too few scans", where="scans", expected=f"{_LEAST}", got=len(scans))
    images = scans[:, None]
    at = model.encode(images, model.represent(images)).mean
    given = model.condition(model.represent(images[:1]))
    amounts = torch.linspace(-1.0, 1.0, len(scans)).to(scans)
    amounts = amounts[torch.randperm(len(scans), generator=torch.Generator().manual_seed(0))]
    found = []
    for direction, image, step in directions:
        moved = images + step * image
        change = (model.encode(moved, model.represent(moved)).mean - at) / step
        mean = change.mean(0)
        cosine = torch.nn.functional.cosine_similarity(change, mean[None]).mean()
        ends = torch.stack([at[0] + step * mean, at[0]])
        decoded = (
            model.vae.decode(ends)
            if given is None
            else model.vae.decode(ends, given.expand(2, *given.shape[1:]))
        )
        shown = (decoded[0] - decoded[1])[0] / step
        varied = images + (amounts * step)[:, None, None, None] * image
        latents = model.encode(varied, model.represent(varied)).mean
        found.append(
            LatentDirection(
                direction, mean, float(cosine), shown,
                float((shown * image).sum() / image.square().sum()), _probe(latents, amounts),
            )
        )  # fmt: skip
    return found


def _probe(latents: Tensor, amounts: Tensor) -> float:
    """r² of a ridge regression that learnt from the first half of the scans, on the other half."""
    half = len(latents) // 2
    centre = latents[:half].double().mean(0)
    known, new = latents[:half].double() - centre, latents[half:].double() - centre
    level = amounts[:half].double().mean()
    gram = known @ known.T
    shift = _RIDGE * gram.diagonal().mean().clamp_min(1e-30)
    dual = torch.linalg.solve(
        gram + shift * torch.eye(half).to(gram), amounts[:half].double() - level
    )
    told = new @ (known.T @ dual)
    pair = torch.stack([told, amounts[half:].double()])
    if float(told.std()) == 0.0:
        return 0.0
    return float(torch.corrcoef(pair)[0, 1].clamp_min(0.0) ** 2)
