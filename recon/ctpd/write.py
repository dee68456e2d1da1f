"""Writing a scan as DICOM-CT-PD version 3, without identity.

Every element is made here from a short list of technical ones; nothing is copied from a source and
then stripped. UIDs are digests, so that the same scan gives the same bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..dicom.elements import PIXEL_DATA, tag_name
from ..dicom.folder import is_companion
from ..errors import DataError
from ..scan.helix import SHIFTS
from ..scan.noisy_views import value_range
from ..scan.scan import CORRECTIONS, Scan, derived_uid
from ..storage import recorded, run_folder, write_json
from .tags import CREATORS, FIELDS, PRIVATE_GROUPS, V3

__all__ = ["write_scan"]

_THREADS = 4
_RAW_DATA_STORAGE = "1.2.840.10008.5.1.4.1.1.66"
_IMPLICIT = "1.2.840.10008.1.2"
_IMPLEMENTATION = derived_uid("ctxai", "DICOM-CT-PD")
_LARGEST = 65535
_AS_IN_GEOMETRY = (
    "col_pitch", "row_pitch", "n_rows", "n_cols", "src_iso", "src_det", "focal_spot",
    "views_per_rotation",
)  # fmt: skip
# required to be there, allowed to be empty
_EMPTY = (
    0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00100010, 0x00100020, 0x00100030, 0x00100040,
    0x00200010, 0x00200011,
)  # fmt: skip
_OTHERS = {
    0x00080005: "ISO_IR 192",
    0x00080008: "DERIVED\\SECONDARY",
    0x00080016: _RAW_DATA_STORAGE,
    0x00080060: "CT",
    0x00120062: "YES",
    0x00120063: "Written from a list of technical attributes",
    0x00280004: "MONOCHROME2",
}


def write_scan(
    scan: Scan,
    folder: str | Path,
    *,
    progress: str = "",
    record: Callable[[], Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Write a scan as DICOM-CT-PD version 3, one file a view, in scan order.

    Line integrals are stored in 16 bits with one slope and intercept for the series: those of the
    source where the rays are unchanged (nothing is lost then), else such that the whole range fits.

    Parameters
    ----------
    scan : Scan
        Its views are passed through in pieces.
    folder : str or Path
        Made if need be; must not hold any file. It appears whole or not at all.
    progress : str, optional
        Name of a progress bar on stderr; none by default.
    record : callable, optional
        What run.json is to say, asked for when all views are written. Then the folder may hold an
        earlier run, which is replaced, and files that cannot be views.

    Returns
    -------
    list of Path
        The files, view-000001.dcm and so on.

    Raises
    ------
    DataError
        If the folder holds files already, or line integrals are not finite.

    See Also
    --------
    recon.ctpd.read.read_scan : Reads what is written here; has an example.
    """
    folder = Path(folder).expanduser()
    if folder.is_dir() and any(_in_the_way(folder, replace=record is not None)):
        raise DataError(
            "folder is not empty",
            where=folder,
            expected="a new folder for the series",
            remedy="views of two scans must not mix",
        )
    with run_folder(folder) as beside:
        names = _write_views(scan, beside, progress)
        if record is not None:
            write_json(beside / "run.json", record())
    return [folder / name for name in names]


def _in_the_way(folder: Path, *, replace: bool) -> Iterator[Path]:
    """What a series must not be written beside: anything, or what may be views of no run."""
    mine = recorded(folder) if replace else set()
    for item in folder.iterdir():
        if not replace or (item.is_file() and item.name not in mine and not is_companion(item)):
            yield item


def _write_views(scan: Scan, folder: Path, progress: str) -> list[str]:
    """Write the files of a series into a folder that is there; their names."""
    slope, intercept = _scale(scan)
    series = derived_uid("written", scan.series_uid, f"{scan.mas:.9g}", len(scan))
    study = derived_uid("study", scan.study_uid or scan.series_uid)
    common = _common(scan, series, study, slope, intercept)
    names = [f"view-{k + 1:06d}.dcm" for k in range(len(scan))]
    with ThreadPoolExecutor(_THREADS) as pool:
        pieces, hidden = list(scan.chunks()), not progress
        for chunk in tqdm(pieces, progress, unit="chunk", leave=False, disable=hidden, delay=2):
            raw = _stored(scan.line_integrals[chunk], float(slope), float(intercept), chunk)

            def write(job: tuple[int, np.ndarray]) -> None:
                view, pixels = job
                content = _file(derived_uid("instance", series, view), view, scan, common, pixels)
                (folder / names[view]).write_bytes(content)

            list(pool.map(write, zip(range(chunk.start, chunk.stop), raw)))
    return names


def _scale(scan: Scan) -> tuple[str, str]:
    """Slope and intercept as the decimal strings of the files."""
    own = getattr(scan.line_integrals, "scale", None)
    if own is not None:
        return _decimal(own[0]), _decimal(own[1])
    low, high = value_range(scan.line_integrals)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError("line integrals are not finite", got=f"{low} to {high}")
    # rounded outward: both ends of the range stay inside
    intercept = math.floor(low * 1e6) / 1e6
    slope = math.ceil(max(high - intercept, 1e-3) / _LARGEST * 1e12) / 1e12
    return _decimal(slope), _decimal(intercept)


def _stored(p: np.ndarray, slope: float, intercept: float, chunk: slice) -> np.ndarray:
    if not np.isfinite(p).all():
        raise DataError("line integrals are not finite", where=f"views {chunk.start} and on")
    raw = np.rint((np.asarray(p, dtype=np.float64) - intercept) / slope)
    # as (views, cols, rows): a frame of Siemens is (columns, rows)
    return np.clip(raw, 0, _LARGEST).astype("<u2").swapaxes(1, 2)


