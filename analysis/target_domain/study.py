"""The target domain: sampled anatomies ȳ, scanned again and denoised again, x' = f(R⁻¹𝒫Rȳ).

A sampler trained on targets, flow matching or VAE_y with a cINN, proposes high-dose anatomies ȳ
that should give the same output as x. Whether they do is decided by the scanner: each is put into
the slice, scanned at the exposure of x with several draws of the noise, and denoised. Its distance
to f(x) is judged beside that of the true anatomy, scanned as often. A y that is a real image has
the noise of its dose; y and ȳ then get the noise that it lacks.

Two questions are asked of each ȳ: could f(x) have come from it (:mod:`.compatibility`), and could
a reader of f's output tell it from y by new scans (:mod:`.telling`). The same ȳ can be scanned at
other exposures than that of the scan they were drawn for: there the scanner may tell them from y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ctxai import REDRAWS, InPlace, Model, PlacedModel
from recon import DataError

from ..fidelity.calibration import coverage_error, miss_and_error
from ..fidelity.verdict import TargetNumbers, Verdict, judge_targets
from ..lesions.lesion import match_lesions
from ..numbers import Spread, apply, coverage, rms, sample_sd
from ..projection_domain.pair import ray_detectability
from ..projection_domain.stairs import Stairs, climb_down
from ..projection_domain.yardstick import Yardstick, measure_yardstick
from ..runs.scanned import Scanned
from ..scanner.slice_scanner import SliceScanner, derived_seed, seam_weight
from .compatibility import (
    NULL_DRAWS,
    POWER_SCANS,
    Compatibility,
    NullOutputs,
    compatibility,
    power_lesion,
)
from .kalman import ENSEMBLE, KalmanUpdate
from .semantic import NullScans, SemanticMap, noise_scale, place_samples
from .telling import LesionPower, Telling, known_differences, tell

__all__ = ["TargetResult", "sample_targets", "target_domain_study"]

_BLOCK = 16  # anatomies that are drawn together


@dataclass(frozen=True)
class TargetResult:
    """One scan, anatomies sampled for its output, and what they give when they are scanned."""

    scanned: Scanned
    sampler: str
    layer: str
    sampled_at_mas: float  # exposure of the scan for whose output the ȳ were drawn
    ybar: Tensor  # (n, H, W) [HU]
    rescanned: Tensor  # the first draw of R⁻¹𝒫Rȳ, (n, H, W) [HU]
    xprime: Tensor  # (n, draws, H, W) [HU]
    distance: Tensor  # ‖x' - f(x)‖, (n, draws) [HU]
    null_distance: Tensor  # the same of the true y, (null_groups, draws) [HU]
    likeness: Tensor  # correlation of ȳ - y with a lesion, (n,)
    numbers: TargetNumbers
    verdict: Verdict
    compatibility: Compatibility  # could f(x) have come from ȳ?
    telling: Telling  # could a reader of f's output tell ȳ from y?
    lesion: LesionPower  # how often a lesion of 20 HU is noticed: by which both are judged
    yardstick: Yardstick  # d' in the rays, and what it is held against
    stairs: Stairs | None  # d' of the first ȳ that is shown at every stage; None without a Jacobian
    meaning: SemanticMap  # of the first scan of each ȳ: which alter anatomy, and along what
    facts: dict[str, Any]  # for run.json: seed, weights


def sample_targets(model: Model, scanner: SliceScanner, *, mas: float, n: int, seed: int) -> Tensor:
    """Anatomies ȳ (n, H, W) [HU] for the output of the scan of y at an exposure [mAs].

    Each is drawn, scanned once, and moved by what that scan's output misses of f(x)
    (:mod:`analysis.target_domain.kalman`): ``ȳ + C_yf C_ff⁻¹ (f(x) - f(R⁻¹𝒫Rȳ))``. They pass into
    y along the patch's border, where there is a slice around it. Number k is the same for every n
    above it, to the last bit: they are made in whole blocks of 16, for sums of other blocks would
    be rounded in another way, and a scan counts quanta by what it is given.

    Parameters
    ----------
    model : InvarianceModel or FlowModel
        A sampler of domain "y".
    scanner : SliceScanner
        The slice with y in its patch, of the model's shape.
    mas : float
        Exposure of the scan, and of those of the anatomies [mAs].
    n : int
    seed : int
        Seed of the scan of y (that of `SliceScanner.low_dose`), of the samples and their scans.

    Returns
    -------
    Tensor, (n, H, W)
        [HU].

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import SliceScanner, sample_targets
    >>> from ctxai import SHIPPED
    >>> from recon import ImageGrid, flash_axial
    >>> water = np.where(np.hypot(*np.mgrid[-64:64, -64:64]) < 56, 0.0, -1000.0)
    >>> grid = ImageGrid(shape=(32, 32), spacing=(1.0, 1.0))
    >>> scanner = SliceScanner(water, (2.0, 2.0), kvp=120.0, slice_thickness=1.5,
    ...                        patch_grid=grid, seed=1, geometry=flash_axial(views=144))
    >>> model = SHIPPED.load_model("chen", "output", "y", shape=(32, 32))
    >>> ybar = sample_targets(model, scanner, mas=100.0, n=4, seed=1)
    >>> ybar.shape, bool(ybar.mean().abs() < 10.0)
    (torch.Size([4, 32, 32]), True)
    """
    x = scanner.low_dose(mas, seed=seed)[0]
    place = InPlace(model.wiretap.f, scanner.place, x)
    again = scanner.place.of(scanner.redraw(REDRAWS, seed, mas=mas))
    told = model.told_of(again, scanner.added_share(mas), scanner.finer_noise(mas))
    weight = seam_weight(scanner)

    def drawn(count: int, purpose: str, draws: int) -> tuple[Tensor, Tensor]:
        """Anatomies, and the outputs of scans of each, (count, draws, H, W)."""
        own = derived_seed(seed, purpose) if purpose else seed
        v = torch.randn(count, model.latent, generator=torch.Generator().manual_seed(own))
        placed = PlacedModel(told, place, weight)
        images = torch.cat([placed.propose(some)[:, 0] for some in v.to(scanner.y).split(_BLOCK)])
        ybar = scanner.y + weight * (images - scanner.y)
        own = derived_seed(seed, f"update {purpose}")
        scans = scanner.rescan(ybar, mas, draws=draws, seed=own)
        return ybar, apply(place, scans.flatten(0, 1)).unflatten(0, scans.shape[:2])

    with torch.no_grad():
        update = KalmanUpdate.of(*drawn(ENSEMBLE, "ensemble", 2))
        ybar, outputs = drawn(-(-n // _BLOCK) * _BLOCK, "", 1)
        return (ybar + weight * update.of_outputs(apply(place, x) - outputs[:, 0]))[:n]


def target_domain_study(
    model: Model,
    scanner: SliceScanner,
    *,
    denoiser: str,
    mas: float,
    sampled_at: float | None = None,
    n: int = 250,
    draws: int = 8,
    null_groups: int = 24,
    differentiable: bool = False,
    seed: int,
    progress: bool = True,
) -> TargetResult:
    """Sample ȳ for the output of one scan, and send each through the scanner and f again.

    Parameters
    ----------
    model : InvarianceModel or FlowModel
        A sampler of domain "y": its samples are high-dose anatomies [HU].
    scanner : SliceScanner
        The slice, with the patch that x and ȳ lie on.
    denoiser : str
        Name of f.
    mas : float
        Exposure [mAs] of x and of the scans of ȳ.
    sampled_at : float, optional
        Exposure [mAs] of the scan of y for whose output the ȳ are drawn; ``mas`` by default.
    n : int
        Number of ȳ.
    draws : int
        Noise draws for each ȳ; its distance to f(x) is their mean.
    null_groups : int
        How often the true anatomy is scanned with as many draws, for comparison.
    differentiable : bool
        Whether f has a Jacobian: it is asked what it sees of directions of meaning, and what is
        left of the difference of the ȳ that is shown first. Which ȳ alter anatomy is looked for in
        any case.
    seed : int
        Seed of x, of the samples and of all noise.
    progress : bool
        Bars on stderr.

    Returns
    -------
    TargetResult
        Arrays and numbers; `analysis.study_of` writes them down.

    Raises
    ------
    DataError
        If a count is less than 1 or the model samples low-dose images.
    """
    for name, count in (("n", n), ("draws", draws), ("null_groups", null_groups)):
        if count < 1:
            raise DataError("too few", where=name, expected="at least 1", got=count)
    if model.domain != "y":
        raise DataError("not a model of targets", expected="domain 'y'", got=repr(model.domain))
    scanned = Scanned.of(scanner, model.wiretap.f, denoiser=denoiser, mas=mas, seed=seed)
    sampled_at = mas if sampled_at is None else float(sampled_at)
    ybar = sample_targets(model, scanner, mas=sampled_at, n=n, seed=seed)
    lesion = (scanner.y + power_lesion(scanner.patch_grid).on(scanner.patch_grid).to(scanner.y))[
        None
    ]
    rescanned, with_lesion, again = _scan(
        scanner, scanned, ybar, lesion, draws=draws, null_groups=null_groups, seed=seed,
        progress=progress,
    )  # fmt: skip
    xprime, null_outputs, lesion_outputs = (
        apply(scanned.f, images) for images in (rescanned, again, with_lesion)
    )
    distance = rms(xprime - scanned.fx)
    signals = scanner.signals(torch.cat([lesion, ybar]))
    meaning = place_samples(
        scanned.f, scanner, rescanned[:, 0],
        _null_scans(scanner, with_lesion - signals[0], again, null_outputs, model, mas),
        outputs=xprime[:, 0],
        lesion=power_lesion(scanner.patch_grid) if differentiable else None,
    )  # fmt: skip
    null = rms(null_outputs[: null_groups * draws] - scanned.fx).reshape(null_groups, draws)
    by_group = Spread.of(null.mean(1))
    null_outputs = null_outputs[:NULL_DRAWS]
    found = compatibility(
        NullOutputs(scanned.fx, null_outputs, seed=seed),
        xprime=xprime, ybar=ybar, y=scanned.y, with_lesion=lesion_outputs,
    )  # fmt: skip
    differences = known_differences(scanned.f, again, signals)
    known = tell(null_outputs, differences[:1], lesion_outputs[None])
    rays_d = float(ray_detectability(scanner, lesion, mas)[0])
    rays_d /= math.sqrt(scanner.added_share(mas))
    power = LesionPower.of(known, rays_d, found.power)
    yardstick = measure_yardstick(scanner, ybar, mas, seed=seed)
    stairs = None
    if differentiable:
        shown = (found.most_different or [0])[0]
        stairs = climb_down(
            scanned.f, scanner, scanned.f.surroundings, ybar, shown, mas=mas,
            full_mas=max(mas, yardstick.high_mas),
        )  # fmt: skip
    like_y = _as_y_is(scanner, ybar, model, mas, seed=seed)
    missed, missed_error = miss_and_error(like_y, scanned.y)
    numbers = TargetNumbers(
        Spread.of(distance.mean(1)),
        by_group,
        inside=float((distance.mean(1) <= by_group.high).double().mean()),
        sd_hu=float(rms(sample_sd(ybar))),
        covered=coverage(like_y, scanned.y),
        n=n,
        covered_error=coverage_error(like_y),
        bias_hu=float(rms(like_y.mean(0) - scanned.y)),
        missed=missed,
        missed_error=missed_error,
        compatible=found.share,
        level=found.level,
        blind=found.power,
        null_scans=found.null_draws,
    )
    return TargetResult(
        scanned,
        sampler=model.sampler,
        layer=model.wiretap.layer,
        sampled_at_mas=sampled_at,
        ybar=ybar,
        rescanned=scanner.place.of(rescanned[:, 0]),
        xprime=xprime,
        distance=distance,
        null_distance=null,
        likeness=match_lesions(ybar, scanned.y, scanner.patch_grid)[0],
        numbers=numbers,
        verdict=judge_targets(numbers),
        compatibility=found,
        telling=tell(null_outputs, differences[1:], xprime),
        lesion=power,
        yardstick=yardstick,
        stairs=stairs,
        meaning=meaning,
        facts={"seed": seed, "weights": dict(model.facts)},
    )


def _null_scans(
    scanner: SliceScanner, others: Tensor, again: Tensor, outputs: Tensor, model: Model, mas: float
) -> NullScans:
    """Scans of y as chance, and other scans of it, without their lesion, as its truth and noise."""
    truth = others.mean(0)
    taught = scanner.place.of(others - truth)
    scale = noise_scale(scanner, mas, noise_free=bool(model.facts.get("noise_free")))
    return NullScans(truth, taught, again, outputs, scale)


def _as_y_is(scanner: SliceScanner, ybar: Tensor, model: Model, mas: float, *, seed: int) -> Tensor:
    """The ȳ as y would be among them: with what y has of its own, if they have it not.

    A y with noise cannot lie among anatomies without any: they get noise of y's exposure, and what
    stays of y in all their scans.
    """
    if scanner.image_mas is None or not model.facts.get("noise_free"):
        return ybar
    seed = derived_seed(seed, "noise of y")
    scans = scanner.place.of(scanner.low_dose(scanner.image_mas, draws=len(ybar), seed=seed))
    own = scans - scanner.place.of(scanner.without_noise()) + scanner.stays(mas)
    return ybar + seam_weight(scanner) * own


def _scan(
    scanner: SliceScanner,
    scanned: Scanned,
    ybar: Tensor,
    lesion: Tensor,
    *,
    draws: int,
    null_groups: int,
    seed: int,
    progress: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scan every ȳ, y with a lesion, and the true y again, with fresh noise."""
    mas = scanned.mas

    def label(what: str) -> str | None:
        return f"{scanned.denoiser}: scanning {what} at {mas:g} mAs" if progress else None

    rescanned, with_lesion = (
        scanner.rescan(
            images, mas, draws=count, seed=derived_seed(seed, purpose), progress=label(what)
        )
        for images, count, purpose, what in (
            (ybar, draws, "rescan", f"{len(ybar)} ȳ"),
            (lesion.expand(POWER_SCANS, -1, -1), 1, "lesion", "y with a lesion"),
        )
    )
    null_draws, null_seed = max(NULL_DRAWS, null_groups * draws), derived_seed(seed, "null")
    again = scanner.low_dose(mas, draws=null_draws, seed=null_seed, progress=label("y again"))
    return rescanned, with_lesion[:, 0], again
