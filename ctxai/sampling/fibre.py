r"""Projection onto a fibre: the images near a sample that the layer represents in the same way.

A damped Gauss–Newton iteration moves each image by

.. math::
    δ = Jᵀ (J Jᵀ + λ s I)^{-1} (z - Φ(x)), \quad J = ∂Φ/∂x, \quad s = σ_\max²(J)

(Levenberg, Quart. Appl. Math. 2, 1944; Marquardt, SIAM J. 11, 1963; the system is solved by
conjugate gradients without ever forming J). The step lies in the row space of J: what Φ does not
see stays as it was. Damping matters: with λ → 0 the step overshoots at the kinks of ReLU networks
and removes the diversity of the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from recon.errors import DataError

from ..precision import sixteen_bits
from .jacobian import Linearisation, linearise

__all__ = ["FibreResult", "Phi", "at_once", "project_to_fibre", "rms"]

_OUTER = 10  # Gauss–Newton steps, at most; most samples need one or two
_INNER = 8  # conjugate-gradient iterations in each of the first steps, at most
_PATIENCE = 5  # steps at full damping; each later one has a tenth of it and twice the iterations
_INNER_AT_MOST = 64
_HALVINGS = 4  # a step is tried at 1, 1/2, 1/4, 1/8, 1/16 of its length
_BISECTIONS = 14  # the pulled sample ends within 2⁻¹⁴ of the segment's length
_POWER_ITERATIONS = 12
_TARGET = 0.9  # of the tolerance, for the linearised residual of a step: no further than needed
_FORCING = 0.3  # of the residual: a step that goes further trusts the linearisation too much
_PIXELS = 25 * 80**2  # of all images that are worked on at once on a CPU
_TINY = 1e-30
_MARGIN = 0.999  # aimed at, in units of the tolerance, so that rounding cannot break it

Phi = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FibreResult:
    """Projected images and how well each of them lies on the fibre.

    Attributes
    ----------
    x : Tensor
        Images ``(n, C, H, W)``.
    residual : Tensor
        Rms of ``Φ(x) - z`` for each image ``(n,)``, in the units of z.
    converged : Tensor
        Whether Gauss–Newton alone reached the tolerance, bool ``(n,)``.
    pulled : Tensor
        Whether the image had to be pulled towards the anchor, bool ``(n,)``.
    """

    x: Tensor
    residual: Tensor
    converged: Tensor
    pulled: Tensor


def at_once(x: Tensor) -> int:
    """How many images are worked on at once: 8 to 25 on a CPU, by their size, and 250 elsewhere.

    With fewer a convolution waits for its threads, with more for memory.
    """
    if x.device.type != "cpu":
        return 250
    return min(25, max(8, _PIXELS // (x.shape[-2] * x.shape[-1])))


def rms(values: Tensor) -> Tensor:
    """Root mean square of each element of a batch, ``(B, ...)`` → ``(B,)``."""
    return values.flatten(1).square().mean(1).sqrt()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.flatten(1) * b.flatten(1)).sum(1)


def _like(scalars: Tensor, values: Tensor) -> Tensor:
    return scalars.reshape(-1, *(1,) * (values.ndim - 1))


def _largest_gain(phi: Phi, x: Tensor) -> Tensor:
    """Estimate σ_max of J for each image by power iteration on JᵀJ from a fixed start."""
    at = linearise(phi, x)
    start = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0))
    w = start.to(x).expand_as(x)
    gain = torch.zeros(len(x)).to(x)
    for _ in range(_POWER_ITERATIONS):
        w = w / _like(_dot(w, w).sqrt().clamp_min(_TINY), w)
        jw = at.times_j(w)
        gain = _dot(jw, jw).sqrt()
        w = at.times_jt(jw / _like(gain.clamp_min(_TINY), jw))
    return torch.where(gain > 0, gain, 1.0)


def _scaled(linear: Phi, sigma: Tensor, values: Tensor) -> Tensor:
    return linear(values / _like(sigma, values)).to(values)


def _gauss_newton_step(
    times_j: Phi,
    times_jt: Phi,
    residual: Tensor,
    target: Tensor,
    damping: float,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Solve ``(JᵀJ + damping) δ = Jᵀ residual`` by conjugate gradients for least squares.

    Björck, "Numerical methods for least squares problems", 1996, algorithm 7.4.1. The residual of
    the linearised problem falls with every iteration, and δ stays in the row space of J. A sample
    whose linearised residual is below ``target`` (rms) is left alone from then on: a longer step
    would move it further than the tolerance asks for. Returns δ and the rms of what it leaves.
    """
    left = residual  # r - Jδ
    gradient = times_jt(left)
    direction = gradient
    delta = torch.zeros_like(gradient)
    energy = _dot(gradient, gradient)
    solved = energy * (10 * torch.finfo(energy.dtype).eps) ** 2
    going = energy > 0
    for _ in range(iterations):
        image = times_j(direction)
        curvature = _dot(image, image) + damping * _dot(direction, direction)
        length = torch.where(going, energy / curvature.clamp_min(_TINY), 0.0)
        delta = delta + _like(length, delta) * direction
        left = left - _like(length, left) * image
        going = going & (rms(left) > target)
        if not going.any():
            break
        gradient = times_jt(left) - damping * delta
        fresh = _dot(gradient, gradient)
        going = going & (fresh > solved)
        ratio = torch.where(going, fresh / energy.clamp_min(_TINY), 0.0)
        direction = gradient + _like(ratio, gradient) * direction
        energy = fresh
    return delta, rms(left)


