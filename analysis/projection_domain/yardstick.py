"""What d' of ȳ - y in the rays is to be held against: noise alone, and each scale of ȳ - y alone.

An ideal observer of the rays tells any two images apart that differ in more than their quanta
hide, and two high-dose images of the same anatomy differ by their noise. d' of two such images is
the yardstick: a ȳ whose d' is no larger need not be another anatomy at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recon import AIR_HU

from ..fidelity.statistics import parts_by_scale
from ..scanner.slice_scanner import SliceScanner, derived_seed, seam_weight
from .pair import change_detectability, ray_detectability

__all__ = ["HIGH_MAS", "Yardstick", "measure_yardstick", "noise_between_scans"]

HIGH_MAS = 200.0
"""Exposure of the high-dose scans where the slice states none [mAs]."""

_SCANS = 4  # pairs of high-dose scans


@dataclass(frozen=True)
class Yardstick:
    """d' in the rays at a study's exposure: of each ȳ, of its parts, and of noise alone."""

    d: np.ndarray  # of ȳ - y, (n,)
    by_scale: dict[str, np.ndarray]  # of its parts: noise, tissue, organ; each (n,)
    two_scans: float  # of the difference of two high-dose scans of y, the mean of several pairs
    two_scans_sd: float  # over these pairs
    high_mas: float  # their exposure [mAs]

    @property
    def median_by_scale(self) -> dict[str, float]:
        """Median over the ȳ of d' of each part."""
        return {scale: float(np.median(d)) for scale, d in self.by_scale.items()}

    def summary(self, chosen: np.ndarray) -> dict[str, float]:
        """Least, median and largest d' of some of the ȳ; empty without any."""
        d = self.d[chosen]
        if not len(d):
            return {}
        return {"least": float(d.min()), "median": float(np.median(d)), "largest": float(d.max())}


def noise_between_scans(scanner: SliceScanner, high_mas: float, *, seed: int) -> Tensor:
    """Differences of high-dose scans of the patch, pair by pair, (pairs, H, W) [HU].

    They have all the noise of a scan at that exposure, whatever noise the slice has of its own.
    """
    seed = derived_seed(seed, "two high-dose scans")
    scans = scanner.place.of(scanner.low_dose(high_mas, draws=2 * _SCANS, seed=seed))
    return seam_weight(scanner) * (scans[::2] - scans[1::2])


def measure_yardstick(scanner: SliceScanner, ybar: Tensor, mas: float, *, seed: int) -> Yardstick:
    """d' of each ȳ - y in the rays at an exposure [mAs], with what stands beside it.

    Parameters
    ----------
    scanner : SliceScanner
        The slice y, with the patch in which it changes.
    ybar : Tensor, (n, H, W)
        Other anatomies of the patch [HU].
    mas : float
        Exposure [mAs].
    seed : int
        Of the high-dose scans, at the slice's own exposure or else at 200 mAs.
    """
    high = HIGH_MAS if scanner.image_mas is None else scanner.image_mas
    noise = change_detectability(scanner, noise_between_scans(scanner, high, seed=seed), mas)
    parts = parts_by_scale(ybar.to(scanner.y).clamp(min=AIR_HU) - scanner.y)
    return Yardstick(
        ray_detectability(scanner, ybar, mas),
        {scale: change_detectability(scanner, part, mas) for scale, part in parts.items()},
        two_scans=float(noise.mean()),
        two_scans_sd=float(noise.std(ddof=1)),
        high_mas=float(high),
    )
