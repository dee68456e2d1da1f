"""Denoisers as they were published, and the two of the talk's cover: what to train, on what.

    chen2017   Chen's CNN with the squared error
    yang2018   Yang's WGAN-VGG: gradient penalty, four critic steps, relu5_4 of VGG19
    talk       one network (Chen's) trained twice: T-Net on thoraces, A-Net on abdomens
    eulig2024  no denoiser, but VAE_x and cINN at the size of the 2024 paper (`eulig2024`)

"talk" alone is meant for a processor, where the others take days and more: it has the
reduced size of the networks that ship.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ctxai import (
    Chen,
    Critic,
    PatchPairs,
    SupervisedTask,
    Task,
    VGG19Features,
    WganVggTask,
    Yang,
    save_module,
)
from recon import DataError

from ..data.image_pairs import folder_pairs
from ..data.phantom_pairs import WORKING_POINT, WorkingPoint
from .eulig2024 import train_eulig
from .scores import denoiser_figures
from .stages import REDUCED, Stages, seeded, tell_random

__all__ = ["PRESETS", "Preset", "preset_task", "train_preset"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How one denoiser is trained.

    Attributes
    ----------
    name : str
        Of the file, and of the denoiser in tables.
    start : str
        Networks of one start begin with the same weights; by default each has its own.
    network : {"chen", "yang"}
        Chen's is trained by the squared error, Yang's as WGAN-VGG.
    anatomies : tuple of str
        Of the random phantoms, in turn.
    slices, patch, batch, steps
        Training slices, side of a patch [pixels], patches a step, steps.
    lr : float
        Learning rate of Adam, constant; with ``one_cycle`` the peak of one cycle.
    source : str
        Where the numbers are from.
    """

    name: str
    network: str
    start: str = ""
    anatomies: tuple[str, ...] = ("thorax", "abdomen", "thorax", "abdomen", "head")
    slices: int = 240
    patch: int = 64
    batch: int = 16
    steps: int = 2000
    lr: float = 1e-3
    one_cycle: bool = False
    source: str = ""


PRESETS: dict[str, tuple[Preset, ...]] = {
    "chen2017": (
        Preset(
            name="chen2017", network="chen", slices=4000, patch=92, batch=68, steps=86_188,
            lr=1.584e-4,
            source="network and loss: H. Chen et al., ISBI 2017; Adam, its rate, batch, patch and "
            "steps: ldct-benchmark's configuration of the same network (cnn10.yaml)",
        ),
    ),
    "yang2018": (
        Preset(
            name="yang2018", network="yang", slices=4000, patch=64, batch=128, steps=78_200,
            lr=1e-5,
            source="Q. Yang et al., IEEE TMI 37(6), 2018: 100,096 patches of 64², 100 epochs in "
            "batches of 128, Adam 1e-5 with β (0.5, 0.9), 4 critic steps, penalty 10, VGG 0.1",
        ),
    ),
    "talk": tuple(
        Preset(
            name=name, network="chen", start="talk", anatomies=(anatomy,), one_cycle=True,
            source="the talk's cover: the same network, trained on one region of the body",
        )
        for name, anatomy in (("t-net", "thorax"), ("a-net", "abdomen"))
    ),
}  # fmt: skip
"""Each preset trains one network or several."""


def preset_task(preset: Preset, pairs: PatchPairs, *, seed: int) -> tuple[torch.nn.Module, Task]:
    """Network of a preset, with its first weights, and what trains it.

    Parameters
    ----------
    preset : Preset
    pairs : PatchPairs
        Patches of the preset's size.
    seed : int
        Of the first weights.
    """
    steps = preset.steps if preset.one_cycle else None
    common: dict[str, Any] = {"batch": preset.batch, "steps": steps, "lr": preset.lr}
    network = Chen if preset.network == "chen" else Yang
    f = seeded(network, seed, preset.start or preset.name)
    if preset.network == "chen":
        return f, SupervisedTask(f, pairs, **common)
    side = (preset.patch, preset.patch)
    critic = seeded(lambda: Critic(shape=side), seed, f"{preset.name} critic")
    return f, WganVggTask(f, critic, VGG19Features(), pairs, **common)


def train_preset(
    name: str,
    folder: str | Path,
    *,
    steps: int | None = None,
    slices: int | None = None,
    images: str | Path | None = None,
    mas: float | None = None,
    point: WorkingPoint = WORKING_POINT,
    seed: int = 1,
    progress: bool = True,
) -> list[Path]:
    """Train the networks of a preset, going on from their checkpoints; returns their files.

    Parameters
    ----------
    name : str
        One of :data:`PRESETS`, or "eulig2024".
    folder : path
        Where they go; checkpoints lie in ``folder/checkpoints``.
    steps, slices : int, optional
        Fewer than the preset's.
    images : path, optional
        Folder of image pairs in place of phantoms, see :mod:`analysis.data.image_pairs`.
    mas : float, optional
        Which of their simulated exposures is the low dose [mAs]; the lowest by default.
    point : WorkingPoint
        The scan that the training images come from; its patch is the preset's.
    seed : int
        Everything random is a function of it.

    Raises
    ------
    DataError
        If there is no such preset.
    """
    if name == "eulig2024":
        if images is not None:
            raise DataError("this preset trains on phantoms", where=name, got="--images")
        return train_eulig(
            folder, steps=steps, slices=slices, point=point, seed=seed, progress=progress
        )
    if name not in PRESETS:
        raise DataError("no such preset", where=name, expected=", ".join([*PRESETS, "eulig2024"]))
    if images is not None and len(PRESETS[name]) > 1:
        raise DataError("this preset trains on phantoms of one region", where=name, got="--images")
    files = []
    source: dict[str, Any] = {}
    for entry in PRESETS[name]:
        preset = replace(entry, steps=steps or entry.steps, slices=slices or entry.slices)
        own = replace(point, patch=preset.patch)
        stages = Stages(Path(folder), REDUCED, own, seed, progress)
        if images is None:
            pairs, test = (
                stages.patches(f"{preset.name} {what}", count, anatomies=preset.anatomies)
                for what, count in (("train", preset.slices), ("test", min(16, preset.slices)))
            )
        else:
            found = folder_pairs(
                images, patch=preset.patch, spacing=point.spacing_mm, mas=mas, seed=seed,
                progress=progress,
            )  # fmt: skip
            pairs, test = found.train, found.test
            point = replace(point, mas=found.mas, high_mas=found.high_mas)
            source = {"patients": found.patients[0], "patients held out": found.patients[1]}
        f, task = preset_task(preset, pairs, seed=seed)
        if preset.network == "yang":
            source["features"] = task.features.source  # type: ignore[attr-defined]
            tell_random(preset.name, source["features"])
        stages.run(preset.name, task, preset.steps)
        figures = denoiser_figures(f, *test.batch(64, torch.Generator().manual_seed(0)))
        facts = {
            **_known(point.facts), "preset": asdict(preset), "seed": seed, "figures": figures,
            **source,
        }  # fmt: skip
        path = Path(folder) / f"{preset.name}.safetensors"
        files.append(save_module(path, f, **facts))
    return files


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts without those that the image files do not state."""
    return {key: value for key, value in facts.items() if value == value}
