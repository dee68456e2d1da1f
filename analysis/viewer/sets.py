"""Which images of a study are looked at together: one set for each layer and sampler.

A set has columns. The upper image of a column is looked at, the lower one is what it is compared
by: its difference from another image, or a map over the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..runs.order import order_words, sample_order, sample_words
from ..runs.store import Study
from .pack import Packer

__all__ = ["MOST_SAMPLES", "image_sets"]

MOST_SAMPLES = 24
"""Samples of a set that a report holds; all of them are in samples.zarr."""

_KINDS = {
    "invariances": "Other low-dose images x̄",
    "target-domain": "Other anatomies ȳ",
    "projection-domain": "Two anatomies, y and ȳ",
}
_SAMPLERS = {"plain": "as sampled", "projected": "projected onto the fibre"}

Tile = dict[str, Any]


def image_sets(study: Study, packer: Packer, *, most: int = MOST_SAMPLES) -> list[dict[str, Any]]:
    """The sets of a study, plain values for the page; their images go into the packer.

    Parameters
    ----------
    study : Study
        Of any kind; kinds that are not known here show what they have on the patch's pixels.
    packer : Packer
    most : int
        Largest number of samples of a set.

    Returns
    -------
    list of dict
        kind, denoiser, mas, layer and sampler (the keys of the controls), the words for them,
        columns of tiles, and of each sample its number, its distance [HU] where there is one, and
        its words where it has some.
    """
    if not {"x", "y", "fx"} <= study.arrays.keys():
        return []
    if study.kind == "target-domain":
        return [_target(study, packer, most)]
    if study.kind == "invariances":
        found = []
        for sampler in _SAMPLERS:
            for layer in study.facts["layers"]:
                if f"layer-{layer}/{sampler}" in study.arrays:
                    found.append(_layer(study, packer, most, layer, sampler))
        return found
    if study.kind == "projection-domain":
        return [_pair(study, packer)]
    return [_others(study, packer, most)]


def _tile(label: str, key: str, *, minus: str = "", look: str = "image") -> Tile:
    """A tile: a stack, less another one if asked; look is image, difference, sd or slice."""
    return {"label": label, "of": key, "minus": minus, "look": look}


def _set(
    study: Study,
    packer: Packer,
    columns: list[list[Tile]],
    *,
    layer: str,
    sampler: str,
    order: Sequence[int],
    total: int,
    verdict: Mapping[str, Any] | None,
    words: Sequence[str] = (),
    order_word: str = "",
    distance: np.ndarray | None = None,
    distance_word: str = "",
) -> dict[str, Any]:
    patch = study.facts["patch"]
    arrays = study.arrays
    first = [_tile("y, high dose", packer.add(arrays["y"]))]
    if "slice" in arrays:
        first.append(_tile("slice", packer.add(arrays["slice"]), look="slice"))
    y, x, fx = (packer.add(arrays[name]) for name in ("y", "x", "fx"))
    known = [
        first,
        [_tile(f"x, {study.mas:g} mAs", x), _tile("x - y", x, minus=y, look="difference")],
        [_tile("f(x)", fx), _tile("f(x) - y", fx, minus=y, look="difference")],
    ]
    return {
        "kind": study.kind,
        "kind_word": _KINDS.get(study.kind, study.kind),
        "denoiser": study.denoiser,
        "denoiser_word": f"{study.denoiser[:1].upper()}{study.denoiser[1:]}",
        "mas": study.mas,
        "layer": layer,
        "sampler": sampler,
        "sampler_word": _sampler_word(study, layer, sampler),
        "shown": len(order),
        "total": total,
        "columns": known + columns,
        "spacing": [float(s) for s in patch["spacing_mm"]],
        "centre": [float(c) for c in patch["centre_mm"]],
        "slice_spacing": [float(s) for s in patch["slice_spacing_mm"]],
        "verdict": str(verdict["sentence"]) if verdict else "",
        "numbers": [k + 1 for k in order],
        "words": list(words),
        "order_word": order_word,
        "distance": [] if distance is None else [round(float(distance[k]), 2) for k in order],
        "distance_word": distance_word,
    }


def _sampler_word(study: Study, layer: str, sampler: str) -> str:
    """What drew the samples, where the study says so, and whether they were projected."""
    if study.kind == "projection-domain":
        return str(study.facts["other"])
    said = study.facts.get("sampler", "")
    name = said.get(layer, "") if isinstance(said, Mapping) else said
    return ", ".join(filter(None, [str(name), _SAMPLERS.get(sampler, sampler)]))


def _sd(samples: np.ndarray) -> np.ndarray:
    flat = samples.astype(np.float64)
    return flat.std(0, ddof=1) if len(flat) > 1 else np.zeros_like(flat[0])


def _layer(study: Study, packer: Packer, most: int, layer: str, sampler: str) -> dict[str, Any]:
    arrays, name = study.arrays, f"layer-{layer}/{sampler}"
    samples, outputs = arrays[name], arrays[f"{name}_output"]
    shown = min(most, len(samples), len(outputs))
    x, fx = packer.add(arrays["x"]), packer.add(arrays["fx"])
    xbar, fxbar = packer.add(samples[:shown]), packer.add(outputs[:shown])
    mean = packer.add(samples.mean(0, dtype=np.float64))
    columns = [
        [_tile("x̄", xbar), _tile("x̄ - x", xbar, minus=x, look="difference")],
        [_tile("f(x̄)", fxbar), _tile("f(x̄) - f(x)", fxbar, minus=fx, look="difference")],
        [
            _tile("sd of x̄", packer.add(_sd(samples)), look="sd"),
            _tile("mean x̄ - x", mean, minus=x, look="difference"),
        ],
    ]
    verdict = study.facts.get("verdicts", {}).get(f"{layer}, {sampler}")
    return _set(
        study, packer, columns, layer=layer, sampler=sampler, order=range(shown),
        total=len(samples), verdict=verdict, distance=arrays.get(f"{name}_distance"),
        distance_word="‖f(x̄) - f(x)‖",
    )  # fmt: skip


def _target(study: Study, packer: Packer, most: int) -> dict[str, Any]:
    arrays = study.arrays
    samples, outputs = arrays["ybar"], arrays["xprime"]
    order = sample_order(study)[:most]
    x, y, fx = (packer.add(arrays[name]) for name in ("x", "y", "fx"))
    ybar, scanned = packer.add(samples[order]), packer.add(arrays["rescanned"][order])
    xprime = packer.add(outputs[order, 0])
    columns = [
        [_tile("ȳ", ybar), _tile("ȳ - y", ybar, minus=y, look="difference")],
        [
            _tile("R⁻¹𝒫Rȳ", scanned),
            _tile("R⁻¹𝒫Rȳ - x", scanned, minus=x, look="difference"),
        ],
        [_tile("x' = f(R⁻¹𝒫Rȳ)", xprime), _tile("x' - f(x)", xprime, minus=fx, look="difference")],
        [
            _tile("sd of ȳ", packer.add(_sd(samples)), look="sd"),
            _tile("sd of x'", packer.add(_sd(outputs.reshape(-1, *samples.shape[1:]))), look="sd"),
        ],
    ]
    distance = arrays.get("distance")
    return _set(
        study, packer, columns, layer="output", sampler="plain", order=order,
        total=len(samples), verdict=study.facts.get("verdict"),
        words=[", ".join(sample_words(study, k)) for k in order],
        order_word=order_words(study, len(order)),
        distance=None if distance is None else distance.mean(1),
        distance_word="‖x' - f(x)‖, mean over the noise draws (the first is shown),",
    )  # fmt: skip


def _pair(study: Study, packer: Packer) -> dict[str, Any]:
    """Two anatomies, and their difference at each stage."""
    key = {name: packer.add(image) for name, image in study.arrays.items() if image.ndim == 2 and
           image.shape == study.arrays["y"].shape}  # fmt: skip
    columns = [
        [_tile("ȳ", key["ybar"]), _tile("ȳ - y", key["change"], look="difference")],
        [
            _tile("R⁻¹R(ȳ - y)", key["signal"], look="difference"),
            _tile("J R⁻¹R(ȳ - y)", key["output_signal"], look="difference"),
        ],
    ]
    if "hiding" in key:
        hidden = _tile("δ that hides it from f", key["hiding"], look="difference")
        columns.append([_tile("x", key["x"]), hidden])
    return _set(
        study, packer, columns, layer="output", sampler="plain", order=[0], total=1,
        verdict=study.facts.get("verdict"),
    )  # fmt: skip


def _others(study: Study, packer: Packer, most: int) -> dict[str, Any]:
    """Whatever lies on the patch's pixels, each beside y."""
    shape = study.arrays["y"].shape
    fits: Callable[[np.ndarray], bool] = lambda a: a.ndim in (2, 3) and a.shape[-2:] == shape
    named = {
        name: array
        for name, array in study.arrays.items()
        if fits(array) and name not in ("x", "y", "fx", "slice")
    }
    counts = [len(array) for array in named.values() if array.ndim == 3]
    shown = min([most, *counts]) if counts else 1
    y = packer.add(study.arrays["y"])
    columns = []
    for name, array in named.items():
        key = packer.add(array[:shown] if array.ndim == 3 else array)
        columns.append([_tile(name, key), _tile(f"{name} - y", key, minus=y, look="difference")])
    return _set(
        study, packer, columns, layer="output", sampler="plain", order=range(shown),
        total=max(counts, default=1), verdict=study.facts.get("verdict"),
    )  # fmt: skip
