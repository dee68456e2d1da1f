"""Flow matching: images given what a layer represents, drawn in pixel space without a latent.

An ordinary differential equation carries white noise v to images of p(x | z). Its velocity is
learnt by regression, so there is neither an autoencoder, whose errors a sample inherits, nor an
invertible network. v is a noise image and is to z what the v of a `ctxai.ConditionalINN` is.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pixel_shuffle, pixel_unshuffle

from recon.errors import DataError

from ..precision import sixteen_bits
from .condition import channel_scales, check_representation
from .linear_guess import fit_filters
from .midpoint import integrate
from .noise_told import TOLD, ToldNoise, weights_of

__all__ = ["FlowMatching"]

_FOLD = 2  # the network works on 2 × 2 pixels at once: a quarter of the cost at the same width
_HALVINGS = 2
_GROUPS = 8
_TIMES = 64  # width of the time embedding
_SUMMARY = 8  # channels that a representation with more is summarised in
_GUESS = 5  # side of the filters of the linear guess [pixels]
_AROUND = 9  # side of the mean that the guess is compared with [pixels]
_CHUNK = 50


class Block(nn.Module):
    """Two 3×3 convolutions around a time-dependent shift, beside a direct path."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(_GROUPS, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.shift = nn.Linear(_TIMES, after)
        last = nn.Conv2d(after, after, 3, padding=1)
        self.second = nn.Sequential(nn.GroupNorm(_GROUPS, after), nn.SiLU(), last)
        self.direct = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(last.weight)  # the block starts as its direct path
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        """Features ``(B, before, h, w)`` and time embeddings → ``(B, after, h, w)``."""
        moved = self.first(h) + self.shift(time)[:, :, None, None]
        return self.direct(h) + self.second(moved)


