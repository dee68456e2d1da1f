"""A denoiser by its name, from a checkpoint, from published weights, or from a user's own file."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

from torch import nn

from recon.errors import DataError

from ..denoisers import Chen, Yang
from ..files.modules import load_module
from ..files.tensors import digest_tensors
from .own_denoiser import Denoiser, require_image_to_image
from .published import load_ldct_benchmark
from .sets import SHIPPED

__all__ = ["load_denoiser"]


def load_denoiser(spec: str) -> tuple[Denoiser, str, str]:
    """Load a denoiser by name, or from a user's own Python file.

    Parameters
    ----------
    spec : str
        ``"chen"`` or ``"yang"`` for the weights that ship with the toolbox, or
        ``"path/to/module.py:factory"``: the file is run, ``factory()`` is called and must return a
        module or a callable that maps HU to HU, (B, 1, H, W) to the same shape; or
        ``"file.safetensors"``, a denoiser that this toolbox trained; or
        ``"cnn10:file.safetensors"`` or ``"wganvgg:file.safetensors"``, weights of ldct-benchmark.

    Returns
    -------
    f : Module or callable
        Modules come in evaluation mode and with frozen weights.
    name : str
        ``"chen"``, or ``"module.factory"``.
    digest : str
        SHA-256 (hex) of what defines f: the source file, and all tensors of a module.

    Raises
    ------
    DataError
        If the file, the factory or what it returns cannot be used.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ctxai import load_denoiser
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.py"
    >>> _ = path.write_text("def half():\\n    return lambda x: x / 2\\n")
    >>> f, name, digest = load_denoiser(f"{path}:half")
    >>> name, f(3.0), len(digest)
    ('mine.half', 1.5, 64)
    """
    if spec.lower() in ("chen", "yang"):
        module, _ = SHIPPED.load(spec.lower())
        return module.eval().requires_grad_(False), spec.lower(), _digest(module)
    method, _, weights_file = spec.partition(":")
    if method in ("cnn10", "wganvgg"):
        path = Path(weights_file).expanduser()
        published = load_ldct_benchmark(method, path)
        return published, f"{method}-{path.stem}", _digest(published)
    if spec.endswith(".safetensors"):
        return _saved(Path(spec).expanduser())
    text, colon, factory = spec.rpartition(":")
    if not colon or not factory.isidentifier() or not text.endswith(".py"):
        raise DataError(
            "no such denoiser",
            where=spec,
            expected="chen, yang, file.safetensors, cnn10:file.safetensors, "
            "wganvgg:file.safetensors, or path/to/module.py:factory",
        )
    path = Path(text).expanduser()
    if not path.is_file():
        raise DataError("denoiser file not found", where=path)
    code = path.read_bytes()
    source = hashlib.sha256(code)
    f = _made_by(code, path, factory)
    if isinstance(f, nn.Module):
        f = f.eval().requires_grad_(False)
        source.update(digest_tensors(f.state_dict()).encode())
    require_image_to_image(f, spec)
    return f, f"{path.stem}.{factory}", source.hexdigest()


def _saved(path: Path) -> tuple[Denoiser, str, str]:
    """Load a denoiser that `save_module` wrote, by its path."""
    module, _ = load_module(path)
    if not isinstance(module, Chen | Yang):
        raise DataError(
            "not a denoiser", where=path, expected="Chen or Yang", got=type(module).__name__
        )
    return module.eval().requires_grad_(False), path.stem, _digest(module)


def _digest(module: Chen | Yang) -> str:
    """SHA-256 (hex) of a network: its class, its normalisation and its weights."""
    digest = hashlib.sha256(f"{type(module).__name__} {module.config}".encode())
    digest.update(digest_tensors(module.state_dict()).encode())
    return digest.hexdigest()


def _made_by(code: bytes, path: Path, factory: str) -> Denoiser:
    """Run the code of a Python file, leaving nothing beside it, and call one of its functions."""
    name = f"_denoiser_{hashlib.sha256(code).hexdigest()[:16]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and the like look their module up
    try:
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
