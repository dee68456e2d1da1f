"""Which pictures a study's report shows, with captions and alternative texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..figures.images import Window, distance_figure, fit_window, rms_hu, scene_figure, sd_hu
from ..figures.sheets import Row, rows_figure
from ..runs.order import capital, order_words, p_words, sample_order, sample_words
from ..runs.store import Study, sample_array
from .alterations import alterations_figure
from .pair_figure import projection_figure
from .wording import place, say

__all__ = ["Picture", "of_study"]

_COLUMNS = 6


@dataclass(frozen=True)
class Picture:
    """A picture: its name in the study, how it is drawn, caption and alternative text.

    ``draw(form="png")`` and ``draw(form="svg")`` give its bytes.
    """

    name: str
    draw: Callable[..., bytes]
    caption: str
    alt: str


def of_study(study: Study, *, scene: bool = True) -> list[Picture]:
    """All pictures of a study, in the order of the report, with or without its slice."""
    if not {"slice", "x", "y", "fx"} <= study.arrays.keys():
        return []
    window = fit_window(study.arrays["y"])
    rest = _KINDS[study.kind](study, window) if study.kind in _KINDS else []
    return [_scene(study, window), *rest] if scene else rest


def _picture(name: str, words: str, draw: Callable[..., bytes], **fields: Any) -> Picture:
    """A picture with its words, by their identifier in the table of sentences."""
    return Picture(name, draw, say(f"caption_{words}", **fields), say(f"alt_{words}", **fields))


def _spacing(study: Study) -> float:
    return float(study.facts["patch"]["spacing_mm"][1])


def _scene(study: Study, window: Window) -> Picture:
    patch, arrays = study.facts["patch"], study.arrays
    y, x, fx = (arrays[name] for name in ("y", "x", "fx"))
    height, width = (n * s for n, s in zip(patch["shape"], patch["spacing_mm"], strict=True))
    left, top = patch["centre_mm"][0] - width / 2, patch["centre_mm"][1] - height / 2
    draw = partial(
        scene_figure,
        arrays["slice"],
        tuple(patch["slice_spacing_mm"]),
        (left, top, width, height),
        {"y": y, f"x, {study.mas:g} mAs": x, "f(x)": fx},
        window=window,
        patch_spacing=_spacing(study),
    )
    return _picture(
        "scene", "scene", draw, study=study, noise=rms_hu(x - y), left=rms_hu(fx - y),
        window=capital(str(window)),
    )  # fmt: skip


def _rows(study: Study, rows: list[Row], window: Window) -> Callable[..., bytes]:
    """How rows of images of the patch are drawn."""
    return partial(rows_figure, rows, window=window, spacing=_spacing(study))


def _layers(study: Study, window: Window) -> list[Picture]:
    """Rows of samples after each layer with the same v, what they change, their spread."""
    found = []
    for projected in (False, True):
        names = {layer: sample_array(layer, projected=projected) for layer in study.facts["layers"]}
        layers = [layer for layer, name in names.items() if name in study.arrays]
        if layers:
            found += _layer_samples(study, window, layers, projected=projected)
    return [*found, _layer_distances(study), *_alterations(study, window)]


def _layer_samples(
    study: Study, window: Window, layers: list[str], *, projected: bool
) -> list[Picture]:
    """Samples after each layer, where they change the output, and maps of their spread."""

    def found(layer: str, part: str = "") -> np.ndarray:
        return study.arrays[sample_array(layer, projected=projected, part=part)]

    rows = [
        Row(
            f"{place(layer)}:\nx̄",
            list(found(layer)[:_COLUMNS]),
            captions=[f"‖Δf‖ {value:.1f} HU" for value in found(layer, "distance")[:_COLUMNS]],
        )
        for layer in layers
    ]
    changes = [found(layer, "output")[:_COLUMNS] - study.arrays["fx"] for layer in layers]
    largest = max(1.0, float(np.percentile(np.abs(np.concatenate(changes)), 99.0)))
    rows += [
        Row(f"{place(layer)}:\nf(x̄) - f(x)", list(change), "difference", limit=largest)
        for layer, change in zip(layers, changes, strict=True)
    ]
    spreads = [sd_hu(found(layer)) for layer in layers]
    limit = max(1.0, float(np.percentile(np.stack(spreads), 99.5)))
    said = [f"{place(la)}: {rms_hu(sd):.1f} HU" for la, sd in zip(layers, spreads, strict=True)]
    spread = [Row("sd of x̄", spreads, "sd", said, limit)]
    which = "projected" if projected else "plain"
    words = {"moved": say(f"moved_{which}"), "layers": ", ".join(layers)}
    return [
        _picture(f"samples-{which}", "layers", _rows(study, rows, window), **words),
        _picture(f"sd-{which}", "layers_sd", _rows(study, spread, window), **words),
    ]


def _layer_distances(study: Study) -> Picture:
    """The distance of every sample's output, beside that of redrawn noise."""
    arrays = study.arrays
    groups = {"noise redrawn": arrays["redrawn_distance"]}
    for layer in study.facts["layers"]:
        for projected, word in ((False, ""), (True, ",\nprojected")):
            name = sample_array(layer, projected=projected, part="distance")
            if name in arrays:
                groups[f"{place(layer)}{word}"] = arrays[name]
    draw = partial(
        distance_figure,
        groups,
        xlabel="‖f(x̄) - f(x)‖  [HU rms]",
        limit=float(np.median(arrays["redrawn_distance"])),
        limit_label="median of redrawn noise",
    )
    return _picture("distances", "layers_distances", draw)


