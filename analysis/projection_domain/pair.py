r"""What the scanner could tell apart, and who lost it: dose, reconstruction or network.

For a truth y and another anatomy ȳ, the ray sums differ by ``Δp = R(ȳ - y)`` in noise of variance
σ² (:func:`analysis.scanner.covariance.ray_variance`, the mean of both hypotheses). An ideal
observer of the rays tells them apart with ``d'² = Σ Δp²/σ²``: nothing that is done to them
afterwards can add to that. Of the image, and of the output of a network with the Jacobian J, a
reader with a tolerance of τ HU keeps

.. math:: d'_τ² = (JΔ)ᵀ (J Σ Jᵀ + τ² I)^{-1} (JΔ),  Δ = R^{-1} Δp,

with J = I for the image (:mod:`analysis.observers.ideal`). Without τ a network that is invertible
loses nothing, however it changes the image: an observer of infinite precision would undo it. What
a network takes away is what it puts below τ. J is taken at the low-dose image of y.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq
from torch import Tensor

from recon import AIR_HU, DataError

from ..numbers import apply
from ..observers.ideal import detectability
from ..observers.jacobian import Jacobian
from ..scanner.covariance import ImageCovariance, variance_across
from ..scanner.slice_scanner import SliceScanner, chunks
from .behind import Behind

__all__ = [
    "DETECTED",
    "Pair",
    "band_edges",
    "change_detectability",
    "components",
    "ray_detectability",
    "threshold",
    "threshold_of_rays",
]

DETECTED = 2.77
"""d' that counts as detected: an AUC of 0.975."""

BAND_EDGES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Edges of the five bands, in units of the pixels' Nyquist frequency."""

_LOW_PASS_MM = 2.0


def band_edges(spacing: tuple[float, float]) -> list[float]:
    """Edges of the bands [lp/mm] for pixels of a spacing (sy, sx) [mm], from 0 to infinity."""
    nyquist = 0.5 / max(spacing)
    return [0.0, *(share * nyquist for share in BAND_EDGES), math.inf]


def components(change: Tensor, spacing: tuple[float, float]) -> Tensor:
    """The whole change, its part coarser than 2 mm, and five bands that add up to it.

    The low-pass is a Gaussian of 2 mm full width at half maximum. The bands are octaves of the
    radial frequency of the patch, from a sixteenth of the pixels' Nyquist frequency.

    Parameters
    ----------
    change : Tensor, (H, W)
        ȳ - y [HU].
    spacing : (sy, sx)
        [mm].

    Returns
    -------
    Tensor, (7, H, W)
        In the order of :data:`analysis.runs.quantities.PARTS`.

    Examples
    --------
    >>> import torch
    >>> from analysis.projection_domain.pair import components
    >>> components(torch.ones(8, 8), (1.0, 1.0)).shape
    torch.Size([7, 8, 8])
    """
    sigma = [_LOW_PASS_MM / 2.3548 / s for s in spacing]
    smooth = gaussian_filter(change.double().numpy(), sigma, mode="constant")
    parts = [change, torch.from_numpy(smooth).to(change)]
    spectrum = torch.fft.fft2(change.double())
    fy, fx = (torch.fft.fftfreq(n, s) for n, s in zip(change.shape, spacing, strict=True))
    radial = torch.hypot(fy[:, None], fx[None, :])
    for low, high in itertools.pairwise(band_edges(spacing)):
        inside = (radial >= low) & (radial < high)
        parts.append(torch.fft.ifft2(spectrum * inside).real.to(change))
    return torch.stack(parts)


class Pair:
    """A truth and another anatomy in its patch, and what tells them apart at every stage.

    Parameters
    ----------
    scanner : SliceScanner
        The slice y, with the patch in which it changes.
    ybar : Tensor, (H, W)
        The other anatomy of the patch [HU].
    kept : bool
        Whether the noise's covariance is kept as matrices, as :class:`ImageCovariance` has it.
    progress : bool
        Bars on stderr.

    Attributes
    ----------
    change : Tensor, (parts, H, W)
        ȳ - y [HU], in the order of :func:`components`.
    signal : Tensor, (parts, rows, cols)
        R⁻¹R(ȳ - y) [HU], of the patch in its surroundings.
    covariance : ImageCovariance
        Noise of the patch, the mean of both hypotheses.

    Raises
    ------
    DataError
        If ȳ does not lie on the patch's grid or is y itself.
    """

    def __init__(
        self, scanner: SliceScanner, ybar: Tensor, *, kept: bool = True, progress: bool = False
    ) -> None:
        _require_on_grid(ybar, tuple(scanner.patch_grid.shape))
        change = ybar.cpu().clamp(min=AIR_HU) - scanner.y.cpu()
        if not bool(change.abs().max() > 0):
            raise DataError("the two anatomies are the same", where="ybar")
        self.scanner = scanner
        self.change = components(change, scanner.patch_grid.spacing)
        self.covariance = ImageCovariance.of(scanner, change, kept=kept, progress=progress)
        A = self.covariance.operator
        rays = A(scanner.place.padded(self.change) * (scanner.mu_water / 1000.0))
        self.signal = A.fbp(rays, window=scanner.window) * self.covariance.hu
        self._energy = rays.double().square()

    def before(self, mas: float) -> np.ndarray:
        """Ideal d' of the rays at an exposure [mAs], for each part (parts,)."""
        return _ideal(self._energy, self.covariance.parts, mas)

    def after_reconstruction(
        self, mas: float, tolerances: Sequence[float], *, parts: slice = slice(None)
    ) -> np.ndarray:
        """d'_τ of the image of the patch at an exposure [mAs], (parts, tolerances)."""
        covariance, place = self.covariance, self.scanner.place
        noise, like = covariance.times(mas), None
        if covariance.matrices is None and len(tolerances) == 1:
            like = covariance.like(mas, place.shape)
        return detectability(
            lambda v: place.of(noise(place.padded(v))), place.of(self.signal[parts]),
            tolerances=tolerances, like=like,
        )  # fmt: skip

    def behind(self, f: Callable[[Tensor], Tensor], x: Tensor, mas: float) -> Behind:
        """The noise at an exposure [mAs] behind f, linearised at the scan x (rows, cols) [HU]."""
        return Behind(f, x, self.covariance, mas)

    def after_network(
        self,
        f: Callable[[Tensor], Tensor],
        x: Tensor,
        mas: float,
        tolerances: Sequence[float],
        *,
        parts: slice = slice(None),
    ) -> np.ndarray:
        """d'_τ of the output at an exposure [mAs], (parts, tolerances), f linearised at x.

        x is the scan of the patch in its surroundings, (rows, cols) [HU].
        """
        return self.behind(f, x, mas).detectability(self.signal[parts], tolerances)

    def nonlinearity(self, f: Callable[[Tensor], Tensor], x: Tensor) -> float:
        """``‖f(x + Δ) - f(x) - JΔ‖ / ‖f(x + Δ) - f(x)‖`` for the whole change: 0 if f is linear."""
        at = Jacobian(f, x)
        moved = apply(f, x + self.signal[0]) - at.value
        return float((moved - at.times_j(self.signal[:1])[0]).norm() / moved.norm())


