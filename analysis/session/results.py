"""What a command leaves behind: the run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon import DataError

from .running import current
from .scene import Scene

if TYPE_CHECKING:
    from analysis.runs.store import Study
    from ctxai import WeightSet

__all__ = ["require_out", "write_results"]


_KEPT = ("trained", "weights")  # networks, which later runs take again


def require_out(out: Path, *, overwrite: bool = True) -> Path:
    """An output folder, there already or not, that is this command's alone until it ends.

    Without ``overwrite``, nothing may be in it but networks that were trained for an earlier run.
    With it, what an earlier run has on record is replaced when the new results are published.

    Raises
    ------
    DataError
        If it cannot be written, another process writes to it, or there is something in it.
    """
    from recon.storage import holding, require_writable

    out = require_writable(out)
    current().kept.enter_context(holding(out))
    if overwrite or not out.is_dir():
        return out
    found = sorted(
        item.name for item in out.iterdir() if item.name[0] != "." and item.name not in _KEPT
    )
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise DataError(
            "folder is not empty",
            where=out,
            expected="a new folder for the results",
            got=f"{', '.join(found[:3])}{more}",
            remedy="name another one, or replace the results of an earlier run with --overwrite",
        )
    return out


def write_results(
    out: Path,
    scene: Scene,
    results: Sequence[Any],
    *,
    command: str,
    seed: int,
    networks: WeightSet,
    beside: Callable[[Path, Sequence[Study]], None] | None = None,
    told: Callable[[Path, Study], str] | None = None,
    **configuration: Any,
) -> None:
    """Write the run folder: arrays, numbers, record, report and what lies beside; tell the answers.

    All of it appears in ``out`` at once, or nothing does. Beside lie the low-dose series, and the
    verdicts are told, unless others are given for that. The configuration of the record is all
    arguments of the command, with what was found for those that were left out.
    """
    from analysis.report.page import write_report
    from analysis.report.record import study_of
    from analysis.report.summary import verdict_lines
    from analysis.runs.store import write_run
    from recon.storage import run_folder

    configuration |= {"out": out, "roi": scene.patch.roi, "seed": seed}
    configuration["weights"] = configuration.get("weights") or networks.folder.name
    studies = [study_of(result) for result in results]
    exposures = list(dict.fromkeys(study.mas for study in studies))
    record = {
        "command": current().command,
        "configuration": {"command": command, **configuration},
        "seed": seed,
        "inputs": scene.inputs(),
        "orientation": list(scene.images.orientation),
        "weights": {name: networks.manifest[name] for name in ("recipe", "sha256")},
        "notes": current().notes,
    }
    with run_folder(out) as folder:
        if beside is not None:
            beside(folder, studies)
        else:
            for mas in exposures:
                _write_low_dose(folder, scene, mas, seed=seed)
        write_run(folder, record=record, studies=studies, seconds=current().seconds)
        write_report(folder)
    for study in studies:
        print(verdict_lines(study) if told is None else told(out, study))
    print(out / "report.html")


def _write_low_dose(folder: Path, scene: Scene, mas: float, *, seed: int) -> None:
    """All slices at an exposure [mAs], as a DICOM series."""
    from analysis.runs.store import mas_label
    from analysis.scanner.low_dose import scanned_slices
    from recon import write_series

    images = scene.images
    write_series(
        folder / mas_label(mas),
        scanned_slices(
            images.hu,
            images.spacing,
            image_mas=images.exposures,
            mas=mas,
            kvp=scene.kvp,
            slice_thickness=images.thicknesses,
            seed=seed,
            progress=f"low-dose slices at {mas:g} mAs",
        ),
        like=images,
        spacing=images.spacing,
        slice_thickness=images.thicknesses,
        positions=images.positions,
        series_description=f"Simulated {mas:g} mAs",
        kvp=scene.kvp,
        mas=mas,
        kernel="hann",
        uid_seed=f"{seed}/{mas:g}",
    )
