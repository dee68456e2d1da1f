"""A result as a study of a run folder: facts, images, numbers by identifier, verdicts in words."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import singledispatch
from typing import Any

import numpy as np

from ..fidelity.evidence import LayerEvidence
from ..fidelity.statistics import deviation_by_scale
from ..fidelity.verdict import Check, Evidence, Verdict
from ..invariances.result import InvarianceResult, SampleSet
from ..lesions.lesion import FINE_HU
from ..numbers import Share, Spread, ideal_coverage, rms, sample_sd
from ..observers.ideal import auc
from ..projection_domain.result import PairResult
from ..projection_domain.stairs import Stairs
from ..runs.quantities import BY_ID, PARTS, STAGES, VERDICT
from ..runs.scanned import sampler_text
from ..runs.store import Study, sample_array
from ..target_domain.study import TargetResult
from .alterations import add_meaning, meaning_arrays, meaning_facts
from .decision import add_decision, add_yardstick, decision_facts, yardstick_facts
from .lost import add_chains, add_could_hide, lost_facts
from .pair_words import other_words, pair_words, part_names, question_and_done
from .wording import Words, sample_words, target_result_words

__all__ = ["study_of"]

_SHOWN = 24  # samples whose outputs are kept for the pictures
_REDRAWN, _WHITE = "noise redrawn", "white noise"
_LAYERS = dict(zip(STAGES, ("projections", "projections", "input", "output"), strict=True))


@singledispatch
def study_of(result: Any) -> Study:
    """A result of any of the studies as what is written of it.

    Arrays of every study: ``slice``; ``y``, ``x``, ``fx`` (H, W) [HU].

    Invariances: ``redrawn_distance`` (redraws,); for each layer ``layer-L/plain`` (n, H, W),
    ``layer-L/plain_distance`` (n,) and the outputs of the first samples ``layer-L/plain_output``;
    the same with "projected".

    The target domain: ``ybar`` and ``rescanned`` (n, H, W), ``xprime`` (n, draws, H, W),
    ``distance`` (n, draws), ``null_distance`` (null_groups, draws) [HU]; ``compatibility_p``,
    ``rays_d``, the same of its parts ``rays_d_noise``, ``rays_d_tissue`` and ``rays_d_organ``,
    ``telling_d``, ``lesion_likeness`` and, of the alteration of each ȳ, ``alteration_d``,
    ``alteration_p`` and ``alteration_shown`` (n,) [1].

    Two anatomies: ``ybar``, ``change``, ``signal``, ``output_signal`` and, of a lesion, ``hiding``
    (H, W) [HU]; the changes of the anatomy that move the output most or hide the largest lesion,
    ``worst`` and ``hidden``, with what they do to it, ``worst_output`` and ``hidden_output`` (H, W)
    [HU]; ``stages`` (4, parts), ``curve`` (4, n), ``tolerance_curve`` (3, n).

    Parameters
    ----------
    result : InvarianceResult, TargetResult or PairResult
        What a study returns.

    Returns
    -------
    Study
    """
    raise TypeError(f"no result of a study: {type(result).__name__}")


def _add_verdict(
    study: Study,
    verdict: Verdict,
    words: Words,
    *,
    layer: str = "output",
    sampler: str = "",
    **data: Any,
) -> dict[str, Any]:
    """Add a verdict as a row, 1 if it holds, else 0; returns its data and its words."""
    told = f"{words.label}: {words.sentence} {'; '.join(words.reasons)}"
    study.add(VERDICT, float(verdict.holds), layer=layer, sampler=sampler, words=told)
    return {
        **asdict(verdict),
        "checks": [_plain(check) for check in verdict.checks],
        "layer": layer,
        **data,
        **asdict(words),
    }


def _plain(check: Check) -> dict[str, Any]:
    """A check as plain values: None for an open end, and for what is not known."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in {**asdict(check), "name": BY_ID[check.id].name}.items()
    }


def _add_spread(study: Study, id: str, spread: Spread, **how: Any) -> None:
    for what, value in spread.named():
        study.add(f"{id}_{what}", value, **how)


@study_of.register
def _written(result: Study) -> Study:
    return result


