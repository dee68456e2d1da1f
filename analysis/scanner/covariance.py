r"""The noise of a reconstructed patch as a covariance matrix, for every exposure at once.

The logarithm of a ray that counts ``N = a N0 e^-p`` quanta at an exposure of a mAs (N0 for 1 mAs)
behind electronics of σe quanta has the variance

.. math:: σ² = e^p / (a N0) + σ_e² e^{2p} / (a N0)²

(Yu et al., J. Comput. Assist. Tomogr. 36, 2012). Rays are independent and FBP, B, is linear, so
the image noise has the covariance ``B diag(σ²) Bᵀ``. It is a polynomial in 1/a: two matrices, of
the quanta and of the electronics, give it at every exposure. Only rays that cross the patch, and
those 32 columns around them, matter: the ramp filter's response has fallen by (32π)² there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recon import Operator, operator

from .columns import with_columns
from .slice_scanner import SliceScanner

__all__ = ["ImageCovariance", "ray_variance", "variance_across"]

_CHUNK = 16
_LARGEST = 6561  # pixels of a patch and its surroundings whose two matrices are kept: 172 MB each

Product = Callable[[Tensor], Tensor]


def ray_variance(p: Tensor, photons: np.ndarray, electronic_noise: float) -> tuple[Tensor, Tensor]:
    """Variance of each ray's logarithm by the quanta and by the electronics, at 1 mAs.

    At a mAs it is ``quantum / a + electronic / a²``.

    Parameters
    ----------
    p : Tensor, (..., views, cols)
        Noise-free line integrals.
    photons : ndarray, (cols,)
        Incident quanta at 1 mAs.
    electronic_noise : float
        σe [quanta].

    Examples
    --------
    >>> import numpy as np, torch
    >>> from analysis.scanner.covariance import ray_variance
    >>> quantum, electronic = ray_variance(torch.zeros(1, 1), np.array([100.0]), 3.0)
    >>> round(quantum.item(), 6), round(electronic.item(), 6)
    (0.01, 0.0009)
    """
    inverse = p.double().exp() / torch.as_tensor(photons, dtype=torch.float64, device=p.device)
    return inverse, (electronic_noise * inverse).square()


def variance_across(scanner: SliceScanner, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Variance at 1 mAs of the rays that cross a patch, as :func:`ray_variance` gives it.

    Parameters
    ----------
    scanner : SliceScanner
    shift : Tensor, (..., views, columns that cross), optional
        What another anatomy adds to the line integrals: the mean over both hypotheses then.

    Returns
    -------
    quantum, electronic : Tensor, of the shape of ``shift``, or (views, columns that cross)
    """
    p, photons = scanner.p[..., scanner.crossing], scanner.photons(1.0)[scanner.crossing]
    own = ray_variance(p, photons, scanner.electronic_noise)
    if shift is None:
        return own
    other = ray_variance(p + shift, photons, scanner.electronic_noise)
    return 0.5 * (own[0] + other[0]), 0.5 * (own[1] + other[1])


