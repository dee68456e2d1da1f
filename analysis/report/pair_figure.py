"""The picture of a projection-domain study: what differs, and how detectable it is where."""

from __future__ import annotations

import numpy as np

from ..figures.drawing import INK, bare, new_figure, plain, scale_bar, written
from ..figures.images import Scale, Window, fit_window
from ..figures.sheets import colour_bar
from ..projection_domain.pair import DETECTED
from ..runs.store import Study
from .pair_words import part_names, shares

__all__ = ["projection_figure"]

_COLOURS = ("#9aa3ad", INK, "#3d6d8c", "#b3541e")


def projection_figure(study: Study, *, spacing: float, form: str = "png") -> bytes:
    """Images of y, x, f(x) and of the difference at each stage; d' over exposure, band and τ.

    Parameters
    ----------
    study : Study
        A study of two anatomies, as the projection-domain analysis gives it.
    spacing : float
        Pixel size of the patch [mm].
    form : {"png", "svg"}
    """
    arrays = study.arrays
    figure = new_figure(13.0, 7.2)
    grid = figure.add_gridspec(2, 6, height_ratios=[1.0, 1.35], hspace=0.33, wspace=0.12)
    window = fit_window(arrays["y"])
    scale = Scale("difference", max(1.0, float(np.abs(arrays["change"]).max())))
    shown: list[tuple[str, str, Window | Scale]] = [
        ("y", "y", window),
        ("x", f"x, {study.mas:g} mAs", window),
        ("fx", f"f(x), {study.denoiser}", window),
        ("change", "ȳ - y", scale),
        ("signal", "after R⁻¹R", scale),
        ("output_signal", "after f: J R⁻¹R(ȳ - y)", scale),
    ]
    for j, (name, title, look) in enumerate(shown):
        axes = bare(figure.add_subplot(grid[0, j]))
        last = axes.imshow(arrays[name], interpolation="nearest", **look.colours)
        axes.set_title(title, fontsize=9, color=INK)
        if name == "y":
            scale_bar(axes, arrays[name].shape, (spacing, spacing))
    place = axes.get_position()
    beside = figure.add_axes((place.x1 + 0.006, place.y0, 0.008, place.height))
    colour_bar(beside, last, "HU")
    _exposures(figure.add_subplot(grid[1, :2]), study)
    _parts(figure.add_subplot(grid[1, 2:4]), study)
    _tolerances(figure.add_subplot(grid[1, 4:]), study)
    title = f"{study.facts['other']}: of d'² at full dose {shares(study)}"
    figure.suptitle(title, fontsize=10, color=INK, y=0.955)
    return written(figure, form)


def _exposures(axes, study: Study) -> None:
    mas, *curves = study.arrays["curve"]
    names = ("rays (ideal)", "image", f"output of {study.denoiser}")
    styles = ("-", "--", ":")
    for values, name, colour, style in zip(curves, names, _COLOURS[1:], styles, strict=True):
        axes.loglog(mas, np.maximum(values, 1e-6), style, color=colour, lw=2, label=name)
    axes.axhline(DETECTED, color=INK, lw=0.8, ls=(0, (4, 3)))
    axes.text(mas[0], DETECTED * 1.06, "d' = 2.77, AUC .975", fontsize=7.5, color=INK)
    axes.axvline(study.mas, color="#c9ccd1", lw=0.8, zorder=0)
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("d' of the whole difference", fontsize=8.5)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    plain(axes, "exposure [mAs]")


def _parts(axes, study: Study) -> None:
    stages = study.arrays["stages"]
    names = part_names(study.facts["patch"]["spacing_mm"], short=True)
    labels = ("there, full dose", "left by the dose", "by the reconstruction", "by the network")
    at = np.arange(len(names))
    for k, (row, label, colour) in enumerate(zip(stages, labels, _COLOURS, strict=True)):
        axes.bar(at + (k - 1.5) * 0.2, row, 0.2, color=colour, label=label)
    axes.set_xticks(at, names, fontsize=7, rotation=25, ha="right", rotation_mode="anchor")
    axes.legend(fontsize=7.5, frameon=False)
    axes.set_ylabel("d'", fontsize=8.5, labelpad=1)
    plain(axes, "part of the difference, bands in lp/cm")
    axes.tick_params(axis="x", labelsize=7)


def _tolerances(axes, study: Study) -> None:
    tau, image, output = study.arrays["tolerance_curve"]
    axes.semilogx(tau, image, "--o", ms=3, color=_COLOURS[2], lw=1.5, label="image")
    axes.semilogx(tau, output, ":o", ms=3, color=_COLOURS[3], lw=1.5, label="output")
    axes.axhline(study.arrays["stages"][1, 0], color=_COLOURS[1], lw=1.2)
    axes.text(tau[-1], study.arrays["stages"][1, 0], "rays", fontsize=7.5, ha="right", va="bottom")
    axes.set_ylim(bottom=0.0)
    axes.set_xticks([0.1, 1.0, 10.0], ["0.1", "1", "10"])
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    axes.set_ylabel(f"d' at {study.mas:g} mAs", fontsize=8.5, labelpad=1)
    plain(axes, "the reader's tolerance τ [HU]")
