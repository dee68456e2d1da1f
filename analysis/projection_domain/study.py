"""One pair of anatomies at several exposures: what was there, and who lost it.

Exposures run from 1 mAs to the full dose; at those asked for all parts of the difference are
followed, and a human-like observer reads the images too; in between the whole difference alone,
for the curves and for the exposure at which it is detected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from recon import DataError

from ..lesions.lesion import Lesion
from ..numbers import apply
from ..observers.ideal import Jacobian, auc
from ..runs.rows import add_scan, patch_facts
from ..runs.store import Study
from .pair import Pair, threshold, threshold_of_rays
from .readers import hide_lesion, read_images, recover_contrast
from .words import explain

__all__ = ["STAGES", "TOLERANCES_HU", "projection_study", "require_exposures"]

STAGES = ("rays at full dose", "rays", "image", "output")
"""Where d' is taken; a stage's layer in metrics.csv: "projections", "input", "output"."""

TOLERANCES_HU = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""τ of the curves [HU]."""

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
    other: str,
    mas: Sequence[float],
    full_mas: float,
    tolerance_hu: float = 1.0,
    draws: int = 100,
    lesion: Lesion | None = None,
    seed: int,
    progress: bool = True,
) -> list[Study]:
    """Follow the difference of two anatomies from the rays to the output of a network.

    Parameters
    ----------
    f : callable
        The denoiser, (B, 1, H, W) to the same [HU].
    pair : Pair
    denoiser, other : str
        Names of f and of the second anatomy.
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
    seed : int
        Of all noise.
    progress : bool
        Bars on stderr.

    Returns
    -------
    list of Study
        One for each exposure of ``mas``. Arrays: ``slice``; ``y``, ``ybar``, ``x``, ``fx``,
        ``change`` = ȳ - y, ``signal`` = R⁻¹R(ȳ - y), ``output_signal`` = J R⁻¹R(ȳ - y) (H, W) [HU];
        ``stages`` (4, parts), d' at :data:`STAGES`; ``curve`` (4, n), exposures [mAs] and d' of the
        whole in rays, image and output; ``tolerance_curve`` (3, n), τ [HU] and d' of the whole in
        image and output. The parts' names are in ``facts["parts"]``.

    Raises
    ------
    DataError
        If an exposure exceeds the full dose or is below 1 mAs.
    """
    require_exposures(mas, full_mas)
    scanner = pair.scanner
    whole = slice(0, 1)
    exposures = sorted({*map(float, mas), *np.geomspace(1.0, full_mas, _BETWEEN).tolist()})
    curve = np.empty((4, len(exposures)))
    full = pair.before(full_mas)
    studies = {}
    bar = tqdm(exposures, desc=f"{denoiser}: d' over exposures", disable=not progress, leave=False)
    for k, exposure in enumerate(bar):
        asked = exposure in mas
        x = scanner.low_dose(exposure, seed=seed)[0]
        parts = slice(None) if asked else whole
        tolerances = sorted({*TOLERANCES_HU, tolerance_hu}) if asked else [tolerance_hu]
        # the finest tolerances take the longest: they are for the whole difference alone
        image = pair.after_reconstruction(exposure, [tolerance_hu], parts=parts)[:, 0]
        output = pair.after_network(f, x, exposure, [tolerance_hu], parts=parts)[:, 0]
        curve[:, k] = exposure, pair.before(exposure)[0], image[0], output[0]
        if not asked:
            continue
        fine = (
            tolerances,
            pair.after_reconstruction(exposure, tolerances, parts=whole)[0],
            pair.after_network(f, x, exposure, tolerances, parts=whole)[0],
        )
        study = Study("projection-domain", denoiser, exposure, {})
        stages = np.stack([full, pair.before(exposure), image, output])
        _record(study, f, pair, x, stages, fine, other=other, tolerance_hu=tolerance_hu)
        if draws:
            train = read_images(
                study, f, pair, exposure, draws, seed, other=other, best=stages[1, 0]
            )
            if lesion is not None:
                recover_contrast(study, pair, train, lesion, other=other)
        if lesion is not None:
            hide_lesion(study, f, pair, x, other=other)
        studies[exposure] = study
    limits = {
        "rays": threshold_of_rays(pair, full_mas),
        "image": threshold(curve[0], curve[2]),
        "output": threshold(curve[0], curve[3]),
    }
    for study in studies.values():
        study.arrays["curve"] = curve
        study.facts |= {
            "detected_at_mas": limits,
            "full_mas": full_mas,
            "tolerance_hu": tolerance_hu,
            "draws": draws,
            "seed": seed,
            "other": other,
        }
        explain(study)
    return [studies[float(value)] for value in dict.fromkeys(mas)]


