"""`ctxai simulate`: a projection scan as it would have been at lower doses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from analysis.projections.slices import SliceOptions

__all__ = ["simulate"]


def simulate(
    scan: Positional[Path],
    *,
    out: Annotated[Path, arg(metavar="DIR")],
    mas: tuple[float, ...] = (),
    dose_fraction: tuple[float, ...] = (),
    seed: int = 1,
    electronic_noise: Annotated[float, arg(metavar="QUANTA")] = 3.0,
    projections: bool = False,
    options: Annotated[SliceOptions, arg(name="")] = SliceOptions(),  # noqa: B008
) -> None:
    """The same scan at other exposures: noise in the measured rays, in counts, and its images.

    The noise that an exposure adds is drawn for every ray of the detector before anything is
    rebinned, from the quanta that the files state (PhotonStatistics; where they are missing, those
    of the tube model, and a note says so). It depends on the seed and the ray alone, so that the
    same command gives the same bytes with any number of threads.

    Example: ctxai simulate SCAN --mas 10 20 50 --out OUT

    Example: ctxai simulate SCAN --dose-fraction 0.25 0.1 --projections --fov 300 --out OUT

    Writes for each exposure a DICOM series, OUT/mas-010 and so on, all of the same slices;
    overview.png with one slice of each; metrics.csv with the noise that was added, what the rays'
    variance predicts, and the share of starved rays; and run.json.

    Args:
        scan: Folder of one DICOM-CT-PD series, one file a view.
        out: Folder for the results; earlier results of the same name are replaced.
        mas: Exposures to simulate, in mAs a turn; none above the scan's own.
        dose_fraction: Exposures as parts of the scan's own, above 0 and at most 1.
        seed: Seed of the noise.
        electronic_noise: Standard deviation of the detector's electronic noise, in quanta.
        projections: Also write the projections, OUT/mas-010/projections, as DICOM-CT-PD.
    """
    from analysis import session
    from recon import DataError

    exposures = session.require_mas(mas) if mas else []
    if not mas and not dose_fraction:
        raise DataError("no exposure", where="--mas, --dose-fraction", expected="one or more")
    session.require_count(seed, "--seed", least=0)
    options.check()
    session.require_device(options.device)
    out = session.require_out(out)

    from analysis.projections.doses import dose_levels, simulate_dose
    from analysis.projections.slice_figures import doses_figure
    from analysis.projections.slices import plan_slices
    from recon.storage import run_folder, write_atomic, write_csv, write_json

    found = session.open_scan(scan)
    levels = dose_levels(
        found, exposures, dose_fraction, seed=seed, electronic_noise=electronic_noise
    )
    plan = plan_slices(found, options)
    with run_folder(out) as folder:
        study = simulate_dose(found, levels, plan, folder, seed=seed, projections=projections)
        write_atomic(folder / "overview.png", doses_figure(study.pictures, plan))
        write_csv(folder / "metrics.csv", study.metrics)
        record = session.scan_record(
            found, plan, command="simulate", scan=scan, out=out, mas=exposures,
            dose_fraction=list(dose_fraction), electronic_noise=electronic_noise,
            projections=projections,
        )  # fmt: skip
        write_json(folder / "run.json", {**record, "seed": seed, "exposures": study.levels})
    for level in study.levels:
        print(
            f"{level['mas']:.4g} mAs: {len(plan.z)} slices in {out / level['folder']}, "
            f"{100 * level['starved_share']:.2g} % of the rays starved"
        )
