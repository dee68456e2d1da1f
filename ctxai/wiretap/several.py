"""Several tensors as one z, and back.

What crosses a cut of several layers is handed on as one tensor, so that samplers, distances and
Jacobians need not know. Feature maps become channels of one map on the largest grid among them:

- a map whose size divides the largest one (after pooling) has each of its values repeated over the
  pixels that it stands for;
- a map of another size (after convolutions without padding) lies in the middle, zeros around it.

Where the tensors are no maps, their values follow one another in a vector. Both ways back are
exact: every value of every tensor is read from one place of z.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recon.errors import DataError

__all__ = ["joined", "parted"]


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor (B, ...) of several (B, ...).

    Examples
    --------
    >>> import torch
    >>> from ctxai.wiretap.several import joined
    >>> joined([torch.zeros(1, 2, 8, 8), torch.ones(1, 3, 4, 4), torch.ones(1, 1, 6, 6)]).shape
    torch.Size([1, 6, 8, 8])
    """
    if len(tensors) == 1:
        return tensors[0]
    if any(t.ndim != 4 for t in tensors):
        return torch.cat([t.flatten(1) for t in tensors], dim=1)
    rows, cols = _largest([tuple(t.shape) for t in tensors])
    return torch.cat([_spread(t, rows, cols) for t in tensors], dim=1)


def parted(z: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The tensors that z was joined of, of these shapes (without the batch's).

    Raises
    ------
    DataError
        If z is none of them joined.

    Examples
    --------
    >>> import torch
    >>> from ctxai.wiretap.several import joined, parted
    >>> parts = [torch.rand(2, 1, 8, 8), torch.rand(2, 3, 4, 4), torch.rand(2, 1, 5, 6)]
    >>> again = parted(joined(parts), [part.shape[1:] for part in parts])
    >>> [torch.equal(one, other) for one, other in zip(parts, again)]
    [True, True, True]
    """
    if len(shapes) == 1:
        return [z]
    maps = all(len(shape) == 3 for shape in shapes)
    sizes = [shape[0] if maps else int(torch.Size(shape).numel()) for shape in shapes]
    if z.ndim != (4 if maps else 2) or z.shape[1] != sum(sizes):
        raise DataError(
            "z is not what crosses this cut",
            where="psi",
            expected=f"{sum(sizes)} {'channels' if maps else 'values'}",
            got=tuple(z.shape),
        )
    parts = z.split(sizes, dim=1)
    if not maps:
        return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes)]
    return [_gathered(part, *shape[1:]) for part, shape in zip(parts, shapes)]


def _largest(shapes: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    return max(shape[-2] for shape in shapes), max(shape[-1] for shape in shapes)


def _divides(side: tuple[int, int], by: tuple[int, int]) -> bool:
    return side[0] % by[0] == 0 and side[1] % by[1] == 0


def _spread(t: Tensor, rows: int, cols: int) -> Tensor:
    high, wide = t.shape[-2:]
    if _divides((rows, cols), (high, wide)):
        return t.repeat_interleave(rows // high, -2).repeat_interleave(cols // wide, -1)
    top, left = (rows - high) // 2, (cols - wide) // 2
    around = (left, cols - wide - left, top, rows - high - top)
    return torch.nn.functional.pad(t, around)


def _gathered(z: Tensor, high: int, wide: int) -> Tensor:
    rows, cols = z.shape[-2:]
    if _divides((rows, cols), (high, wide)):
        return z[..., :: rows // high, :: cols // wide]
    top, left = (rows - high) // 2, (cols - wide) // 2
    return z[..., top : top + high, left : left + wide]
