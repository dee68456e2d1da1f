"""Networks in files of torch: TorchScript, exported programs, and tensors beside their code.

A pickle may run anything when it is opened, so that none is: a state dict is read with
``weights_only``, and a whole network that was pickled is refused with what to do instead.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from recon.errors import DataError

from ..files.modules import load_fitting
from ..files.tensors import require_finite

__all__ = ["exported_program", "give_weights", "torch_script"]

_WHOLE = ("state_dict", "model_state_dict", "params", "model", "generator", "net")
"""Names under which training programs keep a state dict beside other things."""


def torch_script(path: Path) -> nn.Module:
    """A network that ``torch.jit.save`` wrote, in evaluation mode and without gradients.

    Raises
    ------
    DataError
        If the file cannot be read, or holds tensors or a pickle instead.

    Examples
    --------
    >>> import pathlib, tempfile, warnings
    >>> import torch
    >>> from ctxai.weights.formats import torch_script
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "rectifier.ts"
    >>> with warnings.catch_warnings(action="ignore"):
    ...     torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(2)), path)
    >>> torch_script(path)(torch.tensor([3.0, -1.0]))
    tensor([3., 0.])
    """
    _require_file(path)
    if not _is_script(path):
        raise DataError(
            "the file holds tensors or a pickle, no network with its code",
            where=path,
            expected="a file of torch.jit.save or torch.export.save (.pt2)",
            remedy="give the code beside the tensors, path.py:factory:weights.pt",
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # that it is deprecated
            module = torch.jit.load(path, map_location="cpu")
    except Exception as error:  # whatever the reader of a damaged file may raise
        raise DataError("TorchScript cannot be read", where=path, got=_first_line(error)) from None
    module.eval()
    for parameter in module.parameters():  # a script has no requires_grad_ of its own
        parameter.requires_grad_(False)
    return module


def exported_program(path: Path) -> nn.Module:
    """A network that ``torch.export.save`` wrote, with the modules that it was made of.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    _require_file(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch about its own reader
            module = torch.export.unflatten(torch.export.load(path))
    except Exception as error:  # whatever the reader of a damaged file may raise
        raise DataError(
            "exported program cannot be read", where=path, got=_first_line(error)
        ) from None
    return module.requires_grad_(False)


def give_weights(f: Any, path: Path, where: str) -> None:
    """Load a state dict into the network that a factory returned.

    Parameters
    ----------
    f : Module
    path : path
        A file of ``torch.save`` that holds tensors, perhaps beside plain values, or safetensors.
    where : str
        What the user calls f.

    Raises
    ------
    DataError
        If f is no module, or the file holds anything else, or another network's tensors.
    """
    if not isinstance(f, nn.Module):
        raise DataError(
            "only a torch module can be given weights", where=where, got=type(f).__name__
        )
    tensors = _tensors(path)
    require_finite(tensors, path)
    load_fitting(f, tensors, where, path)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file, without the prefix that DataParallel gives its names."""
    _require_file(path)
    found: Any
    try:
        if path.suffix == ".safetensors":
            found = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            "the file holds more than tensors and plain values, and is not opened",
            where=path,
            got=_first_line(error),
            remedy="save the state dict alone: torch.save(model.state_dict(), FILE)",
        ) from None
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise DataError("weights cannot be read", where=path, got=_first_line(error)) from None
    for name in _WHOLE:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping) or not all(
        isinstance(v, torch.Tensor) for v in found.values()
    ):
        raise DataError("no state dict", where=path, expected="names and tensors")
    if found and all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): value for name, value in found.items()}
    return dict(found)


def _is_script(path: Path) -> bool:
    """Whether a zip file of torch holds code, as TorchScript does."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataError("denoiser file not found", where=path)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
