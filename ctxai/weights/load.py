"""A denoiser by its name, from a checkpoint, from published weights, or from a user's own file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from recon.errors import DataError

from ..denoisers import Chen, RedCNN, Yang
from ..files.modules import load_module
from ..files.tensors import digest_tensors
from ..wiretap.neighbours import AmongNeighbours
from .convention import Convention, convention_of
from .fingerprint import fingerprint
from .formats import exported_program, give_weights, torch_script
from .in_hu import in_hu
from .named import Named, named, require_denoiser
from .onnx_file import OnnxDenoiser
from .own_denoiser import Denoiser, in_evaluation_mode, one_by_one, slices_taken, usable
from .published import load_ldct_benchmark
from .sets import SHIPPED
from .units import require_hu
from .user_code import made_by

__all__ = ["load_denoiser"]

Shape = tuple[int, int]

_OURS = (Chen, RedCNN, Yang)
_PROGRAMS: dict[str, Callable[[Path], Denoiser]] = {
    ".pt": torch_script,
    ".pth": torch_script,
    ".ts": torch_script,
    ".pt2": exported_program,
    ".onnx": OnnxDenoiser,
}


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
        (water is 1 and air 0), or "scale=S,offset=O" for (HU + O) / S; with "slices=3" a slice and
        its neighbours as channels, of which it returns the one in the middle. f is then an
        :class:`~ctxai.AmongNeighbours`, in which each image is its own neighbour.
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
    require_denoiser(spec, input)
    found = named(spec)
    if found.own:
        return _own(spec, found, convention_of(input), shape)
    ours = _ours(found).eval().requires_grad_(False)
    return ours, found.name, _digest(ours)


def _ours(found: Named) -> Any:
    """A network of this toolbox's own kinds."""
    if found.path is None:
        return SHIPPED.load(found.name)[0]
    return (
        _saved(found.path) if found.kind == "saved" else load_ldct_benchmark(found.kind, found.path)
    )


def _own(
    spec: str, found: Named, convention: Convention, shape: Shape | Callable[[Denoiser], Shape]
) -> tuple[Denoiser, str, str]:
    """A user's own network, tried before it is used."""
    network = in_evaluation_mode(_brought(found), spec)
    if convention.slices == 1 and (slices := slices_taken(in_hu(network, convention))) > 1:
        convention = convention.of_slices(slices)
        warnings.warn(
            f"{spec}: takes {slices} channels and returns one: it is given the slice between its "
            f"neighbours (--input {convention.name})",
            stacklevel=2,
        )
    f = _of_one_slice(in_hu(network, convention), convention)
    if callable(shape):
        shape = shape(f)
    tried = usable(f, spec, shape)
    if isinstance(f, AmongNeighbours) and tried is not f:
        tried = AmongNeighbours(one_by_one(f.network), f.slices)
    require_hu(_of_one_slice(network, convention), convention, spec, shape)
    return tried, found.name, fingerprint(tried, shape)


def _of_one_slice(network: Denoiser, convention: Convention) -> Denoiser:
    """A network as a function of one slice, which is its own neighbour if there are to be any."""
    return network if convention.slices == 1 else AmongNeighbours(network, convention.slices)


def _brought(found: Named) -> Denoiser:
    """What a user brings, in its own unit."""
    assert found.path is not None
    if found.kind == "program":
        return _PROGRAMS[found.path.suffix](found.path)
    network = made_by(found.path, found.factory)
    if found.weights is not None:
        give_weights(network, found.weights, f"{found.path}:{found.factory}")
    return network


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
