"""The gate of a projection series: what every file, and all files together, must satisfy.

A view that is broken, foreign or of a kind that is not supported is refused here, by file, tag,
expected and found value, before any pixel is read. Identity is compared, and never repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..dicom.alike import BINARY, DECIMAL, alike
from ..errors import DataError
from .tags import V3, View

__all__ = ["check_focal_spot", "check_frame", "check_same_series", "check_unique"]

_SAME_IN_ALL = (
    "patient", "study", "series", "manufacturer", "kvp", "rows", "columns", "samples",
    "frames", "frame_groups", "bits_allocated", "bits_stored", "high_bit", "signed",
    "n_rows", "n_cols", "col_pitch",
    "row_pitch", "shape", "src_iso", "src_det", "central", "focal_spot", "views_per_rotation",
    "scan_type", "beam", "log", "spectra", "fov", "pitch", "patient_position", "rotation_time",
    "mu_water", "old_mu_water",
)  # fmt: skip
_SERIES = {"patient": "patients", "study": "studies", "series": "series"}
_PERIODS = (1, 2, 4)  # focal-spot states that follow each other
_SAME_SHIFT = np.array([3e-5, 0.02, 0.02])  # rad, mm, mm: a real spot jitters by some µm


def check_frame(view: View) -> bool:
    """Refuse what cannot be read as one view of line integrals.

    Returns
    -------
    bool
        Whether the file holds (columns, rows), to be transposed: as Siemens' files do, and what is
        taken of a square detector.
    """
    if view.raw("frame_groups") is not None or view.number_or("frames", 1) != 1:
        raise view.refusal(
            "frames", "multi-frame files are not supported", "one view a file",
            view.text("frames", optional=True) or "functional groups", "split the file into views",
        )  # fmt: skip
    for name, what, accepted in (
        ("shape", "detector shape is not supported", ("CYLINDRICAL",)),
        ("scan_type", "type of scan is not supported", ("HELICAL",)),
        ("beam", "projection geometry is not supported", ("FANBEAM", "CONEBEAM", "")),
        ("log", "the values are no line integrals", ("YES",)),
        ("focal_spot", "unknown flying focal spot", ("FFSNONE", "FFSZ", "FFSXY", "FFSXYZ")),
    ):
        found = view.text(name, optional="" in accepted).upper()
        if found not in accepted:
            remedy = "the logarithm has not been taken" if name == "log" else ""
            raise view.refusal(name, what, " or ".join(filter(None, accepted)), found[:32], remedy)
    if view.number_or("spectra", 1) != 1:
        raise view.refusal(
            "spectra", "several spectra are not supported", 1, f"{view.number('spectra'):g}"
        )
    for name, expected in (
        ("samples", 1), ("bits_allocated", 16), ("bits_stored", 16), ("high_bit", 15),
        ("signed", 0),
    ):  # fmt: skip
        if view.number(name) != expected:
            raise view.refusal(
                name, "pixels are not unsigned 16-bit", expected, f"{view.number(name):g}"
            )
    frame = int(view.number("rows")), int(view.number("columns"))
    detector = int(view.number("n_rows")), int(view.number("n_cols"))
    if sorted(frame) != sorted(detector):
        raise view.refusal(
            "rows",
            "the frame does not fit the detector",
            f"{detector[1]} × {detector[0]} (7029,1010 and 7029,1011)",
            f"{frame[0]} × {frame[1]}",
        )
    if detector[0] > detector[1]:
        raise view.refusal(
            "n_rows", "the detector is higher than wide", "fewer rows than columns",
            f"{detector[0]} rows, {detector[1]} columns", "the two tags may be swapped",
        )  # fmt: skip
    offset, length = view.header.pixels
    bytes_expected = 2 * frame[0] * frame[1]
    if length != bytes_expected:
        raise DataError(
            "pixel data do not fit the frame" if offset else "pixel data are missing",
            where=f"{view.path}, PixelData (7FE0,0010)",
            expected=f"{frame[0]} × {frame[1]} values of 2 bytes, {bytes_expected} bytes",
            got=f"{length} bytes",
            remedy="fetch the file again",
        )
    _check_geometry(view)
    return frame == (detector[1], detector[0])


def _check_geometry(view: View) -> None:
    src_iso, src_det = view.number("src_iso"), view.number("src_det")
    if src_det <= src_iso:
        raise view.refusal(
            "src_det", "the detector is not behind the axis", f"more than {src_iso:g} mm",
            f"{src_det:g} mm",
        )  # fmt: skip
    column, row = view.numbers("central")
    n_rows, n_cols = view.number("n_rows"), view.number("n_cols")
    if not (1 <= column <= n_cols and 1 <= row <= n_rows):
        raise view.refusal(
            "central",
            "the central element is not on the detector",
            f"column 1 to {n_cols:g}, row 1 to {n_rows:g}",
            f"({column:g}, {row:g})",
        )
    fan = n_cols * view.number("col_pitch") / src_det
    if fan >= math.pi:
        raise view.refusal(
            "col_pitch", "the fan is impossibly wide", "below π rad", f"{fan:.3g} rad"
        )
    view.number("mu_water" if view.dialect == V3 else "old_mu_water")
    view.number("kvp")
    view.number("views_per_rotation")
    for name in ("sop_instance", "series"):
        view.text(name)


def check_same_series(first: View, view: View) -> None:
    """Refuse a view that is not of the first one's patient, series, scanner and frame."""
    if view.dialect != first.dialect:
        raise DataError(
            "old and new DICOM-CT-PD files are mixed",
            where=view.path,
            expected=f"as in {first.path}",
            remedy="put each series into a folder of its own",
        )
    for name in _SAME_IN_ALL:
        ours, theirs = first.raw(name), view.raw(name)
        if ours == theirs or _agree(first, view, name):
            continue
        if name in _SERIES:
            raise DataError(
                f"the files are of two {_SERIES[name]}",
                where=f"{view.path}, {view.field(name)}",
                expected=f"as in {first.path}",
                got="another one" if theirs else "nothing",
                remedy="put each series into a folder of its own",
            )
        raise view.refusal(
            name,
            "the views differ",
            f"{_shown(first, name)} as in {first.path}",
            _shown(view, name),
            "the view may be of another scan",
        )
    if view.header.pixels[1] != first.header.pixels[1]:
        check_frame(view)


