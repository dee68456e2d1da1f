"""How the slices of a projection scan were acquired, in the attributes of DICOM.

The pixels stay in the axes of the scanner (x right, y down, z from the table to the gantry);
Image Position and Image Orientation say where these point in the patient (`patient_axes`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ..geometry import ImageGrid
from ..scan.scan import Scan, own_uid
from .derived import decimal
from .patient_axes import patient_axes

__all__ = ["Acquisition", "scan_acquisition"]

_ROUNDING = 5e-3  # of a tube current that is written in whole mA


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """What a series that is reconstructed from a scan says of that scan.

    Places are those in the patient [mm], (slices, 3) each.
    """

    patient_position: str  # "HFS", "FFS", …
    orientation: tuple[float, ...]  # direction of the rows and of the columns, 6 numbers
    positions: np.ndarray  # centre of each slice's first pixel
    isocentres: np.ndarray  # where the scanner's axis lies
    targets: np.ndarray  # where the middle of the image lies
    study: str  # what the study's UID is made of
    frame: str  # what that of the frame of reference is made of
    source_series: str  # UID of the projection series
    attributes: dict[str, Any]  # keywords of DICOM and their values, the same for all slices

    def put(self, ds: Dataset, number: int) -> None:
        """Set the attributes of one slice, counted from 0."""
        for keyword, value in self.attributes.items():
            setattr(ds, keyword, value)
        ds.SliceLocation = decimal(self.isocentres[number][2])
        ds.DataCollectionCenterPatient = self.isocentres[number].tolist()
        ds.ReconstructionTargetCenterPatient = self.targets[number].tolist()
        series, raw = Dataset(), Dataset()
        series.SeriesInstanceUID = own_uid(self.source_series)
        raw.ReferencedSeriesSequence = [series]
        ds.ReferencedRawDataSequence = [raw]


def scan_acquisition(
    scan: Scan, *, grid: ImageGrid, z: Sequence[float] | np.ndarray, source: Scan | None = None
) -> Acquisition:
    """Return the acquisition of slices of a scan.

    Parameters
    ----------
    scan : Scan
        Gives distances, movement and exposure.
    grid : ImageGrid
        Pixels of the slices, in the scanner's axes.
    z : array, shape (slices,)
        Height of the slices on the scanner's axis [mm].
    source : Scan, optional
        The measured scan, where ``scan`` was simulated from it: images of both share study and
        frame of reference.

    Returns
    -------
    Acquisition
        What the headers of the slices state.
    """
    g = scan.geometry
    source = scan if source is None else source
    turned = patient_axes(g.patient_position)
    heights = np.asarray(z, dtype=np.float64)

    def in_patient(x: float, y: float) -> np.ndarray:
        points = np.stack([np.full(len(heights), x), np.full(len(heights), y), heights], axis=1)
        return points @ turned.T + 0.0

    rows, cols = grid.shape
    known = math.isfinite(scan.mas)
    effective = f"; effective exposure {scan.effective_mas:.4g} mAs" if known else ""
    attributes: dict[str, Any] = {
        "DerivationDescription": (f"Reconstructed from projections; no diagnostic use{effective}"),
        "ScanOptions": "HELICAL",
        "DistanceSourceToDetector": decimal(g.src_det),
        "DistanceSourceToPatient": decimal(g.src_iso),
        "GantryDetectorTilt": "0",
        "RotationDirection": "CC" if g.angles[-1] >= g.angles[0] else "CW",
        "ReconstructionDiameter": decimal(max(rows * grid.spacing[0], cols * grid.spacing[1])),
        "SingleCollimationWidth": g.row_width,
        "TotalCollimationWidth": g.collimation,
        "TableFeedPerRotation": abs(g.feed),
        "SpiralPitchFactor": g.pitch,
    }
    if scan.fov is not None:
        attributes["DataCollectionDiameter"] = decimal(scan.fov)
    if scan.ctdi_vol is not None:
        attributes["CTDIvol"] = float(scan.ctdi_vol)
    if len(heights) > 1:
        attributes["SpacingBetweenSlices"] = decimal(float(np.abs(np.diff(heights)).mean()))
    if scan.rotation_time is not None:
        attributes["RevolutionTime"] = scan.rotation_time
        attributes["TableSpeed"] = abs(g.feed) / scan.rotation_time
        attributes["ExposureTime"] = max(round(scan.rotation_time * 1e3), 1)
        attributes["ExposureTimeInuS"] = decimal(scan.rotation_time * 1e6)
    if known and scan.rotation_time is not None:
        current = scan.mas / scan.rotation_time
        attributes["XRayTubeCurrentInuA"] = decimal(current * 1e3)
        if abs(round(current) - current) <= _ROUNDING * current:
            attributes["XRayTubeCurrent"] = round(current)
    return Acquisition(
        patient_position=g.patient_position or "HFS",
        orientation=tuple(turned.T[:2].ravel().tolist()),
        positions=in_patient(float(grid.x[0]), float(grid.y[0])),
        isocentres=in_patient(0.0, 0.0),
        targets=in_patient(*grid.centre),
        study=source.study_uid or source.series_uid,
        frame=source.series_uid,
        source_series=source.series_uid,
        attributes=attributes,
    )
