"""Line integrals that lie in one file a view, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..scan.lazy_views import LazyViews, ahead
from .pixels import PixelWatch

__all__ = ["ViewFiles"]

_THREADS = 8


@dataclass
class ViewFiles(LazyViews):
    """Line integrals that lie in one file a view: ``[i:j]`` reads those files.

    A line integral is stored · slope + intercept. Pixels are looked at while they are read; a view
    whose pixels are not its own is a `DataError`.
    """

    paths: list[str]  # in scan order
    offsets: np.ndarray  # (views,) where the pixels begin [bytes]
    slopes: np.ndarray  # (views,)
    intercepts: np.ndarray  # (views,)
    frame: tuple[int, int]  # rows and columns of the detector
    transposed: bool  # whether a file holds (columns, rows)
    watch: PixelWatch

    @property
    def shape(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        return len(self.paths), *self.frame

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest line integral that the files can hold."""
        return float(self.intercepts.min()), float((self.intercepts + 65535 * self.slopes).max())

    @property
    def scale(self) -> tuple[float, float] | None:
        """Slope and intercept, where all views share them."""
        slope, intercept = float(self.slopes[0]), float(self.intercepts[0])
        same = (self.slopes == slope).all() and (self.intercepts == intercept).all()
        return (slope, intercept) if same else None

    def make(self, start: int, stop: int) -> np.ndarray:
        """Read the views from ``start`` up to ``stop``."""
        out = np.empty((stop - start, *self.frame), dtype=np.float32)
        views = range(start, stop)
        # threads wait for the disk; what is computed of a view is too little to share
        with ThreadPoolExecutor(min(_THREADS, stop - start)) as pool:
            for view, content, p in zip(views, pool.map(self._content, views), out):
                self._convert(view, content, p)
        self.watch.judge(start, stop)
        return out

    def in_turn(self, pieces: Sequence[slice]) -> Iterator[np.ndarray]:
        """Read one piece of the views after the other, the next one while one is used."""
        return ahead(super().in_turn(pieces))

    def _content(self, view: int) -> bytes:
        """The pixels of a view, as they are stored."""
        size = 2 * self.frame[0] * self.frame[1]
        path = self.paths[view]
        try:
            with open(path, "rb", buffering=0) as handle:
                handle.seek(int(self.offsets[view]))
                content = handle.read(size)
        except OSError as error:
            raise DataError("file cannot be read", where=path, got=error.strerror) from None
        if len(content) != size:
            raise DataError(
                "file was shortened since its header was read",
                where=f"{path}, PixelData (7FE0,0010)",
                expected=f"{size} bytes",
                got=f"{len(content)} bytes",
            )
        return content

    def _convert(self, view: int, content: bytes, out: np.ndarray) -> None:
        rows, cols = self.frame
        stored = np.frombuffer(content, dtype="<u2")
        pixels = stored.reshape(cols, rows).T if self.transposed else stored.reshape(rows, cols)
        # in float64: the product needs more digits than a float32 has
        out[...] = pixels * self.slopes[view] + self.intercepts[view]
        self.watch.look(view, stored, out)
