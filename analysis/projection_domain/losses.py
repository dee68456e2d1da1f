"""Losses in d'² from stage to stage, with intervals, and what they allow to be said.

d'² of independent quanta adds up: of the rays it is proportional to the exposure, as far as the
electronics add nothing. What the dose takes is therefore arithmetic, ``1 - mAs / full mAs``, and no
finding; what the reconstruction and the network take of what reaches them is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

__all__ = ["LITTLE", "Estimate", "Loser", "Losses", "jackknife", "mean_of"]

Loser = Literal["reconstruction", "network", "neither"]

LITTLE = 0.01
"""Share of d'² that reaches a stage below which the stage loses nothing worth the name."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; an exact one has none, and low = value = high."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """A number that was computed, not measured."""
        return cls(float(value), float(value), float(value))

    def mapped(self, slope: float, offset: float = 0.0) -> Estimate:
        """``slope · value + offset``, its interval likewise."""
        ends = sorted((slope * self.low + offset, slope * self.high + offset))
        return Estimate(slope * self.value + offset, *ends)


def _around(value: float, error: float, freedom: int) -> Estimate:
    half = float(student.ppf(0.975, freedom)) * error
    return Estimate(value, value - half, value + half)


def mean_of(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean of independent measurements with Student's interval; a single one has no end.

    Examples
    --------
    >>> from analysis.projection_domain.losses import mean_of
    >>> found = mean_of([1.0, 2.0, 3.0])
    >>> found.value, round(found.low, 2), round(found.high, 2)
    (2.0, -0.48, 4.48)
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return Estimate(float(values[0]), -math.inf, math.inf)
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return _around(float(values.mean()), error, len(values) - 1)


def jackknife(whole: float, without: np.ndarray) -> Estimate:
    """An estimate freed of its bias to first order, with its interval, by leaving parts out.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 10 and 11.

    Parameters
    ----------
    whole : float
        From all measurements.
    without : ndarray, (groups,)
        From all but those of each group; groups are of one size.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.projection_domain.losses import jackknife
    >>> values = np.array([1.0, 2.0, 6.0])  # of a mean: the mean itself, and its standard error
    >>> left_out = np.array([4.0, 3.5, 1.5])
    >>> found = jackknife(values.mean(), left_out)
    >>> round(found.value, 6), round((found.high - found.low) / 2 / 4.302653, 3)  # t, 2 freedoms
    (3.0, 1.528)
    """
    groups = len(without)
    mean = float(without.mean())
    value = groups * float(whole) - (groups - 1) * mean
    error = math.sqrt((groups - 1) / groups * float(np.square(without - mean).sum()))
    return _around(value, error, groups - 1)


@dataclass(frozen=True)
class Losses:
    """What each step took of d'².

    Attributes
    ----------
    dose, reconstruction, network, left : Estimate
        Shares of d'² at full dose; the four add up to 1.
    of_reconstruction, of_network : Estimate
        Shares of the d'² that reaches a step, that it loses.
    arithmetic_dose : float
        ``1 - mAs / full mAs``: what the dose takes if quanta are all the noise.
    """

    dose: Estimate
    reconstruction: Estimate
    network: Estimate
    left: Estimate
    of_reconstruction: Estimate
    of_network: Estimate
    arithmetic_dose: float

    @classmethod
    def between(
        cls,
        full: float,
        rays: float,
        image: float,
        output: Estimate,
        *,
        mas: float,
        full_mas: float,
    ) -> Losses:
        """From d'² in the rays at full dose and at this, in the image, and in the output.

        Examples
        --------
        >>> from analysis.projection_domain.losses import Estimate, Losses
        >>> found = Losses.between(
        ...     100.0, 10.0, 9.0, Estimate(4.5, 3.6, 5.4), mas=10.0, full_mas=100.0
        ... )
        >>> found.of_network, found.dose_is_arithmetic, found.loser
        (Estimate(value=0.5, low=0.4, high=0.6), True, 'network')
        """
        return cls(
            Estimate.exact(1.0 - rays / full),
            Estimate.exact((rays - image) / full),
            output.mapped(-1.0 / full, image / full),
            output.mapped(1.0 / full),
            Estimate.exact(1.0 - image / rays),
            _rounded(output.mapped(-1.0 / image, 1.0)),
            1.0 - mas / full_mas,
        )

    @classmethod
    def over(cls, losses: Sequence[Losses]) -> Losses:
        """Means over slices, with the intervals that slices allow."""
        names = ["dose", "reconstruction", "network", "left", "of_reconstruction", "of_network"]
        means = {name: mean_of([getattr(loss, name).value for loss in losses]) for name in names}
        return cls(**means, arithmetic_dose=losses[0].arithmetic_dose)

    @property
    def dose_is_arithmetic(self) -> bool:
        """Whether the dose took what the quanta alone say, to within a hundredth of d'²."""
        return abs(self.dose.value - self.arithmetic_dose) <= LITTLE

    @property
    def loser(self) -> Loser | None:
        """Which of reconstruction and network lost more of what reached it; None: undecided.

        Only where the intervals do not touch; "neither" where both lose less than a hundredth.
        """
        first, second = self.of_reconstruction, self.of_network
        if first.high < LITTLE and second.high < LITTLE:
            return "neither"
        if second.low > first.high and second.low > 0.0:
            return "network"
        if first.low > second.high and first.low > 0.0:
            return "reconstruction"
        return None


def _rounded(found: Estimate) -> Estimate:
    """Without the rounding of the last digits."""
    return Estimate(round(found.value, 12), round(found.low, 12), round(found.high, 12))
