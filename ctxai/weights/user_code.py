"""A denoiser from a user's own Python file: the file is run, and one of its functions called.

The file may import what lies beside it. Nothing is left of that afterwards: neither on the import
path nor in the folder, so that two files with a neighbour of the same name each get their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recon.errors import DataError

__all__ = ["made_by"]


def made_by(path: Path, factory: str) -> Callable[..., Any]:
    """Run a Python file and call one of its functions.

    Parameters
    ----------
    path : path
        The file.
    factory : str
        A function in it that takes nothing and returns the denoiser.

    Raises
    ------
    DataError
        If the file or the function is not there, its code fails, or it returns no callable.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ctxai.weights.user_code import made_by
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "law.py").write_text("share = 0.5\\n")
    >>> _ = (folder / "mine.py").write_text(
    ...     "from law import share\\ndef half():\\n    return lambda x: share * x\\n")
    >>> made_by(folder / "mine.py", "half")(3.0)
    1.5
    """
    if not path.is_file():
        raise DataError("denoiser file not found", where=path)
    code = path.read_bytes()
    name = f"_denoiser_{hashlib.sha256(code).hexdigest()[:16]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and the like look their module up
    try:
        with _beside(path.parent.resolve()):
            exec(compile(code, str(path), "exec"), module.__dict__)
            make = getattr(module, factory, None)
            f = make() if callable(make) else None
    except (Exception, SystemExit) as error:  # whatever the user's own code may raise
        raise DataError(
            "the denoiser's own code failed",
            where=f"{path}:{factory}",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if not callable(make):
        raise DataError(
            f"the file has no function {factory!r}",
            where=path,
            expected="a function that takes nothing and returns the denoiser",
        )
    if not callable(f):
        raise DataError(
            "the factory returned no denoiser",
            where=f"{path}:{factory}",
            expected="a torch module or a callable",
            got=type(f).__name__,
        )
    return f


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Make what lies in a folder importable, and forget it again."""
    path, no_bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # nothing is written beside the user's file
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = no_bytecode
        for name in set(sys.modules) - before:
            if _lies_in(sys.modules[name], folder):
                del sys.modules[name]


def _lies_in(module: Any, folder: Path) -> bool:
    """Whether a module was imported from a folder, as a file or as a package."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(place and Path(place).is_relative_to(folder) for place in places)
