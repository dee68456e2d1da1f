r"""Which sampled invariances alter anatomy, and not only noise: found, tested, and ranked.

Of every sample the deviation d from the true anatomy's noise-free scan is searched for lesions of
several radii and either sign, at every place, by the matched filter that is best in the noise of
the scan (Barrett and Myers, Foundations of Image Science, 2004, section 13.2),

.. math:: c(r) = \sum \frac{D\, \bar U e^{2πi f r}}{S} \Big/ \sum \frac{|U|²}{S},
          d'(r) = |c(r)| \sqrt{\textstyle\sum |U|²/S},

with the lesion U of 1 HU as the scanner shows it, and the power spectrum S of redrawn noise. The
largest d' of a sample is ranked among those of other redrawn scans of the true anatomy, which alter
nothing: that is its p. A sample with p ≤ 1 % alters anatomy.

Whether the denoiser hides the alteration is another question: how much of its contrast does the
output show there? Less than half of it, by more than twice what noise alone moves it, is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recon import DataError

from ..lesions.lesion import Lesion, middle_of
from ..projection_domain.inserted import image_of_rays, lesion_rays
from ..scanner.slice_scanner import SliceScanner

__all__ = ["LEVEL", "Alteration", "LesionSearch", "rank_alterations"]

RADII_MM = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
"""Radii of the lesions that are looked for [mm]."""

LEVEL = 0.01
"""The p up to which a sample alters anatomy: as many would by chance."""

_BORDER = 4  # pixels along the patch's border where samples pass into the scan
_LEAST_NULL = 40
_FLOOR = 1e-3  # of the mean power: below, the redrawn scans do not determine the spectrum
_HIDDEN = 0.5  # of the contrast
_ERRORS = 2.0


@dataclass(frozen=True)
class Alteration:
    """The lesion that a sample's deviation is most like.

    Attributes
    ----------
    sample : int
        Number of the sample, from 0.
    lesion : Lesion
        Its place, radius and estimated contrast.
    d : float
        d' of it in the noise of the scan.
    p : float
        Share of redrawn scans of the true anatomy with as large a d'.
    shown : float
        Share of its contrast that the output shows.
    error : float
        Standard deviation of that share by noise alone.
    """

    sample: int
    lesion: Lesion
    d: float
    p: float
    shown: float
    error: float

    @property
    def alters(self) -> bool:
        """Whether this is anatomy: p ≤ 1 %."""
        return self.p <= LEVEL

    @property
    def hidden(self) -> bool:
        """Whether it is anatomy that the output does not show."""
        return self.alters and self.shown + _ERRORS * self.error < _HIDDEN

    @property
    def open(self) -> bool:
        """Whether it is anatomy that the output shows; if neither, it is undecided."""
        return self.alters and self.shown - _ERRORS * self.error > _HIDDEN


class LesionSearch:
    """Matched filters for lesions of several radii, anywhere in a patch.

    Parameters
    ----------
    scanner : SliceScanner
        Whose patch, and whose sharpness.
    noise : Tensor, (n, H, W)
        Redrawn noise of the scan in the patch [HU].
    radii : sequence of float
        [mm].
    """

    def __init__(
        self, scanner: SliceScanner, noise: Tensor, *, radii: Sequence[float] = RADII_MM
    ) -> None:
        self.grid = scanner.patch_grid
        middle = middle_of(self.grid)
        edge = 0.5 * min(self.grid.spacing)
        self.lesions = [Lesion(contrast=1.0, radius=r, place=middle, edge=edge) for r in radii]
        rays = torch.stack([lesion_rays(scanner, lesion) for lesion in self.lesions])
        self.templates = scanner.place.of(image_of_rays(scanner, rays)).double().cpu()
        spectrum = torch.fft.fft2(noise.double().cpu()).abs().square().mean(0)
        self.weight = 1.0 / spectrum.clamp_min(_FLOOR * float(spectrum.mean()))
        self.filters = torch.fft.fft2(self.templates)
        self.energy = (self.filters.abs().square() * self.weight).sum((-2, -1))
        inside = torch.zeros(self.grid.shape, dtype=torch.bool)
        inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
        self.inside = inside

    def largest(self, deviations: Tensor) -> tuple[Tensor, Tensor, list[Lesion]]:
        """Largest d' (n,), where (n, 2), and the lesion there, of deviations (n, H, W) [HU]."""
        d, places, lesions = [], [], []
        rows, cols = self.grid.shape
        for deviation in deviations.double().cpu():
            spectrum = torch.fft.fft2(deviation) * self.weight
            maps = torch.fft.ifft2(spectrum * self.filters.conj()).real * (rows * cols)
            # the filters' lesions lie in the pixel (rows // 2, cols // 2)
            maps = maps.roll((rows // 2, cols // 2), (-2, -1))
            seen = maps / self.energy.sqrt()[:, None, None]
            best = int((seen.abs() * self.inside).argmax())
            which, row, col = np.unravel_index(best, seen.shape)
            contrast = float(maps[which, row, col] / self.energy[which])
            d.append(float(seen[which, row, col].abs()))
            places.append((int(row), int(col)))
            lesions.append(
                replace(
                    self.lesions[which], contrast=contrast or 1e-6,
                    place=(float(self.grid.x[col]), float(self.grid.y[row])),
                )
            )  # fmt: skip
        return torch.tensor(d), torch.tensor(places), lesions

    def contrast_at(self, images: Tensor, row: int, col: int, radius: float) -> Tensor:
        """Contrast of a lesion at a place by least squares, beside a level, (n,) [HU]."""
        which = [lesion.radius for lesion in self.lesions].index(radius)
        rows, cols = self.grid.shape
        template = self.templates[which].roll((row - rows // 2, col - cols // 2), (-2, -1))
        near = template.abs() > 0.02 * float(template.abs().max())
        shape = template[near] - template[near].mean()
        return (images.double().cpu()[:, near] @ shape) / float(shape @ shape)


def rank_alterations(
    search: LesionSearch, deviations: Tensor, null: Tensor, *, outputs: Tensor, null_outputs: Tensor
) -> list[Alteration]:
    """The samples by how surely they alter anatomy, the surest first.

    Parameters
    ----------
    search : LesionSearch
        With the spectrum of other noise than that of ``null``.
    deviations : Tensor, (n, H, W)
        Samples less the noise-free scan of the true anatomy [HU].
    null : Tensor, (redraws, H, W)
        Redrawn scans of the true anatomy, less the same [HU].
    outputs, null_outputs : Tensor, (n, H, W) and (redraws, H, W)
        f of the samples, and of the redrawn scans [HU].

    Raises
    ------
    DataError
        If there are fewer than 40 redrawn scans.
    """
    if len(null) < _LEAST_NULL:
        raise DataError(
            "too few redrawn scans", where="null", expected=f"at least {_LEAST_NULL}",
            got=len(null),
        )  # fmt: skip
    chance = search.largest(null)[0]
    d, places, lesions = search.largest(deviations)
    level = null_outputs.double().mean(0)
    found = []
    for k, (row, col) in enumerate(places.tolist()):
        radius, contrast = lesions[k].radius, lesions[k].contrast
        moved = float(search.contrast_at((outputs[k] - level)[None], row, col, radius)[0])
        noise = float(search.contrast_at(null_outputs - level, row, col, radius).std())
        p = (1 + int((chance >= d[k]).sum())) / (1 + len(chance))
        found.append(
            Alteration(k, lesions[k], float(d[k]), p, moved / contrast, noise / abs(contrast))
        )
    return sorted(found, key=lambda alteration: -alteration.d)
