r"""Anatomies that the rays cannot tell from y: the dose-consistent set, as a matrix.

A change δ of the patch has ``d'² = δᵀ M δ`` in the rays at an exposure, with

.. math:: M = Rᵀ \mathrm{diag}(1/σ²) R,

the Fisher information of the patch. Those with d' ≤ 1 are an ellipsoid about y: no observer of the
rays tells them from y in more than 69 % of two-alternative trials, whatever is done afterwards.
Both M and the image's response H = R⁻¹R are kept as matrices, so that an iteration over the set
costs matrix products.
"""

from __future__ import annotations

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
    fisher : Tensor, (pixels, pixels)
        M [1/HU²].
    response : Tensor, (pixels of the image with its surroundings, pixels)
        H [1].
    """

    scanner: SliceScanner
    mas: float
    fisher: Tensor
    response: Tensor

    @classmethod
    def of(cls, scanner: SliceScanner, mas: float) -> ConsistentSet:
        """The set about the slice of a scanner, at an exposure [mAs].

        Raises
        ------
        DataError
            If the patch has more than 64² pixels.
        """
        rows, cols = scanner.patch_grid.shape
        if rows * cols > _LARGEST:
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
        fisher = torch.empty(rows * cols, rows * cols, dtype=torch.float64)
        response = torch.empty(rows * cols, A.grid.shape[0] * A.grid.shape[1])
        for at in torch.arange(rows * cols).split(_CHUNK):
            unit = torch.zeros(len(at), rows * cols)
            unit[torch.arange(len(at)), at] = 1.0
            rays = A(place.padded(unit.reshape(-1, rows, cols)).contiguous())
            fisher[at] = place.of(A.T(rays * near_one)).flatten(1).double() * (level * scale**2)
            response[at] = A.fbp(rays, window=scanner.window).flatten(1)
        return cls(scanner, float(mas), 0.5 * (fisher + fisher.T), response.T.contiguous())

    def detectability(self, change: Tensor) -> float:
        """d' of a change (H, W) [HU] in the rays."""
        flat = change.double().flatten()
        return float((flat @ self.fisher @ flat).clamp_min(0.0).sqrt())

    def image(self, change: Tensor) -> Tensor:
        """What a change (H, W) [HU] does to the image, in its surroundings (rows, cols) [HU]."""
        return (self.response @ change.float().flatten()).reshape(self.scanner.context_grid.shape)
