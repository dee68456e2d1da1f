"""Whether a denoiser answers in HU, and whether it denoises: tried on materials that are known.

A network that was trained on another scale still returns images. Air, fat, water, vessels and bone
tell: what should be 0 HU has to come out near 0 HU, and a difference of 300 HU as about 300 HU.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.errors import DataError

from .convention import LIKELY, Convention
from .in_hu import in_hu
from .own_denoiser import Denoiser
from .trial_images import MATERIALS, Trial, trial_images

__all__ = ["Answers", "answers_of", "require_hu"]

_OFFSET_HU = 100.0  # of water: more than any denoiser is off by
_FAR_HU = 300.0  # of air and bone: a network may cut them off, but is worth a word
_GAIN = (0.6, 1.6)  # of the difference between fat and vessels
_HARDLY = 0.95  # of the error of the noisy image: what is left of it by one that hardly denoises
_BETTER = 0.8  # of that error in another convention, to be worth a word
_MUCH = 0.3  # of the error in the whole image: what a convention that fits much better leaves
_AS_WELL = 1.05  # of the smallest error
_ENDS = ("air", "bone")
_SOFT = ("fat", "water", "muscle", "vessel")
_BASE, _STEP = "fat", "vessel"
_USUAL = (1000.0, 1024.0)
_NEAR_HU = 15.0


@dataclass(frozen=True)
class Answers:
    """What a denoiser makes of the trial images.

    Attributes
    ----------
    levels : dict
        Mean answer in each material [HU].
    gain : float
        Of the difference between fat and vessels.
    offset : float
        Median of the answer less the truth inside soft tissue [HU].
    low, high : float
        Range of all answers [HU].
    error, noise : float
        Of the answer and of the image itself in soft tissue, beside the truth, rms [HU].
    everywhere : float
        Of the answer in the whole image, beside the truth, rms [HU].
    """

    levels: dict[str, float]
    gain: float
    offset: float
    low: float
    high: float
    error: float
    noise: float
    everywhere: float

    @property
    def far_off(self) -> str:
        """Air or bone that comes out far off, in words; empty if neither does."""
        off = {name: self.levels.get(name, MATERIALS[name]) - MATERIALS[name] for name in _ENDS}
        return ", ".join(
            f"{name} ({MATERIALS[name]:.0f} HU) comes out {value:+.0f} HU off"
            for name, value in off.items()
            if abs(value) > _FAR_HU
        )

    @property
    def in_hu(self) -> bool:
        """Whether they are on the scale of HU."""
        low, high = _GAIN
        return low <= self.gain <= high and abs(self.offset) <= _OFFSET_HU


@torch.no_grad()
def answers_of(f: Denoiser, trial: Trial) -> Answers:
    """Ask a denoiser about the trial images.

    Examples
    --------
    >>> from ctxai.weights.trial_images import trial_images
    >>> from ctxai.weights.units import answers_of
    >>> found = answers_of(lambda x: x + 1024, trial_images((64, 64), 3, seed=4))
    >>> found.in_hu, round(found.offset), round(found.gain, 1)
    (False, 1024, 1.0)
    """
    y = torch.cat([f(image.clone()) for image in trial.noisy.split(1)])
    levels = {name: float(y[where].mean()) for name, where in trial.inside.items() if where.any()}
    soft = (trial.truth > MATERIALS["fat"] - 50) & (trial.truth < MATERIALS["vessel"] + 30)
    inner = torch.stack([trial.inside[name] for name in _SOFT]).any(0)
    off = y - trial.truth
    span = MATERIALS[_STEP] - MATERIALS[_BASE]
    gain = (levels[_STEP] - levels[_BASE]) / span
    return Answers(
        levels,
        gain,
        float(off[inner].median()),
        float(y.min()),
        float(y.max()),
        _rms(off[soft]),
        _rms((trial.noisy - trial.truth)[soft]),
        _rms(off),
    )


def require_hu(
    network: Denoiser, convention: Convention, where: str, shape: tuple[int, int] = (64, 64)
) -> None:
    """Refuse a network whose answers are not HU in the declared convention.

    Notes (as a warning) what hardly denoises, and materials that come out far off.

    Parameters
    ----------
    network : callable
        As the user brings it, in its own unit, of one slice.
    convention : Convention
        As it was declared.
    where : str
        What the user calls it.
    shape : (rows, cols)
        Of the images that it takes. Fewer than 48 pixels hold too little to tell: 64 × 64 is then
        tried instead.

    Raises
    ------
    DataError
        With the number, and the convention that fits, if there is one.
    """
    trial = trial_images(shape if min(shape) >= 48 else (64, 64), 3, seed=4)
    try:
        found = answers_of(in_hu(network, convention), trial)
    except Exception:  # a network of small images alone
        return
    if not found.in_hu:
        raise DataError(
            f"the denoiser does not answer in HU: {_what(found)}",
            where=where,
            expected=f"HU, with --input {convention.name}",
            got=", ".join(
                f"{name} {found.levels[name]:.4g}" for name in ("air", "water", "bone")
                if name in found.levels
            )
            + " HU",
            remedy=_remedy(network, found, convention, trial),
        )  # fmt: skip
    if found.far_off:
        better = _better(network, convention, trial, _MUCH * found.everywhere)
        if better is not None and better[0].scale == convention.scale:
            raise DataError(
                f"the denoiser does not answer in HU: {found.far_off}",
                where=where,
                remedy=f"try --input {better[0].name}",
            )
        warnings.warn(f"{where}: {found.far_off}", stacklevel=2)
    if found.error > _HARDLY * found.noise:
        text = (
            f"{where}: hardly denoises: with --input {convention.name} f(x) is {found.error:.1f} "
            f"HU rms from the truth, x itself {found.noise:.1f} HU"
        )
        better = _better(network, convention, trial, _BETTER * found.error, of="error")
        if better is not None:
            text += f"; with --input {better[0].name} {better[1].error:.1f} HU"
        warnings.warn(text, stacklevel=2)


def _what(found: Answers) -> str:
    """What is wrong with answers, in words and numbers."""
    if found.high - found.low < 10.0:
        return f"it returns {found.low:.3g} to {found.high:.3g}"
    low, high = _GAIN
    if low <= found.gain <= high:
        return f"its answers lie {found.offset:+.0f} HU from its input"
    return f"a difference of 300 HU comes out as {300 * found.gain:.3g} HU"


def _remedy(network: Denoiser, found: Answers, convention: Convention, trial: Trial) -> str:
    """The convention that fits; or what the factory has to do where input and output differ."""
    if better := _better(network, convention, trial, float("inf")):
        return f"try --input {better[0].name}"
    low, high = _GAIN
    for usual in _USUAL:
        if low <= found.gain <= high and abs(abs(found.offset) - usual) < _NEAR_HU:
            if found.offset < 0:
                return (
                    f"it seems to take HU + {usual:.0f} and to return HU: let the factory return "
                    f"lambda x: net(x + {usual:.0f})"
                )
            return (
                f"it seems to return HU + {usual:.0f}: let the factory return "
                f"lambda x: net(x) - {usual:.0f}"
            )
    return "declare what it takes and returns, --input scale=S,offset=O for (HU + O) / S"


def _better(
    network: Denoiser, declared: Convention, trial: Trial, limit: float, *, of: str = "everywhere"
) -> tuple[Convention, Answers] | None:
    """The plainest convention in use that fits as well as any, if its error is below a limit."""
    fits = []
    for likely in LIKELY:
        convention = likely.of_slices(declared.slices)
        if convention == declared:
            continue
        try:
            found = answers_of(in_hu(network, convention), trial)
        except Exception:  # a network may refuse what is far from its own unit
            continue
        if found.in_hu and getattr(found, of) < limit:
            fits.append((convention, found))
    best = min((getattr(found, of) for _, found in fits), default=0.0)
    return next((fit for fit in fits if getattr(fit[1], of) <= _AS_WELL * best), None)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
