"""FBP and its transpose in plain torch, of any floating dtype, on any device.

The mathematics is that of :mod:`recon.fbp.plan`, a few views at a time: slow on a CPU, where it is
the reference for the compiled kernels, and quick enough on a GPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from ..fbp.plan import FbpPlan, fine_responses, interleaves, plan_fbp
from ..fbp.rebinning import Rebinning
from ..fbp.windows import Window
from ..geometry import Geometry, ImageGrid

__all__ = ["TorchFbp", "filtered", "interpolated_sums"]

_SAMPLES_AT_ONCE = 2**19


def interpolated_sums(
    table: torch.Tensor, left: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """``Σ_k (1-w)·table[left] + w·table[left+1]`` over the k of each row of left and w.

    An embedding bag does it in one kernel without a temporary: all images at a place lie side by
    side and are read together.

    Parameters
    ----------
    table : tensor, shape (places, images)
    left : integer tensor, shape (sums, k)
    weight : tensor, shape (sums, k)
        Weights of the right-hand neighbours, in the table's dtype.

    Returns
    -------
    tensor, shape (sums, images)

    Examples
    --------
    >>> import torch
    >>> table = torch.tensor([[0.0], [10.0], [20.0]])
    >>> interpolated_sums(table, torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.1]]))
    tensor([[16.]])
    """
    return torch.nn.functional.embedding_bag(
        torch.cat([left, left + 1], 1),
        table,
        mode="sum",
        per_sample_weights=torch.cat([1 - weight, weight], 1),
    )


def _on(table: Rebinning, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights of the views, first columns and their weights, on the device of a tensor."""
    weights = (torch.from_numpy(part).to(like) for part in (table.view_weight, table.col_weight))
    view_weight, col_weight = weights
    return view_weight, torch.from_numpy(table.col_first).to(like.device), col_weight


