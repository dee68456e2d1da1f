"""The evidence for a verdict, measured around one image and written to the table of a study."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ctxai import InvarianceModel, Model, NearNull, near_null, project_to_fibre

from ..numbers import collapse_alarm, rms, sample_sd
from ..runs.store import Study
from ..scanner.slice_scanner import derived_seed
from .statistics import BANDS, latent_figures, noise_power_ratio
from .verdict import Evidence

__all__ = ["LayerEvidence"]

_DEVIATIONS = 3  # samples whose deviation is looked at
_REFERENCE = 8  # redrawn scans that are projected for comparison


class LayerEvidence:
    """What a layer hides around x, once for all sets of samples after it.

    Parameters
    ----------
    study : Study
        Takes the rows.
    model : InvarianceModel or FlowModel
        Its wiretap is the layer; a cINN is also checked for normal latents.
    x : Tensor, (H, W)
        The low-dose image [HU].
    redrawn : Tensor, (n, H, W)
        Scans of the same anatomy with fresh noise [HU].
    layer : str
        Name of the layer in the table.
    tolerance_hu : float, optional
        Of projected samples at the output; the reference is projected to the same.
    seed : int
    """

    def __init__(
        self,
        study: Study,
        model: Model,
        x: Tensor,
        redrawn: Tensor,
        *,
        layer: str,
        tolerance_hu: float | None,
        seed: int,
    ) -> None:
        self.study, self.model, self.x, self.redrawn = study, model, x, redrawn
        self.layer, self.seed = layer, derived_seed(seed, f"near-null {layer}")
        self.reference_sd: float | None = None
        self.alarm: str | None = None
        noise = self._near(redrawn[:2], draws=2)
        self.white = noise
        self._space(noise)
        if model.wiretap.layer == "output" and tolerance_hu is not None:
            self._reference(tolerance_hu)
        if isinstance(model, InvarianceModel):
            self._latents(model)

    def of(self, images: Tensor, *, sampler: str, projected: bool = False) -> Evidence:
        """Evidence about one set of samples (n, H, W) [HU], with its rows."""
        found = self._near(images[:_DEVIATIONS], draws=1)
        evidence = Evidence(
            energy=float(found.energy.mean()),
            gain=float(found.gain.square().mean().sqrt()),
            white_energy=self.white.white_energy,
            white_gain=self.white.white_gain,
            dimension=self.white.dimension,
            entries=self.white.entries,
            alarm=self.alarm,
        )
        self._local(evidence.energy, evidence.gain, sampler, f"{len(found.energy)} samples")
        if len(images) > 1 and len(self.redrawn) > 1:
            self._spectrum(images, sampler)
        if projected and self.reference_sd and len(images) > 1:  # one sample has no spread
            ratio = float(rms(sample_sd(images))) / self.reference_sd
            evidence = replace(evidence, sd_ratio=ratio)
            self._add(
                "sd of x̄ relative to the reference", ratio, "1", sampler, "at least 0.8",
                "the reference: the true anatomy with redrawn noise, projected to the same τ",
            )  # fmt: skip
        return evidence

    def _near(self, images: Tensor, *, draws: int) -> NearNull:
        apart = images[rms(images - self.x) > 0]
        deviations = apart - self.x if len(apart) else torch.ones_like(self.x)[None]
        return near_null(
            self.model.represent, self.x[None, None], deviations[:, None], draws=draws,
            seed=self.seed,
        )  # fmt: skip

    def _add(
        self, quantity: str, value: float, unit: str, sampler: str, should_be: str, meaning: str
    ) -> None:
        self.study.add(
            quantity, value, unit, layer=self.layer, sampler=sampler, should_be=should_be,
            meaning=meaning,
        )  # fmt: skip

    def _local(self, energy: float, gain: float, sampler: str, of: str) -> None:
        reference = sampler in ("white noise", "noise redrawn")
        self._add(
            "near-null energy of x̄ - x", energy, "1", sampler,
            "the reference" if reference else "at least 0.5, and above white noise",
            f"share of the deviation where J stretches by less than a tenth of its most; {of}",
        )  # fmt: skip
        self._add(
            "gain ‖J(x̄ - x)‖/‖x̄ - x‖", gain, "z per HU", sampler,
            "the reference" if reference else "at most 0.2 at the output, below white noise",
            f"by how much the layer's representation follows the deviation; {of}",
        )  # fmt: skip

    def _space(self, noise: NearNull) -> None:
        self._add(
            "near-null dimension", noise.dimension, "dimensions", "white noise",
            f"of {noise.entries}; near 0 the layer is as good as injective",
            "directions that J stretches by less than a tenth of its most, estimated",
        )  # fmt: skip
        self._local(noise.white_energy, noise.white_gain, "white noise", "2 draws")
        self._local(
            float(noise.energy.mean()), float(noise.gain.square().mean().sqrt()),
            "noise redrawn", f"{len(noise.energy)} draws",
        )  # fmt: skip

    def _reference(self, tolerance: float) -> None:
        starts = self.redrawn[:_REFERENCE, None]
        if len(starts) < 2:
            return
        anchor = self.x[None, None]
        result = project_to_fibre(
            self.model.represent, starts, self.model.represent(anchor), tolerance=tolerance,
            anchor=anchor,
        )  # fmt: skip
        self.reference_sd = float(rms(sample_sd(result.x[:, 0])))
        name = "noise redrawn, projected"
        self._add(
            "sd of x̄", self.reference_sd, "HU", name, "the reference",
            f"spread of {len(starts)} scans of the true anatomy, projected to the same τ",
        )  # fmt: skip
        self._add(
            "‖f(x̄) - f(x)‖, median", float(result.residual.median()), "HU", name,
            f"at most {tolerance:.1f} HU", f"change of the output, over {len(starts)} scans",
        )  # fmt: skip

    def _spectrum(self, images: Tensor, sampler: str) -> None:
        ratio = noise_power_ratio(images, self.redrawn)
        for (low, high), value in zip(BANDS, ratio.tolist()):
            self._add(
                f"noise power of x̄ over that of x, {low:g} to {high:g} cycles/pixel", value, "1",
                sampler, "1 if samples vary as the noise does",
                "power of the deviations from the samples' mean, over that of redrawn scans",
            )  # fmt: skip

    def _latents(self, model: InvarianceModel) -> None:
        scans = self.redrawn[:, None]
        found = latent_figures(model, scans, scans, seed=self.seed)
        of = f"v of {len(scans)} scans with fresh noise, each with its own z"
        for quantity, value, should_be in (
            ("sd of v", found.sd, "1"),
            ("mean of v", found.mean, "0"),
            ("distance of v from N(0, 1), Kolmogorov–Smirnov", found.ks, "below 0.05"),
            ("inversion error of the cINN", found.inversion, "below 0.001"),
        ):
            self._add(quantity, value, "1", model.sampler, should_be, of)
        active = model.facts.get("active_dimensions")
        if active is not None:
            self.alarm = collapse_alarm(active, model.latent)
            self._add(
                "active dimensions of the autoencoder", active, "dimensions", model.sampler,
                f"of {model.latent}; near 0 it has collapsed and no two samples differ",
                "latent dimensions whose posterior mean varies over held-out images",
            )  # fmt: skip
