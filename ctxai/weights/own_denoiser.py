"""What a user's own denoiser must do, tried on images before anything is computed with it.

It is tried on sections of a body with noise, at the size at which it is used: alone, again, and in
batches, in which each image has to be given what it is given alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from recon.errors import DataError

from .trial_images import trial_images

__all__ = ["Denoiser", "in_evaluation_mode", "one_by_one", "slices_taken", "usable"]

Denoiser = Callable[[Tensor], Tensor]

_SAME_HU = 0.1  # rms; rounding in 32 bits is a thousandth of it
_LEVELS = (1.0, 0.8, 1.3)  # of the images of a batch
_CHANNELS = (3, 5, 7, 9)  # neighbouring slices that a network may want to see
_SIZES = (64, 72, 80, 96, 128, 256, 512)  # tried where the size of use fails [pixels]


def in_evaluation_mode(f: Denoiser, where: str) -> Denoiser:
    """A factory's network without gradients, with BatchNorm and dropout as they are after training.

    One that `torch.nn.DataParallel` spreads over devices is taken out of it.

    Examples
    --------
    >>> from torch import nn
    >>> from ctxai.weights.own_denoiser import in_evaluation_mode
    >>> f = in_evaluation_mode(nn.DataParallel(nn.Conv2d(1, 1, 3)), "mine.py:make")
    >>> type(f).__name__, f.training, f.weight.requires_grad
    ('Conv2d', False, False)
    """
    if isinstance(f, nn.DataParallel | nn.parallel.DistributedDataParallel):
        f = f.module
    if not isinstance(f, nn.Module):
        return f
    moods = nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd
    if found := {type(m).__name__ for m in f.modules() if m.training and isinstance(m, moods)}:
        warnings.warn(
            f"{where}: returned in training mode; {' and '.join(sorted(found))} were put into "
            "evaluation mode",
            stacklevel=2,
        )
    f.eval()
    for parameter in f.parameters():  # not requires_grad_: TorchScript modules have none
        parameter.requires_grad_(False)
    return f


@torch.no_grad()
def usable(f: Denoiser, where: str, shape: tuple[int, int] = (64, 64)) -> Denoiser:
    """A function that maps each image of any batch to an image, the same one each time.

    Parameters
    ----------
    f : callable
        What the user brings, HU to HU.
    where : str
        What the user calls it.
    shape : (rows, cols)
        Of the images that it will be given.

    Returns
    -------
    callable
        f itself; or, where it takes no more than one image at a time, f of one after the other.

    Raises
    ------
    DataError
        If it fails, wants more channels or another size, returns another shape, type or NaN, or
        the same for all images, writes into its argument, draws random numbers, keeps something
        from call to call, or gives an image another output in a batch.

    Examples
    --------
    >>> from ctxai.weights.own_denoiser import usable
    >>> half = lambda x: 0.5 * x
    >>> usable(half, "mine.py:half") is half
    True
    """
    images = trial_images(shape, 3, seed=1).noisy
    images = images * images.new_tensor(_LEVELS)[:, None, None, None]  # none like another
    alone = [_tried(f, image.clone(), where, "an image") for image in images.split(1)]
    if torch.equal(alone[0], alone[1]):
        raise DataError("the denoiser returns the same for every image", where=where)
    _require_the_same(f, images[:1], alone[0], where)
    try:
        f(images.clone())
    except Exception:  # whatever the user's own code may raise: alone it did not
        warnings.warn(
            f"{where}: takes one image at a time, and is given one after the other", stacklevel=2
        )
        return one_by_one(f)
    for size in (2, 3):
        given = images[:size].clone()
        outputs = _tried(f, given, where, f"{size} images")
        if not torch.equal(given, images[:size]):
            raise DataError(
                "the denoiser writes into the images it is given",
                where=where,
                remedy="let it work on x.clone()",
            )
        difference = max(_rms(output - one[0]) for output, one in zip(outputs, alone))
        if difference > _SAME_HU:
            raise DataError(
                f"the denoiser gives one image two outputs, alone and in a batch of {size}",
                where=where,
                expected=f"a difference below {_SAME_HU:g} HU rms",
                got=f"{difference:.3g} HU",
                remedy="scale each image by itself, and switch batch statistics and random "
                "numbers off",
            )
    return f


def one_by_one(f: Denoiser) -> Denoiser:
    """A network that takes one image at a time, as a function of a batch."""
    return lambda x: torch.cat([f(image) for image in x.split(1)])


@torch.no_grad()
def slices_taken(f: Denoiser) -> int:
    """How many slices a network wants to see as channels: 1, or 3 to 9 of which it gives one.

    Asked of the first size that it takes with any of these.

    Examples
    --------
    >>> from torch import nn
    >>> from ctxai.weights.own_denoiser import slices_taken
    >>> slices_taken(nn.Conv2d(5, 1, 3, padding=1)), slices_taken(nn.Conv2d(1, 1, 3, padding=1))
    (5, 1)
    """
    for size in _SIZES:
        for channels in (1, *_CHANNELS):
            answer = _answer(f, (1, channels, size, size))
            if answer is not None and (channels == 1 or answer.shape == (1, 1, size, size)):
                return channels
    return 1


def _require_the_same(f: Denoiser, x: Tensor, answer: Tensor, where: str) -> None:
    """Refuse what gives an image another output at a later call, and say why it does."""
    again = f(x.clone())
    if _rms(again - answer) <= _SAME_HU:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = f(x.clone())
        torch.manual_seed(1)
        seeded = _rms(f(x.clone()) - first) <= _SAME_HU
    draws = "the denoiser draws random numbers"
    keeps = "the denoiser keeps something from call to call"
    raise DataError(
        f"{draws if seeded else keeps}: one image, two outputs",
        where=where,
        expected=f"a difference below {_SAME_HU:g} HU rms",
        got=f"{_rms(again - answer):.3g} HU",
        remedy="switch dropout off, or give it a seed of its own for each image"
        if seeded
        else "let each call begin anew, and seed random numbers within it",
    )


def _tried(f: Denoiser, x: Tensor, where: str, what: str) -> Tensor:
    """f(x), a finite image for each of x."""
    shape = tuple(x.shape)
    rows, cols = shape[2:]
    try:
        y = f(x)
    except (Exception, SystemExit) as error:  # whatever the user's own code may raise
        why, remedy = _what_it_wants(f, shape)
        raise DataError(
            why or f"the denoiser fails on {what} of {rows} × {cols} pixels",
            where=where,
            expected=f"a function of a tensor of shape {shape}",
            got=f"{type(error).__name__}: {_one_line(error)}",
            remedy=remedy,
        ) from error
    if not isinstance(y, Tensor) or y.shape != shape or y.dtype != torch.float32:
        got = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
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
    return y.clone()  # it may return the same memory each time


def _what_it_wants(f: Denoiser, shape: tuple[int, ...]) -> tuple[str | None, str | None]:
    """Whether f works with more channels or another size: what to say, and what to do."""
    for channels in _CHANNELS:
        answer = _answer(f, (1, channels, *shape[2:]))
        if answer is not None:
            return (
                f"the denoiser takes {channels} channels, as of neighbouring slices, and returns "
                f"{' × '.join(map(str, answer.shape[1:]))}, not the slice in the middle alone",
                f"let the factory return lambda x: net(x)[:, {channels // 2}:{channels // 2 + 1}]",
            )
    if sizes := list(_working_sizes(f)):
        text = " and ".join(f"{size} × {size}" for size in sizes)
        return (
            f"the denoiser does not take {shape[2]} × {shape[3]} pixels, but {text}",
            f"give --patch {sizes[0]} where a patch is chosen, or let it pad its images",
        )
    return None, None


def _working_sizes(f: Denoiser) -> Iterator[int]:
    return (size for size in _SIZES if _answer(f, (1, 1, size, size)) is not None)


def _answer(f: Denoiser, shape: tuple[int, ...]) -> Tensor | None:
    """What f makes of zeros of a shape, or None if it does not take them."""
    try:
        answer = f(torch.zeros(shape))
    except (Exception, SystemExit):  # whatever the user's own code may raise
        return None
    return answer if isinstance(answer, Tensor) else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