class FlowMatching(nn.Module):
    r"""Sampler of images given a representation z, by conditional flow matching.

    .. math::
        \frac{du}{dt} = w_θ(u, t, z), \quad u(0) = v ∼ N(0, 1), \quad x = G z + s\,u(1)

    (Lipman et al., "Flow matching for generative modeling", ICLR 2023, with the straight paths of
    Liu et al., "Flow straight and fast", ICLR 2023). G z is the best linear guess of the image
    from z by 5 × 5 filters and s the rms of what it misses, so that u has variance 1 after any
    layer. The velocity is a U-Net on 2 × 2 pixels at once. Where the noise of the scan is described
    (:func:`ctxai.describe_noise`), the U-Net takes it in, and log s is linear in it.

    Parameters
    ----------
    condition_shape : (channels, rows, cols)
        Shape of z: a feature map of the image's own size, both sides multiples of 8.
    channels : int
        Channels of an image, 1 for CT.
    widths : tuple of int
        Channels of the U-Net at its three resolutions, multiples of 8.
    steps : int
        Steps of the integration (midpoint rule: two evaluations of the network each).
    unit : str
        Unit of the images, "HU" for CT numbers, "" for plain arrays.

    Raises
    ------
    DataError
        If z is no feature map of such a size, or a width is no multiple of 8.

    Examples
    --------
    >>> import torch
    >>> from ctxai import FlowMatching
    >>> flow = FlowMatching(condition_shape=(3, 16, 16), widths=(8, 8, 8))
    >>> v, z = torch.randn(5, flow.latent), torch.randn(1, 3, 16, 16)
    >>> flow.generate(v, z).shape
    torch.Size([5, 1, 16, 16])
    """

    condition_mean: Tensor
    condition_scale: Tensor
    filters: Tensor
    bias: Tensor
    scale: Tensor
    slope: Tensor
    fitted: Tensor
    frequencies: Tensor

    def __init__(
        self,
        *,
        condition_shape: tuple[int, ...],
        channels: int = 1,
        widths: tuple[int, ...] = (32, 64, 80),
        steps: int = 2,
        unit: str = "HU",
    ) -> None:
        super().__init__()
        multiple = _FOLD * 2**_HALVINGS
        if len(condition_shape) != 3 or any(
            side < 1 or side % multiple for side in condition_shape[1:]
        ):
            raise DataError(
                "flow matching needs a feature map of the image's own size",
                where="condition_shape",
                expected=f"(channels, rows, cols), both sides multiples of {multiple}",
                got=tuple(condition_shape),
                remedy="use the cINN sampler for this layer",
            )
        if len(widths) != 1 + _HALVINGS or any(width < 1 or width % _GROUPS for width in widths):
            raise DataError(
                "bad widths", where="widths", expected=f"three multiples of {_GROUPS}", got=widths
            )
        if steps < 1:
            raise DataError("no steps to integrate in", where="steps", expected="≥ 1", got=steps)
        depth, rows, cols = (int(side) for side in condition_shape)
        self.config: dict[str, Any] = {
            "condition_shape": [depth, rows, cols],
            "channels": channels,
            "widths": list(widths),
            "steps": steps,
            "unit": unit,
        }
        self.condition_shape = (depth, rows, cols)
        self.shape, self.channels, self.unit, self.steps = (rows, cols), channels, unit, steps
        self.register_buffer("condition_mean", torch.zeros(depth, 1, 1))
        self.register_buffer("condition_scale", torch.ones(depth, 1, 1))
        self.register_buffer("filters", torch.zeros(channels, depth, _GUESS, _GUESS))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("slope", torch.zeros(TOLD))
        self.register_buffer("fitted", torch.zeros(()))
        octaves = 2.0 ** torch.arange(_TIMES // 4 // 2) * math.pi / 2
        self.register_buffer("frequencies", octaves, persistent=False)

        summary = min(depth, _SUMMARY)
        self.summary = nn.Conv2d(depth, summary, 1) if depth > summary else nn.Identity()
        a, b, c = widths
        folded = _FOLD**2
        self.time = nn.Sequential(
            nn.Linear(2 * len(octaves), _TIMES), nn.SiLU(), nn.Linear(_TIMES, _TIMES), nn.SiLU()
        )
        self.told = ToldNoise(_TIMES)
        self.enter = nn.Conv2d(folded * channels, a, 3, padding=1)
        self.enter_condition = nn.Conv2d(folded * (summary + channels), a, 3, padding=1, bias=False)
        self.fine = Block(a, a)
        self.halve = nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.middle = Block(b, b)
        self.halve_again = nn.Conv2d(b, c, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList([Block(c, c), Block(c, c)])
        self.middle_up = Block(c + b, b)
        self.fine_up = Block(b + a, a)
        self.leave = nn.Sequential(
            nn.GroupNorm(_GROUPS, a), nn.SiLU(), nn.Conv2d(a, folded * channels, 3, padding=1)
        )
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.ndim == 4:  # convolves faster on a CPU
                tensor.data = tensor.data.to(memory_format=torch.channels_last)

    def resized(self, shape: tuple[int, int]) -> FlowMatching:
        """The same weights for images of another size, in twice the steps.

        All layers are convolutions. Two steps of 64² patches draw .93 of the reference's spread; on
        128² patches two draw .77 of it and four .81.

        Parameters
        ----------
        shape : (rows, cols)
            Multiples of 8 [pixels].
        """
        depth, config = self.condition_shape[0], dict(self.config)
        config |= {"condition_shape": (depth, *shape), "steps": 2 * self.steps}
        config["widths"] = tuple(config["widths"])
        other = FlowMatching(**config).to(self.scale.device)
        other.load_state_dict(self.state_dict())
        return other.train(self.training).requires_grad_(self.scale.requires_grad)

    @property
    def latent(self) -> int:
        """Dimensions of v: one for each pixel."""
        return self.channels * self.shape[0] * self.shape[1]

    def guess(self, z: Tensor) -> Tensor:
        """G z, the linear guess ``(B, channels, rows, cols)`` [unit] of the image."""
        return conv2d(self._normalised(z), self.filters, self.bias, padding=_GUESS // 2)

    def spread(self, noise: Tensor | None) -> Tensor:
        """s ``(B, 1, 1, 1)`` of scans whose noise is described ``(B, 3)``, or is not."""
        return self.scale * (self.told.normalised(noise) @ self.slope).exp()[:, None, None, None]

    def condition(self, z: Tensor, noise: Tensor | None = None) -> Tensor:
        """What the velocity sees of z, ``(B, width, rows/2, cols/2)``: it does not depend on t."""
        guess = self.guess(z)
        around = avg_pool2d(guess, _AROUND, 1, _AROUND // 2, count_include_pad=False)
        detail = torch.asinh((guess - around) / self.spread(noise))
        seen = torch.cat([self.summary(self._normalised(z)), detail], dim=1)
        return self.enter_condition(pixel_unshuffle(seen, _FOLD))

    def velocity(
        self, u: Tensor, t: Tensor, condition: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """w(u, t, z), of the shape of u.

        Parameters
        ----------
        u : Tensor
            ``(B, channels, rows, cols)``, of variance 1 at both ends.
        t : Tensor
            Time from 0 (noise) to 1 (images), ``(B,)``.
        condition : Tensor
            `condition` of the representations, ``(B, ...)`` or ``(1, ...)``.
        noise : Tensor, optional
            Descriptions of the noise of the scans, ``(B, 3)`` or ``(1, 3)``.
        """
        phase = t[:, None] * self.frequencies
        time = self.time(torch.cat([phase.sin(), phase.cos()], dim=1)) + self.told(noise)
        fine = self.fine(self.enter(pixel_unshuffle(u, _FOLD)) + condition, time)
        middle = self.middle(self.halve(fine), time)
        h = self.halve_again(middle)
        for block in self.coarse:
            h = block(h, time)
        h = self.middle_up(torch.cat([interpolate(h, scale_factor=2.0), middle], dim=1), time)
        h = self.fine_up(torch.cat([interpolate(h, scale_factor=2.0), fine], dim=1), time)
        return pixel_shuffle(self.leave(h), _FOLD)

    def generate(
        self, v: Tensor, z: Tensor, noise: Tensor | None = None, *, steps: int | None = None
    ) -> Tensor:
        """Images ``(n, channels, rows, cols)`` [unit] of noise, for one representation.

        Parameters
        ----------
        v : Tensor
            ``(n, latent)``.
        z : Tensor
            ``(1, *condition_shape)``.
        noise : Tensor, optional
            Description of the noise of the scan, ``(1, 3)``; the training's mean by default.
        steps : int, optional
            Other than those it was made with.
        """
        if v.ndim != 2 or v.shape[1] != self.latent or len(z) != 1:
            raise DataError(
                "noise does not fit the flow, or there is more than one representation",
                where="v, z",
                expected=f"(n, {self.latent}) and one z",
                got=f"{tuple(v.shape)} and {len(z)} of them",
            )
        guess, condition = self.guess(z), self.condition(z, noise)
        count = self.steps if steps is None else int(steps)

        def velocity(u: Tensor, t: Tensor) -> Tensor:
            with sixteen_bits(u):
                return self.velocity(u, t.expand(len(u)), condition, noise).to(u)

        parts = [
            integrate(velocity, u, steps=count)
            for u in v.reshape(-1, self.channels, *self.shape).split(_CHUNK)
        ]
        return guess + self.spread(noise) * torch.cat(parts)

    @torch.no_grad()
    def fit_scales(self, images: Tensor, z: Tensor, noise: Tensor | None = None) -> None:
        """Set G, s and the normalisation of z from pairs ``(B, channels, rows, cols)``, z.

        Where their noise is described, scans count by how little they have. G is that
        of :func:`ctxai.representation.linear_guess.fit_filters`.
        """
        self.told.fit(noise)
        mean, spread = channel_scales(z)
        self.condition_mean.copy_(mean[:, None, None])
        self.condition_scale.copy_(spread[:, None, None])
        weights = weights_of(noise)
        filters, bias = fit_filters(self._normalised(z), images, side=_GUESS, weights=weights)
        self.filters.copy_(filters)
        self.bias.copy_(bias)
        missed = (images - self.guess(z)).square().mean((1, 2, 3)).sqrt()[:, None]
        at_mean, slopes = self.told.log_linear(missed.clamp_min(1e-6 * images.std()), noise)
        self.scale.copy_(at_mean[0].exp())
        self.slope.copy_(slopes[0])
        self.fitted.fill_(1.0)

    def _normalised(self, z: Tensor) -> Tensor:
        check_representation(z, self.condition_shape, "flow")
        return (z - self.condition_mean) / self.condition_scale
