"""Networks in files: safetensors that know what they hold and refuse to be anything else.

A file holds named tensors and one JSON record in its metadata, with a digest of both, so that a
file with a single flipped bit is refused, as is one that was cut short, that another program wrote,
or that holds NaN. All of this is checked before a network is built. Nothing is ever pickled.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from recon.errors import DataError
from recon.storage import write_atomic

__all__ = [
    "CLASSES",
    "digest_tensors",
    "load_module",
    "load_tensors",
    "save_module",
    "save_tensors",
]

CLASSES = {
    "Chen": "ctxai.denoisers",
    "Yang": "ctxai.denoisers",
    "Critic": "ctxai.critic",
    "VAE": "ctxai.vae",
    "EuligVAE": "ctxai.eulig_vae",
    "ConditionalINN": "ctxai.cinn",
    "FlowMatching": "ctxai.flow_matching",
}
"""Networks that a file may hold, and the module that defines each (imported when needed)."""

_RECORD = "ctxai"  # the one metadata key: with several keys their order, and the bytes, would vary


def digest_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, whatever their order or device.

    Examples
    --------
    >>> import torch
    >>> from ctxai.checkpoints import digest_tensors
    >>> a, b = torch.zeros(2), torch.ones(3)
    >>> digest_tensors({"a": a, "b": b}) == digest_tensors({"b": b, "a": a})
    True
    >>> digest_tensors({"a": a}) == digest_tensors({"a": -a})  # the sign of zero is a bit too
    False
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], record: Mapping) -> Path:
    """Write tensors and a JSON record to one safetensors file, whole or not at all.

    Parameters
    ----------
    path : path
        File to write; an earlier one is replaced only when the new one is complete on disk.
    tensors : mapping of str to Tensor
        Any shapes and types; floating-point values must be finite.
    record : mapping
        What the tensors are: anything that JSON can hold.

    Raises
    ------
    DataError
        If a tensor holds NaN or infinity, or the record is no JSON.
    """
    _require_finite(tensors, path)
    apart = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    try:
        plain = json.loads(json.dumps(record, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DataError("the record of a checkpoint is no JSON", where=path, got=error) from None
    text = json.dumps({"record": plain, "sha256": _seal(apart, plain)})
    return write_atomic(path, safetensors.torch.save(apart, {_RECORD: text}))


def load_tensors(
    path: str | Path, *, digest: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote, after checking that it is exactly that.

    Parameters
    ----------
    path : path
        The file.
    digest : str, optional
        SHA-256 (hex) that the whole file must have.

    Returns
    -------
    tensors : dict of str to Tensor
    record : dict

    Raises
    ------
    DataError
        If the file is missing, truncated, foreign, altered or not finite, or its digest differs.
    """
    content = _read(path)
    if digest is not None and (found := hashlib.sha256(content).hexdigest()) != digest:
        raise DataError(
            "not the file that was recorded",
            where=path,
            expected=f"sha256 {digest}",
            got=found,
            remedy="restore the file, or train it again",
        )
    metadata = _metadata(content, path)
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise DataError(
            "checkpoint is truncated or damaged",
            where=path,
            got=error,
            remedy="delete it, or restore it from a copy",
        ) from None
    if metadata.get("sha256") != _seal(tensors, metadata.get("record")):
        raise DataError(
            "checkpoint is not as it was written",
            where=path,
            remedy="delete it, or restore it from a copy",
        )
    _require_finite(tensors, path)
    return tensors, metadata["record"]


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

    Raises
    ------
    DataError
        If the class is not known, or a value is not finite (in 16 bits: larger than 65504).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ctxai.checkpoints import load_module, save_module
    >>> from ctxai.denoisers import Chen
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
    try:
        module = cls(**{key: _tuples(value) for key, value in record["config"].items()})
    except TypeError as error:
        raise DataError(
            f"the configuration does not fit {record['class']}",
            where=path,
            got=error,
            remedy="the file is from another version: train it again",
        ) from None
    if wrong := first_misfit(module, tensors):
        key, expected, got = wrong
        raise DataError(
            f"tensor {key!r} does not fit {record['class']}",
            where=path,
            expected=expected,
            got=got,
            remedy="the file is from another version: train it again",
        )
    module.load_state_dict(tensors)
    return module.eval(), record["facts"]


def first_misfit(
    module: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> tuple[str, object, object] | None:
    """First tensor, by name, that a network has not, misses or has in another shape.

    Returns
    -------
    (name, expected, got) or None
        Shapes, or "no such tensor"; None if all fit.

    Examples
    --------
    >>> from torch import nn, zeros
    >>> first_misfit(nn.Linear(2, 1), {"bias": zeros(1), "weight": zeros(1, 3)})
    ('weight', (1, 2), (1, 3))
    """
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in tensors.items()}
    if wanted == got:
        return None
    key = min(set(wanted.items()) ^ set(got.items()))[0]
    return key, wanted.get(key, "no such tensor"), got.get(key, "no such tensor")


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError("checkpoint cannot be read", where=path, got=error.strerror) from None


def _seal(tensors: Mapping[str, torch.Tensor], record: Any) -> str:
    """Digest of everything in a file."""
    text = json.dumps(record, sort_keys=True) + digest_tensors(tensors)
    return hashlib.sha256(text.encode()).hexdigest()


def _metadata(content: bytes, path: str | Path) -> dict[str, Any]:
    """Ours in a safetensors header, which is 8 bytes of length (little endian), then JSON."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or content[8:9] != b"{":
        raise DataError(
            "not a safetensors file", where=path, remedy="name a file written by this toolbox"
        )
    if length > len(content) - 8:
        raise DataError(
            "checkpoint is truncated",
            where=path,
            expected=f"a header of {length} bytes",
            got=f"{len(content) - 8} bytes in all",
            remedy="delete it, or restore it from a copy",
        )
    try:
        return dict(json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_RECORD]))
    except (KeyError, TypeError):
        raise DataError(
            "a safetensors file of another program",
            where=path,
            remedy="name a file written by this toolbox",
        ) from None
    except ValueError as error:
        raise DataError("checkpoint has a damaged header", where=path, got=error) from None


def _class(name: str, path: str | Path) -> type[nn.Module]:
    if name not in CLASSES:
        raise DataError(
            "not a network of this toolbox",
            where=path,
            expected="one of " + ", ".join(CLASSES),
            got=name,
        )
    return getattr(importlib.import_module(CLASSES[name]), name)


def _require_finite(tensors: Mapping[str, torch.Tensor], path: str | Path) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DataError(
                f"tensor {name!r} holds NaN or infinity", where=path, remedy="train it again"
            )


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
