"""A projection scan: its rays, the quanta behind them, and what turns them into HU.

The rays are lazy: ``scan.line_integrals[i:j]`` reads (or computes) the views i to j and nothing
else, so that a scan of many gigabytes passes through in pieces.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..checks import as_html
from ..errors import DataError
from .helix import HelicalScan

__all__ = [
    "CORRECTIONS",
    "LineIntegrals",
    "Scan",
    "derived_uid",
    "own_uid",
    "pieces",
    "quanta_from_tube",
]

_UID = re.compile(r"[0-2](\.(0|[1-9]\d*))+", re.ASCII)
_LONGEST_UID = 64

CORRECTIONS = ("beam_hardening", "gain", "dark_field", "flat_field", "bad_pixel", "scatter")
"""Corrections that DICOM-CT-PD keeps a flag for."""

VIEWS_AT_ONCE = 64
"""Views that are held at once when a whole scan is passed through."""


def pieces(start: int, stop: int, views: int = VIEWS_AT_ONCE) -> list[slice]:
    """Cut the views from ``start`` up to ``stop`` into slices of some, the last of what is left.

    Examples
    --------
    >>> pieces(3, 8, 2)
    [slice(3, 5, None), slice(5, 7, None), slice(7, 8, None)]
    """
    return [slice(first, min(first + views, stop)) for first in range(start, stop, views)]


class LineIntegrals(Protocol):
    """Line integrals of a scan, (views, rows, cols): ``[i:j]`` gives float32, ``[i]`` one view."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Views, rows and columns."""
        ...

    def __getitem__(self, which: Any) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Scan:
    """Projections of one helical scan, in scan order.

    Parameters
    ----------
    line_integrals : array or lazy sequence, shape (views, rows, cols)
        ``-ln(I/I0)``, float32.
    geometry : HelicalScan
        Where spot and detector are at each view.
    photons : array, shape (views, cols)
        Noise-equivalent quanta N0 per ray without an object, at this exposure.
    exposures : array, shape (views,)
        Tube current × rotation time of each view [mAs per rotation]; all NaN where not known.
    kvp : float
        Tube voltage [kV].
    mu_water : float
        Attenuation of water that the line integrals are calibrated to [1/mm].
    series_uid, study_uid : str
        UIDs of the series and its study.
    rotation_time : float, optional
        Time of a turn [s].
    fov : float, optional
        Diameter within which the scanner collects data [mm].
    ctdi_vol : float, optional
        Dose index CTDIvol, where the files state it [mGy].
    vendor : str
        "SIEMENS", "GE MEDICAL SYSTEMS" or "": decides how a file counts its columns.
    corrections : tuple of str
        What the line integrals are corrected for, of `CORRECTIONS`.
    notes : tuple of str
        What had to be assumed when the scan was read.
    files : tuple of str
        The files that it was read from, in scan order.

    Raises
    ------
    DataError
        If the arrays do not fit each other or hold values that are no quanta or exposures.
    """

    line_integrals: LineIntegrals
    geometry: HelicalScan
    photons: np.ndarray
    exposures: np.ndarray
    kvp: float
    mu_water: float
    series_uid: str
    study_uid: str = ""
    rotation_time: float | None = None
    fov: float | None = None
    ctdi_vol: float | None = None
    vendor: str = ""
    corrections: tuple[str, ...] = CORRECTIONS
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.geometry.shape
        if tuple(self.line_integrals.shape) != shape:
            raise DataError(
                "line integrals do not fit the geometry",
                where="line_integrals",
                expected=f"(views, rows, cols) = {shape}",
                got=tuple(self.line_integrals.shape),
            )
        for name, dtype, expected in (
            ("photons", np.float32, (shape[0], shape[2])),
            ("exposures", np.float64, (shape[0],)),
        ):
            values: NDArray[Any] = np.asarray(getattr(self, name), dtype=dtype)
            if values.shape != expected:
                raise DataError(
                    f"{name} do not fit the geometry", where=name, expected=expected,
                    got=values.shape,
                )  # fmt: skip
            unknown = name == "exposures" and np.isnan(values).all()
            if not unknown and not (np.isfinite(values).all() and np.all(values > 0)):
                raise DataError(f"{name} are not positive", where=name, expected="values > 0")
            object.__setattr__(self, name, values)
        for name in ("kvp", "mu_water"):
            if not 0.0 < float(getattr(self, name)) < 1e4:
                raise DataError(f"{name} is not positive", where=name, got=getattr(self, name))

    def __len__(self) -> int:
        return len(self.geometry)

    @property
    def mas(self) -> float:
        """Tube current × rotation time, the mean of all views [mAs per rotation]; NaN: unknown."""
        return float(self.exposures.mean())

    @property
    def effective_mas(self) -> float:
        """`mas` over the pitch [mAs]."""
        return self.mas / self.geometry.pitch

    def chunks(self, views: int = VIEWS_AT_ONCE) -> Iterator[slice]:
        """Pieces to pass through the scan in, in scan order."""
        return iter(pieces(0, len(self), views))

    def changed(self, **changes: Any) -> Scan:
        """Return the scan with other rays, quanta, exposures or UIDs."""
        return replace(self, **changes)

    def describe(self) -> list[tuple[str, str]]:
        """Return what the scan is, as pairs of name and value, without identity."""
        g = self.geometry
        centre = np.median(self.photons[:, g.n_cols // 2])
        edge = np.median(self.photons[:, [0, -1]])
        low, high = self.exposures.min(), self.exposures.max()
        shifts = [
            f"Δφ {g.shift_angle[k] * 1e3:.4g} mrad, Δz {g.shift_z[k]:.4g} mm, "
            f"Δρ {g.shift_radius[k]:.4g} mm"
            for k in np.unique(g.states, return_index=True)[1]
        ]
        exposure = f"{self.mas:.4g} mAs a turn{{}}, effective {self.effective_mas:.4g} mAs"
        time = f", {self.rotation_time:g} s a turn" if self.rotation_time else ""
        modulated = f" ({low:.4g} to {high:.4g})" if high > 1.001 * low else ""
        stated = f" (stated {g.stated_pitch:.4g})" if g.stated_pitch is not None else ""
        position = g.patient_position or "not stated, HFS assumed"
        return [
            ("scanner", f"{self.vendor or 'not stated'}, {self.kvp:g} kV{time}"),
            ("views", f"{len(g)}, {g.views_per_rotation} a turn, {g.rotations:.4g} turns"),
            (
                "detector",
                f"{g.n_rows} rows × {g.n_cols} columns of {g.row_pitch:.5g} × {g.col_pitch:.5g} mm,"
                f" offset {g.row_offset:g} rows, {g.col_offset:g} columns",
            ),
            ("distances", f"{g.src_iso:g} mm to the axis, {g.src_det:g} mm to the detector"),
            ("focal spot", f"{g.focal_spot}: {'; '.join(shifts)}"),
            (
                "table",
                f"{g.table_direction}, {abs(g.feed):.4g} mm a turn, pitch {g.pitch:.4g}{stated}",
            ),
            ("span", f"z {g.z.min():.1f} to {g.z.max():.1f} mm of the focal centre"),
            ("patient", position),
            ("exposure", "not stated" if np.isnan(low) else exposure.format(modulated)),
            ("dose", "not stated" if self.ctdi_vol is None else f"CTDIvol {self.ctdi_vol:.4g} mGy"),
            ("quanta", f"{centre:.3g} at the centre, {edge:.3g} at the edge"),
            ("water", f"{self.mu_water:g} 1/mm"),
            ("line integrals", f"{np.prod(g.shape) * 2 / 1e9:.3g} GB as uint16"),
        ]

    def _repr_html_(self) -> str:
        return as_html("Scan", self.describe())

    def __repr__(self) -> str:
        return f"Scan({self.geometry!r}, {self.kvp:g} kV, {self.mas:.4g} mAs)"


def derived_uid(*parts: object) -> str:
    """Return a UID under 2.25 that is a digest of ``parts``.

    Parameters
    ----------
    *parts : object
        What the UID stands for.

    Returns
    -------
    str

    Examples
    --------
    >>> derived_uid("a", 1) == derived_uid("a", 1) != derived_uid("a", 2)
    True
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def own_uid(uid: str) -> str:
    """Return a UID as it is, and a new one for what stands in its place but is none.

    A name, a date or a script in a UID's place is not to reach what is written; the new UID is
    the same for the same text. "" stays.

    Examples
    --------
    >>> own_uid("1.2.840.10008"), own_uid("")
    ('1.2.840.10008', '')
    >>> own_uid("Doe^Jane").startswith("2.25."), own_uid("Doe^Jane") == own_uid("Doe^Jane")
    (True, True)
    """
    whole = len(uid) <= _LONGEST_UID and _UID.fullmatch(uid)
    return uid if whole or not uid else derived_uid("in place of", uid)


def quanta_from_tube(geometry: HelicalScan, exposures: np.ndarray, *, kvp: float) -> np.ndarray:
    """Quanta (views, cols), float32, of a scan that does not state them, from the tube model.

    ``exposures`` (views,) are in mAs per rotation, ``kvp`` in kV.
    """
    from ..tube import photons_per_column

    fan = geometry.fan([0.0, 2 * np.pi / geometry.views_per_rotation])
    column = photons_per_column(mas=1.0, kvp=kvp, geometry=fan, slice_thickness=geometry.row_width)
    return (np.asarray(exposures)[:, None] * column).astype(np.float32)
