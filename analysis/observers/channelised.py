r"""A reader with channels and noise of his own: the channelised Hotelling observer in closed form.

The reader sees an image through a few channels U and knows their noise,

.. math:: d'² = vᵀ K_r^{-1} v,  v = Uᵀ s,  K = Uᵀ (A + τ² I) U,  K_r = K + α\,\mathrm{diag} K

with the signal s, the covariance A of the noise, and white noise of a display of τ HU. The last
term is the noise of the reader himself: people are not consistent, and their inconsistency grows
with the noise that they are shown (Burgess and Colborne, J. Opt. Soc. Am. A 5, 1988). It is put
into each channel, independently, in proportion to the channel's own variance (Abbey and Barrett,
J. Opt. Soc. Am. A 18, 2001). α is set where the efficiency of people was measured: a Gaussian spot
in white noise, of which they use 54 % of d'² (Burgess et al., Science 214, 1981).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from recon import DataError

from .human import dense_dog_channels

__all__ = ["HUMAN_EFFICIENCY", "Reader", "internal_noise"]

HUMAN_EFFICIENCY = 0.54
"""Share of an ideal observer's d'² that people reach: a Gaussian spot in white noise."""

_MOST_INTERNAL = 1e6
_CHANNELS = 12  # up to the pixels' Nyquist frequency
_RANK = 1e-10  # of the largest eigenvalue of the channels' correlations: below, it is rounding

Product = Callable[[Tensor], Tensor]


def internal_noise(channels: Tensor, signal: Tensor, *, efficiency: float) -> float:
    """α with which a reader of a signal in white noise has an efficiency.

    Parameters
    ----------
    channels : Tensor, (pixels, channels)
    signal : Tensor, (H, W)
    efficiency : float
        d'² over that of the ideal observer, ``‖s‖²/σ²``.

    Raises
    ------
    DataError
        If the channels alone lose more than that.

    Examples
    --------
    >>> import torch
    >>> from analysis.observers.channelised import internal_noise
    >>> signal = torch.ones(2, 2)  # one channel, the signal itself: η = 1 / (1 + α)
    >>> round(internal_noise(signal.reshape(4, 1) / 2, signal, efficiency=0.5), 6)
    1.0
    """
    U, s = channels.double(), signal.double().flatten()
    seen, gram, all_of_it = U.T @ s, U.T @ U, float(s @ s)

    def excess(alpha: float) -> float:
        return _hotelling(seen[:, None], gram, alpha)[0] / all_of_it - efficiency

    if not 0.0 < efficiency < 1.0 or excess(0.0) < 0.0:
        raise DataError(
            "no internal noise gives that efficiency", where="efficiency",
            expected=f"above 0, at most {excess(0.0) + efficiency:.3g}, that of the channels",
            got=efficiency,
        )  # fmt: skip
    return float(brentq(excess, 0.0, _MOST_INTERNAL, xtol=1e-12, rtol=1e-10))


def _hotelling(seen: Tensor, covariance: Tensor, alpha: float) -> np.ndarray:
    """``vᵀ (K + α diag K)⁻¹ v`` of responses (channels, n) to n signals.

    Dense channels depend on each other to within rounding: directions of their correlations that
    are nothing else are left out.
    """
    scale = covariance.diagonal().sqrt()
    correlation = covariance / scale[:, None] / scale
    correlation = 0.5 * (correlation + correlation.T)
    values, vectors = torch.linalg.eigh(correlation)
    parts = (vectors.T @ (seen / scale[:, None])).square()
    kept = values > _RANK * values[-1]
    return (parts[kept] / (values[kept] + alpha)[:, None]).sum(0).numpy()


@dataclass(frozen=True)
class Reader:
    """A channelised Hotelling observer with internal noise.

    Attributes
    ----------
    channels : Tensor, (pixels, channels)
        U.
    internal : float
        α; 0 for a reader without noise of his own.

    Examples
    --------
    >>> import torch
    >>> from analysis.observers.channelised import Reader
    >>> signal = torch.tensor([[[3.0, 4.0]]])
    >>> reader = Reader(signal.reshape(2, 1), internal=0.0)  # the channel is the signal
    >>> reader.detectability(lambda v: 24.0 * v, signal, tolerances=[1.0]).round(6).tolist()
    [[1.0]]
    """

    channels: Tensor
    internal: float

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        place: tuple[float, float],
        radius: float,
        *,
        efficiency: float = HUMAN_EFFICIENCY,
    ) -> Reader:
        """A reader of discs, whose noise is set by people's efficiency in white noise.

        Parameters
        ----------
        shape : (rows, cols)
            Of the images.
        place : (row, col)
            Where the disc is [pixels].
        radius : float
            Of the disc [pixels]; the Gaussian spot that α is set with is as wide, sd r/2.
        """
        channels = dense_dog_channels(shape, place=place, count=_CHANNELS)
        rows, cols = (torch.arange(n).double() - at for n, at in zip(shape, place, strict=True))
        squared = rows[:, None] ** 2 + cols**2
        spot = torch.exp(-0.5 * squared / (0.5 * radius) ** 2)
        return cls(channels, internal_noise(channels, spot, efficiency=efficiency))

    def respond(self, images: Tensor) -> Tensor:
        """Responses Uᵀ x of images (..., H, W), (..., channels)."""
        return images.double().flatten(-2) @ self.channels.double()

    def detectability(
        self, product: Product, signals: Tensor, *, tolerances: Sequence[float]
    ) -> np.ndarray:
        """d' of each signal (n, H, W) at each tolerance τ [HU], (n, tolerances).

        Parameters
        ----------
        product : callable
            ``v ↦ A v`` of images (n, H, W): the covariance of the noise [HU²].
        """
        shape = signals.shape[1:]
        U = self.channels.double()
        spread = product(U.T.reshape(-1, *shape).to(signals)).double().flatten(1)
        return self.from_moments(self.respond(signals), spread @ U, tolerances=tolerances)

    def from_moments(
        self, seen: Tensor, covariance: Tensor, *, tolerances: Sequence[float]
    ) -> np.ndarray:
        """d' (n, tolerances) of responses (n, channels) with the covariance K of the channels."""
        gram = self.channels.double().T @ self.channels.double()
        found = [
            _hotelling(seen.T, covariance + tolerance**2 * gram, self.internal)
            for tolerance in tolerances
        ]
        return np.sqrt(np.stack(found, 1))
