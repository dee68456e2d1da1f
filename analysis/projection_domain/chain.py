r"""Who lost a lesion, for a reader: d' in the rays, in the image, and behind the network.

Four stages, rays at full dose, rays at this dose, image, output, for two observers:

*ideal*, who knows all of the noise: ``d'² = Σ Δp²/σ²`` of the rays, then
``(JΔ)ᵀ(JΣJᵀ + τ²I)⁻¹(JΔ)`` (:mod:`analysis.observers.ideal`): J = I for the image, of which he is
given as much around the patch as the network is, and J at several scans for the output, for which
the interval stands;

*cho*, who has channels and noise of his own (:mod:`analysis.observers.channelised`). Of the rays he
sees the statistics ``(R U)ᵀ diag(1/σ²) p``, all that matters to an ideal observer of lesions made
of the channels U; of the image ``Uᵀ x``, with the known covariance ``Uᵀ Σ U``; of the output
``Uᵀ f(x)``, of many scans with the lesion and without it, f as it is. The interval is that of the
scans, by a jackknife over groups of them.

Lesions are inserted in the projections. Their own effect on the noise, below 1 % of σ² for 100 HU
across 5 mm, is left out, so that one set of scans serves all lesions. The ideal observer's numbers
of the output are those of the linearised f, and so proportional to the contrast; cho sees f bend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ctxai import InPlace
from recon import DataError

from ..lesions.lesion import Lesion
from ..numbers import apply
from ..observers.channelised import Reader
from ..observers.ideal import detectability
from ..scanner.covariance import ImageCovariance
from ..scanner.slice_scanner import SliceScanner, derived_seed
from .behind import Behind
from .inserted import lesion_rays
from .losses import Estimate, Losses, jackknife, mean_of

__all__ = ["LEAST_SCANS", "READER_TOLERANCES", "Chain", "over_slices", "who_lost_it"]

READER_TOLERANCES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""τ of the sweep [HU]."""

LEAST_SCANS = 40
"""Scans that the reader reads, at least: each group of the jackknife leaves out four."""

_GROUPS = 10  # of scans, for the jackknife

Observer = Literal["ideal", "cho"]
Denoiser = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Chain:
    """d'² of one lesion for one observer, stage by stage.

    Attributes
    ----------
    observer : "ideal" or "cho"
    lesion : Lesion
    mas, full_mas : float
        This dose, and the full one [mAs].
    tolerances : tuple of float
        τ [HU], from small to large.
    full, rays : float
        d'² in the rays at full dose and at this.
    image : tuple of float
        d'² in the image, for each τ.
    output : tuple of Estimate
        d'² behind the network, for each τ.
    losses : tuple of Losses
        For each τ; of several slices their means.
    """

    observer: Observer
    lesion: Lesion
    mas: float
    full_mas: float
    tolerances: tuple[float, ...]
    full: float
    rays: float
    image: tuple[float, ...]
    output: tuple[Estimate, ...]
    losses: tuple[Losses, ...] = ()

    def __post_init__(self) -> None:
        if not self.losses:
            object.__setattr__(self, "losses", tuple(map(self._between, self.image, self.output)))

    def _between(self, image: float, output: Estimate) -> Losses:
        return Losses.between(
            self.full, self.rays, image, output, mas=self.mas, full_mas=self.full_mas
        )


