"""One scan of the slice by one denoiser: what every study begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ctxai import InPlace

from ..numbers import apply, rms
from ..scanner.slice_scanner import SliceScanner
from .store import Study

__all__ = ["Scanned", "sampler_text"]


def sampler_text(sampler: str, *, projected: bool) -> str:
    """How metrics.csv calls a set of samples."""
    return f"{sampler}, projected" if projected else sampler


@dataclass(frozen=True)
class Scanned:
    """The slice, the patch y, its scan x, and the output f(x) of the denoiser in its place."""

    denoiser: str
    mas: float
    slice: np.ndarray  # (rows, cols) [HU]
    y: Tensor  # (H, W) [HU], as x and f(x)
    x: Tensor
    fx: Tensor
    f: InPlace  # with the scan around the patch
    scan: dict[str, Any]  # for run.json
    patch: dict[str, Any]  # where it lies on what grid, for run.json

    @classmethod
    def of(
        cls,
        scanner: SliceScanner,
        f: Callable[[Tensor], Tensor],
        *,
        denoiser: str,
        mas: float,
        seed: int,
    ) -> Scanned:
        """Scan the slice once at an exposure [mAs], and denoise the patch."""
        placed = InPlace(f, scanner.place, scanner.low_dose(mas, seed=seed)[0])
        grid = scanner.patch_grid
        patch = {
            "shape": list(grid.shape),
            "spacing_mm": list(grid.spacing),
            "centre_mm": list(grid.centre),
            "slice_spacing_mm": list(scanner.spacing),
            "slice_number": scanner.image,
            "context_shape": list(scanner.context_grid.shape),
            "first_pixel_in_context": [scanner.place.top, scanner.place.left],
        }
        return cls(
            denoiser, float(mas), scanner.hu, scanner.y, placed.inside,
            apply(placed, placed.surroundings), placed, scanner.facts(mas), patch,
        )  # fmt: skip

    def study(self, kind: str, facts: dict[str, Any], arrays: dict[str, Any]) -> Study:
        """A study of a kind, with more facts and images than the scan's own."""
        arrays = {"y": self.y, "x": self.x, "fx": self.fx, **arrays}
        study = Study(
            kind, self.denoiser, self.mas, facts | {"scan": self.scan, "patch": self.patch}
        )
        study.arrays = {"slice": self.slice} | {
            name: array.cpu().numpy() if isinstance(array, Tensor) else array
            for name, array in arrays.items()
        }
        noise = float(rms(self.x - self.y))
        study.add("scan_error", noise, layer="input")
        study.add("output_error", float(rms(self.fx - self.y)), limit=noise)
        return study
