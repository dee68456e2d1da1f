"""Pictures of a study, as PNG or SVG: images in a stated window with a scale bar, maps in HU.

Images are grey, differences go from blue over white to red about 0 HU, standard deviations run from
dark to bright; every colour bar is in HU. Images of a sheet share their pixel size, so lengths can
be compared across it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .drawing import INK, bare, new_figure, scale_bar, written

__all__ = [
    "Panel",
    "Row",
    "Scale",
    "Window",
    "colour_bar",
    "distance_figure",
    "fit_window",
    "rms_hu",
    "rows_figure",
    "scene_figure",
    "sd_hu",
    "sheet",
]

Box = tuple[float, float, float, float]
"""Left, bottom, width and height, as shares of a figure's."""

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

    @property
    def colours(self) -> dict[str, Any]:
        """How an image is drawn in it."""
        low, high = self.limits
        return {"cmap": "gray", "vmin": low, "vmax": high}

    def __str__(self) -> str:
        return f"{self.name} window, W {self.width:g} / L {self.level:g} HU"


SOFT_TISSUE = Window("soft-tissue", 40.0, 400.0)
LUNG = Window("lung", -600.0, 1500.0)


def fit_window(hu: np.ndarray) -> Window:
    """The window to read a patch in: lung if half of it is lung or air, soft tissue otherwise."""
    return LUNG if float(np.median(hu)) < -400.0 else SOFT_TISSUE


def rms_hu(image: np.ndarray) -> float:
    """‖·‖ of an image [HU]: the rms over its pixels."""
    return float(np.sqrt(np.mean(np.square(image, dtype=np.float64))))


def sd_hu(samples: np.ndarray) -> np.ndarray:
    """Standard deviation over samples [HU], (n, H, W) → (H, W); zero for a single sample."""
    return samples.std(0, ddof=min(1, len(samples) - 1), dtype=np.float64)


@dataclass(frozen=True)
class Scale:
    """Colours of differences ("difference") or standard deviations ("sd") up to a limit [HU]."""

    kind: str
    limit: float

    @property
    def colours(self) -> dict[str, Any]:
        """How an image is drawn in it."""
        if self.kind == "sd":
            return {"cmap": "magma", "vmin": 0.0, "vmax": self.limit}
        return {"cmap": "RdBu_r", "vmin": -self.limit, "vmax": self.limit}


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
            over().add_patch(Circle((col, row), radius, fill=False, color=_ACCENT, linewidth=1.2))


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
        Pixel size of the slice [mm].
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
    axes = bare(figure.add_subplot(grid[0, 0]))
    axes.imshow(
        slice_hu, interpolation="antialiased", aspect=spacing[0] / spacing[1], **window.colours
    )
    left, top = (box[0] + half[0]) / spacing[1] - 0.5, (box[1] + half[1]) / spacing[0] - 0.5
    axes.add_patch(
        Rectangle(
            (left, top), box[2] / spacing[1], box[3] / spacing[0], fill=False,
            edgecolor="#ffb000", linewidth=1.4,
        )
    )  # fmt: skip
    scale_bar(axes, slice_hu.shape, spacing)
    axes.set_title("slice, patch outlined", fontsize=9, color=INK)
    for j, (title, image) in enumerate(images.items()):
        axes = bare(figure.add_subplot(grid[0, j + 1]))
        axes.imshow(image, interpolation="nearest", **window.colours)
        axes.set_title(title, fontsize=9, color=INK)
        scale_bar(axes, image.shape, (patch_spacing, patch_spacing))
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
