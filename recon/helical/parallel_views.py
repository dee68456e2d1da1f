"""From views as they are measured to filtered parallel views, in one pass through the scan.

Views enter a ring once, in the order of growing angle. Each parallel view of each focal-spot state
takes its rays from them by interpolation along the views (a windowed sinc, for a state has only
its own views) and along the columns (cubic), all detector rows at once; they are weighted by the
cosine of the cone angle, and stay in a second ring for as long as slices need them, in 16 bits:
in 65,535 equal steps from the smallest to the largest value of the rows of a ray. When an angle
is backprojected, its views are ramp-filtered along t (:mod:`recon.fbp.plan`), weighted by row and
summed up over the rows: that doubles the samples, and filtering the views again for the next slab
of slices costs less than the passes through the voxels that the memory would cost.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

import numba as nb
import numpy as np

from ..backends.ramp_filter import Samples, filter_tables, filter_views
from ..engine.memory import aligned_empty, aligned_zeros
from ..engine.threads import share
from ..errors import DataError
from ..fbp.windows import Window
from ..scan.lazy_views import in_turn
from ..scan.scan import VIEWS_AT_ONCE, LineIntegrals, pieces
from .lookup import LANES
from .plan import TAPS, HelicalPlan

__all__ = ["ParallelStream", "sinc_weights"]

_AT_ONCE = 32  # parallel angles that are made together
_FRACTIONS = 1024  # of a view
_KAISER = 4.0
_STEPS = 65535  # between the smallest and the largest value of a ray


def sinc_weights(fraction: np.ndarray) -> np.ndarray:
    """Weights (n, 8) of the views around a place between the fourth and the fifth of them.

    A sinc in a Kaiser window, with the sum 1: flat within 1 % up to 0.35 cycles a view, where cubic
    interpolation has lost 20 %.

    Examples
    --------
    >>> np.abs(sinc_weights(np.array([0.0]))[0]).round(6).tolist()
    [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    at = np.arange(TAPS) - (TAPS // 2 - 1) - np.asarray(fraction)[:, None]
    room = np.clip(1 - (2 * at / TAPS) ** 2, 0.0, 1.0)
    weight = np.sinc(at) * np.i0(_KAISER * np.sqrt(room))
    normalised: np.ndarray = weight / weight.sum(axis=1, keepdims=True)
    return normalised


class ParallelStream:
    """Parallel views of a scan, of which the last ``room`` angles are at hand.

    Parameters
    ----------
    line_integrals : lazy sequence, shape (views, rows, cols)
        Read once and in order, as far as slices ask for it.
    plan, window
        Plan of the reconstruction, and window of its ramp filter.
    room : int
        Parallel angles that are kept.

    Angle J lies at ``J % room`` of the ring.
    """

    def __init__(
        self, line_integrals: LineIntegrals, plan: HelicalPlan, window: Window, room: int
    ) -> None:
        self.plan = plan
        self.room = room
        self._source = line_integrals
        self._tables = filter_tables(plan.filter, window)
        self._taps = sinc_weights(np.linspace(0.0, 1.0, _FRACTIONS + 1)).astype(np.float32)
        states, ramp = len(plan.states), plan.filter
        self._stored = _Stored(
            steps=aligned_zeros((room, states, plan.table // 16, ramp.n_t, 16), np.uint16),
            low=aligned_zeros((room, states, ramp.n_t)),
            step=aligned_zeros((room, states, ramp.n_t)),
        )
        self._source_z = np.zeros((room, states, ramp.n_fine), np.float32)
        turns = -(-room // plan.half) * states
        self._rays = aligned_empty((turns, plan.table // 16, ramp.n_t, 16))
        self._filtered = aligned_empty((turns, plan.table // 16, ramp.n_fine, 16))
        self._rows = aligned_empty((turns, ramp.n_fine, plan.table))
        self.next = 0  # first angle that is not made yet
        off, angles = np.concatenate([s.off for s in plan.states]), plan.states[0].angles
        view_step = float(angles[-1] - angles[0]) / (len(angles) - 1)
        span = (float(np.ptp(off)) + (_AT_ONCE + 1) * plan.theta_step) / view_step
        # a piece of views may reach beyond what the angles made together need
        self._kept = (int(span) + 2 * TAPS) * states + VIEWS_AT_ONCE
        cols = plan.geometry.n_cols
        self._ring = aligned_zeros((self._kept, cols, plan.table))
        self._read = 0  # views in the order of growing angle that were read so far

    def start(self, first: int) -> None:
        """Leave out all angles before ``first``, if they are not made yet."""
        self.next = max(self.next, first)

    def advance(self, stop: int) -> None:
        """Make all angles before ``stop``."""
        if stop <= self.next:
            return
        low, _ = self._needed(self._places(np.array([self.next])))
        _, end = self._needed(self._places(np.array([stop - 1])))
        self._read = max(self._read, low)
        with closing(self._in_order(self._read, end)) as source:
            while self.next < stop:  # parallel angles, some at once
                numbers = np.arange(self.next, min(self.next + _AT_ONCE, stop))
                places = self._places(numbers)
                _, high = self._needed(places)
                while self._read < high:  # views
                    self._take(next(source))
                for s, (first, fraction) in enumerate(places):  # focal-spot states
                    self._make(numbers, s, first, fraction)
                self.next += len(numbers)

    def _take(self, views: np.ndarray) -> None:
        """Put the next views into the ring."""
        share(len(views), _transpose, views, self._read, self._ring)
        self._read += len(views)

    def _places(self, numbers: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each state: first view that each column takes, and the fraction between two."""
        places = []
        for s, state in enumerate(self.plan.states):
            theta = self.plan.theta(numbers, s)
            count = len(state.views)
            at = np.interp(theta[:, None] - state.off, state.angles, np.arange(count, dtype=float))
            first = np.floor(at).astype(np.int64) - (TAPS // 2 - 1)
            first = np.clip(first, 0, count - TAPS)
            way = np.clip(at - first - (TAPS // 2 - 1), 0.0, 1.0)
            places.append((first, np.rint(way * _FRACTIONS).astype(np.int64)))
        return places

    def _make(self, numbers: np.ndarray, s: int, first: np.ndarray, fraction: np.ndarray) -> None:
        plan, state = self.plan, self.plan.states[s]
        slots = numbers % self.room
        along_views = _AlongViews(first, fraction, self._taps, len(plan.states), s)
        along_columns = _AlongColumns(state.col_first, state.col_weight, state.cone)
        job = self._ring, plan.geometry.n_rows, along_views, along_columns, slots, self._stored
        share(len(numbers), _rebin, *job)
        angles = plan.theta(numbers, s)[:, None] - state.fine_off
        self._source_z[slots, s] = np.interp(angles, state.angles, state.source_z)

    def filtered(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Filter parallel angles that are at hand, at most as many as there are half turns.

        Returns
        -------
        rows : np.ndarray, shape (n, states, fine, table), float32
            Running sums over the weighted detector rows [1/mm]; the next call overwrites them.
        source_z : np.ndarray, shape (n, states, fine), float32
            Height of the focal spot that measured each ray [mm].
        """
        plan, ramp = self.plan, self.plan.filter
        states, registers = len(plan.states), plan.table // 16
        slots, views = numbers % self.room, len(numbers) * states
        share(views, _restore, self._stored, slots, self._rays)
        filter_views(
            LANES,
            -(-views * registers // 2),
            self._rays[:views].reshape(-1),
            Samples(views * registers, ramp.n_t, ramp.fine_first, ramp.n_fine),
            self._tables,
            self._filtered[:views].reshape(-1),
            room=4 * ramp.n_fft * len(LANES),
        )
        share(views, _sum_rows, self._filtered[:views], plan.weights, self._rows)
        rows = self._rows[:views].reshape(len(numbers), states, ramp.n_fine, plan.table)
        return rows, self._source_z[slots]

    def _needed(self, places: list[tuple[np.ndarray, np.ndarray]]) -> tuple[int, int]:
        """First and last + 1 of the views, in the order of growing angle, that are taken."""
        states = len(places)
        low = min(int(first.min()) for first, _ in places) * states
        high = (max(int(first.max()) for first, _ in places) + TAPS) * states
        return low, min(high, self.plan.geometry.shape[0])

    def _in_order(self, start: int, stop: int) -> Generator[np.ndarray, None, None]:
        """Views from ``start`` up to ``stop`` in the order of growing angle, some at once."""
        total, angles = self.plan.geometry.shape[0], self.plan.geometry.angles
        backward = angles[0] > angles[-1]
        some = pieces(start, stop)
        if backward:
            some = [slice(total - piece.stop, total - piece.start) for piece in some]
        for piece, views in zip(some, in_turn(self._source, some)):
            # a sum is finite where all of its terms are
            if not np.isfinite(views.sum()):
                raise DataError(
                    "line integrals are not finite", where=f"views {piece.start} to {piece.stop}"
                )
            yield np.ascontiguousarray(views[::-1] if backward else views, dtype=np.float32)


class _AlongViews(NamedTuple):
    """How a parallel ray is interpolated from the views of its focal-spot state."""

    first: np.ndarray  # (angles, cols) first of the state's views that each column takes
    fraction: np.ndarray  # (angles, cols) between two views, as a row of the taps
    taps: np.ndarray  # (fractions, 8) weights
    stride: int  # views from one of the state to the next: the number of states
    state: int


class _AlongColumns(NamedTuple):
    """How a parallel ray is interpolated from the columns, and weighted by its cone angle."""

    first: np.ndarray  # (t,) first of the four columns that each sample takes
    weight: np.ndarray  # (t, 4)
    cone: np.ndarray  # (t, table) cosine of the cone angle of each detector row


class _Stored(NamedTuple):
    """Parallel views in 16 bits: a value is low + step · steps, with low and step of its ray."""

    steps: np.ndarray  # (room, states, registers, t, 16)
    low: np.ndarray  # (room, states, t)
    step: np.ndarray  # (room, states, t)


@nb.njit(nogil=True, cache=True)
def _transpose(first, last, views, at, ring):
    """Copy views (n, rows, cols) to (cols, rows) each, into a ring."""
    rows, cols = views.shape[1:]
    room = ring.shape[0]
    for k in range(first, last):  # views, in the order of growing angle
        for c0 in range(0, cols, 16):  # detector columns, 16 a time: a cache line of each row
            for r in range(rows):  # detector rows
                for c in range(c0, min(c0 + 16, cols)):  # detector columns
                    ring[(at + k) % room, c, r] = views[k, r, c]


@nb.njit(cache=True, error_model="numpy")
def _range(values, lowest, highest):
    """Smallest and largest of the values, 16 of them beside each other."""
    registers = len(values) // 16
    for lane in range(16):
        low = values[lane]
        high = low
        for b in range(1, registers):
            value = values[16 * b + lane]
            low = value if value < low else low
            high = value if value > high else high
        lowest[lane] = low
        highest[lane] = high
    low, high = lowest[0], highest[0]
    for lane in range(1, 16):
        low = lowest[lane] if lowest[lane] < low else low
        high = highest[lane] if highest[lane] > high else high
    return low, high


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _rebin(first, last, ring, rows, along_views, along_columns, slots, stored):
    """Parallel views (registers, t, 16) of one state to its slots, all rows of a ray at once."""
    begin, fraction, taps, stride, state = along_views
    col_first, col_weight, cone = along_columns
    room, cols, table = ring.shape
    registers = table // 16
    n_t = len(col_first)
    for j in range(first, last):  # parallel angles
        fan = np.empty((cols, table), np.float32)
        ray = np.empty(table, np.float32)
        lowest, highest = np.empty(16, np.float32), np.empty(16, np.float32)
        for c in range(cols):  # detector columns: rays at this angle, not yet at equal distances
            fan[c] = np.float32(0.0)
            for tap in range(taps.shape[1]):  # views of the state
                weight = taps[fraction[j, c], tap]
                view = ring[((begin[j, c] + tap) * stride + state) % room, c]
                for r in range(table):  # detector rows
                    fan[c, r] += weight * view[r]
        for m in range(n_t):  # samples at equal distances in t
            c = col_first[m]
            w0, w1, w2, w3 = (
                col_weight[m, 0], col_weight[m, 1], col_weight[m, 2], col_weight[m, 3],
            )  # fmt: skip
            f0, f1, f2, f3, cosine = fan[c], fan[c + 1], fan[c + 2], fan[c + 3], cone[m]
            for r in range(table):  # detector rows
                ray[r] = (w0 * f0[r] + w1 * f1[r] + w2 * f2[r] + w3 * f3[r]) * cosine[r]
            for r in range(rows, table):  # behind the last row, where values have no weight
                ray[r] = ray[rows - 1]
            low, high = _range(ray, lowest, highest)
            step = (high - low) / np.float32(_STEPS)
            per_step = np.float32(1.0) / step if step > 0.0 else np.float32(0.0)
            stored.low[slots[j], state, m] = low
            stored.step[slots[j], state, m] = step
            for b in range(registers):  # detector rows, 16 in a register
                counts = stored.steps[slots[j], state, b, m]
                for lane in range(16):  # detector rows
                    count = (ray[16 * b + lane] - low) * per_step + np.float32(0.5)
                    counts[lane] = np.int32(count)


@nb.njit(nogil=True, cache=True)
def _restore(first, last, stored, slots, rays):
    """Parallel views of these slots, of all states, to rays (views, registers, t, 16)."""
    steps, low, step = stored
    states = steps.shape[1]
    for k in range(first, last):  # parallel views
        slot, state = slots[k // states], k % states
        for b in range(rays.shape[1]):  # detector rows, 16 in a register
            for m in range(rays.shape[2]):  # samples at equal distances in t
                begin, width = low[slot, state, m], step[slot, state, m]
                for lane in range(16):  # detector rows
                    rays[k, b, m, lane] = begin + width * np.float32(steps[slot, state, b, m, lane])


@nb.njit(nogil=True, cache=True)
def _sum_rows(first, last, filtered, weights, rows):
    """Running sums (views, fine, table) over the weighted rows of (views, registers, fine, 16)."""
    fine = filtered.shape[2]
    for j in range(first, last):  # parallel views
        for f in range(fine):  # fine samples along t
            total = np.float32(0.0)
            for r in range(len(weights)):  # detector rows; entry r is the sum of those before it
                rows[j, f, r] = total
                total += weights[r] * filtered[j, r // 16, f, r % 16]
