"""What run.json says of a run on a projection scan."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from recon.storage import versions

if TYPE_CHECKING:
    from analysis.projections.slices import SlicePlan
    from recon import Scan

__all__ = ["Command", "scan_digest", "scan_record"]

_THREADS = 4


class Command(Protocol):
    """What a record says of the command that is running."""

    command: str
    notes: list[str]

    @property
    def seconds(self) -> float:
        """How long it has been running."""


def scan_digest(scan: Scan) -> str:
    """SHA-256 of the SHA-256 of every file of a scan, in the order of the views."""
    paths = scan.line_integrals.paths  # type: ignore[attr-defined]

    def digest(path: str) -> bytes:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()

    total = hashlib.sha256()
    with ThreadPoolExecutor(_THREADS) as pool:
        for one in pool.map(digest, paths):
            total.update(one)
    return total.hexdigest()


def scan_record(
    scan: Scan, plan: SlicePlan, configuration: dict[str, Any], *, run: Command
) -> dict[str, Any]:
    """Return the record of a run: command, configuration, scan, slices, input, versions, notes.

    Parameters
    ----------
    scan : Scan
        As it was read from files.
    plan : SlicePlan
        The slices that were reconstructed.
    configuration : dict
        Arguments of the command besides those of the slices.
    run : Command
        Its words, its time and its notes.
    """
    device = plan.options.device
    return {
        "command": run.command,
        "configuration": {**configuration, **asdict(plan.options)},
        "scan": dict(scan.describe()),
        "slices": plan.facts(),
        "inputs": {
            "series_uid": scan.series_uid,
            "views": len(scan),
            "sha256": scan_digest(scan),
            "sha256_of": "the SHA-256 of every file, in the order of the views",
        },
        "backend": {
            "name": "numba" if device == "cpu" else "torch",
            "why": f"--device {device}",
        },
        "seconds": round(run.seconds, 1),
        "versions": versions(),
        "notes": list(run.notes),
    }
