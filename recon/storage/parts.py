"""Whether the parts of a run folder belong together: run.json holds a digest of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .files import digest_tree, read_json, write_json

__all__ = ["recorded", "require_parts", "seal"]

_RECORD = "run.json"
_REMADE = ("report.html",)  # from the other parts, whenever that is asked for
_EXPORTS = ("figures", "dicom")  # made of them, when that is asked for


def recorded(folder: Path) -> set[str]:
    """Names of all that the run in a folder has left there; none where no record is to be read."""
    try:
        record = read_json(folder / _RECORD)
        parts = record["parts"]
        names = {name for name in parts if Path(name).name == name and name[:1] != "."}
    except (DataError, OSError, KeyError, TypeError):
        return set()
    return names | {_RECORD, *_REMADE, *_EXPORTS}


def seal(folder: Path, before: Sequence[Path] = ()) -> None:
    """Write digests of all parts of a run folder into its record, if it has one.

    ``before`` are parts that the run has published already.
    """
    if not (folder / _RECORD).is_file():
        return
    record = read_json(folder / _RECORD)
    if not isinstance(record, dict):
        return
    parts = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    digests = {
        name: digest_tree(folder / name) for name in parts if name not in (_RECORD, *_REMADE)
    }
    digests |= {path.name: digest_tree(path) for path in before if path.name not in parts}
    write_json(folder / _RECORD, {**record, "parts": digests})


def require_parts(out: Path, record: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a part of a run folder that is not the one that its record was written with.

    Records of earlier versions hold no digests; their parts are taken as they are.

    Parameters
    ----------
    out : Path
        The run folder.
    record : mapping
        Its run.json.
    names : sequence of str
        Names of the parts.

    Raises
    ------
    DataError
        If a part is missing, or its digest differs.
    """
    digests = record.get("parts")
    if not isinstance(digests, dict):
        return
    for name in names:
        if name not in digests:
            continue
        if not (out / name).exists():
            raise DataError("run folder is not complete", where=out, got=f"no {name}")
        if (found := digest_tree(out / name)) != digests[name]:
            raise DataError(
                f"{name} is not the one that run.json was written with: it is of another run, or "
                "was changed",
                where=out,
                expected=f"sha256 {str(digests[name])[:12]}",
                got=found[:12],
                remedy="copy the run folder again as a whole, or repeat the run",
            )
