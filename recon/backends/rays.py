"""Every ray of a geometry as a straight line through the index space of a grid.

Joseph's method (IEEE Trans. Med. Imaging 1:192, 1982) walks a ray along the axis in which it
advances fastest and interpolates linearly between two pixels across it. With the pixel indices
(i, j) of rows and columns, the line is ``j = start + slope·i`` for a steep ray ("along rows") and
``i = start + slope·j`` for a flat one ("along columns"), ``|slope| ≤ 1``, and each sample stands
for ``length`` mm of the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..geometry import FanBeam, Geometry, ImageGrid

__all__ = ["PAD", "RayTable", "check_hits", "lines", "trace"]

PAD = 2
"""Zero pixels on either side of a line of pixels, so that no sample needs a bounds check."""


@dataclass(frozen=True)
class RayTable:
    """The rays that hit a grid, in runs of neighbouring columns that walk along the same axis.

    ``runs`` has a row (view, first column, end column, axis, first ray) for each run; axis 0 walks
    along rows. The other arrays are indexed by ray: ``start`` (with ``PAD`` added), ``slope``,
    ``length`` [mm] and ``first``, ``end``, the steps at which the ray is inside the grid.
    """

    runs: np.ndarray
    start: np.ndarray
    slope: np.ndarray
    length: np.ndarray
    first: np.ndarray
    end: np.ndarray

    @property
    def count(self) -> int:
        """Number of rays kept."""
        return len(self.start)


def lines(
    geometry: Geometry, grid: ImageGrid
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (along_rows, start, slope, length) of every ray, each (views, cols), float64."""
    theta, t = geometry.rays()
    theta, t = np.broadcast_arrays(theta, t)
    (rows, cols), (sy, sx), (cx, cy) = grid.shape, grid.spacing, grid.centre
    sine, cosine = np.sin(theta), np.cos(theta)
    along_rows = np.abs(cosine) * sx >= np.abs(sine) * sy
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # along rows: x = t/cos θ + y tan θ; along columns: y = x cot θ - t/sin θ
        tangent, cotangent = sine / cosine, cosine / sine
        x_first = t / cosine + grid.y[0] * tangent
        y_first = grid.x[0] * cotangent - t / sine
        start = np.where(
            along_rows,
            (x_first - cx) / sx + (cols - 1) / 2,
            (y_first - cy) / sy + (rows - 1) / 2,
        )
        slope = np.where(along_rows, tangent * sy / sx, cotangent * sx / sy)
        length = np.where(along_rows, sy / np.abs(cosine), sx / np.abs(sine))
    return along_rows, start, slope, length


def _inside(start: np.ndarray, slope: np.ndarray, steps: np.ndarray, width: np.ndarray) -> tuple:
    """First and end step at which ``-1 < start + slope·step < width``, within [0, steps)."""
    flat = np.abs(slope) < 1e-9
    safe = np.where(flat, 1.0, slope)
    near, far = (-1 - start) / safe, (width - start) / safe
    low, high = np.minimum(near, far), np.maximum(near, far)
    always = flat & (start > -1) & (start < width)
    low = np.where(flat, np.where(always, -1.0, 0.0), low)
    high = np.where(flat, np.where(always, 1.0 * steps, -1.0), high)
    first = np.clip(np.floor(low) + 1, 0, steps)
    end = np.clip(np.ceil(high), 0, steps)
    return first.astype(np.int32), np.maximum(end, first).astype(np.int32)


Lines = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def check_hits(
    geometry: Geometry, grid: ImageGrid, found: Lines
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (hit, first, end) of every ray: whether and over which steps it is inside the grid.

    Raises
    ------
    DataError
        If no ray hits the grid, or the focal spot's orbit passes through it.
    """
    if isinstance(geometry, FanBeam) and grid.radius >= geometry.src_iso:
        raise DataError(
            "the grid reaches the focal spot's orbit",
            where="ImageGrid",
            expected=f"every pixel within {geometry.src_iso:g} mm of the isocentre",
            got=f"{grid.radius:.1f} mm",
        )
    along_rows, start, slope, _ = found
    rows, cols = grid.shape
    first, end = _inside(
        start, slope, np.where(along_rows, rows, cols), np.where(along_rows, cols, rows)
    )
    hit = end > first
    if not hit.any():
        raise DataError(
            "the detector misses the grid",
            where="geometry and grid",
            expected="at least one ray through the image",
            got=f"{geometry!r} and {grid!r}",
            remedy="check the units (mm, rad) and the grid's centre",
        )
    return hit, first, end


def trace(geometry: Geometry, grid: ImageGrid) -> RayTable:
    """Return the rays of ``geometry`` that hit ``grid``; raises as :func:`check_hits` does."""
    found = lines(geometry, grid)
    along_rows, start, slope, length = found
    hit, first, end = check_hits(geometry, grid, found)
    # a run is a stretch of hits of one view along one axis
    label = np.where(hit, np.where(along_rows, 0, 1), -1)
    views = len(label)
    edge = np.full((views, 1), -1)
    padded = np.concatenate([edge, label, edge], axis=1)
    view, before = np.nonzero((padded[:, 1:] != padded[:, :-1]) & (padded[:, 1:] >= 0))
    _, after = np.nonzero((padded[:, 1:] != padded[:, :-1]) & (padded[:, :-1] >= 0))
    axis = label[view, before]
    offset = np.concatenate([[0], np.cumsum(after - before)[:-1]])
    # rays are numbered view by view, so the mask below keeps exactly this order
    runs = np.stack([view, before, after, axis, offset], axis=1)
    runs = runs[np.argsort(axis, kind="stable")].astype(np.int64)
    return RayTable(
        runs=np.ascontiguousarray(runs),
        start=(start[hit] + PAD).astype(np.float32),
        slope=slope[hit].astype(np.float32),
        length=length[hit].astype(np.float32),
        first=first[hit],
        end=end[hit],
    )
