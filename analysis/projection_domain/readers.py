"""Human-like observers of a difference, and of a lesion: how much shows and what it costs to hide.

They read the images of one exposure before and after f, and add what they find to its study.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..lesions.lesion import FINE_HU, Lesion, contrast_recovery, hiding_cost
from ..numbers import apply, rms
from ..observers.human import Observed, dense_dog_channels, observe, train_cho, train_npw
from ..observers.ideal import auc
from ..runs.store import Study
from ..scanner.slice_scanner import derived_seed
from .pair import Pair

__all__ = ["exceeds", "hide_lesion", "read_images", "recover_contrast"]


def read_images(
    study: Study,
    f: Callable[[Tensor], Tensor],
    pair: Pair,
    mas: float,
    draws: int,
    seed: int,
    *,
    other: str,
    best: float,
) -> dict[str, list[Tensor]]:
    """CHO and NPW in image and output: trained on draws of the same noise, tested on others.

    ``facts["human_below_ideal"]`` says whether none of them is above the ideal observer of the
    rays, whose d' is ``best``. Returns the training images of both anatomies by stage.
    """
    scanner = pair.scanner
    both = (scanner.y, scanner.y + pair.change[0].to(scanner.y))

    def scans(anatomy: Tensor, purpose: str) -> Tensor:
        return scanner.rescan(anatomy[None], mas, draws=draws, seed=derived_seed(seed, purpose))[0]

    train = [scans(anatomy, "observer training") for anatomy in both]
    test = [scans(anatomy, f"observer test {k}") for k, anatomy in enumerate(both)]
    weight = pair.change[0].abs().double()
    rows, cols = (torch.arange(n).double() for n in weight.shape)
    row, col = ((weight.sum(1 - k) * at).sum() / weight.sum() for k, at in enumerate((rows, cols)))
    channels = dense_dog_channels((len(rows), len(cols)), place=(float(row), float(col)))
    trained, above = {}, False
    for layer, stage in (("input", "image"), ("output", "output")):
        if layer == "output":
            train, test = ([apply(f, images) for images in part] for part in (train, test))
        trained[stage] = train
        templates = {"CHO": train_cho(train[0], train[1], channels), "NPW": train_npw(*train)}
        for name, template in templates.items():
            seen = observe(template, *test, seed=seed)
            above |= exceeds(seen, best)
            _say(study, name, seen, layer, stage, other, best, draws)
    study.facts["human_below_ideal"] = not above
    return trained


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
    study: Study, pair: Pair, trained: dict[str, list[Tensor]], lesion: Lesion, *, other: str
) -> None:
    """How much of the lesion's contrast its core shows, in pairs of the same noise."""
    grid = pair.scanner.patch_grid
    for layer, stage in (("input", "image"), ("output", "output")):
        pairs = trained[stage][0], trained[stage][1]
        study.add(
            f"contrast recovery: {stage}", contrast_recovery(*pairs, lesion, grid), "1",
            layer=layer, sampler=other, should_be="1",
            meaning=f"mean over the lesion's core and over {len(trained[stage][0])} noise draws",
        )  # fmt: skip


def hide_lesion(
    study: Study, f: Callable[[Tensor], Tensor], pair: Pair, x: Tensor, *, other: str
) -> None:
    """The least surprising change of x that hides nine tenths of the lesion from f."""
    tau = 0.1 * float(rms(apply(f, x + pair.signal[0]) - apply(f, x)))
    hiding = hiding_cost(f, x, pair.signal[0], pair.covariance.times(study.mas), tolerance_hu=tau)
    study.add(
        "d' of the lesion to be hidden", hiding.lesion, "1", layer="input", sampler=other,
        should_be="at most the d' of the rays",
        meaning="√(lᵀΣ⁻¹l) with l = R⁻¹R(ȳ - y), what it costs to remove the lesion from x; ideal "
        f"observer, τ = {FINE_HU:g} HU",
    )  # fmt: skip
    study.add(
        "cost of hiding", hiding.cost, "1", sampler=other,
        should_be=f"near the lesion's own d' of {hiding.lesion:.3g}; less is an easy way to hide",
        meaning="√(δᵀΣ⁻¹δ) of the least surprising δ with ‖f(x + l + δ) - f(x)‖ ≤ τ = "
        f"{tau:.3g} HU, a tenth of that without δ"
        + ("" if hiding.hidden else f"; reached {hiding.left:.2g} HU only"),
    )  # fmt: skip
    study.arrays["hiding"] = hiding.change.cpu().numpy()
    study.facts["hidden"] = hiding.hidden


def _say(
    study: Study,
    name: str,
    seen: Observed,
    layer: str,
    stage: str,
    other: str,
    best: float,
    draws: int,
) -> None:
    note = f"human-like observer, may rise; {draws} training and {draws} test draws of each anatomy"
    for what, value, (low, high), limit in (
        ("d'", seen.d, seen.d_interval, best),
        ("AUC", seen.auc, seen.auc_interval, auc(best)),
    ):
        study.add(
            f"{what} of {name}: {stage}", value, "1", layer=layer, sampler=other,
            should_be=f"at most {limit:.3g}, the ideal observer's of the rays",
            meaning=f"95 % interval {low:.3g} to {high:.3g}; {note}",
        )  # fmt: skip
