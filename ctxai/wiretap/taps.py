"""The taps of a network: what can be wiretapped, how much of the image it sees, and what passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recon.errors import DataError

from .wiretap import Wiretap

__all__ = ["Tap", "receptive_field", "taps"]

_IMAGES = 2  # whose fields are united: a unit of a ReLU that is off sees nothing
_LEAST = 1e-7  # of the largest derivative; less is rounding


@dataclass(frozen=True)
class Tap:
    """One layer of a network.

    Attributes
    ----------
    name : str
        As `Wiretap` takes it.
    shape : tuple of int
        Of z without the batch: (channels, rows, cols) of a map.
    field : (int, int) or None
        Rows and columns of the image that a value in the middle of z depends on; None where there
        is no derivative to tell.
    is_cut : bool
        Whether z alone determines the output.
    passing : list of str
        What passes it.
    crossing : str or None
        The cut of all that crosses there.
    """

    name: str
    shape: tuple[int, ...]
    field: tuple[int, int] | None
    is_cut: bool
    passing: list[str]
    crossing: str | None


def taps(f: Callable[[Tensor], Tensor], shape: tuple[int, int] = (64, 64)) -> list[Tap]:
    """All layers of a network that can be tapped, in the order of execution.

    Parameters
    ----------
    f : Module or callable
        As `Wiretap` takes it.
    shape : (rows, cols)
        Of the image that it is given; larger than the receptive fields, so that these are seen.

    Returns
    -------
    list of Tap

    Raises
    ------
    DataError
        If the network does not take an image of this size.

    Examples
    --------
    >>> from ctxai import Chen, taps
    >>> for tap in taps(Chen(), (32, 32)):
    ...     print(tap.name, tap.shape, tap.field, tap.is_cut)
    input (1, 32, 32) (1, 1) True
    layers.0 (64, 32, 32) (9, 9) True
    1 (64, 32, 32) (9, 9) True
    layers.2 (32, 32, 32) (11, 11) True
    2 (32, 32, 32) (11, 11) True
    layers.4 (1, 32, 32) (15, 15) True
    output (1, 32, 32) (15, 15) True
    """
    found = []
    for name in Wiretap(f, "input").layers:
        tap = Wiretap(f, name)
        try:
            with torch.no_grad():
                z = tap.phi(_image(f, shape, 0))
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                "the network does not take an image of this size",
                where=f"layer {name!r}",
                expected=f"{shape[0]} × {shape[1]} pixels",
                got=str(error).splitlines()[0] if str(error) else repr(error),
                remedy="give another size",
            ) from None
        field = receptive_field(tap, shape)
        found.append(Tap(name, tuple(z.shape[1:]), field, tap.is_cut, tap.passing, tap.crossing))
    return found


def receptive_field(tap: Wiretap, shape: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of the image that a value in the middle of z depends on.

    Measured: the extent of the derivative of all channels there, over two images of noise. A
    network that looks at the whole image (attention, normalisation by the image's mean) has the
    image's size.

    Parameters
    ----------
    tap : Wiretap
    shape : (rows, cols)
        Of the image.

    Returns
    -------
    (int, int) or None
        None if z has no derivative.

    Examples
    --------
    >>> from ctxai import Wiretap, Yang
    >>> from ctxai.wiretap.taps import receptive_field
    >>> receptive_field(Wiretap(Yang(), 4), (32, 32))
    (9, 9)
    """
    seen = torch.zeros(shape, dtype=torch.bool)
    for seed in range(_IMAGES):
        x = _image(tap.f, shape, seed).requires_grad_()
        z = tap.phi(x)
        if not z.requires_grad:
            return None
        middle = _middle(z)
        weights = torch.randn(middle.shape, generator=torch.Generator().manual_seed(seed))
        (slope,) = torch.autograd.grad((middle * weights.to(middle)).sum(), x, allow_unused=True)
        if slope is not None:
            slope = slope[0, 0].abs().cpu()
            seen |= slope > _LEAST * slope.max()
    rows, cols = (torch.nonzero(seen.any(axis)).flatten() for axis in (1, 0))
    if not len(rows):
        return 0, 0
    return int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1


def _middle(z: Tensor) -> Tensor:
    """All channels in the middle of a map; of (tokens, channels), those of the middle token."""
    if z.ndim == 4:
        return z[0, :, z.shape[2] // 2, z.shape[3] // 2]
    if z.ndim == 3:
        return z[0, z.shape[1] // 2]
    return z[0].flatten()[z[0].numel() // 2 :][:1]


def _image(f: object, shape: tuple[int, int], seed: int) -> Tensor:
    """Noise about water (1, 1, rows, cols) [HU], where the network is."""
    image = 100.0 * torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
    weights = next(f.parameters(), None) if isinstance(f, nn.Module) else None
    return image if weights is None else image.to(weights)
