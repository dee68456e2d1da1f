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
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from .rules import OWN, REACH, RULES, Looks, Mask, Product, convolves

__all__ = ["Linearisation", "linearise"]


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
        mask, source = step.apply[0], step.sources[0]
        if isinstance(mask, Mask):
            given = source > 0 and steps[source - 1].convolves and readers[source] == 1
            taken = readers[number] == 1 and last[number].convolves
            steps[number - 1] = replace(
                step,
                apply=(mask.over if given else mask,),
                transpose=(mask.over if taken else mask,),
            )


def _looks(steps: list[_Step]) -> Looks:
    """How far the last of several steps looks, in the image that the first is of."""
    known: list[Looks] = [OWN]
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
            known = RULES.get(func)
            rules = None if known is None else known(self, result, *args, **kwargs)
            if rules is None:
                self.complete = False
            else:
                looks = REACH.get(func, lambda *args, **kwargs: OWN)(*args, **kwargs)
                apply, transpose = zip(*rules)
                self.steps.append(_Step(sources, apply, transpose, looks, convolves(func)))
                made = result[0] if isinstance(result, tuple) else result
                self.numbers[made] = len(self.steps)
        return result

    def depends(self, value: Any) -> bool:
        """Whether an argument is x or was made of it."""
        return isinstance(value, Tensor) and value in self.numbers
