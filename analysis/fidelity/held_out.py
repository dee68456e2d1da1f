"""How well a sampler does on images that it was not trained on: one row of numbers a layer.

Every image is a window of a scan, and the denoiser sees it there.

A study looks at one image. Whether samples are drawn from the right distribution shows only over
many: the ranks of the truth, its coverage, and the spread at matched consistency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from scipy.stats import kstest
from torch import Tensor
from tqdm import tqdm

from ctxai import (
    InPlace,
    InvarianceModel,
    Model,
    PlacedModel,
    Redraw,
    Wiretap,
    active_dimensions,
    draw,
    near_null,
)
from recon import DataError, ImageGrid

from ..data.held_out import HeldOut
from ..numbers import apply, coverage, ideal_coverage, rms, sample_sd
from ..scanner.slices import patch_weight
from ..training.completeness import completeness
from .curve import DiversityCurve, diversity_curve
from .statistics import (
    deviation_by_scale,
    fixed_features,
    joint_rank,
    latent_figures,
    miss_relative_to_sd,
    noise_power_ratio,
    rank_histogram,
)

__all__ = ["TrueAnatomy", "held_out_fidelity"]

_CURVE = (2.0, 4.0, 8.0)  # in thirds of the tolerance in question, so that it is bracketed


@dataclass
class TrueAnatomy:
    """The sampler that nobody has: it knows the anatomy of x, and draws its noise again.

    Projected, its samples say how much images can vary at all while they keep what a layer sees.
    """

    wiretap: Wiretap
    shape: tuple[int, int]
    redraw: Redraw | None = None
    sampler: ClassVar[str] = "true anatomy, noise redrawn"
    domain: ClassVar[str] = "x"
    unit: ClassVar[str] = "HU"
    channels: ClassVar[int] = 1
    latent: ClassVar[int] = 1
    facts: ClassVar[dict[str, Any]] = {}

    def told_of(self, scans: Tensor, share: float = 1.0, own: Tensor | None = None) -> TrueAnatomy:
        """It knows the noise: what is drawn again is one of the scans ``(n, H, W)``."""
        return replace(self, redraw=_redraw_of(scans))

    def represent(self, x: Tensor) -> Tensor:
        """z = Φ(x)."""
        return self.wiretap.phi(x)

    def generate(self, v: Tensor, z: Tensor) -> Tensor:
        """As many redraws as there are v, ``(n, 1, H, W)`` [HU]."""
        return self.redraw(z.new_empty(self.shape), len(v), 0)[:, None]  # type: ignore[misc]


@torch.no_grad()
def held_out_fidelity(
    model: Model | TrueAnatomy,
    held_out: HeldOut,
    *,
    n: int = 24,
    tolerance_hu: float | None = 3.0,
    tolerance: float | None = None,
    looked_at: int = 8,
    exact: Callable[[int, PlacedModel], DiversityCurve] | None = None,
    seed: int,
    label: str | None = None,
) -> dict[str, Any]:
    """Numbers of one sampler of one layer over held-out images.

    Parameters
    ----------
    model : InvarianceModel, FlowModel or TrueAnatomy
        Of domain "x".
    held_out : HeldOut
        On the device of the model's networks.
    n : int
        Samples of each image.
    tolerance_hu, tolerance : float, optional
        Samples are projected to it, as in `ctxai.draw`; without either they are plain.
    looked_at : int
        Images, of the first, for which the near-null space, the τ–diversity curves and the noise
        power are measured too.
    exact : callable, optional
        Image and sampler in its place → curve of the exact conditional
        (`analysis.fidelity.exact`), at the output.
    seed : int
    label : str, optional
        Of a progress bar on stderr.

    Returns
    -------
    dict
        Medians and means over images; keys say what, with the unit [HU] or none.
    """
    if model.domain != "x":
        raise DataError("not a model of low-dose images", expected="domain 'x'", got=model.domain)
    height, width = held_out.x.shape[-2:]
    features = fixed_features((height, width)).to(held_out.x)
    rows: list[dict[str, float]] = []
    ranked: list[Tensor] = []
    given: list[Tensor] = []
    told: list[Tensor] = []
    bar = tqdm(range(len(held_out.x)), desc=label, disable=label is None, leave=False)
    for i in bar:
        x = held_out.x[i]
        known = _placed(model, held_out, i)
        redrawn = known.blend(held_out.redrawn[i])
        given.append(known.given(x[None, None]))
        told += known.model.told if isinstance(model, InvarianceModel) else ()
        found = draw(known, x, n=n, tolerance=tolerance, tolerance_hu=tolerance_hu, seed=seed + i)
        samples = found.images
        row = _distances(known, x, samples, redrawn) | {"pulled": float(found.n_pulled)}
        if i < looked_at:
            limit = float(found.tolerance) if found.tolerance is not None else None
            curve = exact(i, known) if exact is not None and limit is not None else None
            row |= _closely(known, x, samples, redrawn, limit, curve, seed=seed + i)
        rows.append(row)
        ranked.append(torch.einsum("fhw,nhw->nf", features, torch.cat([x[None], samples])))
    names = dict.fromkeys(name for row in rows for name in row)
    out: dict[str, Any] = {
        name: float(torch.tensor([row[name] for row in rows if name in row]).double().mean())
        for name in names
    }
    out["coverage, ideal"] = ideal_coverage(n)
    noise = [rms(sample_sd(redrawn)) for redrawn in held_out.redrawn]
    out["noise of x [HU]"] = float(torch.stack(noise).mean())
    if len(rows) >= 50:
        table = torch.stack(ranked)
        histogram = rank_histogram(table[:, 0], table[:, 1:], seed=seed)
        out["rank histograms, smallest χ² p"] = float(histogram.p.min())
        out["rank histograms with p > .01"] = int((histogram.p > 0.01).sum())
        out["ranks"] = histogram.counts.tolist()
    out["joint rank, p"] = float(kstest([row["joint rank"] for row in rows], "uniform").pvalue)
    if isinstance(model, InvarianceModel):
        scans = held_out.x[:, None]
        seen = model.condition(model.represent(scans))
        out |= completeness(model.vae, scans, seen, {"f": model.wiretap.f})
        if told:
            model = replace(model, noise=torch.cat(told))
        latents = latent_figures(model, torch.cat(given), scans, seed=seed)
        out["sd of v"], out["KS of v"] = latents.sd, latents.ks
        out["inversion error"] = latents.inversion
        if len(scans) > 1:
            out["active dimensions"] = active_dimensions(model.vae, scans, seen)
    return out


def _placed(model: Model | TrueAnatomy, held_out: HeldOut, image: int) -> PlacedModel:
    """The sampler for one scan, told of its noise, with the denoiser in its place."""
    place = InPlace(model.wiretap.f, held_out.place, held_out.scans[image])
    redrawn = held_out.redrawn[image]
    rows, cols = redrawn.shape[-2:]
    pixels = ImageGrid(shape=(rows, cols), spacing=(1.0, 1.0))
    weight = torch.from_numpy(patch_weight(pixels, pixels)).to(redrawn)
    if held_out.place.whole:
        weight = torch.ones_like(weight)
    told: Any = model.told_of(redrawn, held_out.shares[image], held_out.finer[image])
    return PlacedModel(told, place, weight, redraw=_redraw_of(redrawn))


def _distances(model: PlacedModel, x: Tensor, samples: Tensor, redrawn: Tensor) -> dict[str, float]:
    """How well the samples of one image keep its output and z, and how much they vary."""
    f, phi = model.wiretap.f, model.represent
    z, fx = phi(x[None, None]), apply(f, x)
    off = rms((phi(samples[:, None]) - z).flatten(1), dims=1).median()
    again = rms((phi(redrawn[:, None]) - z).flatten(1), dims=1).median()
    return {
        "consistency [HU]": float(rms(apply(f, samples) - fx).median()),
        "redrawn noise [HU]": float(rms(apply(f, redrawn) - fx).median()),
        "representation, relative to redrawn noise": float(off / again),
        "sd [HU]": float(rms(sample_sd(samples))),
        "miss relative to sd": miss_relative_to_sd(samples, x),
        "coverage": coverage(samples, x),
        "joint rank": joint_rank(x, samples),
        **{f"sd, {name} [HU]": sd for name, sd in deviation_by_scale(samples).items()},
    }


def _redraw_of(redrawn: Tensor) -> Any:
    """Fresh noise that is there already: again from the start if more is wanted."""
    return lambda x, n, seed: redrawn[torch.arange(n) % len(redrawn)].reshape(n, *x.shape)


def _closely(
    model: PlacedModel,
    x: Tensor,
    samples: Tensor,
    redrawn: Tensor,
    limit: float | None,
    exact: DiversityCurve | None,
    *,
    seed: int,
) -> dict[str, float]:
    """What is too dear to be measured for every image."""
    few = torch.cat([samples[:3] - x, redrawn[:1] - x])[:, None]
    seen = near_null(model.represent, x[None, None], few, draws=2, seed=seed)
    power = noise_power_ratio(samples, redrawn)
    row = {
        "near-null energy": float(seen.energy[:-1].mean()),
        "near-null energy of real noise": float(seen.energy[-1]),
        "near-null energy of white noise": seen.white_energy,
        "gain": float(seen.gain[:-1].mean()),
        "gain of white noise": seen.white_gain,
        "near-null dimension": seen.dimension,
        "noise power, lowest band": float(power[0]),
        "noise power, highest band": float(power[-1]),
    }
    if limit is not None:
        v = torch.randn(len(redrawn), model.latent, generator=torch.Generator().manual_seed(seed))
        plain = model.generate(v.to(x), model.represent(x[None, None]))[:, 0]
        steps = [limit * step / 3.0 for step in _CURVE]
        ours = diversity_curve(model.represent, x, plain, steps).sd_at(limit)
        reference = diversity_curve(model.represent, x, redrawn, steps).sd_at(limit)
        row["sd at matched consistency [HU]"] = ours
        row["sd of the reference [HU]"] = reference
        row["sd relative to the reference"] = ours / reference
        if exact is not None:
            row["sd of the exact conditional [HU]"] = exact.sd_at(limit)
            row["sd relative to the exact conditional"] = ours / exact.sd_at(limit)
    return row
