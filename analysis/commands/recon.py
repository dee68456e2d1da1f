"""`ctxai recon`: slices of a projection scan, as a DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from analysis.projections.slices import SliceOptions

__all__ = ["recon"]


def recon(
    scan: Positional[Path],
    *,
    out: Annotated[Path, arg(metavar="DIR")],
    overwrite: bool = False,
    options: Annotated[SliceOptions, arg(name="")] = SliceOptions(),  # noqa: B008
) -> None:
    """Reconstruct a projection scan: weighted FBP, the flying focal spot exact for every ray.

    All slices that the scan covers completely, in HU by the files' own water attenuation. The
    images keep the scanner's axes; position and orientation in the patient follow
    PatientPosition (HFS where the files do not say).

    First some 400 views are asked whether the geometry is true, as `ctxai inspect` does. If it does
    not fit, the scan is refused; --geometry says to go on, and with what. Pixels are checked while
    they are read, as by `ctxai verify`.

    Example: ctxai recon SCAN --out OUT

    Example: ctxai recon SCAN --out OUT --fov 250 --matrix 512 --centre -40 10 --window sharp
    --slice-thickness 0.75 --slice-increment 0.5 --z-range -60 20

    Example: ctxai recon SCAN --out LOOK --preview --matrix 256 --slice-increment 10

    Writes the series (OUT/slice-001.dcm and so on, from low to high z), OUT/overview.png with three
    planes, metrics.csv and run.json.

    Args:
        scan: Folder of one DICOM-CT-PD series, one file a view.
        out: Folder for the series, new or empty.
        overwrite: Replace the results of an earlier run in OUT; files that are of no run stay.
    """
    from analysis import session

    options.check()
    session.require_device(options.device)
    out = session.require_out(out, overwrite=overwrite)
    stated = session.open_scan(scan, position=options.patient_position)

    from analysis.projections.figures import exposure_words
    from analysis.projections.noise import slice_metrics
    from analysis.projections.slice_figures import slices_figure
    from analysis.projections.slices import plan_slices, reconstruct_slices, write_slices
    from recon.storage import run_folder, write_atomic, write_csv, write_json

    plan = plan_slices(stated, options)  # refuses what cannot be, before any pixel is read
    found, audit = session.true_scan(stated, scan, options.geometry)
    if found is not stated:
        plan = plan_slices(found, options)
    session.current().note(f"{plan.describe()}; about {session.duration(plan.seconds(found))}")
    position = found.geometry.patient_position
    with run_folder(out) as folder:
        hu = reconstruct_slices(found, plan, progress=True)
        write_slices(folder, hu, found, plan)
        title = f"{exposure_words(found)}, {found.kvp:g} kV, {options.window}"
        picture = slices_figure(hu, plan, patient_position=position, title=title)
        write_atomic(folder / "overview.png", picture)
        write_csv(folder / "metrics.csv", slice_metrics(hu, plan))
        record = session.scan_record(found, plan, audit, command="recon", scan=scan, out=out)
        write_json(folder / "run.json", record)
    print(
        f"{len(hu)} slices of {options.matrix}², z {plan.z[0]:.1f} to {plan.z[-1]:.1f} mm, in {out}"
    )
