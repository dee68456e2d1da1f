"""The critic that WGAN-VGG is trained against."""

from __future__ import annotations

import torch
from torch import nn

from recon.errors import DataError

from ..denoisers import OFFSET_HU, SCALE_HU

__all__ = ["Critic"]


class Critic(nn.Module):
    """Wasserstein critic: six 3×3 convolutions, strides 1 and 2 in turn, then two dense layers.

    64, 64/2, 128, 128/2, 256, 256/2, dense 1024, dense 1, LeakyReLU(0.2) in between and nothing
    behind (Q. Yang et al., IEEE TMI 37(6), 2018). "Same" padding.

    Parameters
    ----------
    shape : (rows, cols)
        Size of the patches; multiples of 8 [pixels].
    channels : int
        Channels of an image; 2 for an image beside what it is conditional on.
    width : float
        Factor on all the channel numbers; 1 as published, less in a reduced recipe.
    offset, scale : float
        Normalisation (x - offset) / scale of the images [HU]; that of the denoiser.

    Raises
    ------
    DataError
        If the size is no multiple of 8, or a factor is not positive.

    Examples
    --------
    >>> import torch
    >>> from ctxai import Critic
    >>> Critic(width=0.25)(torch.zeros(5, 1, 64, 64)).shape
    torch.Size([5])
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        *,
        shape: tuple[int, int] = (64, 64),
        channels: int = 1,
        width: float = 1.0,
        offset: float = OFFSET_HU,
        scale: float = SCALE_HU,
    ) -> None:
        super().__init__()
        if any(side < 8 or side % 8 for side in shape):
            raise DataError(
                "the critic halves its patches three times",
                where="shape",
                expected="multiples of 8",
                got=shape,
            )
        if not (width > 0 and scale > 0):
            raise DataError(
                "the critic needs a width and a scale", expected="> 0", got=f"{width}, {scale}"
            )
        if channels < 1:
            raise DataError("no channels", where="channels", expected="≥ 1", got=channels)
        self.config = {"shape": tuple(shape), "width": width, "offset": offset, "scale": scale}
        if channels != 1:
            self.config["channels"] = channels
        self.register_buffer("offset", torch.tensor(float(offset)), persistent=False)
        self.register_buffer("scale", torch.tensor(float(scale)), persistent=False)
        layers: list[nn.Module] = []
        for full in (64, 128, 256):
            for stride in (1, 2):
                out = max(1, round(width * full))
                layers += [nn.Conv2d(channels, out, 3, stride, padding=1), nn.LeakyReLU(0.2)]
                channels = out
        dense = max(1, round(width * 1024))
        self.net = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(channels * (shape[0] // 8) * (shape[1] // 8), dense),
            nn.LeakyReLU(0.2),
            nn.Linear(dense, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score (B,) of images (B, channels, H, W) [HU]: larger for those that look true."""
        return self.net((x - self.offset) / self.scale)[:, 0].to(x)
