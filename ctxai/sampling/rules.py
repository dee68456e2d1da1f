"""The Jacobian of each operation that a network of convolutions is made of, and its transpose.

A rule takes the recording, what an operation gave and what it was given. It returns two products,
with the Jacobian and with its transpose, for each argument that depends on the image, or None where
the operation is not linear with its masks held fixed, or not by these products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["OWN", "REACH", "RULES", "Looks", "Mask", "Product", "convolves"]

Product = Callable[[Tensor], Tensor]
Looks = tuple[tuple[int, int], tuple[int, int]]  # rows, columns: first and last, beside one's own
_SIDE = 4  # pixels of a block: 4 × 4 outputs fill the vector registers of a convolution on a CPU
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_FEW = 4  # output channels below which a convolution on a CPU is done in blocks

aten = torch.ops.aten


def convolves(operation: Any) -> bool:
    """Whether an operation is a convolution: what it gives is new, and nobody else's."""
    return operation is aten.convolution.default


def _convolution(record, result, x, weight, bias, *how):
    stride, padding, dilation, transposed, _, groups = how
    size = weight.shape[2:]
    plain = {*stride, *dilation, groups} == {1} and len(size) == 2
    if not plain or record.depends(weight) or record.depends(bias):
        return None
    if any(p > k - 1 for p, k in zip(padding, size)):
        return None
    turned = weight.flip(2, 3).transpose(0, 1)
    back = [k - 1 - p for p, k in zip(padding, size)]
    forth_and_back = _convolve(weight, padding), _convolve(turned, back)
    return [forth_and_back[::-1] if transposed else forth_and_back]


def _convolve(weight: Tensor, padding: list[int]) -> Product:
    """Return the convolution with a kernel, in blocks where there are few output channels.

    A convolution to one channel leaves most lanes of a CPU idle. Output pixel (i, j) of a block of
    4 × 4 is a channel of its own in a convolution of stride 4 with the kernel shifted by (i, j):
    twice the products, several times faster, and the same sums.
    """
    outputs, inputs, rows, cols = weight.shape
    innermost = torch.channels_last
    if weight.device.type != "cpu" or outputs > _FEW:
        weight = weight.contiguous(memory_format=innermost)
        return lambda w: functional.conv2d(w, weight, padding=padding)
    blocks = weight.new_zeros(outputs, _SIDE, _SIDE, inputs, rows + _SIDE - 1, cols + _SIDE - 1)
    for i in range(_SIDE):
        for j in range(_SIDE):
            blocks[:, i, j, :, i : i + rows, j : j + cols] = weight
    blocks = blocks.flatten(0, 2).contiguous(memory_format=innermost)

    def in_blocks(w: Tensor) -> Tensor:
        high = w.shape[-2] + 2 * padding[0] - rows + 1
        wide = w.shape[-1] + 2 * padding[1] - cols + 1
        below, right = -high % _SIDE, -wide % _SIDE
        if below or right:
            w = functional.pad(w, (padding[1], padding[1] + right, padding[0], padding[0] + below))
        pad = [0, 0] if below or right else padding
        out = functional.conv2d(w, blocks, stride=_SIDE, padding=pad)
        return functional.pixel_shuffle(out, _SIDE)[..., :high, :wide]

    return in_blocks


def _batch_norm(record, result, x, weight, bias, mean, variance, training, momentum, eps):
    if training or mean is None or any(map(record.depends, (weight, bias, mean, variance))):
        return None
    factor = (variance + eps).rsqrt()
    factor = factor if weight is None else factor * weight
    return [(_times(factor.reshape(1, -1, *(1,) * (x.ndim - 2))),) * 2]


def _times(factor: Any) -> Product:
    return lambda w: w * factor


def _rectifier(record, result, x, slope=0.0):
    if slope < 0:
        return None
    return [(Mask(result, slope),) * 2]


