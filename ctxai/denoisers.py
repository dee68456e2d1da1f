"""The two denoisers of the talk, and RED-CNN.

All denoisers map HU to HU, (B, 1, H, W) to the same shape. They normalise inside: the first thing
that happens to x is (x - offset) / scale, the last is the inverse.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from recon.errors import DataError

__all__ = ["OFFSET_HU", "SCALE_HU", "Chen", "RedCNN", "Yang"]

OFFSET_HU, SCALE_HU = -400.0, 450.0
"""Default normalisation: maps air (-1000 HU) to -1.3, water to 0.9 and 500 HU of bone to 2."""


class Chen(nn.Module):
    """Three-layer denoiser: 9×9 to 64 channels, ReLU, 3×3 to 32, ReLU, 5×5 to 1; 24,513 weights.

    H. Chen et al., "Low-dose CT denoising with convolutional neural network", ISBI 2017. The
    image is predicted directly; "same" padding, no normalisation layers.

    Parameters
    ----------
    offset, scale : float
        Normalisation (x - offset) / scale of the images [HU].

    Examples
    --------
    >>> import torch
    >>> from ctxai import Chen
    >>> Chen()(torch.zeros(2, 1, 32, 48)).shape
    torch.Size([2, 1, 32, 48])
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, *, offset: float = OFFSET_HU, scale: float = SCALE_HU) -> None:
        super().__init__()
        self.config = {"offset": offset, "scale": scale}
        _keep_scales(self, offset, scale)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 64, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 5, padding=2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images (B, 1, H, W) [HU]."""
        return self.layers((x - self.offset) / self.scale) * self.scale + self.offset


class Yang(nn.Module):
    """Eight-layer denoiser: seven times 3×3 to 32 channels with ReLU, 3×3 to 1; 56,097 weights.

    The generator of Q. Yang et al., "Low-dose CT image denoising using a generative adversarial
    network with Wasserstein distance and perceptual loss", IEEE TMI 37(6), 2018. The image is
    predicted directly; "same" padding, no normalisation layers, the last convolution is linear.

    Parameters
    ----------
    offset, scale : float
        Normalisation (x - offset) / scale of the images [HU].

    Examples
    --------
    >>> import torch
    >>> from ctxai import Yang
    >>> Yang()(torch.zeros(1, 1, 32, 48)).shape
    torch.Size([1, 1, 32, 48])
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, *, offset: float = OFFSET_HU, scale: float = SCALE_HU) -> None:
        super().__init__()
        self.config = {"offset": offset, "scale": scale}
        _keep_scales(self, offset, scale)
        hidden = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()]
        for _ in range(6):
            hidden += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*hidden, nn.Conv2d(32, 1, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images (B, 1, H, W) [HU]."""
        return self.net((x - self.offset) / self.scale) * self.scale + self.offset


class RedCNN(nn.Module):
    """Residual encoder and decoder: five 5×5 convolutions, five transposed; 1,848,865 weights.

    H. Chen et al., "Low-dose CT with a residual encoder-decoder convolutional neural network", IEEE
    TMI 36(12), 2017, with 96 channels and three shortcuts. Nothing is padded, so that images have
    more than 20 pixels a side. The last rectifier of the publication is left out, as it is where
    images have a mean of zero. It is the generator of DU-GAN, too.

    Parameters
    ----------
    offset, scale : float
        Normalisation (x - offset) / scale of the images [HU].

    Examples
    --------
    >>> import torch
    >>> from ctxai import RedCNN
    >>> RedCNN()(torch.zeros(1, 1, 24, 28)).shape
    torch.Size([1, 1, 24, 28])
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, *, offset: float = OFFSET_HU, scale: float = SCALE_HU) -> None:
        super().__init__()
        self.config = {"offset": offset, "scale": scale}
        _keep_scales(self, offset, scale)
        widths = (1, 96, 96, 96, 96, 96)
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5 = (
            nn.Conv2d(*pair, 5) for pair in pairwise(widths)
        )
        self.tconv1, self.tconv2, self.tconv3, self.tconv4, self.tconv5 = (
            nn.ConvTranspose2d(*pair, 5) for pair in pairwise(widths[::-1])
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images (B, 1, H, W) [HU]."""
        image = (x - self.offset) / self.scale
        second = self.conv2(self.conv1(image).relu()).relu()
        fourth = self.conv4(self.conv3(second).relu()).relu()
        deep = self.conv5(fourth).relu()
        up = (self.tconv1(deep) + fourth).relu()
        up = (self.tconv3(self.tconv2(up).relu()) + second).relu()
        up = self.tconv5(self.tconv4(up).relu()) + image
        return up * self.scale + self.offset


def _keep_scales(module: nn.Module, offset: float, scale: float) -> None:
    """Hold the normalisation as buffers: neither trained nor saved (``config`` has it)."""
    if not scale > 0:
        raise DataError("normalisation needs a scale", where="scale", expected="> 0", got=scale)
    module.register_buffer("offset", torch.tensor(float(offset)), persistent=False)
    module.register_buffer("scale", torch.tensor(float(scale)), persistent=False)
