"""The best linear guess of an image from a feature map: filters by least squares."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import unfold

__all__ = ["fit_filters"]

_RIDGE = 1e-6  # of the mean variance of the filters' inputs
_PRODUCTS, _LEAST = 5e10, 16  # products that the fit may take, and images that it takes at least


def fit_filters(
    z: Tensor, images: Tensor, *, side: int, stride: int = 1, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Filters G and constants b that bring ``G * z + b`` closest to the images.

    .. math::
        \min_{G, b} \sum w² ‖x - G * z - b‖² + ρ ‖G‖²

    over all pixels of the images, of the first ones only where z has many channels; ρ is a
    millionth of the mean variance of what the filters see.

    Parameters
    ----------
    z : Tensor
        Feature maps ``(B, depth, rows, cols)``, of about unit variance.
    images : Tensor
        ``(B, channels, rows, cols)``.
    side : int
        Of the filters, the stride and as many pixels on either side of it [pixels].
    stride : int
        Pixels of z that lie over one of the images.
    weights : Tensor, optional
        w of each image, ``(B,)``; 1 by default.

    Returns
    -------
    filters : Tensor, (channels, depth, side, side)
    constants : Tensor, (channels,)

    Examples
    --------
    >>> import torch
    >>> from ctxai.representation.linear_guess import fit_filters
    >>> z = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    >>> filters, constants = fit_filters(z, 2.0 * z + 1.0, side=1)
    >>> round(filters.item(), 3), round(constants.item(), 3)
    (2.0, 1.0)
    """
    depth, channels = z.shape[1], images.shape[1]
    size = depth * side**2 + 1
    gram = torch.zeros(size, size, dtype=torch.float64)
    moment = torch.zeros(size, channels, dtype=torch.float64)
    affordable = int(_PRODUCTS / (size**2 * images[0, 0].numel()))
    weights = torch.ones(len(images)) if weights is None else weights.cpu()
    taken = images[: max(_LEAST, affordable)].split(1)
    for image, features, weight in zip(taken, z.split(1), weights.double().tolist()):
        windows = unfold(features, side, padding=(side - stride) // 2, stride=stride)[0]
        windows = weight * torch.cat([windows, torch.ones_like(windows[:1])]).double()
        gram += (windows @ windows.T).cpu()
        moment += (windows @ (weight * image[0].flatten(1).T.double())).cpu()
    ridge = _RIDGE * gram.diagonal()[:-1].mean() * torch.eye(size, dtype=torch.float64)
    ridge[-1, -1] = 0.0
    solution = torch.linalg.solve(gram + ridge, moment).to(images)
    return solution[:-1].T.reshape(channels, depth, side, side), solution[-1]
