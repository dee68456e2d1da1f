"""Scans of many kinds to learn from: pixel sizes, exposures, slice thicknesses, voltages, windows.

Every few phantoms have a scan of their own, drawn from ranges that clinical scans lie in. Pixel
size and quanta (exposure times thickness) are spread evenly on a logarithmic scale, each value
with one of the other at random, so that few scans cover both ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ctxai import PatchPairs

from ..scanner.slice_scanner import derived_seed
from .phantom_pairs import WorkingPoint, phantom_pairs, scan

__all__ = ["VARIOUS", "ScanRange", "various_pairs", "working_points"]


@dataclass(frozen=True, kw_only=True)
class ScanRange:
    """From which scans to learn. Where two values are given they are the least and the largest.

    Attributes
    ----------
    spacing_mm, slice_thickness_mm : (float, float)
        Pixel size and slice thickness [mm].
    mas_mm : (float, float)
        Exposure times slice thickness, to which the quanta of a ray are proportional [mAs mm].
    kvp, window : tuple
        Voltages [kV] and windows of the FBP, each as often as it is named.
    """

    spacing_mm: tuple[float, float] = (0.4, 1.2)
    slice_thickness_mm: tuple[float, float] = (0.75, 5.0)
    mas_mm: tuple[float, float] = (6.0, 500.0)
    kvp: tuple[float, ...] = (80.0, 100.0, 120.0, 120.0, 120.0, 120.0, 140.0)
    window: tuple[str, ...] = ("hann", "hann", "hann", "hann", "hann", "cosine", "shepp-logan")

    @property
    def facts(self) -> dict[str, Any]:
        """The same, as plain values to be kept beside weights."""
        return {
            name: list(dict.fromkeys(value)) if name in ("kvp", "window") else list(value)
            for name, value in asdict(self).items()
        }


VARIOUS = ScanRange()
"""What the samplers that ship learnt from."""


def working_points(
    count: int, within: ScanRange, *, like: WorkingPoint, seed: int
) -> list[WorkingPoint]:
    """Scans of a range, on grids that show as much of the body as that of a working point.

    Examples
    --------
    >>> from analysis.data.phantom_pairs import WORKING_POINT
    >>> from analysis.data.various_scans import VARIOUS, working_points
    >>> found = working_points(3, VARIOUS, like=WORKING_POINT, seed=1)
    >>> [round(point.spacing_mm, 2) for point in found]
    [0.48, 0.69, 1.0]
    """
    random = np.random.default_rng(derived_seed(seed, "various scans"))

    def even(least: float, largest: float) -> np.ndarray:
        return least * (largest / least) ** ((np.arange(count) + 0.5) / count)

    extent = like.matrix * like.spacing_mm
    quanta = random.permutation(even(*within.mas_mm))
    thicknesses = random.permutation(even(*within.slice_thickness_mm))
    return [
        replace(
            like,
            spacing_mm=round(float(spacing), 4),
            matrix=round(extent / spacing),
            slice_thickness_mm=round(float(thickness), 3),
            mas=round(float(amount / thickness), 2),
            kvp=float(random.choice(within.kvp)),
            window=str(random.choice(within.window)),
        )
        for spacing, amount, thickness in zip(even(*within.spacing_mm), quanta, thicknesses)
    ]


def various_pairs(
    n: int,
    points: Sequence[WorkingPoint],
    *,
    side: int,
    seed: int,
    progress: bool = True,
) -> PatchPairs:
    """Parts of n slices of random phantoms, as many at each of some scans; y has no noise.

    The noise of x is what it differs by from a scan without noise, R⁻¹R y: from y itself it
    differs by what a scan blurs as well.

    Parameters
    ----------
    n : int
        Number of slices.
    points : sequence of WorkingPoint
        Scans, with one size of a patch.
    side : int
        Of the parts [pixels]; a part shows the body, and patches are drawn from it.
    seed : int
        Slices, places and noise are functions of it.
    """
    parts: list[PatchPairs] = []
    bar = tqdm(points, desc="scans of many kinds", disable=not progress, leave=False)
    for k, point in enumerate(bar):
        count = n * (k + 1) // len(points) - n * k // len(points)
        if count:
            own = derived_seed(seed, f"scan {k}")
            x, y = phantom_pairs(count, seed=own, point=point, noise_free=True, progress=False)
            blurred = scan(y.numpy(), None, seed=own, point=point, progress=False)
            pairs = PatchPairs(x, y, noise=x - torch.from_numpy(blurred), patch=point.patch)
            parts.append(pairs.parts(side, own, aligned=1))
    return sum(parts[1:], start=parts[0])
