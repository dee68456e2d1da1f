"""One scan at several doses: a series of the same slices for each, and what noise they have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.projections.noise import (
    REGION,
    AddedNoise,
    central_region,
    metric_rows,
    middle_slices,
    starved_share,
)
from analysis.projections.slices import SlicePlan, reconstruct_slices, write_slices
from analysis.runs.store import mas_label

if TYPE_CHECKING:
    from recon import Scan

__all__ = ["DoseLevel", "DoseStudy", "dose_levels", "simulate_dose"]

_DIGITS = 2  # of an exposure that is given as a fraction [mAs]


@dataclass(frozen=True)
class DoseLevel:
    """One exposure of a scan: its folder's name, the scan at it, and the dose fraction."""

    label: str
    scan: Scan
    fraction: float
    electronic_noise: float


@dataclass
class DoseStudy:
    """What came of it: rows of metrics.csv, the middle slice at each exposure, facts."""

    metrics: list[dict[str, str]] = field(default_factory=list)
    pictures: list[tuple[str, np.ndarray]] = field(default_factory=list)
    levels: list[dict[str, Any]] = field(default_factory=list)


def dose_levels(
    scan: Scan,
    mas: Sequence[float],
    dose_fractions: Sequence[float],
    *,
    seed: int,
    electronic_noise: float,
) -> list[DoseLevel]:
    """Return a scan at several exposures, each once, from the highest to the lowest.

    Parameters
    ----------
    scan : Scan
        As measured.
    mas : sequence of float
        Exposures [mAs per rotation].
    dose_fractions : sequence of float
        More exposures, as parts of the scan's own.
    seed : int
        Seed of the noise.
    electronic_noise : float
        σe [quanta].

    Raises
    ------
    DataError
        If an exposure is above the scan's own, or is none.
    """
    from recon import at_dose

    lower = partial(at_dose, scan, seed=seed, electronic_noise=electronic_noise)
    wanted = [(exposure, lower(mas=exposure)) for exposure in mas]
    for fraction in dose_fractions:
        low = lower(dose_fraction=fraction)
        wanted.append((round(low.mas, _DIGITS), low))
    found: dict[str, DoseLevel] = {}
    for exposure, low in sorted(wanted, key=lambda pair: -pair[0]):
        level = DoseLevel(mas_label(exposure), low, low.mas / scan.mas, electronic_noise)
        found.setdefault(level.label, level)
    return list(found.values())


def simulate_dose(
    scan: Scan,
    levels: Sequence[DoseLevel],
    plan: SlicePlan,
    folder: Path,
    *,
    seed: int,
    projections: bool,
) -> DoseStudy:
    """Reconstruct and write a scan at each exposure, and measure the noise that was added.

    Parameters
    ----------
    scan : Scan
        As measured.
    levels : sequence of DoseLevel
        It at other exposures.
    plan : SlicePlan
        The slices, the same for all.
    folder : path
        For mas-010 and so on.
    seed : int
        Seed of the noise that the prediction is drawn with.
    projections : bool
        Whether the rays are written as well.
    """
    from recon import write_scan

    middle, region = middle_slices(plan), central_region(plan.grid)
    heights = plan.z[middle]
    measured = reconstruct_slices(scan, plan, z=heights)
    study = DoseStudy(pictures=[(f"{scan.mas:.4g} mAs, as measured", measured[len(heights) // 2])])
    own = ("noise_sd", _sd(measured, region), "HU", "of the measured scan")
    study.metrics += metric_rows([own], mas=f"{scan.mas:.6g}")
    for level in levels:
        low = level.scan
        hu = reconstruct_slices(low, plan, progress=True)
        write_slices(folder / level.label, hu, low, plan, source=scan)
        if projections:
            write_scan(low, folder / level.label / "projections", progress="projections")
        part = hu[middle]
        added, expected = _sd(part - measured, region), _expected(scan, level, plan, heights, seed)
        starved = starved_share(low)
        where = f"circle of {REGION:g} mm, {len(heights)} slices"
        values = [
            ("noise_sd", _sd(part, region), "HU", f"standard deviation, {where}"),
            ("added_noise_sd", added, "HU", "of the difference to the measured"),
            ("added_noise_expected", expected, "HU", "from the variance of the rays"),
            ("starved_share", starved, "", "rays at the floor of one quantum"),
        ]
        study.metrics += metric_rows(values, mas=f"{low.mas:.6g}")
        study.pictures.append((f"{low.mas:.4g} mAs", part[len(heights) // 2]))
        study.levels.append(
            {
                "folder": level.label,
                "mas": low.mas,
                "effective_mas": low.effective_mas,
                "dose_fraction": level.fraction,
                "series_uid": low.series_uid,
                "starved_share": starved,
            }
        )
    return study


def _expected(
    scan: Scan, level: DoseLevel, plan: SlicePlan, heights: np.ndarray, seed: int
) -> float:
    """Image noise [HU] that the added variance of the rays makes, by Gaussian rays."""
    if math.isclose(level.fraction, 1.0):
        return 0.0
    rays = AddedNoise(
        scan.line_integrals, scan.photons, level.fraction, level.electronic_noise, seed
    )
    images = reconstruct_slices(scan.changed(line_integrals=rays), plan, z=heights)
    return _sd(images, central_region(plan.grid))


def _sd(images: np.ndarray, region: np.ndarray) -> float:
    """Standard deviation in the region, the mean over slices of the variance in each."""
    return float(np.sqrt(images[:, region].var(axis=1, dtype=np.float64).mean()))
