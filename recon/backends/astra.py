"""The ASTRA backend: CUDA projectors of the ASTRA toolbox on torch's own GPU memory.

Each slice is a volume one voxel thick with a detector of one row, so that an arc is ASTRA's
cylindrical detector (``cyl_cone_vec``, from 2.4) and needs no rebinning. The transpose is ASTRA's
``matched_bp`` kernel for an arc (from 2.5); for a flat detector and parallel beams ASTRA has none,
and the backprojection with ``2d_weighting`` approximates the transpose. FBP is
:mod:`recon.backends.torch_fbp` on the GPU.

Without a working CUDA device any 3D call of ASTRA ends the process, so everything is gated on
``astra.use_cuda()``. The geometry is tested against this package's own rays; the CUDA calls
themselves are not run by the tests, which need no GPU.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from ..errors import BackendUnavailable
from ..geometry import FanBeam, Geometry, ImageGrid
from .rays import trace
from .torch_fbp import TorchFbp

__all__ = ["AstraBackend", "projection_geometry", "volume_geometry"]

_LEAST = (2, 5)
_INSTEAD = "use backend='numba' with CPU tensors"


def volume_geometry(grid: ImageGrid) -> dict[str, Any]:
    """ASTRA's volume of one slice; its x and y are ours, since 3D volumes index y upward."""
    rows, cols = grid.shape
    (sy, sx), (cx, cy) = grid.spacing, grid.centre
    return {
        "GridRowCount": rows,
        "GridColCount": cols,
        "GridSliceCount": 1,
        "option": {
            "WindowMinX": cx - cols * sx / 2,
            "WindowMaxX": cx + cols * sx / 2,
            "WindowMinY": cy - rows * sy / 2,
            "WindowMaxY": cy + rows * sy / 2,
            "WindowMinZ": -0.5,
            "WindowMaxZ": 0.5,
        },
    }


def projection_geometry(geometry: Geometry) -> dict[str, Any]:
    """ASTRA's vectors: source or ray, detector centre, column and row step, radius of an arc."""
    angles = np.asarray(geometry.angles)
    zero, one = np.zeros_like(angles), np.ones_like(angles)
    along = np.stack([np.sin(angles), np.cos(angles), zero], axis=1)
    across = np.stack([np.cos(angles), -np.sin(angles), zero], axis=1)
    up = np.stack([zero, zero, one], axis=1)
    pitch, shift = geometry.col_pitch, geometry.col_offset * geometry.col_pitch
    if not isinstance(geometry, FanBeam):
        kind, parts = "parallel3d_vec", [along, shift * across, pitch * across, up]
    elif geometry.detector == "flat":
        source = -geometry.src_iso * along
        centre = source + geometry.src_det * along + shift * across
        kind, parts = "cone_vec", [source, centre, pitch * across, up]
    else:
        # the arc is turned about the focal spot until its middle column is its centre
        turn = shift / geometry.src_det
        middle = np.cos(turn) * along + np.sin(turn) * across
        tangent = np.cos(turn) * across - np.sin(turn) * along
        source = -geometry.src_iso * along
        centre = source + geometry.src_det * middle
        radius = geometry.src_det * one[:, None]
        kind, parts = "cyl_cone_vec", [source, centre, pitch * tangent, up, radius]
    return {
        "type": kind,
        "DetectorRowCount": 1,
        "DetectorColCount": geometry.n_cols,
        "Vectors": np.concatenate(parts, axis=1),
    }


def _astra() -> Any:
    """Return the module, or raise BackendUnavailable where it could not work."""
    try:
        astra = importlib.import_module("astra")
    except ImportError as error:
        raise BackendUnavailable("astra", f"astra-toolbox: {error}", _INSTEAD) from error
    version = tuple(int(part) for part in astra.__version__.split(".")[:2])
    if version < _LEAST:
        raise BackendUnavailable("astra", f"version {astra.__version__} is before 2.5", _INSTEAD)
    if not (torch.cuda.is_available() and astra.use_cuda()):
        raise BackendUnavailable("astra", "there is no CUDA device that works", _INSTEAD)
    return astra


class AstraBackend(TorchFbp):
    """Forward projection, its transpose, FBP and its transpose for float32 stacks on a GPU."""

    name = "astra"
    dtype = torch.float32
    devices: tuple[str, ...] = ("cuda",)

    def __init__(self, geometry: Geometry, grid: ImageGrid) -> None:
        super().__init__(geometry, grid)
        self._projectors = _astra().projector3d
        trace(geometry, grid)  # refuses a detector that misses the grid
        arc = isinstance(geometry, FanBeam) and geometry.detector == "arc"
        self._projector = self._projectors.create(
            {
                "type": "cuda3d",
                "ProjectionGeometry": projection_geometry(geometry),
                "VolumeGeometry": volume_geometry(grid),
                "ProjectionKernel": "matched_bp" if arc else "2d_weighting",
            }
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Line integrals (B, views, cols) of images (B, rows, cols)."""
        images = images.detach().contiguous()
        out = images.new_empty(len(images), *self.geometry.shape)
        for image, sinogram in zip(images, out):  # images, one at a time
            self._projectors.direct_FP(self._projector, image[None], out=sinogram[None])
        return out

    def adjoint(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Transpose of :meth:`forward`; approximate unless the detector is an arc."""
        sinograms = sinograms.detach().contiguous()
        out = sinograms.new_empty(len(sinograms), *self.grid.shape)
        for sinogram, image in zip(sinograms, out):  # sinograms, one at a time
            self._projectors.direct_BP(self._projector, sinogram[None], out=image[None])
        return out

    def __del__(self) -> None:
        if hasattr(self, "_projector"):
            self._projectors.delete(self._projector)
