"""What a description of a scanner or a grid may hold; anything else is a DataError."""

from __future__ import annotations

import html
import math
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from .errors import DataError

__all__ = [
    "array", "as_html", "count", "finite", "number", "numbers", "one_of", "positive", "view_angles",
]  # fmt: skip


def one_of(name: str, value: object, known: Iterable[object]) -> None:
    """Refuse what is not among the values that are known."""
    if value not in tuple(known):
        expected = " or ".join(map(repr, known))
        raise DataError(f"unknown {name}", expected=expected, got=repr(value))


def array(name: str, value: Any) -> np.ndarray:
    """Return one or more finite numbers, in any shape, as float64."""
    try:
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.size == 0 or not np.isfinite(values).all():
        raise DataError(f"{name} are not finite numbers", got=reprlib.repr(value))
    return values


def number(name: str, value: Any) -> float:
    """Return anything that converts to a float as one, also if it is not finite."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError("not a number", where=name, got=repr(value)) from None


def numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    """Return ``value`` as ``count`` finite floats."""
    values = array(name, value)
    if values.shape != (count,):
        raise DataError(f"{name} is not valid", expected=f"{count} finite numbers", got=value)
    return tuple(values.tolist())


def positive(name: str, value: Any, unit: str = "mm") -> float:
    """Return a number that is finite and above zero."""
    number = finite(name, value)
    if number <= 0.0:
        raise DataError(f"{name} is not positive", expected=f"{unit} > 0", got=value)
    return number


def count(name: str, value: Any, least: int, most: float = math.inf) -> int:
    """Return a whole number from ``least`` to ``most``."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= int(value) <= most:
        limits = f"≥ {least}" if most == math.inf else f"from {least} to {most}"
        raise DataError(f"{name} is not valid", expected=f"a whole number {limits}", got=value)
    return int(value)


def finite(name: str, value: Any) -> float:
    """Return a number that is neither NaN nor infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise DataError(f"{name} is not a number", expected="a finite number", got=value)
    if not math.isfinite(value):
        raise DataError(f"{name} is not finite", expected="a finite number", got=value)
    return float(value)


def view_angles(value: Any) -> np.ndarray:
    """Return strictly monotonic angles [rad] as a float64 array that cannot be written to."""
    try:
        angles = np.array(value, dtype=np.float64)  # always a copy: it is made read-only
    except (TypeError, ValueError) as error:
        raise DataError("view angles are not numbers", where="angles", expected="rad") from error
    if angles.ndim != 1 or angles.size == 0 or not np.isfinite(angles).all():
        raise DataError(
            "view angles are not valid",
            where="angles",
            expected="a list of finite angles [rad]",
            got=f"shape {angles.shape}",
        )
    step = np.diff(angles)
    if angles.size > 1 and not ((step > 0).all() or (step < 0).all()):
        first = int(np.flatnonzero(np.sign(step) != np.sign(step[0]))[0]) if step[0] else 0
        raise DataError(
            "view angles are not monotonic",
            where="angles",
            expected="strictly increasing or strictly decreasing",
            got=f"{angles[first]:.6g} then {angles[first + 1]:.6g} at view {first + 1}",
            remedy="sort the views, and do not wrap the angles at 2π",
        )
    angles.flags.writeable = False
    return angles


def as_html(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a description, names and values, as the table that a notebook shows."""
    cells = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in rows
    )
    return f"<table><caption>{html.escape(title)}</caption>{cells}</table>"
