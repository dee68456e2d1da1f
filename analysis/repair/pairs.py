"""What a denoiser should not be invariant to, as pairs of images that it should tell apart.

*Random lesions*: discs of random radius and contrast, as a scan shows them, added to low-dose
patches of soft tissue.

*Sampled differences that match a lesion*: projected samples x̄ keep the output of x, so whatever in
x̄ - x looks like a lesion is one that f does not show there. Every candidate gets a score, the
largest correlation of x̄ - x with a lesion of one of a few radii, bright or dark, anywhere in the
patch (:func:`analysis.lesions.lesion.match_lesions`). Of each image the best few are kept, and of
these the part under a soft window around the match: to ask for the rest too would be to ask for
noise.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor
from tqdm import tqdm

from ctxai import Model, Pairs, digest_tensors, draw
from recon import DataError, ImageGrid

from ..lesions.lesion import match_lesions
from ..lesions.sites import scanned_lesion, square_grid

__all__ = ["Alternating", "KeptPairs", "RandomLesions", "lesion_like_pairs"]

CONTRASTS = (10.0, 80.0)  # HU, of either sign
RADII = tuple(1.0 + 0.1 * k for k in range(21))  # pixels
_ROOM = 2.0  # pixels of a window beyond the radius of the lesion in it


class RandomLesions:
    """Low-dose patches without and with a random lesion at their site.

    Contrasts of 10 to 80 HU, bright or dark, radii of 1 to 3 pixels: the small ones suffer most.
    Each is what a scan shows of it near the axis, R⁻¹R.

    Parameters
    ----------
    x : Tensor, (n, H, W)
        Low-dose patches around sites, as :func:`analysis.lesions.sites.around` cuts them [HU].
    spacing : float
        Pixel size [mm].
    window : str
        Apodisation of the FBP.
    """

    def __init__(self, x: Tensor, spacing: float, *, window: str) -> None:
        self.x = x
        grid = square_grid(x, spacing)
        self.shown = torch.stack([scanned_lesion(r, grid, window=window) for r in RADII])

    @cached_property
    def digest(self) -> str:
        """Digest of the patches and of the range of lesions."""
        rule = torch.tensor(CONTRASTS, dtype=torch.float64)
        return digest_tensors({"x": self.x, "shown": self.shown, "rule": rule})

    def batch(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n patches without and with a lesion, each (n, 1, H, W) [HU]."""
        x = self.x[torch.randint(len(self.x), (n,), generator=generator)][:, None]
        (low, high), random = CONTRASTS, torch.rand(n, 3, generator=generator)
        contrast = (low + (high - low) * random[:, 1]) * torch.where(random[:, 0] < 0.5, 1.0, -1.0)
        lesions = self.shown[(random[:, 2] * len(RADII)).long()] * contrast[:, None, None]
        return x, x + lesions[:, None].to(x)


class KeptPairs:
    """Pairs of images that are there already, drawn with replacement.

    Parameters
    ----------
    a, b : Tensor, (n, 1, H, W)
        Images of the same unit [HU].
    score : Tensor, (n,)
        How like a lesion their difference is.
    """

    def __init__(self, a: Tensor, b: Tensor, score: Tensor) -> None:
        self.a, self.b, self.score = a, b, score

    @cached_property
    def digest(self) -> str:
        """Digest of the images."""
        return digest_tensors({"a": self.a, "b": self.b})

    def batch(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n pairs, each (n, 1, H, W)."""
        which = torch.randint(len(self.a), (n,), generator=generator)
        return self.a[which], self.b[which]


class Alternating:
    """Pairs of several sources in turn: pair k of a batch is of source k modulo their number.

    Parameters
    ----------
    sources : Pairs
        Where the pairs come from; all images have one size.
    """

    def __init__(self, *sources: Pairs) -> None:
        self.sources = sources

    @property
    def digest(self) -> str:
        """Digests of the sources."""
        return " + ".join(source.digest for source in self.sources)

    def batch(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n pairs, each (n, 1, H, W)."""
        count = len(self.sources)
        drawn = [
            source.batch(len(range(k, n, count)), generator)
            for k, source in enumerate(self.sources)
            if k < n
        ]
        a, b = (torch.cat(images) for images in zip(*drawn))
        return a, b


def lesion_like_pairs(
    model: Model,
    x: Tensor,
    spacing: float,
    *,
    n: int,
    keep: int,
    side: int,
    tolerance_hu: float,
    seed: int,
    progress: bool = True,
) -> KeptPairs:
    """Sampled invariances that look like a lesion, as images (x, x + that part of x̄ - x).

    Parameters
    ----------
    model : InvarianceModel or FlowModel
        Sampler of the denoiser's output, of low-dose images.
    x : Tensor, (images, H, W)
        Low-dose patches [HU].
    spacing : float
        Pixel size [mm].
    n, keep : int
        Projected samples of each patch, and how many of these, the best matches, are kept.
    side : int
        Side of the images returned, cut around the match [pixels].
    tolerance_hu : float
        Largest ‖f(x̄) - f(x)‖ [HU].
    seed : int
        Seed of the samples.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    DataError
        If more are to be kept than drawn, or the patch is smaller than ``side``.
    """
    if not 1 <= keep <= n:
        raise DataError("cannot keep that many", where="keep", expected=f"1 to n = {n}", got=keep)
    grid = square_grid(x, spacing)
    if not 1 <= side <= min(grid.shape):
        raise DataError(
            "larger than a patch", where="side", expected=f"1 to {min(grid.shape)}", got=side
        )
    a, b, scores = [], [], []
    for i, image in enumerate(tqdm(x, desc="sampling", disable=not progress, leave=False)):
        samples = draw(model, image, n=n, tolerance_hu=tolerance_hu, seed=seed + i).images
        score, lesions = match_lesions(samples, image, grid)
        for k in score.argsort(descending=True)[:keep].tolist():
            reach = lesions[k].radius + _ROOM * spacing
            window = replace(lesions[k], contrast=1.0, radius=reach)
            part = (samples[k] - image) * window.on(grid)
            cut = _square_about(window.place, grid, side)
            a.append(image[cut])
            b.append((image + part)[cut])
            scores.append(score[k])
    return KeptPairs(torch.stack(a)[:, None], torch.stack(b)[:, None], torch.stack(scores))


def _square_about(place: tuple[float, float], grid: ImageGrid, side: int) -> tuple[slice, slice]:
    """The square of a side in pixels about a place, moved inside the grid."""
    slices = []
    for at, along, size in ((place[1], grid.y, grid.shape[0]), (place[0], grid.x, grid.shape[1])):
        nearest = int(abs(along - at).argmin())
        first = min(max(nearest - side // 2, 0), size - side)
        slices.append(slice(first, first + side))
    return slices[0], slices[1]
