"""`ctxai inspect`: what a projection scan is, in numbers and as a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

__all__ = ["inspect"]


def inspect(
    scan: Positional[Path],
    *,
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
    overwrite: bool = False,
) -> None:
    """Print geometry, exposure, focal spots, span and quanta of a projection scan, and draw it.

    Reads the headers of all views, in seconds, and checks them as `ctxai verify` does. Then asks
    some 400 views whether the geometry is true: rays that run along one line from opposite sides
    should agree. The table says by how much they differ as the files state the geometry, and with
    what is often mistaken in it, the column centre, the row order and the signs of the focal spot.

    Example: ctxai inspect SCAN --out OUT

    Writes OUT/scan.png (the way of the focal spot, exposure and quanta of the views, and one view),
    metrics.csv and run.json.

    Args:
        scan: Folder of one DICOM-CT-PD series, one file a view.
        out: Folder for the picture and the numbers, new or empty; without it they are printed only.
        overwrite: Replace the results of an earlier run in OUT; files that are of no run stay.
    """
    from analysis import session

    if out is not None:
        out = session.require_out(out, overwrite=overwrite)

    found = session.open_scan(scan)

    from analysis.projections.figures import audit_table
    from recon import geometry_audit

    pairs = found.describe()
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{name:<{width}}  {value}")
    audit = geometry_audit(found)
    for line in audit_table(audit):
        print(line)
    if audit and audit[0].verdict == "does not fit":
        session.current().note(
            f"the geometry as stated does not fit the data; {session.misfit(audit)}"
        )
    if out is None:
        return

    from analysis.projections.figures import scan_figure, scan_metrics
    from recon.storage import run_folder, versions, write_atomic, write_csv, write_json

    with run_folder(out) as folder:
        write_atomic(folder / "scan.png", scan_figure(found))
        write_csv(folder / "metrics.csv", scan_metrics(found, audit))
        write_json(
            folder / "run.json",
            {
                "command": session.current().command,
                "versions": versions(),
                "configuration": {"command": "inspect", "scan": str(scan), "out": str(out)},
                "scan": dict(pairs),
                "audit": [asdict(line) for line in audit],
                "notes": session.current().notes,
            },
        )
    print(out / "scan.png")
