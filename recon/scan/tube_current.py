"""Tube-current modulation: more quanta where the body is thick, fewer where it is thin.

The variance that a view adds to the middle of the image is proportional to e^p / N0, with p the
line integral of the central ray. For a given sum of quanta its sum over the views is least for

    mA ∝ √(e^p) = exp(p / 2)

(M. Gies, W. A. Kalender, H. Wolf, C. Suess, M. T. Madsen: Dose reduction in CT by anatomically
adapted tube current modulation. I. Simulation studies. Med. Phys. 26 (1999) 2235). It is then
(mean e^{p/2})² / mean e^p of the variance at constant current. p changes with the angle and, as
the table moves, with the place along the body, so that the current follows both.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..checks import positive
from .helix import HelicalScan

__all__ = ["central_line_integrals", "modulated_exposures"]

_RAYS, _WIDTH = 8, 20.0  # over which the central ray is averaged, and their width at the axis [mm]


class Projectable(Protocol):
    """Something whose line integrals on a helix are known."""

    def line_integrals(self, helical: HelicalScan) -> np.ndarray:
        """Line integrals, (views, rows, cols)."""
        ...


def central_line_integrals(phantom: Projectable, geometry: HelicalScan) -> np.ndarray:
    """Line integral of each view's central ray, a mean over 20 mm at the axis; shape (views,)."""
    magnified = _WIDTH / _RAYS * geometry.src_det / geometry.src_iso
    middle = replace(
        geometry, n_rows=1, row_offset=0.0, n_cols=_RAYS, col_pitch=magnified, col_offset=0.0
    )
    return phantom.line_integrals(middle)[:, 0].astype(np.float64).mean(axis=1)


def modulated_exposures(
    phantom: Projectable, geometry: HelicalScan, mas: float, *, span: float = 10.0
) -> np.ndarray:
    """Exposure of each view after the rule of least noise, ``mA ∝ exp(p/2)``.

    Parameters
    ----------
    phantom : EllipsoidPhantom or VoxelPhantom
        What is scanned.
    geometry : HelicalScan
        Where its rays run.
    mas : float
        Mean of all views [mAs per rotation].
    span : float
        Ratio of the largest current to the smallest that a tube can do: currents further than its
        root from their geometric mean are held there.

    Returns
    -------
    np.ndarray, shape (views,)
        Tube current × rotation time [mAs per rotation], of mean ``mas``.

    Raises
    ------
    DataError
        If the exposure or the span is not positive.

    Examples
    --------
    >>> from recon.phantom import Ellipsoid, EllipsoidPhantom
    >>> body = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 0), axes=(150, 100, 900), value=0.02)])
    >>> helix = HelicalScan(
    ...     angles=[0, np.pi / 2], z=[0, 0], src_iso=595, src_det=1085.6, n_rows=64, n_cols=736,
    ...     row_pitch=1.1, col_pitch=1.3, views_per_rotation=4)
    >>> modulated_exposures(body, helix, 200.0).round().tolist()  # from above, and from the side
    [108.0, 292.0]
    """
    mean, span = positive("mas", mas, "mAs"), positive("span", span, "1")
    log = 0.5 * central_line_integrals(phantom, geometry)
    reach = 0.5 * abs(math.log(span))
    current = np.exp(np.clip(log - log.mean(), -reach, reach))
    return mean * current / current.mean()