class Mask:
    """w ↦ w where a rectifier gave something positive, and its slope times w elsewhere.

    Zeros are set by ``and`` on the bits of the numbers: in 16 bits a fifth of the time of torch's
    own ``threshold_backward``, which would take as long as the convolutions.
    """

    def __init__(self, given: Tensor, slope: float) -> None:
        passed = given > 0
        if passed.ndim == 4:  # as the convolutions lay their results out
            passed = passed.contiguous(memory_format=torch.channels_last)
        self.passed, self.slope = passed, slope
        self.forms: dict[torch.dtype, Tensor] = {}

    def __call__(self, w: Tensor) -> Tensor:
        """The same as a new array."""
        if self.slope or w.requires_grad:
            return torch.where(self.passed, w, self.slope * w)
        bits = self._bits(w)
        return (w.view(bits.dtype) & bits).view(w.dtype)

    def over(self, w: Tensor) -> Tensor:
        """Write the result over w, where that can hold it and no gradient is asked for."""
        if self.slope or w.requires_grad or len(w) < len(self.passed):
            return self(w)
        bits = self._bits(w)
        w.view(bits.dtype).bitwise_and_(bits)
        return w

    def _bits(self, w: Tensor) -> Tensor:
        """All bits where the rectifier let something pass, as integers of w's size."""
        size = _INTEGERS[w.element_size()]
        if size not in self.forms:
            self.forms[size] = self.passed.view(torch.int8).neg().to(size)
        return self.forms[size]


def _sum(sign):
    def rule(record, result, a, b, *, alpha=1):
        terms = [(a, 1.0), (b, sign * alpha)]
        rules = [(_times(s) if s != 1.0 else _same,) * 2 for t, s in terms if record.depends(t)]
        return rules if _same_shape(record, result, a, b) else None

    return rule


def _product(record, result, a, b):
    if (record.depends(a) and record.depends(b)) or not _same_shape(record, result, a, b):
        return None
    return [(_times(b if record.depends(a) else a),) * 2]


def _quotient(record, result, a, b):
    if record.depends(b) or not _same_shape(record, result, a):
        return None
    return [(_times(1.0 / b),) * 2]


def _padding(record, result, x, around, value=0.0):
    if value:
        return None
    return [(_padded(around), _padded([-n for n in around]))]


def _part(record, result, x, dim=0, start=None, end=None, step=1):
    if step != 1:
        return None
    first, last, _ = slice(start, end).indices(x.shape[dim])
    behind = [0, 0] * (x.ndim - 1 - dim % x.ndim)
    around = [*behind, first, x.shape[dim] - max(first, last)]
    return [(_padded([-n for n in around]), _padded(around))]


def _convolution_looks(x, weight, bias, stride, padding, dilation, transposed, *_):
    rows, cols = (
        (p - k + 1, p) if transposed else (-p, k - 1 - p) for p, k in zip(padding, weight.shape[2:])
    )
    return rows, cols


def _padding_looks(x, around, value=0.0):
    left, top = -around[0], -around[2] if len(around) > 2 else 0
    return (top, top), (left, left)


def _part_looks(x, dim=0, start=None, end=None, step=1):
    first = slice(start, end).indices(x.shape[dim])[0]
    rows, cols = (first if dim % x.ndim == x.ndim - axis else 0 for axis in (2, 1))
    return (rows, rows), (cols, cols)


def _padded(around: list[int]) -> Product:
    """Zeros around images; what lies outside is cut off where a number is negative."""
    return lambda w: functional.pad(w, around)


def _same(w: Tensor) -> Tensor:
    return w


def _same_shape(record: Any, result: Tensor, *terms: Any) -> bool:
    return all(t.shape == result.shape for t in terms if record.depends(t))


OWN: Looks = ((0, 0), (0, 0))  # what is done pixel by pixel
REACH: dict[Any, Callable[..., Looks]] = {
    aten.convolution.default: _convolution_looks,
    aten.constant_pad_nd.default: _padding_looks,
    aten.slice.Tensor: _part_looks,
}
RULES: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: _convolution,
    aten.native_batch_norm.default: _batch_norm,
    aten.relu.default: _rectifier,
    aten.relu_.default: _rectifier,
    aten.leaky_relu.default: lambda r, out, x, slope=0.01: _rectifier(r, out, x, slope),
    aten.leaky_relu_.default: lambda r, out, x, slope=0.01: _rectifier(r, out, x, slope),
    aten.add.Tensor: _sum(1.0),
    aten.add_.Tensor: _sum(1.0),
    aten.sub.Tensor: _sum(-1.0),
    aten.rsub.Scalar: lambda r, out, x, other, alpha=1: [(_times(-alpha),) * 2],
    aten.mul.Tensor: _product,
    aten.div.Tensor: _quotient,
    aten.constant_pad_nd.default: _padding,
    aten.slice.Tensor: _part,
    aten.neg.default: lambda r, out, x: [(torch.neg, torch.neg)],
    aten.alias.default: lambda r, out, x: [(_same, _same)],  # a slice of all
}
