"""Invariances of several layers at once: the same v after each, plain and moved onto the fibre.

For one low-dose patch x the study samples x̄ given Φ(x) with one set of v for all layers, so that a
column of the picture differs by the layer alone, and measures whether the samples keep the output
at all, beside what drawing the noise of x again does to it, and beside another sampler's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from ctxai import Model, draw
from recon import DataError

from ..fidelity.evidence import LayerEvidence
from ..fidelity.verdict import judge_invariances
from ..numbers import Spread, apply, coverage, rms
from ..runs.rows import add_scan, patch_facts
from ..runs.store import Study
from ..scanner.slice_scanner import SliceScanner, derived_seed
from .rows import LayerSamples, add_layer, add_reference

__all__ = ["invariance_study"]

_CHUNK = 25
_SHOWN = 24  # samples whose outputs are kept for the pictures
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
    seed: int,
    progress: bool = True,
) -> Study:
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
    seed : int
        Of x, of v and of all noise.
    progress : bool
        Bars on stderr.

    Returns
    -------
    Study
        Arrays: ``slice``; ``y``, ``x``, ``fx`` (H, W); ``redrawn_distance`` (redraws,); for each
        layer ``layer-L/plain`` (n, H, W), ``layer-L/plain_distance`` (n,) and the outputs of the
        first samples ``layer-L/plain_output``; the same with "projected".

    Raises
    ------
    DataError
        If a count is less than 1, the models have latents of different sizes or sample targets.
    """
    count = n if projected is None else min(int(projected), n)
    for name, number in (("n", n), ("projected", count), ("redraws", redraws)):
        if number < 1:
            raise DataError("too few", where=name, expected="at least 1", got=number)
    if not models:
        raise DataError("no layer to sample", where="--layers")
    if any(model.domain != "x" for model in models.values()):
        raise DataError("not models of low-dose images", expected="domain 'x' for every layer")
    sizes = {(model.sampler, model.latent) for model in models.values()}
    if len(sizes) > len({sampler for sampler, _ in sizes}):
        raise DataError("the layers' latents differ, they cannot share v", got=sorted(sizes))

    any_model = next(iter(models.values()))
    f = any_model.wiretap.f
    x = scanner.low_dose(mas, seed=seed)[0]
    fx = apply(f, x)
    redrawn = scanner.redraw(x, redraws, seed, mas=mas)
    redrawn_distance = rms(apply(f, redrawn) - fx)
    reference = Spread.of(redrawn_distance)

    def normal(count: int, latent: int) -> Tensor:
        generator = torch.Generator().manual_seed(derived_seed(seed, "v"))
        return torch.randn(count, latent, generator=generator)

    study = Study("invariances", denoiser, float(mas), {})
    add_scan(study, x, scanner.y, fx)
    add_reference(study, redrawn, reference)
    arrays = {
        "y": scanner.y,
        "x": x,
        "fx": fx,
        "redrawn_distance": redrawn_distance,
    }
    verdicts = {}
    for layer, model in models.items():
        again = rms_features(model, redrawn, x).median()
        evidence = LayerEvidence(
            study, model, x, redrawn, layer=layer, tolerance_hu=tolerance_hu, seed=seed
        )
        tasks = [(True, model, job) for job in _jobs(model, n, count, tolerance_hu, tolerance)]
        if rival := (beside or {}).get(layer):
            few = min(n, _BESIDE)
            tasks += [
                (False, rival, job) for job in _jobs(rival, few, few, tolerance_hu, tolerance)
            ]
        for shown, sampled, job in tasks:
            key, number, relative, in_hu = job
            name = sampled.sampler + (", projected" if key == "projected" else "")
            samples = _sample(
                sampled, x, fx, normal(number, sampled.latent), redrawn, tolerance=relative,
                tolerance_hu=in_hu, seed=seed,
                label=f"{denoiser}, layer {layer}, {name}" if progress else None,
            )  # fmt: skip
            spread = Spread.of(samples.distance)
            ratio = float(samples.features.median() / again) if again > 0 else None
            limit = in_hu if in_hu is not None else reference.median
            add_layer(study, layer, name, samples, spread, limit, ratio, relative, x)
            if not shown:
                continue
            found = evidence.of(samples.images, sampler=name, projected=key == "projected")
            verdict = judge_invariances(
                spread,
                reference,
                covered=coverage(samples.images, x),
                tolerance_hu=in_hu,
                feature_ratio=None if sampled.wiretap.layer == "output" else ratio,
                feature_limit=relative or 1.0,
                evidence=found,
            )
            verdicts[f"{layer}, {key}"] = vars(verdict)
            study.add_verdict(vars(verdict), layer=layer, sampler=name)
            arrays[f"layer-{layer}/{key}"] = samples.images
            arrays[f"layer-{layer}/{key}_distance"] = samples.distance
            arrays[f"layer-{layer}/{key}_output"] = samples.outputs[:_SHOWN]
    study.facts = {
        "layers": list(models),
        "sampler": {layer: model.sampler for layer, model in models.items()},
        "n": n,
        "projected": count,
        "tolerance_hu": tolerance_hu,
        "tolerance": tolerance,
        "redraws": redraws,
        "seed": seed,
        "scan": scanner.facts(mas),
        "weights": {layer: dict(model.facts) for layer, model in models.items()},
        "verdicts": verdicts,
        "patch": patch_facts(scanner),
    }
    study.arrays = {name: array.cpu().numpy() for name, array in arrays.items()}
    study.arrays["slice"] = scanner.hu
    return study


