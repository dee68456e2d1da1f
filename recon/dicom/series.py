"""The slices of one series among the files of a folder: found, chosen, compared and ordered."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..volumes.files import is_volume
from .alike import alike
from .folder import counted, list_files
from .slice import SliceHeader, read_slice_header

__all__ = ["read_series"]

_ONE_PLACE = 1e-3  # mm
_GAP = 1.5  # of the usual distance: from there on a slice is missing
_LISTED = 8  # series that a message names


def read_series(path: Path, series: str) -> tuple[list[SliceHeader], list[str]]:
    """Read the headers of the slices of a folder, or of one file, from feet to head.

    Parameters
    ----------
    path : Path
        Folder or file.
    series : str
        Number, UID or description of the series that is wanted; "" where there is one.

    Returns
    -------
    list of SliceHeader, list of str
        The slices, and what is to be said of the folder.

    Raises
    ------
    DataError
        If there is no slice, a header is broken or out of reason, or files of several series or of
        different matrices lie together.
    """
    if not (path.is_dir() or path.is_file()):
        raise DataError("neither a file nor a folder", where=path, expected="DICOM files")
    found = [Path(file) for file in list_files(path)] if path.is_dir() else [path]
    slices: list[SliceHeader] = []
    kinds: list[str] = []
    for file in found:
        one = read_slice_header(file, must=file == path)
        if isinstance(one, SliceHeader):
            slices.append(one)
        elif one is not None:
            kinds.append(one)
    if not slices:
        raise _nothing(path, found, kinds)
    slices = _chosen(slices, series, path)
    _require_alike(slices, path)
    remarks = [f"passed over what is no slice: {counted(kinds)}"] if kinds else []
    ordered = _ordered(slices, path)
    remarks += _gaps(ordered)
    return _with_thickness(ordered, remarks), remarks


def _nothing(path: Path, found: Sequence[Path], kinds: Sequence[str]) -> DataError:
    volumes = [file.name for file in found if is_volume(file)]
    folders = sum(item.is_dir() for item in path.iterdir())
    got = None
    if volumes:
        got = f"volumes: {', '.join(volumes[:3])}"
    elif kinds or folders:
        got = ", ".join(filter(None, [counted(kinds), f"subfolder ({folders})" if folders else ""]))
    return DataError(
        "folder without DICOM images",
        where=path,
        expected="CT Image Storage",
        got=got,
        remedy="name the volume file itself"
        if volumes
        else "name the folder that holds the files themselves; subfolders are not searched",
    )


def _chosen(slices: list[SliceHeader], wanted: str, path: Path) -> list[SliceHeader]:
    """The slices of the series that is wanted, or of the only one."""
    groups: dict[str, list[SliceHeader]] = {}
    for one in slices:
        groups.setdefault(one.series, []).append(one)
    if not wanted and len(groups) == 1:
        return slices
    asked = " ".join(wanted.split())
    for name in (lambda one: one.series, _number, lambda one: one.description.casefold()):
        fitting = [group for group in groups.values() if name(group[0]) == asked.casefold()]
        if asked and fitting:
            break
    if asked and len(fitting) == 1:
        return fitting[0]
    listed = [
        f"{_number(group[0]) or 'without number'}"
        f"{f' {one.description!r}' if (one := group[0]).description else ''} "
        f"({uid}, {len(group)} slice{'s' if len(group) > 1 else ''}, from {one.file.name})"
        for uid, group in list(groups.items())[:_LISTED]
    ]
    raise DataError(
        f"no series, or not one, is {wanted[:64]!r}"
        if wanted
        else "the files are not of one series",
        where=f"{path}, Series Instance UID (0020,000E)",
        expected="one series, or the number, UID or description of one",
        got=f"{len(groups)} series: {', '.join(listed)}" + (" …" if len(groups) > _LISTED else ""),
        remedy="choose one (--series), or put each series into a folder of its own",
    )


def _number(one: SliceHeader) -> str:
    """Number of a series; "" where there is something else in its place."""
    return one.number if re.fullmatch(r"-?\d{1,12}", one.number) else ""


def _require_alike(slices: Sequence[SliceHeader], path: Path) -> None:
    """Refuse slices that differ in more than the rounding of their numbers."""
    first, voltage = slices[0], next((one for one in slices if one.kvp), slices[0])
    for other in slices[1:]:
        for tag, before, ours, theirs, least in (
            ("rows and columns", first, first.matrix, other.matrix, 0.0),
            ("Pixel Spacing (0028,0030)", first, first.spacing, other.spacing, 0.0),
            ("Image Orientation (0020,0037)", first, first.orientation, other.orientation, 1.0),
            (
                "KVP (0018,0060)",
                voltage,
                (voltage.kvp or 0.0,),
                (other.kvp or voltage.kvp or 0.0,),
                0.0,
            ),
        ):
            if not alike(ours, theirs, least=least):
                raise DataError(
                    "the files are not of one series: "
                    f"{before.file.name} and {other.file.name} differ in {tag}",
                    where=path,
                    got=f"{ours} and {theirs}",
                    remedy="put each series into a folder of its own",
                )


def _height(one: SliceHeader, normal: np.ndarray) -> float:
    return float(one.position @ normal)


def _ordered(slices: Sequence[SliceHeader], path: Path) -> list[SliceHeader]:
    """Slices along their normal, each at a place of its own."""
    orientation = slices[0].orientation
    normal = np.cross(orientation[:3], orientation[3:])
    ordered = sorted(slices, key=lambda one: _height(one, normal))
    for one, following in pairwise(ordered):
        if _height(following, normal) - _height(one, normal) < _ONE_PLACE:
            raise DataError(
                f"two slices at one place: {one.file.name} and {following.file.name}", where=path
            )
    return ordered


def _gaps(ordered: Sequence[SliceHeader]) -> list[str]:
    """What is to be said of slices that are missing between others."""
    if len(ordered) < 3:
        return []
    places = np.stack([one.position for one in ordered])
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > _GAP * usual)
    if not len(gaps):
        return []
    where = [f"{places[k, 2]:.1f} and {places[k + 1, 2]:.1f} mm" for k in gaps[:3]]
    lost = int(np.rint(steps[gaps] / usual - 1).sum())
    return [
        f"{lost} slice{'s' if lost > 1 else ''} of {usual:.4g} mm may be missing: between z "
        f"{', '.join(where)}{' …' if len(gaps) > 3 else ''}"
    ]


def _with_thickness(slices: list[SliceHeader], remarks: list[str]) -> list[SliceHeader]:
    """Slices whose thickness is that of their distance where they do not state it."""
    silent = sum(math.isnan(one.thickness) for one in slices)
    if not silent:
        return slices
    distance = slices[0].distance
    if len(slices) > 1:
        places = np.stack([one.position for one in slices])
        distance = float(np.median(np.linalg.norm(np.diff(places, axis=0), axis=1)))
    if not distance > 0.0:
        remarks.append("the slice does not state its thickness (0018,0050)")
        return slices
    remarks.append(
        f"{silent} of {len(slices)} slices do not state their thickness (0018,0050): "
        f"{distance:.4g} mm, their distance, is taken for it"
    )
    return [
        replace(one, thickness=distance) if math.isnan(one.thickness) else one for one in slices
    ]
