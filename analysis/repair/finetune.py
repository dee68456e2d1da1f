"""Repair: a denoiser finetuned against invariances that it should not have, beside a control.

Everything starts from the same trained network and takes the same steps on the same patches, in
the same order and at the same rate:

    control               the squared error alone
    lesions               and against missing random lesions
    lesions and samples   and against missing what sampled invariances hide and looks like a lesion
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ctxai import Model, Pairs, PatchPairs, RepairTask, SupervisedTask, Task, train

from ..data.phantom_pairs import WorkingPoint, phantom_pairs
from ..lesions.sites import around, lesion_sites, middle
from ..scanner.slice_scanner import derived_seed
from .pairs import Alternating, KeptPairs, RandomLesions, lesion_like_pairs

__all__ = ["RECIPES", "TOLERANCE_HU", "RepairRecipe", "finetuned", "sampled_differences", "teach"]

TOLERANCE_HU = 3.0
"""Largest change of the output by a sampled invariance [HU]."""

_SIDE = 32  # of images that are told apart: a lesion and what f sees around it [pixels]
_SITES = 400  # of random lesions
_IMAGES, _SAMPLES, _KEEP = 12, 12, 4  # sampled invariances: patches, of each, kept of each


@dataclass(frozen=True, kw_only=True)
class RepairRecipe:
    """How each network is finetuned: steps, patches a step, peak of one cycle, weight [HU²]."""

    steps: int = 400
    batch: int = 8
    lr: float = 5e-4
    weight: float = 130.0


RECIPES = {"chen": RepairRecipe(), "yang": RepairRecipe(weight=400.0)}
"""Weights found on phantoms that are neither taught nor held out here. Yang was not trained by the
squared error: its error still falls fast, and its repair takes a larger weight."""


@dataclass(frozen=True)
class Lesson:
    """What networks are finetuned on: patches (x, y), and sites in soft tissue.

    Attributes
    ----------
    pairs : PatchPairs
    x : Tensor, (n, H, W)
        Low-dose patches around sites [HU].
    point : WorkingPoint
    """

    pairs: PatchPairs
    x: torch.Tensor
    point: WorkingPoint


def teach(slices: int, *, seed: int, point: WorkingPoint, progress: bool = True) -> Lesson:
    """Scan random phantoms to finetune on."""
    x, y = phantom_pairs(slices, seed=derived_seed(seed, "repair"), point=point, progress=progress)
    sites = lesion_sites(
        y, _SITES, side=point.patch, spacing=point.spacing_mm, seed=derived_seed(seed, "sites")
    )
    return Lesson(PatchPairs(x, y, patch=point.patch), around(x, sites, point.patch), point)


def sampled_differences(
    model: Model, x: torch.Tensor, *, point: WorkingPoint, seed: int, progress: bool = True
) -> KeptPairs:
    """Pairs of images whose sampled difference looks like a lesion, from the first of patches x.

    Of 12 projected samples for each of 12 patches the 4 best matches are kept.
    """
    return lesion_like_pairs(
        model, x[:_IMAGES], point.spacing_mm, n=_SAMPLES, keep=_KEEP, side=min(_SIDE, point.patch),
        tolerance_hu=TOLERANCE_HU, seed=seed, progress=progress,
    )  # fmt: skip


def finetuned(
    f: nn.Module,
    lesson: Lesson,
    samples: KeptPairs,
    *,
    recipe: RepairRecipe,
    seed: int,
    folder: Path,
    label: str,
    progress: bool = True,
) -> Mapping[str, nn.Module]:
    """The control and the repaired networks; f itself stays as it is.

    Parameters
    ----------
    f : Module
        Trained denoiser, HU to HU.
    lesson : Lesson
    samples : KeptPairs
        What :func:`sampled_differences` gives for f.
    recipe : RepairRecipe
    seed : int
        Seed of the batches, the same for each network.
    folder : path
        For checkpoints, from which an interrupted run goes on.
    label : str
        Name of f in the names of checkpoints and on progress bars.

    Returns
    -------
    dict
        "control", "lesions" and "lesions and samples".
    """
    side = min(_SIDE, lesson.point.patch)
    point = lesson.point
    lesions = RandomLesions(middle(lesson.x, side), point.spacing_mm, window=point.window)
    sources: dict[str, Pairs | None] = {
        "control": None,
        "lesions": lesions,
        "lesions and samples": Alternating(lesions, samples),
    }
    networks = {}
    for name, source in sources.items():
        network = copy.deepcopy(f).requires_grad_(True)
        common: dict[str, Any] = {"batch": recipe.batch, "steps": recipe.steps, "lr": recipe.lr}
        task: Task
        if source is None:
            task = SupervisedTask(network, lesson.pairs, **common)
        else:
            task = RepairTask(network, lesson.pairs, source, weight=recipe.weight, **common)
        file = f"{label}-{name.replace(' ', '-')}.safetensors"
        train(
            task, steps=recipe.steps, seed=seed, checkpoint=folder / file, label=f"{label}, {name}",
            progress=progress,
        )  # fmt: skip
        networks[name] = network.requires_grad_(False)
    return networks
