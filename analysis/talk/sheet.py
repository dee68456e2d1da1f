"""A sheet of CT images for a projector: large type, one scale, windows and units stated, arrows.

Images of a sheet share their pixel size, so lengths can be compared across it. Differences share
one colour scale, from blue over white (0 HU) to red.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..figures.drawing import INK, new_figure, written
from ..figures.images import Window
from .arrows import Pointer

__all__ = ["Panel", "colour_limit", "rms_hu", "sheet"]

_AMBER = "#ffb000"
_DPI = 160


@dataclass(frozen=True)
class Panel:
    """One image of a sheet.

    Attributes
    ----------
    image : ndarray, (H, W)
        [HU].
    title, caption : str
        Above and below it.
    window : Window, optional
        In which it is shown; without one it is a difference.
    pointers : sequence of Pointer
        Arrows into it.
    labelled : bool
        Whether the arrows carry their HU.
    """

    image: np.ndarray
    title: str = ""
    caption: str = ""
    window: Window | None = None
    pointers: Sequence[Pointer] = field(default=())
    labelled: bool = False


def sheet(
    rows: Sequence[tuple[str, Sequence[Panel | None]]],
    *,
    spacing: tuple[float, float],
    footer: str,
    limit: float = 0.0,
    size: float = 2.0,
    form: str = "png",
) -> bytes:
    """Rows of panels with their labels to the left, a scale bar a row, and a line of text below.

    Parameters
    ----------
    rows : sequence of (str, sequence of Panel or None)
        Label and panels of each row; None leaves a gap.
    spacing : (sy, sx)
        Pixel size of all images [mm].
    footer : str
        Windows, and whatever else a reader has to know.
    limit : float
        End of the colour scale of the differences [HU].
    size : float
        Width of a panel [inch].
    form : {"png", "svg"}

    Returns
    -------
    bytes
        A picture of that form, the same each time.
    """
    gap, label, title, caption = 0.08, 1.3, 0.34, 0.27
    columns = max(len(panels) for _, panels in rows)
    full = [[panel for panel in panels if panel is not None] for _, panels in rows]
    shapes = [panels[0].image.shape for panels in full]
    tall = [size * h * spacing[0] / (w * spacing[1]) for h, w in shapes]
    above = [title * any(p.title for p in panels) for panels in full]
    below = [caption * any(p.caption for p in panels) for panels in full]
    differences = any(p.window is None for panels in full for p in panels)
    width = label + columns * (size + gap) + 0.75 * differences
    height = sum(tall) + sum(above) + sum(below) + gap * len(rows) + 0.18 * (2 + footer.count("\n"))
    figure = new_figure(width, height, dpi=_DPI)

    def place(left: float, top: float, wide: float, high: float) -> Any:
        """Axes at a place given in inches from the upper left corner."""
        box = (left / width, 1 - (top + high) / height, wide / width, high / height)
        axes = figure.add_axes(box)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    top, shown, first, last = 0.0, None, 0.0, 0.0
    for (name, panels), high, over, under in zip(rows, tall, above, below, strict=True):
        top += over
        figure.text(
            (label - 0.12) / width, 1 - (top + high / 2) / height, name, ha="right", va="center",
            fontsize=12, color=INK, linespacing=1.3,
        )  # fmt: skip
        marked = False
        for j, panel in enumerate(panels):
            if panel is None:
                continue
            axes = place(label + j * (size + gap), top, size, high)
            if panel.window is None:
                colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
            else:
                low, bright = panel.window.limits
                colours = {"cmap": "gray", "vmin": low, "vmax": bright}
            drawn = axes.imshow(panel.image, interpolation="nearest", aspect="auto", **colours)
            if panel.window is None:
                first = top if shown is None else first
                shown, last = drawn, top + high
            axes.set_title(panel.title, fontsize=12.5, color=INK, pad=5)
            axes.set_xlabel(panel.caption, fontsize=10.5, color=INK, labelpad=3)
            if not marked and panel.window is not None:
                _scale_bar(axes, panel.image.shape, spacing)
                marked = True
            for pointer in panel.pointers:
                _arrow(axes, pointer, labelled=panel.labelled)
        top += high + under + gap
    if shown is not None:
        bar_axes = place(label + columns * (size + gap) + 0.02, first, 0.13, last - first)
        bar = figure.colorbar(shown, cax=bar_axes)
        bar.ax.tick_params(labelsize=9.5, length=2, colors=INK)
        bar.set_label("difference [HU]", fontsize=10.5, color=INK)
        bar.outline.set_visible(False)
    figure.text(
        label / width, 1 - (top + 0.06) / height, footer, ha="left", va="top", fontsize=9.5,
        color=INK, linespacing=1.35,
    )  # fmt: skip
    return written(figure, form)


def rms_hu(image: np.ndarray) -> float:
    """‖·‖ of an image [HU]: the rms over its pixels."""
    return float(np.sqrt(np.mean(np.square(image, dtype=np.float64))))


def colour_limit(differences: Sequence[np.ndarray]) -> float:
    """End of a colour scale [HU]: what 99 % of all pixels do not exceed, in tens, at least 10.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.talk.sheet import colour_limit
    >>> colour_limit([np.full((8, 8), -42.0)])
    40.0
    """
    together = np.concatenate([np.abs(image).ravel() for image in differences])
    return max(10.0, 10.0 * round(float(np.percentile(together, 99.0)) / 10))


def _outlined(width: float) -> list[Any]:
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="black")]


def _scale_bar(axes: Any, shape: tuple[int, ...], spacing: tuple[float, float]) -> None:
    """A bar of about a sixth of the width in the lower left corner, with its length."""
    across = shape[1] * spacing[1]
    length = max((n for n in (5.0, 10.0, 20.0, 50.0, 100.0) if n <= across / 5), default=across / 5)
    row, col = 0.94 * shape[0], 0.05 * shape[1]
    axes.plot(
        [col, col + length / spacing[1]], [row, row], color="white", lw=2.5, solid_capstyle="butt",
        path_effects=_outlined(4.5), scalex=False, scaley=False,
    )  # fmt: skip
    text = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    axes.text(
        col, row - 0.025 * shape[0], text, fontsize=9.5, color="white", va="bottom",
        path_effects=_outlined(2.0),
    )  # fmt: skip


def _arrow(axes: Any, pointer: Pointer, *, labelled: bool) -> None:
    """An arrow that ends before its place, and the HU at its tail."""
    axes.annotate(
        "", xy=pointer.tip[::-1], xytext=pointer.tail[::-1],
        arrowprops={
            "arrowstyle": "-|>,head_length=0.45,head_width=0.22", "facecolor": _AMBER,
            "edgecolor": _AMBER, "lw": 1.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11,
            "path_effects": _outlined(3.4),
        },
    )  # fmt: skip
    if labelled:
        row, col = pointer.label
        axes.text(
            col, row, f"{pointer.hu:+.0f} HU", fontsize=9, color=_AMBER, weight="bold",
            ha="center", va="center", path_effects=_outlined(2.4),
        )  # fmt: skip
