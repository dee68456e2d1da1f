"""`ctxai report`: the report of a run, made again, and what is in it for other programs."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

__all__ = ["report"]


def report(out: Positional[Path], *, dicom: bool = False, figures: bool = False) -> None:
    """Make OUT/report.html again from run.json, metrics.csv and samples.zarr.

    Example: ctxai report OUT --figures

    Args:
        out: Folder of a run of demo, invariances, target-domain or projection-domain.
        dicom: Also write all images as derived DICOM series, a stack a kind, and differences and
            spreads as parametric maps, below OUT/dicom; this needs the package highdicom.
        figures: Also write the figures as SVG and PNG, in OUT/figures.
    """
    from analysis import session
    from analysis.runs.record import read_record

    read_record(out)
    session.require_out(out)
    read_record(out)  # again: a run that was killed while it published may have been published now

    if dicom:
        from analysis.report.maps import require_highdicom

        require_highdicom()

    from analysis.report.page import write_report

    print(write_report(out))
    if figures or dicom:
        from analysis.report.export import export_dicom, export_figures

        for wanted, export, name in (
            (figures, export_figures, "figures"),
            (dicom, export_dicom, "dicom"),
        ):
            if wanted:
                print(f"{out / name} ({len(export(out))} files)")
