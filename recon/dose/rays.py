"""Line integrals and quanta as the noise's kernels take them, checked.

Shapes ``(..., views, cols)``, or ``(..., views, rows, cols)`` of a scan, become
``(images, views, rays)``; quanta that broadcast to them are walked by strides, not copied.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..checks import array, number
from ..engine.threads import share
from ..errors import DataError
from .kernels import Exposure, Stream
from .on_gpu import sample_on_device
from .streams import stream_index

__all__ = ["Rays", "checked_noise"]

_MOST_QUANTA = 1e12  # in a ray


class Rays:
    """Line integrals with their quanta, as ``(images, views, rays)`` for the kernels.

    ``first`` are the numbers of :class:`Stream` besides the seed; those not given are 0.
    """

    def __init__(
        self,
        p: torch.Tensor,
        photons: Any,
        electronic_noise: float,
        *,
        seed: int = 0,
        **first: int,
    ) -> None:
        self.p = _checked_line_integrals(p)
        n0 = _checked_photons(photons)
        self.sigma = checked_noise(electronic_noise)
        _, *places = Stream(np.uint64(0), **first)
        self.stream = Stream(
            np.uint64(stream_index("seed", seed, bits=64)),
            *map(stream_index, Stream._fields[1:], places),
        )
        # one value of N0 for all rows of the detector marks a scan (..., views, rows, cols)
        a_scan = n0.ndim >= 3 and n0.shape[-2] == 1 < p.shape[-2] and n0.shape[-1] == p.shape[-1]
        axis = p.ndim - (3 if a_scan else 2)
        self.shape = math.prod(p.shape[:axis]), p.shape[axis], math.prod(p.shape[axis + 1 :])
        try:
            spread = np.broadcast_to(n0, tuple(p.shape)).reshape(self.shape)
        except ValueError:
            raise DataError(
                "quanta do not fit the line integrals",
                where="photons",
                expected=f"a shape that broadcasts to {tuple(p.shape)}",
                got=n0.shape,
                remedy="a scan passes photons[:, None, :]",
            ) from None
        self.spread = spread
        # the kernels walk the values where they lie: zero strides stand for the broadcast
        self.quanta = (n0 if np.shares_memory(n0, spread) else spread).reshape(-1)
        self.strides = tuple(stride // spread.itemsize for stride in spread.strides)

    def run(self, kernel: Any, fraction: float) -> torch.Tensor:
        """What a kernel of :mod:`recon.dose.kernels` makes of each ray, in the shape of p."""
        p = self.p.detach().cpu().contiguous()
        out = torch.empty_like(p)
        per_image, per_view, per_ray = self.strides
        images, views, _ = self.shape
        share(
            images * views,
            kernel,
            p.numpy().reshape(self.shape),
            out.numpy().reshape(self.shape),
            Exposure(self.quanta, per_image, per_view, per_ray, fraction, self.sigma),
            self.stream,
        )
        return out.to(self.p.device)

    def run_on_device(self) -> torch.Tensor:
        """A measurement of each ray, made where p lies."""
        p = self.p.detach()
        # one image's quanta where all have the same, so that no more than they are moved
        quanta = self.spread[:1] if self.strides[0] == 0 else self.spread
        n0 = torch.from_numpy(np.ascontiguousarray(quanta)).to(p)
        found = sample_on_device(p.reshape(self.shape), n0, self.sigma, self.stream)
        return found.reshape(p.shape)


def checked_noise(electronic_noise: Any) -> float:
    """The standard deviation σe of the electronics [quanta], or a DataError."""
    sigma = number("electronic_noise", electronic_noise)
    if not 0.0 <= sigma < math.inf:
        raise DataError("electronic noise", where="electronic_noise", expected="σe ≥ 0", got=sigma)
    return sigma


def _checked_line_integrals(p: Any) -> torch.Tensor:
    if not isinstance(p, torch.Tensor) or p.dtype not in (torch.float32, torch.float64):
        raise DataError(
            "line integrals",
            where="p",
            expected="a floating-point torch tensor",
            got=p.dtype if isinstance(p, torch.Tensor) else type(p).__name__,
            remedy="wrap an array with torch.from_numpy",
        )
    if p.ndim < 2 or p.numel() == 0:
        raise DataError(
            "line integrals", where="p", expected="shape (..., views, cols)", got=tuple(p.shape)
        )
    low, high = (float(value) for value in torch.aminmax(p.detach()))
    if not (math.isfinite(low) and math.isfinite(high)) or low < -20.0:
        raise DataError(
            "line integrals are not attenuations",
            where="p",
            expected="finite values, not below -20",
            got=f"{low:.4g} to {high:.4g}",
        )
    return p


def _checked_photons(photons: Any) -> np.ndarray:
    if isinstance(photons, torch.Tensor):
        photons = photons.detach().cpu().numpy()
    n0 = np.ascontiguousarray(array("quanta per ray (photons)", photons))
    if not np.all((n0 > 0.0) & (n0 < _MOST_QUANTA)):
        raise DataError(
            "quanta per ray are not within reason",
            where="photons",
            expected=f"above 0 and below {_MOST_QUANTA:g}",
            got=f"{n0.min():.4g} to {n0.max():.4g}",
            remedy="they follow the exposure [mAs] and the slice thickness",
        )
    return n0
