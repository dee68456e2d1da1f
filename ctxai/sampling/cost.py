"""How long it takes to move samples onto a fibre, from one step that is measured."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ..precision import sixteen_bits
from .fibre import Phi, at_once
from .jacobian import linearise

__all__ = ["projection_seconds"]

_STEPS = 2.0  # Gauss–Newton steps of a usual sample: most of our own networks' take one or two
_PRODUCTS = 6.0  # products with J and its transpose in each of them, two to six there


@torch.no_grad()
def projection_seconds(phi: Phi, x: Tensor, count: int) -> float:
    """Time that `project_to_fibre` takes for a number of samples, on the processor at hand [s].

    One step of as many images as it works on at once is measured, and taken times the steps and
    products that samples usually need. Samples of the networks that come along take a third to a
    half of it; those of one that is far from linear may take several times as long.

    Parameters
    ----------
    phi : callable
        The layer's representation Φ of a batch of images.
    x : Tensor, (1, C, H, W)
        An image.
    count : int
        How many samples are to be moved.

    Returns
    -------
    float
        [s].

    Examples
    --------
    >>> import torch
    >>> from ctxai import projection_seconds
    >>> seconds = projection_seconds(torch.relu, torch.ones(1, 1, 8, 8), 100)
    >>> 0.0 < seconds < 60.0
    True
    """
    size = min(count, at_once(x))
    images = x.expand(size, *x.shape[1:]).contiguous()
    for batch in (images[:1], images):  # what is loaded or compiled at first is not measured
        start = time.perf_counter()
        at = linearise(phi, batch)
        linearised = time.perf_counter()
        with sixteen_bits(x):  # as a projection takes them
            at.times_jt(at.times_j(batch))
        products = (time.perf_counter() - linearised) / 2
        checked = time.perf_counter()
        phi(batch)
        value = time.perf_counter() - checked
    step = linearised - start + _PRODUCTS * products + value
    return _STEPS * step * count / size
