"""Images that a denoiser is tried on: materials of known HU, soft edges, and the noise of a scan.

They are made of a seed alone, for any size, so that what a denoiser answers can be compared from
one day to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["MATERIALS", "NOISE_HU", "Trial", "trial_images"]

MATERIALS = {
    "air": -1000.0,
    "lung": -850.0,
    "fat": -100.0,
    "water": 0.0,
    "muscle": 60.0,
    "vessel": 200.0,
    "bone": 700.0,
}
"""What the trial images are made of [HU]."""

NOISE_HU = 40.0
"""Standard deviation of their noise, as of a low-dose scan [HU]."""

_ROUND = {  # place and radius of what lies in the body, in units of half a side
    "lung": (-0.4, 0.3, 0.25),
    "water": (-0.35, -0.35, 0.25),
    "vessel": (0.2, 0.05, 0.2),
    "bone": (0.45, -0.35, 0.16),
}
_TEXTURE_HU = 8.0  # slow variation of the tissue itself


@dataclass(frozen=True)
class Trial:
    """Anatomies, the same with noise, and where each material lies.

    Attributes
    ----------
    truth, noisy : Tensor
        Images ``(n, 1, H, W)`` [HU].
    inside : dict
        For each of `MATERIALS` the pixels in which there is no other, bool ``(n, 1, H, W)``.
    """

    truth: Tensor
    noisy: Tensor
    inside: dict[str, Tensor]


def trial_images(shape: tuple[int, int], count: int, *, seed: int) -> Trial:
    """Sections of a body with all materials from air to bone, each another one.

    Parameters
    ----------
    shape : (rows, cols)
        At least 16 × 16 pixels.
    count : int
        How many.
    seed : int
        Of places, texture and noise.

    Examples
    --------
    >>> from ctxai.weights.trial_images import trial_images
    >>> trial = trial_images((64, 64), 2, seed=1)
    >>> noise = trial.noisy - trial.truth
    >>> tuple(noise.shape), round(float(noise.std()))
    ((2, 1, 64, 64), 40)
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.linspace(-1.0, 1.0, shape[0])[:, None]
    cols = torch.linspace(-1.0, 1.0, shape[1])[None, :]
    number = {name: n for n, name in enumerate(MATERIALS)}
    labels = torch.zeros(count, *shape, dtype=torch.long)
    for image in labels:
        turn = 0.5 * float(torch.rand((), generator=generator)) - 0.25
        away = rows**2 + cols**2
        image[away < 0.95**2] = number["fat"]
        image[away < 0.8**2] = number["muscle"]
        for name, (row, col, radius) in _ROUND.items():
            size = radius * (0.9 + 0.2 * float(torch.rand((), generator=generator)))
            at = (row - turn * col, col + turn * row)
            image[(rows - at[0]) ** 2 + (cols - at[1]) ** 2 < size**2] = number[name]
    masks = functional.one_hot(labels, len(MATERIALS)).permute(0, 3, 1, 2).float()
    soft = functional.avg_pool2d(functional.pad(masks, (1,) * 4, mode="replicate"), 3, stride=1)
    levels = torch.tensor(list(MATERIALS.values()))
    truth = (soft * levels[:, None, None]).sum(1, keepdim=True)
    texture = _filtered(count, shape, generator, lambda f: torch.exp(-((f / 0.05) ** 2)))
    truth = truth + _TEXTURE_HU * texture * (soft[:, 2:].sum(1, keepdim=True))
    noise = _filtered(count, shape, generator, lambda f: f.sqrt() * torch.exp(-((f / 0.4) ** 2)))
    inside = {name: soft[:, n : n + 1] > 0.999 for name, n in number.items()}
    return Trial(truth, truth + NOISE_HU * noise, inside)


def _filtered(count: int, shape: tuple[int, int], generator: torch.Generator, law) -> Tensor:
    """Noise of standard deviation 1 whose amplitude depends on frequency [1/pixel]."""
    white = torch.randn(count, 1, *shape, generator=generator)
    rows, cols = torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])[None, :]
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * law((rows**2 + cols**2).sqrt()), s=shape)
    return noise / noise.std()
