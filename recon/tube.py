"""From the exposure on the console to quanta per ray.

``N0 = Φ · mA · T_rot / N_views · A_cell / (d/1 m)² · η · B(γ)``

with the tube output Φ [photons/mm²/mAs at 1 m], the exposure of one view, the area of a detector
cell and its distance, the share η of quanta that count in the noise, and the bowtie filter B.

Φ and the attenuation of water come from `tube_spectra.csv`, made with spekpy by
`scripts/make_spectra.py`: a tungsten anode of 7° behind 3 mm Al and 0.9 mm Ti, 70 to 140 kV. η and
B come from the air part of one view of a Siemens scanner (120 kV, 0.258 mAs per view, cells of
2.815 mm²), whose noise is that of 7.5e5 quanta near the centre of the fan, 3.4e5 at channel 250,
1.8e5 at 160 and 1.2e5 at 10.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import number, one_of
from .errors import DataError

if TYPE_CHECKING:
    from .geometry import FanBeam

__all__ = ["bowtie_transmission", "mu_water", "photons_per_column"]


def _table(column: str) -> dict[int, float]:
    with Path(__file__).with_name("tube_spectra.csv").open(newline="") as handle:
        return {int(row["kvp"]): float(row[column]) for row in csv.DictReader(handle)}


OUTPUT = _table("photons_per_mm2_mas")
"""Tube output Φ by tube voltage [kV]: photons/mm²/mAs at 1 m."""

EFFICIENCY = 0.67
"""η: noise-equivalent quanta per incident photon (detection, Swank noise). The air measurement
gives 7.5e5 / 1.116e6 = 0.672 at the centre of the fan; 0.61 to 0.67 within its uncertainty."""

MU_WATER = _table("mu_water_per_mm")
"""Attenuation of water by tube voltage [kV]: 1/mm, three digits. It is the effective one of an
energy-integrating detector behind 300 mm of water, from the spectra behind Φ and the NIST values of
µ/ρ (Hubbell and Seltzer, NISTIR 5632) at a density of 1 g/cm³."""

# fan angle [rad] and transmission relative to the centre: the air measurement, whose channels are
# 1.2858 mm wide at 1085.6 mm and count 368.625 at the central ray; 6.4-fold from centre to edge
_CHANNELS = np.array([368.625, 250.0, 160.0, 10.0])
_BOWTIE_ANGLE = (368.625 - _CHANNELS) * 1.2858 / 1085.6
_BOWTIE = np.array([1.0, 3.4 / 7.5, 1.8 / 7.5, 1.0 / 6.4])


def mu_water(kvp: float) -> float:
    """Attenuation of water [1/mm] that converts between HU and 1/mm at a tube voltage.

    Parameters
    ----------
    kvp : float
        Tube voltage [kV]: 70, 80, … 140.

    Returns
    -------
    float
        One constant per tube voltage (:data:`MU_WATER`).

    Raises
    ------
    DataError
        If there is no constant for this tube voltage.

    Examples
    --------
    >>> from recon import mu_water
    >>> mu_water(120)
    0.0193
    """
    return _at_voltage(MU_WATER, kvp)


def bowtie_transmission(fan_angle: Any) -> np.ndarray:
    """Transmission B of the Flash's bowtie filter, relative to the centre of the fan.

    Interpolates the logarithm of four measured values, symmetrically about the central ray, and
    keeps the outermost value beyond them.

    Parameters
    ----------
    fan_angle : array
        γ [rad], any shape.

    Returns
    -------
    np.ndarray
        B(γ) between 0 and 1, shape of ``fan_angle``.

    Examples
    --------
    >>> from recon.tube import bowtie_transmission
    >>> bowtie_transmission([-0.5, 0.0, 0.5]).round(5).tolist()
    [0.15625, 1.0, 0.15625]
    """
    from scipy.interpolate import PchipInterpolator  # slow to load, and few calls need it

    angle = np.concatenate([-_BOWTIE_ANGLE[:0:-1], _BOWTIE_ANGLE])
    value = np.log(np.concatenate([_BOWTIE[:0:-1], _BOWTIE]))
    edge = _BOWTIE_ANGLE[-1]
    return np.exp(PchipInterpolator(angle, value)(np.clip(fan_angle, -edge, edge)))


def photons_per_column(
    *,
    mas: float,
    kvp: float,
    geometry: FanBeam,
    slice_thickness: float,
    bowtie: str | None = "flash",
) -> np.ndarray:
    """Noise-equivalent quanta N0 that reach each detector cell in one view without an object.

    ``N0 = Φ(kVp) · mas / N_views · A_cell / (src_det/1 m)² · η · B(γ)``. The cell is ``col_pitch``
    wide and as high as the slice is thick, enlarged from the isocentre to the detector, so N0 is
    proportional to the slice thickness. On a flat detector the cell's distance and obliqueness
    add cos³γ.

    Parameters
    ----------
    mas : float
        Tube current × rotation time [mAs per rotation].
    kvp : float
        Tube voltage [kV]: 70, 80, … 140.
    geometry : FanBeam
        Gives the cell, the distance, the fan angles, and the views per rotation (2π divided by the
        mean step of the angles).
    slice_thickness : float
        Height of the aperture at the isocentre [mm].
    bowtie : {"flash", None}
        Bowtie filter, or none.

    Returns
    -------
    np.ndarray, shape (cols,)
        Quanta per ray and view.

    Raises
    ------
    DataError
        If the exposure or the thickness is not positive, the tube voltage is not in the table, the
        bowtie is unknown, or the geometry is no fan of at least two views.

    Examples
    --------
    >>> from recon import flash_axial, photons_per_column
    >>> fan = flash_axial(2304)
    >>> n0 = photons_per_column(mas=192.0, kvp=120, geometry=fan, slice_thickness=0.6)
    >>> n0.shape, round(float(n0.max()), -3)
    ((736,), 121000.0)
    """
    for name, value, unit in (("mas", mas, "mAs"), ("slice_thickness", slice_thickness, "mm")):
        if not 0.0 < number(name, value) < math.inf:
            raise DataError(f"{name} is not positive", expected=f"{unit} > 0", got=value)
    output = _at_voltage(OUTPUT, kvp)
    if not hasattr(geometry, "fan_angles"):
        raise DataError(
            "quanta per column need a fan beam",
            where="geometry",
            expected="FanBeam",
            got=type(geometry).__name__,
        )
    angles = np.asarray(geometry.angles)
    if angles.size < 2:
        raise DataError(
            "views per rotation are unknown",
            where="geometry.angles",
            expected="two views or more",
            got=angles.size,
        )
    one_of("bowtie filter", bowtie, ("flash", None))

    views_per_rotation = 2 * math.pi * (angles.size - 1) / abs(angles[-1] - angles[0])
    cell = geometry.col_pitch * slice_thickness * geometry.src_det / geometry.src_iso
    quanta = output * mas / views_per_rotation * cell / (geometry.src_det / 1000) ** 2 * EFFICIENCY
    gamma = geometry.fan_angles
    n0 = np.full(gamma.shape, quanta)
    if geometry.detector == "flat":
        n0 *= np.cos(gamma) ** 3
    return n0 * bowtie_transmission(gamma) if bowtie else n0


def _at_voltage(table: dict[int, float], kvp: float) -> float:
    value = number("kvp", kvp)
    if value not in table:
        raise DataError(
            "tube voltage without a spectrum",
            where="kvp",
            expected=" or ".join(f"{kv}" for kv in table) + " kV",
            got=kvp,
        )
    return table[int(value)]