def _record(
    study: Study,
    f: Callable[[Tensor], Tensor],
    pair: Pair,
    x: Tensor,
    stages: np.ndarray,
    fine: tuple[Sequence[float], np.ndarray, np.ndarray],
    *,
    other: str,
    tolerance_hu: float,
) -> None:
    """Facts, numbers and images of one exposure."""
    scanner = pair.scanner
    fx = apply(f, x)
    add_scan(study, x, scanner.y, fx)
    lost, reached = _lost(stages[:, 0]), _lost_of_reached(stages[:, 0])
    nonlinear = pair.nonlinearity(f, x)
    layers = ("projections", "projections", "input", "output")
    for name, values in zip(pair.names, stages.T, strict=True):
        for stage, layer, value in zip(STAGES, layers, values, strict=True):
            tau = f", τ = {tolerance_hu:g} HU" if layer in ("input", "output") else ""
            study.add(
                f"d' of ȳ - y, {name}: {stage}", value, "1", layer=layer, sampler=other,
                should_be="at most that of the rays" if tau else "an upper limit to all behind it",
                meaning=f"ideal observer{tau}",
            )  # fmt: skip
    for who, share in lost.items():
        study.add(
            f"share of d'² at full dose that {who}", share, "1", sampler=other,
            should_be="the four shares add up to 1",
            meaning=f"whole ȳ - y, ideal observer, τ = {tolerance_hu:g} HU",
        )  # fmt: skip
    for stage, share in reached.items():
        study.add(
            f"share of d'² that reaches the {stage} and is lost in it", share, "1", sampler=other,
            should_be="0 if it loses nothing, 1 if all",
            meaning=f"1 - (d' behind it / d' before it)², whole ȳ - y, ideal observer, "
            f"τ = {tolerance_hu:g} HU",
        )  # fmt: skip
    study.add(
        "nonlinearity of f", nonlinear, "1", sampler=other, should_be="well below 1",
        meaning="‖f(x + Δ) - f(x) - JΔ‖ / ‖f(x + Δ) - f(x)‖: how far J speaks for f",
    )  # fmt: skip
    study.facts = {
        "layers": ["projections", "input", "output"],
        "scan": scanner.facts(study.mas),
        "patch": patch_facts(scanner),
        "parts": pair.names,
        "stages": list(STAGES),
        "shares_of_full_dose": lost,
        "shares_of_reached": reached,
        "auc": [auc(d) for d in stages[:, 0]],
        "nonlinearity": nonlinear,
        "inequality_holds": bool((stages[2:] <= stages[1] * (1 + 1e-3)).all()),
    }
    output_signal = Jacobian(f, x).times_j(pair.signal[:1])[0]
    images: dict[str, Any] = {
        "slice": scanner.hu,
        "y": scanner.y,
        "ybar": scanner.y.cpu() + pair.change[0],
        "x": x,
        "fx": fx,
        "change": pair.change[0],
        "signal": pair.signal[0],
        "output_signal": output_signal,
        "stages": stages,
        "tolerance_curve": np.stack([np.asarray(fine[0]), fine[1], fine[2]]),
    }
    study.arrays = {
        name: image.cpu().numpy() if isinstance(image, Tensor) else image
        for name, image in images.items()
    }


def _lost(d: np.ndarray) -> dict[str, float]:
    """Shares of d'² at full dose: lost by dose, reconstruction and network, and kept."""
    share = np.square(d) / d[0] ** 2
    steps = {"the dose took": 1.0 - share[1], "the reconstruction took": share[1] - share[2]}
    return {
        **{name: float(value) for name, value in steps.items()},
        "the network took": float(share[2] - share[3]),
        "is left": float(share[3]),
    }


def _lost_of_reached(d: np.ndarray) -> dict[str, float]:
    """Shares of the d'² that reaches the reconstruction, and the network, that each loses."""
    stages = ("reconstruction", "network")
    return {
        stage: float(1.0 - (behind / before) ** 2)
        for stage, before, behind in zip(stages, d[1:3], d[2:4], strict=True)
    }
