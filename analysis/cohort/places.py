"""Where in a patient: places drawn from the body, the same each time."""

from __future__ import annotations

import contextlib

import numpy as np

from analysis.scanner.slices import BODY_HU, load_slices, place_patch
from recon import CTImages, DataError

__all__ = ["draw_places"]

_WITHIN = 0.1, 0.9  # of the series: its ends may lie outside what is meant
_BODY = 0.75  # of a patch
_TRIES = 200  # pixels of a slice


def draw_places(path: str, count: int, *, side: int, seed: int) -> list[tuple[int, int, int]]:
    """Slice, row and column of places in a series, in random order.

    Slices are drawn without putting back from the middle four fifths of the series, as long as
    there are any; in each a pixel is drawn about which a patch lies in the image, at least three
    quarters of it denser than -300 HU: not in air, and not in the middle of a lung.

    Parameters
    ----------
    path : path
        Images of one series.
    count : int
        How many places.
    side : int
        Side of the patch, which keeps the pixels of the slice [pixels].
    seed : int

    Returns
    -------
    list of (slice, row, col)

    Raises
    ------
    DataError
        If the images cannot be read, or have no such places.
    """
    images = load_slices(path)
    random = np.random.default_rng(seed)
    n = len(images.hu)
    first, last = (round(share * (n - 1)) for share in _WITHIN)
    places: list[tuple[int, int, int]] = []
    for _ in range(count):  # rounds through the slices, of which the first is mostly enough
        for index in (first + random.permutation(last - first + 1)).tolist():
            place = _in_slice(images, index, side, random)
            if place is not None and place not in places and len(places) < count:
                places.append(place)
        if len(places) in (0, count):
            break
    if len(places) < count:
        raise DataError(
            "too few places in the body", where=path, expected=count, got=len(places),
            remedy=f"patches of {side} × {side} pixels must lie in the image",
        )  # fmt: skip
    return places


def _in_slice(
    images: CTImages, index: int, side: int, random: np.random.Generator
) -> tuple[int, int, int] | None:
    """A place in a slice, or none if none was found."""
    hu, spacing = images.hu[index], images.spacing
    body = np.argwhere(hu > BODY_HU)
    pixel = min(spacing)
    half = [round(side * pixel / step / 2) for step in spacing]
    for pick in random.integers(len(body), size=_TRIES) if len(body) else ():
        row, col = (int(at) for at in body[pick])
        around = hu[max(row - half[0], 0) : row + half[0] + 1, max(col - half[1], 0) :]
        if (around[:, : 2 * half[1] + 1] > BODY_HU).mean() < _BODY:
            continue
        with contextlib.suppress(DataError):
            place_patch(hu, spacing, shape=(side, side), to_spacing=(pixel, pixel), roi=(row, col))
            return index, row, col
    return None
