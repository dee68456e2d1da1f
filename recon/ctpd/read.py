"""Reading a DICOM-CT-PD series: headers at once, pixels when they are asked for."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..dicom.elements import read_header, require_native
from ..dicom.folder import counted, is_companion, list_files
from ..errors import DataError
from ..scan.helix import PATIENT_POSITIONS, SHIFTS, HelicalScan
from ..scan.scan import CORRECTIONS, Scan, own_uid, quanta_from_tube
from .gate import check_focal_spot, check_frame, check_same_series, check_unique
from .order import check_steps, scan_order
from .pixels import PixelWatch
from .tags import OLD, WANTED, View, no_view
from .view_files import ViewFiles

__all__ = ["read_scan"]

_THREADS = 4  # they wait for the disk; the walk through a header takes 50 µs
_FILES_AT_ONCE = 128
_EXPOSURE_TOLERANCE = 0.05
_ASSUMED_MAS = 200.0  # of the quanta that noise is compared with, where nothing is stated
_PER_VIEW = ("angle", "z", *SHIFTS, "slope", "intercept")


def read_scan(folder: str | Path, *, progress: str = "") -> Scan:
    """Open a DICOM-CT-PD series, version 3 or of the 2016 dictionary.

    Reads and checks the headers of all files, in seconds; the pixels stay in the files until
    `scan.line_integrals[i:j]` asks for them. The views are put into the order of the scan by their
    own geometry, whatever the files are called.

    Parameters
    ----------
    folder : str or Path
        Folder of one series, one file a view; or a single file. Subfolders are not searched;
        directories, notes and objects that are neither views nor images are passed over.
    progress : str, optional
        Name of a progress bar on stderr; none by default.

    Returns
    -------
    Scan
        What had to be assumed is in its `notes`.

    Raises
    ------
    DataError
        If anything is missing, broken, foreign, duplicated, or of a kind that is not supported;
        names the file and the element.

    Warns
    -----
    UserWarning
        If the files state an exposure (0018,1152) more than 5 % from tube current × time.

    Examples
    --------
    >>> import tempfile
    >>> from recon import flash_helical, simulate_scan, write_scan
    >>> from recon.phantom import water_with_inserts
    >>> helix = flash_helical(length=0.1)
    >>> scan = simulate_scan(
    ...     water_with_inserts(0.0193).views(helix), helix, mas=200, kvp=120, mu_water=0.0193,
    ...     name="water", seed=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_scan(scan, f"{folder}/scan")
    ...     print(len(files), read_scan(f"{folder}/scan").line_integrals[0:2].shape)
    4 (2, 64, 736)
    """
    paths = _files(Path(folder).expanduser())
    passed: dict[int, str] = {}  # number of a file → what it is, if it is no view
    for start, path in enumerate(paths):
        opened = _open(path)
        if isinstance(opened, View):
            first = opened
            break
        passed[start] = opened
    else:
        raise _no_views(Path(folder), [kind for kind in passed.values() if kind])
    transposed = check_frame(first)
    views = _ViewTable(len(paths), first, start)

    def read(begin: int) -> int:
        some = range(begin, min(begin + _FILES_AT_ONCE, len(paths)))
        for k in some:
            view = _open(paths[k])
            if isinstance(view, View):
                check_same_series(first, view)
                views.put(k, view)
            else:
                passed[k] = view
        return len(some)

    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            total=len(paths), desc=progress, unit="view", leave=False, disable=not progress, delay=2
        ) as bar,
    ):
        try:
            for done in pool.map(read, range(start + 1, len(paths), _FILES_AT_ONCE)):
                bar.update(done)
        except DataError:
            pool.shutdown(cancel_futures=True)  # the rest of the series need not be read
            raise

    kept = [k for k in range(len(paths)) if k not in passed]
    paths = [paths[k] for k in kept]
    check_unique([views.uids[k] for k in kept], paths)
    table = views.table[kept]
    try:
        order, angles = scan_order(
            table["angle"], table["z"], clocks=(table["timestamp"], table["instance"])
        )
    except DataError as error:
        raise DataError(f"{error}; (7031,1002) of all views in {folder}") from None
    table, paths = table[order], [paths[k] for k in order]
    check_steps(
        angles, table["z"], paths, views_per_rotation=int(first.number("views_per_rotation"))
    )
    shifts = np.stack([table[name] for name in SHIFTS], axis=1)
    shifts = check_focal_spot(shifts, first.text("focal_spot").upper(), paths)
    notes: list[str] = []
    if kinds := [kind for kind in passed.values() if kind]:
        notes.append(f"passed over what is no view: {counted(kinds)}")
    geometry = _geometry(first, angles, table["z"], shifts, notes)
    exposures = _exposures(table, paths)
    known = bool(np.isfinite(exposures).all())
    if not known:
        notes.append(
            "the exposure is not stated, neither tube current and rotation time nor (0018,1152): "
            "images need none, lower doses cannot be simulated"
        )
    kvp, old = first.number("kvp"), first.dialect == OLD
    if views.photons is None:
        at = "" if known else f" at {_ASSUMED_MAS:g} mAs"
        notes.append(
            f"PhotonStatistics (7033,1065) is missing: quanta are those of the tube model{at}"
        )
        taken = exposures if known else np.full(len(exposures), _ASSUMED_MAS)
        photons = quanta_from_tube(geometry, taken, kvp=kvp)
    else:
        photons = views.photons[np.array(kept)[order]]
    return Scan(
        line_integrals=ViewFiles(
            paths,
            table["offset"].astype(np.int64),
            table["slope"],
            table["intercept"],
            (geometry.n_rows, geometry.n_cols),
            transposed,
            PixelWatch(paths, int(geometry.states.max()) + 1, photons),
        ),
        geometry=geometry,
        photons=photons,
        exposures=exposures,
        kvp=kvp,
        mu_water=first.number("old_mu_water") / 10 if old else first.number("mu_water"),
        series_uid=own_uid(first.text("series")),
        study_uid=own_uid(first.text("study", optional=True)),
        rotation_time=_rotation_time(first),
        fov=first.number_or("fov", None),
        vendor=_vendor(first),
        ctdi_vol=first.number_or("ctdi_vol", None),
        corrections=tuple(n for n in CORRECTIONS if first.text(n, optional=True) == "YES"),
        notes=tuple(notes),
        files=tuple(paths),
    )


def _files(folder: Path) -> list[str]:
    if folder.is_file():
        return [os.fspath(folder)]
    if not folder.is_dir():
        raise DataError("no such folder", where=folder)
    return list_files(folder)


def _no_views(folder: Path, kinds: Sequence[str]) -> DataError:
    return DataError(
        "folder without DICOM-CT-PD views",
        where=folder,
        expected="one file a view",
        got=counted(kinds) or "no such file",
        remedy="name the folder of one projection series",
    )


def _open(path: str) -> View | str:
    """One view; or, in words, what the file holds that is none and may lie beside them."""
    header = read_header(path, WANTED)
    if header is not None:
        kind = no_view(header)
        if not kind:
            require_native(header)
        return kind or View(header)
    if is_companion(path):
        return ""
    empty = os.path.getsize(path) == 0
    raise DataError(
        "file is empty" if empty else "not a DICOM file",
        where=path,
        expected="a DICOM-CT-PD view ('DICM' at byte 128)",
        remedy="fetch the file again, or remove it",
    )


class _ViewTable:
    """Numbers that each view has for itself, in the order in which the files were found.

    ``table`` has a record of named numbers a view, NaN where a file does not say; ``uids`` are the
    SOP instance UIDs, ``photons`` (views, cols) PhotonStatistics, where the files have it.
    """

    def __init__(self, count: int, first: View, place: int) -> None:
        names = (*_PER_VIEW, "timestamp", "instance", "offset", "mas", "stated_mas")
        self.table = np.full(count, np.nan, dtype=[(name, np.float64) for name in names])
        self.uids = [""] * count
        self.photons: np.ndarray | None = None
        if first.raw("photons"):
            self.photons = np.empty((count, int(first.number("n_cols"))), dtype=np.float32)
        self.put(place, first)

    def put(self, k: int, view: View) -> None:
        """Keep the numbers of the view that file ``k`` holds."""
        for name in _PER_VIEW:
            self.table[name][k] = view.number(name)
        for name in ("timestamp", "instance"):
            self.table[name][k] = view.number_or(name, math.nan)
        self.table["offset"][k] = view.header.pixels[0]
        self.table["mas"][k], self.table["stated_mas"][k] = _mas(view)
        self.uids[k] = view.text("sop_instance")
        if (view.raw("photons") is None) != (self.photons is None):
            raise view.refusal(
                "photons",
                "only some views state their quanta",
                "PhotonStatistics in all views or in none",
                "a value" if view.raw("photons") else "nothing",
            )
        if self.photons is not None:
            quanta = view.array("photons")
            columns = self.photons.shape[1]
            if len(quanta) != columns:
                raise view.refusal(
                    "photons", "quanta do not fit the detector", f"{columns} values", len(quanta)
                )
            self.photons[k] = quanta


def _first(view: View, *names: tuple[str, float]) -> float | None:
    """The first of several elements that a view has, over its factor."""
    return next((view.number(name) / factor for name, factor in names if view.raw(name)), None)


def _rotation_time(view: View) -> float | None:
    """Time of a turn [s]; None where the file does not say."""
    return _first(view, ("rotation_time_us", 1e6), ("rotation_time", 1e3))


def _mas(view: View) -> tuple[float, float]:
    """MAs per rotation, and what (0018,1152) states beside it; NaN for what is not stated."""
    stated = _first(view, ("exposure_uas", 1e3), ("exposure", 1.0))
    current = _first(view, ("current_ua", 1e3), ("current", 1.0))
    time = _rotation_time(view)
    if current is not None and time is not None:
        return current * time, math.nan if stated is None else stated
    return math.nan if stated is None else stated, math.nan


def _exposures(table: np.ndarray, paths: list[str]) -> np.ndarray:
    silent = np.isnan(table["mas"])
    if silent.any() and not silent.all():
        raise DataError(
            "only some views state their exposure",
            where=f"{paths[int(np.argmax(silent))]}, XRayTubeCurrent (0018,1151)",
            expected="tube current and rotation time in all views or in none",
            got="nothing",
            remedy="the view may be of another scan",
        )
    wrong = np.abs(table["stated_mas"] - table["mas"]) > _EXPOSURE_TOLERANCE * table["mas"]
    if wrong.any():
        k = int(np.argmax(wrong))
        warnings.warn(
            f"{paths[k]}: states an exposure (0018,1152) of {table['stated_mas'][k]:g} mAs, but "
            f"tube current × time is {table['mas'][k]:.4g} mAs, which is used",
            stacklevel=3,
        )
    return table["mas"].copy()


def _vendor(view: View) -> str:
    name = view.text("manufacturer", optional=True).upper()
    if name.startswith(("GE ", "GENERAL ELECTRIC")) or name == "GE":
        return "GE MEDICAL SYSTEMS"
    return "SIEMENS" if name.startswith("SIEMENS") else ""


def _geometry(
    view: View, angles: np.ndarray, z: np.ndarray, shifts: np.ndarray, notes: list[str]
) -> HelicalScan:
    n_rows, n_cols = int(view.number("n_rows")), int(view.number("n_cols"))
    column, row = view.numbers("central")
    if _vendor(view) == "GE MEDICAL SYSTEMS":
        column = n_cols + 1 - column
        notes.append("GE counts the central column from the last one: mirrored")
    position = view.text("patient_position", optional=True).upper()
    if not position:
        notes.append("PatientPosition (0018,5100) is missing: HFS assumed")
    elif position not in PATIENT_POSITIONS:
        raise view.refusal(
            "patient_position", "unknown patient position", ", ".join(PATIENT_POSITIONS), position
        )
    return HelicalScan(
        angles=angles,
        z=z,
        n_rows=n_rows,
        n_cols=n_cols,
        views_per_rotation=int(view.number("views_per_rotation")),
        row_offset=(n_rows - 1) / 2 - (row - 1),
        col_offset=(n_cols - 1) / 2 - (column - 1),
        **{name: view.number(name) for name in ("src_iso", "src_det", "row_pitch", "col_pitch")},
        **dict(zip(SHIFTS, shifts.T)),
        focal_spot=view.text("focal_spot").upper(),
        stated_pitch=view.number_or("pitch", None),
        patient_position=position,
    )
