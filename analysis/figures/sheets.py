"""Sheets of a study, as PNG or SVG: rows of images in a stated window, and of maps in HU.

Every colour bar is in HU. Images of a sheet share their pixel size, so lengths can be compared
across it; a row has a scale bar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .drawing import ACCENT, INK, bare, new_figure, scale_bar, written
from .images import Scale, Window

__all__ = ["Panel", "Row", "colour_bar", "rows_figure", "sheet"]

Box = tuple[float, float, float, float]
"""Left, bottom, width and height, as shares of a figure's."""


@dataclass(frozen=True)
class Panel:
    """One image of a sheet.

    Attributes
    ----------
    image : ndarray, (H, W)
        [HU].
    title, caption : str
        Above and below it, the caption of one line or more.
    window : Window or Scale, optional
        In which it is shown; without one it is a difference on the sheet's own scale.
    """

    image: np.ndarray
    title: str = ""
    caption: str = ""
    window: Window | Scale | None = None

    def mark(self, over: Callable[[], Any]) -> None:
        """Draw on the image; here nothing. ``over()`` gives axes in coordinates of its pixels."""


def sheet(
    rows: Sequence[tuple[str, Sequence[Panel | None]]],
    *,
    spacing: tuple[float, float],
    footer: str = "",
    limit: float = 0.0,
    size: float = 2.0,
    text: float = 12.0,
    dpi: int = 160,
    form: str = "png",
) -> bytes:
    """Rows of panels with their labels to the left, a scale bar a row, and a line of text below.

    Parameters
    ----------
    rows : sequence of (str, sequence of Panel or None)
        Label and panels of each row; None leaves a gap. Rows that follow each other on one scale
        share its colour bar.
    spacing : (sy, sx)
        Pixel size of all images [mm].
    footer : str
        Windows, and whatever else a reader has to know.
    limit : float
        End of the colour scale of the differences without one of their own [HU].
    size : float
        Width of a panel [inch].
    text : float
        Size of the labels [points]; other texts, and the gaps, follow it.
    dpi : int
        Pixels an inch.
    form : {"png", "svg"}

    Returns
    -------
    bytes
        A picture of that form, the same each time.
    """
    k = text / 12.0
    # panels stand whole pixels apart: all are sampled alike, which makes a smaller file
    gap = round((size + 0.08 * k) * dpi) / dpi - size
    label = 1.3
    columns = max(len(panels) for _, panels in rows)
    full = [[panel for panel in panels if panel is not None] for _, panels in rows]
    above, tall, below = zip(*(_heights(panels, spacing, size, k) for panels in full), strict=True)
    coloured = any(not isinstance(p.window, Window) for panels in full for p in panels)
    width = label + columns * (size + gap) + 0.75 * coloured
    height = sum(tall) + sum(above) + sum(below) + gap * len(rows)
    height += 0.18 * (2 + footer.count("\n")) if footer else 0.0
    figure = new_figure(width, height, dpi=dpi)

    def part(left: float, top: float, wide: float, high: float) -> Box:
        """Of the figure, what is given in inches from its upper left corner."""
        return left / width, 1 - (top + high) / height, wide / width, high / height

    top = 0.0
    bars: list[tuple[Scale, int, float, float, Any]] = []  # scale, row, top, end, what is drawn
    for number, (name, panels) in enumerate(rows):
        top, high, measured = top + above[number], tall[number], False
        figure.text(
            (label - 0.12) / width, 1 - (top + high / 2) / height, name, ha="right", va="center",
            fontsize=text, color=INK, linespacing=1.3,
        )  # fmt: skip
        for j, panel in enumerate(panels):
            if panel is None:
                continue
            box = part(label + j * (size + gap), top, size, high)
            scale = panel.window or Scale("difference", limit)
            drawn = _draw(panel, figure, box, scale, k)
            if isinstance(scale, Scale):
                first = top
                if bars and bars[-1][0] == scale and bars[-1][1] >= number - 1:
                    first = bars.pop()[2]
                bars.append((scale, number, first, top + high, drawn))
            elif not measured:
                scale_bar(_over(panel, figure, box), panel.image.shape, spacing, text=9.5 * k)
                measured = True
            panel.mark(partial(_over, panel, figure, box))
        top += high + below[number] + gap
    for scale, _, first, last, drawn in bars:
        box = part(label + columns * (size + gap) + 0.02, first, 0.13 * k, last - first)
        axes = bare(figure.add_axes(box))
        colour_bar(axes, drawn, f"{scale.kind} [HU]", ticks=9.5 * k, text=10.5 * k)
    figure.text(
        label / width, 1 - (top + 0.06) / height, footer, ha="left", va="top", fontsize=9.5 * k,
        color=INK, linespacing=1.35,
    )  # fmt: skip
    return written(figure, form)


