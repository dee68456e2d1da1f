r"""Anatomies that the rays cannot tell from y: the dose-consistent set, as a matrix.

A change δ of the patch has ``d'² = δᵀ M δ`` in the rays at an exposure, with

.. math:: M = Rᵀ \mathrm{diag}(1/σ²) R,

the Fisher information of the patch. Those with d' ≤ 1 are an ellipsoid about y: who is given one
scan and says which of the two anatomies it is of is right in at most Φ(d'/2) = 69 % of cases, and
of a pair of scans in Φ(d'/√2) = 76 % (the AUC), whatever is done afterwards.
Both M and the image's response H = R⁻¹R are kept as matrices, so that an iteration over the set
costs matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recon import DataError, operator

from ..scanner.columns import with_columns
from ..scanner.covariance import variance_across
from ..scanner.slice_scanner import SliceScanner

__all__ = ["ConsistentSet"]

_CHUNK = 16
_LARGEST = 4096  # pixels of a patch whose matrices are kept: 134 MB each in double precision


@dataclass(frozen=True)
class ConsistentSet:
    """Changes of anatomy of a patch, what the rays hold of them, and what the image shows.

    Attributes
    ----------
    scanner : SliceScanner
    mas : float
        Exposure [mAs].
    pixels : Tensor, (pixels,)
        Which pixels of the patch may change, as places in its flat array.
    fisher : Tensor, (pixels, pixels)
        M [1/HU²].
    response : Tensor, (pixels of the image with its surroundings, pixels)
        H [1].
    """

    scanner: SliceScanner
    mas: float
    pixels: Tensor
    fisher: Tensor
    response: Tensor

    @classmethod
    def of(cls, scanner: SliceScanner, mas: float, *, side: int | None = None) -> ConsistentSet:
        """The set about the slice of a scanner, at an exposure [mAs].

        Parameters
        ----------
        scanner : SliceScanner
        mas : float
            Exposure [mAs].
        side : int, optional
            Only the side × side pixels in the middle of the patch may change; all by default. What
            is found there is a lower bound of what all could do.

        Raises
        ------
        DataError
            If more than 64² pixels may change.
        """
        rows, cols = scanner.patch_grid.shape
        pixels = _middle(rows, cols, side)
        if len(pixels) > _LARGEST:
            raise DataError(
                "the patch is too large for its matrices", where="patch_grid",
                expected=f"at most {_LARGEST} pixels", got=f"{rows} × {cols}",
            )  # fmt: skip
        quantum, electronic = variance_across(scanner)
        weight = 1.0 / (quantum / mas + electronic / mas**2)
        level = float(weight.mean())  # single precision holds the weights about 1
        near_one = (weight / level).float()
        A = operator(with_columns(scanner.geometry, scanner.crossing), scanner.context_grid)
        scale, place = scanner.mu_water / 1000.0, scanner.place
        fisher = torch.empty(len(pixels), len(pixels), dtype=torch.float64)
        response = torch.empty(len(pixels), A.grid.shape[0] * A.grid.shape[1])
        for at in torch.arange(len(pixels)).split(_CHUNK):
            unit = torch.zeros(len(at), rows * cols)
            unit[torch.arange(len(at)), pixels[at]] = 1.0
            rays = A(place.padded(unit.reshape(-1, rows, cols)).contiguous())
            back = place.of(A.T(rays * near_one)).flatten(1)[:, pixels]
            fisher[at] = back.double() * (level * scale**2)
            response[at] = A.fbp(rays, window=scanner.window).flatten(1)
        return cls(scanner, float(mas), pixels, 0.5 * (fisher + fisher.T), response.T.contiguous())

    def anatomy(self, values: Tensor) -> Tensor:
        """A change of the patch (H, W) [HU] from its values at the pixels that may change."""
        change = torch.zeros(math.prod(self.scanner.patch_grid.shape))
        change[self.pixels] = values.float()
        return change.reshape(self.scanner.patch_grid.shape)

    def values(self, change: Tensor) -> Tensor:
        """The other way: values of a change (H, W) at the pixels that may change."""
        return change.flatten()[self.pixels]

    def detectability(self, change: Tensor) -> float:
        """d' of a change (H, W) [HU] in the rays."""
        flat = self.values(change).double()
        return float((flat @ self.fisher @ flat).clamp_min(0.0).sqrt())

    def image(self, change: Tensor) -> Tensor:
        """What a change (H, W) [HU] does to the image, in its surroundings (rows, cols) [HU]."""
        return (self.response @ self.values(change).float()).reshape(
            self.scanner.context_grid.shape
        )


def _middle(rows: int, cols: int, side: int | None) -> Tensor:
    """Places of the side × side pixels in the middle of a patch about (rows // 2, cols // 2)."""
    inside = torch.ones(rows, cols, dtype=torch.bool)
    if side is not None:
        for axis, n in enumerate((rows, cols)):
            far = (torch.arange(n) - n // 2 + 0.5).abs() > side / 2
            inside &= ~(far[:, None] if axis == 0 else far[None, :])
    return inside.flatten().nonzero()[:, 0]
