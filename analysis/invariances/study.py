"""Invariances of several layers at once: the same v after each, plain and moved onto the fibre.

For one low-dose patch x the study samples x̄ given Φ(x) with one set of v for all layers, so that a
column of the picture differs by the layer alone, and measures whether the samples keep the output
at all, beside what drawing the noise of x again does to it, and beside another sampler's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from ctxai import REDRAWS, Model, PlacedModel, draw
from recon import DataError

from ..fidelity.calibration import coverage_error
from ..fidelity.evidence import LayerEvidence
from ..fidelity.verdict import SampleNumbers, judge_invariances
from ..numbers import Spread, apply, coverage, rms, sample_sd
from ..runs.scanned import Scanned, sampler_text
from ..scanner.slice_scanner import SliceScanner, derived_seed, seam_weight
from .result import InvarianceResult, LayerResult, SampleSet

__all__ = ["invariance_study"]

_CHUNK = 25
_BESIDE = 24  # samples of the other sampler


def invariance_study(
    models: Mapping[str, Model],
    scanner: SliceScanner,
    *,
    denoiser: str,
    mas: float,
    n: int = 250,
    projected: int | None = None,
    tolerance_hu: float | None = 3.0,
    tolerance: float | None = None,
    beside: Mapping[str, Model] | None = None,
    redraws: int = 32,
    differentiable: bool = True,
    seed: int,
    progress: bool = True,
) -> InvarianceResult:
    """Sample the invariances of each layer for one scan, and measure them.

    Parameters
    ----------
    models : mapping
        Layer → model of domain "x"; all of one denoiser. Those of one sampler share v.
    scanner : SliceScanner
        The slice, with the patch that x lies on.
    denoiser : str
        Name of f.
    mas : float
        Exposure of x [mAs].
    n : int
        Number of samples after each layer.
    projected : int, optional
        How many of them are also projected onto the fibre; all by default.
    tolerance_hu : float, optional
        At the output: largest rms of f(x̄) - f(x) of a projected sample [HU]; None projects none.
    tolerance : float, optional
        At other layers: largest ‖Φ(x̄) - z‖ of a projected sample in units of what redrawn noise
        gives; None projects none.
    beside : mapping, optional
        Layer → model with another sampler, of which 24 samples (or n, if that is less) are drawn
        for their numbers alone.
    redraws : int
        How often the noise of x is drawn again, for comparison.
    differentiable : bool
        Whether f has a Jacobian; without it no sample is projected, and what the layer hides is not
        looked at.
    seed : int
        Seed of x, of v and of all noise.
    progress : bool
        Bars on stderr.

    Returns
    -------
    InvarianceResult
        Arrays and numbers; `analysis.study_of` writes them down.

    Raises
    ------
    DataError
        If a count is less than 1, the models have latents of different sizes or sample targets.
    """
    count = n if projected is None else min(int(projected), n)
    for name, number in (("n", n), ("projected", count), ("redraws", redraws)):
        if number < 1:
            raise DataError("too few", where=name, expected="at least 1", got=number)
    _require_shared_v(models)
    f = next(iter(models.values())).wiretap.f
    scanned = Scanned.of(scanner, f, denoiser=denoiser, mas=mas, seed=seed)
    scans = scanner.redraw(redraws, seed, mas=mas)
    distance = rms(apply(scanned.f, scans) - scanned.fx)
    if not differentiable:
        tolerance_hu = tolerance = None
    work = _Work(
        scanned, scanner.place.of(scans), seam_weight(scanner),
        scanner.added_share(mas), scanner.finer_noise(mas), Spread.of(distance),
        tolerance_hu, tolerance, differentiable, seed, progress,
    )  # fmt: skip
    return InvarianceResult(
        scanned,
        redrawn_distance=distance,
        redrawn_sd=float(rms(sample_sd(work.scans))),
        layers=[
            work.layer(layer, model, n, count, beside=(beside or {}).get(layer))
            for layer, model in models.items()
        ],
        facts={
            "n": n,
            "projected": count,
            "tolerance_hu": tolerance_hu,
            "tolerance": tolerance,
            "redraws": redraws,
            "seed": seed,
        },
    )


def _require_shared_v(models: Mapping[str, Model]) -> None:
    """Refuse models that are none of low-dose images, or cannot share v."""
    if not models:
        raise DataError("no layer to sample", where="--layers")
    if any(model.domain != "x" for model in models.values()):
        raise DataError("not models of low-dose images", expected="domain 'x' for every layer")
    sizes = {(model.sampler, model.latent) for model in models.values()}
    if len(sizes) > len({sampler for sampler, _ in sizes}):
        raise DataError("the layers' latents differ, they cannot share v", got=sorted(sizes))


@dataclass(frozen=True)
class _Work:
    """The scan under study, and how its samples are drawn, compared and judged."""

    scanned: Scanned
    scans: Tensor  # of the same anatomy, in the patch
    weight: Tensor  # of the patch, at its border
    share: float  # of the noise's variance that scans vary by
    finer: Tensor  # noise of the patch that they do not vary by
    reference: Spread
    tolerance_hu: float | None
    tolerance: float | None
    differentiable: bool
    seed: int
    progress: bool

    def layer(
        self, layer: str, model: Model, n: int, projected: int, *, beside: Model | None
    ) -> LayerResult:
        """All sets of samples after a layer, and some of another sampler beside them."""
        placed, scans = self._placed(model), self.scans
        # the same redraws, and so the same reference, that a relative tolerance is a multiple of
        redrawn = placed.blend(_first(scans, REDRAWS))
        again = float(rms_features(placed, redrawn, self.scanned.x).median())
        evidence = None
        if self.differentiable:
            evidence = LayerEvidence(
                placed, scans, layer=layer, tolerance_hu=self.tolerance_hu, seed=self.seed
            )
        sets = self._sets(layer, placed, (n, projected), again, evidence, judged=True)
        few, other = min(n, _BESIDE), None if beside is None else self._placed(beside)
        others = self._sets(layer, other, (few, few), again, None) if other else []
        return LayerResult(layer, model.sampler, dict(model.facts), evidence, sets, others)

    def _placed(self, model: Model) -> PlacedModel:
        """A sampler with its denoiser in the scan."""
        told = model.told_of(self.scans, self.share, self.finer)
        return PlacedModel(told, self.scanned.f, self.weight)

    def _sets(
        self,
        layer: str,
        model: PlacedModel,
        counts: tuple[int, int],
        again: float,
        evidence: LayerEvidence | None,
        *,
        judged: bool = False,
    ) -> list[SampleSet]:
        """Plain samples, and samples projected to the tolerance, if one was asked for."""
        limit = self.tolerance_hu if _at_output(model) else self.tolerance
        return [
            self._set(layer, model, n, tolerance, again, evidence, judged=judged)
            for n, tolerance in zip(counts, [None] if limit is None else [None, limit])
        ]

    def _set(
        self,
        layer: str,
        model: PlacedModel,
        n: int,
        tolerance: float | None,
        again: float,
        evidence: LayerEvidence | None,
        *,
        judged: bool,
    ) -> SampleSet:
        """Draw one set, compare it with the scan, and judge it, if it is more than a comparison."""
        scanned, projected, at_output = self.scanned, tolerance is not None, _at_output(model)
        name = sampler_text(model.sampler, projected=projected)
        label = f"{scanned.denoiser}, layer {layer}, {name}" if self.progress else None
        images, pulled = self._sample(model, n, tolerance, label)
        outputs = apply(model.wiretap.f, images)
        distance = rms(outputs - scanned.fx)
        moved = rms_features(model, images, scanned.x).median()
        ratio = float(moved / again) if again > 0 else None
        numbers = SampleNumbers(
            Spread.of(distance),
            self.reference,
            covered=coverage(images, scanned.x),
            covered_error=coverage_error(images),
            tolerance_hu=tolerance if at_output else None,
            feature_ratio=None if at_output else ratio,
            feature_limit=1.0 if at_output else tolerance or 1.0,
            evidence=evidence.of(images, projected=projected) if evidence else None,
        )
        return SampleSet(
            model.sampler, projected, images, outputs, distance, pulled, ratio, numbers,
            judge_invariances(numbers) if judged else None,
        )  # fmt: skip

    def _sample(
        self, model: PlacedModel, n: int, tolerance: float | None, label: str | None
    ) -> tuple[Tensor, int]:
        """Samples for all v in chunks, with a bar; and how many were pulled towards x."""
        redrawn = model.blend(self.scans)
        known = replace(
            model,
            redraw=lambda image, count, _: _first(redrawn, count).reshape(count, *image.shape),
        )
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "v"))
        v = torch.randn(n, model.latent, generator=generator)
        bound = {"tolerance_hu" if _at_output(model) else "tolerance": tolerance}
        images, pulled = [], 0
        with tqdm(total=n, desc=label, disable=label is None, unit="sample", leave=False) as bar:
            for part in v.split(_CHUNK):
                samples = draw(known, self.scanned.x, n=len(part), v=part, seed=self.seed, **bound)
                images.append(samples.images)
                pulled += samples.n_pulled
                bar.update(len(part))
        return torch.cat(images), pulled


def _at_output(model: PlacedModel) -> bool:
    return model.wiretap.layer == "output"


@torch.no_grad()
def rms_features(model: PlacedModel, images: Tensor, x: Tensor) -> Tensor:
    """‖Φ(image) - Φ(x)‖ of (n, H, W) images: the rms over the entries of z, (n,)."""
    z = model.represent(x[None, None])
    parts = images[:, None].split(_CHUNK)
    return torch.cat([rms((model.represent(part) - z).flatten(1), dims=1) for part in parts])


def _first(redrawn: Tensor, count: int) -> Tensor:
    """The first of the redraws, again from the start if more are wanted than there are."""
    return redrawn[torch.arange(count) % len(redrawn)]
