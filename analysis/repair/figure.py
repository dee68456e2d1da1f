"""The figure of a repair: the contrast that lesions keep, and what observers make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..figures.drawing import INK, new_figure, plain, written
from .numbers import CONTRAST, LESIONS, RADII, Measured, mean_and_error

__all__ = ["repair_figure"]

_COLOURS = ("#9aa3ad", INK, "#3d6d8c", "#b3541e", "#6b8e3d")
_MARKS = ("", "o", "s", "^", "D")


def repair_figure(
    measured: Mapping[str, Mapping[str, Sequence[Measured]]],
    slice_of: Tensor,
    *,
    form: str = "png",
) -> bytes:
    """Contrast recovery and d' over the radius of a lesion, a row for each denoiser.

    Parameters
    ----------
    measured : mapping
        Denoiser → network → its numbers, one for each seed: "x" itself, "before", "control", and
        the repaired ones.
    slice_of : Tensor, (n,)
        The slice of each patch.
    form : {"png", "svg"}
    """
    figure = new_figure(11.5, 3.6 * len(measured))
    grid = figure.subplots(len(measured), 3, squeeze=False)
    figure.subplots_adjust(wspace=0.27, hspace=0.42)
    for (denoiser, networks), axes in zip(measured.items(), grid, strict=True):
        _recovery(axes[0], networks, slice_of)
        axes[0].set_title(f"{denoiser}: lesions of {CONTRAST:+g} HU", fontsize=9, color=INK)
        for axis, observer in zip(axes[1:], ("CHO", "NPW"), strict=True):
            _observer(axis, networks, observer)
            axis.set_title(f"{denoiser}: {observer}, 95 % intervals", fontsize=9, color=INK)
    grid[0, 0].legend(fontsize=8, frameon=False, loc="lower right")
    grid[0, 1].legend(fontsize=8, frameon=False, loc="upper left")
    return written(figure, form)


def _recovery(axes: Any, networks: Mapping[str, Sequence[Measured]], slice_of: Tensor) -> None:
    radii = [radius for radius, contrast in LESIONS if contrast == CONTRAST]
    for (name, found), colour, mark in zip(networks.items(), _COLOURS, _MARKS):
        points = [
            mean_and_error([seed.recovery[radius, CONTRAST] for seed in found], slice_of)
            for radius in radii
        ]
        means, errors = zip(*points, strict=True)
        axes.errorbar(
            radii, means, errors, color=colour, marker=mark, ms=4, lw=1.5, capsize=2, label=name
        )
    axes.set_ylim(top=1.03)
    axes.set_ylabel("contrast recovery (± standard error)", fontsize=8.5)
    plain(axes, "radius of the lesion [pixels]")


def _observer(axes: Any, networks: Mapping[str, Sequence[Measured]], observer: str) -> None:
    width = 0.8 / len(networks)
    for k, ((name, found), colour) in enumerate(zip(networks.items(), _COLOURS)):
        seen = [[seed.observed[observer, radius] for seed in found] for radius in RADII]
        means = [sum(one.d for one in seeds) / len(seeds) for seeds in seen]
        at = [j + (k - (len(networks) - 1) / 2) * width for j in range(len(RADII))]
        reach = [
            [max(0.0, d - min(s.d_interval[0] for s in seeds)) for d, seeds in zip(means, seen)],
            [max(0.0, max(s.d_interval[1] for s in seeds) - d) for d, seeds in zip(means, seen)],
        ]
        axes.bar(at, means, width, color=colour, label=name)
        axes.errorbar(at, means, reach, fmt="none", ecolor="#55606e", lw=0.9)
    axes.set_xticks(range(len(RADII)), [f"{radius:g}" for radius in RADII])
    axes.set_ylabel("d'", fontsize=8.5)
    plain(axes, "radius of the lesion [pixels]")
