"""Which samples alter anatomy: as rows, as data, as a table and as a picture of the first of them.

A sample alters anatomy where a matched filter for lesions, anywhere in the patch, finds more in its
scan than in all but 1 % of redrawn scans of the true anatomy. It is hidden where the output shows
less than half of that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..figures.images import Window, rms_hu
from ..figures.sheets import Row, rows_figure
from ..invariances.result import LayerResult
from ..runs.scanned import sampler_text
from ..runs.store import Study, sample_array
from ..target_domain.alterations import LEVEL
from ..target_domain.semantic import SemanticMap
from .wording import say

__all__ = [
    "add_meaning",
    "alteration_table",
    "alterations_figure",
    "circle_of",
    "invariances_with_meaning",
    "meaning_arrays",
    "meaning_facts",
]

_SHOWN = 6  # samples in the table
_DRAWN = 4  # of them, in the picture


def meaning_facts(found: SemanticMap) -> dict[str, Any]:
    """The samples, the surest alteration first, and what f sees of directions, as plain values."""
    facts: dict[str, Any] = {
        "alterations": [
            {
                "sample": one.sample, "d": one.d, "p": one.p, "contrast": one.lesion.contrast,
                "radius": one.lesion.radius, "place_mm": list(one.lesion.place),
                "shown": one.shown, "error": one.error, "alters": one.alters, "hidden": one.hidden,
                "open": one.open,
            }
            for one in found.alterations
        ]
    }  # fmt: skip
    if found.directions:
        facts["directions"] = [
            {
                "name": seen.direction.name, "unit": seen.direction.unit,
                "invisible_share": seen.invisible_share, "gain": seen.gain,
                "samples_off": found.unusual(seen.direction.name),
            }
            for seen in found.directions
        ]  # fmt: skip
    return facts


def meaning_arrays(found: SemanticMap) -> dict[str, np.ndarray]:
    """d', p, and the share that the output shows, by the number of the sample (n,)."""
    order = sorted(found.alterations, key=lambda one: one.sample)
    return {
        f"alteration_{name}": np.array([getattr(one, name) for one in order], np.float32)
        for name in ("d", "p", "shown")
    }


def invariances_with_meaning(study: Study, found: SemanticMap, layer: LayerResult) -> Study:
    """A study of invariances, with what the last set of samples after its last layer means.

    Parameters
    ----------
    study : Study
        Of invariances.
    found : SemanticMap
        Of those samples.
    layer : LayerResult
        Theirs.
    """
    last = layer.sets[-1]
    study.facts |= meaning_facts(found)
    study.arrays |= meaning_arrays(found)
    which = [one.sample for one in found.alterations[:_DRAWN]]
    study.arrays["alteration_output"] = last.outputs[which].cpu().numpy()
    add_meaning(
        study, found, sampler_text(last.sampler, projected=last.projected), layer=layer.layer
    )
    return study


def add_meaning(study: Study, found: SemanticMap, sampler: str, *, layer: str = "output") -> None:
    """Rows on how many samples alter anatomy, on the surest, and on the directions."""
    n, first = len(found.alterations), found.alterations[0]
    of: dict[str, Any] = {"sampler": sampler, **_words(study)}
    low = min(one.p for one in found.alterations)
    study.add("alterations", len(found.altering), n=n, chance=LEVEL * n, layer=layer, **of)
    study.add("alterations_hidden", len(found.hidden), n=n, layer=layer, **of)
    study.add("alteration_d_largest", first.d, layer="input", number=first.sample + 1, **of)
    study.add("alteration_p_least", low, layer="input", **of)
    for seen in found.directions:
        id, unit = seen.direction.name.replace(" ", "_"), seen.direction.unit
        how: dict[str, Any] = {"unit_of": unit, **of}
        study.add(f"invisible_{id}", seen.invisible_share, **how)
        study.add(f"gain_{id}", seen.gain, **how)
        study.add(f"off_{id}", found.unusual(seen.direction.name), layer="input", **how)


