"""Tensors in files: safetensors that know what they hold and refuse to be anything else.

A file holds named tensors and one JSON record in its metadata, with a digest of both, so that a
file with a single flipped bit is refused, as is one that was cut short, that another program wrote,
or that holds NaN. Nothing is ever pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from recon.errors import DataError
from recon.storage import write_atomic

__all__ = ["digest_tensors", "load_tensors", "require_finite", "save_tensors"]

_RECORD = "ctxai"  # the one metadata key: with several keys their order, and the bytes, would vary


def digest_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, whatever their order or device.

    Parameters
    ----------
    tensors : mapping
        Name → Tensor.

    Returns
    -------
    str
        64 hex digits.

    Examples
    --------
    >>> import torch
    >>> from ctxai import digest_tensors
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
    require_finite(tensors, path)
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
    require_finite(tensors, path)
    return tensors, metadata["record"]


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


def require_finite(tensors: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Refuse a file of which a tensor holds NaN or infinity, by the name of both."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DataError(
                f"tensor {name!r} holds NaN or infinity", where=path, remedy="train it again"
            )
