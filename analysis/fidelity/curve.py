"""The τ–diversity curve: how much samples still differ when they have to keep z within τ.

The fibre of a trained denoiser is nearly a point, so a set of samples is judged by two numbers
together: how well it keeps the representation, and how much it varies. The curve gives one as a
function of the other, and that of the *reference*, the true anatomy with its noise drawn again and
projected in the same way, says how much is to be had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ctxai import project_to_fibre
from recon import DataError

from ..numbers import rms, sample_sd

__all__ = ["DiversityCurve", "diversity_curve"]


@dataclass(frozen=True)
class DiversityCurve:
    """Consistency and diversity of one set of samples at several tolerances, tightest first.

    Attributes
    ----------
    tolerance : list of float
        What was asked for, τ, in the unit of z.
    consistency : list of float
        What was reached: median rms of Φ(x̄) - z.
    sd : list of float
        Rms over pixels of the standard deviation over samples [HU].
    pulled : list of int
        Samples that had to be pulled towards x.
    """

    tolerance: list[float]
    consistency: list[float]
    sd: list[float]
    pulled: list[int]

    def sd_at(self, consistency: float) -> float:
        """Standard deviation [HU] at a realised consistency, linearly interpolated.

        Samples that are closer to the fibre than the loosest tolerance asks for, by half and more,
        were never held back by it: beyond what they reach their spread is their own.

        Raises
        ------
        DataError
            If no tolerance of the curve brackets it.

        Examples
        --------
        >>> from analysis.fidelity.curve import DiversityCurve
        >>> curve = DiversityCurve([1.0, 4.0], [1.0, 3.5], [10.0, 20.0], [0, 0])
        >>> curve.sd_at(3.0)
        18.0
        """
        pairs = sorted(zip(self.consistency, self.sd))
        for (low, narrow), (high, wide) in pairwise(pairs):
            if low <= consistency <= high and high > low:
                return narrow + (wide - narrow) * (consistency - low) / (high - low)
        reached, free = pairs[-1]
        if reached < consistency <= self.tolerance[-1] and reached < 0.5 * self.tolerance[-1]:
            return free
        raise DataError(
            "the curve was not measured there",
            where="consistency",
            expected=f"between {pairs[0][0]:.3g} and {pairs[-1][0]:.3g}",
            got=consistency,
            remedy="ask for tolerances on both sides",
        )


@torch.no_grad()
def diversity_curve(
    phi: Callable[[Tensor], Tensor],
    x: Tensor,
    starts: Tensor,
    tolerances: Sequence[float] = (1.5, 3.0, 6.0, 12.0),
) -> DiversityCurve:
    """Project one set of samples to several tolerances, each from where the looser one ended.

    Parameters
    ----------
    phi : callable
        The layer's representation Φ of a batch of images.
    x : Tensor, (H, W)
        The image whose fibre it is [HU].
    starts : Tensor, (n, H, W)
        Samples before projection, or scans of the same anatomy for the reference [HU]; n ≥ 2.
    tolerances : sequence of float
        τ, in the unit of z; HU at the output.

    Returns
    -------
    DiversityCurve
    """
    if len(starts) < 2 or not tolerances:
        raise DataError(
            "a curve needs samples and tolerances", expected="at least 2 and 1",
            got=f"{len(starts)} and {len(tolerances)}",
        )  # fmt: skip
    anchor, images = x[None, None], starts[:, None]
    z = phi(anchor)
    rows = []
    for tolerance in sorted(tolerances, reverse=True):
        result = project_to_fibre(phi, images, z, tolerance=tolerance, anchor=anchor)
        images = result.x
        spread = float(rms(sample_sd(images[:, 0])))
        rows.append((tolerance, float(result.residual.median()), spread, int(result.pulled.sum())))
    tau, consistency, sd, pulled = (list(column) for column in zip(*rows[::-1]))
    return DiversityCurve(tau, consistency, sd, pulled)
