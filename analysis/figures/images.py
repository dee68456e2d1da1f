"""Pictures of a study, as PNG or SVG: images in a stated window with a scale bar, maps in HU.

Images are grey, differences go from blue over white to red about 0 HU, standard deviations run from
dark to bright; every colour bar is in HU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .drawing import INK, new_figure, written

__all__ = ["Row", "Window", "distance_figure", "fit_window", "rows_figure", "scene_figure"]

_ACCENT = "#b3541e"
_NULL = "#3d6d8c"


@dataclass(frozen=True)
class Window:
    """Display window in HU: centre and full width."""

    name: str
    level: float
    width: float

    @property
    def limits(self) -> tuple[float, float]:
        """CT numbers shown black and white."""
        return self.level - self.width / 2, self.level + self.width / 2

    def __str__(self) -> str:
        return f"{self.name} window, W {self.width:g} / L {self.level:g} HU"


SOFT_TISSUE = Window("soft-tissue", 40.0, 400.0)
LUNG = Window("lung", -600.0, 1500.0)


def fit_window(hu: np.ndarray) -> Window:
    """The window to read a patch in: lung if half of it is lung or air, soft tissue otherwise."""
    return LUNG if float(np.median(hu)) < -400.0 else SOFT_TISSUE


@dataclass(frozen=True)
class Row:
    """A row of images of one sort.

    Attributes
    ----------
    label : str
        What they are.
    images : sequence of ndarray
        (H, W) [HU]; None leaves a gap.
    kind : str
        "image", "difference" or "sd".
    captions : sequence of str
        Text below each image, of one line or more.
    limit : float, optional
        Largest value of the colour scale [HU], for differences and sd.
    """

    label: str
    images: Sequence[np.ndarray | None]
    kind: str = "image"
    captions: Sequence[str] = ()
    limit: float | None = None


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _scale_bar(axes: Any, shape: tuple[int, int], spacing: float, length: float) -> None:
    """A bar of `length` mm in the lower left corner."""
    pixels = length / spacing
    x, y = 0.05 * shape[1], 0.95 * shape[0]
    axes.plot([x, x + pixels], [y, y], color="white", lw=4, solid_capstyle="butt")
    axes.plot([x, x + pixels], [y, y], color="black", lw=2, solid_capstyle="butt")
    label = f"{length:g} mm" if length < 100 else f"{length / 10:g} cm"
    text = axes.text(x, y - 0.025 * shape[0], label, fontsize=7, color="white", va="bottom")
    from matplotlib import patheffects

    text.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black")])


def _colours(kind: str, window: Window, limit: float) -> dict[str, Any]:
    if kind == "difference":
        return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    if kind == "sd":
        return {"cmap": "magma", "vmin": 0.0, "vmax": limit}
    low, high = window.limits
    return {"cmap": "gray", "vmin": low, "vmax": high}


def _limit(row: Row) -> float:
    if row.limit is not None:
        return row.limit
    values = np.concatenate([np.abs(image).ravel() for image in row.images if image is not None])
    return max(1.0, float(np.percentile(values, 99.0)))


def rows_figure(
    rows: Sequence[Row], *, window: Window, spacing: float, size: float = 1.35, form: str = "png"
) -> bytes:
    """Rows of images of equal size, one sort a row, with a colour bar where it is not grey.

    Parameters
    ----------
    rows : sequence of Row
    window : Window
        Of the grey images.
    spacing : float
        Pixel size [mm], for the scale bar of the first image.
    size : float
        Width of an image [inch].
    form : {"png", "svg"}

    Returns
    -------
    bytes
        A picture of that form.
    """
    columns = max(len(row.images) for row in rows)
    gap, label, caption = 0.05, 1.2, 0.2
    tall = [size * _aspect(row) + gap + caption * _lines(row) for row in rows]
    width, height = label + columns * (size + gap) + 0.65, sum(tall)
    figure = new_figure(width, height)

    def place(left: float, top: float, wide: float, high: float) -> Any:
        """Axes at a place given in inches from the upper left corner."""
        box = (left / width, 1 - (top + high) / height, wide / width, high / height)
        return figure.add_axes(box)

    top, marked = 0.0, False
    for row, step in zip(rows, tall, strict=True):
        high = size * _aspect(row)
        limit = _limit(row) if row.kind != "image" else 0.0
        figure.text(
            (label - 0.1) / width, 1 - (top + high / 2) / height, row.label, ha="right",
            va="center", fontsize=8.5, color=INK, linespacing=1.25,
        )  # fmt: skip
        shown = None
        for j, image in enumerate(row.images):
            if image is None:
                continue
            axes = place(label + j * (size + gap), top, size, high)
            _bare(axes)
            shown = axes.imshow(
                image, interpolation="nearest", aspect="auto", **_colours(row.kind, window, limit)
            )
            if row.kind == "image" and not marked:
                length = 10.0 * max(1, round(image.shape[1] * spacing / 64))
                _scale_bar(axes, image.shape, spacing, length)
                marked = True
            if j < len(row.captions):
                axes.set_xlabel(row.captions[j], fontsize=7.5, color=INK, labelpad=2.5)
        if row.kind != "image" and shown is not None:
            bar_axes = place(label + columns * (size + gap) + 0.02, top, 0.09, high)
            bar = figure.colorbar(shown, cax=bar_axes)
            bar.ax.tick_params(labelsize=7, length=2, colors=INK)
            bar.set_label("HU", fontsize=7.5, color=INK)
            bar.outline.set_visible(False)
        top += step
    return written(figure, form)


def _lines(row: Row) -> int:
    """Lines that a row's captions take."""
    return max((1 + text.count("\n") for text in row.captions), default=0)