def _targets(study: Study, window: Window) -> list[Picture]:
    """The row ȳ → R⁻¹𝒫Rȳ → x', the maps of spread, and the distances beside the null."""
    found = [_chains(study, window), _target_spread(study, window), _target_distances(study)]
    return [*found, *_alterations(study, window)]


def _alterations(study: Study, window: Window) -> list[Picture]:
    """The samples that alter anatomy, where they were looked for."""
    if not study.facts.get("alterations"):
        return []
    return [_picture("alterations", "alterations", partial(alterations_figure, study, window))]


def _chains(study: Study, window: Window) -> Picture:
    """Columns of sampled anatomies, their scans and their outputs."""
    arrays, shown = study.arrays, sample_order(study)[:_COLUMNS]
    ybar, xprime, mean = (
        arrays["ybar"][shown],
        arrays["xprime"][shown, 0],
        arrays["distance"].mean(1),
    )
    change = ybar - arrays["y"]
    numbers = ["\n".join(sample_words(study, k)) for k in shown]
    distances = [f"‖ȳ - y‖ {rms_hu(image):.1f}" for image in change]
    left = [f"‖x' - f(x)‖ {mean[k]:.1f}" for k in shown]
    rows = [
        Row("ȳ", list(ybar), captions=numbers),
        Row("ȳ - y", list(change), "difference", captions=distances),
        Row(f"rescan of ȳ,\n{study.mas:g} mAs", list(arrays["rescanned"][shown])),
        Row("x' = f(rescan)", list(xprime), captions=left),
        Row("x' - f(x)", list(xprime - arrays["fx"]), "difference"),
    ]
    said = " ".join(filter(None, [order_words(study, len(shown)), p_words(study)]))
    return _picture("samples", "targets", _rows(study, rows, window), study=study, said=said)


def _target_spread(study: Study, window: Window) -> Picture:
    """Maps of the standard deviation of ȳ and x'."""
    arrays = study.arrays
    outputs = arrays["xprime"].reshape(-1, *arrays["y"].shape)
    spreads = {"ȳ": sd_hu(arrays["ybar"]), "x'": sd_hu(outputs)}
    said = [f"{name}: {rms_hu(sd):.1f} HU" for name, sd in spreads.items()]
    row = Row("sd over\nsamples", list(spreads.values()), "sd", said)
    return _picture("sd", "targets_sd", _rows(study, [row], window))


def _target_distances(study: Study) -> Picture:
    """The distance of every ȳ's output, beside that of the true y."""
    mean, null = (study.arrays[name].mean(1) for name in ("distance", "null_distance"))
    draw = partial(
        distance_figure,
        {"true y,\nscanned again": null, "sampled ȳ": mean},
        xlabel=f"‖x' - f(x)‖, mean over {study.facts['draws']} draws  [HU rms]",
        limit=float(null.max()),
        limit_label="largest of the true y",
    )
    return _picture("distances", "targets_distances", draw)


def _pair(study: Study, _: Window) -> list[Picture]:
    """The difference at each stage, and how detectable it is over exposure, band and tolerance."""
    draw = partial(projection_figure, study, spacing=_spacing(study))
    return [_picture("stages", "pair", draw, study=study), *_could_hide(study)]


def _could_hide(study: Study) -> list[Picture]:
    """What could be there at the dose and not be told in the rays, and what f shows of it."""
    arrays = study.arrays
    found = [(w, f"{w}_output") for w in ("worst", "hidden") if f"{w}_output" in arrays]
    if not found:
        return []
    heads = ("moves f most", "largest hidden lesion")[: len(found)]
    rows = [
        Row(label, [arrays[pair[k]] for pair in found], "difference", captions, limit=None)
        for k, (label, captions) in enumerate((("δ", heads), ("f(x + Hδ) - f(x)", ())))
    ]
    window = fit_window(arrays["y"])
    return [_picture("could-hide", "could_hide", _rows(study, rows, window), study=study)]


_KINDS: dict[str, Callable[[Study, Window], list[Picture]]] = {
    "invariances": _layers,
    "target-domain": _targets,
    "projection-domain": _pair,
}
