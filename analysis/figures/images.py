"""How images of a study are shown: windows and colours in HU; a slice with its patch; distances.

Images are grey, differences go from blue over white to red about 0 HU, standard deviations run from
dark to bright.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .drawing import ACCENT, INK, bare, new_figure, scale_bar, written

__all__ = [
    "Scale",
    "Window",
    "distance_figure",
    "fit_window",
    "rms_hu",
    "scene_figure",
    "sd_hu",
]

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
        colour = _NULL if i == 0 else ACCENT
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
