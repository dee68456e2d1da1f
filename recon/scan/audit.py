"""Whether the stated geometry of a scan fits its data: rays against the same rays from behind.

Where column centre, row order or focal spot are stated wrongly, the rays that are taken for
opposite ones (`recon.scan.opposite_rays`) are not, and differ more than they have to. What fits
instead can be taken (`fit_geometry`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError
from .helix import HelicalScan
from .lazy_views import ReversedRows
from .opposite_rays import OppositeViews, differences, read_views
from .scan import Scan

__all__ = ["AuditLine", "fit_geometry", "geometry_audit"]

_PLACES = 10  # along the scan
_HERE = 10  # views at each place
_BEHIND = 32  # views on the other side
_FAN = 0.9  # of the fan's half opening that is looked at
_OFFSETS = np.arange(-4.0, 4.01, 0.5)  # columns beside the stated centre
_PARTS = 8  # of a place, for the standard error
_LEAST_RAYS = 20  # in a part
_SIGNIFICANT = 3.0  # standard errors
_NOTABLE = 0.01  # of the mean square residual
_COLUMN = 0.2  # by which a fitted column centre may miss the stated one
_MOST_FAULTS = 3  # that are mended one after the other
_FITTED = "column centre fitted"


@dataclass(frozen=True)
class AuditLine:
    """One reading of the geometry, and whether it fits the data.

    Attributes
    ----------
    name : str
        "as stated", "row order flipped", …
    residual : float
        Root mean square difference of opposite rays, in line integrals.
    noise : float
        What quanta alone would make of it.
    verdict : str
        "fits", "does not fit" or "cannot be told".
    detail : str
        What else was found, such as the fitted column centre.
    """

    name: str
    residual: float
    noise: float
    verdict: str
    detail: str = ""


@dataclass(frozen=True)
class _Reading:
    """A geometry as the data might have been taken with; ``rows`` is -1 for rows in reverse."""

    name: str
    geometry: HelicalScan
    rows: int = 1


def geometry_audit(scan: Scan) -> list[AuditLine]:
    """Compare opposite rays for the geometry as stated, and for what is often mistaken in it.

    Some 400 views are read, whatever the length of the scan.

    Parameters
    ----------
    scan : Scan
        At least about 0.7 turns.

    Returns
    -------
    list of AuditLine
        First the geometry as stated, then other readings: the column centre mirrored and fitted to
        the data, the row order flipped, the shifts of a flying focal spot ignored or with the other
        sign. Empty where the scan has no opposite rays.

    Examples
    --------
    >>> from recon.phantom import water_with_inserts
    >>> from recon import simulate_scan
    >>> helix = HelicalScan(
    ...     angles=np.arange(144) * np.pi / 36, z=np.arange(144) * 10 / 72, src_iso=595,
    ...     src_det=1085.6, n_rows=16, n_cols=92, row_pitch=1.0947, col_pitch=10.3, col_offset=0.25,
    ...     views_per_rotation=72)
    >>> scan = simulate_scan(
    ...     water_with_inserts(0.02).views(helix), helix, mas=100, kvp=120, mu_water=0.02,
    ...     name="water", seed=None)
    >>> for line in geometry_audit(scan)[:2]:
    ...     print(line.name, "-", line.verdict)
    as stated - fits
    column centre mirrored - does not fit
    """
    return _audit(scan)[0]


def fit_geometry(scan: Scan) -> tuple[Scan, list[str]]:
    """Take what fits the data in place of what a scan states wrongly of its geometry.

    The reading of the audit that fits best is taken, and the audit repeated, since two things may
    be stated wrongly at once.

    Parameters
    ----------
    scan : Scan
        As `geometry_audit` takes it.

    Returns
    -------
    Scan, list of str
        The scan with a geometry that fits, and what was changed, in words; the scan as it is, and
        nothing, where the audit finds no fault.

    Raises
    ------
    DataError
        If no reading fits.
    """
    changed: list[str] = []
    for _ in range(_MOST_FAULTS + 1):
        lines, readings = _audit(scan)
        if not lines or lines[0].verdict != "does not fit":
            return scan, changed
        fitting = [line for line in lines[1:] if line.verdict == "fits"]
        if not fitting:
            break
        best = min(fitting, key=lambda line: line.residual)
        changed.append(f"{best.name} ({best.detail})" if best.detail else best.name)
        scan = _taken(scan, readings[best.name])
    raise DataError(
        "no geometry was found that fits the data",
        expected="opposite rays that agree but for their noise",
        got=f"after {', '.join(changed)}: still not" if changed else "no reading that fits",
        remedy="--geometry as-stated goes on with what the files state",
    )


def _taken(scan: Scan, reading: _Reading) -> Scan:
    """A scan as a reading has it."""
    g, rays = reading.geometry, scan.line_integrals
    if reading.rows < 0:
        g, rays = replace(g, row_offset=-g.row_offset), ReversedRows(rays)
    return scan.changed(geometry=g, line_integrals=rays)


def _audit(scan: Scan) -> tuple[list[AuditLine], dict[str, _Reading]]:
    """The lines of an audit, and the readings behind them by name."""
    stated = _Reading("as stated", scan.geometry)
    others = _readings(scan.geometry)
    offsets = [
        _Reading("", replace(scan.geometry, col_offset=scan.geometry.col_offset + float(step)))
        for step in _OFFSETS
    ]
    blocks = []
    for here, behind in _places(scan.geometry):
        blocks += _differences(read_views(scan, here, behind), [stated, *others, *offsets])
    if not blocks:
        return [], {}
    noise = math.sqrt(np.mean([block[1] for block in blocks]))
    squares = np.array([block[0] for block in blocks])  # (blocks, readings)
    few = len(others) + 1
    lines, column = _verdicts([stated, *others], squares[:, :few], squares[:, few:], noise)
    fitted = _Reading(_FITTED, replace(scan.geometry, col_offset=column))
    return lines, {reading.name: reading for reading in (stated, *others, fitted)}


def _readings(g: HelicalScan) -> list[_Reading]:
    """What is often mistaken: everything that the scan has of it."""
    found = []
    if abs(g.col_offset) > 0.05:
        found.append(_Reading("column centre mirrored", replace(g, col_offset=-g.col_offset)))
    if g.n_rows > 1:
        found.append(_Reading("row order flipped", g, rows=-1))
    for name, word in (("shift_z", "Δz"), ("shift_angle", "Δφ"), ("shift_radius", "Δρ")):
        shift = getattr(g, name)
        if not np.any(shift):
            continue
        if name != "shift_radius":
            found.append(
                _Reading(f"focal spot {word} with the other sign", replace(g, **{name: -shift}))
            )
        if name != "shift_angle":
            found.append(_Reading(f"focal spot {word} ignored", replace(g, **{name: 0 * shift})))
    return found


def _places(g: HelicalScan) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views here and behind, spread over the scan; all states of the focal spot among both."""
    turn, states = g.views_per_rotation, int(g.states.max()) + 1
    reach = 2 * _FAN * _half_fan(g) / (2 * math.pi) * turn  # of the views behind, either way
    before, spread = round(turn / 2 - reach), round(0.1 * turn)
    last = len(g) - round(turn / 2 + reach) - states
    if last < 0 or before < 1:
        return []
    found = []
    for start in np.unique(np.linspace(0, max(last - spread, 0), _PLACES).astype(int)):
        here = np.linspace(start, start + min(spread, last), _HERE)
        behind = np.linspace(start + before, start + turn / 2 + reach, _BEHIND)
        found.append((_mixed(here, states, len(g)), _mixed(behind, states, len(g))))
    return found


