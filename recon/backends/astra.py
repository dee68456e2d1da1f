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

from typing import Any

import numpy as np
import torch

from ..errors import BackendUnavailable
from ..geometry import FanBeam, Geometry, ImageGrid
from . import library
from .rays import trace
from .torch_fbp import TorchFbp

__all__ = ["AstraBackend", "projection_geometry", "volume_geometry"]

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
    astra = library("astra", (2, 5), f"get astra-toolbox 2.5, or {_INSTEAD}")
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
        return self._each(self._projectors.direct_FP, images, self.geometry.shape)

    def adjoint(self, sinograms: torch.Tensor) -> torch.Tensor:
        """Transpose of :meth:`forward`; approximate unless the detector is an arc."""
        return self._each(self._projectors.direct_BP, sinograms, self.grid.shape)

    def _each(self, project: Any, stack: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        stack = stack.detach().contiguous()
        out = stack.new_empty(len(stack), *shape)
        for one, place in zip(stack, out):  # images or sinograms, one at a time
            project(self._projector, one[None], out=place[None])
        return out

    def __del__(self) -> None:
        if hasattr(self, "_projector"):
            self._projectors.delete(self._projector)
