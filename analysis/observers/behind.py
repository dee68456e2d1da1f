r"""An ideal observer behind a denoiser that is linearised at a scan: noise of covariance J Σ Jᵀ.

A network of a few convolutions looks at few neighbours of a pixel. Of its Jacobian J, an image with
a one in every (2r + 1)th row and column (r: how far it looks) shows one entry for each output: no
two ones are seen by the same. (2r + 1)² such images show J whole (Curtis, Powell and Reid, J. Inst.
Math. Appl. 13, 1974), and d' at any τ then costs a factorisation of the matrix J Σ Jᵀ
(:func:`analysis.observers.ideal.detectability`). For other denoisers, and where Σ is not kept as a
matrix, it is a product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctxai import Window, linearise

from ..scanner.covariance import ImageCovariance
from .ideal import detectability

__all__ = ["Behind", "Jacobian", "LocalJacobian"]

_CHUNK = 16  # images that a network takes at once: more leave the cache
_TILE = 8  # outputs along the side of a block
_EXACT = 1e-5  # relative difference of products with the blocks from those with J

Product = Callable[[Tensor], Tensor]


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
    >>> from analysis.observers.behind import Jacobian
    >>> Jacobian(lambda x: x**2, torch.full((1, 2), 3.0)).times_j(torch.ones(1, 1, 2))
    tensor([[[6., 6.]]])
    """

    def __init__(self, f: Callable[[Tensor], Tensor], x: Tensor) -> None:
        self._at = linearise(f, x[None, None])
        self.value = self._at.value[0, 0]

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


@dataclass(frozen=True)
class LocalJacobian:
    """The matrix of a Jacobian in blocks: outputs of a tile × the pixels around it.

    Attributes
    ----------
    blocks : list of (outputs, inputs, block)
        Places in the flat output and in the flat image, and the entries of J there.
    """

    blocks: list[tuple[Tensor, Tensor, Tensor]]

    @classmethod
    def of(cls, at: Jacobian, place: Window) -> LocalJacobian | None:
        """J of a denoiser in its place, from products with it.

        How far it looks is taken from how much there is around the window. None if it looks further
        than that, or so far that products are the cheaper way.
        """
        (rows, cols), (height, width) = place.image, place.shape
        top, left = place.top, place.left
        reach = max(top, left, rows - height - top, cols - width - left)
        period = 2 * reach + 1
        if period**2 > height * width:
            return None
        colour = (
            period * (torch.arange(rows) % period)[:, None] + torch.arange(cols) % period
        ).flatten()
        ones = torch.eye(period**2)[colour].T.reshape(-1, rows, cols)
        seen = torch.cat([at.times_j(part).flatten(1) for part in ones.split(_CHUNK)])
        blocks = []
        for i, j in itertools.product(range(0, height, _TILE), range(0, width, _TILE)):
            row, col = _places(
                _between(i, i + _TILE, height), _between(j, j + _TILE, width),
            )  # fmt: skip
            near_row, near_col = _places(
                _between(i + top - reach, i + _TILE + top + reach, rows),
                _between(j + left - reach, j + _TILE + left + reach, cols),
            )
            apart = torch.maximum(
                (row[:, None] + top - near_row).abs(), (col[:, None] + left - near_col).abs()
            )
            outputs, inputs = row * width + col, near_row * cols + near_col
            entries = seen[colour[inputs]][:, outputs].T
            blocks.append((outputs, inputs, entries * (apart <= reach)))
        found = cls(blocks)
        probe = torch.randn(1, rows, cols, generator=torch.Generator().manual_seed(0))
        whole = at.times_j(probe).flatten()
        missed = found.times(probe.reshape(-1, 1))[:, 0] - whole
        return found if float(missed.norm()) <= _EXACT * float(whole.norm()) else None

    def times(self, matrix: Tensor) -> Tensor:
        """J M of a matrix (pixels of the image, n)."""
        outputs = sum(len(part) for part, _, _ in self.blocks)
        product = matrix.new_empty(outputs, matrix.shape[1])
        for own, inputs, block in self.blocks:
            product[own] = block.to(matrix) @ matrix[inputs]
        return product

    def around(self, covariance: Tensor) -> Tensor:
        """J Σ Jᵀ of a covariance (pixels, pixels)."""
        return self.times(self.times(covariance).T.contiguous())


def _between(first: int, end: int, size: int) -> range:
    return range(max(first, 0), min(end, size))


def _places(rows: range, cols: range) -> tuple[Tensor, Tensor]:
    """Rows and columns of the pixels of a rectangle, in the order of its flat array."""
    row, col = torch.meshgrid(torch.tensor(rows), torch.tensor(cols), indexing="ij")
    return row.flatten(), col.flatten()


class Behind:
    """The noise of a scan behind a denoiser, which is linearised there.

    Parameters
    ----------
    f : callable
        The denoiser in its place, (B, 1, rows, cols) to (B, 1, H, W) [HU].
    x : Tensor, (rows, cols)
        The scan of the patch in its surroundings [HU].
    place : Window
        The patch in its surroundings.
    covariance : ImageCovariance
        Of the noise before the denoiser.
    mas : float
        Exposure [mAs].
    """

    def __init__(
        self, f: Product, x: Tensor, place: Window, covariance: ImageCovariance, mas: float
    ) -> None:
        self.at = Jacobian(f, x)
        self._noise: Product | Tensor
        local = LocalJacobian.of(self.at, place) if covariance.matrices is not None else None
        if local is not None:
            self._noise = local.around(covariance.matrix(mas))
            return
        sigma = covariance.times(mas)
        self._noise = lambda v: self.at.times_j(sigma(self.at.times_jt(v)))

    def detectability(self, signals: Tensor, tolerances: Sequence[float]) -> np.ndarray:
        """d'_τ of signals (n, rows, cols) before the denoiser, in its output: (n, tolerances)."""
        return detectability(self._noise, self.at.times_j(signals), tolerances=tolerances)
