"""The demonstration: a random patient in the scanner, two denoisers, and their invariances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ctxai import FlowModel, WeightSet, cinn_name
from recon.phantom import random_slice

from ..data.phantom_pairs import WorkingPoint, scan
from ..invariances.result import InvarianceResult
from ..invariances.study import invariance_study
from ..scanner.slice_scanner import SliceScanner, derived_seed
from ..target_domain.study import TargetResult, target_domain_study
from ..training.recipes import SETS

__all__ = ["COUNTS", "demo_slice", "demo_studies"]

COUNTS: Mapping[tuple[str, str], int] = {
    ("chen", "x"): 250,
    ("yang", "x"): 24,
    ("chen", "y"): 24,
    ("yang", "y"): 24,
}
"""Samples a row of the demonstration, by denoiser and domain."""

_PROJECTED = 24  # of the samples after a layer, those that are moved onto the fibre
_TOLERANCE = 0.1  # of what redrawn noise does to a layer, about 3 HU at an output


def demo_slice(*, seed: int, point: WorkingPoint) -> np.ndarray:
    """One abdominal slice of a random patient at the high dose, (1, rows, cols) [HU]."""
    truth = random_slice("abdomen", seed=derived_seed(seed, "demo"), grid=point.grid)
    return scan(truth[None], point.high_mas, seed=derived_seed(seed, "high dose"), point=point)


def demo_studies(
    weights: WeightSet, scanner: SliceScanner, *, mas: float, seed: int, progress: bool = True
) -> list[InvarianceResult | TargetResult]:
    """All studies of the demonstration, with the layers that the set of weights holds.

    Parameters
    ----------
    weights : WeightSet
        The networks that come along, or ones trained again.
    scanner : SliceScanner
        The slice with its patch.
    mas : float
        Exposure of the low-dose scan [mAs].
    seed : int
        Of v and of all noise.
    """
    results: list[InvarianceResult | TargetResult] = []
    for (denoiser, domain), layers in SETS.items():
        f, _ = weights.load(denoiser)
        models = {layer: weights.load_model(denoiser, layer, domain, f=f) for layer in layers}
        beside = {
            layer: weights.load_model(denoiser, layer, domain, f=f, sampler="cinn")
            for layer, model in models.items()
            if isinstance(model, FlowModel) and cinn_name(denoiser, layer, domain) in weights
        }
        n = COUNTS[denoiser, domain]
        common: dict[str, Any] = {"denoiser": denoiser, "mas": mas, "n": n, "seed": seed}
        if domain == "x":
            result = invariance_study(
                models, scanner, projected=min(n, _PROJECTED), tolerance=_TOLERANCE, beside=beside,
                progress=progress,
                **common,
            )  # fmt: skip
            results.append(result)
        else:
            target = target_domain_study(models["output"], scanner, progress=progress, **common)
            results.append(target)
    return results
