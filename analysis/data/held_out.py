"""Patches that no network was trained on, in the scanner: of random phantoms, or of real slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ctxai import Window
from recon import DataError, ImageGrid

from ..numbers import rms, sample_sd
from ..scanner.slice_scanner import SliceScanner, derived_seed
from ..scanner.slices import load_slices, place_patch
from .phantom_pairs import WorkingPoint, phantom_pairs

__all__ = ["HeldOut", "ScannedPatches", "phantom_scanners", "real_scanners", "scan_patches"]

_PATCHES_PER_SLICE = 5
_BODY_HU = -700.0  # mean of a patch that shows enough of the body, as in training
_TRIES = 1000
_RIM = 16  # pixels around a patch, more than the denoisers that ship look at
_FEW = 8  # scans that the noise of a patch is known by


@dataclass(frozen=True)
class ScannedPatches:
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


@dataclass(frozen=True)
class HeldOut(ScannedPatches):
    """The same, with what surrounds them.

    Attributes
    ----------
    scans : Tensor, (images, rows, cols)
        The low-dose patches with their surroundings [HU].
    place : Window
        The patches in them.
    shares : tuple of float
        Part of the noise's variance that further scans of each vary by.
    finer : Tensor, (images, H, W)
        Noise of the patches besides, that no further scan would vary by [HU].
    """

    scans: Tensor
    place: Window
    shares: tuple[float, ...]
    finer: Tensor

    @classmethod
    def alone(cls, x: Tensor, y: Tensor, redrawn: Tensor) -> HeldOut:
        """Patches with nothing around them."""
        shape = tuple(x.shape[1:])
        place = Window(0, 0, shape, shape)
        return cls(x, y, redrawn, x, place, (1.0,) * len(x), torch.zeros_like(x))


def phantom_scanners(
    images: int,
    *,
    seed: int,
    point: WorkingPoint,
    device: str = "cpu",
    progress: bool = True,
) -> Iterator[SliceScanner]:
    """Random phantoms without noise, patches of them in the scanner, five a slice.

    Parameters
    ----------
    images : int
        Number of patches.
    seed : int
        Of phantoms, places and noise; the networks that ship used "train" and "test" of seed 1.
    point : WorkingPoint
        Doses, grid and patch size.
    """
    slices = -(-images // _PATCHES_PER_SLICE)
    _, y = phantom_pairs(
        slices, seed=derived_seed(seed, "held out"), point=point, noise_free=True,
        progress=progress,
    )  # fmt: skip
    series = _Slices(
        y.numpy(), point.grid.spacing, [point.slice_thickness_mm] * slices,
        [float("nan")] * slices, point.kvp,
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
        Number of patches, on the pixels of the slices.
    seed : int
        Of places and noise.
    point : WorkingPoint
        Its size of a patch is taken.
    """
    found = load_slices(folder)
    if found.kvp is None:
        raise DataError("the files state no tube voltage", where=folder)
    series = _Slices(found.hu, found.spacing, found.thicknesses, found.exposures, found.kvp)
    point = replace(point, spacing_mm=min(found.spacing))
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
    x, y, redrawn, scans, shares, finer, place = [], [], [], [], [], [], None
    for scanner in scanners:
        scan = scanner.low_dose(mas, seed=seed)[0]
        if least_noise:
            few = scanner.place.of(scanner.redraw(min(draws, _FEW), seed, mas=mas))
            if rms(sample_sd(few)) < least_noise:
                continue
        place = scanner.place
        scans.append(scan)
        shares.append(scanner.added_share(mas))
        finer.append(scanner.finer_noise(mas))
        x.append(place.of(scan))
        y.append(scanner.y)
        redrawn.append(place.of(scanner.redraw(draws, seed, mas=mas)))
    if place is None:
        raise DataError(
            "no patch has so much noise", where="least_noise", got=f"{least_noise:g} HU",
            remedy="ask for more patches or for a lower exposure",
        )  # fmt: skip
    return HeldOut(
        torch.stack(x), torch.stack(y), torch.stack(redrawn), torch.stack(scans), place,
        tuple(shares), torch.stack(finer),
    )  # fmt: skip


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
        grid = _place(series.hu[number], series.spacing, point, random)
        yield SliceScanner(
            series.hu[number],
            series.spacing,
            kvp=series.kvp,
            slice_thickness=float(series.thicknesses[number]),
            patch_grid=grid,
            context_grid=_around(grid),
            image_mas=own if np.isfinite(own := float(series.exposures[number])) else None,
            seed=seed,
            image=image,
            device=device,
        )


def _place(
    hu: np.ndarray, spacing: tuple[float, float], point: WorkingPoint, random: np.random.Generator
) -> ImageGrid:
    """A random patch that shows the body."""

    def half(pixels: int) -> list[int]:
        return [int(np.ceil(pixels * point.spacing_mm / 2 / step + 0.5)) for step in spacing]

    (high, wide), room = half(point.patch), half(point.patch + 2 * _RIM)
    for _ in range(_TRIES):
        row, col = (int(random.integers(h, n - h)) for h, n in zip(room, hu.shape))
        if hu[row - high : row + high, col - wide : col + wide].mean() > _BODY_HU:
            shape, pixel = (point.patch,) * 2, point.grid.spacing
            return place_patch(hu, spacing, shape=shape, to_spacing=pixel, roi=(row, col)).grid
    raise DataError("no patch shows the body", expected=f"a mean above {_BODY_HU} HU")


def _around(patch: ImageGrid) -> ImageGrid:
    """The grid of a patch with a rim around it."""
    rows, cols = (side + 2 * _RIM for side in patch.shape)
    return ImageGrid(shape=(rows, cols), spacing=patch.spacing, centre=patch.centre)
