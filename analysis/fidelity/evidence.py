"""The evidence for a verdict, measured around one image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ctxai import (
    InvarianceModel,
    LocalJacobian,
    NearNull,
    PlacedModel,
    linearise,
    near_null,
    project_to_fibre,
)

from ..numbers import rms, sample_sd
from ..scanner.slice_scanner import derived_seed
from ..training.completeness import completeness
from .calibration import spread_error
from .statistics import LatentFigures, deviation_by_scale, latent_figures, noise_power_ratio
from .verdict import Evidence

__all__ = ["LayerEvidence", "Reference"]

_DEVIATIONS = 3  # samples whose deviation is looked at
_REFERENCE = 8  # redrawn scans that are projected for comparison
_PULLED = 0.15  # of them: one of eight pulled all the way to x lowers their sd by 6 %


@dataclass(frozen=True)
class Reference:
    """Scans of the true anatomy, projected to the same tolerance as the samples.

    A scan that had to be pulled towards x is nearer to x than the fibre asks for: where more than
    a few are, the spread of all of them says nothing of how wide samples should be.
    """

    sd: float  # [HU]
    change: float  # median ‖f(x̄) - f(x)‖ [HU]
    count: int
    tolerance: float  # [HU]
    pulled: int = 0  # of the count
    sd_error: float = 0.0  # relative standard error of the sd

    @property
    def converged(self) -> bool:
        """Whether samples may be judged by its spread."""
        return self.pulled <= _PULLED * self.count


class LayerEvidence:
    """What a layer hides around x, once for all sets of samples after it.

    Parameters
    ----------
    model : PlacedModel
        Its wiretap is the layer, in its place in the scan x; a cINN is also checked for normal
        latents.
    scans : Tensor, (n, H, W)
        The patch in further scans of the same anatomy [HU].
    layer : str
        Name of the layer, of which the seed is made.
    tolerance_hu : float, optional
        Of projected samples at the output; the reference is projected to the same.
    seed : int

    Attributes
    ----------
    noise : NearNull
        The near-null space, as redrawn and white noise show it.
    reference : Reference or None
    latents : LatentFigures or None
        Of the redrawn scans, each with its own z.
    active, latent : int or None, int
        Dimensions of the autoencoder's latent that are in use, and all of them.
    rebuilt : dict
        What the autoencoder loses of the redrawn scans, as `completeness` gives it; empty without
        an autoencoder.
    """

    def __init__(
        self,
        model: PlacedModel,
        scans: Tensor,
        *,
        layer: str,
        tolerance_hu: float | None,
        seed: int,
    ) -> None:
        self.model, self.x, self.redrawn = model, model.place.inside, model.blend(scans)
        self.seed = derived_seed(seed, f"near-null {layer}")
        at = linearise(model.represent, self.x[None, None])
        self._seen = LocalJacobian.of(at, tuple(self.x.shape)) or model.represent
        self.noise = self._near(self.redrawn[:2], draws=2)
        self.reference: Reference | None = None
        if model.wiretap.layer == "output" and tolerance_hu is not None:
            self.reference = self._reference(tolerance_hu)
        self.latents: LatentFigures | None = None
        self.active: int | None = None
        self.latent = model.latent
        self.rebuilt: dict[str, float] = {}
        if isinstance(trained := model.model, InvarianceModel):
            alone = scans[:, None]
            self.latents = latent_figures(trained, model.given(alone), alone, seed=self.seed)
            self.active = trained.facts.get("active_dimensions")
            given = trained.condition(trained.represent(alone))
            self.rebuilt = completeness(trained.vae, alone, given, {"f": trained.wiretap.f})

    def of(self, images: Tensor, *, projected: bool = False) -> Evidence:
        """Evidence about one set of samples (n, H, W) [HU]."""
        found = self._near(images[:_DEVIATIONS], draws=0, largest=self.noise.largest)
        varied = len(images) > 1  # one sample has no spread
        power, ratio, error = (), None, 0.0
        if varied and len(self.redrawn) > 1:
            power = tuple(noise_power_ratio(images, self.redrawn).tolist())
        reference = self.reference if varied and projected else None
        pulled = 0
        if reference is not None and not reference.converged:
            pulled = reference.pulled
        elif reference is not None and reference.sd:
            ratio = float(rms(sample_sd(images))) / reference.sd
            error = ratio * math.hypot(spread_error(images), reference.sd_error)
        return Evidence(
            energy=float(found.energy.mean()),
            gain=float(found.gain.square().mean().sqrt()),
            white_energy=self.noise.white_energy,
            white_gain=self.noise.white_gain,
            dimension=self.noise.dimension,
            entries=self.noise.entries,
            count=len(found.energy),
            noise_power=power,
            sd_ratio=ratio,
            sd_ratio_error=error,
            reference_pulled=pulled,
            reference_count=reference.count if reference is not None else 0,
            active=self.active,
            latent=self.latent,
            scales=deviation_by_scale(images) if varied else {},
            rebuilt_change=self.rebuilt.get("rebuilt, change of f [HU]"),
        )

    def _near(self, images: Tensor, *, draws: int, largest: float | None = None) -> NearNull:
        apart = images[rms(images - self.x) > 0]
        deviations = apart - self.x if len(apart) else torch.ones_like(self.x)[None]
        return near_null(
            self._seen, self.x[None, None], deviations[:, None], draws=draws, largest=largest,
            seed=self.seed,
        )  # fmt: skip

    def _reference(self, tolerance: float) -> Reference | None:
        starts = self.redrawn[:_REFERENCE, None]
        if len(starts) < 2:
            return None
        anchor = self.x[None, None]
        result = project_to_fibre(
            self.model.represent, starts, self.model.represent(anchor), tolerance=tolerance,
            anchor=anchor,
        )  # fmt: skip
        sd = float(rms(sample_sd(result.x[:, 0])))
        return Reference(
            sd, float(result.residual.median()), len(starts), tolerance,
            int(result.pulled.sum()), spread_error(result.x[:, 0]),
        )  # fmt: skip
