"""How long it takes to move samples onto a fibre, from one step that is measured."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from .fibre import Phi, at_once
from .jacobian import linearise

__all__ = ["projection_seconds"]

_OUTER = 4.0  # Gauss–Newton steps of a usual sample,
_PRODUCTS = 16.0  # products with J and its transpose in each of them,
_VALUES = 2.0  # and answers of the network, with those of halved steps


@torch.no_grad()
def projection_seconds(phi: Phi, x: Tensor, count: int) -> float:
    """Time that `project_to_fibre` takes for a number of samples, on the processor at hand [s].

    One step of as many images as it works on at once is measured, and taken times the steps and
    products that samples usually need: right within a factor of two or so, and a network ten times
    as slow is told from a fast one.

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
    linearise(phi, images[:1])  # what is loaded or compiled at the first call is not measured
    start = time.perf_counter()
    at = linearise(phi, images)
    linearised = time.perf_counter()
    at.times_jt(at.times_j(images))
    products = (time.perf_counter() - linearised) / 2
    start_value = time.perf_counter()
    phi(images)
    value = time.perf_counter() - start_value
    step = linearised - start + _PRODUCTS * products + _VALUES * value
    return _OUTER * step * count / size