def who_lost_it(
    f: Denoiser,
    scanner: SliceScanner,
    lesions: Sequence[Lesion],
    *,
    mas: float,
    full_mas: float,
    tolerances: Sequence[float] = READER_TOLERANCES,
    draws: int = 200,
    points: int = 4,
    covariance: ImageCovariance | None = None,
    seed: int,
) -> list[Chain]:
    """Follow lesions from the rays to the output, for the ideal observer and for a reader.

    Parameters
    ----------
    f : callable
        The denoiser, (B, 1, H, W) to the same [HU].
    scanner : SliceScanner
        The slice without lesions, and the patch that they are put into.
    lesions : sequence of Lesion
        Of any size, contrast and place in the patch.
    mas, full_mas : float
        This dose, and the full one [mAs].
    tolerances : sequence of float
        τ of the reader or display [HU].
    draws : int
        Scans that the reader reads.
    points : int
        Scans at which f is linearised for the ideal observer.
    covariance : ImageCovariance, optional
        The noise of the patch, if it is known already; else it is computed.
    seed : int

    Returns
    -------
    list of Chain
        Two for each lesion, ideal and cho.

    Raises
    ------
    DataError
        If a lesion does not lie in the patch, or there are too few scans.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import Lesion, SliceScanner
    >>> from analysis.projection_domain.chain import who_lost_it
    >>> from recon import ImageGrid, flash_axial
    >>> water = np.where(np.hypot(*np.mgrid[-32:32, -32:32]) < 28, 0.0, -1000.0)
    >>> grid = ImageGrid(shape=(16, 16), spacing=(1.5, 1.5))
    >>> scanner = SliceScanner(water, (2.0, 2.0), kvp=120.0, slice_thickness=1.5,
    ...                        patch_grid=grid, seed=1, geometry=flash_axial(views=96))
    >>> ideal, reader = who_lost_it(
    ...     lambda x: x, scanner, [Lesion(contrast=20.0, radius=4.0)],
    ...     mas=10.0, full_mas=100.0, tolerances=[1.0], draws=60, seed=1)
    >>> round(ideal.losses[0].dose.value, 2), ideal.losses[0].dose_is_arithmetic
    (0.9, True)
    >>> abs(round(ideal.losses[0].network.value, 6))  # f does nothing
    0.0
    """
    if draws < LEAST_SCANS or points < 2:
        raise DataError(
            "too few scans", where="draws, points", expected=f"at least {LEAST_SCANS} and 2",
            got=f"{draws} and {points}",
        )  # fmt: skip
    noise = ImageCovariance.of(scanner) if covariance is None else covariance
    study = _Study(f, scanner, noise, mas, full_mas, tuple(sorted(map(float, tolerances))), seed)
    both = zip(study.ideal(lesions, points), study.read(lesions, draws), strict=True)
    return [chain for pair in both for chain in pair]


def over_slices(chains: Sequence[Chain]) -> Chain:
    """The same lesion and observer in several slices: means, with the slices' intervals.

    Parameters
    ----------
    chains : sequence of Chain
        One for each slice.

    Returns
    -------
    Chain

    Raises
    ------
    DataError
        If there are not at least two, or they are not of one observer.
    """
    if len(chains) < 2 or len({chain.observer for chain in chains}) > 1:
        raise DataError("no chains of one observer in several slices", where="chains")
    tolerances = range(len(chains[0].tolerances))
    return replace(
        chains[0],
        full=float(np.mean([chain.full for chain in chains])),
        rays=float(np.mean([chain.rays for chain in chains])),
        image=tuple(float(np.mean([chain.image[k] for chain in chains])) for k in tolerances),
        output=tuple(mean_of([chain.output[k].value for chain in chains]) for k in tolerances),
        losses=tuple(Losses.over([chain.losses[k] for chain in chains]) for k in tolerances),
    )


