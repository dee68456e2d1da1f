"""What a repair achieves on held-out patches: lesions recovered, error and d', beside the control.

A lesion is added to the low-dose patch x, with the same noise as without it. Patches of one slice
share their anatomy, so every standard error is over the means of slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ctxai import blindness

from ..lesions.lesion import contrast_recovery, site_lesion
from ..lesions.sites import SitePatches, middle, square_grid
from ..numbers import apply
from ..observers.human import Observed, dense_dog_channels, observe, train_cho, train_npw
from .pairs import KeptPairs

__all__ = ["CONTRAST", "LESIONS", "RADII", "Measured", "measure", "rows", "share_of", "spread"]

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


def measure(
    f: Callable[[Tensor], Tensor],
    patches: SitePatches,
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
        shown = apply(f, x + lesion.on(grid))
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
        observed=_observers(f, middle(patches.redrawn, side), spacing, seed),
        hidden=float(blindness(apply(f, samples.b) - apply(f, samples.a), samples.b - samples.a)),
    )


def _observers(
    f: Callable[[Tensor], Tensor], x: Tensor, spacing: float, seed: int
) -> dict[tuple[str, float], Observed]:
    """d' of both observers from scans (images, draws, H, W)."""
    draws, looked_at = x.shape[1], min(_LOOKED_AT, x.shape[-1])
    grid = square_grid(x, spacing)
    plain = apply(f, x)
    noise = middle(plain - plain.mean(1, keepdim=True), looked_at) * math.sqrt(draws / (draws - 1))
    train, absent, present = noise.tensor_split(3, dim=1)
    channels = dense_dog_channels((looked_at, looked_at), place=(looked_at // 2, looked_at // 2))
    found = {}
    for radius in RADII:
        lesion = site_lesion(contrast=CONTRAST, radius=radius, grid=grid).on(grid)
        signal = middle(apply(f, x + lesion) - plain, looked_at)
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


def rows(denoiser: str, measured: Mapping[str, Measured], slice_of: Tensor) -> list[dict[str, Any]]:
    """Rows of repair.csv: one quantity of one network, beside the same of the control.

    Parameters
    ----------
    denoiser : str
    measured : mapping of str to Measured
        The numbers of each network by its name, "control" among them.
    slice_of : Tensor, (n,)
        The slice of each patch.

    Returns
    -------
    list of dict
        ``value`` with its standard error, d' with its 95 % interval instead; ``against_control``
        is the change in per cent, with its standard error.
    """
    table = []
    for network, found in measured.items():
        cells = _cells(found, measured["control"], slice_of)
        for quantity, numbers in cells.items():
            texts = {name: f"{number:.5g}" for name, number in numbers.items()}
            row = {"denoiser": denoiser, "network": network, "quantity": quantity}
            table.append(row | dict.fromkeys(_COLUMNS, "") | texts)
    return table


_COLUMNS = (
    "value", "standard_error", "low", "high", "against_control", "against_control_error",
)  # fmt: skip


def _cells(found: Measured, control: Measured, slice_of: Tensor) -> dict[str, dict[str, float]]:
    """The numbers of each quantity of one network."""
    cells: dict[str, dict[str, float]] = {}
    for where, ours, theirs in (
        ("rmse_hu", found.error, control.error),
        ("rmse_anywhere_hu", found.error_anywhere, control.error_anywhere),
    ):
        (square, error), (ratio, off) = spread(ours, slice_of), share_of(ours, theirs, slice_of)
        root, change = math.sqrt(square), math.sqrt(ratio)
        numbers = (root, error / (2 * root), 100 * (change - 1), 100 * off / (2 * change))
        cells[where] = dict(zip(_PAIRED, numbers))
    for (radius, contrast), values in found.recovery.items():
        ratio, off = share_of(values, control.recovery[radius, contrast], slice_of)
        numbers = (*spread(values, slice_of), 100 * (ratio - 1), 100 * off)
        cells[f"recovery, r {radius:g} px, {contrast:+g} HU"] = dict(zip(_PAIRED, numbers))
    for (observer, radius), seen in found.observed.items():
        low, high = seen.d_interval
        cells[f"d' {observer}, r {radius:g} px"] = {"value": seen.d, "low": low, "high": high}
    cells["sampled lesion-like differences, share hidden"] = {"value": found.hidden}
    return cells


_PAIRED = ("value", "standard_error", "against_control", "against_control_error")
