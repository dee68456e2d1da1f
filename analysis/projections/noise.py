"""Noise of a simulated dose in the images, beside what the variance of the rays predicts.

The added noise is looked at alone, as the difference of the images at the lower dose and of the
measured ones: the anatomy drops out, so that it can be told from the noise in any patient. What it
should be follows from the rays: a dose fraction a adds to a line integral of N quanta the variance

    (1 - a)/(a·N) + (1 - a²)·σe²/(a·N)²,

and Gaussian rays of this variance, reconstructed like the rest, have the noise that is expected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recon import ViewsOf

if TYPE_CHECKING:
    from analysis.projections.slices import SlicePlan
    from recon import ImageGrid, LineIntegrals, Scan

__all__ = [
    "REGION",
    "AddedNoise",
    "central_region",
    "metric_rows",
    "middle_slices",
    "slice_metrics",
    "starved_share",
]

REGION = 40.0
"""Diameter of the region about the middle of the image in which noise is measured [mm]."""

_SLICES = 9  # in the middle of the scan
_VIEWS = 48  # of the scan, in which starved rays are counted


@dataclass
class AddedNoise(ViewsOf):
    """Gaussian rays with the variance that a lower dose adds to those of a scan.

    Attributes
    ----------
    source : lazy sequence, shape (views, rows, cols)
        The line integrals as they were measured.
    photons : np.ndarray, shape (views, cols)
        Quanta N0 at the dose of the source.
    dose_fraction, electronic_noise, seed
        As `recon.at_dose` takes them; the noise of a view depends on the seed and the view alone.
    """

    source: LineIntegrals
    photons: np.ndarray
    dose_fraction: float
    electronic_noise: float
    seed: int

    def of(self, views: np.ndarray, first: int) -> np.ndarray:
        """Draw the noise of views, from number ``first`` on."""
        quanta = self.photons[first : first + len(views), None, :] * np.exp(-views)
        quanta = np.maximum(quanta, 1.0)
        a, sigma = self.dose_fraction, self.electronic_noise
        variance = (1 - a) / (a * quanta) + (1 - a**2) * (sigma / (a * quanta)) ** 2
        rays = np.sqrt(variance).astype(np.float32)
        for view, ray in enumerate(rays, first):
            stream = np.random.Philox(key=[self.seed, view])
            ray *= np.random.Generator(stream).standard_normal(ray.shape, dtype=np.float32)
        return rays


def central_region(grid: ImageGrid) -> np.ndarray:
    """Pixels of a circle of 40 mm about the middle of the grid, (rows, cols); at least one."""
    x, y = grid.x - grid.centre[0], grid.y - grid.centre[1]
    distance = np.hypot(x[None, :], y[:, None])
    return distance <= max(REGION / 2, float(distance.min()) + 1e-9)


def middle_slices(plan: SlicePlan) -> slice:
    """The slices in the middle of a plan in which noise is measured."""
    first = max((len(plan.z) - _SLICES) // 2, 0)
    return slice(first, min(first + _SLICES, len(plan.z)))


def starved_share(scan: Scan) -> float:
    """Part of the rays that stand on the floor of the noise model, counted in 48 views."""
    from recon import FLOOR_QUANTA

    views = np.unique(np.linspace(0, len(scan) - 1, _VIEWS).astype(int))
    counted = 0
    for view in views:
        most = np.log(scan.photons[view].astype(np.float64) / FLOOR_QUANTA)
        counted += int((scan.line_integrals[int(view)] >= most - 1e-4).sum())
    return counted / (len(views) * scan.geometry.n_rows * scan.geometry.n_cols)


def slice_metrics(hu: np.ndarray, plan: SlicePlan) -> list[dict[str, str]]:
    """Numbers of reconstructed slices with their units, a row each."""
    part = hu[middle_slices(plan)][:, central_region(plan.grid)]
    where = f"circle of {REGION:g} mm in the middle of {len(part)} slices"
    values = [
        ("slices", len(hu), "", "number of slices"),
        ("z_first", float(plan.z[0]), "mm", "lowest slice on the scanner's axis"),
        ("z_last", float(plan.z[-1]), "mm", "highest slice on the scanner's axis"),
        ("hu_mean", float(part.mean(dtype=np.float64)), "HU", f"mean, {where}"),
        ("hu_sd", float(part.std(dtype=np.float64)), "HU", f"standard deviation, {where}"),
    ]
    return metric_rows(values)


def metric_rows(
    values: Iterable[tuple[str, float, str, str]], *, digits: int = 6, **first: str
) -> list[dict[str, str]]:
    """Rows of metrics.csv from name, value, unit and meaning, after cells that all rows share."""
    return [
        {**first, "name": name, "value": f"{value:.{digits}g}", "unit": unit, "meaning": meaning}
        for name, value, unit, meaning in values
    ]
