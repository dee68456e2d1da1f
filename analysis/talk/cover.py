"""The talk's cover: one network, trained on thoraces or on abdomens, looks at both.

T-Net and A-Net are Chen's CNN from the same initial weights, trained with the same steps on pairs
of phantoms of one anatomy (:mod:`analysis.training.presets`, "talk"). What differs in their outputs
is what their training told them to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctxai import load_module
from recon import DataError
from recon.phantom import random_slice

from ..data.phantom_pairs import WorkingPoint, scan
from ..figures.images import LUNG, SOFT_TISSUE, Window, rms_hu
from ..figures.sheets import Panel, sheet
from ..numbers import apply
from ..runs.store import Run
from ..scanner.slice_scanner import derived_seed
from ..training.presets import train_preset
from .sheet import colour_limit, untitled

__all__ = ["NETWORKS", "CoverSlice", "cover_figure", "cover_of_run", "cover_slice", "trained"]

NETWORKS = {"T-Net": "thorax", "A-Net": "abdomen"}
"""What the two networks are called, and the anatomy that each is trained on."""

_SLICES = 48  # for the training of each
_WINDOWS: dict[str, Window] = {"thorax": LUNG, "abdomen": SOFT_TISSUE}
_MARGIN_MM = 8.0  # around the body


@dataclass(frozen=True)
class CoverSlice:
    """A slice that neither network was trained on: y and x, (rows, cols) [HU]."""

    anatomy: str
    y: np.ndarray
    x: np.ndarray


def cover_of_run(
    run: Run, folder: str | Path, *, steps: int = 1000, progress: bool = True
) -> Callable[..., bytes]:
    """The cover at the working point, and with the seed, of a run.

    Parameters
    ----------
    run : Run
        As :func:`analysis.runs.store.read_run` gives it.
    folder : path
        Where the networks are kept, and the checkpoints of their training.
    steps : int
        Steps of each training.
    progress : bool
        Bars on stderr.

    Returns
    -------
    callable
        ``form="png"`` or "svg" to bytes.

    Raises
    ------
    DataError
        If the run does not say which scans its networks were trained for.
    """
    try:
        point = WorkingPoint(**run.record["weights"]["recipe"]["working_point"])
        seed = int(run.record["seed"])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            "the run does not say at which scans its networks work",
            where=run.folder / "run.json",
            remedy="make a run that does: ctxai demo --out RUN",
        ) from None
    networks = trained(folder, steps=steps, point=point, seed=seed, progress=progress)
    slices = [cover_slice(anatomy, point=point, seed=seed) for anatomy in NETWORKS.values()]
    return cover_figure(slices, networks, point=point)


def trained(
    folder: str | Path, *, steps: int, point: WorkingPoint, seed: int, progress: bool = True
) -> dict[str, torch.nn.Module]:
    """T-Net and A-Net, as the preset "talk" trains them, by name; trained where there are none yet.

    A training that was stopped goes on from its checkpoint; one that was finished is read.

    Parameters
    ----------
    folder : path
        For both networks and ``checkpoints``.
    steps : int
        Steps of each training.
    point : WorkingPoint
        Grid and doses of the scans.
    seed : int
        Seed of phantoms, noise, initial weights and order.

    Raises
    ------
    DataError
        If the folder keeps a network that was trained in another way.
    """
    wanted: dict[str, Any] = {**point.facts, "slices": _SLICES, "steps": steps, "seed": seed}
    files = [Path(folder) / f"{name.lower()}.safetensors" for name in NETWORKS]
    if not all(path.exists() for path in files):
        train_preset(
            "talk", folder, steps=steps, slices=_SLICES, point=point, seed=seed, progress=progress
        )
    networks = {}
    for name, path in zip(NETWORKS, files, strict=True):
        networks[name], facts = load_module(path)  # also what was just trained: the same bits
        found = {**facts.get("preset", {}), **facts}
        for what, value in wanted.items():
            if found.get(what) != value:
                raise DataError(
                    f"a network of another training: its {what} differs",
                    where=path,
                    expected=value,
                    got=found.get(what),
                    remedy=f"remove the folder {folder} to train again",
                )
    return networks


def cover_slice(anatomy: str, *, point: WorkingPoint, seed: int) -> CoverSlice:
    """A random patient that is in no training, scanned at the high and at the low dose."""
    own = derived_seed(seed, f"cover, {anatomy}")
    truth = random_slice(anatomy, seed=own, grid=point.grid)[None]
    y = scan(truth, point.high_mas, seed=derived_seed(own, "high dose"), point=point)
    x = scan(y, point.mas, seed=derived_seed(own, "low dose"), point=point)
    return CoverSlice(anatomy, y[0], x[0])


def cover_figure(
    slices: list[CoverSlice], networks: Mapping[str, torch.nn.Module], *, point: WorkingPoint
) -> Callable[..., bytes]:
    """A row a slice: FBP at the low dose, the output of each network, and their difference.

    Parameters
    ----------
    slices : list of CoverSlice
        The slices that are shown, all of one size.
    networks : mapping
        Two, by name.
    point : WorkingPoint
        Pixel size and dose.
    """
    spacing = point.grid.spacing
    show = _bodies([piece.y for piece in slices], spacing)
    first, second = networks
    rows: list[tuple[str, list[Panel]]] = []
    differences = []
    for piece in slices:
        window = _WINDOWS.get(piece.anatomy, SOFT_TISSUE)
        body = piece.y[show] > -900.0  # of the picture, without the air around
        titles = [f"FBP, {point.mas:g} mAs", *networks, f"{second} - {first}"]
        x, y = piece.x, piece.y
        outputs = [apply(f, torch.from_numpy(x)).numpy() for f in networks.values()]
        differences.append((outputs[1] - outputs[0])[show])
        panels = [
            Panel(image[show], title, f"{rms_hu((image - y)[show][body]):.0f} HU", window)
            for title, image in zip(titles, [x, *outputs])
        ]
        change = f"{rms_hu(differences[-1][body]):.0f} HU"
        panels.append(Panel(differences[-1], titles[-1], change))
        label = f"{piece.anatomy},\n{window.name}\nwindow"
        rows.append((label, untitled(panels) if rows else panels))
    trained = ", ".join(f"{name}: {NETWORKS[name]}" for name in networks)
    windows = "; ".join(dict.fromkeys(str(_WINDOWS.get(p.anatomy, SOFT_TISSUE)) for p in slices))
    footer = (
        f"One network, two trainings ({trained}). Below each image its rms distance from the\n"
        f"{point.high_mas:g} mAs image, air left out; below the differences, their rms.\n"
        f"Shown: {windows}."
    )
    return partial(
        sheet, rows, spacing=spacing, footer=footer, limit=colour_limit(differences), size=2.6
    )


def _bodies(images: list[np.ndarray], spacing: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns that hold every body, with a margin."""
    dense = np.any([image > -300.0 for image in images], axis=0)
    found = []
    for axis, step in ((1, spacing[0]), (0, spacing[1])):
        where = np.flatnonzero(dense.any(axis))
        margin = round(_MARGIN_MM / step)
        found.append(slice(max(0, int(where[0]) - margin), int(where[-1]) + 1 + margin))
    return found[0], found[1]
