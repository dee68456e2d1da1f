"""What it takes to sample the invariances of one layer: f split there, and a trained sampler.

`Sampler` is the interface: whoever samples asks for ``represent(x)`` and ``generate(v, z)``. Two
trained ones stand behind it: a VAE with a cINN in its latents, and flow matching in pixel space.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.distributions import Normal

from recon.errors import DataError

from ..data import pick_domain
from ..representation.autoencoder import Autoencoder, MakesImages
from ..representation.cinn import ConditionalINN
from ..representation.convolutional_cinn import ConvolutionalINN
from ..representation.flow import FlowMatching
from ..representation.noise_told import describe_noise
from ..wiretap.in_place import AnyWiretap
from ..wiretap.wiretap import Wiretap

__all__ = ["FlowModel", "InvarianceModel", "Model", "Redraw", "Sampler"]

_CHUNK = 25  # images that a conditional decoder makes at a time, for the sake of memory

Redraw = Callable[[Tensor, int, int], Tensor]
"""``redraw(x, n, seed) -> (n, *x.shape)``: the anatomy of x with n fresh draws of its noise."""


class Sampler(MakesImages, Protocol):
    """What :func:`~ctxai.draw` asks of a sampler of what one layer is invariant to."""

    redraw: Redraw | None

    @property
    def wiretap(self) -> AnyWiretap:
        """The layer, and the denoiser behind it."""

    @property
    def domain(self) -> str:
        """Whether it samples inputs of the network, "x", or targets of it, "y"."""

    @property
    def sampler(self) -> str:
        """What it is called in tables."""

    def represent(self, x: Tensor) -> Tensor:
        """z = Φ(x) of images ``(B, C, H, W)``."""

    def generate(self, v: Tensor, z: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` of ``v (n, latent)`` for one z ``(1, ...)``."""


class _Trained(ABC):
    """What both trained samplers have: networks of which the last one takes v."""

    wiretap: Wiretap
    domain: str
    noise: Tensor | None
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        pick_domain(("x", "y"), self.domain)

    @property
    @abstractmethod
    def networks(self) -> tuple[Any, ...]:
        """The trained networks: the first one makes the images, the last one takes v."""

    @property
    def latent(self) -> int:
        """Dimensions of v."""
        return self.networks[-1].latent

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.networks[0].shape

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.networks[0].channels

    @property
    def unit(self) -> str:
        """Unit of the images."""
        return self.networks[0].unit

    @property
    def told(self) -> tuple[Tensor, ...]:
        """What the last network is told of the noise beside z, if anything."""
        return () if self.noise is None else (self.noise,)

    def told_of(self, scans: Tensor, share: float = 1.0, own: Tensor | None = None) -> Self:
        """The sampler, told of the noise of a scan; one that learnt from one kind is told nothing.

        Parameters
        ----------
        scans : Tensor
            Further scans ``(n, rows, cols)`` of the same anatomy, 2 or more.
        share : float
            Part of the noise's variance that they vary by: the image may hold some of its own.
        own : Tensor, (rows, cols), optional
            Noise that the image has besides, and that no further scan would vary by [HU].
        """
        if "scans" not in self.facts:
            return self
        noise = (scans - scans.mean(0)) * math.sqrt(len(scans) / (len(scans) - 1) / share)
        noise = noise if own is None else noise + own
        return replace(self, noise=describe_noise(noise[None]))  # type: ignore[type-var]

    def represent(self, x: Tensor) -> Tensor:
        """z = Φ(x) of images ``(B, C, H, W)``."""
        return self.wiretap.phi(x)


