"""Which pictures a study's report shows, with captions and alternative texts."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..figures.images import (
    Row,
    Window,
    distance_figure,
    fit_window,
    rows_figure,
    scene_figure,
)
from ..runs.order import order_words, p_words, sample_order, sample_words
from ..runs.store import Study, sample_array
from .pair_figure import projection_figure
from .wording import place

__all__ = ["Picture", "of_study"]

_COLUMNS = 6
_SCANNED = r"R$^{-1}\mathcal{P}$Rȳ"  # the script P is in the fonts of formulas alone


@dataclass(frozen=True)
class Picture:
    """A picture: its name in the study, how it is drawn, caption (HTML) and alternative text.

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


def _shown(window: Window) -> str:
    text = html.escape(str(window))
    return text[:1].upper() + text[1:]


def _spacing(study: Study) -> float:
    return float(study.facts["patch"]["spacing_mm"][1])


def _scene(study: Study, window: Window) -> Picture:
    patch, arrays = study.facts["patch"], study.arrays
    height, width = (n * s for n, s in zip(patch["shape"], patch["spacing_mm"], strict=True))
    left, top = patch["centre_mm"][0] - width / 2, patch["centre_mm"][1] - height / 2
    noise = _rms(arrays["x"] - arrays["y"]), _rms(arrays["fx"] - arrays["y"])
    draw = partial(
        scene_figure,
        arrays["slice"],
        tuple(patch["slice_spacing_mm"]),
        (left, top, width, height),
        {"y": arrays["y"], f"x, {study.mas:g} mAs": arrays["x"], "f(x)": arrays["fx"]},
        window=window,
        patch_spacing=_spacing(study),
    )
    return Picture(
        "scene",
        draw,
        f"The slice with the patch outlined; the high-dose patch y, its scan x at {study.mas:g} "
        f"mAs ({noise[0]:.0f} HU rms from y) and the output f(x) ({noise[1]:.0f} HU from y). "
        f"{_shown(window)}.",
        f"CT slice with an outlined patch, and the patch at high dose, at {study.mas:g} mAs and "
        f"denoised by {study.denoiser}",
    )


def _rms(image: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(image, dtype=np.float64))))


def _sd(samples: np.ndarray) -> np.ndarray:
    return samples.std(0, ddof=1) if len(samples) > 1 else np.zeros_like(samples[0])


_MOVED = {False: "", True: ", projected onto the fibre"}


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
            found.append(_layer_samples(study, window, layers, projected=projected))
            found.append(_layer_spread(study, window, layers, projected=projected))
    return [*found, _layer_distances(study)]


def _layer_samples(study: Study, window: Window, layers: list[str], *, projected: bool) -> Picture:
    """Samples after each layer, and where they change the output."""

    def first(layer: str, part: str = "") -> np.ndarray:
        return study.arrays[sample_array(layer, projected=projected, part=part)][:_COLUMNS]

    rows = [
        Row(
            f"{place(layer)}:\nx̄",
            list(first(layer)),
            captions=[f"‖Δf‖ {value:.1f} HU" for value in first(layer, "distance")],
        )
        for layer in layers
    ]
    for layer in layers:
        change = first(layer, "output") - study.arrays["fx"]
        rows.append(Row(f"{place(layer)}:\nf(x̄) - f(x)", list(change), "difference"))
    return Picture(
        f"samples-{'projected' if projected else 'plain'}",
        _rows(study, rows, window),
        f"Samples x̄ after the layers{_MOVED[projected]}. The same v in a column. Below each, the "
        "change of the output ‖f(x̄) - f(x)‖; the rows in colour show where the output changes. "
        f"{_shown(window)}; differences as on their colour bars.",
        f"Rows of sampled images after layers {', '.join(layers)}{_MOVED[projected]}, and of the "
        "changes of the output",
    )


def _layer_spread(study: Study, window: Window, layers: list[str], *, projected: bool) -> Picture:
    """Maps of the standard deviation after each layer."""
    spreads = [_sd(study.arrays[sample_array(layer, projected=projected)]) for layer in layers]
    limit = max(1.0, float(np.percentile(np.stack(spreads), 99.5)))
    said = [f"{place(la)}: {_rms(sd):.1f} HU" for la, sd in zip(layers, spreads, strict=True)]
    return Picture(
        f"sd-{'projected' if projected else 'plain'}",
        _rows(study, [Row("sd of x̄", spreads, "sd", said, limit)], window),
        f"Standard deviation over the samples{_MOVED[projected]}: where the layer leaves x open.",
        f"Maps of the samples' standard deviation after layers {', '.join(layers)}"
        f"{_MOVED[projected]}",
    )


