"""`ctxai report`: the report of a run, made again."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

__all__ = ["report"]


def report(out: Positional[Path]) -> None:
    """Make OUT/report.html again from run.json, metrics.csv and samples.zarr.

    Example: ctxai report OUT

    Args:
        out: Folder of a run of demo, invariances or target-domain.
    """
    from analysis.report import write_report

    print(write_report(out))
