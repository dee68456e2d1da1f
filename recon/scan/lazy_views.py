"""Line integrals that are read or calculated when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LazyViews", "ReversedRows"]


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


@dataclass
class ReversedRows(LazyViews):
    """Views of a source with their rows in reverse.

    Examples
    --------
    >>> ReversedRows(np.arange(6.0).reshape(1, 3, 2))[0].tolist()
    [[4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]
    """

    source: Any  # as `recon.LineIntegrals`

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        views, rows, cols = self.source.shape
        return views, rows, cols

    @property
    def range(self) -> tuple[float, float] | None:
        """Smallest and largest line integral, where the source states them."""
        return getattr(self.source, "range", None)

    @property
    def scale(self) -> tuple[float, float] | None:
        """Slope and intercept of what is stored, where all views share them."""
        return getattr(self.source, "scale", None)

    def make(self, start: int, stop: int) -> np.ndarray:
        """Take the views from ``start`` up to ``stop``."""
        return np.ascontiguousarray(self.source[start:stop][:, ::-1], dtype=np.float32)
