"""Whether the pixels of views are what they should be, looked at while they are read.

Of each view the means T of some parts of the detector are kept. From view to view they change
smoothly, views of one state of the focal spot among themselves: with p states,

    D_k = T_{k-p} - 2 T_k + T_{k+p}

is small. Where view k holds other pixels than its own, both D_{k-p} and D_{k+p}, which reach it
from either side, stand out, and for no other view do both.
"""

from __future__ import annotations

import threading
import warnings
import zlib
from collections.abc import Sequence

import numpy as np

from ..errors import DataError

__all__ = ["PixelWatch"]

_PARTS = 4, 16  # of the detector's rows and columns
_AROUND = 32  # views of a state on either side whose jumps are usual
_LEAST = 6  # jumps that tell what is usual
_BEYOND = 6.0  # times the usual jump
_JUMP = 0.02  # least rms jump of line integrals that is told
_ONE_SIDE = 0.35  # of the jump of the first or last view: what the next one may have
_EMPTY = 0.05  # line integral that noise-free air may have
_NOISY = 0.2  # of the quantum noise: from there on no two views are alike by chance
_LARGEST = 65535
_SATURATED = 0.05  # of a view's rays
_FIRST_LOOK = 192  # views after which the scan as a whole is looked at first
_AIR = 0.05, 1.5  # line integrals beside the body that are told, and those that may be a body's
_LEVEL = 0.1  # of the air's level: how far it may vary, from view to view and to the next part
_COUNTED = 1.4826 * 0.5**0.5  # median of |a - b| → standard deviation of a and of b


