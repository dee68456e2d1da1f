"""A manifest: the rows of a CSV or TOML file, each with everything that it asks for.

A row names a patient, images or a projection scan, the study, and options of that study by their
names on the command line. What holds several values, `a; b; c` in CSV or a list in TOML, stands for
one row for each; several such columns stand for every combination.
"""

from __future__ import annotations

import csv
import itertools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recon import DataError

__all__ = ["OF_ROW", "read_manifest"]

OF_ROW = ("patient", "series", "images", "scan", "study", "places", "slice", "row", "col")
"""Columns that say what is studied; all others are options of the study."""

_SEVERAL = ";"
_PATHS = ("images", "scan", "weights")
_FILES = (".py", ".pt", ".pth", ".ts", ".pt2", ".onnx", ".safetensors")
_LABELS = ("patient", "series", "study", "denoiser", "layer", "images", "scan", "weights")


def read_manifest(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a manifest, each with one value a column, in the order of the file.

    In TOML what stands before the first ``[[row]]`` holds for every row that does not say
    otherwise. Relative paths are taken from the folder of the manifest.

    Parameters
    ----------
    path : path
        A file of the suffix .csv or .toml.

    Raises
    ------
    DataError
        If the file cannot be read, has no rows, or a row names no patient, no study, or not exactly
        one of images and scan.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from analysis.cohort.manifest import read_manifest
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "cohort.csv"
    >>> _ = path.write_text("patient,images,study,denoiser,mas\\nA,a,target-domain,chen,5; 10\\n")
    >>> [(row["patient"], row["mas"]) for row in read_manifest(path)]
    [('A', 5), ('A', 10)]
    """
    path = Path(path).expanduser()
    readers = {".csv": _csv_rows, ".toml": _toml_rows}
    if path.suffix.lower() not in readers:
        raise DataError(
            "no manifest", where=path, expected="a file .csv or .toml", got=path.suffix or "none"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError("manifest cannot be read", where=path, got=error.strerror) from None
    except UnicodeDecodeError as error:
        raise DataError("manifest is no UTF-8 text", where=path, got=error) from None
    rows = []
    for where, values in readers[path.suffix.lower()](text, path):
        rows += list(_each(values, where, path.parent))
    if not rows:
        raise DataError("manifest has no rows", where=path)
    return rows


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a CSV file with where they stand; empty cells are left out."""
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        header = [_name(name) for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise DataError("a column stands twice", where=path, got=", ".join(header))
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise DataError(
                    "row is not as long as the header", where=where, expected=len(header),
                    got=len(cells),
                )  # fmt: skip
            yield (
                where,
                {
                    name: [_plain(name, part) for part in cell.split(_SEVERAL) if part.strip()]
                    for name, cell in zip(header, cells, strict=True)
                    if cell.strip()
                },
            )
    except csv.Error as error:
        raise DataError("no CSV file", where=f"{path}, line {reader.line_num}", got=error) from None


def _toml_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError("no TOML file", where=path, got=error) from None
    rows = document.pop("row", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("rows are no tables", where=path, expected="[[row]] above each")
    if tables := [name for name, value in document.items() if isinstance(value, dict)]:
        raise DataError("no such table", where=path, expected="[[row]] alone", got=f"[{tables[0]}]")
    for number, row in enumerate(rows, 1):
        merged = {_name(key): value for key, value in document.items()}
        merged |= {_name(key): value for key, value in row.items()}
        yield (
            f"{path}, row {number}",
            {
                name: [_plain(name, one) for one in (value if isinstance(value, list) else [value])]
                for name, value in merged.items()
            },
        )


def _each(values: Mapping[str, list[Any]], where: str, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for each combination of the values, checked."""
    for name in ("patient", "study"):
        if not values.get(name):
            raise DataError(f"row without a {name}", where=where)
    if ("images" in values) == ("scan" in values):
        raise DataError(
            "row without an input, or with two", where=where, expected="either images or scan"
        )
    if "places" in values and {"slice", "row", "col"} & values.keys():
        raise DataError(
            "places are drawn and named", where=where, expected="places, or slice, row and col"
        )
    if ("row" in values) != ("col" in values):
        raise DataError("a place has a row and a col", where=where)
    for combination in itertools.product(*values.values()):
        row = dict(zip(values, combination, strict=True))
        for name in _PATHS:
            if name in row:
                row[name] = _from(folder, row[name])
        if "denoiser" in row:  # files, and what is asked of them
            parts = str(row["denoiser"]).split(":")
            row["denoiser"] = ":".join(
                _from(folder, part) if part.endswith(_FILES) else part for part in parts
            )
        for name in ("places", "slice", "row", "col"):
            if name in row and (not isinstance(row[name], int) or row[name] < 0):
                raise DataError(
                    "no whole number", where=f"{where}, {name}", expected="0, 1, 2 …", got=row[name]
                )
        row.setdefault("series", Path(row.get("images") or row["scan"]).name)
        yield row | {"where": where}


def _from(folder: Path, path: str) -> str:
    return str((folder / Path(path).expanduser()).absolute())


def _name(column: Any) -> str:
    """The name of a column as that of an argument: `tolerance-hu` is tolerance_hu."""
    return str(column).strip().lstrip("-").replace("-", "_")


def _plain(name: str, value: Any) -> Any:
    """A value as it is meant: a number, several numbers, yes or no, or a text."""
    if isinstance(value, list):
        return tuple(value)
    if name in _LABELS:
        return str(value).strip()
    if not isinstance(value, str):
        return value
    parts = value.split()
    numbers = [_number(part) for part in parts]
    if parts and None not in numbers:
        return numbers[0] if len(parts) == 1 else tuple(numbers)
    return {"true": True, "false": False}.get(value.strip().lower(), value.strip())


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
