"""How much of each pixel a closed outline covers, exactly.

The area under a polygon's edges is collected pixel by pixel and summed along the rows, as font
renderers do (Green's theorem on the pixel grid). The result is the exact area share, so an
outline looks the same on every grid and its edges carry no staircase.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["pixel_shares"]


def pixel_shares(
    outlines: list[NDArray[np.float64]], shape: tuple[int, int]
) -> tuple[slice, slice, NDArray[np.float32]]:
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
    (slice, slice, numpy.ndarray)
        Rows and columns of the bounding box and the shares in it, float32 from 0 to 1; empty where
        nothing lies on the image.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([[0.5, 0.0], [2.0, 0.0], [2.0, 1.0], [0.5, 1.0]])
    >>> rows, cols, share = pixel_shares([square], (4, 4))
    >>> share.tolist()
    [[0.5, 1.0]]
    """
    points = np.concatenate(outlines)
    low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int), [shape[1], shape[0]])
    high = np.maximum(high, low)
    width, height = (high - low).tolist()
    area = np.zeros((height, width + 1))
    ends = np.cumsum([len(outline) for outline in outlines])
    _add_outlines(points - low, ends, area)
    np.cumsum(area, axis=1, out=area)
    share = np.clip(area[:, :width], 0.0, 1.0).astype(np.float32)
    return slice(low[1], high[1]), slice(low[0], high[0]), share


@njit(cache=True)
def _add_outlines(points, ends, area):  # type: ignore[no-untyped-def]
    """Add every outline's edges, all turned in the same sense."""
    first = 0
    for end in ends:
        turn = 0.0
        x0, y0 = points[end - 1]
        for i in range(first, end):
            turn += x0 * points[i, 1] - y0 * points[i, 0]
            x0, y0 = points[i]
        sense = -1.0 if turn < 0.0 else 1.0
        x0, y0 = points[end - 1]
        for i in range(first, end):
            x1, y1 = points[i]
            if y0 > y1:
                _add_edge(x1, y1, x0, y0, sense, area)
            elif y0 < y1:
                _add_edge(x0, y0, x1, y1, -sense, area)
            x0, y0 = x1, y1
        first = end


@njit(cache=True)
def _add_edge(x_top, y_top, x_bottom, y_bottom, sign, area):  # type: ignore[no-untyped-def]
    """Add to ``area`` what one edge contributes to the pixels from it to the right."""
    rows, cols = area.shape[0], area.shape[1] - 1
    slope = (x_bottom - x_top) / (y_bottom - y_top)
    for row in range(max(0, int(np.floor(y_top))), min(rows, int(np.ceil(y_bottom)))):
        y0, y1 = max(float(row), y_top), min(row + 1.0, y_bottom)
        xa, xb = x_top + slope * (y0 - y_top), x_top + slope * (y1 - y_top)
        left = min(max(min(xa, xb), 0.0), float(cols))
        right = min(max(max(xa, xb), 0.0), float(cols))
        height, run = y1 - y0, right - left
        at, col = left, int(np.floor(left))
        while True:
            until = min(col + 1.0, right)
            piece = height if run == 0.0 else height * (until - at) / run
            inside = 0.5 * (at + until) - col
            if col < cols:
                area[row, col] += sign * piece * (1.0 - inside)
                area[row, col + 1] += sign * piece * inside
            at = until
            col += 1
            if until >= right:
                break
