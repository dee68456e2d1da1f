"""Pairs of images to learn from, cut into patches at random."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch

from recon.errors import DataError

from .files.tensors import digest_tensors

__all__ = ["PairSampler", "PatchPairs", "noise_of", "pick_domain", "represented"]

PairSampler = Callable[[int, torch.Generator], tuple[Any, ...]]
"""``sampler(n, generator) -> (x, y)``: n pairs of images, each ``(n, C, H, W)``.

With a third one, what the network makes of x in a larger image, and with a fourth, the noise of x;
either may be None.
"""


def pick_domain(pair: tuple[Any, ...], domain: str) -> Any:
    """Return the x or the y of a pair ``(x, y)``; any other domain is a `DataError`.

    Parameters
    ----------
    pair : (x, y)
        Anything.
    domain : {"x", "y"}
        Which of the two.

    Returns
    -------
    x or y
    """
    if domain not in ("x", "y"):
        raise DataError("unknown domain", where="domain", expected="'x' or 'y'", got=repr(domain))
    return pair[0] if domain == "x" else pair[1]


def represented(pair: tuple[Any, ...], phi: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """What a layer represents of a pair: of the patch x alone, or in its place where that is there.

    Parameters
    ----------
    pair : tuple of Tensor
        As a `PairSampler` gives it.
    phi : callable
        The layer's representation of x.

    Returns
    -------
    Tensor
        z.
    """
    seen = pair[2] if len(pair) > 2 else None
    return phi(pair[0]) if seen is None else seen


def noise_of(pair: tuple[Any, ...]) -> torch.Tensor | None:
    """The noise of the images x of a pair, as a `PairSampler` gives it, or None."""
    return pair[3] if len(pair) > 3 else None


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
    seen : Tensor, optional
        What a denoiser makes of the whole images x, of their shape [HU]. A batch then holds its
        patches, of a denoiser that saw them in their place, and none is mirrored: a network need
        not give a mirrored image the mirrored output.
    noise : Tensor, optional
        What is noise of x, of its shape [HU].

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
    >>> pairs = PatchPairs(y + 10, y, patch=32, seen=y + 5)
    >>> x_patch, y_patch, seen, noise = pairs.batch(8, torch.Generator().manual_seed(1))
    >>> bool((x_patch - seen == 5).all()), noise
    (True, None)
    """

    def __init__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        patch: int = 64,
        inside_hu: float = -700.0,
        seen: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> None:
        self.x, self.y, self.seen, self.noise = x, y, seen, noise
        for name, images in self._images().items():
            if not isinstance(images, torch.Tensor) or not images.is_floating_point():
                raise DataError(
                    "images must be floating-point tensors",
                    where=name,
                    got=getattr(images, "dtype", type(images).__name__),
                    remedy="use torch.from_numpy(array).float()",
                )
            if not torch.isfinite(images).all():
                raise DataError("images hold NaN or infinity", where=name)
        shapes = {name: tuple(images.shape) for name, images in self._images().items()}
        if len(set(shapes.values())) > 1 or x.ndim != 3 or 0 in x.shape:
            raise DataError(
                "images must match",
                where=", ".join(shapes),
                expected="(slices, rows, cols) all",
                got=" and ".join(map(str, shapes.values())),
            )
        if not 1 <= patch <= min(x.shape[1:]):
            raise DataError(
                "images are smaller than a patch",
                where="patch",
                expected=f"1 to {min(x.shape[1:])}",
                got=patch,
            )
        self.patch, self.inside_hu = int(patch), float(inside_hu)
        self._allowed = torch.stack([_box_means(image, self.patch) > inside_hu for image in y])
        if not self._allowed.any():
            raise DataError(
                "no patch shows the body",
                where="y",
                expected=f"a mean above {inside_hu} HU",
                got=f"at most {max(float(_box_means(image, self.patch).max()) for image in y):.0f}",
            )

    def _images(self) -> dict[str, torch.Tensor]:
        """All images that there are, by name."""
        named = {"x": self.x, "y": self.y, "seen": self.seen, "noise": self.noise}
        return {name: images for name, images in named.items() if images is not None}

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the images, the patch size and the threshold."""
        rule = torch.tensor([self.patch, self.inside_hu], dtype=torch.float64)
        return digest_tensors({**self._images(), "rule": rule})

    def __add__(self, other: PatchPairs) -> PatchPairs:
        """Pairs of both; patches and threshold are those of the first.

        Outputs and noise are those of both, or of neither.
        """
        theirs = other._images()
        both = {
            name: torch.cat([images, theirs[name]])
            for name, images in self._images().items()
            if name in theirs
        }
        return PatchPairs(**both, patch=self.patch, inside_hu=self.inside_hu)

    def with_output(self, seen: torch.Tensor) -> PatchPairs:
        """The same pairs with what a denoiser makes of the images x."""
        others = {**self._images(), "seen": seen}
        return PatchPairs(**others, patch=self.patch, inside_hu=self.inside_hu)

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> PatchPairs:
        """All images changed in the same way, such as cut or moved to a device."""
        images = {name: change(images) for name, images in self._images().items()}
        return PatchPairs(**images, patch=self.patch, inside_hu=self.inside_hu)

    def batch(self, n: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Draw n pairs of patches, each from a random slice and place.

        Parameters
        ----------
        n : int
            Number of pairs.
        generator : torch.Generator
            Source of all randomness (on the CPU).

        Returns
        -------
        x, y : Tensor
            Patches (n, 1, patch, patch) [HU]; left and right are swapped in half of them, unless
            there are outputs. Where there are outputs or noise, theirs follow.
        """
        index = self._drawn(n, generator, mirrored=self.seen is None)
        taken: list[torch.Tensor | None] = [self.x, self.y]
        if self.seen is not None or self.noise is not None:
            taken += [self.seen, self.noise]
        return tuple(None if images is None else images[index][:, None] for images in taken)

    def parts(self, side: int, seed: int, *, aligned: int) -> PatchPairs:
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
        PatchPairs
            ``(m, side, side)`` [HU], of the m slices that show the body.
        """
        generator = torch.Generator().manual_seed(seed)
        found: dict[str, list[torch.Tensor]] = {name: [] for name in self._images()}
        for k, allowed in enumerate(self._allowed):
            places = allowed.nonzero()
            if len(places):
                place = places[int(torch.randint(len(places), (), generator=generator))].tolist()
                top, left = (
                    min(max(0, at + (self.patch - side) // 2) // aligned * aligned, n - side)
                    for at, n in zip(place, self.x.shape[1:])
                )
                for name, images in self._images().items():
                    found[name].append(images[k, top : top + side, left : left + side])
        stacked = {name: torch.stack(images) for name, images in found.items()}
        return PatchPairs(**stacked, patch=self.patch, inside_hu=self.inside_hu)

    def _drawn(
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


def _box_means(image: torch.Tensor, side: int) -> torch.Tensor:
    """Mean of every side × side box of an image (rows, cols), from running sums."""
    sums = torch.nn.functional.pad(image.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    box = sums[side:, side:] - sums[side:, :-side] - sums[:-side, side:] + sums[:-side, :-side]
    return box / side**2
