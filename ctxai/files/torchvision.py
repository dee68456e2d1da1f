"""Weights of torchvision's networks, from a file that the user has: nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from recon.errors import DataError

__all__ = ["cached_weights", "read_weights"]


def cached_weights(name: str) -> Path | None:
    """``NAME-*.safetensors`` in the folder ``checkpoints`` of ``torch.hub.get_dir()``, if any."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next(iter(sorted(folder.glob(f"{name}-*.safetensors"))), None)


def read_weights(
    path: str | Path, name: str, shapes: Mapping[str, tuple[int, ...]], *, remedy: str
) -> dict[str, torch.Tensor]:
    """Tensors of a network of torchvision, by its keys.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file; what it holds beside the wanted tensors is ignored.
    name : str
        Name of the network in torchvision, "vgg19".
    shapes : mapping
        Wanted keys with the shape of each.
    remedy : str
        What to do about a file that does not hold them.

    Raises
    ------
    DataError
        If the file is of another kind, cannot be read, or lacks a finite tensor of that shape.
    """
    path, title = Path(path), name.replace("vgg", "VGG").replace("resnet", "ResNet")
    if path.suffix != ".safetensors":
        raise DataError(
            f"weights of {title} must be a safetensors file",
            where=path,
            remedy=f"convert them once: safetensors.torch.save_file(torchvision.models.{name}("
            f"weights='DEFAULT').state_dict(), '{name}.safetensors')",
        )
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"weights of {title} cannot be read", where=path, got=error) from None
    for key, shape in shapes.items():
        if key not in tensors or tuple(tensors[key].shape) != tuple(shape):
            raise DataError(
                f"the file does not hold {title}: tensor {key!r}",
                where=path,
                expected=tuple(shape),
                got=tuple(tensors[key].shape) if key in tensors else "no such tensor",
                remedy=remedy,
            )
        if not torch.isfinite(tensors[key]).all():
            raise DataError(f"tensor {key!r} holds NaN or infinity", where=path)
    return {key: tensors[key] for key in shapes}
