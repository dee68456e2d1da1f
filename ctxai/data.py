"""Pairs of images to learn from, cut into patches at random."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import torch

from recon.errors import DataError

from .files.tensors import digest_tensors

__all__ = ["PairSampler", "PatchPairs", "SeenPairs", "pick_domain", "represented"]

PairSampler = Callable[[int, torch.Generator], tuple[torch.Tensor, ...]]
"""``sampler(n, generator) -> (x, y)``: n pairs of images, each ``(n, C, H, W)``.

With a third one, what the network makes of x in a larger image.
"""

T = TypeVar("T")


def pick_domain(pair: tuple[T, ...], domain: str) -> T:
    """Return the x or the y of a pair ``(x, y)``; any other domain is a `DataError`."""
    if domain not in ("x", "y"):
        raise DataError("unknown domain", where="domain", expected="'x' or 'y'", got=repr(domain))
    return pair[0] if domain == "x" else pair[1]


def represented(
    pair: tuple[torch.Tensor, ...], phi: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """What a layer represents of a pair: of the patch x alone, or in its place where that is there.

    Parameters
    ----------
    pair : tuple of Tensor
        As a `PairSampler` gives it.
    phi : callable
        The layer's representation of x.
    """
    return pair[2] if len(pair) > 2 else phi(pair[0])


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
        index = self.drawn(n, generator, mirrored=True)
        return self.x[index][:, None], self.y[index][:, None]

    def parts(self, side: int, seed: int, *, aligned: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One part of each slice that shows the body, around a patch drawn at random.

        Parameters
        ----------
        side : int
            Of the parts [pixels].
        seed : int
            Of their places.
        aligned : int
            Parts begin at multiples of that many pixels, where the slice's edge does not force
            them elsewhere.

        Returns
        -------
        x, y : Tensor
            ``(m, side, side)`` [HU], of the m slices that show the body.
        """
        generator = torch.Generator().manual_seed(seed)
        found = []
        for x, y, allowed in zip(self.x, self.y, self._allowed):
            places = allowed.nonzero()
            if len(places):
                place = places[int(torch.randint(len(places), (), generator=generator))].tolist()
                top, left = (
                    min(max(0, at + (self.patch - side) // 2) // aligned * aligned, n - side)
                    for at, n in zip(place, x.shape)
                )
                found.append([im[top : top + side, left : left + side] for im in (x, y)])
        return torch.stack([x for x, _ in found]), torch.stack([y for _, y in found])

    def drawn(
        self, n: int, generator: torch.Generator, *, mirrored: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Indices (slice, row, column) of n patches' pixels; half are mirrored if that is asked."""
        places = torch.empty(0, 3, dtype=torch.long)
        shape = torch.tensor(self._allowed.shape)
        while len(places) < n:
            drawn = (torch.rand(4 * n, 3, generator=generator, dtype=torch.float64) * shape).long()
            inside = self._allowed[tuple(drawn.to(self._allowed.device).T)].cpu()
            places = torch.cat([places, drawn[inside]])
        flip = (torch.rand(n, generator=generator) < 0.5) & mirrored
        slices, top, left = places[:n].T
        step = torch.arange(self.patch)
        rows = top[:, None] + step
        cols = left[:, None] + torch.where(flip[:, None], step.flip(0), step)
        of, at = slices[:, None, None].to(self.x.device), rows[:, :, None].to(self.x.device)
        return of, at, cols[:, None].to(self.x.device)


class SeenPairs:
    """Patches with the output of a denoiser that saw them in their place, not cut out.

    Parameters
    ----------
    x, y : Tensor
        As in `PatchPairs`.
    seen : Tensor
        f(x) of the whole images (slices, rows, cols) [HU].
    patch : int
        Side of a patch [pixels].

    Examples
    --------
    >>> import torch
    >>> from ctxai import SeenPairs
    >>> y = torch.full((1, 40, 40), 40.0)
    >>> x = y + torch.randn(y.shape)
    >>> pairs = SeenPairs(x, y, 0.5 * x, patch=8)
    >>> x_patch, _, z = pairs.batch(3, torch.Generator().manual_seed(1))
    >>> torch.equal(z, 0.5 * x_patch)
    True
    """

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor, seen: torch.Tensor, *, patch: int = 64
    ) -> None:
        self.pairs = PatchPairs(x, y, patch=patch)
        if seen.shape != x.shape or not torch.isfinite(seen).all():
            raise DataError(
                "outputs must be finite and match the images", where="seen",
                expected=tuple(x.shape), got=tuple(seen.shape),
            )  # fmt: skip
        self.seen = seen

    def batch(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Draw n patches x and y and the outputs there, ``(n, 1, patch, patch)``; none mirrored.

        A network need not give a mirrored image the mirrored output.
        """
        index = self.pairs.drawn(n, generator, mirrored=False)
        of = (self.pairs.x, self.pairs.y, self.seen)
        return tuple(images[index][:, None] for images in of)


def _box_means(image: torch.Tensor, side: int) -> torch.Tensor:
    """Mean of every side × side box of an image (rows, cols), from running sums."""
    sums = torch.nn.functional.pad(image.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    box = sums[side:, side:] - sums[side:, :-side] - sums[:-side, side:] + sums[:-side, :-side]
    return box / side**2