def _common(scan: Scan, series: str, study: str, slope: str, intercept: str) -> dict[int, bytes]:
    """The encoded elements that all views share."""
    g = scan.geometry
    column, row = (g.n_cols + 1) / 2 - g.col_offset, (g.n_rows + 1) / 2 - g.row_offset
    if scan.vendor == "GE MEDICAL SYSTEMS":  # counts from the last column
        column = g.n_cols + 1 - column
    values: dict[str, Any] = {
        "manufacturer": scan.vendor or "ctxai",
        "kvp": _decimal(scan.kvp),
        "fov": None if scan.fov is None else _decimal(scan.fov),
        "patient_position": g.patient_position or None,
        "pitch": g.pitch if math.isfinite(g.pitch) else None,
        "ctdi_vol": scan.ctdi_vol,
        "study": study,
        "series": series,
        "samples": 1,
        "rows": g.n_cols,
        "columns": g.n_rows,
        "bits_allocated": 16,
        "bits_stored": 16,
        "high_bit": 15,
        "signed": 0,
        "intercept": intercept,
        "slope": slope,
        "shape": "CYLINDRICAL",
        "central": (column, row),
        **{name: getattr(g, name) for name in _AS_IN_GEOMETRY},
        "spectra": 1,
        "spectrum": 1,
        "scan_type": "HELICAL",
        "beam": "FANBEAM",
        "log": "YES",
        "mu_water": _decimal(scan.mu_water),
        **{name: "YES" if name in scan.corrections else "NO" for name in CORRECTIONS},
    }
    if scan.rotation_time is not None:
        values["rotation_time"] = str(max(round(scan.rotation_time * 1e3), 1))
        values["rotation_time_us"] = _decimal(scan.rotation_time * 1e6)
    found = dict(_element(name, value) for name, value in values.items() if value is not None)
    creator = next(name for name, version in CREATORS.items() if version == V3)
    for group in PRIVATE_GROUPS:
        found[group << 16 | 0x10] = _encoded(group << 16 | 0x10, _text(creator))
    for tag, text in _OTHERS.items():
        found[tag] = _encoded(tag, _text(text, pad=b"\0" if tag == 0x00080016 else b" "))
    for tag in _EMPTY:
        found[tag] = _encoded(tag, b"")
    return found


def _file(uid: str, view: int, scan: Scan, common: dict[int, bytes], pixels: np.ndarray) -> bytes:
    g = scan.geometry
    mas = float(scan.exposures[view])
    values: dict[str, Any] = {
        "sop_instance": uid,
        "instance": str(view + 1),
        "angle": math.remainder(float(g.angles[view]), 2 * math.pi),
        "z": g.z[view],
        **{name: getattr(g, name)[view] for name in SHIFTS},
        "photons": scan.photons[view],
    }
    if scan.rotation_time is not None:
        values["timestamp"] = view * scan.rotation_time * 1e3 / g.views_per_rotation
    if math.isfinite(mas) and scan.rotation_time is not None:
        values["current"] = str(max(round(mas / scan.rotation_time), 1))
        values["current_ua"] = _decimal(mas / scan.rotation_time * 1e3)
    elif math.isfinite(mas):
        values["exposure_uas"] = str(max(round(mas * 1e3), 1))
    elements = {**common, **dict(_element(name, value) for name, value in values.items())}
    body = b"".join(elements[tag] for tag in sorted(elements))
    return _meta(uid) + body + _encoded(PIXEL_DATA, pixels.tobytes())


def _element(name: str, value: Any) -> tuple[int, bytes]:
    """Tag and encoded element of a value under the toolbox's name for it."""
    field = FIELDS[name]
    codes = {"US": "H", "FL": "f", "FD": "d"}
    if field.vr in codes:
        numbers = np.atleast_1d(np.asarray(value)).tolist()
        content = struct.pack(f"<{len(numbers)}{codes[field.vr]}", *numbers)
    else:
        content = _text(value, pad=b"\0" if field.vr == "UI" else b" ")
    return field.tag, _encoded(field.tag, content)


def _encoded(tag: int, content: bytes) -> bytes:
    if len(content) % 2:
        raise DataError("value of odd length", where=tag_name(tag))
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(content)) + content


def _text(value: str, pad: bytes = b" ") -> bytes:
    content = value.encode("utf-8")
    return content + pad if len(content) % 2 else content


def _decimal(value: float) -> str:
    """Write a number in the 16 characters of a decimal string, exactly where that is possible."""
    exact = repr(float(value))
    return exact if len(exact) <= 16 else f"{value:.9g}"


def _meta(uid: str) -> bytes:
    """Preamble and file meta information, which are in explicit VR."""

    def element(number: int, vr: bytes, content: bytes) -> bytes:
        content += b"\0" * (len(content) % 2)
        long = vr == b"OB"
        length = struct.pack("<HI" if long else "<H", *((0,) if long else ()), len(content))
        return struct.pack("<HH", 2, number) + vr + length + content

    body = b"".join(
        (
            element(0x0001, b"OB", b"\0\1"),
            element(0x0002, b"UI", _RAW_DATA_STORAGE.encode()),
            element(0x0003, b"UI", uid.encode()),
            element(0x0010, b"UI", _IMPLICIT.encode()),
            element(0x0012, b"UI", _IMPLEMENTATION.encode()),
        )
    )
    return bytes(128) + b"DICM" + element(0x0000, b"UL", struct.pack("<I", len(body))) + body