def _agree(first: View, view: View, name: str) -> bool:
    """Whether two values that are written differently are the same."""
    ours, theirs = first.raw(name), view.raw(name)
    if ours is None or theirs is None:
        return False
    if view.field(name).kind == "text":
        return first.text(name, optional=True) == view.text(name, optional=True)
    rounding = DECIMAL if view.field(name).vr in ("DS", "IS") else BINARY
    return alike(first.numbers(name), view.numbers(name), rounding=rounding)


def _shown(view: View, name: str) -> str:
    if view.raw(name) is None:
        return "nothing"
    if view.field(name).kind == "text":
        return view.text(name, optional=True)[:32]
    return ", ".join(f"{value:g}" for value in view.numbers(name))


def check_unique(uids: Sequence[str], paths: Sequence[str]) -> None:
    """Refuse two files with one SOP instance UID."""
    seen: dict[str, str] = {}
    for uid, path in zip(uids, paths):
        if uid in seen:
            raise DataError(
                "a view is there twice",
                where=f"{path}, SOPInstanceUID (0008,0018)",
                expected="a UID of its own",
                got=f"that of {seen[uid]}",
                remedy="remove the duplicate",
            )
        seen[uid] = path


def check_focal_spot(shifts: np.ndarray, mode: str, paths: Sequence[str]) -> np.ndarray:
    """Refuse focal-spot shifts that do not repeat in the way the mode says.

    ``shifts`` (views, 3) are Δφ [rad], Δz [mm], Δρ [mm] in scan order, and ``paths`` their files.
    In the mode "FFSNONE" they are the same in all views; in the others they repeat after two or
    four views. Returns the shifts without the spot's jitter: of each state its median.
    """
    views = len(shifts)
    breaks = []  # the first view that breaks each period
    for period in (1,) if mode == "FFSNONE" else _PERIODS:
        if views <= period:
            return shifts
        settled = np.empty_like(shifts)
        for state in range(period):
            settled[state::period] = np.median(shifts[state::period], axis=0)
        wrong = (np.abs(shifts - settled) > _SAME_SHIFT).any(axis=1)
        if not wrong.any():
            break
        breaks.append(int(np.argmax(wrong)))
    else:
        k = max(breaks)
        raise DataError(
            "the focal spot's shifts do not repeat",
            where=f"{paths[k]}, (7033,100B), (7033,100C), (7033,100D)",
            expected="the same in every view" if mode == "FFSNONE" else f"the pattern of {mode}",
            got="Δφ {:.4g} rad, Δz {:.4g} mm, Δρ {:.4g} mm".format(*shifts[k]),
            remedy="a view may be missing, or of another scan",
        )
    if mode in ("FFSZ", "FFSXYZ") and views >= 4 and np.ptp(settled[:, 1]) < _SAME_SHIFT[1]:
        raise DataError(
            "the focal spot does not fly",
            where=f"{paths[0]}, SourceAxialPositionShift",
            expected=f"shifts in z for {mode}",
            got=f"{shifts[0, 1]:g} mm in every view",
        )
    return settled
