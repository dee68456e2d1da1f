"""Pairs of low-dose and high-dose images from folders, parted by patient and never by slice.

Two layouts are known, each with a folder for every patient:

    ROOT/PATIENT/…/… Full Dose Images …/*.dcm       as in LDCT-and-Projection-data
    ROOT/PATIENT/…/… Low Dose Images …/*.dcm

    ROOT/PATIENT/mas-010/*.dcm                      as `ctxai simulate SCAN --out ROOT/PATIENT`
    ROOT/PATIENT/mas-100/*.dcm                      leaves it

Neighbouring slices of a patient are nearly the same image: with some of them in training and some
held out, a network would be tested on what it was taught.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ctxai import PatchPairs
from recon import DataError

from ..scanner.slices import load_slices, resample

__all__ = ["FolderPairs", "folder_pairs"]

_HELD_OUT = 0.2  # of the patients, at least one
_SAME_PLACE = 0.01  # mm
_DOSES = {"low": re.compile("low ?dose ?images?"), "high": re.compile("(full|high) ?dose ?images?")}
_SIMULATED = re.compile(r"mas-0*(\d+(?:\.\d+)?)")
_LAYOUTS = (
    "ROOT/PATIENT/… with a series in a folder named 'Full Dose Images' and one in 'Low Dose "
    "Images', or ROOT/PATIENT/mas-010 and further exposures"
)


@dataclass(frozen=True)
class FolderPairs:
    """Patches of some patients to learn from, and of others to be tested on.

    Attributes
    ----------
    train, test : PatchPairs
        Of different patients.
    patients : (int, int)
        How many are in each.
    mas, high_mas : float
        Median exposures [mAs] of the two sides; NaN where the files do not say.
    """

    train: PatchPairs
    test: PatchPairs
    patients: tuple[int, int]
    mas: float
    high_mas: float


def folder_pairs(
    root: str | Path,
    *,
    patch: int,
    spacing: float = 1.0,
    mas: float | None = None,
    seed: int,
    progress: bool = True,
) -> FolderPairs:
    """Read all pairs below a folder and hold out a fifth of the patients.

    Parameters
    ----------
    root : path
        Folder with one folder a patient, in either layout.
    patch : int
        Side of a patch [pixels].
    spacing : float
        Pixel size that all images are resampled to [mm].
    mas : float, optional
        Which of several simulated exposures is the low dose [mAs]; the lowest by default. The
        highest is the high dose.
    seed : int
        Of the choice of patients that are held out.

    Raises
    ------
    DataError
        If no pair is found, there are fewer than two patients, or the two series of a patient do
        not show the same slices.
    """
    found = _series(Path(root), mas)
    if len(found) < 2:
        raise DataError(
            "too few patients to hold one out" if found else "no pairs of low and high dose",
            where=root,
            expected=f"two patients or more, as {_LAYOUTS}",
            got=f"{len(found)} with both doses",
        )
    order = sorted(found, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    held_out = order[: max(1, round(_HELD_OUT * len(order)))]
    parts: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {True: [], False: []}
    doses = []
    for name in tqdm(sorted(found), desc="patients", disable=not progress, leave=False):
        low, high, exposures = _pair(*found[name], spacing=spacing)
        parts[name in held_out].append((low, high))
        doses.append(exposures)
    size = _common([*parts[True], *parts[False]])
    test, train = (_patches(parts[held], size, patch) for held in (True, False))
    low_mas, high_mas = (float(value) for value in np.nanmedian(np.asarray(doses), axis=0))
    counts = len(order) - len(held_out), len(held_out)
    return FolderPairs(train, test, counts, low_mas, high_mas)


def _series(root: Path, mas: float | None) -> dict[str, tuple[Path, Path]]:
    """Folders of the low-dose and of the high-dose series of each patient that has both."""
    if not root.is_dir():
        raise DataError("no such folder", where=root)
    found = {}
    for patient in sorted(path for path in root.iterdir() if path.is_dir()):
        folders = [path for path in sorted(patient.rglob("*")) if path.is_dir()]
        pair = _simulated(folders, mas) or _collection(folders)
        if pair is not None:
            found[patient.name] = pair
    return found


def _simulated(folders: Iterable[Path], mas: float | None) -> tuple[Path, Path] | None:
    named = ((_SIMULATED.fullmatch(path.name), path) for path in folders)
    levels = {float(match.group(1)): path for match, path in named if match}
    if len(levels) < 2:
        return None
    low, high = min(levels) if mas is None else mas, max(levels)
    if low not in levels or low == high:
        raise DataError(
            "no such low dose",
            where=levels[high].parent,
            expected=", ".join(f"{level:g}" for level in sorted(levels)[:-1]) + " mAs",
            got=f"{low:g} mAs",
        )
    return levels[low], levels[high]


def _collection(folders: Iterable[Path]) -> tuple[Path, Path] | None:
    chosen: dict[str, Path] = {}
    for path in folders:
        name = re.sub(r"[\s_\-]+", " ", path.name.lower())
        for dose, pattern in _DOSES.items():
            if pattern.search(name) and any(path.glob("*")):
                if dose in chosen:
                    raise DataError(
                        f"two series of the {dose} dose", where=path.parent,
                        got=f"{chosen[dose].name!r} and {path.name!r}",
                        remedy="keep one of them in the patient's folder",
                    )  # fmt: skip
                chosen[dose] = path
    return (chosen["low"], chosen["high"]) if len(chosen) == 2 else None


def _pair(
    low: Path, high: Path, *, spacing: float
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Images of both doses (slices, rows, cols) [HU], and their exposures [mAs]."""
    x, y = load_slices(low), load_slices(high)
    same = x.hu.shape == y.hu.shape and np.allclose(x.spacing, y.spacing, atol=1e-4)
    if not (same and np.allclose(x.positions, y.positions, atol=_SAME_PLACE)):
        raise DataError(
            "the two doses do not show the same slices",
            where=low,
            expected=f"{y.hu.shape} at {y.spacing} mm, as in {high.name}",
            got=f"{x.hu.shape} at {x.spacing} mm"
            + (", at other places" if x.hu.shape == y.hu.shape else ""),
        )
    exposures = tuple(
        float(np.nanmedian(part.exposures)) if np.isfinite(part.exposures).any() else float("nan")
        for part in (x, y)
    )
    to = (spacing, spacing)
    return resample(x.hu, x.spacing, to), resample(y.hu, y.spacing, to), exposures  # type: ignore[return-value]


def _common(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[int, int]:
    shapes = np.array([low.shape[1:] for low, _ in pairs])
    rows, cols = shapes.min(0)
    return int(rows), int(cols)


def _patches(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], size: tuple[int, int], patch: int
) -> PatchPairs:
    """Patches of all slices, cut to the middle that all patients have."""

    def middle(images: np.ndarray) -> np.ndarray:
        top, left = ((have - want) // 2 for have, want in zip(images.shape[1:], size, strict=True))
        return images[:, top : top + size[0], left : left + size[1]]

    x, y = (np.concatenate([middle(part) for part in side]) for side in zip(*pairs, strict=True))
    return PatchPairs(torch.from_numpy(x), torch.from_numpy(y), patch=patch)
