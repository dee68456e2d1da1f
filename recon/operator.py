"""R, Rᵀ and R⁻¹ of one geometry and one grid, as differentiable torch functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from .backends import Backend, make_backend
from .checks import as_html
from .errors import BackendUnavailable, DataError
from .fbp.windows import Window, check_window
from .geometry import Geometry, ImageGrid

__all__ = ["Operator", "operator"]

_AXES = {"image": "rows and columns of the grid", "sinogram": "views and columns of the detector"}


class _Linear(torch.autograd.Function):
    """A linear map whose gradient is its transpose, and whose transpose's gradient is the map."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, apply: Callable, transpose: Callable) -> torch.Tensor:
        ctx.maps = apply, transpose
        return apply(x.detach())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        apply, transpose = ctx.maps
        return _Linear.apply(gradient.contiguous(), transpose, apply), None, None


class Operator:
    """The scanner model R of one geometry and one grid; made by :func:`operator`.

    ``A(mu)`` gives line integrals, ``A.T(p)`` the exact adjoint, ``A.fbp(p)`` an image. Any number
    of leading dimensions is kept. Each is differentiable to any order: it is linear, and its
    gradient is its transpose. NumPy arrays of floats are taken too; what comes back is a tensor.

    Attributes
    ----------
    geometry : FanBeam or ParallelBeam
    grid : ImageGrid
    backend : str
        The backend in use; with ``backend="auto"`` that of the last tensor's device.
    reason : str
        Why it was chosen.
    """

    def __init__(self, geometry: Geometry, grid: ImageGrid, backend: str = "auto") -> None:
        self.geometry = geometry
        self.grid = grid
        self._auto = backend == "auto"
        self._made: dict[str, Backend] = {}
        self._no_astra = ""
        self._use("numba" if self._auto else backend)
        self.reason = "asked for"
        if self._auto:
            gpu = "a CUDA device is there too" if torch.cuda.is_available() else "no CUDA device"
            self.reason = f"CPU tensors; {gpu}"

    @property
    def backend(self) -> str:
        """Name of the backend in use."""
        return self._backend.name

    def __call__(self, mu: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Line integrals ``p = R µ``.

        Parameters
        ----------
        mu : tensor or array, shape (..., rows, cols)
            Attenuation [1/mm].

        Returns
        -------
        tensor, shape (..., views, cols)

        Raises
        ------
        DataError
            If shape, dtype or device are not the operator's, or a value is not finite.

        Examples
        --------
        >>> import torch
        >>> from recon import ImageGrid, ParallelBeam
        >>> A = operator(ParallelBeam(angles=[0.0], n_cols=2, col_pitch=1.0),
        ...              ImageGrid(shape=(2, 2), spacing=(1.0, 1.0)))
        >>> A(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[4.0, 6.0]]
        """
        return self._apply(mu, "image", lambda b: (b.forward, b.adjoint))

    def T(self, p: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Exact adjoint, ``<R µ, p> = <µ, Rᵀ p>``: (..., views, cols) to (..., rows, cols)."""
        return self._apply(p, "sinogram", lambda b: (b.adjoint, b.forward))

    def fbp(self, p: torch.Tensor | np.ndarray, window: Window = "ram-lak") -> torch.Tensor:
        """Filtered backprojection; see :mod:`recon.fbp.plan` for the method.

        The views are a full circle, or any longer or shorter range in equal steps, in either sense,
        of at least 180° plus the fan's opening (180° for parallel beams).

        Parameters
        ----------
        p : tensor or array, shape (..., views, cols)
            Line integrals.
        window : str, Kernel or callable
            ``"ram-lak"``, ``"shepp-logan"``, ``"cosine"``, ``"hann"``; a clinical kernel,
            ``"smooth"``, ``"medium"``, ``"sharp"`` or a :class:`recon.fbp.windows.Kernel`; or
            W(f/f_nyquist) as a callable on arrays.

        Returns
        -------
        tensor, shape (..., rows, cols)
            Attenuation [1/mm].

        Raises
        ------
        DataError
            As for the projection; or if the views are too few or not in equal steps, the window is
            unknown or finer than the rays.
        """
        check_window(window)
        return self._apply(
            p, "sinogram",
            lambda b: (partial(b.fbp, window=window), partial(b.fbp_transpose, window=window)),
        )  # fmt: skip

    def fbp_covariance(
        self,
        variance: torch.Tensor | np.ndarray,
        window: Window = "ram-lak",
        *,
        progress: bool = False,
    ) -> torch.Tensor:
        """Covariance of the noise of an FBP, ``B diag(σ²) Bᵀ`` with B that of :meth:`fbp`.

        It is computed on the CPU, and not column by column; :mod:`recon.backends.image_noise` has
        the method.

        Parameters
        ----------
        variance : tensor or array, shape (views, cols)
            σ², of independent rays.
        window : str, Kernel or callable
            As for :meth:`fbp`.
        progress : bool
            A bar on stderr.

        Returns
        -------
        tensor, shape (pixels, pixels)
            [1/mm²], for the pixels in the order of the rows; 4 bytes each.

        Raises
        ------
        DataError
            If the shape is not the geometry's, or a variance is below 0 or not finite; and as for
            :meth:`fbp`.

        Examples
        --------
        >>> import torch
        >>> from recon import ImageGrid, flash_axial
        >>> A = operator(flash_axial(views=96), ImageGrid(shape=(4, 6), spacing=(2.0, 2.0)))
        >>> noise = A.fbp_covariance(torch.full((96, 736), 1e-4))
        >>> noise.shape, bool(noise[9, 8].abs() < noise[9, 9])  # neighbours are less than alike
        (torch.Size([24, 24]), True)
        """
        from .backends.image_noise import image_covariance

        check_window(window)
        rays = np.asarray(torch.as_tensor(variance).cpu(), np.float64)
        if rays.shape != self.geometry.shape:
            raise DataError(
                "the variance has the wrong shape", expected=self.geometry.shape, got=rays.shape
            )
        if not (np.isfinite(rays) & (rays >= 0.0)).all():
            raise DataError(
                "a variance is negative or not finite", expected="0 or more",
                got=f"{np.nanmin(rays):.3g} to {np.nanmax(rays):.3g}",
            )  # fmt: skip
        return image_covariance(self.geometry, self.grid, rays, window, progress=progress)

    def _use(self, name: str) -> None:
        if not isinstance(name, str) or name not in self._made:
            self._made[name] = make_backend(name, self.geometry, self.grid)
        self._backend = self._made[name]

    def _choose(self, device: torch.device) -> None:
        """Numba for CPU tensors, ASTRA for CUDA tensors, or plain torch where it cannot run."""
        if device.type == "cpu":
            self._use("numba")
            self.reason = "CPU tensors"
            return
        self.reason = f"tensors on {device}"
        try:
            self._use("torch" if "torch" in self._made else "astra")
        except BackendUnavailable as error:
            self._use("torch")
            self._no_astra = f"; {error}"
        if self.backend == "torch":
            self.reason += self._no_astra

    def _follow(self, device: torch.device, what: str) -> None:
        """Choose the backend for tensors on ``device``, or refuse them."""
        if self._auto and device.type in ("cpu", "cuda"):
            self._choose(device)
        if device.type not in self._backend.devices:
            raise DataError(
                f"the {what} is on the wrong device",
                where=f"backend {self.backend!r}",
                expected=" or ".join(self._backend.devices),
                got=device,
                remedy=f"use x.to({self._backend.devices[0]!r}), or another backend",
            )

    def _check(self, x: torch.Tensor, what: str) -> None:
        """Follow ``x`` to its device, or say what is wrong with it."""
        if not isinstance(x, torch.Tensor):
            raise DataError(
                f"the {what} is no torch tensor",
                expected="torch.Tensor, or an array of floats",
                got=getattr(x, "dtype", type(x).__name__),
                remedy="use torch.as_tensor",
            )
        shape = self.grid.shape if what == "image" else self.geometry.shape
        if x.ndim < 2 or tuple(x.shape[-2:]) != shape:
            raise DataError(
                f"the {what} has the wrong shape",
                expected=f"(..., {shape[0]}, {shape[1]})",
                got=tuple(x.shape),
                remedy=f"the last two are {_AXES[what]}",
            )
        if x.layout != torch.strided:
            raise DataError(
                f"the {what} is sparse",
                expected="a dense tensor",
                got=x.layout,
                remedy="use x.to_dense()",
            )
        self._follow(x.device, what)
        if x.dtype != self._backend.dtype:
            raise DataError(
                f"the {what} has the wrong dtype",
                where=f"backend {self.backend!r}",
                expected=self._backend.dtype,
                got=x.dtype,
                remedy=f"use x.to({self._backend.dtype})",
            )
        # a finite sum has finite terms; only a sum that is not needs the slower look at each
        if not torch.isfinite(x.detach().sum()) and not torch.isfinite(x.detach()).all():
            broken = int((~torch.isfinite(x.detach())).sum())
            raise DataError(
                f"the {what} holds NaN or infinity",
                expected="finite values",
                got=f"{broken} of {x.numel()} not finite",
            )

    def _apply(
        self,
        x: torch.Tensor | np.ndarray,
        what: str,
        maps: Callable[[Backend], tuple[Callable, Callable]],
    ) -> torch.Tensor:
        if isinstance(x, np.ndarray) and x.dtype.kind == "f":
            self._follow(torch.device("cpu"), what)
            x = torch.from_numpy(np.ascontiguousarray(x)).to(self._backend.dtype)
        given: Any = x
        self._check(given, what)
        image, sinogram = self.grid.shape, self.geometry.shape
        shape, out_shape = (image, sinogram) if what == "image" else (sinogram, image)
        out: torch.Tensor = _Linear.apply(given.reshape(-1, *shape), *maps(self._backend))
        return out.reshape(*given.shape[:-2], *out_shape)

    def _repr_html_(self) -> str:
        return as_html(
            "Operator",
            [
                *self.geometry.describe(),
                *self.grid.describe(),
                ("backend", f"{self.backend}: {self.reason}"),
            ],
        )

    def __repr__(self) -> str:
        return f"Operator({self.geometry!r}, {self.grid!r}, backend={self.backend!r})"


def operator(geometry: Geometry, grid: ImageGrid, *, backend: str = "auto") -> Operator:
    """Return the scanner model R of a ``geometry`` and an image ``grid``.

    Parameters
    ----------
    geometry : FanBeam or ParallelBeam
    grid : ImageGrid
        It may lie off-centre and be smaller than the object's support.
    backend : {"auto", "numba", "reference", "torch", "astra", "tomosipo"}
        ``"auto"`` works where its input lives: numba for CPU tensors, astra for CUDA tensors, or
        torch where astra cannot run.

    Returns
    -------
    Operator

    Raises
    ------
    DataError
        If the detector misses the grid, the focal spot's orbit passes through it, or the name is
        unknown.
    BackendUnavailable
        If the backend that was asked for cannot run on this machine.

    Examples
    --------
    >>> import torch
    >>> from recon import ImageGrid, flash_axial
    >>> A = operator(flash_axial(views=96), ImageGrid(shape=(32, 32), spacing=(2.0, 2.0)))
    >>> A(torch.zeros(3, 1, 32, 32)).shape, A.backend
    (torch.Size([3, 1, 96, 736]), 'numba')
    """
    for value, kind, name in ((geometry, Geometry, "geometry"), (grid, ImageGrid, "grid")):
        if not isinstance(value, kind):
            raise DataError(
                f"the {name} is not one", expected=kind.__name__, got=type(value).__name__
            )
    return Operator(geometry, grid, backend)
