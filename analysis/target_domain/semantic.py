"""A map of meaning: what a denoiser sees of nameable directions, and where its invariances lie.

Three things in one place: each direction about the scan parted into what the denoiser sees of it
and what it does not (:mod:`analysis.target_domain.directions`); each sampled invariance by how far
it lies along the directions, beside redrawn scans of the same anatomy; and the samples that alter
anatomy, ranked (:mod:`analysis.target_domain.alterations`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ctxai import InPlace
from recon import DataError

from ..lesions.lesion import Lesion
from ..numbers import apply
from ..scanner.slice_scanner import SliceScanner, derived_seed
from .alterations import RADII_MM, Alteration, LesionSearch, rank_alterations
from .directions import SeenDirection, see_directions, semantic_directions

__all__ = ["NullScans", "SemanticMap", "noise_scale", "place_samples", "semantic_map"]

NULL_SCANS = 199
"""Redrawn scans whose deviations are chance, and as many that teach the noise's spectrum."""


@dataclass(frozen=True)
class SemanticMap:
    """Directions of meaning, and sampled invariances among them.

    Attributes
    ----------
    directions : list of SeenDirection
    coordinates : Tensor, (n, directions)
        Units of each direction in each sample, all fitted together by least squares over the patch.
    null : Tensor, (redraws, directions)
        The same of redrawn scans of the true anatomy.
    alterations : list of Alteration
        The samples, those that alter anatomy most surely first.
    """

    directions: list[SeenDirection]
    coordinates: Tensor
    null: Tensor
    alterations: list[Alteration]

    @property
    def altering(self) -> list[Alteration]:
        """Samples that alter anatomy, the surest first."""
        return [found for found in self.alterations if found.alters]

    @property
    def hidden(self) -> list[Alteration]:
        """Those of them that the output does not show: undesired invariances."""
        return [found for found in self.alterations if found.hidden]

    def unusual(self, name: str) -> float:
        """Share of samples outside the middle 95 % of redrawn scans along a direction."""
        k = [seen.direction.name for seen in self.directions].index(name)
        low, high = torch.quantile(self.null[:, k], torch.tensor([0.025, 0.975]).to(self.null))
        outside = (self.coordinates[:, k] < low) | (self.coordinates[:, k] > high)
        return float(outside.double().mean())


@torch.no_grad()
def semantic_map(
    f: Callable[[Tensor], Tensor],
    scanner: SliceScanner,
    samples: Tensor,
    lesion: Lesion | None,
    *,
    mas: float,
    radii: Sequence[float] = RADII_MM,
    scale: float = 1.0,
    seed: int,
) -> SemanticMap:
    """Place sampled invariances x̄ of a scan among directions of meaning.

    Parameters
    ----------
    f : callable
        The denoiser, (B, 1, H, W) to the same [HU].
    scanner : SliceScanner
        The slice y.
    samples : Tensor, (n, H, W) or (n, rows, cols)
        x̄ of the patch, or scans R⁻¹𝒫Rȳ of sampled anatomies in their surroundings [HU].
    lesion : Lesion, optional
        The lesion of the directions; without it they are left out.
    mas : float
        Exposure of the scan x [mAs].
    radii : sequence of float
        Radii of the lesions that are looked for [mm].
    scale : float
        Of the noise of a sample to that of redrawn scans, as :func:`noise_scale` has it.
    seed : int
        Of the scan x: that of the study that drew the samples.

    Returns
    -------
    SemanticMap

    Raises
    ------
    DataError
        If the samples are neither of the patch nor of its surroundings.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from analysis import Lesion, SliceScanner
    >>> from analysis.target_domain.semantic import semantic_map
    >>> from recon import ImageGrid, flash_axial
    >>> water = np.where(np.hypot(*np.mgrid[-24:24, -24:24]) < 20, 0.0, -1000.0)
    >>> grid = ImageGrid(shape=(24, 24), spacing=(1.0, 1.0))
    >>> scanner = SliceScanner(water, (2.0, 2.0), kvp=120.0, slice_thickness=1.5,
    ...                        patch_grid=grid, seed=1, geometry=flash_axial(views=64))
    >>> lesion = Lesion(contrast=300.0, radius=3.0, place=(0.5, 0.5))
    >>> altered = (scanner.y + lesion.on(scanner.patch_grid)).expand(3, -1, -1)
    >>> samples = scanner.rescan(altered, 50.0, seed=5)[:, 0]
    >>> found = semantic_map(torch.zeros_like, scanner, samples, lesion, mas=50.0, seed=1)
    >>> len(found.hidden), round(found.directions[0].invisible_share, 3)  # f shows nothing at all
    (3, 1.0)
    """
    place = scanner.place
    if tuple(samples.shape[1:]) not in (tuple(place.shape), tuple(place.image)):
        raise DataError(
            "samples are neither of the patch nor of its surroundings", where="samples",
            expected=f"(n, {place.shape[0]}, {place.shape[1]})", got=tuple(samples.shape),
        )  # fmt: skip
    placed = InPlace(f, place, scanner.low_dose(mas, seed=seed)[0])
    again = scanner.low_dose(mas, draws=2 * NULL_SCANS, seed=derived_seed(seed, "meaning"))
    truth = again[:NULL_SCANS].mean(0)
    null = NullScans(
        truth, place.of(again[:NULL_SCANS] - truth), again[NULL_SCANS:],
        apply(placed, again[NULL_SCANS:]), scale,
    )  # fmt: skip
    return place_samples(
        placed, scanner, samples, null, outputs=apply(placed, samples), lesion=lesion, radii=radii
    )


