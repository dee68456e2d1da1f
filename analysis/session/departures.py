"""How the scan of a study differs from that which the networks learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .models import working_point
from .running import current

if TYPE_CHECKING:
    from ctxai import Model, WeightSet

    from .scene import Scene

__all__ = ["departures", "of_one_scan", "tell_departures", "tell_of_one_scan"]


def tell_departures(scene: Scene, mas: Sequence[float], weights: WeightSet) -> None:
    """Note how scans at some exposures [mAs] differ from that which the networks learnt from."""
    for text in departures(scene, mas, weights):
        current().note(text)


def departures(scene: Scene, mas: Sequence[float], weights: WeightSet) -> list[str]:
    """In which respects a study differs from the scans that the networks were trained at.

    Samplers of a user's own denoiser are trained for the scan at the first exposure. A denoiser of
    the set was trained at one scan, its samplers at many.
    """
    found: list[str] = []
    trained_for = scene.point(mas[0], weights)
    point = working_point(weights) if trained_for is None else trained_for.facts
    whose = "the denoiser was" if trained_for is None else "the samplers are"
    for what, ours, theirs, unit in (
        ("pixels of", scene.patch.grid.spacing[0], point["spacing_mm"], "mm"),
        ("tube voltage", scene.kvp, point["kvp"], "kV"),
        ("slice thickness", scene.thickness, point["slice_thickness_mm"], "mm"),
        *(("exposure", value, point["mas"], "mAs") for value in mas),
    ):
        if abs(ours - theirs) > 1e-3 * theirs:
            found.append(f"{what} {ours:.4g} {unit}: {whose} trained at {theirs:.4g} {unit}")
    if trained_for is None:
        found += _beyond(scene, mas, weights)
    own = scene.image_mas
    if own is None:
        found.append(
            "the image states no exposure: it is taken as noise-free, and gets all the noise of a "
            "scan"
        )
    elif above := [value for value in mas if value >= own]:
        found.append(
            f"{' and '.join(f'{value:g}' for value in above)} mAs are no less than the image's own "
            f"{own:g} mAs: it is taken as noise-free there, and gets all the noise of a scan"
        )
    return found


def tell_of_one_scan(scene: Scene, mas: float, models: Mapping[str, Model]) -> None:
    """Note which samplers of a set learnt from one scan alone that is not that of the study."""
    for text in of_one_scan(scene, mas, models):
        current().note(text)


def of_one_scan(scene: Scene, mas: float, models: Mapping[str, Model]) -> list[str]:
    """The same as a list of lines; samplers of the user's own denoiser learnt from this scan."""
    found: list[str] = []
    ours = scene.patch.grid.spacing[0], mas * scene.thickness
    for layer, model in models.items():
        facts = model.facts
        if scene.own or "scans" in facts or "spacing_mm" not in facts:
            continue
        theirs = facts["spacing_mm"], facts["mas"] * facts["slice_thickness_mm"]
        if any(abs(one / other - 1.0) > 0.05 for one, other in zip(ours, theirs)):
            found.append(
                f"layer {layer}: its sampler ({model.sampler}) learnt from pixels of "
                f"{theirs[0]:g} mm and {theirs[1]:g} mAs mm alone, here {ours[0]:.3g} mm and "
                f"{ours[1]:.3g} mAs mm; its samples may be too wide or too narrow"
            )
    return found


def _beyond(scene: Scene, mas: Sequence[float], weights: WeightSet) -> list[str]:
    """What lies beyond the scans that the samplers of a set learnt from, if those are many."""
    learnt = weights.manifest["recipe"].get("scans")
    found: list[str] = []
    if learnt is None:  # they learnt from the denoiser's scan alone
        return found
    for what, ours, name, unit in (
        ("pixels of", scene.patch.grid.spacing[0], "spacing_mm", "mm"),
        ("tube voltage", scene.kvp, "kvp", "kV"),
        ("slice thickness", scene.thickness, "slice_thickness_mm", "mm"),
        *(("exposure times thickness", value * scene.thickness, "mas_mm", "mAs mm")
          for value in mas),
    ):  # fmt: skip
        least, largest = min(learnt[name]), max(learnt[name])
        if not 0.999 * least <= ours <= 1.001 * largest:
            found.append(
                f"{what} {ours:.4g} {unit}: the samplers learnt from {least:g} to {largest:g} "
                f"{unit}; how wide their samples are was not measured beyond"
            )
    return found
