"""What is recorded of both questions of the target domain, and of d' in the rays beside them.

Could f(x) have come from ȳ, could a reader of the output tell ȳ from y, how often a lesion is
noticed by either, and the yardstick of d' in the rays.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from ..numbers import Share
from ..projection_domain.yardstick import Yardstick
from ..runs.store import Study
from ..target_domain.compatibility import ALPHA
from ..target_domain.study import TargetResult

__all__ = ["add_decision", "add_yardstick", "decision_facts", "yardstick_facts"]


def decision_facts(result: TargetResult) -> dict[str, Any]:
    """Both tests, the lesion and the yardstick as plain values."""
    return {
        "compatibility": _compatibility_facts(result),
        "telling": _telling_facts(result),
        "lesion": asdict(result.lesion),
        "yardstick": yardstick_facts(result.yardstick),
    }


def _compatibility_facts(result: TargetResult) -> dict[str, Any]:
    """The test of the output as plain values."""
    found = result.compatibility
    facts = {
        "alpha": ALPHA, "null_draws": found.null_draws, "draws": found.draws,
        "compatible_share": found.share.value, "most_different": found.most_different,
        "level": None if found.level is None else asdict(found.level),
        "power": found.power.value, "power_low": found.power.low, "power_high": found.power.high,
        "power_scans": found.power.count,
    }  # fmt: skip
    rays = result.yardstick.summary(found.p > ALPHA)
    return {**facts, "rays": rays} if rays else facts


def _telling_facts(result: TargetResult) -> dict[str, Any]:
    """What a reader of the output can tell of y and ȳ, as plain values."""
    told = result.telling
    return {
        "median_d": float(np.median(told.d)), "largest_d": float(told.d.max()),
        "bound_one": told.bound_one, "bound_several": told.bound_several,
        "told_one": asdict(told.told_one),
        "told_several": None if told.told_several is None else asdict(told.told_several),
    }  # fmt: skip


def yardstick_facts(stick: Yardstick) -> dict[str, Any]:
    """What d' in the rays is held against, as plain values."""
    return {
        "two_scans": stick.two_scans, "two_scans_sd": stick.two_scans_sd,
        "high_mas": stick.high_mas, "median_by_scale": stick.median_by_scale,
    }  # fmt: skip


def add_decision(study: Study, result: TargetResult) -> None:
    """Rows about both tests, the lesion they are judged by, and d' in the rays with its yardstick.

    The first test asks of f(x) and ȳ, the second of ȳ and y.
    """
    found, told, lesion, of = result.compatibility, result.telling, result.lesion, result.sampler
    study.add(
        "compatible_share", found.share.value, level=1 - ALPHA, alpha=ALPHA,
        null=found.null_draws, draws=found.draws, sampler=of, error=found.share.error,
    )  # fmt: skip
    if found.level is not None:
        study.add(
            "test_level", found.level.value, alpha=ALPHA, sampler=of, **_interval(found.level)
        )
    how: dict[str, Any] = {"sampler": "y with a lesion"}
    study.add("test_power", found.power.value, draws=found.draws, **_interval(found.power), **how)
    study.add("power_bound", lesion.bound, d=lesion.rays_d, **how)
    error = (lesion.output_high - lesion.output_low) / 3.92
    study.add("power_expected", lesion.expected, limit=lesion.bound, error=0.4 * error, **how)
    expected: dict[str, Any] = {"expected": lesion.expected, **_interval(lesion.known), **how}
    expected["error"] = math.hypot(lesion.known.error, 0.4 * error)  # φ(0) is 0.4
    study.add("power_known", lesion.known.value, **expected)
    if (several := lesion.known_several) is not None:
        expected |= {"expected": lesion.expected_several, **_interval(several)}
        study.add("power_known_several", several.value, **expected)
    study.add("lesion_d_rays", lesion.rays_d, layer="projections", **how)
    study.add(
        "lesion_d_output", lesion.output_d, low=lesion.output_low, high=lesion.output_high,
        limit=lesion.rays_d, error=error, **how,
    )  # fmt: skip
    study.add("telling_d_median", float(np.median(told.d)), sampler=of)
    study.add("telling_d_largest", float(told.d.max()), sampler=of)
    study.add(
        "told_one", told.told_one.value, expected=told.bound_one, sampler=of,
        **_interval(told.told_one),
    )  # fmt: skip
    if told.told_several is not None:
        study.add(
            "told_several", told.told_several.value, expected=told.bound_several, sampler=of,
            **_interval(told.told_several),
        )  # fmt: skip
    add_yardstick(study, result.yardstick, of)
    for which, d in result.yardstick.summary(found.p > ALPHA).items():
        study.add(f"ray_d_{which}", d, layer="projections", sampler=of)


def add_yardstick(study: Study, stick: Yardstick, of: str) -> None:
    """Rows of d' in the rays: of noise alone, and of ȳ - y by scale."""
    how: dict[str, Any] = {"layer": "projections", "sampler": of}
    study.add("yardstick_d", stick.two_scans, high=stick.high_mas, **how)
    for scale, d in stick.median_by_scale.items():
        study.add(f"ray_d_{scale}", d, **how)


def _interval(share: Share) -> dict[str, Any]:
    """Fields of a row on a share that was counted."""
    return {"low": share.low, "high": share.high, "scans": share.count, "error": share.error}
