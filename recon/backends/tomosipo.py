"""tomosipo: our geometries as it writes them, and its CUDA operators as a backend.

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
from ..geometry import FanBeam, Geometry, ImageGrid
from . import library
from .rays import trace
from .torch_fbp import TorchFbp

__all__ = ["TomosipoBackend", "to_tomosipo"]

_GET = "pip install 'tomosipo @ git+https://github.com/cicwi/tomosipo@v0.7.0'"


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
    ts = library("tomosipo", (0, 7), f"get it with {_GET}")  # older ones need numpy 1
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
