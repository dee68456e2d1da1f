"""What a study of invariances finds: arrays and numbers, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..fidelity.evidence import LayerEvidence
from ..fidelity.verdict import SampleNumbers, Verdict
from ..numbers import Spread, rms, sample_sd
from ..runs.scanned import Scanned

__all__ = ["InvarianceResult", "LayerResult", "SampleSet"]


@dataclass(frozen=True)
class SampleSet:
    """Samples of one layer with one sampler, plain or moved onto the fibre."""

    sampler: str
    projected: bool
    images: Tensor  # x̄, (n, H, W) [HU]
    outputs: Tensor  # f(x̄), (n, H, W) [HU]
    distance: Tensor  # ‖f(x̄) - f(x)‖, (n,) [HU]
    pulled: int  # samples that had to be pulled towards x
    layer_ratio: float | None  # median ‖Φ(x̄) - z‖ over that of redrawn noise
    numbers: SampleNumbers
    verdict: Verdict | None  # None of samples that are there for comparison alone

    @property
    def sd(self) -> float:
        """Rms over pixels of the standard deviation over samples [HU]."""
        return float(rms(sample_sd(self.images)))


@dataclass(frozen=True)
class LayerResult:
    """All sets of samples after one layer, and what it hides."""

    layer: str
    sampler: str
    facts: dict[str, Any]  # what is known of the model
    evidence: LayerEvidence | None  # None of a denoiser without a Jacobian
    sets: list[SampleSet]
    beside: list[SampleSet]  # samples of another sampler


@dataclass(frozen=True)
class InvarianceResult:
    """One scan, the same with its noise drawn again, and samples after each layer."""

    scanned: Scanned
    redrawn_distance: Tensor  # ‖f(x redrawn) - f(x)‖, (redraws,) [HU]
    redrawn_sd: float  # spread of the scans of one anatomy [HU]
    layers: list[LayerResult]
    facts: dict[str, Any]  # what was asked for: n, projected, tolerances, redraws, seed

    @property
    def redrawn(self) -> Spread:
        """Median and range of the distance of redrawn scans [HU]."""
        return Spread.of(self.redrawn_distance)
