"""The record of a run, run.json, and whether the rest of the folder is of the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recon import DataError
from recon.storage import read_json, require_parts

__all__ = ["read_record"]


def read_record(out: str | Path) -> dict[str, Any]:
    """Read run.json of a study, after checking that metrics.csv and samples.zarr belong to it.

    Raises
    ------
    DataError
        If there is no such folder, no such record, or a part is not the recorded one.
    """
    out = Path(out)
    if not out.is_dir():
        raise DataError("no such run folder", where=out)
    record = read_json(out / "run.json")
    if not isinstance(record, dict) or not isinstance(record.get("studies"), list):
        raise DataError(
            "not the record of a study", where=out / "run.json",
            expected="that of demo, invariances, target-domain or projection-domain",
        )  # fmt: skip
    require_parts(out, record, ("metrics.csv", "samples.zarr"))
    return record
