"""Whether a denoiser's Jacobian is that of its answers: products against finite differences.

A branch under ``torch.no_grad``, a gradient taken without its graph, or a function with a backward
pass of its own have answers that change in another way than their Jacobian says. Fibres,
near-null spaces and d' would be those of another function.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recon.errors import DataError

from ..sampling.jacobian import Linearisation, linearise
from .own_denoiser import Denoiser
from .trial_images import trial_images

__all__ = ["NoJacobian", "require_differentiable"]

_OFF = 0.05  # of the change itself; kinks of rectifiers make up to 1 %
_STEPS_HU = (
    1.0,
    0.3,
    0.1,
    0.03,
    0.01,
)  # rms of a step: kinks ask for short ones, rounding for long ones
_WELL = 0.01  # of the change: no other length of the step needs to be tried
_IMAGES = 3


class NoJacobian(DataError):
    """A denoiser that has answers but cannot be differentiated at all."""


@torch.no_grad()
def require_differentiable(f: Denoiser, where: str, shape: tuple[int, int] = (64, 64)) -> None:
    """Refuse a denoiser without the Jacobian that fibres and near-null spaces are found by.

    Parameters
    ----------
    f : callable
        One that `usable` lets pass.
    where : str
        What the user calls it.
    shape : (rows, cols)
        Of the images that it will be given.

    Raises
    ------
    NoJacobian
        If it cannot be differentiated.
    DataError
        If Jv or Jᵀu are not what finite differences give around sections of a body with noise.

    Examples
    --------
    >>> from ctxai import require_differentiable
    >>> require_differentiable(lambda x: 0.5 * x, "mine.py:half")
    """
    trial = trial_images(shape, _IMAGES, seed=2)
    generator = torch.Generator().manual_seed(3)
    for number, x in enumerate(trial.noisy.split(1)):
        try:
            at = linearise(f, x)
            wrong = _departure(f, x, at, _direction(number, x, trial.truth, generator))
        except Exception as error:  # whatever the user's own code may raise
            knows_why = isinstance(error, DataError)
            raise NoJacobian(
                "the denoiser cannot be differentiated",
                where=where,
                got=f"{error}" if knows_why else f"{type(error).__name__}: {error}",
                remedy=None
                if knows_why
                else "write it in operations of torch, without NumPy and without writing in place",
            ) from error
        for product, off in wrong.items():
            if not off <= _OFF:
                raise DataError(
                    f"the denoiser's derivative is not that of its answers: {product} is "
                    f"{100 * off:.0f} % off finite differences",
                    where=where,
                    expected=f"at most {100 * _OFF:.0f} %",
                    remedy="write it in operations of torch, without detach(), no_grad() and NumPy",
                )


def _direction(number: int, x: Tensor, truth: Tensor, generator: torch.Generator) -> Tensor:
    """White noise, or the difference of two anatomies and some noise, of 1 HU rms."""
    w = torch.randn(x.shape, generator=generator)
    if number:
        smooth = truth[number : number + 1] - truth[number - 1 : number]
        w = 0.5 * w + smooth / smooth.std()
    return w / w.square().mean().sqrt()


def _departure(f: Denoiser, x: Tensor, at: Linearisation, w: Tensor) -> dict[str, float]:
    """How far Jw and Jᵀu are from finite differences, relative to the change itself.

    Of several steps the one that fits best counts: a wrong derivative fits none.
    """
    along = at.times_j(w)
    least = {"Jv": float("inf"), "Jᵀv": float("inf")}
    for step in _STEPS_HU:
        change = (f(x + step * w) - f(x - step * w)) / (2 * step)
        size = max(float(change.norm()), 1e-3 * float(w.norm()))
        u = change / size  # ⟨Jᵀu, w⟩ is ⟨u, Jw⟩: with u along the change it is as long as that
        apart = float((at.times_jt(u) * w).sum() - (u * change).sum())
        for product, off in (("Jv", float((along - change).norm())), ("Jᵀv", abs(apart))):
            least[product] = min(least[product], off / size)
        if max(least.values()) <= _WELL:
            break
    return least
