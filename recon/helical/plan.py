"""What a helical reconstruction needs besides the data: rays, samples, angles and weights.

Every focal-spot state is a regular fan of its own. In the frame of the view, with the focal centre
at (0, -ρ0), the spot is at ``s = -(ρ0 + Δρ)·(sin Δφ, cos Δφ)`` and the element of arc angle γ at
``e = (d0 sin γ, -ρ0 + d0 cos γ)``; the detector does not follow the spot. The ray along ``e - s``
then is the parallel ray

    θ = β + off,  off = atan2(e_x - s_x, e_y - s_y),  t = s_x cos(off) - s_y sin(off),

for all views of the state. The spot lies ``foot = -s·(sin off, cos off)`` before the ray's foot
point of the axis, and ``length = |e - s|`` before the element, both in the plane of the view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..fbp.plan import FbpPlan, fine_samples
from ..fbp.rebinning import cubic_weights
from ..geometry import ImageGrid
from ..scan.helix import HelicalScan
from .lookup import table_width

__all__ = [
    "FLAT",
    "TAPS",
    "HelicalPlan",
    "StateRays",
    "plan_helical",
    "row_weights",
]

FLAT = 0.6
"""Share Q of the detector's half height on which rows count fully (Stierstorfer et al. 2004)."""

TAPS = 8
"""Views of a state that a parallel ray is interpolated from."""

_LEAST_SLICE = 1.25  # of the distance of neighbouring samples along z


@dataclass(frozen=True)
class StateRays:
    """The rays of one focal-spot state; tables over columns (cols,) or fine samples (fine,).

    ``views`` are the state's views in the order of growing angle, ``angles`` and ``source_z``
    (views,) where they were taken; ``off`` (cols,) is θ - β. Rays at the samples t take columns
    ``col_first + 0…3`` with ``col_weight`` (t, 4), times ``cone`` (t, table). On the fine samples:
    ``fine_off``, ``foot`` and ``length``.
    """

    views: np.ndarray
    angles: np.ndarray
    source_z: np.ndarray
    shift_z: float
    off: np.ndarray
    col_first: np.ndarray
    col_weight: np.ndarray
    cone: np.ndarray
    fine_off: np.ndarray
    foot: np.ndarray
    length: np.ndarray


@dataclass(frozen=True)
class HelicalPlan:
    """Everything but the data.

    Parallel angle J of state s is ``theta_first + (J + s/states)·theta_step``, J = 0 … count - 1;
    ``half`` of them are 180°. ``filter`` is the plan of the ramp filter, whose fine samples the
    backprojection takes. ``weights`` (table,) is the weight of each row, ``running`` (table,) its
    running sum. ``footprint`` is the part of a row that a sample stands for along z, 1/2 where two
    focal spots interleave.
    """

    geometry: HelicalScan
    states: list[StateRays]
    theta_first: float
    theta_step: float
    half: int
    count: int
    filter: FbpPlan
    weights: np.ndarray
    running: np.ndarray
    footprint: float
    radius: float

    @property
    def table(self) -> int:
        """Entries of a table of rows."""
        return len(self.weights)

    @property
    def fine_first(self) -> float:
        """Where the first fine sample lies [mm]."""
        return self.filter.t_first + self.filter.fine_first * self.filter.pitch / 2

    @property
    def least_width(self) -> float:
        """Least full width at half maximum of the slice kernel [rows]."""
        return _LEAST_SLICE * self.footprint

    def theta(self, number: np.ndarray, state: int) -> np.ndarray:
        """Angles [rad] of the parallel views of that number and state."""
        return self.theta_first + (number + state / len(self.states)) * self.theta_step


def row_weights(rows: int) -> np.ndarray:
    """Weight of each detector row: 1 up to |q| = Q, then ``cos²(½π(|q| - Q)/(1 - Q))``.

    q runs from -1 to 1 between the centres of the outermost rows, which thus weigh nothing.

    Examples
    --------
    >>> row_weights(5).round(3).tolist()
    [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    q = np.abs(np.linspace(-1.0, 1.0, rows))
    weight: np.ndarray = np.cos(0.5 * np.pi * np.clip((q - FLAT) / (1 - FLAT), 0.0, 1.0)) ** 2
    return weight


def _fan(geometry: HelicalScan, view: int) -> tuple[np.ndarray, ...]:
    """(off, t, length, foot) of each column in the state of a view."""
    gamma = geometry.fan_angles
    radius, turn = geometry.src_iso + geometry.shift_radius[view], geometry.shift_angle[view]
    sx, sy = -radius * math.sin(turn), -radius * math.cos(turn)
    dx = geometry.src_det * np.sin(gamma) - sx
    dy = -geometry.src_iso + geometry.src_det * np.cos(gamma) - sy
    off = np.arctan2(dx, dy)
    t = sx * np.cos(off) - sy * np.sin(off)
    return off, t, np.hypot(dx, dy), -(sx * np.sin(off) + sy * np.cos(off))


def _views_of_states(geometry: HelicalScan) -> list[np.ndarray]:
    """Numbers of each state's views, in the order of growing angle."""
    number = geometry.states
    count = int(number.max()) + 1
    if not (number == np.arange(len(number)) % count).all():
        wrong = int(np.flatnonzero(number != np.arange(len(number)) % count)[0])
        raise DataError(
            "the focal spot does not fly regularly",
            where=f"view {wrong}",
            expected=f"{count} states in turn",
            got=f"state {number[wrong] + 1} instead of {wrong % count + 1}",
        )
    steps = np.diff(geometry.angles)
    if len(number) < TAPS * count or not ((steps > 0).all() or (steps < 0).all()):
        raise DataError(
            "the views do not make up a turn",
            where="angles",
            expected=f"at least {TAPS * count} views in scan order, turning in one sense",
            got=f"{len(number)} views",
        )
    views = np.arange(len(number))
    if steps[0] < 0:
        views = views[::-1]
    # the state that comes first gets the first angles
    return [views[first::count] for first in range(count)]


