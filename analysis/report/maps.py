"""Differences and standard deviations of a run as DICOM Parametric Map files.

A CT image holds whole HU of a body; a difference or a spread is none. A parametric map (DICOM
PS3.3, A.75) holds floating-point numbers with a stated meaning and unit, in the frame of reference
of the images that it is of. The files are made by highdicom from one of the exported slices, which
carries no identity: nothing of a patient's file is copied.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from recon import DataError, derived_uid
from recon.storage import versions

from ..figures.images import sd_hu
from ..runs.store import Study

__all__ = ["DIFFERENCES", "map_file", "maps", "require_highdicom"]

_LESS = {"x": "y", "fx": "y", "ybar": "y", "rescanned": "x", "xprime": "fx"}
DIFFERENCES = ("change", "signal", "output_signal", "hiding")
"""Arrays that are differences already."""


def require_highdicom() -> Any:
    """The module, or a `DataError` that says how to get it."""
    try:
        import highdicom
    except ImportError:
        raise DataError(
            "parametric maps need the package highdicom", where="--dicom",
            remedy="pip install highdicom",
        ) from None  # fmt: skip
    return highdicom


def maps(study: Study) -> Iterator[tuple[str, str, np.ndarray]]:
    """All maps of a study on the patch's pixels: name, kind and frames (n, H, W) [HU].

    The kind is "difference" or "sd". A map of samples has a frame a sample, and where each was
    scanned several times, a frame a scan, those of one sample following each other.
    """
    arrays, shape = study.arrays, tuple(study.facts["patch"]["shape"])
    for name, array in arrays.items():
        if array.ndim < 2 or array.shape[-2:] != shape or name in ("slice", "y"):
            continue
        flat = array.reshape(-1, *shape)
        if name in DIFFERENCES:
            yield name, "difference", flat
            continue
        less = "fx" if name.endswith("_output") else "x" if "/" in name else _LESS.get(name, "")
        if less in arrays and not (name == "ybar" and "change" in arrays):
            yield f"{name}-minus-{less}", "difference", flat - arrays[less]
        if len(flat) > 1:
            yield f"{name}-sd", "sd", sd_hu(flat)[None]


def map_file(
    frames: np.ndarray, source: Any, *, name: str, kind: str, made: datetime.datetime, uid_seed: str
) -> bytes:
    """The bytes of a Parametric Map file.

    Parameters
    ----------
    frames : ndarray, (n, H, W)
        [HU].
    source : pydicom Dataset
        An exported slice on the same pixels: it gives place, study and frame of reference.
    name : str
        What the map is.
    kind : {"difference", "sd"}
    made : datetime
        When the numbers were made.
    uid_seed : str
        Enters the UIDs, beside the numbers: the same map of the same run has the same ones.
    """
    highdicom = require_highdicom()
    from pydicom.sr.codedict import codes

    # one place, and a channel a frame: maps of several samples lie on each other
    data = np.ascontiguousarray(np.moveaxis(frames, 0, -1)[None], np.float32)
    content = hashlib.sha256(data.tobytes()).hexdigest()

    def uid(what: str) -> str:
        return derived_uid(what, uid_seed, name, content, made.isoformat())

    place = highdicom.PlanePositionSequence(
        highdicom.CoordinateSystemNames.PATIENT, source.ImagePositionPatient
    )
    largest = float(max(1.0, np.abs(data).max()))
    meanings = [
        [
            highdicom.pm.RealWorldValueMapping(
                lut_label=f"{number}", lut_explanation=f"{kind} {number} [HU]",
                unit=codes.UCUM.HounsfieldUnit, value_range=(-largest, largest), slope=1.0,
                intercept=0.0,
            )
        ]
        for number in range(1, len(frames) + 1)
    ]  # fmt: skip
    contrast = "STD_DEVIATION" if kind == "sd" else "SUBTRACTION"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of values that DICOM allows to be empty
        ds = highdicom.pm.ParametricMap(
            [source], data, uid("series"), 1,
            uid("instance"), 1, "ctxai", "ctxai", versions()["ctxai"],
            "0", False, meanings,
            window_center=largest / 2 if kind == "sd" else 0.0,
            window_width=largest if kind == "sd" else 2 * largest,
            content_label="MAP", content_description=name[:64], derived_pixel_contrast=contrast,
            pixel_measures=highdicom.PixelMeasuresSequence(
                source.PixelSpacing, source.SliceThickness
            ),
            plane_orientation=highdicom.PlaneOrientationSequence(
                highdicom.CoordinateSystemNames.PATIENT, source.ImageOrientationPatient
            ),
            plane_positions=[place],
        )  # fmt: skip
    _date(ds, made)
    ds.SeriesDescription = name[:64]
    ds.Laterality = ""  # required where a part of the body may be paired, and not known here
    organization = uid("dimensions")
    ds.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in ds.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _date(ds: Any, made: datetime.datetime) -> None:
    """Date a file to when its numbers were made, not to when it was written."""
    day, time = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    for what in ("Content", "InstanceCreation", "Series"):
        if f"{what}Date" in ds:
            setattr(ds, f"{what}Date", day)
        if f"{what}Time" in ds:
            setattr(ds, f"{what}Time", time)
    for equipment in ds.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = day + time
