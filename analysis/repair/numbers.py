"""What a repair achieves on held-out patches: lesions recovered, error and d', beside the control.

A lesion is added to the low-dose patch x as a scan shows it there, with the same noise as without
it. Patches of one slice share their anatomy, so every standard error is over the means of slices; a
network that was finetuned from several seeds is the mean of them, and their scatter is in its
error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ctxai import blindness

from ..lesions.lesion import contrast_recovery, site_lesion
from ..lesions.sites import SitePatches, middle, scanned_lesion, square_grid
from ..numbers import apply
from ..observers.human import Observed, dense_dog_channels, observe, train_cho, train_npw
from .pairs import KeptPairs

__all__ = [
    "CONTRAST", "LESIONS", "RADII", "Measured", "against", "mean_and_error", "measure", "rows",
    "share_of", "shown_lesions", "spread",
]  # fmt: skip

CONTRAST = 20.0
"""Contrast of the lesions that observers look for [HU]."""

RADII = (1.5, 3.0, 5.0)
"""Radii of the lesions that observers look for [pixels]."""

LESIONS = (
    *((radius, CONTRAST) for radius in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)),
    *((radius, contrast) for radius in RADII for contrast in (-CONTRAST, 200.0)),
)
"""Radius [pixels] and contrast [HU]; nothing is finetuned on 200 HU, or on 4 and 5 pixels."""

_SEEN = 48  # of a patch that the network is given with lesions [pixels]
_LOOKED_AT = 32  # by observers, clear of the border of what the network was given [pixels]


@dataclass(frozen=True)
class Measured:
    """Numbers of one network, one for each patch.

    Attributes
    ----------
    error, error_anywhere : Tensor, (n,)
        Mean square of f(x) - y, around the sites and anywhere in the body [HU²].
    recovery : dict
        (radius, contrast) → share of the contrast that each patch shows, (n,).
    observed : dict
        (observer, radius) → d' of a lesion of 20 HU on a known background.
    hidden : float
        Share of held-out sampled lesion-like differences that does not show.
    """

    error: Tensor
    error_anywhere: Tensor
    recovery: dict[tuple[float, float], Tensor]
    observed: dict[tuple[str, float], Observed]
    hidden: float


def shown_lesions(patches: SitePatches, *, window: str) -> dict[float, Tensor]:
    """What scans show of a lesion of 1 HU at each site, R⁻¹R: radius → (n, H, W) [HU]."""
    return {
        radius: torch.stack([scanned_lesion(radius, at, window=window) for at in patches.grids])
        for radius in dict.fromkeys(radius for radius, _ in LESIONS)
    }


def measure(
    f: Callable[[Tensor], Tensor],
    patches: SitePatches,
    lesions: Mapping[float, Tensor],
    samples: KeptPairs,
    *,
    spacing: float,
    seed: int,
) -> Measured:
    """Measure one network on held-out patches.

    Of the further scans of each patch the first third trains the observers, the second shows no
    lesion, the last shows one. The background is known to the observers: the mean output over the
    scans, without lesion, is taken off, and √(K/(K-1)) makes up for the noise that goes with it.

    Parameters
    ----------
    f : callable
        Denoiser, HU to HU on (B, 1, H, W); the identity measures x itself.
    patches : SitePatches
    lesions : mapping
        What shows of a lesion of 1 HU at each site: radius → (n, H, W) [HU].
    samples : KeptPairs
        Held-out sampled differences that look like lesions.
    spacing : float
        Pixel size [mm].
    seed : int
        Seed of the bootstrap.
    """
    side = min(_SEEN, patches.x.shape[-1])
    x = middle(patches.x, side)
    grid = square_grid(x, spacing)
    without = apply(f, x)
    recovery = {}
    for radius, contrast in LESIONS:
        lesion = site_lesion(contrast=contrast, radius=radius, grid=grid)
        shown = apply(f, x + contrast * middle(lesions[radius], side))
        each = [contrast_recovery(a, b, lesion, grid) for a, b in zip(without, shown)]
        recovery[radius, contrast] = torch.tensor(each)
    error, error_anywhere = (
        (apply(f, low) - high).double().square().mean((1, 2))
        for low, high in ((patches.x, patches.y), (patches.x_anywhere, patches.y_anywhere))
    )
    return Measured(
        error=error,
        error_anywhere=error_anywhere,
        recovery=recovery,
        observed=_observers(f, middle(patches.redrawn, side), lesions, seed),
        hidden=float(blindness(apply(f, samples.b) - apply(f, samples.a), samples.b - samples.a)),
    )


def _observers(
    f: Callable[[Tensor], Tensor], x: Tensor, lesions: Mapping[float, Tensor], seed: int
) -> dict[tuple[str, float], Observed]:
    """d' of both observers from scans (images, draws, H, W)."""
    draws, looked_at = x.shape[1], min(_LOOKED_AT, x.shape[-1])
    plain = apply(f, x)
    noise = middle(plain - plain.mean(1, keepdim=True), looked_at) * math.sqrt(draws / (draws - 1))
    train, absent, present = noise.tensor_split(3, dim=1)
    channels = dense_dog_channels((looked_at, looked_at), place=(looked_at // 2, looked_at // 2))
    found = {}
    for radius in RADII:
        lesion = CONTRAST * middle(lesions[radius], x.shape[-1])
        signal = middle(apply(f, x + lesion[:, None]) - plain, looked_at)
        shown, _, tested = signal.tensor_split(3, dim=1)
        pair = train.flatten(0, 1), (train + shown).flatten(0, 1)
        templates = {"CHO": train_cho(*pair, channels), "NPW": train_npw(*pair)}
        for name, template in templates.items():
            test = absent.flatten(0, 1), (present + tested).flatten(0, 1)
            found[name, radius] = observe(template, *test, seed=seed)
    return found


def spread(values: Tensor, slice_of: Tensor) -> tuple[float, float]:
    """Mean over patches, and its standard error from the means of slices.

    Examples
    --------
    >>> import torch
    >>> from analysis.repair.numbers import spread
    >>> spread(torch.tensor([1.0, 3.0, 5.0, 7.0]), torch.tensor([0, 0, 1, 1]))
    (4.0, 2.0)
    """
    means = torch.stack([values[slice_of == k].double().mean() for k in slice_of.unique()])
    return float(values.double().mean()), float(means.std() / math.sqrt(len(means)))


def share_of(values: Tensor, control: Tensor, slice_of: Tensor) -> tuple[float, float]:
    """Ratio of the means of paired values, and its standard error (of the residuals a - r c).

    Examples
    --------
    >>> import torch
    >>> from analysis.repair.numbers import share_of
    >>> control = torch.tensor([1.0, 2.0, 3.0])
    >>> share_of(1.5 * control, control, torch.arange(3))
    (1.5, 0.0)
    """
    mean = control.double().mean()
    ratio = float(values.double().mean() / mean)
    _, error = spread(values.double() - ratio * control.double(), slice_of)
    return ratio, error / float(mean)


def mean_and_error(each: Sequence[Tensor], slice_of: Tensor) -> tuple[float, float]:
    """Mean over patches and seeds, and its standard error from the means of slices and of seeds."""
    mean, error = spread(torch.stack(list(each)).mean(0), slice_of)
    return mean, math.hypot(error, _of_seeds([float(values.double().mean()) for values in each]))


def against(
    each: Sequence[Tensor], others: Sequence[Tensor], slice_of: Tensor
) -> tuple[float, float]:
    """Ratio of the means of paired values over seeds, and its standard error.

    Examples
    --------
    >>> import torch
    >>> from analysis.repair.numbers import against
    >>> other, slices = torch.tensor([1.0, 2.0, 3.0]), torch.arange(3)
    >>> ratio, error = against([1.4 * other, 1.6 * other], [other], slices)  # two seeds
    >>> round(ratio, 6), round(error, 6)
    (1.5, 0.1)
    """
    pairs = list(zip(each, [*others] if len(others) == len(each) else [*others] * len(each)))
    ours, theirs = (torch.stack(list(side)).mean(0) for side in zip(*pairs, strict=True))
    ratio, error = share_of(ours, theirs, slice_of)
    return ratio, math.hypot(error, _of_seeds([share_of(*pair, slice_of)[0] for pair in pairs]))


def _of_seeds(values: Sequence[float]) -> float:
    """Standard error of a mean over seeds; 0 of one alone."""
    if len(values) < 2:
        return 0.0
    return float(torch.tensor(values, dtype=torch.float64).std()) / math.sqrt(len(values))


def rows(
    denoiser: str, measured: Mapping[str, Sequence[Measured]], slice_of: Tensor
) -> list[dict[str, Any]]:
    """Rows of repair.csv: one quantity of one network, beside the same of others.

    Parameters
    ----------
    denoiser : str
    measured : mapping of str to sequence of Measured
        The numbers of each network by its name, one for each seed; "before", the network as it
        was, and "control" among them.
    slice_of : Tensor, (n,)
        The slice of each patch.

    Returns
    -------
    list of dict
        ``value`` with its standard error, d' with its 95 % interval instead, the widest of the
        seeds; ``against_control`` and ``against_before`` are changes in per cent, with their
        standard errors.
    """
    table = []
    for network, found in measured.items():
        cells = _cells(found, measured["control"], measured["before"], slice_of)
        for quantity, numbers in cells.items():
            texts = {name: f"{number:.5g}" for name, number in numbers.items()}
            row = {"denoiser": denoiser, "network": network, "quantity": quantity}
            table.append(row | dict.fromkeys(_COLUMNS, "") | texts)
    return table


_PAIRED = (
    "value", "standard_error", "against_control", "against_control_error", "against_before",
    "against_before_error",
)  # fmt: skip
_COLUMNS = ("value", "standard_error", "low", "high", *_PAIRED[2:])


def _cells(
    found: Sequence[Measured],
    control: Sequence[Measured],
    before: Sequence[Measured],
    slice_of: Tensor,
) -> dict[str, dict[str, float]]:
    """The numbers of each quantity of one network."""
    cells: dict[str, dict[str, float]] = {}
    for quantity, of in (
        ("rmse_hu", lambda seed: seed.error),
        ("rmse_anywhere_hu", lambda seed: seed.error_anywhere),
    ):
        ours, *others = (list(map(of, seeds)) for seeds in (found, control, before))
        square, error = mean_and_error(ours, slice_of)
        root, numbers = math.sqrt(square), []
        for other in others:
            ratio, off = against(ours, other, slice_of)
            numbers += [100 * (math.sqrt(ratio) - 1), 100 * off / (2 * math.sqrt(ratio))]
        cells[quantity] = dict(zip(_PAIRED, (root, error / (2 * root), *numbers)))
    compared = found, control, before
    for radius, contrast in found[0].recovery:
        ours, *others = ([seed.recovery[radius, contrast] for seed in seeds] for seeds in compared)
        numbers = []
        for other in others:
            ratio, off = against(ours, other, slice_of)
            numbers += [100 * (ratio - 1), 100 * off]
        name = f"recovery, r {radius:g} px, {contrast:+g} HU"
        cells[name] = dict(zip(_PAIRED, (*mean_and_error(ours, slice_of), *numbers)))
    for observer, radius in found[0].observed:
        seen = [seed.observed[observer, radius] for seed in found]
        cells[f"d' {observer}, r {radius:g} px"] = {
            "value": sum(one.d for one in seen) / len(seen),
            "low": min(one.d_interval[0] for one in seen),
            "high": max(one.d_interval[1] for one in seen),
        }
    hidden = [seed.hidden for seed in found]
    cells["sampled lesion-like differences, share hidden"] = {
        "value": sum(hidden) / len(hidden), "standard_error": _of_seeds(hidden),
    }  # fmt: skip
    return cells
