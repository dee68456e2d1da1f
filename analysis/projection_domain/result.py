"""What a study of two anatomies finds at one exposure: arrays and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ..fidelity.verdict import Kind, Verdict
from ..lesions.lesion import Lesion
from ..runs.scanned import Scanned
from .chain import Chain
from .could_hide import CouldHide
from .losses import LITTLE
from .readers import HiddenLesion, Reading, Stage, exceeds
from .yardstick import Yardstick

__all__ = ["PairResult"]

_LITTLE = 0.005  # of d'² at full dose: below it nobody has lost anything worth the name


@dataclass(frozen=True)
class PairResult:
    """Two anatomies, and what tells them apart at every stage at one exposure."""

    scanned: Scanned
    ybar: Tensor  # (H, W) [HU]
    change: Tensor  # ȳ - y, (H, W) [HU]
    signal: Tensor  # R⁻¹R(ȳ - y), (H, W) [HU]
    output_signal: Tensor  # J R⁻¹R(ȳ - y), (H, W) [HU]
    stages: np.ndarray  # d' at the STAGES of the table of quantities, of its PARTS, (4, 7)
    curve: np.ndarray  # exposures [mAs], and d' of the whole in rays, image and output, (4, n)
    tolerance_curve: np.ndarray  # τ [HU], and d' of the whole in image and output, (3, n)
    detected_at_mas: dict[str, str]  # by stage: where the whole is detected, or "<1" or ">full"
    nonlinearity: float
    yardstick: Yardstick  # d' in the rays of parts of ȳ - y, and of two high-dose scans of y
    readings: list[Reading]  # of human-like observers, if they were asked
    recovery: dict[Stage, float]  # share of the lesion's contrast that its core shows
    hidden: HiddenLesion | None
    lesion: Lesion | None  # what ȳ adds to y, if that is a lesion
    sample: int | None  # number of ȳ among sampled anatomies, if it is one
    full_mas: float
    tolerance_hu: float
    draws: int
    seed: int
    chains: list[Chain] = field(default_factory=list)  # of the lesion, for both observers
    could_hide: CouldHide | None = None  # the worst case that the rays do not tell

    @property
    def dose_is_arithmetic(self) -> bool:
        """Whether the dose took what the quanta alone say, to within a hundredth of d'²."""
        return abs(self.shares["dose"] - (1.0 - self.scanned.mas / self.full_mas)) <= LITTLE

    @property
    def shares(self) -> dict[str, float]:
        """Shares of d'² at full dose: lost by dose, reconstruction and network, and left."""
        d = self.stages[:, 0]
        share = np.square(d) / d[0] ** 2
        return {
            "dose": float(1.0 - share[1]),
            "reconstruction": float(share[1] - share[2]),
            "network": float(share[2] - share[3]),
            "left": float(share[3]),
        }

    @property
    def lost(self) -> dict[str, float]:
        """Shares of the d'² that reaches the reconstruction, and the network, that each loses."""
        _, rays, image, output = self.stages[:, 0]
        return {
            "reconstruction": float(1.0 - (image / rays) ** 2),
            "network": float(1.0 - (output / image) ** 2),
        }

    @property
    def inequality_holds(self) -> bool:
        """Whether no stage holds more than the rays do."""
        return bool((self.stages[2:] <= self.stages[1] * (1 + 1e-3)).all())

    @property
    def human_below_ideal(self) -> bool:
        """Whether no human-like observer is above the ideal one of the rays.

        Draws of a y with noise of its own vary by what is added to it alone: the ideal observer of
        such draws is as much better.
        """
        best = float(self.stages[1, 0]) / math.sqrt(self.scanned.scan["added_share"])
        return not any(exceeds(reading.seen, best) for reading in self.readings)

    @property
    def verdict(self) -> Verdict:
        """Who lost most of the difference, and whether the numbers can be right."""
        lost: dict[Kind, float] = {
            "lost_by_dose": self.shares["dose"],
            "lost_by_reconstruction": self.shares["reconstruction"],
            "lost_by_network": self.shares["network"],
        }
        who = max(lost, key=lambda kind: lost[kind])
        kind: Kind = who if lost[who] > _LITTLE else "not_lost"
        right = self.inequality_holds and self.human_below_ideal
        return Verdict(kind, right, colour="green" if right else "red")
