"""One pair of anatomies at several exposures: what was there, and who lost it.

Exposures run from 1 mAs to the full dose; at those asked for all parts of the difference are
followed, and a human-like observer reads the images too; in between the whole difference alone,
for the curves and for the exposure at which it is detected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ctxai import InPlace
from recon import DataError

from ..lesions.lesion import Lesion
from ..runs.scanned import Scanned
from .behind import Behind
from .chain import LEAST_SCANS, READER_TOLERANCES, Chain, who_lost_it
from .could_hide import could_hide
from .pair import Pair, threshold, threshold_of_rays
from .readers import Reading, Stage, hide_lesion, read_images, recover_contrast
from .result import PairResult
from .yardstick import measure_yardstick

__all__ = ["TOLERANCES_HU", "projection_study", "require_exposures"]

TOLERANCES_HU = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""τ of the curves [HU]."""

Denoiser = Callable[[Tensor], Tensor]

_WHOLE, _PARTS = slice(0, 1), slice(1, None)  # of the difference
_POINTS = 3  # scans at which f is linearised for the interval of the ideal observer
_BETWEEN = 6  # exposures of the curves, from 1 mAs to the full dose
_NEAR = 1.5  # times another exposure


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
    f: Denoiser,
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
        If that is what ȳ adds to y: its contrast recovery and its cost of hiding are taken too, and
        who lost it, for the ideal observer and a reader with noise of his own.
    sample : int, optional
        Number of ȳ, if it is a sampled anatomy.
    seed : int
        Seed of all noise.
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
    exposures = _exposures(mas, full_mas)
    curve, found = np.empty((4, len(exposures))), {}
    bar = tqdm(exposures, desc=f"{denoiser}: d' over exposures", disable=not progress, leave=False)
    for k, exposure in enumerate(bar):
        if exposure in mas:
            scanned = Scanned.of(pair.scanner, f, denoiser=denoiser, mas=exposure, seed=seed)
            result = found[exposure] = _followed(
                pair, scanned, lesion=lesion, sample=sample, full_mas=full_mas,
                tolerance_hu=tolerance_hu, draws=draws, seed=seed,
            )  # fmt: skip
            curve[:, k] = exposure, *result.stages[1:, 0]
        else:
            x = pair.scanner.low_dose(exposure, seed=seed)[0]
            behind = pair.behind(InPlace(f, pair.scanner.place, x), x, exposure)
            curve[:, k] = exposure, *_stages(pair, behind, exposure, tolerance_hu, _WHOLE)[:, 0]
    limits = {
        "rays": threshold_of_rays(pair, full_mas),
        "image": threshold(curve[0], curve[2]),
        "output": threshold(curve[0], curve[3]),
    }
    return [
        replace(found[float(value)], curve=curve, detected_at_mas=limits)
        for value in dict.fromkeys(mas)
    ]


def _exposures(mas: Sequence[float], full_mas: float) -> list[float]:
    """Exposures of the curves [mAs]: those asked for, and others that are not close to them."""
    asked = sorted({*map(float, mas), 1.0, float(full_mas)})
    between = np.geomspace(1.0, full_mas, _BETWEEN).tolist()
    near = [min(max(one / other, other / one) for other in asked) for one in between]
    return sorted({*asked, *(one for one, by in zip(between, near) if by > _NEAR)})


def _stages(
    pair: Pair, behind: Behind, mas: float, tolerance_hu: float, parts: slice
) -> np.ndarray:
    """d' in rays, image and output at an exposure, (3, parts)."""
    image = pair.after_reconstruction(mas, [tolerance_hu], parts=parts)[:, 0]
    output = behind.detectability(pair.signal[parts], [tolerance_hu])[:, 0]
    return np.stack([pair.before(mas)[parts], image, output])


def _followed(pair: Pair, scanned: Scanned, **asked: Any) -> PairResult:
    """All that is measured at one exposure; the curve over exposures is still to come."""
    f, x = scanned.f, scanned.f.surroundings
    mas, lesion, tolerance_hu = scanned.mas, asked["lesion"], asked["tolerance_hu"]
    readings: list[Reading] = []
    recovery: dict[Stage, float] = {}
    tolerances = sorted({*TOLERANCES_HU, tolerance_hu})  # the finest take the longest
    behind = pair.behind(f, x, mas)
    whole = np.concatenate(
        [
            pair.after_reconstruction(mas, tolerances, parts=_WHOLE),
            behind.detectability(pair.signal[_WHOLE], tolerances),
        ]
    )
    parts = _stages(pair, behind, mas, tolerance_hu, _PARTS)
    here = np.append(pair.before(mas)[0], whole[:, tolerances.index(tolerance_hu)])
    stages = np.concatenate([here[:, None], parts], axis=1)
    if asked["draws"]:
        readings, trained = read_images(f, pair, mas, asked["draws"], asked["seed"])
        if lesion is not None:
            recovery = recover_contrast(pair, trained, lesion)
    return PairResult(
        scanned,
        ybar=scanned.y.cpu() + pair.change[0],
        change=pair.change[0],
        signal=pair.scanner.place.of(pair.signal[0]),
        output_signal=behind.at.times_j(pair.signal[:1])[0],
        stages=np.stack([pair.before(asked["full_mas"]), *stages]),
        curve=np.empty((4, 0)),
        tolerance_curve=np.stack([tolerances, *whole]),
        detected_at_mas={},
        nonlinearity=pair.nonlinearity(f, x),
        readings=readings,
        recovery=recovery,
        yardstick=measure_yardstick(
            pair.scanner, (scanned.y.cpu() + pair.change[0])[None], mas, seed=asked["seed"]
        ),
        hidden=None if lesion is None else hide_lesion(f, pair, x, mas),
        chains=_chains(pair, scanned, **asked) if lesion is not None and asked["draws"] else [],
        could_hide=could_hide(f, pair.scanner, mas, lesion, seed=asked["seed"]),
        **asked,
    )


def _chains(
    pair: Pair, scanned: Scanned, *, lesion: Lesion, draws: int, tolerance_hu: float, **asked: Any
) -> list[Chain]:
    """Who lost the lesion: the same noise of the patch, and scans of both hypotheses."""
    return who_lost_it(
        scanned.f.f, pair.scanner, [lesion], mas=scanned.mas, full_mas=asked["full_mas"],
        tolerances=sorted({tolerance_hu, *READER_TOLERANCES}), draws=max(draws, LEAST_SCANS),
        points=_POINTS, covariance=pair.covariance, seed=asked["seed"],
    )  # fmt: skip
