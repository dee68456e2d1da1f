r"""The exact conditional of a linearised network: how much images can vary at all.

Around x the output is nearly linear, f(x̄) ≈ f(x) + J(x̄ - x), and the noise of the patch is normal
with a known covariance Σ. Given the anatomy, and the output to within white noise of standard
deviation τ, images are then normal too. With a further scan x' of the same anatomy,

.. math:: \bar x = x' - Σ Jᵀ (J Σ Jᵀ + τ² I)^{-1} (J(x' - x) + τ ε), \qquad ε ∼ N(0, I)

is one exact draw (conditioning by Matheron's rule; Wilson et al., "Pathwise conditioning of
Gaussian processes", J. Mach. Learn. Res. 22, 2021). Scans that are only projected onto the fibre
move along the gradients of f instead, and vary more than this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..numbers import rms, sample_sd
from ..observers.ideal import lanczos
from ..observers.jacobian import Jacobian
from .curve import DiversityCurve

__all__ = ["exact_curve", "exact_draws"]

Product = Callable[[Tensor], Tensor]


@torch.no_grad()
def exact_draws(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    redrawn: Tensor,
    covariance: Product,
    tolerances: Sequence[float],
    *,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Draws of the exact conditional, and how far they change the linearised output.

    Parameters
    ----------
    f : callable
        The denoiser, (B, 1, H, W) to the same [HU].
    x : Tensor, (H, W)
        Low-dose image [HU].
    redrawn : Tensor, (n, H, W)
        Further scans of the same anatomy [HU].
    covariance : callable
        ``v ↦ Σ v`` of images (n, H, W) [HU²], as
        :meth:`~analysis.scanner.covariance.ImageCovariance.times` gives it.
    tolerances : sequence of float
        τ [HU].
    seed : int
        Of ε.

    Returns
    -------
    images : Tensor, (tolerances, n, H, W)
        [HU].
    change : Tensor, (tolerances, n)
        Rms of J(x̄ - x) [HU].
    """
    at = Jacobian(f, x)
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(redrawn.shape, generator=generator).to(redrawn)
    signals = torch.cat([at.times_j(redrawn - x), white])
    solved = lanczos(
        lambda v: at.times_j(covariance(at.times_jt(v))), signals, tolerance=min(tolerances),
        keep=True,
    )  # fmt: skip
    images, change = [], []
    for tolerance in tolerances:
        dual = torch.stack([found.solve(tolerance**2) for found in solved]).reshape(signals.shape)
        own, noise = dual.to(redrawn).split(len(redrawn))
        drawn = redrawn - covariance(at.times_jt(own + tolerance * noise))
        images.append(drawn)
        change.append(rms(at.times_j(drawn - x)))
    return torch.stack(images), torch.stack(change)


def exact_curve(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    redrawn: Tensor,
    covariance: Product,
    tolerances: Sequence[float] = (1.0, 2.0, 4.0, 8.0),
    *,
    seed: int,
) -> DiversityCurve:
    """Spread [HU] of the exact conditional as a function of how far the output changes [HU].

    Parameters are those of :func:`exact_draws`; at least two scans.
    """
    taus = sorted(tolerances)
    images, change = exact_draws(f, x, redrawn, covariance, taus, seed=seed)
    spread = [float(rms(sample_sd(drawn))) for drawn in images]
    reached = [float(values.median()) for values in change]
    return DiversityCurve(list(taus), reached, spread, [0] * len(taus))
