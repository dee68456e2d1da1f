"""Batch normalisation by the statistics of a whole batch, however many processes share it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..training import parallel

__all__ = ["BatchNorm2d"]


class BatchNorm2d(nn.BatchNorm2d):
    r"""``(x - μ) / √(σ² + ε) · γ + β`` with μ, σ² over the rows of all processes.

    S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015. In one process it is torch's own, to the
    bit; under torchrun torch's own would see a part of each batch, and train another network.
    Tensors and their names are torch's.

    Examples
    --------
    >>> import torch
    >>> from ctxai.eulig2024.batch_norm import BatchNorm2d
    >>> x = torch.arange(8.0).reshape(4, 1, 1, 2)
    >>> torch.equal(BatchNorm2d(1)(x), torch.nn.BatchNorm2d(1)(x))
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) of the same shape."""
        if not self.training or parallel.processes() == 1:
            return super().forward(x)
        mean = parallel.shared_mean(x.mean((0, 2, 3)))
        centred = x - mean[:, None, None]
        variance = parallel.shared_mean(centred.square().mean((0, 2, 3)))
        self._remember(mean, variance, parallel.processes() * x[:, 0].numel())
        out = centred / (variance + self.eps).sqrt()[:, None, None]
        return out * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else out

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, the variance without bias, as torch does."""
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