def noise_scale(scanner: SliceScanner, mas: float, *, noise_free: bool = False) -> float:
    """Noise of a sample less the mean scan of y, to that by which scans of y differ from it.

    A y with noise of its own keeps it in all its scans. An x̄, or a scan of a ȳ, differs from y by
    that noise too, and by as much of its own, unless it is the scan of a noise-free ȳ.
    """
    share = scanner.added_share(mas)
    own = (1.0 - share) * (1 if noise_free else 2)
    return math.sqrt((share + own) / share)


@dataclass(frozen=True)
class NullScans:
    """Scans of the true anatomy, whose deviations from it are noise alone.

    Attributes
    ----------
    truth : Tensor, (rows, cols)
        The scan without noise, in its surroundings [HU].
    taught : Tensor, (k, H, W)
        Noise that the spectrum is learnt from [HU].
    again : Tensor, (m, rows, cols)
        Other scans, whose deviations are chance [HU].
    outputs : Tensor, (m, H, W)
        f of them [HU].
    scale : float
        Of the noise of a sample to that of these scans: above 1 where y has noise of its own, which
        its scans have in common and a sample has not.
    """

    truth: Tensor
    taught: Tensor
    again: Tensor
    outputs: Tensor
    scale: float = 1.0


@torch.no_grad()
def place_samples(
    f: InPlace,
    scanner: SliceScanner,
    samples: Tensor,
    null: NullScans,
    *,
    outputs: Tensor,
    lesion: Lesion | None,
    radii: Sequence[float] = RADII_MM,
) -> SemanticMap:
    """The same as :func:`semantic_map` for scans and outputs that are there already.

    Parameters
    ----------
    f : InPlace
        The denoiser in the scan x.
    scanner : SliceScanner
        The slice y.
    samples : Tensor, (n, H, W) or (n, rows, cols)
        As for :func:`semantic_map`.
    null : NullScans
    outputs : Tensor, (n, H, W)
        f of the samples [HU].
    lesion : Lesion, optional
        The lesion of the directions; without it they are left out.
    radii : sequence of float
        Radii of the lesions that are looked for [mm].
    """
    place = f.window
    inside = samples if tuple(samples.shape[1:]) == tuple(place.shape) else place.of(samples)
    deviations = inside.to(null.truth) - place.of(null.truth)
    noise = null.scale * place.of(null.again - null.truth)
    seen: list[SeenDirection] = []
    coordinates, chance = torch.empty(len(deviations), 0), torch.empty(len(noise), 0)
    if lesion is not None:
        seen = see_directions(f, semantic_directions(scanner, f.surroundings - null.truth, lesion))
        units = torch.stack([place.of(one.direction.image).flatten() for one in seen], 1).double()
        flat = [part.flatten(1).double().T for part in (deviations, noise)]
        coordinates, chance = (torch.linalg.lstsq(units, part).solution.T for part in flat)
    alterations = rank_alterations(
        LesionSearch(scanner, null.scale * null.taught, radii=radii), deviations, noise,
        outputs=outputs, null_outputs=null.outputs,
    )  # fmt: skip
    return SemanticMap(seen, coordinates.float(), chance.float(), alterations)
