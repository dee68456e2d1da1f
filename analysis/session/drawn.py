"""Slices that a command makes, written as the series that it then reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from analysis.data.phantom_pairs import WorkingPoint

__all__ = ["draw_phantom", "write_slice"]


def draw_phantom(anatomy: str, out: Path, *, seed: int, point: dict) -> Path:
    """A random slice of the working point's grid, without noise, as a series of one image."""
    from analysis.data.phantom_pairs import WorkingPoint
    from recon.phantom import random_slice

    where = WorkingPoint(**point)
    return write_slice(
        out / "phantom",
        random_slice(anatomy, seed=seed, grid=where.grid),
        where,
        series_description=f"Random {anatomy}, noise-free",
        uid_seed=f"projection-domain/{anatomy}/{seed}",
    )


def write_slice(
    folder: Path, hu: np.ndarray, point: WorkingPoint, *, mas: float | None = None, **how: Any
) -> Path:
    """A slice on the grid of a working point as a series of one image.

    It states the exposure [mAs] whose noise it has; one without noise states none.
    """
    from recon import write_series
    from recon.storage import run_folder

    with run_folder(folder.parent) as parent:
        write_series(
            parent / folder.name,
            hu[None],
            spacing=point.grid.spacing,
            slice_thickness=point.slice_thickness_mm,
            positions=[(point.grid.x[0], point.grid.y[0], 0.0)],
            kvp=point.kvp,
            mas=mas,
            **how,
        )
    return folder