@study_of.register
def _invariances(result: InvarianceResult) -> Study:
    layers = result.layers
    facts = {
        "layers": [layer.layer for layer in layers],
        "sampler": {layer.layer: layer.sampler for layer in layers},
        "weights": {layer.layer: layer.facts for layer in layers},
        "verdicts": {},
        **result.facts,
    }
    arrays = {"redrawn_distance": result.redrawn_distance}
    for layer in layers:
        for found in layer.sets:
            arrays |= _arrays(layer.layer, found)
    study = result.scanned.study("invariances", facts, arrays)
    redrawn = result.redrawn
    _add_spread(study, "redrawn_change", redrawn, sampler=_REDRAWN, count=redrawn.count)
    study.add("redrawn_sd", result.redrawn_sd, layer="input", sampler=_REDRAWN)
    for layer in layers:
        limit = result.facts["tolerance_hu"] or redrawn.median
        if layer.evidence is not None:
            _add_evidence(study, layer.layer, layer.sampler, layer.evidence, limit=limit)
        for found in [*layer.sets, *layer.beside]:
            _add_set(study, layer.layer, found)
    return study


def _arrays(layer: str, found: SampleSet) -> dict[str, Any]:
    """The images of a set by the names they are kept under."""
    parts = {"": found.images, "distance": found.distance, "output": found.outputs[:_SHOWN]}
    return {
        sample_array(layer, projected=found.projected, part=part): array
        for part, array in parts.items()
    }


def _add_evidence(
    study: Study, layer: str, sampler: str, found: LayerEvidence, *, limit: float
) -> None:
    """Rows about what a layer hides, and about the latents of a cINN."""
    noise, reference = found.noise, found.reference
    gain = float(noise.gain.square().mean().sqrt())
    study.add(
        "near_null_dimension", noise.dimension, layer=layer, sampler=_WHITE, entries=noise.entries
    )
    for of, energy, stretched, count in (
        (_WHITE, noise.white_energy, noise.white_gain, 2),
        (_REDRAWN, float(noise.energy.mean()), gain, len(noise.energy)),
    ):
        how: dict[str, Any] = {"layer": layer, "sampler": of, "reference": True, "count": count}
        study.add("near_null_energy", energy, **how)
        study.add("gain", stretched, **how)
    if reference is not None:
        how = {"layer": layer, "sampler": sampler_text(_REDRAWN, projected=True)}
        how |= {"count": reference.count, "limit": reference.tolerance}
        study.add("reference_sd", reference.sd, **how)
        study.add("reference_change_median", reference.change, **how)
        study.add("reference_pulled", reference.pulled, **how)
    how = {"layer": layer, "sampler": sampler}
    if found.latents is not None:
        how["count"] = len(found.redrawn)
        for name in ("sd", "mean", "ks"):
            study.add(f"latent_{name}", getattr(found.latents, name), **how)
        study.add("inversion_error", found.latents.inversion, **how)
    for name, id in (
        ("rebuilt [HU]", "autoencoder_error"),
        ("rebuilt, soft tissue [HU]", "autoencoder_error_soft"),
        ("rebuilt, change of f [HU]", "autoencoder_change"),
    ):
        if name in found.rebuilt:
            study.add(id, found.rebuilt[name], limit=limit, **how)
    if found.active is not None:
        study.add("active_dimensions", found.active, latent=found.latent, **how)


def _add_set(study: Study, layer: str, found: SampleSet) -> None:
    """Rows about one set of samples, with its verdict if it has one."""
    numbers, n = found.numbers, len(found.images)
    sampler = sampler_text(found.sampler, projected=found.projected)
    how: dict[str, Any] = {"layer": layer, "sampler": sampler}
    change, limit = numbers.consistency, numbers.tolerance_hu
    limit = numbers.redrawn.median if limit is None else limit
    _add_spread(study, "output_change", change, limit=limit, count=n, **how)
    if found.layer_ratio is not None:
        study.add("layer_change", found.layer_ratio, limit=numbers.feature_limit, **how)
    study.add("sample_sd", found.sd, **how)
    _add_scales(study, "sample_sd", found.images, **how)
    study.add(
        "coverage_of_x", numbers.covered, ideal=ideal_coverage(n), n=n, error=numbers.covered_error,
        **how,
    )  # fmt: skip
    if found.projected:
        study.add("samples_pulled", found.pulled, **how)
    if numbers.evidence is not None:
        _add_samples_evidence(study, numbers.evidence, **how)
    if found.verdict is not None:
        words = sample_words(numbers, found.verdict)
        key = f"{layer}, {'projected' if found.projected else 'plain'}"
        study.facts["verdicts"][key] = _add_verdict(
            study,
            found.verdict,
            words,
            projected=found.projected,
            numbers=_known(asdict(numbers)),
            **how,
        )


