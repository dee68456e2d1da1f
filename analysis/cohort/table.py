"""One tidy table of all cells: a row a number, identifiers in ASCII that stay the same.

The rows are those of each cell's metrics.csv, in the order of patients and places. They are written
as they are read, a cell at a time, so that a table of any length takes the same memory.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recon import DataError
from recon.storage import read_json

from .cells import Cell
from .ledger import Ledger

__all__ = ["COLUMNS", "TableWriter", "ascii_name", "rows_of"]

COLUMNS = (
    "patient", "series", "slice", "row", "col", "study", "denoiser", "layer", "sampler", "mas",
    "quantity", "value", "unit", "low", "high", "cell",
)  # fmt: skip
"""Columns of the table: where and of what, then the number, then the cell that it is of."""

_WHOLE = ("slice", "row", "col")
_NUMBERS = ("mas", "value", "low", "high")
_BATCH = 50_000  # rows of a row group of Parquet
_LETTERS = str.maketrans({"ȳ": "ybar", "τ": "tau", "Δ": "delta", "σ": "sigma", "‖": "", "×": "x"})
_INTERVAL = re.compile(r"95 % interval (?P<low>[-+.\de]+) to (?P<high>[-+.\de]+)")


@functools.cache
def ascii_name(text: str) -> str:
    """A text as an identifier: lower-case ASCII letters, digits, points, + and -.

    Examples
    --------
    >>> from analysis.cohort.table import ascii_name
    >>> ascii_name("cinn, projected"), ascii_name("x̄ and ȳ 17")
    ('cinn-projected', 'xbar-and-ybar-17')
    """
    text = unicodedata.normalize("NFC", text).replace("x\u0304", "xbar").translate(_LETTERS)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9.+_]+", "-", plain).strip("-")


def rows_of(cell: Cell, ledger: Ledger) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The rows of a cell that is there, and its record.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    folder = ledger.folder(cell.digest)
    record = read_json(folder / "run.json")
    try:
        found = record["configuration"]
        place = [found.get("slice"), *(found.get("roi") or (None, None))]
        with open(folder / "metrics.csv", newline="", encoding="utf-8") as handle:
            header, *lines = csv.reader(handle)
        first = {
            "patient": cell.patient,
            "series": cell.series,
            **{name: "" if at is None else str(at) for name, at in zip(_WHOLE, place)},
            "study": cell.study,
        }
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        return [{**first, **_number(row), "cell": cell.digest} for row in rows], record
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "cell is broken", where=folder, got=f"{type(error).__name__}: {error}",
            remedy="remove that folder, and run the study again",
        ) from None  # fmt: skip


def _number(row: dict[str, str]) -> dict[str, str]:
    """What the table says of a row of metrics.csv, of a study of a denoiser or of a scan."""
    interval = _INTERVAL.search(row["meaning"]) if "95 %" in row["meaning"] else None
    return {
        "denoiser": ascii_name(row.get("denoiser", "")),
        "layer": ascii_name(row.get("layer", "")),
        "sampler": ascii_name(row.get("sampler", "")),
        "mas": row.get("mas", ""),
        "quantity": row.get("id") or row["name"],
        "value": row["value"],
        "unit": row["unit"],
        "low": interval["low"] if interval else "",
        "high": interval["high"] if interval else "",
    }


class TableWriter:
    """Rows as CSV, and as Parquet where `pyarrow` is installed.

    Parameters
    ----------
    folder : path
    name : str
        Of the files, without suffix.
    columns : sequence of str
    numbers, whole : sequence of str
        Columns of numbers, and of whole numbers; the others hold text.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        columns: Sequence[str] = COLUMNS,
        *,
        numbers: Sequence[str] = _NUMBERS,
        whole: Sequence[str] = _WHOLE,
    ) -> None:
        self._open = contextlib.ExitStack()
        handle = open(folder / f"{name}.csv", "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._open.enter_context(handle)
        self._csv = csv.writer(handle, lineterminator="\n")
        self._csv.writerow(columns)
        self._columns = columns
        self._kinds: dict[str, type] = {
            **dict.fromkeys(whole, int),
            **dict.fromkeys(numbers, float),
        }
        self._batch: list[dict[str, str]] = []
        self._parquet = _parquet(folder / f"{name}.parquet", columns, self._kinds)
        if self._parquet is not None:
            self._open.enter_context(self._parquet)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        with self._open:
            self._flush()

    def write(self, rows: Iterable[dict[str, str]]) -> None:
        """Add rows; a number that is missing is an empty text."""
        for row in rows:
            self._csv.writerow([row[name] for name in self._columns])
            if self._parquet is not None:
                self._batch.append(row)
        if len(self._batch) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._parquet is None or not self._batch:
            return
        import pyarrow

        columns = {name: list(self._column(name)) for name in self._columns}
        self._parquet.write_table(pyarrow.table(columns, schema=self._parquet.schema))
        self._batch.clear()

    def _column(self, name: str) -> Iterator[Any]:
        kind = self._kinds.get(name)
        for row in self._batch:
            yield row[name] if kind is None else kind(row[name]) if row[name] != "" else None


def _parquet(path: Path, columns: Sequence[str], kinds: dict[str, type]) -> Any:
    """A writer of a Parquet file, or None without the package for it."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        return None
    types = {int: pyarrow.int32(), float: pyarrow.float64()}
    schema = pyarrow.schema(
        [(name, types.get(kinds.get(name, str), pyarrow.string())) for name in columns]
    )
    return ParquetWriter(path, schema, compression="zstd")