def _mixed(views: np.ndarray, states: int, most: int) -> np.ndarray:
    """Views near the given ones, with the states in turn, each once."""
    whole = views.astype(int) // states * states + np.arange(len(views)) % states
    return np.unique(np.minimum(whole, most - 1))


def _half_fan(g: HelicalScan) -> float:
    """Half the opening of the fan as the focal spot sees it, the smaller side [rad]."""
    return math.asin(min(g.field_radius / float(g.source_radius.min()), 1.0))


def _differences(place: OppositeViews, readings: list[_Reading]) -> list[tuple[np.ndarray, float]]:
    """Mean square differences of each reading, and the quanta's share, for parts of the pairs."""
    values, usable, variances = zip(
        *(differences(place, reading.geometry, reading.rows) for reading in readings)
    )
    inside = np.logical_and.reduce(usable)
    found = []
    for part in np.array_split(np.arange(len(place.behind)), _PARTS):
        mask = inside[:, part]
        if mask.sum() < _LEAST_RAYS:
            continue
        squares = np.array([np.mean(value[:, part][mask] ** 2) for value in values])
        found.append((squares, float(variances[0][:, part][mask].mean())))
    return found


def _verdicts(
    readings: list[_Reading], squares: np.ndarray, offsets: np.ndarray, noise: float
) -> tuple[list[AuditLine], float]:
    """Compare all with the best one, block by block: the same rays are in both.

    Returns the lines, and the column offset that fits best.
    """
    mean = squares.mean(axis=0)
    best = int(np.argmin(mean))
    worse = [_worse(squares[:, k], squares[:, best], noise) for k in range(len(readings))]
    fitted, moved, told = _fitted_column(readings[0].geometry.col_offset, offsets, squares, noise)
    wrong = worse[0] or moved
    lines = []
    for k, reading in enumerate(readings):
        if k == 0:
            verdict = "does not fit" if wrong else "fits" if any(worse) else "cannot be told"
        elif worse[k]:
            verdict = "does not fit"
        else:
            verdict = "fits" if k == best and worse[0] else "cannot be told"
        lines.append(AuditLine(reading.name, math.sqrt(mean[k]), noise, verdict))
    least, verdict = math.sqrt(offsets.mean(axis=0).min()), "fits" if told else "cannot be told"
    detail = f"{fitted:.2f} columns, {readings[0].geometry.col_offset:.3f} stated" if told else ""
    return [*lines, AuditLine(_FITTED, least, noise, verdict, detail)], fitted


def _worse(one: np.ndarray, other: np.ndarray, noise: float) -> bool:
    """Whether one reading's residuals are larger than another's, beyond chance and worth a word."""
    difference = one - other
    error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    least = _NOTABLE * max(other.mean(), noise**2)
    return bool(difference.mean() > max(_SIGNIFICANT * error, least))


def _fitted_column(
    stated: float, offsets: np.ndarray, squares: np.ndarray, noise: float
) -> tuple[float, bool, bool]:
    """Column offset of the least residual, whether it refutes the stated one, and if it is told."""
    mean = offsets.mean(axis=0)
    k = int(np.clip(np.argmin(mean), 1, len(mean) - 2))
    left, middle, right = mean[k - 1], mean[k], mean[k + 1]
    curve = left - 2 * middle + right
    step = _OFFSETS[1] - _OFFSETS[0]
    shift = float(_OFFSETS[k] + (0.5 * step * (left - right) / curve if curve > 0 else 0.0))
    told = _worse(offsets[:, 0], offsets[:, k], noise) and _worse(
        offsets[:, -1], offsets[:, k], noise
    )
    moved = told and abs(shift) > _COLUMN and _worse(squares[:, 0], offsets[:, k], noise)
    return stated + shift, moved, told
