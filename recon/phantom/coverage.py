"""How much of each pixel a closed outline covers, exactly.

The area under a polygon's edges is collected pixel by pixel and summed along the rows, as font
renderers do (Green's theorem on the pixel grid). The result is the exact area share, so an
outline looks the same on every grid and its edges carry no staircase.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["coverage"]


def coverage(
    outlines: list[NDArray[np.float64]], shape: tuple[int, int]
) -> tuple[slice, slice, NDArray[np.float32]] | None:
    """Area share of each pixel inside the union of polygons, within their bounding box.

    Parameters
    ----------
    outlines : list of (n, 2) arrays
        Vertices ``(column, row)`` in pixels, counted from the outer edge of pixel 0; either
        sense of rotation, closed by themselves.
    shape : (rows, cols)
        Size of the image.

    Returns
    -------
    (slice, slice, numpy.ndarray) or None
        Rows and columns of the bounding box and the shares in it, float32 from 0 to 1; ``None``
        if nothing lies on the image.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([[0.5, 0.0], [2.0, 0.0], [2.0, 1.0], [0.5, 1.0]])
    >>> rows, cols, share = coverage([square], (4, 4))
    >>> share.tolist()
    [[0.5, 1.0]]
    """
    points = np.concatenate(outlines)
    low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int), [shape[1], shape[0]])
    if np.any(high <= low):
        return None
    width, height = (high - low).tolist()
    area = np.zeros((height, width + 1))
    for outline in outlines:
        x, y = (outline - low).T
        turn = np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
        _add_edges(
            np.ascontiguousarray(x), np.ascontiguousarray(y), -1.0 if turn < 0 else 1.0, area
        )
    np.cumsum(area, axis=1, out=area)
    share = np.clip(area[:, :width], 0.0, 1.0).astype(np.float32)
    return slice(low[1], high[1]), slice(low[0], high[0]), share


@njit(cache=True)
def _add_edges(x, y, sense, area):  # type: ignore[no-untyped-def]
    """Add to ``area`` what each edge contributes to the pixels right of it."""
    rows, cols = area.shape[0], area.shape[1] - 1
    for i in range(x.size):
        j = (i + 1) % x.size
        if y[i] == y[j]:
            continue
        up = y[i] > y[j]
        top, bottom = (j, i) if up else (i, j)
        sign = sense if up else -sense
        slope = (x[bottom] - x[top]) / (y[bottom] - y[top])
        first, last = max(0, int(np.floor(y[top]))), min(rows, int(np.ceil(y[bottom])))
        for row in range(first, last):
            y0, y1 = max(float(row), y[top]), min(row + 1.0, y[bottom])
            xa, xb = x[top] + slope * (y0 - y[top]), x[top] + slope * (y1 - y[top])
            left, right = min(xa, xb), max(xa, xb)
            left, right = min(max(left, 0.0), cols), min(max(right, 0.0), cols)
            height, run = y1 - y0, right - left
            at = left
            col = int(np.floor(left))
            while True:
                until = min(col + 1.0, right)
                piece = height if run == 0.0 else height * (until - at) / run
                inside = 0.5 * (at + until) - col
                if col < cols:
                    area[row, col] += sign * piece * (1.0 - inside)
                    area[row, col + 1] += sign * piece * inside
                at = until
                if until >= right:
                    break
                col += 1
