"""What a sampler is told of the noise of a scan: how strong it is, and how far it reaches.

Pixel size, slice thickness, exposure, voltage, kernel and the body all change the noise of a
low-dose image, and what a layer leaves open of an image is mostly its noise. Three numbers say
what a sampler has to know of all of them:

    log σ,   ρ(1),   ρ(2)

the logarithm of the standard deviation [HU], and the correlation of pixels that are one and two
apart along rows and columns. In training they are read off the noise x - y of the patch itself,
some hundred independent values; in a study off further scans of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recon.errors import DataError

from .residual import zeroed

__all__ = ["TOLD", "ToldNoise", "describe_noise", "weights_of"]

TOLD = 3
"""Numbers that describe a noise."""

_LEAST = 1e-3  # HU, below which there is no noise
_HIDDEN = 32
_WITHIN = 3.0  # a description is clipped at as many standard deviations of those of the training


def describe_noise(noise: Tensor) -> Tensor:
    """Log of the standard deviation [HU] and correlation at lags of 1 and 2 pixels.

    Parameters
    ----------
    noise : Tensor, (B, draws, rows, cols)
        Draws of the noise of each of B images [HU]; one is enough.

    Returns
    -------
    Tensor, (B, 3)

    Raises
    ------
    DataError
        If they are no such images, or smaller than 3 × 3 pixels.

    Examples
    --------
    >>> import torch
    >>> from ctxai import describe_noise
    >>> white = 20.0 * torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    >>> log_sd, near, far = describe_noise(white)[0].tolist()
    >>> round(log_sd, 1), abs(near) < 0.02, abs(far) < 0.02
    (3.0, True, True)
    """
    if noise.ndim != 4 or min(noise.shape[2:]) < 3 or 0 in noise.shape:
        raise DataError(
            "no draws of noise", where="noise", got=tuple(noise.shape),
            expected="(images, draws, rows, cols), 3 or more rows and columns",
        )  # fmt: skip
    power = noise.square().mean((1, 2, 3)).clamp_min(_LEAST**2)

    def together(lag: int) -> Tensor:
        down = (noise[..., lag:, :] * noise[..., :-lag, :]).mean((1, 2, 3))
        along = (noise[..., lag:] * noise[..., :-lag]).mean((1, 2, 3))
        return 0.5 * (down + along) / power

    return torch.stack([0.5 * power.log(), together(1), together(2)], dim=1)


class ToldNoise(nn.Module):
    """The description of a noise as a network takes it in: of mean 0 and spread 1 in training.

    A noise that is not described is that mean. One far outside the training's is taken as the
    nearest within three standard deviations: what a network makes of others is not known.

    Parameters
    ----------
    width : int
        Numbers that the network adds to its own features; all zero at first.

    Examples
    --------
    >>> import torch
    >>> from ctxai.representation.noise_told import ToldNoise
    >>> told = ToldNoise(8)
    >>> told(None).shape, told(torch.randn(5, 3)).shape
    (torch.Size([1, 8]), torch.Size([5, 8]))
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(TOLD))
        self.register_buffer("scale", torch.ones(TOLD))
        self.layers = nn.Sequential(
            nn.Linear(TOLD, _HIDDEN), nn.SiLU(), zeroed(nn.Linear(_HIDDEN, width))
        )

    def normalised(self, noise: Tensor | None) -> Tensor:
        """Descriptions ``(B, 3)`` in units of the training's spread; one of zeros for None."""
        if noise is None:
            return torch.zeros_like(self.mean)[None]
        return ((noise - self.mean) / self.scale).clamp(-_WITHIN, _WITHIN)

    def forward(self, noise: Tensor | None) -> Tensor:
        """Features ``(B, width)`` of descriptions ``(B, 3)``, or ``(1, width)`` of None."""
        return self.layers(self.normalised(noise))

    @torch.no_grad()
    def fit(self, noise: Tensor | None) -> None:
        """Set mean and spread from descriptions ``(B, 3)``; what never varies has the spread 1."""
        if noise is not None:
            spread = noise.std(0)
            self.mean.copy_(noise.mean(0))
            self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def log_linear(self, missed: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Intercept ``(k,)`` and slopes ``(k, 3)`` of the logarithm of ``missed (B, k)``.

        By least squares over images; without descriptions the slopes are zero, and the intercept
        is the logarithm of the root mean square.
        """
        if noise is None:
            return 0.5 * missed.square().mean(0).log(), missed.new_zeros(missed.shape[1], TOLD)
        known = torch.cat([torch.ones(len(missed), 1), self.normalised(noise).cpu()], dim=1)
        known, wanted = known.double(), missed.log().double().cpu()
        gram = known.T @ known + 1e-3 * len(missed) * torch.eye(1 + TOLD, dtype=torch.float64)
        gram[0, 0] -= 1e-3 * len(missed)
        found = torch.linalg.solve(gram, known.T @ wanted).to(missed)
        return found[0], found[1:].T


def weights_of(noise: Tensor | None) -> Tensor | None:
    """Weights ``(B,)`` of scans in a fit by least squares, 1/σ with mean 1; None for None."""
    if noise is None:
        return None
    weights = (-noise[:, 0]).exp()
    return weights / weights.mean()
