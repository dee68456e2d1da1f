"""Pairs of low-dose and high-dose images of random phantoms, made by the scanner's own physics.

    y = R⁻¹ 𝒫 R (phantom)   at the high dose,      x = R⁻¹ 𝒫 R y   at the low dose

so that a network sees in training what it sees in a study, where only an image y is given. Samplers
of anatomies learn from y = R⁻¹R (phantom), which has no noise: each ȳ then gets that of one dose.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from recon import ELECTRONIC_NOISE, DataError, ImageGrid
from recon.phantom import random_slice

from ..scanner.low_dose import low_dose_slices
from ..scanner.slice_scanner import derived_seed

__all__ = ["WORKING_POINT", "WorkingPoint", "phantom_pairs", "scan"]


@dataclass(frozen=True, kw_only=True)
class WorkingPoint:
    """The scan that training images, and the shipped weights, belong to.

    Parameters
    ----------
    spacing_mm : float
        Pixels of the slice [mm].
    matrix : int
        Rows and columns of the slice.
    patch : int
        Rows and columns of a patch.
    kvp : float
        Tube voltage [kV].
    mas, high_mas : float
        Low and high exposure [mAs per rotation].
    slice_thickness_mm : float
        [mm].
    window : str
        As ``A.fbp`` takes it.
    electronic_noise : float
        σe [quanta].
    """

    spacing_mm: float = 1.0
    matrix: int = 400
    patch: int = 64
    kvp: float = 120.0
    mas: float = 10.0
    high_mas: float = 200.0
    slice_thickness_mm: float = 1.5
    window: str = "hann"
    electronic_noise: float = ELECTRONIC_NOISE

    def __str__(self) -> str:
        return (
            f"{self.spacing_mm:.4g}mm-{self.slice_thickness_mm:.4g}mm-{self.kvp:g}kV-"
            f"{self.mas:g}mAs-{self.matrix}"
        )

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
    noise_free: bool = False,
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
    noise_free : bool
        Whether y is reconstructed without any noise, in place of that of the high dose.
    progress : bool
        Show progress bars on stderr.

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

    def phantom(i: int) -> np.ndarray:
        anatomy = anatomies[i % len(anatomies)]
        return random_slice(anatomy, seed=derived_seed(seed, f"slice {i}"), grid=point.grid)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = tqdm(
            pool.map(phantom, range(n)), total=n, desc="phantoms", disable=not progress, leave=False
        )
        truth = np.stack(list(drawn))
    high = None if noise_free else point.high_mas
    of_high, of_low = derived_seed(seed, "high dose"), derived_seed(seed, "low dose")
    y = scan(truth, high, seed=of_high, point=point, progress=progress)
    x = scan(y, point.mas, seed=of_low, point=point, progress=progress)
    return torch.from_numpy(x), torch.from_numpy(y)


def scan(
    hu: np.ndarray, mas: float | None, *, seed: int, point: WorkingPoint, progress: bool = True
) -> np.ndarray:
    """Images (n, rows, cols) [HU] of a working point's scanner at an exposure, or without noise."""
    label = "scans without noise" if mas is None else f"scans at {mas:g} mAs"
    return low_dose_slices(
        hu,
        point.grid.spacing,
        mas=mas,
        kvp=point.kvp,
        slice_thickness=point.slice_thickness_mm,
        window=point.window,
        electronic_noise=point.electronic_noise,
        seed=seed,
        progress=label if progress else None,
    )
