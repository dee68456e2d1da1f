"""The 2024 paper's autoencoder at its full size: a ResNet50, and a decoder after BigGAN."""

from __future__ import annotations

from torch import nn

from recon.errors import DataError

from ..representation.vae import VAE
from ..weights.published import BENCHMARK_OFFSET_HU, BENCHMARK_SCALE_HU
from .biggan import BigGANDecoder
from .resnet import ResNet50

__all__ = ["EuligVAE"]


class EuligVAE(VAE):
    r"""Conditional variational autoencoder ``q(z̄ | x, ŷ)``, ``x̂ = D(z̄, ŷ)`` with large networks.

    E. Eulig et al., "Reconstructing and analyzing the invariances of low-dose CT image denoising
    networks", Med. Phys. 2024: `ctxai.eulig2024.resnet.ResNet50` sees image and ŷ as channels, and
    `ctxai.eulig2024.biggan.BigGANDecoder` is given ŷ at every scale. It is used as a `ctxai.VAE`
    is.

    Parameters
    ----------
    shape : tuple of int
        Image ``(rows, cols)``: a square of 32, 64 or 128 pixels.
    channels, condition : int
        Channels of an image and of ŷ; with ``condition=0`` there is no ŷ.
    latent : int
        Dimensions of z̄.
    width : int
        Base width of the decoder.
    offset, scale : float
        The networks see ``(image - offset) / scale``; both in the image's unit.
    unit : str
        Unit of the images.

    Raises
    ------
    DataError
        If the decoder cannot make such images, or a number is out of range.

    Examples
    --------
    >>> import torch
    >>> from ctxai import EuligVAE
    >>> vae = EuligVAE(shape=(32, 32), latent=64, width=1).eval()
    >>> x, output = torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    >>> latent = vae.encode(x, output).loc
    >>> latent.shape, vae.decode(latent, output).shape
    (torch.Size([2, 64]), torch.Size([2, 1, 32, 32]))
    """

    encoder: ResNet50

    def __init__(
        self,
        *,
        shape: tuple[int, int] = (128, 128),
        channels: int = 1,
        condition: int = 1,
        latent: int = 256,
        width: int = 96,
        offset: float = BENCHMARK_OFFSET_HU,
        scale: float = BENCHMARK_SCALE_HU,
        unit: str = "HU",
    ) -> None:
        nn.Module.__init__(self)
        rows, cols = self._describe(shape, channels, latent, condition, offset, scale, unit)
        if rows != cols or rows < 32:
            raise DataError(
                "the large autoencoder takes squares",
                where="shape",
                expected="a side of 32, 64 or 128",
                got=f"{rows} x {cols}",
            )
        self.config |= {"condition": condition, "width": width}
        self.encoder = ResNet50(channels=channels + condition, outputs=2 * latent)
        self.decoder = BigGANDecoder(
            side=rows, channels=channels, condition=condition, latent=latent, width=width
        )
