"""Commands on projection scans: how a scan is opened, and what run.json says of it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .running import current

if TYPE_CHECKING:
    from analysis.projections.slices import SlicePlan
    from recon import Scan

__all__ = ["open_scan", "scan_record"]

_THREADS = 4


def open_scan(folder: Path) -> Scan:
    """The scan in a folder, its headers read with a bar; what is odd about it becomes a note."""
    from recon import read_scan

    found = read_scan(folder, progress="headers")
    for note in found.notes:
        current().note(note)
    return found


def _digest(scan: Scan) -> str:
    """SHA-256 of the SHA-256 of every file of a scan, in the order of the views."""
    paths = scan.line_integrals.paths  # type: ignore[attr-defined]

    def digest(path: str) -> bytes:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()

    with ThreadPoolExecutor(_THREADS) as pool:
        return hashlib.sha256(b"".join(pool.map(digest, paths))).hexdigest()


def scan_record(scan: Scan, plan: SlicePlan, /, **configuration: Any) -> dict[str, Any]:
    """Return the record of a run: command, configuration, scan, slices, input, versions, notes.

    Parameters
    ----------
    scan : Scan
        As it was read from files.
    plan : SlicePlan
        The slices that were reconstructed.
    configuration
        Arguments of the command besides those of the slices.
    """
    from recon.storage import versions

    run, device = current(), plan.options.device
    return {
        "command": run.command,
        "configuration": {**configuration, **asdict(plan.options)},
        "scan": dict(scan.describe()),
        "slices": plan.facts(),
        "inputs": {
            "series_uid": scan.series_uid,
            "views": len(scan),
            "sha256": _digest(scan),
            "sha256_of": "the SHA-256 of every file, in the order of the views",
        },
        "backend": {"name": "numba" if device == "cpu" else "torch", "why": f"--device {device}"},
        "seconds": round(run.seconds, 1),
        "versions": versions(),
        "notes": list(run.notes),
    }
