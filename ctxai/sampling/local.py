r"""The Jacobian of a denoiser that looks at few neighbours, as a matrix.

Of a network of convolutions it is known which pixels an output can depend on. An image with a one
in every m-th row and column, m being the height and width of that window, shows one entry of J at
each output: none sees two of the ones. m² such images show J whole (Curtis, Powell and Reid, J.
Inst. Math. Appl. 13, 1974). A product then costs a read of the matrix, and covariances become
matrices: J Σ Jᵀ.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from .jacobian import Linearisation

__all__ = ["LocalJacobian"]

_MOST = 400  # images, at most: more cost what they save
_CHUNK = 16  # images that a network takes at once: more leave the cache
_TILE = 8  # outputs along the side of a block


@dataclass(frozen=True)
class LocalJacobian:
    """J of a denoiser around one image, in blocks: outputs of a tile × the pixels that they see.

    Attributes
    ----------
    image, output : (rows, cols)
        Sizes of x and of f(x).
    outputs, inputs : Tensor, (tiles, outputs of a tile), (tiles, pixels)
        Their places in the flat output and in the flat image.
    blocks : Tensor, (tiles, outputs of a tile, pixels)
        Entries of J; zero for outputs and pixels that only fill up a tile at the edge.

    Examples
    --------
    >>> import torch
    >>> from ctxai import LocalJacobian, linearise
    >>> blur = lambda x: torch.nn.functional.conv2d(x, torch.full((1, 1, 3, 3), 1 / 9), padding=1)
    >>> J = LocalJacobian.of(linearise(blur, torch.zeros(1, 1, 12, 12)), (12, 12))
    >>> noise = J.around(torch.eye(144))  # white noise of 1 HU, after the blur
    >>> round(float(noise[66, 66]), 4)
    0.1111
    """

    image: tuple[int, int]
    output: tuple[int, int]
    outputs: Tensor
    inputs: Tensor
    blocks: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, at: Linearisation, image: tuple[int, ...]) -> LocalJacobian | None:
        """The matrix of a linearisation around one image with one channel (rows, cols).

        None where it is not known how far the function looks, or that is too far to pay, or its
        value is not an image.
        """
        if at.looks is None or at.value.ndim != 4 or at.value.shape[:2] != (1, 1):
            return None
        (top, bottom), (left, right) = at.looks
        high, wide = bottom - top + 1, right - left + 1
        if high * wide > min(_MOST, at.value.numel()):
            return None
        (rows, cols), (height, width) = image, at.value.shape[2:]
        kind = wide * (torch.arange(rows) % high)[:, None] + torch.arange(cols) % wide
        ones = torch.eye(high * wide)[kind].movedim(-1, 0)[:, None].to(at.value)
        seen = torch.cat([at.times_j(part).flatten(1) for part in ones.split(_CHUNK)])
        tiles = list(itertools.product(range(0, height, _TILE), range(0, width, _TILE)))
        outputs = torch.zeros(len(tiles), _TILE**2, dtype=torch.long)
        inputs = torch.zeros(len(tiles), (_TILE + high - 1) * (_TILE + wide - 1), dtype=torch.long)
        blocks = seen.new_zeros(len(tiles), outputs.shape[1], inputs.shape[1])
        for number, (i, j) in enumerate(tiles):
            row, col = _places((i, i + _TILE), (j, j + _TILE), (height, width))
            near_row, near_col = _places(
                (i + top, i + _TILE + bottom), (j + left, j + _TILE + right), (rows, cols)
            )
            own, near = row * width + col, near_row * cols + near_col
            down, across = near_row - row[:, None], near_col - col[:, None]
            sees = (down >= top) & (down <= bottom) & (across >= left) & (across <= right)
            outputs[number, : len(own)], inputs[number, : len(near)] = own, near
            entries = seen[kind.flatten()[near], own[:, None]]
            blocks[number, : len(own), : len(near)] = entries * sees
        outputs, inputs = outputs.to(seen.device), inputs.to(seen.device)
        return cls((rows, cols), (height, width), outputs, inputs, blocks)

    def times(self, matrix: Tensor) -> Tensor:
        """J M of a matrix (pixels, n), one block after the other."""
        product = matrix.new_zeros(self.output[0] * self.output[1], matrix.shape[1])
        for own, near, block in zip(self.outputs, self.inputs, self.blocks.to(matrix)):
            product.index_add_(0, own, block @ matrix[near])
        return product

    def around(self, covariance: Tensor) -> Tensor:
        """J Σ Jᵀ of a covariance (pixels, pixels)."""
        return self.times(self.times(covariance).T.contiguous())

    def times_j(self, images: Tensor) -> Tensor:
        """J w of images (n, 1, rows, cols)."""
        flat = images.flatten(1).T
        parts = self.blocks @ flat[self.inputs]
        product = flat.new_zeros(self.output[0] * self.output[1], len(images))
        product.index_add_(0, self.outputs.flatten(), parts.flatten(0, 1))
        return product.T.reshape(-1, 1, *self.output)

    def times_jt(self, images: Tensor) -> Tensor:
        """Jᵀ u of images of the output (n, 1, H, W)."""
        flat = images.flatten(1).T
        parts = self.blocks.mT @ flat[self.outputs]
        product = flat.new_zeros(self.image[0] * self.image[1], len(images))
        product.index_add_(0, self.inputs.flatten(), parts.flatten(0, 1))
        return product.T.reshape(-1, 1, *self.image)


def _places(
    rows: tuple[int, int], cols: tuple[int, int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Rows and columns of the pixels of a rectangle, in the order of its flat array."""
    row, col = (
        torch.arange(max(first, 0), min(end, n)) for (first, end), n in zip((rows, cols), size)
    )
    grid = torch.meshgrid(row, col, indexing="ij")
    return grid[0].flatten(), grid[1].flatten()