def _add_scales(study: Study, id: str, images: Any, **how: Any) -> None:
    """The spread of samples by what they differ in: noise, tissue, organs."""
    if len(images) > 1:
        for scale, sd in deviation_by_scale(images).items():
            study.add(f"{id}_{scale}", sd, **how)


def _add_samples_evidence(study: Study, found: Evidence, **how: Any) -> None:
    study.add("near_null_energy", found.energy, count=found.count, **how)
    study.add("gain", found.gain, count=found.count, **how)
    for band, power in enumerate(found.noise_power, 1):
        study.add(f"noise_power_band_{band}", power, **how)
    if found.sd_ratio is not None:
        study.add("relative_sd", found.sd_ratio, error=found.sd_ratio_error, **how)


@study_of.register
def _targets(result: TargetResult) -> Study:
    numbers, found = result.numbers, result.compatibility
    facts = {
        "layers": [result.layer],
        "sampler": result.sampler,
        "n": numbers.n,
        "draws": result.distance.shape[1],
        "sampled_at_mas": result.sampled_at_mas,
        "null_groups": len(result.null_distance),
        **decision_facts(result),
        **meaning_facts(result.meaning),
        **result.facts,
    }
    if result.stairs is not None:
        facts["stairs"] = {**vars(result.stairs), "d": result.stairs.d.tolist()}
    arrays = {
        "lesion_likeness": result.likeness,
        "compatibility_p": found.p.astype(np.float32),
        "rays_d": result.yardstick.d.astype(np.float32),
        "telling_d": result.telling.d.astype(np.float32),
    }
    arrays |= meaning_arrays(result.meaning)
    for scale, d in result.yardstick.by_scale.items():
        arrays[f"rays_d_{scale}"] = d.astype(np.float32)
    for name in ("ybar", "rescanned", "xprime", "distance", "null_distance"):
        arrays[name] = getattr(result, name)
    study = result.scanned.study("target-domain", facts, arrays)
    _add_targets(study, result)
    add_decision(study, result)
    _add_stairs(study, result.stairs)
    add_meaning(study, result.meaning, result.sampler)
    study.facts["verdict"] = _add_verdict(
        study, result.verdict, target_result_words(result), sampler=result.sampler,
        numbers=_known(asdict(numbers)),
    )  # fmt: skip
    return study


