"""Reconstructed slices in one picture: three planes through the middle, with axes in mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..figures.drawing import new_figure, written

if TYPE_CHECKING:
    from analysis.projections.slices import SlicePlan

__all__ = ["doses_figure", "slices_figure"]

_ACROSS = 4  # pictures in a row
_WINDOW = (-160.0, 240.0)  # HU: level 40, width 400
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
    (sy, sx), (rows, cols) = grid.spacing, grid.shape
    k, i, j = len(z) // 2, rows // 2, cols // 2
    x_ends = (grid.x[0] - sx / 2, grid.x[-1] + sx / 2)
    y_ends = (grid.y[0] - sy / 2, grid.y[-1] + sy / 2)
    z_ends = (z[0] - step / 2, z[-1] + step / 2)
    names = [_towards(axis) for axis in patient_axes(patient_position).T]

    wide, high = x_ends[1] - x_ends[0], z_ends[1] - z_ends[0]
    tall = min(max(4.2 * high / wide, 1.6), 8.0)
    figure = new_figure(13.5, max(4.6, tall + 0.9))
    figure.set_layout_engine("constrained")
    axial, coronal, sagittal = figure.subplots(1, 3)
    look = {
        "cmap": "gray", "vmin": _WINDOW[0], "vmax": _WINDOW[1], "interpolation": "nearest",
    }  # fmt: skip
    image = axial.imshow(hu[k], extent=(*x_ends, y_ends[1], y_ends[0]), **look)
    axial.set(xlabel=f"x, to the {names[0]} [mm]", ylabel=f"y, {names[1]} [mm]")
    axial.set_title(f"axial, z = {z[k]:.1f} mm", fontsize=9)
    coronal.imshow(hu[:, i], extent=(*x_ends, *z_ends), origin="lower", **look)
    coronal.set(xlabel=f"x, to the {names[0]} [mm]", ylabel=f"z, {names[2]} [mm]")
    coronal.set_title(f"coronal, y = {grid.y[i]:.1f} mm", fontsize=9)
    sagittal.imshow(hu[:, :, j], extent=(*y_ends, *z_ends), origin="lower", **look)
    sagittal.set(xlabel=f"y, {names[1]} [mm]", ylabel=f"z, {names[2]} [mm]")
    sagittal.set_title(f"sagittal, x = {grid.x[j]:.1f} mm", fontsize=9)
    for plane in (axial, coronal, sagittal):
        plane.tick_params(labelsize=7)
        plane.set_aspect("equal")
    figure.colorbar(image, ax=[axial, coronal, sagittal], label="CT number [HU]", shrink=0.8)
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
    (sy, sx) = grid.spacing
    extent = (grid.x[0] - sx / 2, grid.x[-1] + sx / 2, grid.y[-1] + sy / 2, grid.y[0] - sy / 2)
    columns = min(len(pictures), _ACROSS)
    rows = -(-len(pictures) // columns)
    figure = new_figure(4.2 * columns + 1.2, 4.3 * rows)
    figure.set_layout_engine("constrained")
    places = figure.subplots(rows, columns, squeeze=False)
    for place in places.flat[len(pictures) :]:
        place.set_axis_off()
    for place, (title, hu) in zip(places.flat, pictures):
        image = place.imshow(
            hu, extent=extent, cmap="gray", vmin=_WINDOW[0], vmax=_WINDOW[1],
            interpolation="nearest",
        )  # fmt: skip
        place.set_title(title, fontsize=9)
        place.set(xlabel="x [mm]", ylabel="y [mm]")
        place.tick_params(labelsize=7)
    figure.colorbar(image, ax=places, label="CT number [HU]", shrink=0.8)
    figure.suptitle(f"z = {plan.z[len(plan.z) // 2]:.1f} mm", fontsize=10)
    return written(figure, "png")


def _towards(axis: np.ndarray) -> str:
    """What a direction in patient coordinates is called."""
    largest = int(np.argmax(np.abs(axis)))
    return _WORDS[largest][0 if axis[largest] > 0 else 1]