class ImageCovariance:
    """Covariance Σ of the noise of a patch [HU²] at any exposure.

    Up to 64² pixels its two matrices are computed once. A larger patch is filtered and
    backprojected for every product.

    Parameters
    ----------
    reconstruct : Operator
        The FBP of the rays onto the patch's grid.
    quantum, electronic : Tensor, (views, cols)
        Variance of the rays at 1 mAs; see :func:`ray_variance`.
    window : str
        Apodisation of the FBP.
    mu_water : float
        [1/mm].
    progress : bool
        A bar on stderr while the matrices are computed.
    """

    def __init__(
        self,
        reconstruct: Operator,
        quantum: Tensor,
        electronic: Tensor,
        *,
        window: str,
        mu_water: float,
        progress: bool = False,
    ) -> None:
        self.grid = reconstruct.grid
        self.operator = reconstruct
        self.window = window
        self.hu = 1000.0 / mu_water
        self.parts = (quantum, electronic)
        self._traced: dict[int, tuple[Tensor, Tensor]] = {}
        rows, cols = self.grid.shape
        self.matrices = self._matrices(progress) if rows * cols <= _LARGEST else None

    @classmethod
    def of(
        cls, scanner: SliceScanner, change: Tensor | None = None, *, progress: bool = False
    ) -> ImageCovariance:
        """The noise of a patch, the mean of two hypotheses if its anatomy may change.

        Parameters
        ----------
        scanner : SliceScanner
        change : Tensor, (H, W), optional
            Change of the patch [HU]; the variance is the mean of those with and without it.
        """
        columns, shift = scanner.crossing, None
        if change is not None:
            shift = scanner.patch_operator(change * (scanner.mu_water / 1000.0))[..., columns]
        quantum, electronic = variance_across(scanner, shift)
        return cls(
            operator(with_columns(scanner.geometry, columns), scanner.context_grid),
            quantum,
            electronic,
            window=scanner.window,
            mu_water=scanner.mu_water,
            progress=progress,
        )

    def times(self, mas: float) -> Product:
        """The product ``v ↦ Σ v`` at an exposure [mAs], for images (n, H, W) [HU]."""
        if self.matrices is None:
            variance = self._rays(mas)
            return lambda v: self._through(v, [variance])[0].to(v.dtype)
        sigma = self.matrices[0] / mas + self.matrices[1] / mas**2
        return lambda v: (v.flatten(1).to(sigma) @ sigma).reshape(v.shape).to(v.dtype)

    def _rays(self, mas: float) -> Tensor:
        """Variance of the rays at an exposure [mAs]."""
        return (self.parts[0] / mas + self.parts[1] / mas**2).float()

    def _through(self, images: Tensor, variances: list[Tensor]) -> list[Tensor]:
        """``B diag(σ²) Bᵀ`` of images (n, H, W), for several variances of the rays."""
        out: list[list[Tensor]] = [[] for _ in variances]
        for part in images.float().split(_CHUNK):
            spread = self._transpose(part) * self.hu
            for images_out, variance in zip(out, variances):
                noise = self.operator.fbp(spread * variance, window=self.window)
                images_out.append(noise * self.hu)
        return [torch.cat(parts) for parts in out]

    def _transpose(self, images: Tensor) -> Tensor:
        """Bᵀ of images (n, H, W): the gradient of an FBP, which is traced once for each n."""
        if len(images) not in self._traced:
            rays = torch.zeros(len(images), *self.operator.geometry.shape, requires_grad=True)
            with torch.enable_grad():
                self._traced[len(images)] = rays, self.operator.fbp(rays, window=self.window)
        rays, image = self._traced[len(images)]
        return torch.autograd.grad(image, rays, images, retain_graph=True)[0]

    def _matrices(self, progress: bool) -> tuple[Tensor, Tensor]:
        """Both matrices column by column: Σ of images that are one pixel each."""
        rows, cols = self.grid.shape
        matrices = torch.empty(2, rows * cols, rows * cols)
        # quanta and electronics differ by orders of magnitude: each is scaled to about 1
        scales = [float(part.mean()) or 1.0 for part in self.parts]
        variances = [(part / scale).float() for part, scale in zip(self.parts, scales, strict=True)]
        pixels = torch.arange(rows * cols).split(_CHUNK)
        for at in tqdm(pixels, desc="noise covariance", disable=not progress, leave=False):
            unit = torch.zeros(len(at), rows * cols)
            unit[torch.arange(len(at)), at] = 1.0
            noises = self._through(unit.reshape(-1, rows, cols), variances)
            for matrix, scale, noise in zip(matrices, scales, noises, strict=True):
                matrix[at] = noise.flatten(1) * scale
        for matrix in matrices:
            matrix += matrix.T.clone()
            matrix *= 0.5
        return matrices[0], matrices[1]
