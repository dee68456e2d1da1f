"""The reference backend: Joseph's weights written out in float64 torch, one view at a time.

Slow, and simple enough to be read: what the compiled kernels are tested against. In float32 it is
the backend of GPUs without ASTRA, where a large stack keeps it busy.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..geometry import Geometry, ImageGrid
from .rays import PAD, check_hits, lines
from .torch_fbp import TorchFbp, interpolated_sums

__all__ = ["ReferenceBackend", "TorchBackend"]


class ReferenceBackend(TorchFbp):
    """Forward projection, its transpose, FBP and its transpose for float64 stacks (B, …)."""

    name = "reference"
    dtype = torch.float64
    devices: tuple[str, ...] = ("cpu", "cuda")

    def __init__(self, geometry: Geometry, grid: ImageGrid) -> None:
        super().__init__(geometry, grid)
        self._lines = lines(geometry, grid)
        check_hits(geometry, grid, self._lines)

    def _samples_of(
        self, view: int, device: torch.device
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """For each axis: columns, lengths, left indices and right weights of rays that cross."""
        rows, cols = self.grid.shape
        along_rows, start, slope, length = (
            torch.from_numpy(part[view]).to(device) for part in self._lines
        )
        # rays that walk along rows, then along columns
        for axis, steps, width in ((0, rows, cols), (1, cols, rows)):
            columns = torch.nonzero(along_rows == (axis == 0)).flatten()
            step = torch.arange(steps, device=device, dtype=torch.float64)
            x = start[columns, None] + slope[columns, None] * step
            hit = ((x > -1) & (x < width)).any(1)
            columns, x = columns[hit], x[hit]
            left = x.floor()
            weight = x - left
            # whatever lies outside lands on a border of zeros, two pixels wide
            left = left.clamp(-PAD, width).long() + PAD
            index = left + torch.arange(steps, device=device) * (width + 2 * PAD)
            yield axis, columns, length[columns], index, weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Line integrals (B, views, cols) of images (B, rows, cols)."""
        pad = (PAD, PAD)
        tables = [
            torch.nn.functional.pad(turned, pad).flatten(1).T.contiguous()
            for turned in (images, images.transpose(1, 2))
        ]
        out = images.new_zeros(len(images), *self.geometry.shape)
        for view in range(self.geometry.shape[0]):  # views
            # their rays, axis by axis
            for axis, columns, length, index, weight in self._samples_of(view, images.device):
                value = interpolated_sums(tables[axis], index, weight.to(images.dtype))
                out[:, view, columns] = value.T * length.to(images.dtype)
        return out

    def adjoint(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Transpose of :meth:`forward`, written out with the same weights."""
        rows, cols = self.grid.shape
        count = len(sinograms)
        border = 2 * PAD
        sizes = rows * (cols + border), cols * (rows + border)
        flat = [sinograms.new_zeros(count, size) for size in sizes]
        for view in range(self.geometry.shape[0]):  # views
            # their rays, axis by axis
            for axis, columns, length, index, weight in self._samples_of(view, sinograms.device):
                weight = weight.to(sinograms.dtype)
                value = (sinograms[:, view, columns] * length.to(weight.dtype))[..., None]
                flat[axis].index_add_(1, index.flatten(), (value * (1 - weight)).flatten(1))
                flat[axis].index_add_(1, index.flatten() + 1, (value * weight).flatten(1))
        inner = slice(PAD, -PAD)
        upright = flat[0].reshape(count, rows, cols + border)[..., inner]
        turned = flat[1].reshape(count, cols, rows + border)[..., inner]
        return upright + turned.transpose(1, 2)


class TorchBackend(ReferenceBackend):
    """The same for float32 stacks, on any device of torch's."""

    name = "torch"
    dtype = torch.float32
