"""An empty figure and what becomes of a full one: PNG for a page, SVG for a paper."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from recon import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMS", "INK", "new_figure", "written"]

FORMS = ("png", "svg")
"""Forms that a figure can be written in."""

INK = "#1d2430"
"""Colour of texts and axes."""

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