def _responses(plan: FbpPlan, window: Window, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
    kind = torch.complex128 if like.dtype == torch.float64 else torch.complex64
    parts = fine_responses(plan, window)
    return tuple(torch.from_numpy(part).to(like.device, kind) for part in parts)


def _fine_index(plan: FbpPlan, like: torch.Tensor) -> torch.Tensor:
    index = torch.arange(plan.n_fine, device=like.device) + plan.fine_first
    return index % (2 * plan.n_fft)


def filtered(parallel: torch.Tensor, plan: FbpPlan, window: Window) -> torch.Tensor:
    """The fine samples (..., n_fine) of parallel views (..., n_t) behind the ramp filter."""
    spectrum = torch.fft.rfft(parallel, plan.n_fft)
    responses = _responses(plan, window, parallel)
    fine = torch.stack([torch.fft.irfft(spectrum * h, plan.n_fft) for h in responses], dim=-1)
    return fine.flatten(-2)[..., _fine_index(plan, fine)]


class TorchFbp:
    """Filtered backprojection of stacks (B, views, cols) and its transpose."""

    def __init__(self, geometry: Geometry, grid: ImageGrid) -> None:
        self.geometry = geometry
        self.grid = grid
        self._plans: dict[bool, FbpPlan] = {}

    def _plan(self, window: Window) -> FbpPlan:
        """Plan of the FBP; made when first asked for, since some scans have none."""
        interleave = interleaves(self.geometry, window)
        if interleave not in self._plans:
            self._plans[interleave] = plan_fbp(self.geometry, self.grid, interleave=interleave)
        return self._plans[interleave]

    def fbp(self, sinograms: torch.Tensor, window: Window) -> torch.Tensor:
        """Reconstruct (B, views, cols) to (B, rows, cols)."""
        plan = self._plan(window)
        parallel = self._weighted(sinograms, plan)
        if plan.rebinning is not None:
            parallel = self._rebin(parallel, plan, plan.rebinning)
        return self._back_project(filtered(parallel, plan, window), plan)

    def fbp_transpose(self, images: torch.Tensor, window: Window) -> torch.Tensor:
        """Transpose of :meth:`fbp`."""
        plan = self._plan(window)
        views = self._back_project_transpose(images, plan)
        fine = views.new_zeros(*views.shape[:2], 2 * plan.n_fft)
        fine[..., _fine_index(plan, fine)] = views
        whole, half = _responses(plan, window, images)
        spectrum = torch.fft.rfft(fine[..., 0::2]) * whole.conj()
        spectrum = spectrum + torch.fft.rfft(fine[..., 1::2]) * half.conj()
        parallel = torch.fft.irfft(spectrum, plan.n_fft)[..., : plan.n_t]
        if plan.rebinning is not None:
            parallel = self._rebin_transpose(parallel, plan, plan.rebinning)
        return self._weighted(parallel.contiguous(), plan)

    def _weighted(self, sinograms: torch.Tensor, plan: FbpPlan) -> torch.Tensor:
        if plan.weights is None:
            return sinograms
        return sinograms * torch.from_numpy(plan.weights).to(sinograms)

    def _sides(self, table: Rebinning) -> list[tuple[int, int]]:
        """Pairs (side, first view) of the rows that make up the parallel views."""
        return [(0, 0), (1, table.half)] if table.half else [(0, 0)]

    def _view_index(self, fan: torch.Tensor, table: Rebinning, tap: int) -> torch.Tensor:
        """The view that each ray of a stack (B, views, cols) takes as its ``tap``-th, expanded."""
        views = torch.arange(fan.shape[1], device=fan.device)[:, None]
        first = torch.from_numpy(table.view_first).to(fan.device)
        return ((views + first + tap) % fan.shape[1]).expand_as(fan)

    def _rebin(self, measured: torch.Tensor, plan: FbpPlan, table: Rebinning) -> torch.Tensor:
        fan = torch.nn.functional.pad(measured, (0, 0, 0, plan.spare))
        view_weight, columns, weights = _on(table, fan)
        shifted = torch.zeros_like(fan)
        for tap in range(4):  # fan views
            index = self._view_index(fan, table, tap)
            shifted = shifted + view_weight[:, tap] * fan.gather(1, index)
        rows = len(plan.theta)
        parallel = fan.new_zeros(len(fan), rows, plan.n_t)
        for side, first in self._sides(table):  # the view itself and the opposite one
            for tap in range(4):  # columns around a sample
                taken = shifted[:, first : first + rows][..., columns[side] + tap]
                parallel = parallel + taken * weights[side, :, tap]
        return parallel

    def _rebin_transpose(
        self, parallel: torch.Tensor, plan: FbpPlan, table: Rebinning
    ) -> torch.Tensor:
        view_weight, columns, weights = _on(table, parallel)
        views, cols = self.geometry.shape
        shifted = parallel.new_zeros(len(parallel), views + plan.spare, cols)
        rows = parallel.shape[1]
        for side, first in self._sides(table):  # the view itself and the opposite one
            for tap in range(4):  # columns around a sample
                part = parallel * weights[side, :, tap]
                shifted[:, first : first + rows].index_add_(2, columns[side] + tap, part)
        fan = torch.zeros_like(shifted)
        for tap in range(4):  # parallel views
            index = self._view_index(fan, table, tap)
            fan.scatter_add_(1, index, shifted * view_weight[:, tap])
        return fan[:, :views]

    def _samples(
        self, plan: FbpPlan, like: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Index and weight of each pixel's right-hand fine sample, view by view."""
        rows, cols = self.grid.shape
        i = torch.arange(rows, device=like.device, dtype=torch.float64)[:, None]
        j = torch.arange(cols, device=like.device, dtype=torch.float64)[None, :]
        # parallel views
        for a, b, c in zip(*(part.tolist() for part in plan.pixel_lines(self.grid))):
            t = (a * j + b * i + c).flatten()
            index = t.floor()
            yield index.long(), (t - index).to(like.dtype)

    def _back_project(self, filtered: torch.Tensor, plan: FbpPlan) -> torch.Tensor:
        rows, cols = self.grid.shape
        total = filtered.new_zeros(rows * cols, len(filtered))
        table = filtered.permute(1, 2, 0).contiguous()
        step = max(1, _SAMPLES_AT_ONCE // (rows * cols))
        samples = self._samples(plan, filtered)
        for views in table.split(step):  # parallel views, some at once
            index, weight = zip(*itertools.islice(samples, len(views)))
            place = torch.arange(len(views), device=table.device) * plan.n_fine
            left = torch.stack(index, 1) + place
            total += interpolated_sums(views.flatten(0, 1), left, torch.stack(weight, 1))
        return (total.T * plan.share).reshape(-1, rows, cols)

    def _back_project_transpose(self, images: torch.Tensor, plan: FbpPlan) -> torch.Tensor:
        filtered = images.new_zeros(len(images), len(plan.theta), plan.n_fine)
        flat = images.flatten(1) * plan.share
        for k, (index, weight) in enumerate(self._samples(plan, images)):  # parallel views
            row = images.new_zeros(len(images), plan.n_fine)
            row.index_add_(1, index, flat * (1 - weight))
            row.index_add_(1, index + 1, flat * weight)
            filtered[:, k] = row
        return filtered
