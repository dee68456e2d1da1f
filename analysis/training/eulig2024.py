"""The 2024 paper's sampler at its full size: a large conditional autoencoder, then its cINN."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ctxai import (
    SHIPPED,
    ConditionalINN,
    Critic,
    EuligVAE,
    INNTask,
    InvarianceModel,
    PatchPairs,
    VAEGANTask,
    VGG19Features,
    WeightSet,
    Wiretap,
    cinn_name,
    load_resnet50,
    vae_name,
)

from ..data.phantom_pairs import WORKING_POINT, WorkingPoint
from ..numbers import collapse_alarm
from .scores import model_figures, vae_figures
from .stages import Recipe, Stages, seeded, tell_random

__all__ = ["EULIG2024", "EuligPreset", "eulig_cinn_task", "eulig_vae_task", "train_eulig"]

_ADAM = (0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class EuligPreset:
    """Sizes, steps and rates of both networks; the defaults are the preset ``eulig2024``."""

    denoiser: str = "yang"
    slices: int = 4000
    patch: int = 128
    latent: int = 256
    width: int = 96
    critic_width: float = 1.0
    vae_batch: int = 64
    vae_steps: int = 25_000
    free_bits: float = 0.05
    blocks: int = 12
    hidden: int = 1024
    embedding: int = 256
    inn_batch: int = 128
    inn_steps: int = 15_625
    lr: float = 1e-5
    source: str = (
        "E. Eulig et al., Med. Phys. 2024, and its public configuration: sizes, batches, Adam 1e-5,"
        " 400 and 500 epochs (here of 4,000 slices, a patch of each) and the weights of the loss."
        " Ours: critic of WGAN-VGG, features of VGG19, free bits, phantoms"
    )


EULIG2024 = EuligPreset()


def eulig_vae_task(
    preset: EuligPreset, f: Any, pairs: PatchPairs, *, seed: int
) -> tuple[EuligVAE, VAEGANTask, str]:
    """The autoencoder with its first weights, what trains it, and where the encoder's are from."""
    side = (preset.patch, preset.patch)
    vae = seeded(
        lambda: EuligVAE(shape=side, latent=preset.latent, width=preset.width), seed, "eulig vae"
    )
    source = load_resnet50(vae.encoder)
    critic = seeded(
        lambda: Critic(
            shape=side,
            channels=2,
            width=preset.critic_width,
            offset=vae.offset,
            scale=vae.scale,
        ),
        seed,
        "eulig critic",
    )
    task = VAEGANTask(
        vae, critic, VGG19Features(), pairs.batch, f=f, batch=preset.vae_batch, lr=preset.lr,
        free_bits=preset.free_bits, betas=_ADAM,
    )  # fmt: skip
    return vae, task, source


def eulig_cinn_task(
    preset: EuligPreset, f: Any, vae: EuligVAE, pairs: PatchPairs, *, seed: int
) -> tuple[InvarianceModel, INNTask]:
    """The cINN, given the output alone, as a model with its autoencoder; and what trains it."""
    wiretap = Wiretap(f, "output")
    vae.eval().requires_grad_(False)
    cinn = seeded(
        lambda: ConditionalINN(
            latent=preset.latent,
            condition_shape=(1, preset.patch, preset.patch),
            blocks=preset.blocks,
            hidden=preset.hidden,
            embedding=preset.embedding,
        ),
        seed,
        "eulig cinn",
    )
    task = INNTask(
        cinn, vae, wiretap, pairs.batch, batch=preset.inn_batch, steps=None, lr=preset.lr
    )
    return InvarianceModel(wiretap=wiretap, vae=vae, cinn=cinn), task


def train_eulig(
    folder: str | Path,
    *,
    preset: EuligPreset = EULIG2024,
    steps: int | None = None,
    slices: int | None = None,
    point: WorkingPoint = WORKING_POINT,
    seed: int = 1,
    progress: bool = True,
) -> list[Path]:
    """Train VAE_x given f(x), then the cINN of f's output, and seal them with f as a set.

    Parameters
    ----------
    folder : path
        Where the set goes, as :class:`ctxai.weights.sets.WeightSet` reads it; checkpoints lie in
        ``folder/checkpoints``, and a run that was stopped goes on from them.
    preset : EuligPreset
    steps, slices : int, optional
        Fewer than the preset's: steps of each network.
    point : WorkingPoint
        The scan that the training images come from; its patch is the preset's.
    seed : int
        Everything random is a function of it.

    Returns
    -------
    list of path
        Files of the autoencoder and of the invertible network.
    """
    preset = replace(
        preset,
        vae_steps=steps or preset.vae_steps,
        inn_steps=steps or preset.inn_steps,
        slices=slices or preset.slices,
    )
    point = replace(point, patch=preset.patch)
    stages = Stages(Path(folder), Recipe(name="eulig2024"), point, seed, progress)
    pairs = stages.patches("eulig2024 train", preset.slices)
    test = stages.patches("eulig2024 test", min(16, preset.slices))
    held_out = test.batch(32, torch.Generator().manual_seed(0))
    f, _ = SHIPPED.load(preset.denoiser)
    figures: dict[str, Any] = {preset.denoiser: SHIPPED.manifest["figures"][preset.denoiser]}

    name = vae_name("x")
    vae, vae_task, encoder = eulig_vae_task(preset, f, pairs, seed=seed)
    origins = {"encoder": encoder, "features": getattr(vae_task.features, "source", "")}
    for part, origin in origins.items():
        tell_random(f"{name}, {part}", origin)
    stages.run(name, vae_task, preset.vae_steps)
    figures[name] = vae_figures(vae, held_out[0], f(held_out[0]))
    stages.save(name, vae, figures[name])
    if alarm := collapse_alarm(figures[name]["active_dimensions"], vae.latent):
        tqdm.write(f"{name}: {alarm}", file=sys.stderr)

    stage = cinn_name(preset.denoiser, "output", "x")
    model, inn_task = eulig_cinn_task(preset, f, stages.saved(name), pairs, seed=seed)
    stages.run(stage, inn_task, preset.inn_steps)
    figures[stage] = model_figures(model, *held_out)
    stages.save(stage, model.cinn, figures[stage])

    shutil.copy2(SHIPPED.folder / f"{preset.denoiser}.safetensors", stages.folder)
    WeightSet(folder).seal(
        recipe={
            "name": "eulig2024",
            **asdict(preset),
            **origins,
            "seed": seed,
            "working_point": point.facts,
        },
        figures=figures,
    )
    return [stages.folder / f"{saved}.safetensors" for saved in (name, stage)]