class _Study:
    """One slice at one dose: its noise, its scans, and what is read of them."""

    def __init__(
        self,
        f: Denoiser,
        scanner: SliceScanner,
        covariance: ImageCovariance,
        mas: float,
        full_mas: float,
        tolerances: tuple[float, ...],
        seed: int,
    ) -> None:
        self.f, self.scanner, self.mas, self.full_mas = f, scanner, float(mas), float(full_mas)
        self.tolerances, self.seed = tolerances, seed
        self.covariance = covariance
        self.noise = self.covariance.times(self.mas)

    def rays_of(self, lesions: Sequence[Lesion]) -> Tensor:
        """Line integrals of the lesions (n, views, columns)."""
        return torch.stack([lesion_rays(self.scanner, lesion) for lesion in lesions])

    def weight(self, mas: float) -> Tensor:
        """1/σ² of the rays."""
        quantum, electronic = self.covariance.parts
        return 1.0 / (quantum / mas + electronic / mas**2)

    def images_of(self, rays: Tensor) -> Tensor:
        """What line integrals (n, views, columns) add to the image, with its surroundings [HU]."""
        covariance = self.covariance
        return covariance.operator.fbp(rays, window=covariance.window) * covariance.hu

    def chain(self, observer: Observer, lesion: Lesion, **stages: object) -> Chain:
        """One chain of this study."""
        return Chain(
            observer,
            lesion,
            self.mas,
            self.full_mas,
            self.tolerances,
            **stages,  # type: ignore[arg-type]
        )

    def ideal(self, lesions: Sequence[Lesion], points: int) -> list[Chain]:
        """The ideal observer's chains: of 1 HU, as f is linearised, and proportional to it."""
        kinds = list(dict.fromkeys(replace(lesion, contrast=1.0) for lesion in lesions))
        rays = self.rays_of(kinds)
        energy, signal = rays.double().square(), self.images_of(rays)
        full, here = (
            (energy * self.weight(mas)).sum((-2, -1)).tolist() for mas in (self.full_mas, self.mas)
        )
        image = detectability(self.noise, signal, tolerances=self.tolerances)
        scans = self.scanner.low_dose(
            self.mas, draws=points, seed=derived_seed(self.seed, "points")
        )
        output = self._linearised(scans, signal)
        chains = []
        for lesion in lesions:
            k, squared = kinds.index(replace(lesion, contrast=1.0)), lesion.contrast**2
            chains.append(
                self.chain(
                    "ideal", lesion, full=squared * full[k], rays=squared * here[k],
                    image=tuple((squared * np.square(image[k])).tolist()),
                    output=tuple(mean_of(d) for d in (squared * np.square(output[:, k])).T),
                )
            )  # fmt: skip
        return chains

    def _linearised(self, scans: Tensor, signal: Tensor) -> np.ndarray:
        """d' behind f, linearised at each of several scans, (scans, lesions, tolerances)."""
        f = InPlace(self.f, self.scanner.place, scans[0])
        noises = (Behind(f, x, self.covariance, self.mas) for x in scans)
        return np.stack([noise.detectability(signal, self.tolerances) for noise in noises])

    def read(self, lesions: Sequence[Lesion], draws: int) -> list[Chain]:
        """The reader's chains."""
        rays = self.rays_of(lesions)
        place, signal = self.scanner.place, self.images_of(rays)
        scans = self.scanner.low_dose(self.mas, draws=draws, seed=derived_seed(self.seed, "reader"))
        # scans of an image with noise of its own redraw a share of the variance alone
        drawn = float(self.scanner.facts(self.mas).get("added_share", 1.0))
        without = self._denoised(scans)
        chains = []
        for lesion, shown, seen in zip(lesions, rays, signal, strict=True):
            reader = self._reader(lesion)
            full, here = (self._in_rays(reader, shown, mas) for mas in (self.full_mas, self.mas))
            image = reader.detectability(
                lambda v: place.of(self.noise(place.padded(v))), place.of(seen)[None],
                tolerances=self.tolerances,
            )[0]  # fmt: skip
            pair = reader.respond(without), reader.respond(self._denoised(scans + seen))
            chains.append(
                self.chain(
                    "cho", lesion, full=full, rays=here, image=tuple(np.square(image).tolist()),
                    output=self._in_outputs(reader, *pair, drawn),
                )
            )  # fmt: skip
        return chains

    def _denoised(self, scans: Tensor) -> Tensor:
        """f of scans, each in surroundings of its own."""
        return apply(InPlace(self.f, self.scanner.place, scans[0]), scans)

    def _reader(self, lesion: Lesion) -> Reader:
        grid = self.scanner.patch_grid
        row, col = (
            (at - axis[0]) / step
            for at, axis, step in zip(lesion.place[::-1], (grid.y, grid.x), grid.spacing)
        )
        shape = (grid.shape[0], grid.shape[1])
        return Reader.of(shape, (float(row), float(col)), lesion.radius / grid.spacing[0])

    def _in_rays(self, reader: Reader, rays: Tensor, mas: float) -> float:
        """d'² of the reader of rays."""
        place, A = self.scanner.place, self.covariance.operator
        channels = reader.channels.T.reshape(-1, *self.scanner.patch_grid.shape).float()
        projected = A(place.padded(channels).contiguous()).double().flatten(1)
        weighted = projected * self.weight(mas).flatten()
        seen = weighted @ rays.double().flatten()
        found = reader.from_moments(seen[None], weighted @ projected.T, tolerances=[0.0])
        return float(found[0, 0] ** 2)

    def _in_outputs(
        self, reader: Reader, without: Tensor, with_lesion: Tensor, drawn: float
    ) -> tuple[Estimate, ...]:
        """d'² of the reader of outputs, from responses (draws, channels) to pairs of scans."""

        def from_scans(kept: np.ndarray) -> np.ndarray:
            first, second = without[kept], with_lesion[kept]
            spread = 0.5 * (torch.cov(first.T) + torch.cov(second.T)) / drawn
            seen = (second - first).mean(0, keepdim=True)
            return reader.from_moments(seen, spread, tolerances=self.tolerances)[0] ** 2

        count = len(without) - len(without) % _GROUPS
        groups = np.arange(count) % _GROUPS
        whole = from_scans(np.arange(count))
        left_out = np.stack([from_scans(np.flatnonzero(groups != g)) for g in range(_GROUPS)])
        return tuple(jackknife(float(d), parts) for d, parts in zip(whole, left_out.T))