def _heights(
    panels: Sequence[Panel], spacing: tuple[float, float], size: float, k: float
) -> tuple[float, float, float]:
    """Height of the titles of a row, of its images and of its captions [inch]."""
    rows, cols = panels[0].image.shape
    lines = max(1 + p.caption.count("\n") if p.caption else 0 for p in panels)
    high = size * rows * spacing[0] / (cols * spacing[1])
    return 0.34 * k * any(p.title for p in panels), high, 0.27 * k * lines


def _draw(panel: Panel, figure: Any, box: Box, scale: Window | Scale, k: float) -> Any:
    """An image with its title and caption: no axes, which take longer than all else of a sheet."""
    from matplotlib.image import BboxImage
    from matplotlib.transforms import Bbox, TransformedBbox

    left, bottom, wide, high = box
    point = 1 / 72 / figure.get_figheight()  # of the figure's height
    middle = {"x": left + wide / 2, "ha": "center", "color": INK}
    figure.text(
        y=bottom + high + 5 * k * point, s=panel.title, va="bottom", fontsize=12.5 * k, **middle
    )
    figure.text(y=bottom - 3 * k * point, s=panel.caption, va="top", fontsize=10.5 * k, **middle)
    where = TransformedBbox(Bbox.from_bounds(*box), figure.transFigure)
    drawn = BboxImage(where, cmap=scale.colours["cmap"], interpolation="nearest", origin="upper")
    drawn.set_clim(scale.colours["vmin"], scale.colours["vmax"])
    drawn.set_data(panel.image)
    return figure.add_artist(drawn)


def _over(panel: Panel, figure: Any, box: Box) -> Any:
    """Axes over a panel, in coordinates of its pixels, that show nothing of themselves."""
    rows, cols = panel.image.shape
    axes = figure.add_axes(box, xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_axis_off()
    return axes


def colour_bar(axes: Any, drawn: Any, label: str, *, ticks: float = 7.0, text: float = 7.5) -> None:
    """The colours of an image on axes of their own; sizes of numbers and label in points."""
    bar = axes.figure.colorbar(drawn, cax=axes)
    bar.ax.tick_params(labelsize=ticks, length=2, colors=INK)
    bar.set_label(label, fontsize=text, color=INK)
    bar.outline.set_visible(False)


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
    circles : sequence of (row, column, radius)
        A circle drawn in each image [pixels].
    """

    label: str
    images: Sequence[np.ndarray | None]
    kind: str = "image"
    captions: Sequence[str] = ()
    limit: float | None = None
    circles: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class _Circled(Panel):
    """An image with a circle (row, column, radius) [pixels]."""

    circle: tuple[float, float, float] | None = None

    def mark(self, over: Callable[[], Any]) -> None:
        """Draw the circle."""
        if self.circle is not None:
            from matplotlib.patches import Circle

            row, col, radius = self.circle
            over().add_patch(Circle((col, row), radius, fill=False, color=ACCENT, linewidth=1.2))


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
        Window in which the grey images are shown.
    spacing : float
        Pixel size [mm].
    size : float
        Width of an image [inch].
    form : {"png", "svg"}

    Returns
    -------
    bytes
        A picture of that form.
    """
    panels = []
    for row in rows:
        scale = window if row.kind == "image" else Scale(row.kind, _limit(row))
        captions = [*row.captions, *[""] * len(row.images)]
        circles = [*row.circles, *[None] * len(row.images)]
        shown = [
            None if image is None else _Circled(image, caption=said, window=scale, circle=circle)
            for image, said, circle in zip(row.images, captions, circles)
        ]
        panels.append((row.label, shown))
    return sheet(panels, spacing=(spacing, spacing), size=size, text=8.5, dpi=110, form=form)