def alteration_table(study: Study) -> tuple[str, list[tuple[str, list[str], str]]] | None:
    """Caption, and for the first samples: which, cells, and whether the output shows it."""
    if not (found := study.facts.get("alterations")):
        return None
    alters, hidden = (sum(one[kind] for one in found) for kind in ("alters", "hidden"))
    caption = say(
        "alterations", n=len(found), alters=alters, hidden=hidden, chance=LEVEL * len(found),
        **_words(study),
    )  # fmt: skip
    return caption, [
        (
            f"{_words(study)['symbol']} {one['sample'] + 1}",
            [
                f"{one['contrast']:+.0f}", f"{one['radius']:g}",
                f"{one['place_mm'][0]:.1f}, {one['place_mm'][1]:.1f}", f"{one['d']:.3g}",
                f"{one['p']:.3f}", f"{one['shown']:.0%} ± {one['error']:.0%}",
            ],
            _kind(one),
        )
        for one in found[:_SHOWN]
    ]  # fmt: skip


def _words(study: Study) -> dict[str, str]:
    """What the samples are called, and what of them is looked at."""
    if study.kind == "invariances":
        return {"symbol": "x̄", "samples": "images", "seen": "x̄"}
    return {"symbol": "ȳ", "samples": "anatomies", "seen": "the first scan of ȳ"}


def _kind(one: dict[str, Any]) -> str:
    """What an alteration is, in a word or two."""
    if not one["alters"]:
        return say("alteration_none")
    kind = next((kind for kind in ("hidden", "open") if one[kind]), "undecided")
    return say(f"alteration_{kind}")


def alterations_figure(study: Study, window: Window, *, form: str = "png") -> bytes:
    """The first samples and their outputs, a circle where the lesion-like change is.

    Parameters
    ----------
    study : Study
        A study with alterations, of the target domain or of invariances.
    window : Window
    form : {"png", "svg"}
    """
    arrays, found = study.arrays, study.facts["alterations"][:_DRAWN]
    which = [one["sample"] for one in found]
    circles = [circle_of(study, one) for one in found]
    symbol = _words(study)["symbol"]
    if study.kind == "invariances":
        images, true = arrays[_last_samples(study)][which], "x"
        behind, outputs = "f(x̄)", arrays["alteration_output"]
    else:
        images, true = arrays["ybar"][which], "y"
        behind, outputs = "x' = f(rescan)", arrays["xprime"][which, 0]
    change = images - arrays[true]
    said = [f"{symbol} {k + 1}, d' {one['d']:.3g}" for k, one in zip(which, found, strict=True)]
    shown = [f"shown: {one['shown']:.0%}" for one in found]
    rows = [
        Row(symbol, list(images), captions=said, circles=circles),
        Row(f"{symbol} - {true}", list(change), "difference",
            [f"{rms_hu(d):.1f} HU" for d in change], circles=circles),
        Row(behind, list(outputs), captions=shown, circles=circles),
    ]  # fmt: skip
    spacing = float(study.facts["patch"]["spacing_mm"][1])
    return rows_figure(rows, window=window, spacing=spacing, form=form)


def _last_samples(study: Study) -> str:
    """Name of the array of the last set of samples after the last layer."""
    layer = study.facts["layers"][-1]
    projected = sample_array(layer, projected=True)
    return projected if projected in study.arrays else sample_array(layer, projected=False)


def circle_of(study: Study, one: dict[str, Any]) -> tuple[float, float, float]:
    """Row, column and radius of a circle around a lesion-like change [pixels]."""
    patch = study.facts["patch"]
    (rows, cols), (sy, sx), (cx, cy) = (patch[n] for n in ("shape", "spacing_mm", "centre_mm"))
    x, y = one["place_mm"]
    row, col = (y - cy) / sy + (rows - 1) / 2, (x - cx) / sx + (cols - 1) / 2
    return row, col, math.ceil(1.5 * one["radius"] / min(sx, sy)) + 1.0
