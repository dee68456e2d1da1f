"""Which images of a study are looked at together: one set for each layer and sampler.

A set has columns. The upper image of a column is looked at, the lower one is what it is compared
by: its difference from another image, or a map over the samples. Which tiles a study has, and in
which column, is tiles.csv beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..figures.images import sd_hu
from ..runs.order import capital, order_words, sample_order, sample_words
from ..runs.quantities import read_table
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
_TILES = read_table("tiles.csv", __package__)


def image_sets(study: Study, packer: Packer, *, most: int = MOST_SAMPLES) -> list[dict[str, Any]]:
    """The sets of a study, plain values for the page; their images go into the packer.

    Parameters
    ----------
    study : Study
        A study of any kind; an unknown kind shows what it has on the patch's pixels.
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
    if study.kind == "invariances":
        return [
            _layer(study, packer, most, layer, sampler)
            for sampler in _SAMPLERS
            for layer in study.facts["layers"]
            if f"layer-{layer}/{sampler}" in study.arrays
        ]
    if study.kind == "projection-domain":
        return [_pair(study, packer)]
    return [(_target if study.kind == "target-domain" else _others)(study, packer, most)]


def _columns(
    study: Study, packer: Packer, images: Mapping[str, np.ndarray], tiles: Sequence[dict[str, str]]
) -> list[list[dict[str, str]]]:
    """Tiles by column: a stack, less another one if asked; look is image, difference, sd, slice."""
    key = {name: packer.add(image) for name, image in images.items()}
    columns: dict[str, list[dict[str, str]]] = {}
    for tile in tiles:
        if tile["kind"] in ("", study.kind) and tile["of"] in key:
            shown = {
                "label": tile["label"].replace("{mas}", f"{study.mas:g}"),
                "of": key[tile["of"]],
            }
            shown |= {"minus": key.get(tile["minus"], ""), "look": tile["look"]}
            columns.setdefault(tile["column"], []).append(shown)
    return list(columns.values())


def _set(
    study: Study,
    packer: Packer,
    images: Mapping[str, np.ndarray],
    *,
    layer: str = "output",
    sampler: str = "plain",
    order: Sequence[int] = (0,),
    total: int = 1,
    verdict: Mapping[str, Any] | None = None,
    distance: np.ndarray | None = None,
    tiles: Sequence[dict[str, str]] = (),
    **words: Any,
) -> dict[str, Any]:
    """A set of images of a study, by their names in the table of tiles, or in further tiles."""
    patch, arrays = study.facts["patch"], study.arrays
    known = {name: arrays[name] for name in ("y", "slice", "x", "fx") if name in arrays}
    verdict = verdict or study.facts.get("verdict")
    return {
        "kind": study.kind,
        "kind_word": _KINDS.get(study.kind, study.kind),
        "denoiser": study.denoiser,
        "denoiser_word": capital(study.denoiser),
        "mas": study.mas,
        "layer": layer,
        "sampler": sampler,
        "sampler_word": _sampler_word(study, layer, sampler),
        "shown": len(order),
        "total": total,
        "columns": _columns(study, packer, known | dict(images), [*_TILES, *tiles]),
        "spacing": [float(s) for s in patch["spacing_mm"]],
        "centre": [float(c) for c in patch["centre_mm"]],
        "slice_spacing": [float(s) for s in patch["slice_spacing_mm"]],
        "verdict": str(verdict["sentence"]) if verdict else "",
        "numbers": [k + 1 for k in order],
        "words": [],
        "order_word": "",
        "distance": [] if distance is None else [round(float(distance[k]), 2) for k in order],
        "distance_word": "",
    } | words


def _sampler_word(study: Study, layer: str, sampler: str) -> str:
    """What drew the samples, where the study says so, and whether they were projected."""
    if study.kind == "projection-domain":
        return str(study.facts["other"])
    said = study.facts.get("sampler", "")
    name = said.get(layer, "") if isinstance(said, Mapping) else said
    return ", ".join(filter(None, [str(name), _SAMPLERS.get(sampler, sampler)]))


def _layer(study: Study, packer: Packer, most: int, layer: str, sampler: str) -> dict[str, Any]:
    arrays, name = study.arrays, f"layer-{layer}/{sampler}"
    samples, outputs = arrays[name], arrays[f"{name}_output"]
    shown = min(most, len(samples), len(outputs))
    images = {
        "xbar": samples[:shown],
        "fxbar": outputs[:shown],
        "mean": samples.mean(0, dtype=np.float64),
        "sd": sd_hu(samples),
    }
    return _set(
        study, packer, images, layer=layer, sampler=sampler, order=range(shown),
        total=len(samples), verdict=study.facts.get("verdicts", {}).get(f"{layer}, {sampler}"),
        distance=arrays.get(f"{name}_distance"), distance_word="‖f(x̄) - f(x)‖",
    )  # fmt: skip


def _target(study: Study, packer: Packer, most: int) -> dict[str, Any]:
    arrays, order = study.arrays, sample_order(study)[:most]
    samples, outputs = arrays["ybar"], arrays["xprime"]
    images = {
        "ybar": samples[order],
        "rescanned": arrays["rescanned"][order],
        "xprime": outputs[order, 0],
        "sd": sd_hu(samples),
        "xprime_sd": sd_hu(outputs.reshape(-1, *samples.shape[1:])),
    }
    return _set(
        study, packer, images, order=order, total=len(samples),
        words=[", ".join(sample_words(study, k)) for k in order],
        order_word=order_words(study, len(order)),
        distance=arrays["distance"].mean(1) if "distance" in arrays else None,
        distance_word="‖x' - f(x)‖, mean over the noise draws (the first is shown),",
    )  # fmt: skip


def _pair(study: Study, packer: Packer) -> dict[str, Any]:
    """Two anatomies, and their difference at each stage."""
    names = ("ybar", "change", "signal", "output_signal", "hiding")
    images = {name: study.arrays[name] for name in names if name in study.arrays}
    if "hiding" in images:
        images["hidden_in"] = study.arrays["x"]
    return _set(study, packer, images)


def _others(study: Study, packer: Packer, most: int) -> dict[str, Any]:
    """Whatever lies on the patch's pixels, each beside y."""
    shape = study.arrays["y"].shape
    named = {
        name: array
        for name, array in study.arrays.items()
        if array.ndim in (2, 3) and array.shape[-2:] == shape
        if name not in ("x", "y", "fx", "slice")
    }
    counts = [len(array) for array in named.values() if array.ndim == 3]
    shown = min([most, *counts]) if counts else 1
    tiles = []
    for name in named:
        tile = {"kind": "", "column": name, "of": name}
        tiles += [
            tile | {"label": name, "minus": "", "look": "image"},
            tile | {"label": f"{name} - y", "minus": "y", "look": "difference"},
        ]
    images = {name: array[:shown] if array.ndim == 3 else array for name, array in named.items()}
    return _set(
        study, packer, images, tiles=tiles, order=range(shown), total=max(counts, default=1)
    )
