"""Rows of metrics.csv about the samples of a layer, and about the noise they are held against."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..numbers import Spread, coverage, ideal_coverage, rms, sample_sd
from ..runs.store import Study

__all__ = ["LayerSamples", "add_layer", "add_reference"]


@dataclass
class LayerSamples:
    """Samples of one layer with one sampler, and their distances."""

    images: Tensor  # (n, H, W) HU
    outputs: Tensor  # (n, H, W) HU
    distance: Tensor  # (n,) HU
    features: Tensor  # (n,) in the layer's own unit
    pulled: int = 0


def add_reference(study: Study, redrawn: Tensor, reference: Spread) -> None:
    """Rows about redrawing the noise of the scan."""
    for what, value in reference.named():
        study.add(
            f"‖f(x redrawn) - f(x)‖, {what}", value, "HU", sampler="noise redrawn",
            should_be="the reference",
            meaning=f"change of the output by {reference.count} fresh draws of the noise alone",
        )  # fmt: skip
    study.add(
        "sd of x redrawn", float(rms(sample_sd(redrawn))), "HU", layer="input",
        sampler="noise redrawn", should_be="the reference",
        meaning="spread of the scans of one anatomy",
    )  # fmt: skip


def add_layer(
    study: Study,
    layer: str,
    sampler: str,
    samples: LayerSamples,
    spread: Spread,
    limit: float,
    ratio: float | None,
    tolerance: float | None,
    x: Tensor,
) -> None:
    """Rows about the samples of one layer."""
    n = len(samples.images)
    for what, value in spread.named():
        study.add(
            f"‖f(x̄) - f(x)‖, {what}", value, "HU", layer=layer, sampler=sampler,
            should_be=f"at most {limit:.1f} HU", meaning=f"change of the output, over {n} samples",
        )  # fmt: skip
    if ratio is not None:
        study.add(
            "‖Φ(x̄) - z‖ relative to redrawn noise, median", ratio, "1", layer=layer,
            sampler=sampler, should_be=f"at most {tolerance or 1.0:g}",
            meaning="change of what the layer represents, against fresh draws of the noise",
        )  # fmt: skip
    study.add(
        "sd of x̄", float(rms(sample_sd(samples.images))), "HU", layer=layer, sampler=sampler,
        should_be="above 0: 0 means that the samples are all the same",
        meaning="rms over pixels of the standard deviation over samples",
    )  # fmt: skip
    study.add(
        "coverage of x by the 5–95 % band", coverage(samples.images, x), "1", layer=layer,
        sampler=sampler, should_be=f"{ideal_coverage(n):.3f}",
        meaning=f"share of pixels; the ideal for {n} samples",
    )  # fmt: skip
    if sampler.endswith(", projected"):
        study.add(
            "samples pulled towards x", samples.pulled, "samples", layer=layer, sampler=sampler,
            should_be="0", meaning="where the iteration alone did not reach the tolerance",
        )  # fmt: skip
