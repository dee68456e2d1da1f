"""Where two images differ most, and from which side an arrow points there without hiding it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

__all__ = ["SMOOTHING_MM", "Pointer", "largest_differences"]

SMOOTHING_MM = 1.5
"""Standard deviation of the Gaussian that differences are averaged with."""

# shares of the image's width, as are all lengths below
_APART = 0.16  # of two places
_GAP, _SHAFT = 0.045, 0.10  # from the place to the tip of its arrow, and on to the tail
_LABEL = (0.035, 0.15)  # half of a label's height and width
_DIRECTIONS = np.arange(24) * np.pi / 12

Point = tuple[float, float]


@dataclass(frozen=True)
class Pointer:
    """A place in an image, the arrow that points to it and what it is labelled with.

    Attributes
    ----------
    row, col : int
        The place [pixel].
    hu : float
        Difference there, averaged over its neighbourhood [HU].
    tip, tail, label : (float, float)
        Row and column of the arrow's ends, and of the middle of its label.
    """

    row: int
    col: int
    hu: float
    tip: Point
    tail: Point
    label: Point


def largest_differences(
    difference: np.ndarray, spacing: tuple[float, float], *, count: int = 4
) -> list[Pointer]:
    """Places at which two images differ most, the largest first, each with an arrow beside it.

    A place is a local maximum of ``|G * d|``, the difference averaged with a Gaussian of 1.5 mm:
    noise averages out, a structure that is lost or made up stays. Of two places closer than a sixth
    of the image's width the smaller is left out, as is what lies within 3 mm of the edge, where
    half of the average is missing. An arrow ends short of its place and avoids the other places and
    arrows.

    Parameters
    ----------
    difference : ndarray, (H, W)
        [HU].
    spacing : (sy, sx)
        Pixel size [mm].
    count : int
        How many at most; where there is no difference there is no place.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.talk.arrows import largest_differences
    >>> lost = np.zeros((48, 64))
    >>> lost[12:15, 40:43] = -90.0
    >>> [(p.row, p.col, round(p.hu)) for p in largest_differences(lost, (1.0, 1.0))]
    [(13, 41, -43)]
    """
    sigma = SMOOTHING_MM / np.asarray(spacing)
    average = ndimage.gaussian_filter(np.asarray(difference, np.float64), sigma)
    size = np.abs(average)
    border = np.ceil(2 * sigma).astype(int)
    inside = np.zeros(size.shape, bool)
    inside[border[0] : -border[0], border[1] : -border[1]] = True
    peaks = (size == ndimage.maximum_filter(size, size=3)) & inside & (size > 0)
    rows, cols = np.nonzero(peaks)
    order = np.argsort(-size[rows, cols], kind="stable")
    unit = np.array([spacing[0], spacing[1]]) / (size.shape[1] * spacing[1])  # pixels to shares
    places: list[tuple[int, int]] = []
    for row, col in zip(rows[order].tolist(), cols[order].tolist()):
        gaps = [np.hypot(*((np.array([row, col]) - other) * unit)) for other in places]
        if len(places) < count and min(gaps, default=np.inf) >= _APART:
            places.append((row, col))
    pointers: list[Pointer] = []
    for place in places:
        others = [np.array(other) * unit for other in places if other != place]
        drawn = [np.array(point) * unit for p in pointers for point in (p.tip, p.tail)]
        labels = [point for p in pointers for point in _spread(np.array(p.label) * unit)]
        edge = np.array(size.shape) * unit
        at = _with_room(np.array(place) * unit, [*others, *drawn, *labels], edge)
        tip, tail, label = ((float(r), float(c)) for r, c in at / unit)
        pointers.append(Pointer(*place, float(average[place]), tip, tail, label))
    return pointers


def _spread(label: np.ndarray) -> list[np.ndarray]:
    """Points on a label, which is wider than it is high."""
    return list(label + np.outer((-1.0, -0.5, 0.0, 0.5, 1.0), (0.0, _LABEL[1])))


def _with_room(place: np.ndarray, taken: Sequence[np.ndarray], edge: np.ndarray) -> np.ndarray:
    """Tip, tail and label of an arrow, (3, 2), from the side that is farthest from all else."""
    best, most = np.empty((3, 2)), (False, -np.inf)
    for angle in _DIRECTIONS:
        towards = np.array([np.sin(angle), np.cos(angle)])
        beyond = 0.02 + float(np.abs(towards) @ _LABEL)
        tip, tail, label = (
            place + length * towards for length in (_GAP, _GAP + _SHAFT, _GAP + _SHAFT + beyond)
        )
        points = [tip, (tip + tail) / 2, tail, *_spread(label)]
        clear = min((float(np.hypot(*(p - q))) for p in points for q in taken), default=np.inf)
        within = bool((np.minimum(label, edge - label) >= _LABEL).all())
        if (within, round(min(clear, 0.3), 6)) > most:
            best, most = np.array([tip, tail, label]), (within, round(min(clear, 0.3), 6))
    return best