def _aspect(row: Row) -> float:
    """Height of a row's images in units of their width."""
    shape = next(image.shape for image in row.images if image is not None)
    return shape[0] / shape[1]


def scene_figure(
    slice_hu: np.ndarray,
    spacing: tuple[float, float],
    box: tuple[float, float, float, float],
    images: dict[str, np.ndarray],
    *,
    window: Window,
    patch_spacing: float,
    form: str = "png",
) -> bytes:
    """The slice with the patch outlined, and the patch's images beside it.

    Parameters
    ----------
    slice_hu : ndarray, (rows, cols)
        [HU].
    spacing : (sy, sx)
        Of the slice [mm].
    box : (left, top, width, height)
        Outline of the patch [mm] about the slice's centre.
    images : dict
        Title → (H, W) [HU].
    window : Window
    patch_spacing : float
        Pixel size of the patch [mm].
    form : {"png", "svg"}
    """
    from matplotlib.patches import Rectangle

    rows, cols = slice_hu.shape
    half = cols * spacing[1] / 2, rows * spacing[0] / 2
    size = 2.25
    figure = new_figure(size * 1.05 + len(images) * (size + 0.1), size + 0.45)
    grid = figure.add_gridspec(
        1, 1 + len(images), width_ratios=[half[0] / half[1]] + [1.0] * len(images), wspace=0.05
    )
    axes = figure.add_subplot(grid[0, 0])
    _bare(axes)
    low, high = window.limits
    axes.imshow(
        slice_hu, cmap="gray", vmin=low, vmax=high, interpolation="antialiased",
        extent=(-half[0], half[0], half[1], -half[1]),
    )  # fmt: skip
    axes.add_patch(
        Rectangle(box[:2], box[2], box[3], fill=False, edgecolor="#ffb000", linewidth=1.4)
    )
    bar = -0.92 * half[0], 0.94 * half[1]
    axes.plot([bar[0], bar[0] + 50.0], [bar[1]] * 2, color="white", lw=2, solid_capstyle="butt")
    axes.text(bar[0], bar[1] - 0.03 * half[1], "5 cm", color="white", fontsize=7, va="bottom")
    axes.set_title("slice, patch outlined", fontsize=9, color=INK)
    for j, (title, image) in enumerate(images.items()):
        axes = figure.add_subplot(grid[0, j + 1])
        _bare(axes)
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=9, color=INK)
        _scale_bar(axes, image.shape, patch_spacing, 10.0)
    return written(figure, form)


def distance_figure(
    groups: dict[str, np.ndarray],
    *,
    xlabel: str,
    limit: float | None = None,
    limit_label: str = "",
    form: str = "png",
) -> bytes:
    """Distributions of one distance [HU], one strip a group, and the limit they are judged by.

    Parameters
    ----------
    groups : dict
        Label → distances [HU]; the first group is the reference.
    xlabel : str
    limit : float, optional
        A vertical line [HU].
    limit_label : str
        What the line is.
    form : {"png", "svg"}
    """
    figure = new_figure(7.4, 0.62 * len(groups) + 0.85)
    axes = figure.add_subplot()
    generator = np.random.default_rng(0)
    for i, values in enumerate(groups.values()):
        values = np.asarray(values, float).ravel()
        colour = _NULL if i == 0 else _ACCENT
        height = -i + generator.uniform(-0.24, 0.24, values.size)
        axes.scatter(values, height, s=9, color=colour, alpha=0.55, linewidths=0)
        middle = float(np.median(values))
        axes.plot([middle, middle], [-i - 0.34, -i + 0.34], color=colour, lw=2)
        axes.text(
            middle, -i + 0.36, f"median {middle:.1f} HU", fontsize=7.5, color=colour, ha="center",
            va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8}, zorder=5,
        )  # fmt: skip
    if limit is not None:
        axes.axvline(limit, color=INK, lw=1.0, ls=(0, (4, 3)))
        axes.annotate(
            limit_label, (limit, -len(groups) + 0.52), fontsize=7.5, color=INK, xytext=(3, 0),
            textcoords="offset points", va="bottom",
        )  # fmt: skip
    axes.set_yticks([-i for i in range(len(groups))], list(groups), fontsize=8.5)
    axes.set_ylim(-len(groups) + 0.45, 0.72)
    axes.set_xlim(left=0.0)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(xlabel, fontsize=8.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return written(figure, form)