def ray_detectability(scanner: SliceScanner, ybar: Tensor, mas: float) -> np.ndarray:
    """Ideal d' of the rays for each of many anatomies, without the noise of an image.

    That of the whole difference, as :meth:`Pair.before` gives it for one.

    Parameters
    ----------
    scanner : SliceScanner
        The slice y, with the patch in which it changes.
    ybar : Tensor, (n, H, W)
        Other anatomies of the patch [HU].
    mas : float
        Exposure [mAs].

    Returns
    -------
    ndarray, (n,)
        d' against y; 0 for y itself.

    Raises
    ------
    DataError
        If the ȳ do not lie on the patch's grid.
    """
    _require_on_grid(ybar, (len(ybar), *scanner.patch_grid.shape))
    return change_detectability(scanner, ybar.to(scanner.y).clamp(min=AIR_HU) - scanner.y, mas)


def change_detectability(scanner: SliceScanner, change: Tensor, mas: float) -> np.ndarray:
    """Ideal d' of the rays for each of many changes (n, H, W) [HU] of the patch: (n,)."""
    _require_on_grid(change, (len(change), *scanner.patch_grid.shape))
    found = np.empty(len(change))
    for first in chunks(len(change), None, scanner.chunk):
        part = change[first : first + scanner.chunk].to(scanner.y)
        shift = scanner.patch_operator(part * (scanner.mu_water / 1000.0))[..., scanner.crossing]
        found[first : first + len(part)] = _ideal(
            shift.square(), variance_across(scanner, shift), mas
        )
    return found


def _require_on_grid(ybar: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(ybar.shape) != expected:
        raise DataError(
            "not anatomies on the patch's grid",
            where="ybar",
            expected=expected,
            got=tuple(ybar.shape),
        )


def _ideal(energy: Tensor, parts: tuple[Tensor, Tensor], mas: float) -> np.ndarray:
    """√(Σ Δp²/σ²) from Δp² (n, views, cols) and the variance's two parts at 1 mAs."""
    quantum, electronic = parts
    variance = (electronic / mas).add_(quantum).div_(mas)
    return (energy / variance).sum((-2, -1), dtype=torch.float64).sqrt().cpu().numpy()


def threshold_of_rays(pair: Pair, full: float, *, part: int = 0) -> str:
    """Exposure [mAs] at which the rays alone reach d' = 2.77, or "<1" or ">full"."""

    def above(log_mas: float) -> float:
        return float(pair.before(math.exp(log_mas))[part]) - DETECTED

    if above(0.0) >= 0.0:
        return "<1"
    if above(math.log(full)) < 0.0:
        return ">full"
    return f"{math.exp(brentq(above, 0.0, math.log(full), xtol=1e-4)):.3g}"


def threshold(mas: Sequence[float], d: Sequence[float]) -> str:
    """Exposure [mAs] at which a curve reaches d' = 2.77 to stay there, or "<1" or ">full".

    log d' is interpolated linearly in log mAs, exact for d' proportional to a power of the
    exposure.

    Parameters
    ----------
    mas : sequence of float
        Exposures in rising order, from 1 mAs to the full dose.
    d : sequence of float
        d' at each.

    Examples
    --------
    >>> from analysis.projection_domain.pair import threshold
    >>> threshold([1.0, 100.0], [0.277, 2770.0])
    '3.16'
    >>> threshold([1.0, 100.0], [3.0, 30.0]), threshold([1.0, 100.0], [0.1, 1.0])
    ('<1', '>full')
    """
    values = np.log(np.maximum(np.asarray(d, float), 1e-12) / DETECTED)
    if values[-1] < 0.0:
        return ">full"
    below = np.flatnonzero(values < 0.0)
    if not len(below):
        return "<1"
    k = int(below[-1])
    low, high = math.log(mas[k]), math.log(mas[k + 1])
    return f"{math.exp(low - (high - low) * values[k] / (values[k + 1] - values[k])):.3g}"
