"""What a network of several slices is given beside the slice under study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from recon import DataError

from .running import current

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.scanner.slice_scanner import SliceScanner
    from ctxai import Model

    from .scene import Scene

__all__ = ["among_neighbours", "models_among", "require_neighbours"]


def require_neighbours(f: Callable[[Tensor], Tensor], scene: Scene) -> None:
    """Refuse a slice that lacks neighbours which a network is given with it."""
    from ctxai import AmongNeighbours

    if not isinstance(f, AmongNeighbours):
        return
    count, sides = len(scene.images.hu), f.sides
    if count < f.slices:
        raise DataError(
            f"the series has too few slices for a network of {f.slices}",
            where=scene.images.files[0].parent, expected=f"at least {f.slices}", got=count,
        )  # fmt: skip
    if not sides <= scene.index < count - sides:
        raise DataError(
            f"the slice has too few neighbours for a network of {f.slices} slices",
            where="--slice", expected=f"{sides} to {count - 1 - sides}", got=scene.index,
        )  # fmt: skip


def among_neighbours(
    f: Callable[[Tensor], Tensor], scene: Scene, scanner: SliceScanner, mas: float
) -> Callable[[Tensor], Tensor]:
    """A network of several slices with the neighbours of the slice under study; any other as it is.

    The neighbours are scanned as the slice is, at an exposure [mAs] and with the noise of their own
    number in the series, and held so: f is a function of the slice in the middle.
    """
    import torch

    from analysis.scanner.slice_scanner import SliceScanner
    from ctxai import AmongNeighbours

    if not isinstance(f, AmongNeighbours):
        return f
    scans = []
    for step in (*range(-f.sides, 0), *range(1, f.sides + 1)):
        index = scene.index + step
        beside = SliceScanner(
            scene.images.hu[index],
            scene.images.spacing,
            kvp=scene.kvp,
            slice_thickness=float(scene.images.thicknesses[index]),
            patch_grid=scanner.patch_grid,
            context_grid=scanner.context_grid,
            image_mas=scene.mas_of(index),
            seed=scanner.seed,
            image=index,
            device=str(scanner.device),
        )
        scans.append(beside.low_dose(mas)[0])
    current().note(
        f"the denoiser is given {f.sides} slice{'s' * (f.sides > 1)} on either side, held as "
        f"scanned at {mas:g} mAs: f is a function of the slice in the middle. Its samplers learn "
        "from slices that are their own neighbours"
    )
    return f.held(torch.stack(scans))


def models_among(models: dict[str, Model], f: Callable[[Tensor], Tensor]) -> dict[str, Model]:
    """Models of a denoiser's layers, with the denoiser among the neighbours of a slice."""
    from ctxai import Wiretap

    return {
        layer: model if model.wiretap.f is f else replace(model, wiretap=Wiretap(f, layer))
        for layer, model in models.items()
    }
