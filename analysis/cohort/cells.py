"""Cells of a cohort: one study of one network at one place, layer and exposure of one patient.

A cell is known by a digest of what it computes: the contents of the images, of the networks and of
the denoiser, the place, and the options. Neither paths nor the names of patients enter it, so that
a cohort can be moved, and whatever is there already is found again on any machine.

The seed follows from the images and the place alone. All networks, layers and exposures of a place
are thus scanned with the same noise, which is what makes their differences paired.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recon import DataError

from .inputs import Inputs
from .manifest import OF_ROW
from .places import draw_places

__all__ = ["Cell", "Kind", "cells_of"]

_FORMAT = "cell 1"  # of what the digest is taken of
_DIGITS = 16  # of a digest in the name of a folder
_SEEDS = 2**31
_REAL = ("mas", "dose_fraction", "kvp", "image_mas")  # whatever their default
_BY_CONTENT = ("images", "scan", "denoiser", "weights")

Side = Callable[[str | None, int | None], int]
Networks = Callable[[str, str | None], tuple[Any, Sequence[Path]]]


@dataclass(frozen=True)
class Kind:
    """A study as a manifest may ask for it.

    Attributes
    ----------
    inputs : tuple of str
        Which of "images" and "scan" it takes.
    options : mapping
        Name → value by default, None where there is none.
    needs : tuple of tuple of str
        Options of which one must be given, for each such choice.
    placed : bool
        Whether it has a slice and a place in it.
    """

    inputs: tuple[str, ...]
    options: Mapping[str, Any]
    needs: tuple[tuple[str, ...], ...] = ()
    placed: bool = False


@dataclass(frozen=True)
class Cell:
    """What one cell computes, and for whom."""

    patient: str
    series: str
    study: str
    input: tuple[str, str]  # "images" or "scan", and its path
    place: tuple[int | None, int | None, int | None]  # slice, row, column; None by default
    options: Mapping[str, Any] = field(hash=False)
    seed: int
    digest: str
    where: str  # in the manifest

    @property
    def denoiser(self) -> str:
        """The network by the names of its files, "" without one."""
        return ".".join(Path(p).stem for p in str(self.options.get("denoiser", "")).split(":"))

    @property
    def identity(self) -> tuple[Any, ...]:
        """What the table tells cells apart by."""
        told = (self.options.get(name) for name in ("layer", "sampler", "mas", "dose_fraction"))
        return (self.patient, self.series, self.place, self.study, self.denoiser, *told)

    @property
    def words(self) -> str:
        """The cell in words, for lists."""
        of = [self.patient, self.series, self.study]
        at = dict(zip(("slice", "row", "col"), self.place, strict=True)) | dict(self.options)
        at = {name: f"{v:g}" if isinstance(v, float) else v for name, v in at.items()}
        of += [f"{name} {value}" for name, value in at.items() if value is not None]
        return ", ".join(of)

    @property
    def order(self) -> tuple[Any, ...]:
        """What cells are sorted by."""
        place = tuple(-1 if value is None else value for value in self.place)
        mas = self.options.get("mas")
        return (
            self.patient, self.series, *place, self.study, self.denoiser,
            str(self.options.get("layer", "")), -1.0 if mas is None else float(mas), self.digest,
        )  # fmt: skip


def cells_of(
    rows: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, Kind],
    inputs: Inputs,
    *,
    side: Side,
    networks: Networks,
) -> list[Cell]:
    """All cells of a manifest, in the order of their patients; what is asked for twice is one cell.

    Parameters
    ----------
    rows : sequence of mapping
        As :func:`read_manifest` gives them.
    kinds : mapping
        Studies by their names.
    inputs : Inputs
    side : callable
        ``side(weights, patch)`` gives the side of a patch [pixels], where places are drawn.
    networks : callable
        ``networks(denoiser, weights)`` gives what identifies the networks that are used, and the
        files of a user's own denoiser.

    Raises
    ------
    DataError
        If a study, an option or a file is not there, an option is none of the study's, or two
        patients have the same images.
    """
    asked = [_kind(row, kinds) for row in rows]
    cells: dict[str, Cell] = {}
    alike: dict[tuple[Any, ...], Cell] = {}
    owners: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for row, kind in zip(rows, asked, strict=True):
        options = _options(row, kind, asked)
        content = inputs.digest(_input(row, kind)[1])
        owner, first = owners.setdefault(content, (str(row["patient"]), row))
        if owner != row["patient"]:
            raise DataError(
                "two patients have the same images, which would count them twice",
                where=row["where"], got=f"those of {owner}, {first['where']}",
            )  # fmt: skip
        base = int(row.get("seed", 1))
        for place in _places(row, content, inputs, side=side, seed=base):
            cell = _cell(row, kind, options, content, place, base, networks, inputs)
            other = cells.setdefault(cell.digest, cell)
            if other is cell:
                _require_apart(cell, alike.setdefault(cell.identity, cell))
    return sorted(cells.values(), key=lambda cell: cell.order)


def _kind(row: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Kind:
    if row["study"] not in kinds:
        raise DataError(
            "no such study", where=row["where"], expected=", ".join(kinds), got=row["study"]
        )
    return kinds[row["study"]]


def _input(row: Mapping[str, Any], kind: Kind) -> tuple[str, str]:
    given = "images" if "images" in row else "scan"
    if given not in kind.inputs:
        raise DataError(
            f"{row['study']} is no study of {given}", where=row["where"],
            expected=" or ".join(kind.inputs),
        )  # fmt: skip
    return given, row[given]


def _options(row: Mapping[str, Any], kind: Kind, beside: Sequence[Kind]) -> dict[str, Any]:
    """The options of a row that its study takes, each of the type of its default.

    An option that the study does not take is left out if another study of the manifest takes it,
    else refused.
    """
    given = {k: v for k, v in row.items() if k not in (*OF_ROW, "seed", "where")}
    for name in given:
        if not any(name in one.options for one in beside):
            raise DataError(
                f"{row['study']} has no such option", where=f"{row['where']}, {name}",
                expected=", ".join(kind.options),
            )  # fmt: skip
    if not kind.placed and (named := {"places", "slice", "row"} & row.keys()):
        raise DataError(f"{row['study']} takes all slices", where=f"{row['where']}, {min(named)}")
    for choice in kind.needs:
        if not given.keys() & set(choice):
            raise DataError(f"{row['study']} without {' or '.join(choice)}", where=row["where"])
    return {
        name: _typed(value, kind.options[name], f"{row['where']}, {name}")
        for name, value in sorted(given.items())
        if name in kind.options
    }


def _typed(value: Any, like: Any, where: str) -> Any:
    """A value as the type that an option has by default."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and where.endswith(_REAL):
        return float(value)
    fits = {
        bool: isinstance(value, bool),
        int: number and value == int(value) if number and abs(value) < 1e300 else False,
        float: number,
        str: isinstance(value, str),
        tuple: isinstance(value, tuple),
    }
    for kind, fine in fits.items():
        if type(like) is kind:
            if not fine:
                expected = {bool: "true or false", int: "a whole number", float: "a number"}
                raise DataError(
                    "no such value", where=where, expected=expected.get(kind, kind.__name__),
                    got=value,
                )  # fmt: skip
            return kind(value)
    return value


