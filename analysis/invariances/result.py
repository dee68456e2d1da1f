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
    """Samples of one layer with one sampler, plain or moved onto the fibre.

    Attributes
    ----------
    sampler : str
    projected : bool
    images, outputs : Tensor, (n, H, W)
        x̄ and f(x̄) [HU].
    distance : Tensor, (n,)
        ‖f(x̄) - f(x)‖ [HU].
    pulled : int
        Samples that had to be pulled towards x.
    layer_ratio : float, optional
        Median ‖Φ(x̄) - z‖ over that of redrawn noise.
    numbers : SampleNumbers
    verdict : Verdict, optional
        None of samples that are there for comparison alone.
    """

    sampler: str
    projected: bool
    images: Tensor
    outputs: Tensor
    distance: Tensor
    pulled: int
    layer_ratio: float | None
    numbers: SampleNumbers
    verdict: Verdict | None

    @property
    def sd(self) -> float:
        """Rms over pixels of the standard deviation over samples [HU]."""
        return float(rms(sample_sd(self.images)))


@dataclass(frozen=True)
class LayerResult:
    """All sets of samples after one layer, and what it hides.

    ``beside`` are those of another sampler; ``facts`` those of the model.
    """

    layer: str
    sampler: str
    facts: dict[str, Any]
    evidence: LayerEvidence
    sets: list[SampleSet]
    beside: list[SampleSet]


@dataclass(frozen=True)
class InvarianceResult:
    """One scan, the same with its noise drawn again, and samples after each layer.

    Attributes
    ----------
    scanned : Scanned
    redrawn_distance : Tensor, (redraws,)
        ‖f(x redrawn) - f(x)‖ [HU].
    redrawn_sd : float
        Spread of the scans of one anatomy [HU].
    layers : list of LayerResult
    facts : dict
        What was asked for: n, projected, tolerances, redraws, seed.
    """

    scanned: Scanned
    redrawn_distance: Tensor
    redrawn_sd: float
    layers: list[LayerResult]
    facts: dict[str, Any]

    @property
    def redrawn(self) -> Spread:
        """Median and range of the distance of redrawn scans [HU]."""
        return Spread.of(self.redrawn_distance)
