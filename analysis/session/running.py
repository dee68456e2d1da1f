"""The command that is running: its notes and its time; and the checks of its plain arguments."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from recon import BackendUnavailable, DataError

from .bars import bars_or_lines

__all__ = ["MOST_SAMPLES", "current", "require_count", "require_device", "require_mas", "running"]

MOST_SAMPLES = 100_000
"""Images that a study may hold in memory."""


@dataclass
class Running:
    """The command that is running: its words, and what was noticed on the way."""

    command: str
    started: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)
    kept: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What the command holds until it ends, such as its output folder."""

    def note(self, text: str) -> None:
        """Say something once, on stderr and in the record of the run."""
        text = " ".join(str(text).split())
        if text not in self.notes:
            self.notes.append(text)
            print(f"ctxai: note: {text}", file=sys.stderr)

    @property
    def seconds(self) -> float:
        """How long the command has been running."""
        return time.monotonic() - self.started


_stack: list[Running] = []


@contextlib.contextmanager
def running(command: str) -> Iterator[Running]:
    """Context of one command; warnings become notes of it."""
    run = Running(command)
    _stack.append(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = lambda message, *_, **__: run.note(str(message))
        try:
            with run.kept, bars_or_lines():
                yield run
        finally:
            _stack.pop()


def current() -> Running:
    """The command that is running, or a nameless one outside of any."""
    return _stack[-1] if _stack else Running("")


def require_count(value: int, name: str, least: int = 1, most: int | None = None) -> int:
    """A whole number of at least 1 and at most ``most``, or a `DataError`."""
    if value < least:
        raise DataError("too few", where=name, expected=f"at least {least}", got=value)
    if most is not None and value > most:
        raise DataError("too many", where=name, expected=f"at most {most}", got=value)
    return value


def require_mas(values: Sequence[float]) -> list[float]:
    """Positive exposures [mAs], each once, or a `DataError`."""
    found = list(dict.fromkeys(float(value) for value in values))
    if not found:
        raise DataError("no exposure", where="--mas", expected="mAs > 0")
    for value in found:
        if not 0.0 < value < float("inf"):
            raise DataError("exposure is not positive", where="--mas", expected="> 0", got=value)
    return found


def require_device(device: str) -> str:
    """A device that is here, or `BackendUnavailable`."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BackendUnavailable("cuda", "no CUDA device was found", "use --device cpu")
    return device
