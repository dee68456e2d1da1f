"""Which columns of the detector matter for a patch: those whose rays cross it, and a margin.

Noise beyond the margin reaches the patch by the ramp filter's response alone, which has fallen by
(32π)² there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recon import DataError, FanBeam, ImageGrid

__all__ = ["crossing_columns", "with_columns"]

MARGIN = 32
"""Columns kept on both sides of the rays that cross a patch."""


def crossing_columns(geometry: FanBeam, grid: ImageGrid, margin: int = MARGIN) -> slice:
    """Columns in which a ray of some view crosses a grid, and a margin on both sides.

    Examples
    --------
    >>> from analysis.scanner.columns import crossing_columns
    >>> from recon import ImageGrid, flash_axial
    >>> crossing_columns(flash_axial(), ImageGrid(shape=(10, 10), spacing=(1.0, 1.0)))
    slice(326, 412, None)
    """
    x = np.array([grid.x[0] - grid.spacing[1] / 2, grid.x[-1] + grid.spacing[1] / 2])
    y = np.array([grid.y[0] - grid.spacing[0] / 2, grid.y[-1] + grid.spacing[0] / 2])
    radius = float(np.hypot(*np.meshgrid(x, y)).max())
    if radius >= geometry.src_iso:
        raise DataError("the patch reaches the focal spot's orbit", where="grid", got=grid)
    edge = float(np.arcsin(radius / geometry.src_iso))
    low, high = geometry.column_of(np.array([-edge, edge]))
    first = max(0, int(np.floor(low)) - margin)
    last = min(geometry.n_cols - 1, int(np.ceil(high)) + margin)
    return slice(first, last + 1)


def with_columns(geometry: FanBeam, columns: slice) -> FanBeam:
    """The same scanner with some of its columns only.

    Examples
    --------
    >>> from analysis.scanner.columns import with_columns
    >>> from recon import flash_axial
    >>> flash = flash_axial()
    >>> part = with_columns(flash, slice(9, 20))
    >>> bool(abs(part.fan_angles - flash.fan_angles[9:20]).max() < 1e-9)
    True
    """
    count = columns.stop - columns.start
    shift = columns.start + (count - 1) / 2 - (geometry.n_cols - 1) / 2
    return replace(geometry, n_cols=count, col_offset=geometry.col_offset + shift)
