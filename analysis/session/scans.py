"""Commands on projection scans: how a scan is opened, and what run.json says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon import DataError

from .running import current

if TYPE_CHECKING:
    from analysis.projections.slices import SlicePlan
    from recon import AuditLine, Scan

__all__ = ["misfit", "open_scan", "scan_record", "true_scan"]

_THREADS = 4


def open_scan(folder: Path, *, position: str = "") -> Scan:
    """The scan in a folder, its headers read with a bar; what is odd about it becomes a note.

    ``position`` is that of the patient, in place of what the files say.
    """
    from recon import read_scan

    found = read_scan(folder, progress="headers")
    stated = found.geometry.patient_position
    for note in found.notes:
        current().note(note)
    if not position or position == stated:
        return found
    current().note(f"patient position {position} as asked for, {stated or 'none'} stated")
    return found.changed(geometry=replace(found.geometry, patient_position=position))


def true_scan(found: Scan, folder: Path, choice: str | None) -> tuple[Scan, list[AuditLine]]:
    """A scan with a geometry that fits its data, and the audit of what it states.

    Parameters
    ----------
    found : Scan
        As it was read.
    folder : path
        From where.
    choice : {"as-stated", "as-fitted"}, optional
        What to go on with if the geometry as stated does not fit.

    Raises
    ------
    DataError
        If it does not fit and nothing was chosen, or if nothing fits.
    """
    from recon import fit_geometry, geometry_audit

    audit = geometry_audit(found)
    if not audit:
        current().note("whether the geometry is true cannot be told: too short for opposite rays")
    if not audit or audit[0].verdict != "does not fit":
        return found, audit
    if choice == "as-fitted":
        found, changed = fit_geometry(found)
        current().note(f"the geometry as stated does not fit the data; taken: {', '.join(changed)}")
        return found, audit
    said = misfit(audit)
    if choice is None:
        raise DataError(
            "the geometry as stated does not fit the data",
            where=folder,
            expected="opposite rays that agree but for their noise",
            got=f"rms {audit[0].residual:.4f} for noise of {audit[0].noise:.4f}; {said}",
            remedy="--geometry as-fitted takes what fits, --geometry as-stated goes on with what "
            "the files state; ctxai inspect shows the audit",
        )
    current().note(f"the geometry as stated does not fit the data and is used all the same; {said}")
    return found, audit


def misfit(audit: Sequence[AuditLine]) -> str:
    """What fits in place of a stated geometry that does not, in words."""
    fitting = [f"{a.name} ({a.detail})" if a.detail else a.name for a in audit[1:]
               if a.verdict == "fits"]  # fmt: skip
    return f"fits: {', '.join(fitting) or 'none of the others'}"


def _digest(scan: Scan) -> str:
    """SHA-256 of the SHA-256 of every file of a scan, in the order of the views."""

    def digest(path: str) -> bytes:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()

    with ThreadPoolExecutor(_THREADS) as pool:
        return hashlib.sha256(b"".join(pool.map(digest, scan.files))).hexdigest()


def scan_record(
    scan: Scan, plan: SlicePlan, audit: Sequence[AuditLine], /, **configuration: Any
) -> dict[str, Any]:
    """Return the record of a run: command, configuration, scan, slices, input, versions, notes.

    Parameters
    ----------
    scan : Scan
        As it was read from files.
    plan : SlicePlan
        The slices that were reconstructed.
    audit : sequence of AuditLine
        Of the geometry as the files state it.
    configuration
        Arguments of the command besides those of the slices.
    """
    from recon.storage import versions

    run, device = current(), plan.options.device
    return {
        "command": run.command,
        "configuration": {**configuration, **asdict(plan.options)},
        "scan": dict(scan.describe()),
        "audit": [asdict(line) for line in audit],
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