def _layer_distances(study: Study) -> Picture:
    """The distance of every sample's output, beside that of redrawn noise."""
    arrays = study.arrays
    groups = {"noise redrawn": arrays["redrawn_distance"]}
    for layer in study.facts["layers"]:
        for projected, word in ((False, ""), (True, ",\nprojected")):
            name = sample_array(layer, projected=projected, part="distance")
            if name in arrays:
                groups[f"{place(layer)}{word}"] = arrays[name]
    return Picture(
        "distances",
        partial(
            distance_figure,
            groups,
            xlabel="‖f(x̄) - f(x)‖  [HU rms]",
            limit=float(np.median(arrays["redrawn_distance"])),
            limit_label="median of redrawn noise",
        ),
        "How far each sample moves the output, one point a sample. To the right of the dashed line "
        "a sample changes the output more than drawing the noise again does: no invariance.",
        "Distances of the samples' outputs from f(x), by layer, beside redrawn noise",
    )


def _targets(study: Study, window: Window) -> list[Picture]:
    """The row ȳ → R⁻¹𝒫Rȳ → x', the maps of spread, and the distances beside the null."""
    return [_chains(study, window), _target_spread(study, window), _target_distances(study)]


def _chains(study: Study, window: Window) -> Picture:
    """Columns of sampled anatomies, their scans and their outputs."""
    arrays, shown = study.arrays, sample_order(study)[:_COLUMNS]
    change = arrays["ybar"][shown] - arrays["y"]
    xprime, mean = arrays["xprime"][shown, 0], arrays["distance"].mean(1)[shown]
    said = " ".join(filter(None, [order_words(study, len(shown)), p_words(study)]))
    rows = [
        Row(
            "ȳ",
            list(arrays["ybar"][shown]),
            captions=["\n".join(sample_words(study, k)) for k in shown],
        ),
        Row(
            "ȳ - y",
            list(change),
            "difference",
            captions=[f"‖ȳ - y‖ {_rms(image):.1f}" for image in change],
        ),
        Row(f"{_SCANNED},\n{study.mas:g} mAs", list(arrays["rescanned"][shown])),
        Row(
            f"x' = f({_SCANNED})",
            list(xprime),
            captions=[f"‖x' - f(x)‖ {value:.1f}" for value in mean],
        ),
        Row("x' - f(x)", list(xprime - arrays["fx"]), "difference"),
    ]
    return Picture(
        "samples",
        _rows(study, rows, window),
        "The target domain. Each column is a sampled anatomy ȳ, its difference from the true "
        f"y, its scan at {study.mas:g} mAs, the denoised x', and how that differs from f(x). "
        f"{said} Distances in HU; below x' the mean over {study.facts['draws']} draws. "
        f"{_shown(window)}.",
        "Columns of sampled anatomies, their low-dose scans, their denoised images and the "
        "differences from the output",
    )


def _target_spread(study: Study, window: Window) -> Picture:
    """Maps of the standard deviation of ȳ and x'."""
    arrays = study.arrays
    spreads = {"ȳ": _sd(arrays["ybar"])}
    spreads["x'"] = _sd(arrays["xprime"].reshape(-1, *arrays["y"].shape))
    said = [f"{name}: {_rms(sd):.1f} HU" for name, sd in spreads.items()]
    return Picture(
        "sd",
        _rows(study, [Row("sd over\nsamples", list(spreads.values()), "sd", said)], window),
        "Standard deviation of the sampled anatomies ȳ, and of their outputs x' over samples and "
        "noise.",
        "Maps of the standard deviation of sampled anatomies and of their outputs",
    )


def _target_distances(study: Study) -> Picture:
    """The distance of every ȳ's output, beside that of the true y."""
    mean, null = (study.arrays[name].mean(1) for name in ("distance", "null_distance"))
    return Picture(
        "distances",
        partial(
            distance_figure,
            {"true y,\nscanned again": null, "sampled ȳ": mean},
            xlabel=f"‖x' - f(x)‖, mean over {study.facts['draws']} draws  [HU rms]",
            limit=float(null.max()),
            limit_label="largest of the true y",
        ),
        "One point a sampled anatomy, or a group of scans of the true one. To the left of the "
        "dashed line an anatomy gives an output as close to f(x) as the truth does.",
        "Distances of x' from f(x) for sampled anatomies beside the true anatomy",
    )


def _pair(study: Study, _: Window) -> list[Picture]:
    """The difference at each stage, and how detectable it is over exposure, band and tolerance."""
    facts = study.facts
    return [
        Picture(
            "stages",
            partial(projection_figure, study, spacing=_spacing(study)),
            "Above: the two anatomies' difference as it is, after R⁻¹R and after f. Below: d' of "
            "the whole difference over exposure; of its parts, by who took what; and over the "
            "reader's tolerance τ. An ideal observer without a tolerance undoes whatever an "
            "invertible network does, so that for τ → 0 such a network loses nothing; what a "
            f"reader loses depends on τ, here {facts['tolerance_hu']:g} HU.",
            f"Images of the difference at each stage, and d' over exposure, band and tolerance "
            f"for {study.denoiser} at {study.mas:g} mAs",
        )
    ]


_KINDS: dict[str, Callable[[Study, Window], list[Picture]]] = {
    "invariances": _layers,
    "target-domain": _targets,
    "projection-domain": _pair,
}