class PixelWatch:
    """What is known of the pixels of a scan's views so far; see the module.

    Parameters
    ----------
    paths : sequence of str
        The files, in scan order.
    period : int
        States of the focal spot, which follow each other.
    photons : array, shape (views, cols)
        Quanta N0 of each ray without an object.
    """

    def __init__(self, paths: Sequence[str], period: int, photons: np.ndarray) -> None:
        self._paths, self._period, self._photons = paths, period, photons
        n = len(paths)
        self._means = np.full((n, _PARTS[0] * _PARTS[1]), np.nan, np.float32)
        self._looked, self._judged = np.zeros(n, bool), np.zeros(n, bool)
        self._constant = np.zeros(n, bool)
        self._full = np.zeros(n, np.float32)  # part of the rays at the largest value
        self._seen: dict[int, int] = {}  # checksum → view
        self._noise_free: set[int] = set()  # checksums of such views as are alike by right
        self._faults: list[tuple[int, DataError]] = []
        self._next_look = min(n, _FIRST_LOOK)
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def look(self, view: int, stored: np.ndarray, p: np.ndarray) -> None:
        """Keep what a view is like: its stored numbers, and its line integrals (rows, cols).

        Called by whatever thread reads it.
        """
        parts = _parts(p)
        self._means[view] = parts.ravel()
        self._constant[view] = stored.min() == stored.max()
        self._full[view] = np.count_nonzero(stored == _LARGEST) / stored.size
        checksum = zlib.crc32(stored.tobytes())
        with self._lock:
            self._looked[view] = True
            other = self._seen.setdefault(checksum, view)
            level = float(p.flat[0])
            if self._constant[view]:
                if abs(level) > _EMPTY:
                    self._fault(
                        view,
                        "all pixels of a view are the same",
                        "line integrals of many rays",
                        f"{level:.4g} everywhere",
                    )
            elif (
                other != view
                and checksum not in self._noise_free
                and np.array_equal(self._means[other], self._means[view])
            ):
                if _is_noisy(p, self._photons[view]):
                    self._fault(view, "two views hold the same pixels", "noise of its own",
                                f"the pixels of {self._paths[other]}")  # fmt: skip
                else:
                    self._noise_free.add(checksum)

    def judge(self, start: int, stop: int) -> None:
        """Compare the views from ``start`` up to ``stop``, just read, with those beside them.

        Raises
        ------
        DataError
            If the pixels of a view are not its own: all the same, those of another view, or unlike
            those of its neighbours on both sides.

        Warns
        -----
        UserWarning
            If the air beside the body has a line integral, or many rays are at the largest value.
        """
        self._compare(start, stop)
        if self._faults:
            raise min(self._faults, key=lambda fault: fault[0])[1]
        count = int(self._looked.sum())
        if count >= self._next_look:
            whole = count == len(self._paths)  # then that was the last look
            self._next_look = count + 1 if whole else min(2 * count, len(self._paths))
            self._tell(count)

    def _fault(self, view: int, what: str, expected: str, got: str) -> None:
        error = DataError(
            what,
            where=f"{self._paths[view]}, PixelData (7FE0,0010)",
            expected=expected,
            got=got,
            remedy="the file may be broken, or of another scan: fetch it again",
        )
        self._faults.append((view, error))

    def _compare(self, start: int, stop: int) -> None:
        p, n = self._period, len(self._paths)
        low, high = max(start - (_AROUND + 3) * p, 0), min(stop + (_AROUND + 3) * p, n)
        means = self._means[low:high].astype(np.float64)
        if len(means) <= 2 * p:
            return
        jumps = np.full(len(means), np.nan)
        jumps[p:-p] = np.sqrt(
            np.mean((means[: -2 * p] - 2 * means[p:-p] + means[2 * p :]) ** 2, axis=1)
        )
        nothing = np.full(2 * p, np.nan)
        after = np.concatenate([jumps, nothing])  # D_{k+p} at p + k, D_{k+2p} at 2p + k
        behind, beyond = after[p : p + len(jumps)], after[2 * p : 2 * p + len(jumps)]
        before = np.concatenate([nothing, jumps])
        ahead, farther = before[p : p + len(jumps)], before[: len(jumps)]
        both = np.minimum(ahead, behind)  # NaN where one is not known
        score = both.copy()
        for one, following, end in ((behind, beyond, low == 0), (ahead, farther, high == n)):
            where = slice(0, 2 * p) if one is behind else slice(-2 * p, None)
            if end:
                alone = np.where(following[where] < _ONE_SIDE * one[where], one[where], 0.0)
                score[where] = np.where(np.isnan(one[where] + following[where]), np.nan, alone)
        for k in range(max(start - 2 * p, 0), min(stop + 2 * p, n)):  # views
            place = k - low
            if self._judged[k] or np.isnan(score[place]):
                continue
            near = slice(max(place - _AROUND * p, 0), place + _AROUND * p + 1)
            usual = both[near][np.isfinite(both[near])]
            if len(usual) < _LEAST:
                continue
            self._judged[k] = True
            allowed = max(_BEYOND * float(np.median(usual)), _JUMP)
            if score[place] > allowed:
                self._fault(
                    k,
                    "the pixels of a view do not fit those before and after it",
                    f"line integrals within {allowed:.3g} of theirs",
                    f"{score[place]:.3g}",
                )

    def _tell(self, count: int) -> None:
        """Warn of what the views that were read so far show together."""
        if count == len(self._paths) and self._constant.all():
            raise DataError(
                "no view shows anything", where=self._paths[0], expected="line integrals",
                got="one value in each view",
            )  # fmt: skip
        columns = self._means[self._looked].reshape(count, *_PARTS).mean(axis=1)
        low, level, high = np.percentile(columns.min(axis=1), (25, 50, 75))
        # air is flat: beside a body that reaches the fan's edge the next part lies deeper in it
        beside = np.median(np.maximum(columns[:, 1:], columns[:, :-1]).min(axis=1))
        flat = max(high - low, beside - level) < _LEVEL * abs(level)
        if flat and _AIR[0] < abs(level) < _AIR[1]:
            self._warn(
                "air",
                f"the air beside the body has a line integral of {level:.2f}, not 0: all rays are "
                "off by that, and the images by tens of HU",
            )
        full = int((self._full > _SATURATED).sum())
        if full:
            self._warn(
                "full",
                f"in {full} of {count} views more than {100 * _SATURATED:g} % of the rays stand at "
                f"the largest number that the files hold ({_LARGEST}): they may be cut off there",
            )

    def _warn(self, name: str, text: str) -> None:
        if name not in self._told:
            self._told.add(name)
            warnings.warn(text, stacklevel=5)


def _parts(p: np.ndarray) -> np.ndarray:
    """Means of the parts of the detector, (4, 16); parts are repeated on a smaller one."""
    means = p
    for axis, count in enumerate(_PARTS):
        size = p.shape[axis]
        edges = np.arange(count) * size // count
        if size < count:
            means = np.take(means, edges, axis=axis)
            continue
        widths = np.diff(np.append(edges, size))
        sums = np.add.reduceat(means, edges, axis=axis)
        means = sums / (widths[:, None] if axis == 0 else widths)
    return means


def _is_noisy(p: np.ndarray, photons: np.ndarray) -> bool:
    """Whether a view has noise of the order of its quanta's."""
    if p.shape[0] > 1:
        found = float(np.median(np.abs(np.diff(p, axis=0)))) * _COUNTED
    else:
        found = float(np.median(np.abs(np.diff(p, axis=1)))) * _COUNTED
    expected = float(np.median(np.exp(p / 2) / np.sqrt(photons)))
    return found > _NOISY * expected