@dataclass
class InvarianceModel(_Trained):
    """Everything that sampling the invariances of one layer takes, with a VAE and a cINN.

    Attributes
    ----------
    wiretap : Wiretap
        The network, split after the layer: ``phi(x)`` gives z.
    vae : VAE, SpatialVAE or LinearAutoencoder
        Complete representation of the images sampled; conditional on f(x) or not.
    cinn : ConvolutionalINN or ConditionalINN
        Trained for this layer and this VAE.
    domain : "x" or "y"
        Whether samples are inputs of the network (x̄) or targets of it (ȳ).
    redraw : callable, optional
        ``redraw(x, n, seed) -> (n, *x.shape)``: x with fresh noise, for a relative tolerance.
    noise : Tensor, optional
        What a sampler that learnt from scans of many kinds is told of this one,
        :func:`ctxai.describe_noise`, ``(1, 3)``; the mean over its training by default.
    facts : dict
        What is known of the training, for the record of a run.
    """

    wiretap: Wiretap
    vae: Autoencoder
    cinn: ConvolutionalINN | ConditionalINN
    domain: str = "x"
    redraw: Redraw | None = None
    noise: Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vae.latent != self.cinn.latent:
            raise DataError(
                "autoencoder and invertible network have different latents",
                where="vae, cinn",
                got=f"{self.vae.latent} and {self.cinn.latent} dimensions",
                remedy="use the pair that was trained together",
            )

    @property
    def sampler(self) -> str:
        """What the sampler is called in tables."""
        return f"{'c' * self._conditional}VAE_{self.domain} + cINN"

    @property
    def networks(self) -> tuple[Any, ...]:
        """The autoencoder and the invertible network."""
        return self.vae, self.cinn

    def resized(self, shape: tuple[int, int]) -> InvarianceModel:
        """The same networks for images of another size, multiples of 8 [pixels].

        Raises
        ------
        DataError
            If they are not convolutional throughout.
        """
        if tuple(shape) == self.shape:
            return self
        vae: Any = self.vae
        if not isinstance(self.cinn, ConvolutionalINN) or not hasattr(vae, "resized"):
            raise DataError(
                "an autoencoder with a vector of latents has one size",
                where="shape (--patch)",
                expected=self.shape,
                got=tuple(shape),
                remedy="use flow matching, or train convolutional ones anew",
            )
        cinn = self.cinn.resized(shape, self.shape)
        return replace(self, vae=vae.resized(shape), cinn=cinn)

    def condition(self, z: Tensor) -> Tensor | None:
        """What the autoencoder is given beside an image: f(x) = Ψ(z) of ``z (B, ...)``, or None."""
        return self.wiretap.psi(z) if self._conditional else None

    def encode(self, images: Tensor, z: Tensor) -> Normal:
        """Posterior of the latent of images ``(B, C, H, W)``, of which z is what the layer sees."""
        given = self.condition(z)
        return self.vae.encode(images) if given is None else self.vae.encode(images, given)

    @property
    def _conditional(self) -> bool:
        """Whether the autoencoder is given f(x); any ``encode`` and ``decode`` will do."""
        return bool(getattr(self.vae, "condition", 0))

    def generate(self, v: Tensor, z: Tensor) -> Tensor:
        """Images ``D(t⁻¹(v | z))`` ``(n, C, H, W)`` of ``v (n, latent)`` for one z ``(1, ...)``."""
        latent, given = self.cinn.inverse(v, z, *self.told), self.condition(z)
        if given is None:
            return self.vae.decode(latent)
        return torch.cat([self.vae.decode(some, given) for some in latent.split(_CHUNK)])


@dataclass
class FlowModel(_Trained):
    """The same with flow matching in pixel space in place of VAE and cINN.

    Attributes
    ----------
    wiretap : Wiretap
        The network, split after the layer: ``phi(x)`` gives z.
    flow : FlowMatching
        Trained for this layer and domain.
    domain : "x" or "y"
        Whether samples are inputs of the network (x̄) or targets of it (ȳ).
    redraw : callable, optional
        ``redraw(x, n, seed) -> (n, *x.shape)``: x with fresh noise, for a relative tolerance.
    noise : Tensor, optional
        What a sampler that learnt from scans of many kinds is told of this one,
        :func:`ctxai.describe_noise`, ``(1, 3)``; the mean over its training by default.
    facts : dict
        What is known of the training, for the record of a run.
    """

    wiretap: Wiretap
    flow: FlowMatching
    domain: str = "x"
    redraw: Redraw | None = None
    noise: Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def sampler(self) -> str:
        """What the sampler is called in tables."""
        return "flow matching"

    def resized(self, shape: tuple[int, int]) -> FlowModel:
        """The same flow for images of another size, multiples of 8 [pixels]."""
        same = tuple(shape) == self.shape
        return self if same else replace(self, flow=self.flow.resized(shape))

    @property
    def networks(self) -> tuple[Any, ...]:
        """The flow alone."""
        return (self.flow,)

    def generate(self, v: Tensor, z: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` of noise ``v (n, latent)`` for one z ``(1, ...)``."""
        return self.flow.generate(v, z, *self.told)


Model = InvarianceModel | FlowModel
"""Either trained sampler."""
