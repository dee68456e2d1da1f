"""Slices that a command makes, written as the series that it then reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["draw_phantom"]


def draw_phantom(
    anatomy: str, out: Path, *, seed: int, point: dict[str, Any], mas: float | None = None
) -> Path:
    """The image of a random slice on a working point's grid, as a series of one.

    Samplers of anatomies learn from images R⁻¹R of phantoms, which are less sharp than the
    phantoms themselves; this is such an image. It has no noise and states no exposure, or has the
    noise of an exposure [mAs] and states that.
    """
    from analysis.data.phantom_pairs import WorkingPoint, scan
    from analysis.scanner.slice_scanner import derived_seed
    from recon import write_series
    from recon.phantom import random_slice
    from recon.storage import run_folder

    where = WorkingPoint(**point)
    truth = random_slice(anatomy, seed=seed, grid=where.grid)[None]
    folder, noise = ("phantom", "noise-free") if mas is None else ("high-dose", f"{mas:g} mAs")
    with run_folder(out) as parent:
        write_series(
            parent / folder,
            scan(truth, mas, seed=derived_seed(seed, "high dose"), point=where),
            spacing=where.grid.spacing,
            slice_thickness=where.slice_thickness_mm,
            positions=[(where.grid.x[0], where.grid.y[0], 0.0)],
            kvp=where.kvp,
            mas=mas,
            kernel=where.window,
            series_description=f"Random {anatomy}, {noise}",
            uid_seed=f"phantom/{anatomy}/{seed}/{noise}",
        )
    return out / folder
