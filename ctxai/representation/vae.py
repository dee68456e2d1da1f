"""The variational autoencoder: a complete representation of images, with its uncertainty.

Used as VAE_x on the images that a denoiser sees and as VAE_y on the images that it aims at; either
may be conditional on the denoised image ŷ = f(x), and then represents what ŷ leaves open.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

from recon.errors import DataError

from .autoencoder import Autoencoder, check_condition, check_image, check_latent

__all__ = ["VAE", "active_dimensions", "kl_per_dimension"]

_BOTTLENECK = 64  # channels between the convolutions and the latent


def _halvings(side: int) -> int:
    """How often a side can be halved exactly without falling below 4 pixels."""
    count = 0
    while side % 2 == 0 and side >= 8:
        side, count = side // 2, count + 1
    return count


def _conv(channels: int, width: int, stride: int = 1) -> list[nn.Module]:
    # No normalisation layer: it would remove the level of a homogeneous patch, its HU value.
    return [nn.Conv2d(channels, width, 3, stride=stride, padding=1), nn.SiLU()]


def _initialise(network: nn.Module) -> None:
    """He initialisation, which keeps the variance through a network without normalisation."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class _Decoder(nn.Sequential):
    """Layers of which every 3×3 convolution sees the condition too, at its own resolution."""

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        h = latent
        for layer in self:
            if condition is not None and isinstance(layer, nn.Conv2d) and layer.padding[0]:
                h = beside(h, condition)
            h = layer(h)
        return h


def beside(h: Tensor, condition: Tensor | None) -> Tensor:
    """Features with the condition, averaged to their size, as further channels."""
    if condition is None:
        return h
    rows, cols = h.shape[-2:]
    return torch.cat([h, functional.adaptive_avg_pool2d(condition, (rows, cols))], dim=1)


