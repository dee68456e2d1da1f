"""A denoiser around one image, as its Jacobian: two products, and a matrix where it is local."""

from __future__ import annotations

import torch
from torch import Tensor

from ctxai import LocalJacobian, linearise

from .ideal import Product

__all__ = ["Jacobian"]


class Jacobian:
    """A denoiser around one image: ``w ↦ Jw`` and ``u ↦ Jᵀu`` of images (n, H, W).

    Parameters
    ----------
    f : callable
        (B, 1, H, W) to the same [HU].
    x : Tensor, (H, W)
        [HU].

    Attributes
    ----------
    value : Tensor, (H, W)
        f(x) [HU].

    Examples
    --------
    >>> import torch
    >>> from analysis.observers.jacobian import Jacobian
    >>> Jacobian(lambda x: x**2, torch.full((1, 2), 3.0)).times_j(torch.ones(1, 1, 2))
    tensor([[[6., 6.]]])
    """

    def __init__(self, f: Product, x: Tensor) -> None:
        self._at = linearise(f, x[None, None])
        self.value, self._shape = self._at.value[0, 0], tuple(x.shape)

    def local(self) -> LocalJacobian | None:
        """J as a matrix, where f looks at few neighbours."""
        return LocalJacobian.of(self._at, self._shape)

    def times_j(self, images: Tensor) -> Tensor:
        """J w."""
        return self._each(self._at.times_j, images)

    def times_jt(self, images: Tensor) -> Tensor:
        """Jᵀ u."""
        return self._each(self._at.times_jt, images)

    @torch.no_grad()
    def _each(self, product: Product, images: Tensor) -> Tensor:
        batch = images[:, None]
        if self._at.recorded:  # the recorded chain takes any number of images
            return product(batch)[:, 0]
        return torch.cat([product(image[None]) for image in batch])[:, 0]
