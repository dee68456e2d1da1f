"""The backprojection of :mod:`recon.helical.backprojection` on any torch device."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import BackendUnavailable, DataError
from ..geometry import ImageGrid
from .backprojection import turns_of
from .parallel_views import ParallelStream

__all__ = ["TorchSlab", "torch_device"]

_ROOM = 256e6  # bytes of one intermediate array


def torch_device(name: str) -> torch.device | None:
    """Return the device, or None for the processor, which has a kernel of its own.

    Raises
    ------
    DataError
        If torch knows no such device.
    BackendUnavailable
        If it is not there.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise DataError(
            "no such device", where="device", expected='"cpu", "cuda" or another torch device',
            got=repr(name),
        ) from None  # fmt: skip
    if device.type == "cpu":
        return None
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = (str(error).splitlines() or ["it does not answer"])[0].rstrip(".")
        raise BackendUnavailable(f"torch on {name}", why, "use device='cpu'") from None
    return device


class TorchSlab:
    """Slices on a torch device, to which parallel angles are added.

    Its arguments are those of :func:`recon.helical.backprojection.backproject`; the heights ``z``
    may be any number of them, in any order.
    """

    def __init__(
        self,
        stream: ParallelStream,
        grid: ImageGrid,
        z: np.ndarray,
        thickness: float,
        device: torch.device,
    ) -> None:
        plan = stream.plan
        self.stream, self.shape, self.thickness, self.device = stream, grid.shape, thickness, device
        x, y = np.meshgrid(grid.x, grid.y)
        self._inside = np.hypot(x, y).reshape(-1) <= plan.radius
        self._x = self._tensor(x.reshape(-1)[self._inside])
        self._y = self._tensor(y.reshape(-1)[self._inside])
        self._z = self._tensor(z)
        self._foot = [self._tensor(s.foot) for s in plan.states]
        self._length = [self._tensor(s.length) for s in plan.states]
        self._running = self._tensor(plan.running)
        self._out = torch.zeros((len(self._x), len(z)), device=device)
        self._chunk = max(int(_ROOM / (4 * max(len(z), plan.table))), 1)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def add(self, first: int, stop: int, angles: range) -> None:
        """Add the angles modulo 180°, from the parallel angles ``first`` … ``stop - 1``."""
        plan = self.stream.plan
        for j in angles:  # parallel angles modulo 180°
            numbers, sign = turns_of(j, first, stop, plan.half)
            if len(numbers) == 0:
                continue
            rows, spots = map(self._tensor, self.stream.filtered(numbers))
            theta = [float(plan.theta(numbers[:1], s)[0]) for s in range(len(plan.states))]
            for start in range(0, len(self._x), self._chunk):  # voxel columns, some at once
                part = slice(start, start + self._chunk)
                self._add(part, rows, spots, sign, theta)

    def _add(
        self,
        part: slice,
        rows: torch.Tensor,
        spots: torch.Tensor,
        sign: np.ndarray,
        theta: list[float],
    ) -> None:
        plan = self.stream.plan
        g = plan.geometry
        x, y = self._x[part], self._y[part]
        total = torch.zeros((len(x), len(self._z)), device=self.device)
        weight = torch.zeros_like(total)
        for s, state in enumerate(plan.states):  # focal-spot states
            centre = g.spot_row(state.shift_z)
            cosine, sine = float(np.cos(theta[s])), float(np.sin(theta[s]))
            t, along = x * cosine - y * sine, x * sine + y * cosine
            for k in range(len(sign)):  # half turns that see the slices
                m = (float(sign[k]) * t - plan.fine_first) * (2 / plan.filter.pitch)
                n = m.long().clamp(0, plan.filter.n_fine - 2)
                w = m - n
                ell = _between(self._foot[s], n, w) + float(sign[k]) * along
                scale = _between(self._length[s], n, w) / (ell * g.row_pitch)
                start = centre + _between(spots[k, s], n, w) * scale
                wide = (self.thickness / 2 * scale).clamp(min=plan.least_width / 2)
                table = _between(rows[k, s], n, w[:, None])
                fixed = self._running.expand_as(table)
                # both edges of the slice, in rows
                for side, factor in ((wide, 1.0), (-wide, -1.0)):
                    row = (start + side)[:, None] - scale[:, None] * self._z
                    row = row.clamp(0.0, g.n_rows - 1.0)
                    index = row.long()
                    way = (((row - index) - 0.5) / plan.footprint + 0.5).clamp(0.0, 1.0)
                    above = (index + 1).clamp(max=plan.table - 1)
                    # the rows' sums, and their weights'
                    for sums, values in ((total, table), (weight, fixed)):
                        low = values.gather(1, index)
                        sums += factor * (low + way * (values.gather(1, above) - low))
        share = torch.where(weight > 1e-6, plan.theta_step / weight, 0.0)
        self._out[part] += total * share

    def images(self) -> np.ndarray:
        """Return the slices, (slices, rows, cols), float32 [1/mm]."""
        out = np.zeros((self._out.shape[1], self._inside.size), np.float32)
        out[:, self._inside] = self._out.T.cpu().numpy()
        return out.reshape(-1, *self.shape)


def _between(table: torch.Tensor, n: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Interpolate a table linearly along its first axis."""
    low = table[n]
    return low + w * (table[n + 1] - low)
