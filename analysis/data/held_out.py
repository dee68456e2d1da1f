"""Patches that no network was trained on, in the scanner: of random phantoms, or of real slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon import DataError, ImageGrid

from ..numbers import rms, sample_sd
from ..scanner.slice_scanner import SliceScanner, derived_seed
from ..scanner.slices import load_slices, place_patch
from .phantom_pairs import WorkingPoint, phantom_pairs

__all__ = ["HeldOut", "phantom_scanners", "real_scanners", "scan_patches"]

_PATCHES_PER_SLICE = 5
_BODY_HU = -700.0  # mean of a patch that shows enough of the body, as in training
_TRIES = 1000
_FEW = 8  # scans that the noise of a patch is known by


@dataclass(frozen=True)
class HeldOut:
    """Patches that nothing was trained on, scanned several times.

    Attributes
    ----------
    x, y : Tensor, (images, H, W)
        Low-dose and high-dose patches [HU].
    redrawn : Tensor, (images, draws, H, W)
        Further scans of the same patches at the low dose [HU].
    """

    x: Tensor
    y: Tensor
    redrawn: Tensor


def phantom_scanners(
    images: int,
    *,
    seed: int,
    point: WorkingPoint,
    noise_free: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> Iterator[SliceScanner]:
    """Random phantoms at the high dose, patches of them in the scanner, five a slice.

    Parameters
    ----------
    images : int
        Number of patches.
    seed : int
        Of phantoms, places and noise; the networks that ship used "train" and "test" of seed 1.
    point : WorkingPoint
        Doses, grid and patch size.
    noise_free : bool
        Whether the phantoms are reconstructed without noise, in place of the high dose.
    """
    slices = -(-images // _PATCHES_PER_SLICE)
    _, y = phantom_pairs(
        slices, seed=derived_seed(seed, "held out"), point=point, noise_free=noise_free,
        progress=progress,
    )  # fmt: skip
    series = _Slices(
        y.numpy(), point.grid.spacing, [point.slice_thickness_mm] * slices,
        [float("nan") if noise_free else point.high_mas] * slices, point.kvp,
    )  # fmt: skip
    return _scanners(series, images, seed=seed, point=point, device=device)


def real_scanners(
    folder: str | Path, images: int, *, seed: int, point: WorkingPoint, device: str = "cpu"
) -> Iterator[SliceScanner]:
    """Patches at random places of the slices in a folder, as many of each slice.

    Parameters
    ----------
    folder : path
        DICOM files of one series that states its tube voltage.
    images : int
        Number of patches; they are resampled to the networks' pixels.
    seed : int
        Of places and noise.
    point : WorkingPoint
        Pixels and size of a patch.
    """
    found = load_slices(folder)
    if found.kvp is None:
        raise DataError("the files state no tube voltage", where=folder)
    series = _Slices(found.hu, found.spacing, found.thicknesses, found.exposures, found.kvp)
    return _scanners(series, images, seed=seed, point=point, device=device)


def scan_patches(
    scanners: Iterable[SliceScanner],
    mas: float,
    *,
    draws: int = 24,
    least_noise: float = 0.0,
    seed: int,
) -> HeldOut:
    """Scan each patch once, and `draws` times more, at an exposure [mAs].

    Patches with less noise than `least_noise` [HU], the rms over pixels of the standard deviation
    over draws, are passed over.
    """
    x, y, redrawn = [], [], []
    for scanner in scanners:
        scan = scanner.place.of(scanner.low_dose(mas, seed=seed))[0]
        if least_noise:
            few = scanner.redraw(min(draws, _FEW), seed, mas=mas)
            if rms(sample_sd(few)) < least_noise:
                continue
        x.append(scan)
        y.append(scanner.y)
        redrawn.append(scanner.place.of(scanner.redraw(draws, seed, mas=mas)))
    if not x:
        raise DataError(
            "no patch has so much noise", where="least_noise", got=f"{least_noise:g} HU",
            remedy="ask for more patches or for a lower exposure",
        )  # fmt: skip
    return HeldOut(torch.stack(x), torch.stack(y), torch.stack(redrawn))


@dataclass(frozen=True)
class _Slices:
    hu: np.ndarray
    spacing: tuple[float, float]
    thicknesses: Sequence[float] | np.ndarray
    exposures: Sequence[float] | np.ndarray  # NaN for slices without noise [mAs]
    kvp: float


def _scanners(
    series: _Slices, images: int, *, seed: int, point: WorkingPoint, device: str
) -> Iterator[SliceScanner]:
    if images < 1:
        raise DataError("no patches asked for", where="images", expected="at least 1", got=images)
    random = np.random.default_rng(derived_seed(seed, "places"))
    for image in range(images):
        number = image * len(series.hu) // images
        yield SliceScanner(
            series.hu[number],
            series.spacing,
            kvp=series.kvp,
            slice_thickness=float(series.thicknesses[number]),
            patch_grid=_place(series.hu[number], series.spacing, point, random),
            image_mas=own if np.isfinite(own := float(series.exposures[number])) else None,
            seed=seed,
            image=image,
            device=device,
        )


def _place(
    hu: np.ndarray, spacing: tuple[float, float], point: WorkingPoint, random: np.random.Generator
) -> ImageGrid:
    """A random patch that shows the body."""
    extent = point.patch * point.spacing_mm
    half = [int(np.ceil(extent / 2 / step + 0.5)) for step in spacing]
    for _ in range(_TRIES):
        row, col = (int(random.integers(h, n - h)) for h, n in zip(half, hu.shape))
        seen = hu[row - half[0] : row + half[0], col - half[1] : col + half[1]]
        if seen.mean() > _BODY_HU:
            shape, pixel = (point.patch,) * 2, point.grid.spacing
            return place_patch(hu, spacing, shape=shape, to_spacing=pixel, roi=(row, col)).grid
    raise DataError("no patch shows the body", expected=f"a mean above {_BODY_HU} HU")
