"""An empty figure and what becomes of a full one: PNG for a page, SVG for a paper."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from recon import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "FORMS",
    "INK",
    "bare",
    "new_figure",
    "outlined",
    "plain",
    "scale_bar",
    "written",
]

FORMS = ("png", "svg")
"""Forms that a figure can be written in."""

INK = "#1d2430"
"""Colour of texts and axes."""

ACCENT = "#b3541e"
"""Colour of what is pointed out."""

_DPI = 110


def new_figure(width: float, height: float, *, dpi: int = _DPI) -> Figure:
    """A white figure of a size in inches, on no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def written(figure: Figure, form: str) -> bytes:
    """The bytes of a figure as "png" or "svg", the same each time.

    Raises
    ------
    DataError
        If the form is another one.

    Examples
    --------
    >>> from analysis.figures.drawing import new_figure, written
    >>> written(new_figure(1, 1), "png")[1:4]
    b'PNG'
    """
    from matplotlib import rc_context

    if form not in FORMS:
        raise DataError("no such form of a figure", expected=" or ".join(FORMS), got=form)
    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "ctxai"}):  # else the names inside are drawn at random
        undated = {"Date": None} if form == "svg" else None
        figure.savefig(out, format=form, bbox_inches="tight", pad_inches=0.06, metadata=undated)
    return out.getvalue()


def bare(axes: Any) -> Any:
    """Take ticks and frame from axes that hold an image; returns them."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def plain(axes: Any, xlabel: str) -> None:
    """Axes of a curve with small ticks, no frame to the right and above, and a label below."""
    axes.set_xlabel(xlabel, fontsize=8.5)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def outlined(width: float) -> list[Any]:
    """A black outline, so that bright lines and texts are seen on any grey."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="black")]


def scale_bar(
    axes: Any, shape: tuple[int, ...], spacing: tuple[float, float], *, text: float = 7.0
) -> None:
    """A bar of about a sixth of an image's width in its lower left corner, with its length.

    Parameters
    ----------
    axes : Axes
        Whose coordinates are pixels.
    shape : (rows, cols)
    spacing : (sy, sx)
        Pixel size [mm].
    text : float
        Size of the text [points]; the bar follows it.
    """
    across = shape[1] * spacing[1]
    length = max((n for n in (5.0, 10.0, 20.0, 50.0, 100.0) if n <= across / 5), default=across / 5)
    row, col = 0.94 * shape[0], 0.05 * shape[1]
    axes.plot(
        [col, col + length / spacing[1]], [row, row], color="white", lw=0.26 * text,
        solid_capstyle="butt", path_effects=outlined(0.47 * text), scalex=False, scaley=False,
    )  # fmt: skip
    words = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    axes.text(
        col, row - 0.025 * shape[0], words, fontsize=text, color="white", va="bottom",
        path_effects=outlined(0.21 * text),
    )  # fmt: skip