def plan_helical(geometry: HelicalScan, grid: ImageGrid) -> HelicalPlan:
    """Return the plan of a reconstruction of a scan on ``grid``.

    Raises
    ------
    DataError
        If the detector has fewer than 4 rows or columns, or the focal spot flies irregularly.
    """
    g = geometry
    if g.n_rows < 4 or g.n_cols < 4:
        raise DataError(
            "the detector is too small for a helical reconstruction",
            expected="at least 4 rows and 4 columns",
            got=f"{g.n_rows} and {g.n_cols}",
        )
    members = _views_of_states(g)
    pitch = g.col_pitch * g.src_iso / g.src_det
    fans = [_fan(g, int(views[0])) for views in members]
    last = max(float(np.abs(t).max()) for _, t, _, _ in fans)
    n_t = 2 * math.ceil(last / pitch) + 2  # half a column and more beyond it
    t_first = -(n_t - 1) / 2 * pitch
    # the field of view, within which every ray in the plane is measured
    measured = [_fan(g, state)[1] for state in range(len(members))]
    radius = min(*(float(min(-t[0], t[-1])) for t in measured), grid.radius)
    ramp = FbpPlan(
        geometry=g.fan([0.0]),
        theta=np.zeros(1), share=0.0, n_t=n_t, pitch=pitch, t_first=t_first,
        **fine_samples(-radius, radius, t_first, n_t, pitch),
        rebinning=None, weights=None, spare=0, interleaved=False,
    )  # fmt: skip
    t = t_first + np.arange(n_t) * pitch
    fine = t_first + (ramp.fine_first + np.arange(ramp.n_fine)) * pitch / 2
    table = table_width(g.n_rows)
    states = []
    for views, (off, t_of, length, foot) in zip(members, fans):  # focal-spot states
        columns = np.arange(g.n_cols)
        # beyond the outermost columns the detector extends for half a column, then there is air
        column = _extended(t, t_of, columns)
        first = np.clip(np.floor(column) - 1, 0, g.n_cols - 4)
        seen = (column > -0.5) & (column < g.n_cols - 0.5)
        length_t = np.interp(t, t_of, length)[:, None]
        shift = float(g.shift_z[views[0]])
        climb = np.zeros(table)
        climb[: g.n_rows] = g.row_heights - shift
        states.append(
            StateRays(
                views=views,
                angles=g.angles[views],
                source_z=g.source_z[views],
                shift_z=shift,
                off=off,
                col_first=first.astype(np.int64),
                col_weight=(cubic_weights(column - first) * seen[:, None]).astype(np.float32),
                cone=(length_t / np.hypot(length_t, climb)).astype(np.float32),
                fine_off=_extended(fine, t_of, off),
                foot=_extended(fine, t_of, foot).astype(np.float32),
                length=_extended(fine, t_of, length).astype(np.float32),
            )
        )
    # parallel views whose rays all lie between the views measured
    half = math.ceil(g.views_per_rotation / (2 * len(states)) - 1e-9)
    step = math.pi / half
    low = max(s.angles[TAPS // 2 - 1] + s.off.max() for s in states)
    high = min(s.angles[-TAPS // 2] + s.off.min() for s in states)
    low = states[0].angles[0] + math.ceil((low - states[0].angles[0]) / step - 1e-6) * step
    spread = (len(states) - 1) / len(states)
    count = math.floor((high - low) / step - spread + 1e-6) + 1
    weights = np.zeros(table)
    weights[: g.n_rows] = row_weights(g.n_rows)
    running = np.concatenate([[0.0], np.cumsum(weights)[:-1]])
    heights = {round(s.shift_z, 2) for s in states}
    return HelicalPlan(
        geometry=g,
        states=states,
        theta_first=low,
        theta_step=step,
        half=half,
        count=max(count, 0),
        filter=ramp,
        weights=weights.astype(np.float32),
        running=running.astype(np.float32),
        footprint=1.0 / len(heights),
        radius=radius,
    )


def _extended(at: np.ndarray, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate linearly, and go on with the outermost slopes."""
    out = np.interp(at, nodes, values)
    # below and above the nodes
    for beyond, a, b in ((at < nodes[0], 0, 1), (at > nodes[-1], -1, -2)):
        slope = (values[a] - values[b]) / (nodes[a] - nodes[b])
        out = np.where(beyond, values[a] + slope * (at - nodes[a]), out)
    return out