def _known(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers without those that were not measured."""
    return {
        name: value
        for name, value in numbers.items()
        if not (isinstance(value, float) and math.isnan(value))
    }


def _add_targets(study: Study, result: TargetResult) -> None:
    """Rows about the ȳ and their outputs, beside those of the true y."""
    numbers, null, n = result.numbers, result.numbers.null, result.numbers.n
    groups, draws = result.null_distance.shape
    of: dict[str, Any] = {"sampler": result.sampler}
    study.add("target_sd", numbers.sd_hu, **of)
    _add_scales(study, "target_sd", result.ybar, **of)
    study.add("output_sd", float(rms(sample_sd(result.xprime.flatten(0, 1)))), **of)
    if n > 1:
        known = numbers.missed > 0  # False for NaN
        limit = numbers.bias_hu / numbers.missed if known else numbers.sd_hu
        error = numbers.missed_error * limit
        study.add("target_bias", numbers.bias_hu, limit=limit, error=error, **of)
        study.add("target_miss", numbers.missed, error=numbers.missed_error, **of)
    study.add(
        "coverage_of_y", numbers.covered, ideal=ideal_coverage(n), n=n,
        error=numbers.covered_error, **of,
    )  # fmt: skip
    best = int(result.likeness.argmax())
    study.add("lesion_likeness", float(result.likeness.max()), number=best + 1, **of)
    limits: dict[str, Any] = {"low": null.low, "high": null.high}
    _add_spread(study, "target_distance", numbers.distance, draws=draws, **limits, **of)
    truth: dict[str, Any] = {"sampler": "true y, noise redrawn", "groups": groups, "draws": draws}
    _add_spread(study, "truth_distance", null, **truth)
    inside = Share.of(round(numbers.inside * n), n)
    study.add("share_inside", numbers.inside, error=inside.error, **of)


def _add_stairs(study: Study, stairs: Stairs | None) -> None:
    """Rows about d' of one ȳ at each stage."""
    if stairs is None:
        return
    whole = part_names(study.facts["patch"]["spacing_mm"])[0]
    for stage, value in zip(STAGES, stairs.d, strict=True):
        study.add(
            f"d_whole_{stage}", value, layer=_LAYERS[stage], limit=stairs.d[1], whole=whole,
            sampler=f"ȳ {stairs.sample + 1}", tau=stairs.tolerance_hu,
        )  # fmt: skip


@study_of.register
def _pair(result: PairResult) -> Study:
    parts = part_names(result.scanned.patch["spacing_mm"])
    facts: dict[str, Any] = {
        "layers": ["projections", "input", "output"],
        "parts": parts,
        "stages": list(STAGES),
        "shares_of_full_dose": result.shares,
        "shares_of_reached": result.lost,
        "auc": [auc(d) for d in result.stages[:, 0]],
        "other": other_words(result),
        "yardstick": yardstick_facts(result.yardstick),
        **question_and_done(result),
        **lost_facts(result),
    }
    plain = "nonlinearity inequality_holds detected_at_mas full_mas tolerance_hu draws seed"
    images = "ybar change signal output_signal stages curve tolerance_curve"
    facts |= {name: getattr(result, name) for name in plain.split()}
    arrays = {name: getattr(result, name) for name in images.split()}
    if result.readings:
        facts["human_below_ideal"] = result.human_below_ideal
    if result.hidden is not None:
        facts["hidden"] = result.hidden.hiding.hidden
        arrays["hiding"] = result.scanned.f.window.of(result.hidden.hiding.change)
    if (hide := result.could_hide) is not None:
        arrays |= {"worst": hide.change.anatomy, "worst_output": hide.change.output}
        if hide.lesion is not None:
            arrays |= {"hidden": hide.lesion.anatomy, "hidden_output": hide.lesion_output}
    study = result.scanned.study("projection-domain", facts, arrays)
    _add_stages(study, result)
    _add_readers(study, result)
    add_chains(study, result)
    if hide is not None:
        add_could_hide(study, hide)
    study.facts["verdict"] = _add_verdict(study, result.verdict, pair_words(result))
    return study


def _add_stages(study: Study, result: PairResult) -> None:
    """Rows about d' at each stage, and about who lost how much of it."""
    names: dict[str, Any] = dict(zip(PARTS, study.facts["parts"], strict=True))
    how: dict[str, Any] = {"sampler": study.facts["other"], "tau": result.tolerance_hu}
    for part, values in zip(PARTS, result.stages.T, strict=True):
        for stage, value in zip(STAGES, values, strict=True):
            study.add(
                f"d_{part}_{stage}", value, layer=_LAYERS[stage], limit=values[1], **names, **how
            )
    for who, share in result.shares.items():
        study.add(f"full_dose_share_{who}", share, **how)
    for stage, share in result.lost.items():
        study.add(f"lost_share_{stage}", share, **how)
    add_yardstick(study, result.yardstick, study.facts["other"])
    study.add("nonlinearity", result.nonlinearity, **how)


def _add_readers(study: Study, result: PairResult) -> None:
    """Rows about human-like observers, and about the lesion and what it takes to hide it."""
    of, best = study.facts["other"], result.stages[1, 0]
    for reading in result.readings:
        for what, value, (low, high), limit in (
            ("d", reading.seen.d, reading.seen.d_interval, best),
            ("auc", reading.seen.auc, reading.seen.auc_interval, auc(best)),
        ):
            study.add(
                f"{reading.reader}_{what}_{reading.stage}", value, sampler=of, low=low, high=high,
                layer=_LAYERS[reading.stage], limit=limit, draws=result.draws,
                error=(value - low) / 1.96,
            )  # fmt: skip
    for stage, recovered in result.recovery.items():
        study.add(
            f"contrast_recovery_{stage}", recovered, layer=_LAYERS[stage], sampler=of,
            draws=result.draws,
        )  # fmt: skip
    if result.hidden is not None:
        hiding = result.hidden.hiding
        study.add(
            "hidden_lesion_d", hiding.lesion, layer="input", sampler=of, tau=FINE_HU, limit=best
        )
        study.add(
            "hiding_cost", hiding.cost, sampler=of, lesion=hiding.lesion, left=hiding.left,
            tau=result.hidden.tolerance_hu,
        )  # fmt: skip