class VAE(nn.Module):
    r"""Convolutional variational autoencoder ``q(z̄ | x) = N(loc(x), scale²(x))``, ``x̂ = D(z̄)``.

    With a condition ŷ: ``q(z̄ | x, ŷ)`` and ``x̂ = D(z̄, ŷ)``, ŷ entering the decoder at every scale.

    Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014. Each entry of ``widths``
    halves the image once, as long as its sides stay even and at least 4.

    Parameters
    ----------
    shape : tuple of int
        Image ``(rows, cols)``; both sides even and at least 8.
    channels : int
        Channels of an image, 1 for CT.
    latent : int
        Dimensions of z̄.
    widths : tuple of int
        Channels after each halving.
    offset, scale : float
        The networks see ``(image - offset) / scale``; both in the image's unit.
    unit : str
        Unit of the images, "HU" for CT numbers, "" for plain arrays.
    condition : int
        Channels of the image ŷ that encoder and decoder are given, 0 for none.

    Raises
    ------
    DataError
        If the sides cannot be halved, or ``scale`` is not positive.

    Examples
    --------
    >>> import torch
    >>> from ctxai import VAE
    >>> vae = VAE(shape=(16, 16), latent=12, widths=(8, 16), offset=-400.0, scale=450.0)
    >>> posterior = vae.encode(torch.zeros(3, 1, 16, 16))
    >>> posterior.loc.shape, vae.decode(posterior.loc).shape
    (torch.Size([3, 12]), torch.Size([3, 1, 16, 16]))
    """

    config: dict[str, Any]
    encoder: nn.Module
    decoder: nn.Module

    def __init__(
        self,
        *,
        shape: tuple[int, int] = (64, 64),
        channels: int = 1,
        latent: int = 128,
        widths: tuple[int, ...] = (32, 64, 128, 128),
        offset: float = 0.0,
        scale: float = 1.0,
        unit: str = "HU",
        condition: int = 0,
    ) -> None:
        super().__init__()
        rows, cols = self._describe(shape, channels, latent, condition, offset, scale, unit)
        depth = min(len(widths), _halvings(rows), _halvings(cols))
        if depth == 0:
            raise DataError(
                "images of this size cannot be halved",
                where="shape",
                expected="even sides of at least 8 pixels, and one width at least",
                got=f"{rows} x {cols} with widths {tuple(widths)}",
            )
        known = list(self.config.items())  # in the order that shipped files have
        self.config = dict([*known[:3], ("widths", list(widths)), *known[3:]])
        widths = tuple(widths)[:depth]
        small = (rows >> depth, cols >> depth)
        size = _BOTTLENECK * small[0] * small[1]

        down: list[nn.Module] = []
        for before, after in zip((channels + condition, *widths[:-1]), widths):
            down += _conv(before, after, stride=2)
        encoder = nn.Sequential(
            *down, nn.Conv2d(widths[-1], _BOTTLENECK, 1), nn.Flatten(), nn.Linear(size, 2 * latent)
        )
        up: list[nn.Module] = [
            nn.Linear(latent, size),
            nn.Unflatten(1, (_BOTTLENECK, *small)),
            nn.Conv2d(_BOTTLENECK, widths[-1], 1),
        ]
        narrower = (*widths[:-1][::-1], 16)
        for before, after in zip(widths[::-1], narrower):
            up += [*_conv(before + condition, after), nn.Upsample(scale_factor=2)]
        last_but_one = _conv(16 + condition, 16)
        decoder = _Decoder(*up, *last_but_one, nn.Conv2d(16 + condition, channels, 3, padding=1))
        self.encoder, self.decoder = encoder, decoder
        _initialise(self)
        with torch.no_grad():  # start from posteriors near N(0, 1) and faint images
            for last in (encoder[-1], decoder[-1]):
                next(last.parameters()).mul_(0.3)

    def _describe(
        self,
        shape: tuple[int, int],
        channels: int,
        latent: int,
        condition: int,
        offset: float,
        scale: float,
        unit: str,
    ) -> tuple[int, int]:
        """Keep what any autoencoder has, as attributes and in ``config``; returns the sides."""
        rows, cols = (int(side) for side in shape)
        if not scale > 0:
            raise DataError("scale is not positive", where="scale", got=scale)
        if condition < 0:
            raise DataError(
                "negative number of channels", where="condition", expected="≥ 0", got=condition
            )
        self.config = {
            "shape": [rows, cols],
            "channels": channels,
            "latent": latent,
            "offset": offset,
            "scale": scale,
            "unit": unit,
        }
        if condition:  # files of an unconditional one stay the bytes that they were
            self.config["condition"] = condition
        self.shape, self.channels, self.latent = (rows, cols), channels, latent
        self.condition = condition
        self.offset, self.scale, self.unit = offset, scale, unit
        return rows, cols

    def _normalised(self, image: Tensor, channels: int, name: str) -> Tensor:
        check_image(image, channels, self.shape, name)
        return (image - self.offset) / self.scale

    def _normalised_condition(self, condition: Tensor | None, batch: int) -> Tensor | None:
        """The condition of each of a batch, None for an autoencoder without one."""
        check_condition(condition, self.condition)
        if condition is None:
            return None
        given = self._normalised(condition, self.condition, "condition")
        if len(given) not in (1, batch):
            raise DataError(
                "neither one condition for all nor one for each",
                where="condition",
                expected=f"1 or {batch}",
                got=len(given),
            )
        return given.expand(batch, -1, -1, -1)

    def encode(self, image: Tensor, condition: Tensor | None = None) -> Normal:
        """Posterior of the latent.

        Parameters
        ----------
        image : Tensor
            ``(B, channels, rows, cols)`` in ``unit``.
        condition : Tensor, optional
            ŷ ``(B or 1, condition, rows, cols)`` in ``unit``, for a conditional autoencoder.

        Returns
        -------
        Normal
            Independent normal distribution with ``loc`` and ``scale`` ``(B, latent)``.
        """
        seen = self._normalised(image, self.channels, "image")
        given = self._normalised_condition(condition, len(image))
        seen = seen if given is None else torch.cat([seen, given], dim=1)
        loc, log_variance = self.encoder(seen).to(seen).chunk(2, dim=1)
        return Normal(loc, (0.5 * log_variance.clamp(-12.0, 4.0)).exp(), validate_args=False)

    def decode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``(B, channels, rows, cols)`` in ``unit`` of latents ``(B, latent)``.

        A conditional autoencoder also takes ŷ, one for each latent or one for all.
        """
        check_latent(latent, self.latent)
        given = self._normalised_condition(condition, len(latent))
        return self.decoder(latent, given).to(latent) * self.scale + self.offset


def kl_per_dimension(posterior: Normal) -> Tensor:
    """Mean over the batch of ``KL(q(z̄_d | x) ‖ N(0, 1))`` for each latent dimension [nats]."""
    variance = posterior.scale.square()
    return 0.5 * (posterior.loc.square() + variance - variance.log() - 1.0).mean(0)


@torch.no_grad()
def active_dimensions(vae: Autoencoder, images: Tensor, condition: Tensor | None = None) -> int:
    """Count the latent dimensions that carry anything about the image.

    A dimension is active if the variance of its posterior mean over the images exceeds 0.01
    (Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016). None at all
    means that the autoencoder has collapsed: every sample will look the same.

    Parameters
    ----------
    vae : VAE
    images : Tensor
        ``(B, channels, rows, cols)`` in the unit of the autoencoder, B ≥ 2.
    condition : Tensor, optional
        ŷ of each image, for a conditional autoencoder.

    Returns
    -------
    int
        Between 0 and ``vae.latent``.

    Examples
    --------
    >>> import torch
    >>> from ctxai import VAE, active_dimensions
    >>> active_dimensions(VAE(shape=(8, 8), latent=4, widths=(8,)), torch.zeros(5, 1, 8, 8))
    0
    """
    if len(images) < 2:
        raise DataError("a variance needs images", where="images", expected="≥ 2", got=len(images))
    return int((vae.encode(images, condition).loc.var(0) > 0.01).sum())
