"""A denoiser by its name, from a checkpoint, from published weights, or from a user's own file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from recon.errors import DataError

from ..denoisers import Chen, RedCNN, Yang
from ..files.modules import load_module
from ..files.tensors import digest_tensors
from .convention import Convention, convention_of, in_hu
from .fingerprint import fingerprint
from .formats import exported_program, give_weights, torch_script
from .onnx_file import OnnxDenoiser
from .own_denoiser import Denoiser, in_evaluation_mode, usable
from .published import METHODS, load_ldct_benchmark
from .sets import SHIPPED
from .units import require_hu
from .user_code import made_by

__all__ = ["load_denoiser"]

Shape = tuple[int, int]

_OURS = (Chen, RedCNN, Yang)
_CODE = re.compile(r"(?P<file>.+\.py):(?P<factory>[^\W\d]\w*)(:(?P<weights>.+))?")
_FILES: dict[str, Callable[[Path], Denoiser]] = {
    ".pt": torch_script,
    ".pth": torch_script,
    ".ts": torch_script,
    ".pt2": exported_program,
    ".onnx": OnnxDenoiser,
}
_FORMS = (
    "chen, yang, file.safetensors, "
    + ", ".join(f"{method}:file.safetensors" for method in METHODS)
    + ", a file of torch.jit.save (.pt, .ts), of torch.export.save (.pt2) or .onnx, "
    "path/to/module.py:factory, or path/to/module.py:factory:weights.pt"
)


def load_denoiser(
    spec: str,
    *,
    input: str = "hu",
    shape: Shape | Callable[[Denoiser], Shape] = (64, 64),
) -> tuple[Denoiser, str, str]:
    """Load a denoiser by name, or from a user's own files.

    Parameters
    ----------
    spec : str
        ``"chen"`` or ``"yang"`` for the weights that ship with the toolbox; or
        ``"file.safetensors"``, a denoiser that this toolbox trained; or
        ``"redcnn:file.safetensors"``, and so with cnn10, wganvgg and dugan, weights of
        ldct-benchmark; or ``"path/to/module.py:factory"``: the file is run, ``factory()`` is called
        and must return a module or a callable, (B, 1, H, W) to the same shape; or
        ``"path/to/module.py:factory:weights.pt"``, a state dict for that module; or
        a file that ``torch.jit.save`` (.pt, .ts) or ``torch.export.save`` (.pt2) wrote, or
        ``"file.onnx"``.
    input : str
        What a user's own network takes, and returns: "hu", "hu+1024", "hu+1000", "water"
        (water is 1 and air 0), or "scale=S,offset=O" for (HU + O) / S.
    shape : (rows, cols), or a function of f
        Of the images that it will be given: a user's own network is tried at that size.

    Returns
    -------
    f : Module or callable
        HU to HU. Modules come in evaluation mode and with frozen weights.
    name : str
        ``"chen"``, or ``"module.factory"``.
    digest : str
        SHA-256 (hex) of what defines f: its class and weights; of a user's own what it answers on
        fixed images, and its tensors.

    Raises
    ------
    DataError
        If the file, the factory or what it returns cannot be used.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ctxai import load_denoiser
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.py"
    >>> _ = path.write_text(
    ...     "from torch.nn import AvgPool2d\\ndef smooth():\\n    return AvgPool2d(3, 1, 1)\\n")
    >>> f, name, digest = load_denoiser(f"{path}:smooth")
    >>> name, len(digest)
    ('mine.smooth', 64)
    """
    convention = convention_of(input)
    method, _, weights_file = spec.partition(":")
    ours: Any = None
    if spec.lower() in ("chen", "yang"):
        ours, name = SHIPPED.load(spec.lower())[0], spec.lower()
    elif method in METHODS and weights_file:
        path = Path(weights_file).expanduser()
        ours, name = load_ldct_benchmark(method, path), f"{method}-{path.stem}"
    elif spec.endswith(".safetensors") and not _CODE.fullmatch(spec):
        path = Path(spec).expanduser()
        ours, name = _saved(path), path.stem
    if ours is None:
        return _own(spec, convention, shape)
    if convention.name != "hu":
        raise DataError(
            "this network's input is known", where="--input", expected="hu", got=convention.name
        )
    return ours.eval().requires_grad_(False), name, _digest(ours)


def _own(
    spec: str, convention: Convention, shape: Shape | Callable[[Denoiser], Shape]
) -> tuple[Denoiser, str, str]:
    """A user's own network, tried before it is used."""
    network, name = _brought(spec)
    network = in_evaluation_mode(network, spec)
    f = in_hu(network, convention)
    if callable(shape):
        shape = shape(f)
    f = usable(f, spec, shape)
    require_hu(network, convention, spec, shape)
    return f, name, fingerprint(f, shape)


def _brought(spec: str) -> tuple[Denoiser, str]:
    """What a user brings, in its own unit, and what it is called."""
    if code := _CODE.fullmatch(spec):
        path, factory = Path(code["file"]).expanduser(), code["factory"]
        network = made_by(path, factory)
        name = f"{path.stem}.{factory}"
        if code["weights"]:
            weights = Path(code["weights"]).expanduser()
            give_weights(network, weights, f"{path}:{factory}")
            name += f".{weights.stem}"
        return network, name
    path = Path(spec).expanduser()
    if path.suffix in _FILES and ":" not in spec:
        return _FILES[path.suffix](path), path.stem
    raise DataError("no such denoiser", where=spec, expected=_FORMS)


def _saved(path: Path) -> nn.Module:
    """Load a denoiser that `save_module` wrote."""
    module, _ = load_module(path)
    if not isinstance(module, _OURS):
        names = " or ".join(cls.__name__ for cls in _OURS)
        raise DataError("not a denoiser", where=path, expected=names, got=type(module).__name__)
    return module


def _digest(module: Chen | RedCNN | Yang) -> str:
    """SHA-256 (hex) of a network: its class, its normalisation and its weights."""
    digest = hashlib.sha256(f"{type(module).__name__} {module.config}".encode())
    digest.update(digest_tensors(module.state_dict()).encode())
    return digest.hexdigest()
