"""One pair of anatomies at several exposures: what was there, and who lost it.

Exposures run from 1 mAs to the full dose; at those asked for all parts of the difference are
followed, and a human-like observer reads the images too; in between the whole difference alone,
for the curves and for the exposure at which it is detected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from tqdm import tqdm

from recon import DataError

from ..lesions.lesion import Lesion
from ..observers.ideal import Jacobian
from ..runs.scanned import Scanned
from .pair import Pair, threshold, threshold_of_rays
from .readers import Reading, Stage, hide_lesion, read_images, recover_contrast
from .result import PairResult

__all__ = ["TOLERANCES_HU", "projection_study", "require_exposures"]

TOLERANCES_HU = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""τ of the curves [HU]."""

_WHOLE = slice(0, 1)  # of the parts of the difference
_BETWEEN = 6  # exposures of the curves, from 1 mAs to the full dose


def require_exposures(mas: Sequence[float], full_mas: float) -> None:
    """Refuse exposures [mAs] that the curves do not reach: below 1 mAs, or above the full dose."""
    if not 1.0 <= full_mas < float("inf"):
        raise DataError(
            "no full dose", where="--full-mas", expected="1 mAs or more", got=f"{full_mas:g} mAs"
        )
    for value in mas:
        if not 1.0 <= value <= full_mas:
            raise DataError(
                "exposure outside the range of the curves",
                where="--mas",
                expected=f"1 to {full_mas:g} mAs, the full dose",
                got=value,
                remedy="the full dose is that of the images, or --full-mas",
            )


def projection_study(
    f: Callable[[Tensor], Tensor],
    pair: Pair,
    *,
    denoiser: str,
    mas: Sequence[float],
    full_mas: float,
    tolerance_hu: float = 1.0,
    draws: int = 100,
    lesion: Lesion | None = None,
    sample: int | None = None,
    seed: int,
    progress: bool = True,
) -> list[PairResult]:
    """Follow the difference of two anatomies from the rays to the output of a network.

    Parameters
    ----------
    f : callable
        The denoiser, (B, 1, H, W) to the same [HU].
    pair : Pair
    denoiser : str
        Name of f.
    mas : sequence of float
        Exposures [mAs] at which all parts are followed.
    full_mas : float
        The full dose [mAs].
    tolerance_hu : float
        τ of the table [HU].
    draws : int
        Noise draws of each anatomy that the human-like observers are trained on, and as many
        others that they are tested on; 0 leaves them out.
    lesion : Lesion, optional
        If that is what ȳ adds to y: its contrast recovery and its cost of hiding are taken too.
    sample : int, optional
        Number of ȳ, if it is a sampled anatomy.
    seed : int
        Of all noise.
    progress : bool
        Bars on stderr.

    Returns
    -------
    list of PairResult
        One for each exposure of ``mas``.

    Raises
    ------
    DataError
        If an exposure exceeds the full dose or is below 1 mAs.
    """
    require_exposures(mas, full_mas)
    work = _Work(f, pair, denoiser, full_mas, tolerance_hu, draws, lesion, sample, seed)
    exposures = sorted({*map(float, mas), *np.geomspace(1.0, full_mas, _BETWEEN).tolist()})
    curve, found = np.empty((4, len(exposures))), {}
    bar = tqdm(exposures, desc=f"{denoiser}: d' over exposures", disable=not progress, leave=False)
    for k, exposure in enumerate(bar):
        if exposure in mas:
            found[exposure] = work.everything(exposure)
            curve[:, k] = exposure, *found[exposure].stages[1:, 0]
        else:
            x = pair.scanner.low_dose(exposure, seed=seed)[0]
            curve[:, k] = exposure, *work.stages(x, exposure, _WHOLE)[:, 0]
    limits = {
        "rays": threshold_of_rays(pair, full_mas),
        "image": threshold(curve[0], curve[2]),
        "output": threshold(curve[0], curve[3]),
    }
    return [
        replace(found[float(value)], curve=curve, detected_at_mas=limits)
        for value in dict.fromkeys(mas)
    ]


@dataclass(frozen=True)
class _Work:
    """One pair of anatomies before and behind one network, and how it is looked at."""

    f: Callable[[Tensor], Tensor]
    pair: Pair
    denoiser: str
    full_mas: float
    tolerance_hu: float
    draws: int
    lesion: Lesion | None
    sample: int | None
    seed: int

    def stages(self, x: Tensor, mas: float, parts: slice) -> np.ndarray:
        """d' in rays, image and output at an exposure, (3, parts)."""
        tau = [self.tolerance_hu]
        image = self.pair.after_reconstruction(mas, tau, parts=parts)[:, 0]
        output = self.pair.after_network(self.f, x, mas, tau, parts=parts)[:, 0]
        return np.stack([self.pair.before(mas)[parts], image, output])

    def over_tolerances(self, x: Tensor, mas: float) -> np.ndarray:
        """τ, and d' of the whole difference in image and output: the finest take the longest."""
        tolerances = sorted({*TOLERANCES_HU, self.tolerance_hu})
        image = self.pair.after_reconstruction(mas, tolerances, parts=_WHOLE)[0]
        output = self.pair.after_network(self.f, x, mas, tolerances, parts=_WHOLE)[0]
        return np.stack([np.asarray(tolerances), image, output])

    def everything(self, mas: float) -> PairResult:
        """All that is measured at one exposure; the curve over exposures is still to come."""
        pair, f = self.pair, self.f
        scanned = Scanned.of(pair.scanner, f, denoiser=self.denoiser, mas=mas, seed=self.seed)
        x = scanned.x
        readings: list[Reading] = []
        recovery: dict[Stage, float] = {}
        stages = np.stack([pair.before(self.full_mas), *self.stages(x, mas, slice(None))])
        if self.draws:
            readings, trained = read_images(f, pair, mas, self.draws, self.seed)
            if self.lesion is not None:
                recovery = recover_contrast(pair, trained, self.lesion)
        return PairResult(
            scanned,
            ybar=scanned.y.cpu() + pair.change[0],
            change=pair.change[0],
            signal=pair.signal[0],
            output_signal=Jacobian(f, x).times_j(pair.signal[:1])[0],
            stages=stages,
            curve=np.empty((4, 0)),
            tolerance_curve=self.over_tolerances(x, mas),
            detected_at_mas={},
            nonlinearity=pair.nonlinearity(f, x),
            readings=readings,
            recovery=recovery,
            hidden=None if self.lesion is None else hide_lesion(f, pair, x, mas),
            lesion=self.lesion,
            sample=self.sample,
            full_mas=self.full_mas,
            tolerance_hu=self.tolerance_hu,
            draws=self.draws,
            seed=self.seed,
        )
