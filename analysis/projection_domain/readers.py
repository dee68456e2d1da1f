"""Human-like observers of a difference, and of a lesion: how much shows and what it costs to hide.

They read the images of one exposure before and after f.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..lesions.lesion import Hiding, Lesion, contrast_recovery, hiding_cost
from ..numbers import apply, rms
from ..observers.human import Observed, dense_dog_channels, observe, train_cho, train_npw
from ..observers.ideal import auc
from ..scanner.slice_scanner import derived_seed
from .pair import Pair

__all__ = ["HiddenLesion", "Reading", "exceeds", "hide_lesion", "read_images", "recover_contrast"]

Stage = Literal["image", "output"]


@dataclass(frozen=True)
class Reading:
    """What one observer, "cho" or "npw", sees at one stage."""

    reader: str
    stage: Stage
    seen: Observed


@dataclass(frozen=True)
class HiddenLesion:
    """What it takes to hide the lesion from f, up to τ [HU]."""

    hiding: Hiding
    tolerance_hu: float


def read_images(
    f: Callable[[Tensor], Tensor], pair: Pair, mas: float, draws: int, seed: int
) -> tuple[list[Reading], dict[Stage, tuple[Tensor, Tensor]]]:
    """CHO and NPW in image and output: trained on draws of the same noise, tested on others.

    Returns what they see, and the training images of both anatomies by stage.
    """
    scanner, of_patch = pair.scanner, pair.scanner.place.of
    both = (scanner.y, scanner.y + pair.change[0].to(scanner.y))

    def scans(anatomy: Tensor, purpose: str) -> Tensor:
        return scanner.rescan(anatomy[None], mas, draws=draws, seed=derived_seed(seed, purpose))[0]

    first, second = (scans(anatomy, "observer training") for anatomy in both)
    test = [scans(anatomy, f"observer test {k}") for k, anatomy in enumerate(both)]
    weight = pair.change[0].abs().double()
    rows, cols = (torch.arange(n).double() for n in weight.shape)
    row, col = ((weight.sum(1 - k) * at).sum() / weight.sum() for k, at in enumerate((rows, cols)))
    channels = dense_dog_channels((len(rows), len(cols)), place=(float(row), float(col)))
    trained: dict[Stage, tuple[Tensor, Tensor]] = {
        "image": (of_patch(first), of_patch(second)),
        "output": (apply(f, first), apply(f, second)),
    }
    found = []
    read = {
        "image": [of_patch(images) for images in test],
        "output": [apply(f, images) for images in test],
    }
    for stage, train in trained.items():
        templates = {"cho": train_cho(*train, channels), "npw": train_npw(*train)}
        for reader, template in templates.items():
            found.append(Reading(reader, stage, observe(template, *read[stage], seed=seed)))
    return found, trained


def exceeds(seen: Observed, best: float) -> bool:
    """Whether an observer is above an ideal one of d' ``best``, beyond its 95 % intervals.

    The lower ends of both AUC and d' have to be: where all test images are ranked correctly the
    bootstrap's interval of the AUC is 1 to 1, however few they are.

    Examples
    --------
    >>> from analysis.observers.human import Observed
    >>> from analysis.projection_domain.readers import exceeds
    >>> seen = Observed(d=2.0, d_interval=(1.7, 2.3), auc=0.92, auc_interval=(0.88, 0.95))
    >>> exceeds(seen, 1.0), exceeds(seen, 1.9)
    (True, False)
    """
    return seen.auc_interval[0] > auc(best) and seen.d_interval[0] > best


def recover_contrast(
    pair: Pair, trained: dict[Stage, tuple[Tensor, Tensor]], lesion: Lesion
) -> dict[Stage, float]:
    """How much of the lesion's contrast its core shows, in pairs of the same noise."""
    grid = pair.scanner.patch_grid
    return {stage: contrast_recovery(*images, lesion, grid) for stage, images in trained.items()}


def hide_lesion(f: Callable[[Tensor], Tensor], pair: Pair, x: Tensor, mas: float) -> HiddenLesion:
    """The least surprising change of x that hides nine tenths of the lesion from f."""
    tau = 0.1 * float(rms(apply(f, x + pair.signal[0]) - apply(f, x)))
    noise = pair.covariance.times(mas)
    return HiddenLesion(hiding_cost(f, x, pair.signal[0], noise, tolerance_hu=tau), tau)
