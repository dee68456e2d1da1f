"""The two exceptions that the toolbox raises on purpose."""

from __future__ import annotations

__all__ = ["BackendUnavailable", "DataError"]


class DataError(ValueError):
    """Input that cannot be used, said in one line: what, where, expected, got, what to do.

    Parameters
    ----------
    what : str
        What is wrong, in the words of the field.
    where : object, optional
        File, tag, layer or argument in which it was found.
    expected, got : object, optional
        What was expected there, and what came.
    remedy : str, optional
        What the reader can do about it.

    Examples
    --------
    >>> from recon import DataError
    >>> print(DataError("negative exposure", where="--mas", expected="mAs > 0", got=-10))
    negative exposure (--mas): expected mAs > 0, got -10
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        remedy: str | None = None,
    ) -> None:
        line = what if where is None else f"{what} ({where})"
        facts = [
            f"{word} {value}"
            for word, value in (("expected", expected), ("got", got))
            if value is not None
        ]
        if facts:
            line += ": " + ", ".join(facts)
        if remedy:
            line += f"; {remedy}"
        super().__init__(" ".join(line.split()))


class BackendUnavailable(RuntimeError):
    """A projector backend that cannot run on this machine: which, why, what to use instead.

    Examples
    --------
    >>> from recon import BackendUnavailable
    >>> print(BackendUnavailable("astra", "no CUDA device was found", "use backend='numba'"))
    backend 'astra' cannot run here: no CUDA device was found; use backend='numba'
    """

    def __init__(self, backend: str, why: str, instead: str) -> None:
        super().__init__(f"backend {backend!r} cannot run here: {why}; {instead}")
