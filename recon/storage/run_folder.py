"""The results of a run: built in a hidden folder, sealed, and published in one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .hold import holding, published
from .leftovers import make, publish
from .parts import seal
from .unfinished import unfinished

__all__ = ["run_folder"]


@contextlib.contextmanager
def run_folder(out: str | Path) -> Iterator[Path]:
    """Build the results of a run in a hidden folder and move them to ``out`` at the end.

    That folder lies in ``out`` where it exists, which may be a mount of its own, else beside it.

    Yields the folder to write into. If the block raises, that folder is removed and ``out`` is as
    it was before (not there, if it was not there); if it ends well, each item is moved into ``out``
    and replaces an earlier item of the same name. If a run.json is among the items, it gets the
    digests of the others, and all that an earlier run.json in ``out`` has on record goes. Nothing
    else in ``out`` is touched.

    Raises
    ------
    DataError
        If ``out`` is a file, its parent cannot be written, or another process writes to it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from recon.storage import run_folder, write_json
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "OUT"
    >>> with run_folder(out) as folder:
    ...     _ = write_json(folder / "run.json", {"seed": 1})
    >>> [item.name for item in out.iterdir()]
    ['run.json']
    """
    with holding(out) as out:
        try:
            folder = make(out)
        except OSError as error:
            raise DataError("output folder cannot be made", where=out, got=error.strerror) from None
        with unfinished(folder):
            yield folder
            mine = published(out)
            names = sorted(item.name for item in folder.iterdir() if item.name[0] != ".")
            seal(folder, [out / name for name in sorted(mine) if (out / name).exists()])
            publish(folder, out, keep=frozenset(mine))
            mine.update(names)
