"""`ctxai simulate`: a projection scan, or images, as they would have been at lower doses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from analysis.projections.slices import SliceOptions

if TYPE_CHECKING:
    from analysis.session.image_doses import ImageDoses

__all__ = ["simulate"]


def simulate(
    scan: Annotated[Positional[Path | None], arg(metavar="SCAN")] = None,
    *,
    images: Annotated[Path | None, arg(metavar="DIR")] = None,
    series: str = "",
    out: Annotated[Path, arg(metavar="DIR")],
    overwrite: bool = False,
    mas: tuple[float, ...] = (),
    dose_fraction: tuple[float, ...] = (),
    seed: int = 1,
    electronic_noise: Annotated[float, arg(metavar="QUANTA")] = 3.0,
    projections: bool = False,
    kvp: float | None = None,
    image_mas: Annotated[
        float | Literal["noise-free"] | None, arg(metavar="MAS|noise-free")
    ] = None,
    options: Annotated[SliceOptions, arg(name="")] = SliceOptions(),  # noqa: B008
) -> None:
    """The same scan, or the same images, at other exposures.

    Of a scan: the noise that an exposure adds is drawn for every ray of the detector before
    anything is rebinned, from the quanta that the files state (PhotonStatistics; where they are
    missing, those of the tube model, and a note says so). It depends on the seed and the ray alone,
    so that the same command gives the same bytes with any number of threads. A scan whose geometry
    does not fit its data is refused, as by `ctxai recon`.

    Of images: one rotation a slice, about the middle of the image. The slice is projected, its rays
    get the noise that they lack at the lower exposure, and what becomes of that noise in the image
    is added: an image of 200 mAs taken to 100 has the noise of a scan at 100. Images keep their
    pixels and slices. Those without noise (--image-mas noise-free) are scanned as a whole.

    Example: ctxai simulate SCAN --mas 10 20 50 --out OUT

    Example: ctxai simulate SCAN --dose-fraction 0.25 0.1 --projections --fov 300 --out OUT

    Example: ctxai simulate --images ABDOMEN --mas 10 25 --out OUT

    Example: ctxai simulate --images ct.nii.gz --kvp 120 --image-mas 200 --mas 25 --volume nii.gz
    --out OUT

    Writes for each exposure a DICOM series, OUT/mas-010 and so on, all of the same slices;
    overview.png with one slice of each; metrics.csv with the noise that was added, and of a scan
    what the rays' variance predicts and the share of starved rays; and run.json.

    Args:
        scan: Folder of one DICOM-CT-PD series, one file a view. Or give --images.
        images: High-dose CT images instead of a scan: a folder with one DICOM series, or a NIfTI
            (.nii, .nii.gz) or NRRD (.nrrd) file in HU.
        series: Of images: number, UID or description of the DICOM series to take, where a folder
            holds several.
        out: Folder for the results, new or empty.
        overwrite: Replace the results of an earlier run in OUT; files that are of no run stay.
        mas: Exposures to simulate, in mAs a turn; none above the scan's or the images' own.
        dose_fraction: Exposures as parts of the own one, above 0 and at most 1.
        seed: Seed of the noise.
        electronic_noise: Standard deviation of the detector's electronic noise, in quanta.
        projections: Of a scan: also write the projections, OUT/mas-010/projections, as DICOM-CT-PD.
        kvp: Of images: tube voltage in kV, in place of the files' own.
        image_mas: Of images: the exposure in mAs that their noise is of, where the files state none
            or a wrong one; or noise-free.
    """
    from analysis import session
    from recon import DataError

    exposures = session.require_mas(mas) if mas else []
    if not mas and not dose_fraction:
        raise DataError("no exposure", where="--mas, --dose-fraction", expected="one or more")
    if (scan is None) == (images is None):
        raise DataError(
            "one input at a time", expected="a projection scan, or --images",
            got="neither" if scan is None else "both",
        )  # fmt: skip
    for name, value in (("--kvp", kvp), ("--image-mas", image_mas)):
        if images is None and value is not None:
            raise DataError("this is for images: a projection scan states its own", where=name)
    if images is None and series:
        raise DataError("this is for images: a folder holds one projection scan", where="--series")
    if images is not None and projections:
        raise DataError("images have no projections to write", where="--projections")
    session.require_count(seed, "--seed", least=0)
    options.check()
    session.require_device(options.device)
    out = session.require_out(out, overwrite=overwrite)
    asked = {
        "out": out, "mas": exposures, "dose_fraction": list(dose_fraction),
        "electronic_noise": electronic_noise,
    }  # fmt: skip
    if images is not None:
        found = session.open_images(
            images, series=series, kvp=kvp, image_mas=image_mas, options=options,
            electronic_noise=electronic_noise, seed=seed,
        )  # fmt: skip
        asked |= {"images": images, "series": series}
        _of_images(found, exposures, dose_fraction, out, asked)
    elif scan is not None:
        _of_scan(
            scan, exposures, dose_fraction, out, seed=seed, projections=projections,
            options=options, asked=asked,
        )  # fmt: skip


def _of_scan(
    scan: Path,
    mas: list[float],
    dose_fraction: tuple[float, ...],
    out: Path,
    *,
    seed: int,
    projections: bool,
    options: SliceOptions,
    asked: dict[str, Any],
) -> None:
    from analysis import session

    stated = session.open_scan(scan, position=options.patient_position)

    from analysis.projections.doses import dose_levels, simulate_dose
    from analysis.projections.slice_figures import doses_figure
    from analysis.projections.slices import plan_slices
    from recon.storage import run_folder, write_atomic, write_csv, write_json

    noise = {"seed": seed, "electronic_noise": asked["electronic_noise"]}
    levels = dose_levels(stated, mas, dose_fraction, **noise)
    plan = plan_slices(stated, options)  # refuses what cannot be, before any pixel is read
    found, audit = session.true_scan(stated, scan, options.geometry)
    if found is not stated:
        plan, levels = plan_slices(found, options), dose_levels(found, mas, dose_fraction, **noise)
    seconds = plan.seconds(found) * len(levels)
    at = ", ".join(f"{level.scan.mas:.4g}" for level in levels)
    session.current().note(
        f"{plan.describe()}, at {at} mAs each; about {session.duration(seconds)}"
    )
    with run_folder(out) as folder:
        study = simulate_dose(found, levels, plan, folder, seed=seed, projections=projections)
        write_atomic(folder / "overview.png", doses_figure(study.pictures, plan))
        write_csv(folder / "metrics.csv", study.metrics)
        record = session.scan_record(
            found, plan, audit, command="simulate", scan=scan, projections=projections, **asked
        )
        write_json(folder / "run.json", {**record, "seed": seed, "exposures": study.levels})
    for level in study.levels:
        print(
            f"{level['mas']:.4g} mAs: {len(plan.z)} slices in {out / level['folder']}, "
            f"{100 * level['starved_share']:.2g} % of the rays starved"
        )


def _of_images(
    found: ImageDoses,
    mas: list[float],
    dose_fraction: tuple[float, ...],
    out: Path,
    asked: dict[str, Any],
) -> None:
    import numpy as np

    from analysis import session
    from analysis.projections.slice_figures import doses_figure
    from recon.storage import run_folder, write_atomic, write_csv, write_json

    levels = found.levels(mas, dose_fraction)
    at = ", ".join(f"{np.median(level):.4g}" for level in levels.values())
    session.current().note(
        f"{len(found.images)} slices, window {found.options.window}, at {at} mAs each; "
        f"about {session.duration(found.seconds(len(levels)))}"
    )
    middle = len(found.images) // 2
    pictures, metrics = [("as given", found.images.hu[middle])], []
    with run_folder(out) as folder:
        for label, level in levels.items():
            hu = found.at(level, progress=f"slices at {np.median(level):.4g} mAs")
            found.write(folder / label, hu, level)
            pictures.append((f"{np.median(level):.4g} mAs", hu[middle]))
            metrics += found.metrics(hu, level)
        write_atomic(folder / "overview.png", doses_figure(pictures, found.plan()))
        write_csv(folder / "metrics.csv", metrics)
        exposures = [{"folder": label, "mas": level.tolist()} for label, level in levels.items()]
        write_json(folder / "run.json", {**found.record(**asked), "exposures": exposures})
    for label in levels:
        print(f"{len(found.images)} slices in {out / label}")
