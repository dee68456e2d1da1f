"""tomosipo: conversion of geometries in both directions, and its CUDA operators as a backend.

tomosipo orders coordinates (z, y, x) and knows flat detectors and parallel beams. Geometries work
without a GPU. A call of an *operator* without CUDA ends the process, so the backend is gated as
ASTRA's is.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from ..errors import BackendUnavailable, DataError
from ..geometry import FanBeam, Geometry, ImageGrid, ParallelBeam
from .rays import trace
from .torch_fbp import TorchFbp

__all__ = ["TomosipoBackend", "from_tomosipo", "to_tomosipo"]

_LEAST = (0, 7)
_GET = "pip install 'tomosipo @ git+https://github.com/cicwi/tomosipo@v0.7.0'"


def _tomosipo() -> Any:
    try:
        ts = importlib.import_module("tomosipo")
    except ImportError as error:
        raise BackendUnavailable("tomosipo", f"{error}", f"get it with {_GET}") from error
    version = tuple(int(part) for part in ts.__version__.split(".")[:2])
    if version < _LEAST:
        raise BackendUnavailable(
            "tomosipo", f"version {ts.__version__} does not work with numpy 2", f"get 0.7: {_GET}"
        )
    return ts


def to_tomosipo(geometry: Geometry, grid: ImageGrid) -> tuple[Any, Any]:
    """Return tomosipo's (volume, projection) geometry of one slice, 1 mm thick.

    Raises
    ------
    DataError
        If the detector is an arc, which tomosipo cannot express.
    BackendUnavailable
        If tomosipo 0.7 or later is not installed.
    """
    if isinstance(geometry, FanBeam) and geometry.detector == "arc":
        raise DataError(
            "tomosipo has no curved detectors",
            where="FanBeam.detector",
            expected="'flat' or a ParallelBeam",
            got="arc",
            remedy="use backend='numba' or 'astra'",
        )
    ts = _tomosipo()
    rows, cols = grid.shape
    (sy, sx), (cx, cy) = grid.spacing, grid.centre
    volume = ts.volume(shape=(1, rows, cols), pos=(0, cy, cx), size=(1, rows * sy, cols * sx))
    angles = np.asarray(geometry.angles)
    zero = np.zeros_like(angles)
    along = np.stack([zero, np.cos(angles), np.sin(angles)], axis=1)
    across = np.stack([zero, -np.sin(angles), np.cos(angles)], axis=1)
    detector = {
        "shape": (1, geometry.n_cols),
        "det_v": np.stack([zero + 1, zero, zero], axis=1),
        "det_u": geometry.col_pitch * across,
    }
    shift = geometry.col_offset * geometry.col_pitch * across
    if isinstance(geometry, FanBeam):
        behind = geometry.src_det - geometry.src_iso
        projection = ts.cone_vec(
            src_pos=-geometry.src_iso * along, det_pos=behind * along + shift, **detector
        )
    else:
        projection = ts.parallel_vec(ray_dir=along, det_pos=shift, **detector)
    return volume, projection


def _constant(name: str, values: np.ndarray) -> float:
    value = float(values.mean())
    if np.abs(values - value).max() > 1e-6 * max(1.0, abs(value)):
        raise DataError(
            f"{name} differs from view to view",
            where="tomosipo geometry",
            expected="a circular scan about the isocentre in the plane z = 0",
            got=f"{values.min():.6g} to {values.max():.6g}",
        )
    return value


def from_tomosipo(volume: Any, projection: Any) -> tuple[Geometry, ImageGrid]:
    """Return (geometry, grid) of a tomosipo volume and projection geometry of one slice.

    Raises
    ------
    DataError
        If it is not one slice, scanned in its own plane on a circle with a perpendicular detector.
    """
    if volume.shape[0] != 1 or projection.det_shape[0] != 1:
        raise DataError(
            "not a scan of one slice",
            where="tomosipo geometry",
            expected="volume (1, rows, cols) and detector (1, cols)",
            got=f"{tuple(volume.shape)} and {tuple(projection.det_shape)}",
        )
    _, rows, cols = volume.shape
    position, size = np.ravel(volume.pos), np.ravel(volume.size)
    grid = ImageGrid(
        shape=(rows, cols),
        spacing=(size[1] / rows, size[2] / cols),
        centre=(position[2], position[1]),
    )
    vectors = projection.to_vec()
    step = np.linalg.norm(vectors.det_u, axis=1)
    pitch = _constant("the column pitch", step)
    across = vectors.det_u / step[:, None]
    beta = np.unwrap(np.arctan2(-across[:, 1], across[:, 2]))
    along = np.stack([0 * beta, np.cos(beta), np.sin(beta)], axis=1)
    fan = not projection.is_parallel
    ray = vectors.det_pos - vectors.src_pos if fan else vectors.ray_dir
    _constant("the plane", np.concatenate([across[:, 0], ray[:, 0], vectors.det_pos[:, 0], [0.0]]))
    offset = _constant("the detector's shift", (vectors.det_pos * across).sum(1) / pitch)
    common: dict[str, Any] = {
        "angles": beta,
        "n_cols": projection.det_shape[1],
        "col_pitch": pitch,
        "col_offset": 0.0 if abs(offset) < 1e-9 else offset,
    }
    if not fan:
        # a ray's sense does not change its integral, but the detector must be perpendicular to it
        _constant("the rays' tilt", np.append((ray * across).sum(1) / np.linalg.norm(ray), 0.0))
        return ParallelBeam(**common), grid
    _constant("the focal spot's offset", np.append((vectors.src_pos * across).sum(1), 0.0))
    return (
        FanBeam(
            **common,
            src_iso=_constant("the orbit's radius", -(vectors.src_pos * along).sum(1)),
            src_det=_constant("the detector's distance", (ray * along).sum(1)),
            detector="flat",
        ),
        grid,
    )


class TomosipoBackend(TorchFbp):
    """Forward projection and ASTRA's approximate transpose through tomosipo; FBP in torch."""

    name = "tomosipo"
    dtype = torch.float32
    devices: tuple[str, ...] = ("cuda",)

    def __init__(self, geometry: Geometry, grid: ImageGrid) -> None:
        super().__init__(geometry, grid)
        trace(geometry, grid)  # refuses a detector that misses the grid
        volume, projection = to_tomosipo(geometry, grid)
        if not (torch.cuda.is_available() and importlib.import_module("astra").use_cuda()):
            raise BackendUnavailable(
                "tomosipo", "there is no CUDA device that works", "use backend='numba'"
            )
        ts = importlib.import_module("tomosipo")
        importlib.import_module("tomosipo.torch_support")
        self._operator = ts.operator(volume, projection)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Line integrals (B, views, cols) of images (B, rows, cols)."""
        return torch.stack([self._operator(x[None].contiguous())[0] for x in images.detach()])

    def adjoint(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Backprojection, close to the transpose of :meth:`forward` but not matched to it."""
        return torch.stack([self._operator.T(p[None].contiguous())[0] for p in sinograms.detach()])
