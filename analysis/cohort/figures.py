"""Distributions over patients: points, means and intervals, by network and dose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.figures.drawing import INK, new_figure, plain, written

from .summary import Group, Key

__all__ = ["Shown", "distributions"]

_COLUMNS = 3
_COLOURS = ("#2b5c8a", "#b3381e", "#24704f", "#8a6400", "#6b4a9e", "#1d8a99", "#a04a6b", "#566070")
_WIDTH = 0.7  # of an exposure, shared by its networks
_MOST = 200  # points of one network at one exposure


@dataclass(frozen=True)
class Shown:
    """A quantity that the report shows, and whether high or low values of it are the worst."""

    study: str
    quantity: str
    title: str
    worst: str


def distributions(
    shown: Sequence[Shown],
    groups: Mapping[str, Sequence[tuple[Key, Group]]],
    summary: Mapping[Key, Mapping[str, str]],
) -> bytes:
    """A PNG with a panel a quantity: exposures from left to right, networks beside each other.

    Parameters
    ----------
    shown : sequence of Shown
        Of one study.
    groups : mapping
        For each quantity its groups of numbers.
    summary : mapping
        Rows of the means over patients.
    """
    rows = math.ceil(len(shown) / _COLUMNS)
    figure = new_figure(12.0, 2.9 * rows + 0.5)
    labels = list(dict.fromkeys(label(key) for one in shown for key, _ in groups[one.quantity]))
    colours = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(labels)}
    handles = {}
    for k, one in enumerate(shown):
        axes = figure.add_subplot(rows, _COLUMNS, k + 1)
        here = [
            name for name in labels if any(label(key) == name for key, _ in groups[one.quantity])
        ]
        doses = sorted({key.sort_mas for key, _ in groups[one.quantity]})
        step = _WIDTH / len(here)
        for key, group in groups[one.quantity]:
            x = doses.index(key.sort_mas) + step * (here.index(label(key)) - (len(here) - 1) / 2)
            means = group.of_patients()[1][:_MOST]
            beside = step * 0.3 * np.sin(2.4 * np.arange(len(means)))  # the same each time
            colour = colours[label(key)]
            axes.plot(x + beside, means, "o", ms=2.6, color=colour, alpha=0.45, mew=0)
            row = summary[key]
            if row["low"]:
                axes.plot([x, x], [float(row["low"]), float(row["high"])], "-", lw=2, color=colour)
            if row["mean"]:
                dot = axes.plot(x, float(row["mean"]), "D", ms=5, color=colour, mec="white")
                handles[label(key)] = dot[0]
        unit = groups[one.quantity][0][1].unit
        axes.set_title(f"{one.title}{f' [{unit}]' if unit not in ('', '1') else ''}", fontsize=8.5)
        plain(axes, "mAs" if doses != [-1.0] else "")
        axes.set_xticks(range(len(doses)), ["" if mas < 0 else f"{mas:g}" for mas in doses])
        axes.set_xlim(-0.6, len(doses) - 0.4)
    figure.subplots_adjust(wspace=0.22, hspace=0.45)
    figure.legend(
        list(handles.values()), list(handles), loc="upper center", bbox_to_anchor=(0.5, 0.06),
        fontsize=8.5, frameon=False, ncol=min(4, max(len(handles), 1)), labelcolor=INK,
    )  # fmt: skip
    return written(figure, "png")


def label(key: Key) -> str:
    """What a group is called beside others of its study."""
    layer = "" if key.layer in ("", "output") else f"layer {key.layer}"
    return ", ".join(part for part in (key.denoiser, layer, key.sampler) if part) or key.study
