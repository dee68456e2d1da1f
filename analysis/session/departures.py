"""How the scan of a study differs from that which the networks learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .models import working_point
from .running import current

if TYPE_CHECKING:
    from ctxai import WeightSet

    from .scene import Scene

__all__ = ["departures", "tell_departures"]


def tell_departures(scene: Scene, mas: Sequence[float], weights: WeightSet) -> None:
    """Note how scans at some exposures [mAs] differ from that which the networks learnt from."""
    for text in departures(scene, mas, weights):
        current().note(text)


def departures(scene: Scene, mas: Sequence[float], weights: WeightSet) -> list[str]:
    """In which respects a study differs from the scan that the networks were trained at."""
    images, found = scene.images, []
    trained_for = scene.point(mas[0], weights)
    point = working_point(weights) if trained_for is None else trained_for.facts
    for what, ours, theirs, unit in (
        ("tube voltage", scene.kvp, point["kvp"], "kV"),
        ("slice thickness", scene.thickness, point["slice_thickness_mm"], "mm"),
        *(("exposure", value, point["mas"], "mAs") for value in mas),
    ):
        if abs(ours - theirs) > 1e-3 * theirs:
            found.append(f"{what} {ours:g} {unit}: the networks were trained at {theirs:g} {unit}")
    spacing = images.spacing
    if not scene.native and any(abs(s - point["spacing_mm"]) > 1e-3 for s in spacing):
        found.append(
            f"pixels of {spacing[0]:.4g} × {spacing[1]:.4g} mm: the patch was resampled to the "
            f"{point['spacing_mm']:g} mm that the networks were trained at"
        )
    if images.mas is not None and any(value > images.mas for value in mas):
        found.append(
            f"an exposure above the image's own {images.mas:g} mAs: the image is taken as "
            "noise-free all the same"
        )
    return found
