"""Networks in files: their tensors, with what is needed to build them and what is known of them.

What :mod:`ctxai.files.tensors` checks is checked before a network is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recon.errors import DataError

from .tensors import load_tensors, save_tensors

__all__ = ["CLASSES", "load_fitting", "load_module", "save_module"]

CLASSES = {
    "Chen": "ctxai.denoisers",
    "Yang": "ctxai.denoisers",
    "RedCNN": "ctxai.denoisers",
    "Critic": "ctxai.training.critic",
    "VAE": "ctxai.representation.vae",
    "EuligVAE": "ctxai.eulig2024.vae",
    "ConditionalINN": "ctxai.representation.cinn",
    "LinearAutoencoder": "ctxai.representation.linear",
    "SpatialVAE": "ctxai.representation.spatial_vae",
    "ConvolutionalINN": "ctxai.representation.convolutional_cinn",
    "FlowMatching": "ctxai.representation.flow",
}
"""Networks that a file may hold, and the module that defines each (imported when needed)."""

_LEAST_SIZE = 1024  # that any file may name: sides of images, which need no values


def save_module(path: str | Path, module: nn.Module, *, half: bool = False, **facts: Any) -> Path:
    """Save a network of this toolbox with its configuration and what is known about it.

    Parameters
    ----------
    path : path
        File to write (``.safetensors``).
    module : Module
        One of :data:`CLASSES`, with a ``config`` dict that its constructor takes.
    half : bool
        Store floating-point parameters in 16 bits; buffers keep their precision.
    **facts
        Anything JSON can hold: recipe, pixel spacing, digest of the denoiser …

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If the class is not known, or a value is not finite (in 16 bits: larger than 65504).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ctxai import load_module, save_module
    >>> from ctxai import Chen
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "chen.safetensors"
    >>> _ = save_module(path, Chen(), pixel_mm=1.0)
    >>> module, facts = load_module(path)
    >>> type(module).__name__, facts
    ('Chen', {'pixel_mm': 1.0})
    """
    name = type(module).__name__
    _class(name, path)
    parameters = {key for key, _ in module.named_parameters()}
    tensors = {
        key: value.half() if half and key in parameters and value.is_floating_point() else value
        for key, value in module.state_dict().items()
    }
    record = {"kind": "module", "class": name, "config": module.config, "facts": facts}
    return save_tensors(path, tensors, record)


def load_module(path: str | Path, *, digest: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """Load a network that :func:`save_module` wrote, in evaluation mode.

    Parameters
    ----------
    path, digest
        As in :func:`load_tensors`.

    Returns
    -------
    module : Module
        On the CPU, in 32 bits, ``eval()``.
    facts : dict
        The facts given to :func:`save_module`; sequences come back as lists.

    Raises
    ------
    DataError
        As :func:`load_tensors`, or if the tensors do not fit what the configuration describes.
    """
    tensors, record = load_tensors(path, digest=digest)
    if record.get("kind") != "module":
        raise DataError(
            "not the checkpoint of a network",
            where=path,
            expected="kind 'module'",
            got=repr(record.get("kind")),
        )
    cls = _class(record["class"], path)
    _require_held(record["config"], tensors, path)
    try:
        module = cls(**{key: _tuples(value) for key, value in record["config"].items()})
    except (TypeError, RuntimeError) as error:  # the latter for want of memory
        raise DataError(
            f"the configuration does not fit {record['class']}",
            where=path,
            got=error,
            remedy="the file is from another version: train it again",
        ) from None
    remedy = "the file is from another version: train it again"
    load_fitting(module, tensors, record["class"], path, remedy=remedy)
    return module.eval(), record["facts"]


def load_fitting(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    name: str,
    path: str | Path,
    *,
    remedy: str | None = None,
) -> None:
    """Give a network its tensors, if they are its own: by name and shape, all and no other.

    Parameters
    ----------
    module : Module
    tensors : mapping
        A state dict.
    name : str
        What the network is called.
    path : path
        Where the tensors come from.
    remedy : str, optional
        What to do about a file that does not hold them.

    Raises
    ------
    DataError
        With the first tensor, by name, that the network has not, misses or has in another shape.

    Examples
    --------
    >>> from torch import nn, zeros
    >>> from recon import DataError
    >>> try:
    ...     load_fitting(nn.Linear(2, 1), {"bias": zeros(1), "weight": zeros(1, 3)}, "mine", "a.pt")
    ... except DataError as error:
    ...     print(error)
    the file does not hold mine: tensor 'weight' (a.pt): expected (1, 2), got (1, 3)
    """
    if wrong := _first_misfit(module, tensors):
        key, expected, got = wrong
        raise DataError(
            f"the file does not hold {name}: tensor {key!r}", where=path, expected=expected,
            got=got, remedy=remedy,
        )  # fmt: skip
    module.load_state_dict(tensors)


def _first_misfit(
    module: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> tuple[str, object, object] | None:
    """Name of a tensor that does not fit, and the shapes expected and got, or "no such tensor"."""
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in tensors.items()}
    if wanted == got:
        return None
    key = min(set(wanted.items()) ^ set(got.items()))[0]
    return key, wanted.get(key, "no such tensor"), got.get(key, "no such tensor")


def _require_held(
    config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], path: str | Path
) -> None:
    """Refuse sizes that no network of so few values has, before it is built to find out."""
    values = sum(value.numel() for value in tensors.values())
    largest = max(_whole_numbers(list(config.values())), default=0)
    blocks = max(_whole_numbers(config.get("blocks")), default=0)
    if largest > max(values, _LEAST_SIZE) or blocks > len(tensors):
        raise DataError(
            "the configuration describes a network that the file does not hold", where=path,
            expected=f"no size above its {values} values, and a tensor for each block",
            got=dict(config),
        )  # fmt: skip


def _whole_numbers(value: Any) -> list[int]:
    """All whole numbers in lists of lists."""
    if isinstance(value, list):
        return [number for part in value for number in _whole_numbers(part)]
    return [value] if isinstance(value, int) else []


def _class(name: str, path: str | Path) -> type[nn.Module]:
    if name not in CLASSES:
        raise DataError(
            "not a network of this toolbox",
            where=path,
            expected="one of " + ", ".join(CLASSES),
            got=name,
        )
    return getattr(importlib.import_module(CLASSES[name]), name)


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
