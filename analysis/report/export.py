"""What is in a run, for other programs: images as DICOM series, figures as SVG and PNG.

Stacks of samples are zarr as they are (``samples.zarr``); here each image becomes a CT series of
its own, placed where it lies in the patient, and each figure of the report a file.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recon import CTImages, DataError, read_images, write_series
from recon.storage import digest_files, run_folder, write_atomic

from ..figures.drawing import FORMS
from ..runs.store import Run, Study, mas_label, read_run
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
    """Write every image of a run as a derived DICOM series below ``out/dicom``.

    One image is one series, ``STUDY/NAME/slice-001.dcm`` or ``STUDY/NAME/SAMPLE/slice-001.dcm``,
    because samples lie at one and the same place. Each refers to the slice that was studied: to
    that of the run's input where the files are still there and the same, so that study and frame of
    reference are those of the run's low-dose series, and otherwise to the low-dose slice itself.
    CT numbers are rounded to whole HU, as in every CT series; samples.zarr has them in full.

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
    jobs = [(study, *job) for study in run.studies for job in _images(study)]
    sources = {study.name: _source(run, study) for study in run.studies}
    with run_folder(out) as folder:
        for study, array, name, image in tqdm(jobs, desc="DICOM series", unit="image", leave=False):
            source, patch = sources[study.name], study.facts["patch"]
            scan = study.facts.get("scan", {})
            low_dose = array in _LOW_DOSE or array.startswith("layer-")  # x̄ and f(x̄)
            at = f", {study.mas:g} mAs" if low_dose else ""
            [path] = write_series(
                folder / "dicom" / study.name / name,
                image[None],
                like=source,
                spacing=tuple(patch["spacing_mm"]),
                positions=[patch_corner(study, source)],
                series_description=f"{study.denoiser}, {name}{at}"[:64],
                kvp=scan.get("kvp"),
                mas=study.mas if low_dose else None,
                kernel=str(scan.get("window", ""))[:16] if low_dose else "",
                uid_seed=f"{study.name}/{name}",
            )
            names.append(path.relative_to(folder))
    return [Path(out) / name for name in names]


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


def _images(study: Study) -> Iterator[tuple[str, str, np.ndarray]]:
    """All images on the patch's pixels: array, name, and image.

    Samples and noise draws are counted from 1.
    """
    shape = tuple(study.facts["patch"]["shape"])
    for name, array in study.arrays.items():
        if array.ndim < 2 or array.shape[-2:] != shape or name == "slice":
            continue
        for index in np.ndindex(array.shape[:-2]):
            place = "-".join(f"{number + 1:03d}" for number in index)
            yield name, f"{name}/{place}" if place else name, array[index]


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
