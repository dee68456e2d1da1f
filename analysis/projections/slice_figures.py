"""Reconstructed slices in one picture: three planes through the middle, with axes in mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.drawing import new_figure, written
from ..figures.images import SOFT_TISSUE

if TYPE_CHECKING:
    from analysis.projections.slices import SlicePlan

__all__ = ["doses_figure", "slices_figure"]

_ACROSS = 4  # pictures in a row
_LOOK: dict[str, Any] = {**SOFT_TISSUE.colours, "interpolation": "nearest"}
_WORDS = (("left", "right"), ("posterior", "anterior"), ("superior", "inferior"))


def slices_figure(
    hu: np.ndarray, plan: SlicePlan, *, patient_position: str = "", title: str = ""
) -> bytes:
    """Draw the axial, coronal and sagittal plane through the middle of the slices.

    Parameters
    ----------
    hu : array, shape (slices, rows, cols)
        CT numbers [HU], in the order of the plan.
    plan : SlicePlan
        Where they lie.
    patient_position : str
        What the axes are called follows from it; "" is HFS.
    title : str
        Above the picture.

    Returns
    -------
    bytes
        PNG.
    """
    from recon import patient_axes

    grid, z, step = plan.grid, plan.z, plan.options.slice_increment
    k, i, j = (n // 2 for n in hu.shape)
    x_ends, y_ends = _ends(grid.x, grid.spacing[1]), _ends(grid.y, grid.spacing[0])
    z_ends = _ends(z, step)
    names = [_towards(axis) for axis in patient_axes(patient_position).T]
    x_words, y_words, z_words = f"x, to the {names[0]}", f"y, {names[1]}", f"z, {names[2]}"
    planes = (
        (hu[k], (*x_ends, *y_ends[::-1]), x_words, y_words, f"axial, z = {z[k]:.1f}"),
        (hu[:, i], (*x_ends, *z_ends), x_words, z_words, f"coronal, y = {grid.y[i]:.1f}"),
        (hu[:, :, j], (*y_ends, *z_ends), y_words, z_words, f"sagittal, x = {grid.x[j]:.1f}"),
    )
    wide, high = x_ends[1] - x_ends[0], z_ends[1] - z_ends[0]
    tall = min(max(4.2 * high / wide, 1.6), 8.0)
    figure = new_figure(13.5, max(4.6, tall + 0.9))
    figure.set_layout_engine("constrained")
    places = figure.subplots(1, 3)
    for axes, (image, extent, across, upward, name) in zip(places, planes, strict=True):
        drawn = axes.imshow(
            image, extent=extent, origin="upper" if name.startswith("axial") else "lower", **_LOOK
        )
        axes.set(xlabel=f"{across} [mm]", ylabel=f"{upward} [mm]", aspect="equal")
        axes.set_title(f"{name} mm", fontsize=9)
        axes.tick_params(labelsize=7)
    figure.colorbar(drawn, ax=list(places), label="CT number [HU]", shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=10)
    return written(figure, "png")


def doses_figure(pictures: Sequence[tuple[str, np.ndarray]], plan: SlicePlan) -> bytes:
    """Draw one slice at several exposures, side by side.

    Parameters
    ----------
    pictures : sequence of (str, array of shape (rows, cols))
        What each is, and its CT numbers [HU].
    plan : SlicePlan
        Its middle slice is shown.

    Returns
    -------
    bytes
        PNG.
    """
    grid = plan.grid
    extent = (*_ends(grid.x, grid.spacing[1]), *_ends(grid.y, grid.spacing[0])[::-1])
    columns = min(len(pictures), _ACROSS)
    rows = -(-len(pictures) // columns)
    figure = new_figure(4.2 * columns + 1.2, 4.3 * rows)
    figure.set_layout_engine("constrained")
    places = figure.subplots(rows, columns, squeeze=False)
    for place in places.flat[len(pictures) :]:
        place.set_axis_off()
    for place, (title, hu) in zip(places.flat, pictures):
        image = place.imshow(hu, extent=extent, **_LOOK)
        place.set_title(title, fontsize=9)
        place.set(xlabel="x [mm]", ylabel="y [mm]")
        place.tick_params(labelsize=7)
    figure.colorbar(image, ax=places, label="CT number [HU]", shrink=0.8)
    figure.suptitle(f"z = {plan.z[len(plan.z) // 2]:.1f} mm", fontsize=10)
    return written(figure, "png")


def _ends(middles: np.ndarray, step: float) -> tuple[float, float]:
    """Where a row of pixels begins and ends."""
    return middles[0] - step / 2, middles[-1] + step / 2


def _towards(axis: np.ndarray) -> str:
    """What a direction in patient coordinates is called."""
    largest = int(np.argmax(np.abs(axis)))
    return _WORDS[largest][0 if axis[largest] > 0 else 1]
