"""What a user's own denoiser must do, tried on two images before anything is computed with it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recon.errors import DataError

from ..sampling.jacobian import linearise

__all__ = ["require_differentiable", "require_image_to_image"]

Denoiser = Callable[[torch.Tensor], torch.Tensor]

_SAME_HU = 0.1  # rms; rounding in 32 bits is a thousandth of it


def require_image_to_image(f: Denoiser, where: str) -> None:
    """Refuse what does not map each image of a batch to an image, and to the same one each time.

    Parameters
    ----------
    f : callable
        Tried on a ramp from air to bone (1, 1, 64, 64) [HU], then on that and its mirror image.
    where : str
        What the user calls it.

    Raises
    ------
    DataError
        If it fails, returns another shape, type or NaN, or the same for both images, writes into
        its argument, or gives an image another output in a batch or a second time.

    Examples
    --------
    >>> from ctxai.weights.own_denoiser import require_image_to_image
    >>> require_image_to_image(lambda x: 0.5 * x, "mine.py:half")
    """
    ramp = _ramp()
    alone = _tried(f, ramp, where, "an image")
    both = torch.cat([ramp, ramp.flip(3)])
    given = both.clone()
    outputs = _tried(f, given, where, "two images")
    if not torch.equal(given, both):
        raise DataError(
            "the denoiser writes into the images it is given",
            where=where,
            remedy="let it work on x.clone()",
        )
    if torch.equal(outputs[0], outputs[1]):
        raise DataError("the denoiser returns the same for every image", where=where)
    difference = float((outputs[0] - alone[0]).square().mean().sqrt())
    if difference > _SAME_HU:
        raise DataError(
            "the denoiser gives one image two outputs, alone and beside another",
            where=where,
            expected=f"a difference below {_SAME_HU:g} HU rms",
            got=f"{difference:.3g} HU",
            remedy="switch random numbers, dropout and batch statistics off",
        )


def require_differentiable(f: Denoiser, where: str) -> None:
    """Refuse a denoiser without the Jacobian that fibres and near-null spaces are found by.

    Parameters
    ----------
    f : callable
        One that `require_image_to_image` lets pass.
    where : str
        What the user calls it.

    Raises
    ------
    DataError
        If it cannot be differentiated, or its derivative is zero where its output changes.

    Examples
    --------
    >>> from ctxai import require_differentiable
    >>> require_differentiable(lambda x: 0.5 * x, "mine.py:half")
    """
    ramp = _ramp()
    step = torch.randn(ramp.shape, generator=torch.Generator().manual_seed(1))  # HU
    try:
        along = linearise(f, ramp).times_j(step)
    except Exception as error:  # whatever the user's own code may raise
        raise DataError(
            "the denoiser cannot be differentiated",
            where=where,
            got=f"{type(error).__name__}: {error}",
            remedy="write it in operations of torch, without NumPy and without writing in place",
        ) from error
    with torch.no_grad():
        change = f(ramp + step) - f(ramp.clone())
    if not along.any() and change.any():
        raise DataError(
            "the denoiser hides its derivative: it is zero where the output changes",
            where=where,
            remedy="write it in operations of torch, without detach() and NumPy",
        )


def _ramp() -> torch.Tensor:
    return torch.linspace(-1000.0, 1000.0, 64 * 64).reshape(1, 1, 64, 64)


def _tried(f: Denoiser, x: torch.Tensor, where: str, what: str) -> torch.Tensor:
    """f(x), a finite image for each of x."""
    shape = tuple(x.shape)
    try:
        with torch.no_grad():
            y = f(x)
    except (Exception, SystemExit) as error:  # whatever the user's own code may raise
        raise DataError(
            f"the denoiser fails on {what} of 64 × 64 pixels",
            where=where,
            expected=f"a function of a tensor of shape {shape}",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if not isinstance(y, torch.Tensor) or y.shape != shape or y.dtype != torch.float32:
        got = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, torch.Tensor) else type(y).__name__
        raise DataError(
            "the denoiser does not map an image to an image",
            where=where,
            expected=f"a float tensor of shape {shape} in 32 bits",
            got=got,
        )
    if not torch.isfinite(y).all():
        raise DataError(
            "the denoiser returns NaN or infinity",
            where=where,
            remedy="check its weights, and that it takes HU",
        )
    return y
