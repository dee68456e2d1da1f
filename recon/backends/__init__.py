"""Implementations behind :func:`recon.operator.operator`.

A backend is made from a geometry and a grid, and maps stacks: ``forward`` (B, rows, cols) to
(B, views, cols), ``adjoint`` back, ``fbp`` and ``fbp_transpose`` likewise. Libraries that a backend
needs are imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import torch

from ..checks import one_of
from ..errors import BackendUnavailable
from ..fbp.windows import Window
from ..geometry import Geometry, ImageGrid

__all__ = ["BACKENDS", "Backend", "library", "make_backend"]

BACKENDS = {
    "numba": ("numba", "NumbaBackend"),
    "reference": ("reference", "ReferenceBackend"),
    "torch": ("reference", "TorchBackend"),
    "astra": ("astra", "AstraBackend"),
    "tomosipo": ("tomosipo", "TomosipoBackend"),
}
"""Name of each backend: module of this package and class."""


class Backend(Protocol):
    """What a backend does with stacks (B, rows, cols) and (B, views, cols)."""

    name: str
    dtype: torch.dtype
    devices: tuple[str, ...]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Line integrals."""

    def adjoint(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Transpose of :meth:`forward`."""

    def fbp(self, sinograms: torch.Tensor, window: Window) -> torch.Tensor:
        """Filtered backprojection."""

    def fbp_transpose(self, images: torch.Tensor, window: Window) -> torch.Tensor:
        """Transpose of :meth:`fbp`."""


def library(name: str, least: tuple[int, int], instead: str) -> Any:
    """Import a library of at least that version, or raise BackendUnavailable."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise BackendUnavailable(name, str(error), instead) from error
    if tuple(int(part) for part in module.__version__.split(".")[:2]) < least:
        why = f"version {module.__version__} is before {least[0]}.{least[1]}"
        raise BackendUnavailable(name, why, instead)
    return module


def make_backend(name: str, geometry: Geometry, grid: ImageGrid) -> Backend:
    """Return the backend of that name.

    Raises
    ------
    DataError
        If there is no backend of that name.
    BackendUnavailable
        If it cannot run on this machine.
    """
    one_of("backend", name, ("auto", *BACKENDS))
    module, class_name = BACKENDS[name]
    backend: Backend = getattr(importlib.import_module(f".{module}", __name__), class_name)(
        geometry, grid
    )
    return backend
