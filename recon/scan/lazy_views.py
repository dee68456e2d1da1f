"""Line integrals that are read or calculated when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LazyViews", "ReversedRows", "ViewsOf", "ahead", "in_turn"]


class LazyViews(ABC):
    """A sequence of views, (views, rows, cols), of which ``[i:j]`` makes those from i to j.

    Subclasses say what `shape` is and `make` consecutive views.

    Examples
    --------
    >>> class Zeros(LazyViews):
    ...     shape = (5, 2, 3)
    ...     def make(self, start, stop):
    ...         return np.zeros((stop - start, 2, 3), np.float32)
    >>> len(Zeros()), Zeros()[1:3].shape, Zeros()[-1].shape, Zeros()[::2].shape
    (5, (2, 2, 3), (2, 3), (3, 2, 3))
    """

    dtype = np.dtype(np.float32)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""

    @abstractmethod
    def make(self, start: int, stop: int) -> np.ndarray:
        """Return the views from ``start`` up to ``stop``, at least one, as float32."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any) -> np.ndarray:
        if not isinstance(which, slice):
            view = range(len(self))[which]
            return self.make(view, view + 1)[0]
        views = range(len(self))[which]
        if len(views) == 0:
            return np.empty((0, *self.shape[1:]), dtype=self.dtype)
        if views.step == 1:
            return self.make(views.start, views.stop)
        return np.concatenate([self.make(view, view + 1) for view in views])

    def in_turn(self, pieces: Sequence[slice]) -> Iterator[np.ndarray]:
        """Make one piece of the views after the other."""
        return (self[piece] for piece in pieces)


class ViewsOf(LazyViews):
    """Line integrals that are made of those of a ``source``, view by view.

    Subclasses say what ``source`` is, and what is made of some of its views.

    Examples
    --------
    >>> class Halves(ViewsOf):
    ...     source = np.arange(8.0).reshape(4, 1, 2)
    ...     def of(self, views, first):
    ...         return views / 2
    >>> Halves()[3].tolist(), [len(v) for v in in_turn(Halves(), [slice(0, 3), slice(3, 4)])]
    ([[3.0, 3.5]], [3, 1])
    """

    source: Any  # as `recon.LineIntegrals`

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        views, rows, cols = self.source.shape
        return views, rows, cols

    @abstractmethod
    def of(self, views: np.ndarray, first: int) -> np.ndarray:
        """Return what is made of views (n, rows, cols) of the source, from number ``first`` on."""

    def make(self, start: int, stop: int) -> np.ndarray:
        """Return what is made of the views from ``start`` up to ``stop``."""
        return self.of(np.asarray(self.source[start:stop], dtype=np.float32), start)

    def in_turn(self, pieces: Sequence[slice]) -> Iterator[np.ndarray]:
        """Make one piece of the views after the other."""
        for piece, views in zip(pieces, in_turn(self.source, pieces)):
            yield self.of(np.asarray(views, dtype=np.float32), piece.start)


def in_turn(line_integrals: Any, pieces: Sequence[slice]) -> Iterator[np.ndarray]:
    """Yield one piece of the views after the other; what lies in files is read ahead.

    Parameters
    ----------
    line_integrals : as `recon.LineIntegrals`
    pieces : sequence of slice
        With a start and a stop, each not empty.
    """
    if isinstance(line_integrals, LazyViews):
        return line_integrals.in_turn(pieces)
    return (line_integrals[piece] for piece in pieces)


def ahead(views: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield what ``views`` does, of which the next is made in another thread while one is used."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, views, None)
        while (some := following.result()) is not None:
            following = thread.submit(next, views, None)
            yield some


@dataclass
class ReversedRows(ViewsOf):
    """Views of a source with their rows in reverse.

    Examples
    --------
    >>> ReversedRows(np.arange(6.0).reshape(1, 3, 2))[0].tolist()
    [[4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]
    """

    source: Any  # as `recon.LineIntegrals`

    @property
    def range(self) -> tuple[float, float] | None:
        """Smallest and largest line integral, where the source states them."""
        return getattr(self.source, "range", None)

    @property
    def scale(self) -> tuple[float, float] | None:
        """Slope and intercept of what is stored, where all views share them."""
        return getattr(self.source, "scale", None)

    def of(self, views: np.ndarray, first: int) -> np.ndarray:
        """Turn the rows of views around."""
        return np.ascontiguousarray(views[:, ::-1])