def _places(
    row: Mapping[str, Any], content: str, inputs: Inputs, *, side: Side, seed: int
) -> list[tuple[int | None, int | None, int | None]]:
    if "places" not in row:
        return [(row.get("slice"), row.get("row"), row.get("col"))]
    count, pixels = row["places"], side(row.get("weights"), row.get("patch"))
    number = _number(content, "places", seed)
    found = inputs.kept(
        f"{count} places of {pixels} pixels, {seed}, {content}",
        lambda: draw_places(row["images"], count, side=pixels, seed=number),
    )
    return [tuple(place) for place in found]


def _cell(
    row: Mapping[str, Any],
    kind: Kind,
    options: Mapping[str, Any],
    content: str,
    place: tuple[int | None, int | None, int | None],
    base: int,
    networks: Networks,
    inputs: Inputs,
) -> Cell:
    known: dict[str, Any] = {}
    if "denoiser" in options:
        identity, files = networks(options["denoiser"], options.get("weights"))
        known = {"networks": identity, "files": [inputs.digest(path) for path in files]}
    resolved = {**kind.options, **options}
    computed = {
        "format": _FORMAT,
        "study": row["study"],
        "input": content,
        "place": place,
        "seed": base,
        "options": {name: resolved[name] for name in sorted(resolved) if name not in _BY_CONTENT},
        **known,
    }
    text = json.dumps(computed, sort_keys=True, default=str)
    return Cell(
        patient=str(row["patient"]),
        series=str(row["series"]),
        study=str(row["study"]),
        input=_input(row, kind),
        place=place,
        options=dict(options),
        seed=_number(content, place, base),
        digest=hashlib.sha256(text.encode()).hexdigest()[:_DIGITS],
        where=str(row["where"]),
    )


def _require_apart(cell: Cell, other: Cell) -> None:
    """Refuse two cells that only options tell apart: the table could not, and would mix them."""
    if cell is not other:
        raise DataError(
            "two cells differ in options that are no columns of the table",
            where=f"{cell.where} and {other.where}",
            got=f"{cell.words} | {other.words}",
            remedy="make a study of its own, with another --out, of each",
        )


def _number(*of: Any) -> int:
    """A seed from anything."""
    return int(hashlib.sha256(repr(of).encode()).hexdigest(), 16) % _SEEDS