def _descend(
    phi: Phi, x: Tensor, z: Tensor, tolerance: Tensor, damping: float, gain: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gauss–Newton with backtracking for one batch; returns images and their residual rms."""
    x = x.clone()
    first = linearise(phi, x)
    residual = rms(z - first.value)
    at: Linearisation | None = first
    active = residual > tolerance
    gain = (_largest_gain(phi, x) if gain is None else gain).expand(len(x))
    for count in range(_OUTER):
        index = active.nonzero()[:, 0]
        if len(index) == 0:
            break
        late = max(0, count + 1 - _PATIENCE)
        start, goal = x[index], z[index]
        if at is None or len(at.value) != len(index):
            at = linearise(phi, start)
        sigma = gain[index]  # divided by it, J has norm 1 and residuals are in units of x
        # a step removes some of the residual, which is then measured: half the digits will do
        with nullcontext() if late else sixteen_bits(residual):
            step, left = _gauss_newton_step(
                partial(_scaled, at.times_j, sigma),
                partial(_scaled, at.times_jt, sigma),
                (goal - at.value) / _like(sigma, goal),
                torch.maximum(_TARGET * tolerance[index], _FORCING * residual[index]) / sigma,
                damping / 10**late,
                min(_INNER * 2**late, _INNER_AT_MOST),
            )
        # where all are to need another step, the check of this one is the next one's linearisation
        followed = bool((left * sigma > tolerance[index]).all())
        at = linearise(phi, start + step) if followed else None
        waiting = torch.arange(len(index), device=x.device)
        for halving in range(_HALVINGS + 1):
            moved = start[waiting] + 0.5**halving * step[waiting]
            value = phi(moved) if at is None else at.value
            reached = rms(goal[waiting] - value)
            better = reached < 0.999 * residual[index[waiting]]
            accepted = index[waiting[better]]
            x[accepted] = moved[better]
            residual[accepted] = reached[better]
            waiting = waiting[~better]
            if len(waiting) == 0:
                break
            at = None  # some of them are elsewhere
        active[index[waiting]] = False  # no step along this direction helps any more
        active &= residual > tolerance
    return x, residual


def _pull(phi: Phi, x: Tensor, anchor: Tensor, z: Tensor, tolerance: Tensor) -> Tensor:
    """Move images along the segment to the anchor until they lie on the fibre, by bisection."""
    inside, outside = torch.zeros(len(x)).to(x), torch.ones(len(x)).to(x)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (inside + outside)
        holds = rms(z - phi(anchor + _like(middle, x) * (x - anchor))) <= tolerance
        inside = torch.where(holds, middle, inside)
        outside = torch.where(holds, outside, middle)
    return anchor + _like(inside, x) * (x - anchor)


@torch.no_grad()
def project_to_fibre(
    phi: Phi,
    x: Tensor,
    z: Tensor,
    *,
    tolerance: float | Tensor,
    anchor: Tensor | None = None,
    damping: float = 0.03,
    chunk: int | None = None,
) -> FibreResult:
    """Move images as little as needed for a layer to represent them as z, within a tolerance.

    Parameters
    ----------
    phi : callable
        The layer's representation Φ of a batch of images, differentiable in torch.
    x : Tensor
        Images to start from, ``(n, C, H, W)``.
    z : Tensor
        What Φ should give, ``(n, ...)`` or ``(1, ...)`` for all.
    tolerance : float or Tensor
        Largest rms of ``Φ(x) - z`` over the entries of z, in the units of z; one, or ``(n,)``.
    anchor : Tensor, optional
        An image on the fibre, ``(1, C, H, W)`` or ``(n, C, H, W)``. With it *every* image returned
        is within the tolerance: one that Gauss–Newton does not bring there is pulled along the
        segment towards the anchor. Its Jacobian also sets the scale of the damping.
    damping : float
        λ in units of σ_max²(J), so that the layer may have any scale.
    chunk : int, optional
        Images worked on at once, which bounds the memory: by default 8 to 25 on a CPU, fewer of
        larger ones, and 250 elsewhere.

    Returns
    -------
    FibreResult

    Raises
    ------
    DataError
        If the tolerance is not positive, the shapes do not fit, or the anchor is not on the fibre.

    Examples
    --------
    >>> import torch
    >>> from ctxai import project_to_fibre
    >>> pairs = lambda x: x.unflatten(-1, (-1, 2)).mean(-1)  # Φ sees the mean of two neighbours
    >>> start = torch.tensor([[[[3.0, 1.0, 0.0, -4.0]]]])
    >>> result = project_to_fibre(pairs, start, torch.zeros(1, 1, 1, 2), tolerance=1e-3)
    >>> result.x.round(decimals=2) + 0.0
    tensor([[[[ 1., -1.,  2., -2.]]]])
    """
    limit = torch.as_tensor(tolerance, dtype=x.dtype, device=x.device).expand(len(x))
    if not bool((limit > 0).all()):
        raise DataError("tolerance is not positive", where="tolerance", got=tolerance)
    if chunk is None:
        chunk = at_once(x)
    if damping <= 0 or chunk < 1:
        raise DataError(
            "damping and chunk are positive", where="damping, chunk", got=f"{damping}, {chunk}"
        )
    represented = tuple(phi(x[:1]).shape[1:])
    if len(z) not in (1, len(x)) or tuple(z.shape[1:]) != represented:
        raise DataError(
            "representation does not fit the images",
            where="z",
            expected=f"(1 or {len(x)}, {', '.join(map(str, represented))})",
            got=tuple(z.shape),
        )
    goal = z.expand(len(x), *represented)
    aim = _MARGIN * limit
    gain = None
    if anchor is not None:
        off = rms(phi(anchor) - z)
        if bool((off > aim).any()):
            raise DataError(
                "the anchor is not on the fibre",
                where="anchor",
                expected=f"rms of Φ(anchor) - z up to {float(limit.min()):.3g}",
                got=f"{float(off.max()):.3g}",
            )
        gain = _largest_gain(phi, anchor)
        anchor = anchor.expand_as(x)
    images, residuals, stuck = [], [], []
    for first in range(0, len(x), chunk):
        part = slice(first, first + chunk)
        shared = gain[part] if gain is not None and len(gain) > 1 else gain
        moved, left = _descend(phi, x[part], goal[part], aim[part], damping, shared)
        open_ = left > aim[part]
        if anchor is not None and open_.any():
            moved[open_] = _pull(
                phi, moved[open_], anchor[part][open_], goal[part][open_], aim[part][open_]
            )
            left[open_] = rms(goal[part][open_] - phi(moved[open_]))
        images.append(moved)
        residuals.append(left)
        stuck.append(open_)
    failed = torch.cat(stuck)
    pulled = failed if anchor is not None else torch.zeros_like(failed)
    return FibreResult(
        x=torch.cat(images), residual=torch.cat(residuals), converged=~failed, pulled=pulled
    )
