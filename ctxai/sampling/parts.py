"""A function of a large batch, some images at a time."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["in_parts"]


def in_parts(f: Callable[[Tensor], Tensor], images: Tensor, at_once: int) -> Tensor:
    """f of a batch, so many images at a time, in one tensor.

    It is there from the first part on: small tensors that are kept in a list lie between what a
    network frees, and each part would be made in new memory.

    Parameters
    ----------
    f : callable
        A function of batches, image by image.
    images : Tensor, (n, ...)
        One image or more.
    at_once : int

    Returns
    -------
    Tensor, (n, ...)

    Examples
    --------
    >>> import torch
    >>> from ctxai import in_parts
    >>> in_parts(lambda x: x.sum(1), torch.ones(5, 3), 2)
    tensor([3., 3., 3., 3., 3.])
    """
    found = f(images[:at_once])
    if len(images) <= at_once:
        return found
    whole = found.new_empty(len(images), *found.shape[1:])
    whole[:at_once] = found
    for first in range(at_once, len(images), at_once):
        whole[first : first + at_once] = f(images[first : first + at_once])
    return whole
