"""Paths that a user names: whether they are there, and whether they can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..errors import DataError

__all__ = ["place_beside", "require_there", "require_writable"]


def require_there(path: str | Path) -> Path:
    """Refuse a file or folder that is not there or cannot be looked into.

    Parameters
    ----------
    path : path
        What has to be there.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    DataError

    Examples
    --------
    >>> from recon import DataError
    >>> from recon.storage import require_there
    >>> try:
    ...     require_there("no/such/folder")
    ... except DataError as error:
    ...     print(error)
    no such file or folder (no/such/folder)
    """
    path = Path(path).expanduser()
    try:
        if not path.exists():
            raise DataError("no such file or folder", where=path)
        if path.is_dir():
            with os.scandir(path) as items:
                next(items, None)
    except OSError as error:
        raise DataError("cannot be looked into", where=path, got=error.strerror) from None
    return path


def require_writable(out: str | Path) -> Path:
    """Refuse a run folder that cannot be made or written, before anything is computed for it.

    Parameters
    ----------
    out : path
        A folder, or one that is not there yet; nothing is left behind.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If ``out`` or what it would lie in is a file, or cannot be written.
    """
    out = Path(out).expanduser()
    try:
        place = next(path for path in (out, *out.absolute().parents) if path.exists())
        if place == out and not out.is_dir():
            raise DataError("output is a file", where=out, remedy="name a folder with --out")
        os.rmdir(tempfile.mkdtemp(prefix=".partial-", dir=place))
    except OSError as error:
        raise DataError(
            "output folder cannot be made or written",
            where=out,
            got=error.strerror,
            remedy="name another folder with --out",
        ) from None
    return out


def place_beside(out: Path) -> Path:
    """A hidden path for what belongs to a folder, in the nearest folder above it that is there.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from recon.storage.places import place_beside
    >>> above = pathlib.Path(tempfile.mkdtemp())
    >>> place_beside(above / "studies" / "OUT").relative_to(above).as_posix()
    '.studies+OUT'
    """
    above = next(path for path in out.parents if path.is_dir())
    return above / ("." + "+".join(out.relative_to(above).parts))
