"""What every study says of its scan: where the patch lies, and how far x and f(x) are from y."""

from __future__ import annotations

from torch import Tensor

from ..numbers import rms
from ..scanner.slice_scanner import SliceScanner
from .store import Study

__all__ = ["add_scan", "patch_facts"]


def add_scan(study: Study, x: Tensor, y: Tensor, fx: Tensor) -> None:
    """Rows about the scan itself: the distance of x and of f(x) from y, (H, W) [HU] each."""
    study.add(
        "‖x - y‖", float(rms(x - y)), "HU", layer="input",
        should_be="the noise of the scan", meaning="distance of the low-dose image from y",
    )  # fmt: skip
    study.add(
        "‖f(x) - y‖", float(rms(fx - y)), "HU",
        should_be="below ‖x - y‖", meaning="distance of the output from y",
    )  # fmt: skip


def patch_facts(scanner: SliceScanner) -> dict[str, object]:
    """Where the patch lies, and on what grid, for run.json."""
    grid = scanner.patch_grid
    return {
        "shape": list(grid.shape),
        "spacing_mm": list(grid.spacing),
        "centre_mm": list(grid.centre),
        "slice_spacing_mm": list(scanner.spacing),
        "slice_number": scanner.image,
    }
