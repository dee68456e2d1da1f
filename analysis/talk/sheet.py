"""Panels of a talk's sheets: arrows into an image, and the scale that differences share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..figures import sheets
from ..figures.drawing import outlined
from .arrows import Pointer

__all__ = ["Panel", "colour_limit", "untitled"]

_AMBER = "#ffb000"


@dataclass(frozen=True)
class Panel(sheets.Panel):
    """One image of a sheet, with arrows into it.

    Attributes
    ----------
    pointers : sequence of Pointer
    labelled : bool
        Whether the arrows carry their HU.
    """

    pointers: Sequence[Pointer] = field(default=())
    labelled: bool = False

    def mark(self, over: Callable[[], Any]) -> None:
        """Draw the arrows."""
        if self.pointers:
            axes = over()
            for pointer in self.pointers:
                _arrow(axes, pointer, labelled=self.labelled)


def untitled(panels: Sequence[Any]) -> list[Any]:
    """Panels below others that have the same titles."""
    return [replace(panel, title="") for panel in panels]


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


def _arrow(axes: Any, pointer: Pointer, *, labelled: bool) -> None:
    """An arrow that ends before its place, and the HU at its tail."""
    axes.annotate(
        "", xy=pointer.tip[::-1], xytext=pointer.tail[::-1],
        arrowprops={
            "arrowstyle": "-|>,head_length=0.45,head_width=0.22", "facecolor": _AMBER,
            "edgecolor": _AMBER, "lw": 1.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11,
            "path_effects": outlined(3.4),
        },
    )  # fmt: skip
    if labelled:
        row, col = pointer.label
        axes.text(
            col, row, f"{pointer.hu:+.0f} HU", fontsize=9, color=_AMBER, weight="bold",
            ha="center", va="center", path_effects=outlined(2.4),
        )  # fmt: skip
