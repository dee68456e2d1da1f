"""Pairs of images to learn from, cut into patches at random."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import torch

from recon.errors import DataError

from .files.tensors import digest_tensors

__all__ = ["PairSampler", "PatchPairs", "pick_domain"]

PairSampler = Callable[[int, torch.Generator], tuple[torch.Tensor, torch.Tensor]]
"""``sampler(n, generator) -> (x, y)``: n pairs of images, each ``(n, C, H, W)``."""

T = TypeVar("T")


def pick_domain(pair: tuple[T, T], domain: str) -> T:
    """Return the x or the y of a pair ``(x, y)``; any other domain is a `DataError`."""
    if domain not in ("x", "y"):
        raise DataError("unknown domain", where="domain", expected="'x' or 'y'", got=repr(domain))
    return pair[0] if domain == "x" else pair[1]


class PatchPairs:
    """Random patches of low-dose and high-dose images that show the body.

    Parameters
    ----------
    x, y : Tensor
        Low-dose and high-dose images (slices, rows, cols) [HU], pixel on pixel.
    patch : int
        Side of a patch [pixels].
    inside_hu : float
        Patches whose mean in y is not above this are not drawn: -700 HU leaves air out;
        ``-math.inf`` allows all.

    Raises
    ------
    DataError
        If the images do not match, are smaller than a patch, are not finite, or show no body.

    Examples
    --------
    >>> import torch
    >>> from ctxai import PatchPairs
    >>> y = torch.full((3, 100, 80), -1000.0)
    >>> y[:, 20:90, 8:76] = 40.0
    >>> pairs = PatchPairs(y + 10, y, patch=32)
    >>> x_patch, y_patch = pairs.batch(8, torch.Generator().manual_seed(1))
    >>> x_patch.shape, bool((x_patch - y_patch == 10).all())
    (torch.Size([8, 1, 32, 32]), True)
    """

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor, *, patch: int = 64, inside_hu: float = -700.0
    ) -> None:
        for name, images in (("x", x), ("y", y)):
            if not isinstance(images, torch.Tensor) or not images.is_floating_point():
                raise DataError(
                    "images must be floating-point tensors",
                    where=name,
                    got=getattr(images, "dtype", type(images).__name__),
                    remedy="use torch.from_numpy(array).float()",
                )
            if not torch.isfinite(images).all():
                raise DataError("images hold NaN or infinity", where=name)
        if x.shape != y.shape or x.ndim != 3 or 0 in x.shape:
            raise DataError(
                "images must match",
                where="x, y",
                expected="(slices, rows, cols) both",
                got=f"{tuple(x.shape)} and {tuple(y.shape)}",
            )
        if not 1 <= patch <= min(x.shape[1:]):
            raise DataError(
                "images are smaller than a patch",
                where="patch",
                expected=f"1 to {min(x.shape[1:])}",
                got=patch,
            )
        self.x, self.y, self.patch, self.inside_hu = x, y, int(patch), float(inside_hu)
        self._allowed = torch.stack([_box_means(image, self.patch) > inside_hu for image in y])
        if not self._allowed.any():
            raise DataError(
                "no patch shows the body",
                where="y",
                expected=f"a mean above {inside_hu} HU",
                got=f"at most {max(float(_box_means(image, self.patch).max()) for image in y):.0f}",
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the images, the patch size and the threshold."""
        rule = torch.tensor([self.patch, self.inside_hu], dtype=torch.float64)
        return digest_tensors({"x": self.x, "y": self.y, "rule": rule})

    def __add__(self, other: PatchPairs) -> PatchPairs:
        """Pairs of both; patches and threshold are those of the first."""
        x, y = torch.cat([self.x, other.x]), torch.cat([self.y, other.y])
        return PatchPairs(x, y, patch=self.patch, inside_hu=self.inside_hu)

    def batch(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw n pairs of patches, each from a random slice and place, mirrored every other time.

        Parameters
        ----------
        n : int
            Number of pairs.
        generator : torch.Generator
            Source of all randomness (on the CPU).

        Returns
        -------
        x, y : Tensor
            Patches (n, 1, patch, patch) [HU]; left and right are swapped in half of them.
        """
        places = torch.empty(0, 3, dtype=torch.long)
        shape = torch.tensor(self._allowed.shape)
        while len(places) < n:
            drawn = (torch.rand(4 * n, 3, generator=generator, dtype=torch.float64) * shape).long()
            inside = self._allowed[tuple(drawn.to(self._allowed.device).T)].cpu()
            places = torch.cat([places, drawn[inside]])
        flip = torch.rand(n, generator=generator) < 0.5
        slices, top, left = places[:n].T
        step = torch.arange(self.patch)
        rows = top[:, None] + step
        cols = left[:, None] + torch.where(flip[:, None], step.flip(0), step)
        index = [
            i.to(self.x.device) for i in (slices[:, None, None], rows[:, :, None], cols[:, None])
        ]
        return self.x[tuple(index)][:, None], self.y[tuple(index)][:, None]


def _box_means(image: torch.Tensor, side: int) -> torch.Tensor:
    """Mean of every side × side box of an image (rows, cols), from running sums."""
    sums = torch.nn.functional.pad(image.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    box = sums[side:, side:] - sums[side:, :-side] - sums[:-side, side:] + sums[:-side, :-side]
    return box / side**2
