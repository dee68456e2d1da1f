"""R, Rᵀ and R⁻¹ of one geometry and one grid, as differentiable torch functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from .backends.cpu import NumbaBackend
from .errors import BackendUnavailable, DataError
from .geometry import FanBeam, Geometry, ImageGrid, ParallelBeam
from .windows import Window, window_response

__all__ = ["Operator", "operator"]


class Backend(Protocol):
    """What a backend does with stacks (B, rows, cols) and (B, views, cols)."""

    name: str
    dtype: torch.dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor: ...  # noqa: D102

    def adjoint(self, sinograms: torch.Tensor) -> torch.Tensor: ...  # noqa: D102

    def fbp(self, sinograms: torch.Tensor, window: Window) -> torch.Tensor: ...  # noqa: D102

    def fbp_transpose(self, images: torch.Tensor, window: Window) -> torch.Tensor: ...  # noqa: D102


class _Linear(torch.autograd.Function):
    """A linear map whose gradient is its transpose, and whose transpose's gradient is the map."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, apply: Callable, transpose: Callable) -> torch.Tensor:
        ctx.maps = apply, transpose
        return apply(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        apply, transpose = ctx.maps
        return _Linear.apply(gradient, transpose, apply), None, None


class Operator:
    """The scanner model R of one geometry and one grid; made by :func:`operator`."""

    def __init__(self, geometry: Geometry, grid: ImageGrid, backend: Backend, reason: str) -> None:
        self.geometry = geometry
        self.grid = grid
        self.reason = reason
        self._backend = backend

    @property
    def backend(self) -> str:
        """Name of the backend in use."""
        return self._backend.name

    def __call__(self, mu: torch.Tensor) -> torch.Tensor:
        """Line integrals (..., views, cols) of attenuation maps (..., rows, cols) [1/mm]."""
        stack = self._stack(mu, self.grid.shape, "image")
        out = _Linear.apply(stack, self._backend.forward, self._backend.adjoint)
        return out.reshape(*mu.shape[:-2], *self.geometry.shape)

    def T(self, p: torch.Tensor) -> torch.Tensor:
        """Exact adjoint: (..., views, cols) to (..., rows, cols)."""
        stack = self._stack(p, self.geometry.shape, "sinogram")
        out = _Linear.apply(stack, self._backend.adjoint, self._backend.forward)
        return out.reshape(*p.shape[:-2], *self.grid.shape)

    def fbp(self, p: torch.Tensor, window: Window = "ram-lak") -> torch.Tensor:
        """Filtered backprojection [1/mm] of line integrals: (..., views, cols) to (..., rows, cols)."""
        stack = self._stack(p, self.geometry.shape, "sinogram")
        out = _Linear.apply(
            stack,
            lambda x: self._backend.fbp(x, window),
            lambda x: self._backend.fbp_transpose(x, window),
        )
        return out.reshape(*p.shape[:-2], *self.grid.shape)

    def _stack(self, x: torch.Tensor, shape: tuple[int, int], what: str) -> torch.Tensor:
        """Return ``x`` checked and with its leading dimensions made one."""
        if not isinstance(x, torch.Tensor):
            raise DataError(
                f"the {what} is no torch tensor",
                got=type(x).__name__,
                remedy="use torch.from_numpy",
            )
        if x.ndim < 2 or tuple(x.shape[-2:]) != shape:
            raise DataError(
                f"the {what} has the wrong shape",
                expected=f"(..., {shape[0]}, {shape[1]})",
                got=tuple(x.shape),
            )
        if x.dtype != self._backend.dtype:
            raise DataError(
                f"the {what} has the wrong dtype", expected=self._backend.dtype, got=x.dtype
            )
        if not torch.isfinite(x.detach()).all():
            raise DataError(f"the {what} holds NaN or infinity", expected="finite values")
        return x.reshape(-1, *shape)

    def __repr__(self) -> str:
        return f"Operator({self.geometry!r}, {self.grid!r}, backend={self.backend!r})"


def operator(geometry: Geometry, grid: ImageGrid, *, backend: str = "auto") -> Operator:
    """Return the operator R of a scanner ``geometry`` and an image ``grid``."""
    return Operator(geometry, grid, NumbaBackend(geometry, grid), "the input is on the CPU")
