r"""The Jacobian of a layer at a batch of images, as two products: ``w ↦ Jw`` and ``u ↦ Jᵀu``.

A network of convolutions, rectifiers and fixed normalisations is linear around an image: its
Jacobian is the same chain of convolutions with the rectifiers' masks held fixed, and the transpose
is the chain run backwards with the kernels turned. One run of the network records the masks; each
product afterwards costs the convolutions alone, some two to three times less than through automatic
differentiation. Any other function is differentiated by `torch.func`. Attention is then computed by
its plain sums: the fused kernels have no second derivative, by which the transpose of the transpose
is taken.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["Linearisation", "linearise"]

Product = Callable[[Tensor], Tensor]
Looks = tuple[tuple[int, int], tuple[int, int]]  # rows, columns: first and last, beside one's own
_SIDE = 4  # pixels of a block: 4 × 4 outputs fill the vector registers of a convolution on a CPU
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_FEW = 4  # output channels below which a convolution on a CPU is done in blocks

aten = torch.ops.aten


@dataclass(frozen=True)
class Linearisation:
    """Φ around a batch of images.

    Attributes
    ----------
    value : Tensor
        Φ(x), ``(n, ...)``.
    times_j : callable
        ``w ↦ Jw``, from ``(n, C, H, W)`` to the shape of ``value``, sample by sample.
    times_jt : callable
        ``u ↦ Jᵀu``, the other way.
    recorded : bool
        Whether the products are a recorded chain rather than automatic differentiation.
    looks : ((first, last), (first, last)) or None
        Rows and columns of the image that output (i, j) may depend on, from ``i + first`` to
        ``i + last``; None where the chain was not recorded.
    """

    value: Tensor
    times_j: Product
    times_jt: Product
    recorded: bool
    looks: Looks | None = None


@torch.no_grad()
def linearise(phi: Product, x: Tensor) -> Linearisation:
    """Linearise a layer at each image of a batch.

    Parameters
    ----------
    phi : callable
        The layer's representation Φ of a batch of images, sample by sample.
    x : Tensor
        Images ``(n, C, H, W)``.

    Returns
    -------
    Linearisation
        Φ of the images, and products with its Jacobian there and with the transpose.

    Examples
    --------
    >>> import torch
    >>> from ctxai import linearise
    >>> at = linearise(lambda x: 3.0 * torch.relu(x), torch.tensor([[[[2.0, -1.0]]]]))
    >>> at.value, at.times_j(torch.ones(1, 1, 1, 2))
    (tensor([[[[6., 0.]]]]), tensor([[[[3., 0.]]]]))
    """
    x = x.detach()
    with _Record(x) as record:
        value = phi(x)
    end = record.numbers.get(value)
    if end is not None and record.complete:
        steps = record.steps[:end]
        _write_over(steps)
        return Linearisation(
            value, lambda w: _forwards(steps, w), lambda u: _backwards(steps, u), True,
            _looks(steps),
        )  # fmt: skip
    # u ↦ Jᵀu is linear, so its own transpose is w ↦ Jw: both reuse one forward pass
    with sdpa_kernel(SDPBackend.MATH):
        value, pull, *_ = vjp(phi, x)
    _, push, *_ = vjp(lambda u: pull(u)[0], torch.zeros_like(value))
    return Linearisation(value, lambda w: push(w)[0], lambda u: pull(u)[0], False)


@dataclass(frozen=True)
class _Step:
    """One operation of the chain, linear in values of other operations, with its transpose."""

    sources: tuple[int, ...]
    apply: tuple[Product, ...]
    transpose: tuple[Product, ...]
    looks: Looks
    convolves: bool


def _write_over(steps: list[_Step]) -> None:
    """Let masks write over what a convolution gave where nothing else reads it.

    A product is bound by memory, and a mask that writes elsewhere takes as long as a convolution.
    """
    readers = Counter(source for step in steps for source in step.sources)
    last = {source: step for step in steps for source in step.sources}
    for number, step in enumerate(steps, start=1):
        (mask,), (source, *_) = step.apply[:1], step.sources
        if isinstance(mask, _Mask):
            given = source > 0 and steps[source - 1].convolves and readers[source] == 1
            taken = readers[number] == 1 and last[number].convolves
            steps[number - 1] = replace(
                step,
                apply=(mask.over if given else mask,),
                transpose=(mask.over if taken else mask,),
            )


def _looks(steps: list[_Step]) -> Looks:
    """How far the last of several steps looks, in the image that the first is of."""
    known: list[Looks] = [_OWN]
    for step in steps:
        of = [known[source] for source in step.sources]
        rows, cols = (
            (first + min(o[axis][0] for o in of), last + max(o[axis][1] for o in of))
            for axis, (first, last) in enumerate(step.looks)
        )
        known.append((rows, cols))
    return known[-1]


def _forwards(steps: list[_Step], w: Tensor) -> Tensor:
    values = [w]
    for step in steps:
        parts = (f(values[source]) for f, source in zip(step.apply, step.sources))
        values.append(reduce(operator.add, parts))
    return values[-1]


def _backwards(steps: list[_Step], u: Tensor) -> Tensor:
    values: dict[int, Tensor] = {len(steps): u}
    for number in range(len(steps), 0, -1):
        value = values.pop(number, None)
        if value is not None:
            step = steps[number - 1]
            for f, source in zip(step.transpose, step.sources):
                part = f(value)
                values[source] = values[source] + part if source in values else part
    return values[0]


class _Record(TorchDispatchMode):
    """Records what a function does to x, as long as it knows the Jacobian of each operation."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the first product imports the compiler, which takes a second

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.numbers = WeakTensorKeyDictionary({x: 0})
        self.steps: list[_Step] = []
        self.complete = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        sources = tuple(self.numbers[a] for a in given if a in self.numbers)
        result = func(*args, **kwargs)
        if sources and self.complete:
            known = _RULES.get(func)
            rules = None if known is None else known(self, result, *args, **kwargs)
            if rules is None:
                self.complete = False
            else:
                looks = _REACH.get(func, lambda *args, **kwargs: _OWN)(*args, **kwargs)
                apply, transpose = zip(*rules)
                convolves = func is aten.convolution.default
                self.steps.append(_Step(sources, apply, transpose, looks, convolves))
                made = result[0] if isinstance(result, tuple) else result
                self.numbers[made] = len(self.steps)
        return result

    def depends(self, value: Any) -> bool:
        """Whether an argument is x or was made of it."""
        return isinstance(value, Tensor) and value in self.numbers


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
    return [(_Mask(result, slope),) * 2]


class _Mask:
    """w where a rectifier gave something positive, and its slope times w elsewhere.

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


def _same_shape(record: _Record, result: Tensor, *terms: Any) -> bool:
    return all(t.shape == result.shape for t in terms if record.depends(t))


_OWN: Looks = ((0, 0), (0, 0))  # what is done pixel by pixel
_REACH: dict[Any, Callable[..., Looks]] = {
    aten.convolution.default: _convolution_looks,
    aten.constant_pad_nd.default: _padding_looks,
    aten.slice.Tensor: _part_looks,
}
_RULES: dict[Any, Callable[..., Any]] = {
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