def _jobs(
    model: Model, n: int, projected: int, tolerance_hu: float | None, tolerance: float | None
) -> Iterator[tuple[str, int, float | None, float | None]]:
    """What is sampled of a layer: key, number, tolerance relative to redrawn noise, and in HU."""
    yield "plain", n, None, None
    at_output = model.wiretap.layer == "output"
    if at_output and tolerance_hu is not None:
        yield "projected", projected, None, tolerance_hu
    elif not at_output and tolerance is not None:
        yield "projected", projected, tolerance, None


@torch.no_grad()
def rms_features(model: Model, images: Tensor, x: Tensor) -> Tensor:
    """‖Φ(image) - Φ(x)‖ of (n, H, W) images: the rms over the entries of z, (n,)."""
    z = model.represent(x[None, None])
    parts = images[:, None].split(_CHUNK)
    return torch.cat([rms((model.represent(part) - z).flatten(1), dims=1) for part in parts])


def _sample(
    model: Model,
    x: Tensor,
    fx: Tensor,
    v: Tensor,
    redrawn: Tensor,
    *,
    tolerance: float | None,
    tolerance_hu: float | None,
    seed: int,
    label: str | None,
) -> LayerSamples:
    """Samples for all v in chunks, with a bar."""
    known = replace(
        model, redraw=lambda image, count, _: _first(redrawn, count).reshape(count, *image.shape)
    )
    images, pulled = [], 0
    bar = tqdm(total=len(v), desc=label, disable=label is None, unit="sample", leave=False)
    with bar:
        for part in v.split(_CHUNK):
            samples = draw(
                known, x, n=len(part), v=part, tolerance=tolerance, tolerance_hu=tolerance_hu,
                seed=seed,
            )  # fmt: skip
            images.append(samples.images)
            pulled += samples.n_pulled
            bar.update(len(part))
    together = torch.cat(images)
    outputs = apply(model.wiretap.f, together)
    features = rms_features(model, together, x)
    return LayerSamples(together, outputs, rms(outputs - fx), features, pulled)


def _first(redrawn: Tensor, count: int) -> Tensor:
    """The first of the redraws, again from the start if more are wanted than there are."""
    return redrawn[torch.arange(count) % len(redrawn)]
