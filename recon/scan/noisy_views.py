"""Line integrals to which noise is added when they are asked for."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..dose.kernels import FLOOR_QUANTA
from ..dose.noise import insert_noise, sample_transmission
from ..dose.rays import checked_noise
from ..dose.streams import stream_index
from .lazy_views import ViewsOf, in_turn
from .scan import LineIntegrals, pieces

__all__ = ["NoisyViews", "value_range"]

_SIGMAS = 8.0  # beyond which no noise value is expected in a scan


@dataclass(kw_only=True)
class NoisyViews(ViewsOf):
    """Views of a source with noise: ``[i:j]`` takes those views and adds theirs.

    The noise of a ray depends on the seed, the series, the view and the ray alone. A source that is
    a measurement gets what it lacks at ``dose_fraction`` of its dose; without a fraction, the
    source is free of noise and is measured.
    """

    source: LineIntegrals  # without this noise
    photons: np.ndarray  # (views, cols) quanta N0 at the dose of the source
    electronic_noise: float  # σe [quanta]
    seed: int
    series: str  # its UID; a digest of it is the number of the image in the stream of the seed
    dose_fraction: float | None = None

    def __post_init__(self) -> None:
        self.electronic_noise = checked_noise(self.electronic_noise)
        self.seed = stream_index("seed", self.seed, bits=64)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest line integral to be expected."""
        low, _ = value_range(self.source)
        fraction = self.dose_fraction or 1.0
        n0, most = float(self.photons.min()) * fraction, float(self.photons.max()) * fraction
        bright = n0 * math.exp(-low)
        brighter = bright + _SIGMAS * math.hypot(math.sqrt(bright), self.electronic_noise)
        return -math.log(brighter / n0), max(math.log(most / FLOOR_QUANTA), 0.0)

    def of(self, views: np.ndarray, first: int) -> np.ndarray:
        """Add the noise of these views to them."""
        one_row = views.shape[1] == 1  # then a view is a plain line of rays
        photons = self.photons[first : first + len(views)]
        rays = torch.from_numpy(views[:, 0] if one_row else views)
        keys: dict[str, Any] = {
            "photons": photons if one_row else photons[:, None, :],
            "electronic_noise": self.electronic_noise,
            "seed": self.seed,
            "first_view": first,
            "image": zlib.crc32(self.series.encode()),
        }
        if self.dose_fraction is None:
            noisy = sample_transmission(rays, **keys)
        else:
            noisy = insert_noise(rays, dose_fraction=self.dose_fraction, **keys)
        return noisy.numpy().reshape(views.shape)


def value_range(source: LineIntegrals) -> tuple[float, float]:
    """Smallest and largest value, as the source states it or as it has it."""
    stated = getattr(source, "range", None)
    if stated is not None:
        return stated
    low, high = math.inf, -math.inf
    for chunk in in_turn(source, pieces(0, source.shape[0])):
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    return low, high
