"""Pairs of low-dose and high-dose images of random phantoms, made by the scanner's own physics.

    y = R⁻¹ 𝒫 R (phantom)   at the high dose,      x = R⁻¹ 𝒫 R y   at the low dose

so that a network sees in training what it sees in a study, where only an image y is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import torch
from recon.operator import operator
from recon.tube import mu_water, photons_per_column
from tqdm import tqdm

from recon.dose import sample_transmission
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial
from recon.phantom import random_slice
from recon.units import AIR_HU, hu_to_mu, mu_to_hu

__all__ = ["WORKING_POINT", "WorkingPoint", "phantom_pairs"]

_CHUNK = 16  # slices a call: the projector's batch


@dataclass(frozen=True, kw_only=True)
class WorkingPoint:
    """The scan that training images, and the shipped weights, belong to."""

    spacing_mm: float = 1.0
    matrix: int = 400
    patch: int = 64
    kvp: float = 120.0
    mas: float = 10.0
    high_mas: float = 200.0
    slice_thickness_mm: float = 1.5
    window: str = "hann"
    electronic_noise: float = 3.0

    @property
    def facts(self) -> dict[str, Any]:
        """The same, as plain values to be kept beside weights."""
        return asdict(self)

    @property
    def grid(self) -> ImageGrid:
        """The square image grid, centred on the axis of rotation."""
        return ImageGrid(
            shape=(self.matrix, self.matrix), spacing=(self.spacing_mm, self.spacing_mm)
        )


WORKING_POINT = WorkingPoint()


def phantom_pairs(
    n: int,
    *,
    seed: int,
    anatomies: Sequence[str] = ("thorax", "abdomen", "thorax", "abdomen", "head"),
    point: WorkingPoint = WORKING_POINT,
    progress: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-dose and high-dose images of `n` random phantom slices.

    Parameters
    ----------
    n : int
        Number of slices; slice i is of ``anatomies[i % len(anatomies)]``.
    seed : int
        Slices, and the noise in both scans, are functions of (seed, slice).
    anatomies : sequence of str
        Names that :func:`recon.phantom.random_slice` knows.
    point : WorkingPoint
        Grid, doses and window.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    x, y : tensor (n, matrix, matrix), float32
        Low-dose and high-dose images [HU].

    Raises
    ------
    DataError
        If `n` is less than 1 or an anatomy is unknown.
    """
    if n < 1:
        raise DataError("no training slices", where="n", expected="at least 1", got=n)
    geometry = flash_axial()
    A = operator(geometry, point.grid)
    water = mu_water(point.kvp)

    def incident(mas: float) -> Any:
        return photons_per_column(
            mas=mas, kvp=point.kvp, geometry=geometry, slice_thickness=point.slice_thickness_mm
        )

    def scan(hu: torch.Tensor, mas: float, first: int, draw: int) -> torch.Tensor:
        p = sample_transmission(
            A(hu_to_mu(hu.clamp_min(AIR_HU), water)),
            photons=incident(mas),
            electronic_noise=point.electronic_noise,
            seed=seed,
            image=first,
            draw=draw,
        )
        return mu_to_hu(A.fbp(p, window=point.window), water)

    def phantom(i: int) -> torch.Tensor:
        anatomy = anatomies[i % len(anatomies)]
        return torch.from_numpy(random_slice(anatomy, seed=seed * 1_000_003 + i, grid=point.grid))

    x, y = torch.empty(2, n, point.matrix, point.matrix)
    bar = tqdm(total=n, desc="phantom scans", unit="slice", disable=not progress)
    with bar, ThreadPoolExecutor(2) as pool:
        for first in range(0, n, _CHUNK):
            part = slice(first, min(first + _CHUNK, n))
            truth = torch.stack(list(pool.map(phantom, range(part.start, part.stop))))
            y[part] = scan(truth, point.high_mas, first, 0)
            x[part] = scan(y[part], point.mas, first, 1)
            bar.update(len(truth))
    return x, y
