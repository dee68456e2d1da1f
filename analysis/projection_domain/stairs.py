"""d' of one other anatomy at every stage: full dose, this dose, after the FBP, after the network.

The numbers of :class:`~analysis.projection_domain.pair.Pair` for the whole difference, without the
two matrices that only many products with the noise's covariance are worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recon import AIR_HU

from ..scanner.slice_scanner import SliceScanner
from .pair import Pair

__all__ = ["TOLERANCE_HU", "Stairs", "climb_down"]

TOLERANCE_HU = 1.0
"""τ behind the rays [HU]."""

_WHOLE = slice(0, 1)  # of the parts of the difference


@dataclass(frozen=True)
class Stairs:
    """d' of y against one ȳ, from the rays at full dose to the output."""

    sample: int  # place of the ȳ in its array
    full_mas: float  # [mAs]
    tolerance_hu: float  # τ [HU]
    d: np.ndarray  # (4,), in the order of `analysis.runs.quantities.STAGES`


def climb_down(
    f: Callable[[Tensor], Tensor],
    scanner: SliceScanner,
    x: Tensor,
    ybar: Tensor,
    sample: int,
    *,
    mas: float,
    full_mas: float,
) -> Stairs:
    """Follow y against one of many ȳ from the rays to the output of a network.

    Parameters
    ----------
    f : callable
        The denoiser in its place; it needs a Jacobian.
    scanner : SliceScanner
        The slice y.
    x : Tensor, (rows, cols)
        The scan in its surroundings, at which f is linearised [HU].
    ybar : Tensor, (n, H, W)
        Anatomies of the patch [HU].
    sample : int
        Which of them.
    mas, full_mas : float
        This dose, and the full one [mAs].
    """
    if torch.equal(ybar[sample].to(scanner.y).clamp(min=AIR_HU), scanner.y):
        return Stairs(sample, full_mas, TOLERANCE_HU, np.zeros(4))
    pair = Pair(scanner, ybar[sample], kept=False)
    image = pair.after_reconstruction(mas, [TOLERANCE_HU], parts=_WHOLE)
    output = pair.after_network(f, x, mas, [TOLERANCE_HU], parts=_WHOLE)
    rays = [pair.before(full_mas)[0], pair.before(mas)[0]]
    return Stairs(sample, full_mas, TOLERANCE_HU, np.array([*rays, image[0, 0], output[0, 0]]))
