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
from scipy.linalg.blas import ssymv
from torch import Tensor

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
    quantum, electronic : Tensor
        As ``shift`` is, or (views, columns that cross) in 64 bits.
    """
    p, photons = scanner.p[..., scanner.crossing], scanner.photons(1.0)[scanner.crossing]
    quantum, electronic = ray_variance(p, photons, scanner.electronic_noise)
    if shift is None:
        return quantum, electronic
    growth = shift.exp()  # of 1/N, from one hypothesis to the other
    both = (0.5 + 0.5 * growth).mul_(quantum.to(shift))
    return both, growth.square_().add_(1.0).mul_(0.5 * electronic.to(shift))


class ImageCovariance:
    """Covariance Σ of the noise of a patch [HU²] at any exposure.

    Its two matrices are computed once, where they fit (up to 81² pixels) and pay: in the time they
    take, some four hundred products are made by filtering and backprojecting.

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
    kept : bool
        Whether the matrices pay.
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
        kept: bool = True,
        progress: bool = False,
    ) -> None:
        self.grid = reconstruct.grid
        self.operator = reconstruct
        self.window = window
        self.hu = 1000.0 / mu_water
        self.parts = (quantum, electronic)
        self._traced: dict[int, tuple[Tensor, Tensor]] = {}
        self._sums: dict[float, Tensor] = {}  # of the last exposure
        self.matrices = self._matrices(progress) if kept and self.fits else None

    @classmethod
    def of(
        cls,
        scanner: SliceScanner,
        change: Tensor | None = None,
        *,
        kept: bool = True,
        progress: bool = False,
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
            shift = shift.double()
        quantum, electronic = variance_across(scanner, shift)
        return cls(
            operator(with_columns(scanner.geometry, columns), scanner.context_grid),
            quantum,
            electronic,
            window=scanner.window,
            mu_water=scanner.mu_water,
            kept=kept,
            progress=progress,
        )

    @property
    def fits(self) -> bool:
        """Whether there is room for a matrix of all its pixels."""
        return _fit(self.grid.shape)

    def times(self, mas: float) -> Product:
        """The product ``v ↦ Σ v`` at an exposure [mAs], for images (n, H, W) [HU]."""
        if self.matrices is None:
            variance = self._rays(mas)
            return lambda v: self._through(v, variance).to(v.dtype)
        sigma = self.matrix(mas)

        def product(v: Tensor) -> Tensor:
            flat = v.flatten(1).to(sigma)
            if len(flat) == 1:  # reading the matrix takes the time: half of a symmetric one will do
                one = ssymv(1.0, sigma.numpy().T, flat[0].contiguous().numpy())
                return torch.from_numpy(one).reshape(v.shape).to(v.dtype)
            # a tall matrix is multiplied faster than a wide one
            return (sigma @ flat.T).T.reshape(v.shape).to(v.dtype)

        return product

    def matrix(self, mas: float) -> Tensor:
        """Σ at an exposure [mAs], (pixels, pixels) [HU²], where its matrices are kept."""
        assert self.matrices is not None, "the matrices are not kept"
        if mas not in self._sums:
            self._sums = {mas: self.matrices[1].mul(1.0 / mas).add_(self.matrices[0]).div_(mas)}
        return self._sums[mas]

    def like(self, mas: float, shape: tuple[int, ...]) -> Tensor | None:
        """A stationary covariance like Σ at an exposure [mAs], on (rows, cols) of its pixels.

        Its autocovariance is the mean of that of Σ about 16 pixels, tapered so that no frequency
        has less than no power. None where the matrix would be too large.
        """
        if not _fit(shape):
            return None
        rows, cols = self.grid.shape
        places = [((2 * i + 1) * rows // 8, (2 * j + 1) * cols // 8) for i, j in np.ndindex(4, 4)]
        units = torch.zeros(len(places), rows, cols)
        for unit, place in zip(units, places):
            unit[place] = 1.0
        summed = torch.zeros(2 * rows - 1, 2 * cols - 1, dtype=torch.float64)
        count = torch.zeros_like(summed)
        for (i, j), column in zip(places, self.times(mas)(units)):
            # offset 0 lies in the middle
            around = slice(rows - 1 - i, 2 * rows - 1 - i), slice(cols - 1 - j, 2 * cols - 1 - j)
            summed[around] += column
            count[around] += 1
        mean = summed / count.clamp_min(1)
        taper = _triangle(rows)[:, None] * _triangle(cols)
        power = torch.fft.fft2(torch.fft.ifftshift(0.5 * (mean + mean.flip(0, 1)) * taper)).real
        kernel = torch.fft.fftshift(torch.fft.ifft2(power.clamp_min(0.0)).real.float())
        (row, col), (r, c) = (rows - shape[0], cols - shape[1]), shape
        kernel = kernel[row : row + 2 * r - 1, col : col + 2 * c - 1]  # offsets of such images
        # pixel (i, j) sees pixel (k, l) at (k - i, l - j): row r - 1 - i of the windows, at k
        windows = kernel.unfold(0, r, 1).unfold(1, c, 1)
        return windows.flip(0, 1).reshape(r * c, r * c)

    def _rays(self, mas: float) -> Tensor:
        """Variance of the rays at an exposure [mAs]."""
        return (self.parts[0] / mas + self.parts[1] / mas**2).float()

    def _through(self, images: Tensor, variance: Tensor) -> Tensor:
        """``B diag(σ²) Bᵀ`` of images (n, H, W)."""
        out = []
        for part in images.float().split(_CHUNK):
            spread = self._transpose(part) * self.hu
            out.append(self.operator.fbp(spread * variance, window=self.window) * self.hu)
        return torch.cat(out)

    def _transpose(self, images: Tensor) -> Tensor:
        """Bᵀ of images (n, H, W), the gradient of an FBP, which is traced once for each n."""
        if len(images) not in self._traced:
            rays = torch.zeros(len(images), *self.operator.geometry.shape, requires_grad=True)
            with torch.enable_grad():
                self._traced[len(images)] = rays, self.operator.fbp(rays, window=self.window)
        rays, image = self._traced[len(images)]
        return torch.autograd.grad(image, rays, images, retain_graph=True)[0]

    def _matrices(self, progress: bool) -> tuple[Tensor, Tensor]:
        """Both matrices of all pixels."""
        scale = self.hu**2
        quantum, electronic = (
            self.operator.fbp_covariance(part, window=self.window, progress=progress).mul_(scale)
            for part in self.parts
        )
        return quantum, electronic


def _fit(shape: tuple[int, ...]) -> bool:
    return shape[0] * shape[1] <= _LARGEST


def _triangle(n: int) -> Tensor:
    """Weights of the offsets -(n - 1) … n - 1."""
    return 1.0 - torch.arange(1 - n, n).abs().double() / n
