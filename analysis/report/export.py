"""What is in a run, for other programs: images as DICOM series, figures as SVG and PNG.

Stacks of samples are zarr as they are (``samples.zarr``); here each kind of images becomes a CT
series, placed where it lies in the patient, each difference and spread a parametric map, and each
figure of the report a file.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread
from tqdm import tqdm

from recon import CTImages, DataError, read_images, write_series
from recon.storage import digest_files, run_folder, write_atomic

from ..figures.drawing import FORMS
from ..runs.store import Run, Study, mas_label, read_run
from .maps import DIFFERENCES, map_file, maps, require_highdicom
from .pictures import of_study

__all__ = ["export_dicom", "export_figures", "patch_corner"]

_LOW_DOSE = {"x", "fx", "rescanned", "xprime"}  # at the exposure, as x̄ are; y and ȳ are at none


def export_figures(out: str | Path) -> list[Path]:
    """Write the figures of a run's report as ``out/figures/STUDY-NAME.svg`` and ``.png``.

    A run that is missing or broken is a `DataError`.

    Parameters
    ----------
    out : path
        The run folder.

    Returns
    -------
    list of Path
        The files.
    """
    run, names = read_run(out), []
    pictures = [(study, picture) for study in run.studies for picture in of_study(study)]
    with run_folder(out) as folder:
        (folder / "figures").mkdir()
        for study, picture in tqdm(pictures, desc="figures", unit="figure", leave=False):
            for form in FORMS:
                name = f"{study.name}-{picture.name}.{form}"
                write_atomic(folder / "figures" / name, picture.draw(form=form))
                names.append(name)
    return [Path(out) / "figures" / name for name in names]


def export_dicom(out: str | Path) -> list[Path]:
    """Write the images of a run below ``out/dicom`` as derived DICOM series, one stack a kind.

    All images of one kind, such as the sampled ȳ, are slices of one series ``STUDY/NAME``, numbered
    as the samples are, at one and the same place in the patient; scans of one sample follow each
    other. Differences and standard deviations are Parametric Map files, ``STUDY/maps/NAME.dcm``.
    Each refers to the slice that was studied: to that of the run's input where the files are still
    there and the same, so that study and frame of reference are those of the run's low-dose series,
    and otherwise to the low-dose slice itself. CT numbers are rounded to whole HU, as in every CT
    series; maps and samples.zarr have them in full.

    A run that is missing or broken, or a missing highdicom, is a `DataError`.

    Parameters
    ----------
    out : path
        The run folder.

    Returns
    -------
    list of Path
        The files.
    """
    require_highdicom()
    run, names = read_run(out), []
    sources = {study.name: _source(run, study) for study in run.studies}
    made = datetime.datetime.fromtimestamp((run.folder / "run.json").stat().st_mtime)
    jobs = [(study, *job) for study in run.studies for job in _stacks(study)]
    with run_folder(out) as folder:
        for study, name, images in tqdm(jobs, desc="DICOM series", unit="stack", leave=False):
            files = _write_stack(folder, study, name, images, sources[study.name])
            names += [path.relative_to(folder) for path in files]
        for study in run.studies:
            place = folder / "dicom" / study.name
            if not (place / "y").exists():
                continue
            below = dcmread(place / "y" / "slice-001.dcm")
            for name, kind, frames in maps(study):
                path = place / "maps" / f"{name.replace('/', '-')}.dcm"
                about = f"{study.denoiser}, {name}"
                content = map_file(
                    frames, below, name=about, kind=kind, made=made, uid_seed=study.name
                )
                names.append(write_atomic(path, content).relative_to(folder))
    return [Path(out) / name for name in names]


def _write_stack(
    folder: Path, study: Study, name: str, images: np.ndarray, source: CTImages
) -> list[Path]:
    """Write one stack of images (n, H, W) [HU] as a series."""
    scan = study.facts.get("scan", {})
    low_dose = name in _LOW_DOSE or name.startswith("layer-")  # x̄ and f(x̄)
    at = f", {study.mas:g} mAs" if low_dose else ""
    return write_series(
        folder / "dicom" / study.name / name,
        images,
        like=source,
        spacing=tuple(study.facts["patch"]["spacing_mm"]),
        slice_thickness=source.slice_thickness,
        positions=np.tile(patch_corner(study, source), (len(images), 1)),
        series_description=f"{study.denoiser}, {name}{at}"[:64],
        kvp=scan.get("kvp"),
        mas=study.mas if low_dose else None,
        kernel=str(scan.get("window", ""))[:16] if low_dose else "",
        uid_seed=f"{study.name}/{name}",
    )


def patch_corner(study: Study, source: CTImages) -> np.ndarray:
    """Patient position (x, y, z) [mm] of the centre of a patch's first pixel.

    The patch lies on a grid about the middle of its slice; the slice, where its file says.

    Parameters
    ----------
    study : Study
        Its facts say where the patch lies.
    source : CTImages
        The slice.
    """
    patch = study.facts["patch"]
    rows, cols = source.hu.shape[1:]
    along_x = patch["centre_mm"][0] + (cols - 1) / 2 * source.spacing[1]
    along_y = patch["centre_mm"][1] + (rows - 1) / 2 * source.spacing[0]
    along_x -= (patch["shape"][1] - 1) / 2 * patch["spacing_mm"][1]
    along_y -= (patch["shape"][0] - 1) / 2 * patch["spacing_mm"][0]
    towards = np.reshape(source.orientation, (2, 3))
    return source.positions[0] + along_x * towards[0] + along_y * towards[1]


def _stacks(study: Study) -> Iterator[tuple[str, np.ndarray]]:
    """All images on the patch's pixels, a stack (n, H, W) a kind; differences are maps instead."""
    shape = tuple(study.facts["patch"]["shape"])
    for name, array in study.arrays.items():
        if array.ndim >= 2 and array.shape[-2:] == shape and name not in ("slice", *DIFFERENCES):
            yield name, array.reshape(-1, *shape)


def _source(run: Run, study: Study) -> CTImages:
    """The slice that was studied: of the input if that is still there, else the low-dose one."""
    configured = run.record.get("configuration", {}).get("images", "")
    low_dose = run.folder / mas_label(study.mas)
    drawn = (run.folder / name for name in ("high-dose", "phantom"))
    for folder in (*((Path(configured),) if configured else drawn), low_dose):
        if not folder.exists():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # said when the run was made
            images = read_images(folder)
        if folder == low_dose or digest_files(images.files) == run.record.get("inputs"):
            break
    else:
        raise DataError("run folder without its low-dose series", where=low_dose)
    number = int(study.facts["patch"]["slice_number"])
    if not 0 <= number < len(images):
        raise DataError("no such slice in the run's series", where=folder, got=number)
    return images[number]
