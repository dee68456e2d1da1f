"""How the networks are trained: denoisers, VAE_x and VAE_y, and a cINN for each wiretapped layer.

Every stage is seeded by its own name, keeps a checkpoint and goes on from it, so that a run which
is killed ends with the same weights as one which is not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ctxai.checkpoints import load_module, save_module
from ctxai.cinn import ConditionalINN
from ctxai.cinn_task import INNTask
from ctxai.critic import Critic
from ctxai.data import PatchPairs, pick_domain
from ctxai.denoiser_tasks import SupervisedTask, WganVggTask
from ctxai.denoisers import Chen, Yang
from ctxai.features import VGG19Features
from ctxai.invariance_model import InvarianceModel
from ctxai.training import Task, train
from ctxai.vae import VAE
from ctxai.vae_task import VAETask
from ctxai.weights import SHIPPED, WeightSet, cinn_name, vae_name
from ctxai.wiretap import Wiretap
from recon.errors import DataError

from .held_out import denoiser_figures, model_figures, vae_figures
from .training_data import WORKING_POINT, WorkingPoint, phantom_pairs

__all__ = ["REDUCED", "SETS", "Recipe", "train_all", "train_for"]

SETS = {
    ("chen", "x"): ("output",),
    ("yang", "x"): ("1", "4", "7", "output"),
    ("chen", "y"): ("output",),
    ("yang", "y"): ("output",),
}
"""Layers for which a cINN ships, by denoiser and domain."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Sizes, steps and rates of a training. The default is reduced to minutes on two cores."""

    name: str = "reduced"
    slices: int = 240
    held_out: int = 16
    chen_steps: int = 2000
    yang_start_steps: int = 700
    yang_wgan_steps: int = 250
    vae_steps: int = 1500
    inn_steps: int = 1000
    inn_bank: int = 2000
    batch: int = 16
    latent: int = 128
    differs: str = (
        "Chen: 2,000 L2 steps on 64² patches. Yang: an L2 start, then WGAN-VGG with a critic of a"
        " quarter of the published width and VGG19 cut at relu2_2 with random weights. VAE and"
        " cINN: small networks. Phantoms alone, one dose."
    )


REDUCED = Recipe()


def _seed(seed: int, stage: str) -> int:
    return (seed * 0x9E3779B1 + zlib.crc32(stage.encode())) % 2**31


def _seeded(build: Callable[[], Any], seed: int, stage: str) -> Any:
    """Build a network with initial weights that depend on (seed, stage) alone.

    Channels innermost in memory make a step on a CPU about 30 % faster.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(seed, stage))
        return build().to(memory_format=torch.channels_last)


def train_all(
    folder: str | Path,
    *,
    recipe: Recipe = REDUCED,
    point: WorkingPoint = WORKING_POINT,
    seed: int = 1,
    progress: bool = True,
) -> WeightSet:
    """Train the whole set from nothing and seal it with digests and held-out figures.

    Parameters
    ----------
    folder : path
        Where the weights go; checkpoints lie in ``folder/checkpoints``.
    recipe, point
        What to train, and on which scans.
    seed : int
        Everything random is a function of it.

    Returns
    -------
    WeightSet
        The trained set, as :data:`ctxai.weights.SHIPPED` is one.
    """
    folder = Path(folder)
    stages = _Stages(folder, recipe, point, seed, progress)
    x, y = phantom_pairs(recipe.slices, seed=_seed(seed, "train"), point=point, progress=progress)
    pairs = PatchPairs(x, y, patch=point.patch)
    x, y = phantom_pairs(recipe.held_out, seed=_seed(seed, "test"), point=point, progress=progress)
    held_out = PatchPairs(x, y, patch=point.patch).batch(64, torch.Generator().manual_seed(0))
    figures: dict[str, Any] = {}

    for name, train_denoiser in (("chen", stages.chen), ("yang", stages.yang)):
        denoiser = train_denoiser(pairs)
        figures[name] = denoiser_figures(denoiser, *held_out)
        stages.save(name, denoiser, figures[name])
    for domain in ("x", "y"):
        autoencoder, name = stages.vae(domain, pairs), vae_name(domain)
        figures[name] = vae_figures(autoencoder, pick_domain(held_out, domain))
        stages.save(name, autoencoder, figures[name])
    weights = WeightSet(folder)
    for (of, domain), layers in SETS.items():
        f, vae = stages.saved(of), stages.saved(vae_name(domain))
        for layer in layers:
            name = cinn_name(of, layer, domain)
            model = stages.cinn(f, vae, layer, domain, pairs, name)
            figures[name] = model_figures(model, *held_out)
            stages.save(name, model.cinn, figures[name])
    weights.seal(
        recipe={**asdict(recipe), "seed": seed, "working_point": point.facts}, figures=figures
    )
    return weights


def train_for(
    f: Callable[[torch.Tensor], torch.Tensor],
    *,
    name: str,
    digest: str,
    layers: Sequence[str],
    domain: str,
    folder: str | Path,
    weights: WeightSet = SHIPPED,
    recipe: Recipe = REDUCED,
    seed: int = 1,
    progress: bool = True,
) -> dict[str, InvarianceModel]:
    """Train the cINNs of a user's own denoiser, on the VAE of a trained set.

    Parameters
    ----------
    f : callable
        Denoiser, HU → HU on (B, 1, H, W).
    name, digest : str
        What it is called, and the digest that its cINNs are kept by.
    layers : sequence of str
        Wiretapped layers, "output" for any callable.
    domain : {"x", "y"}
        VAE_x or VAE_y.
    folder : path
        Kept in ``folder/<first 16 digits of the digest>``; what is there is not trained again.
    weights : WeightSet
        Where VAE_x and VAE_y come from; those that ship by default.

    Returns
    -------
    dict
        For each layer an :class:`~ctxai.invariance_model.InvarianceModel`.

    Raises
    ------
    DataError
        If what is kept there was trained for another denoiser or on another VAE.
    """
    folder = Path(folder) / digest[:16]
    point = WorkingPoint(**weights.manifest["recipe"]["working_point"])
    stages = _Stages(folder, recipe, point, seed, progress)
    vae, _ = weights.load(vae_name(domain))
    digests = {
        "denoiser_sha256": digest,
        "vae_sha256": weights.manifest["sha256"][vae_name(domain)],
    }
    models, pairs = {}, None
    for layer in layers:
        wiretap = Wiretap(f, layer)
        path = folder / f"{cinn_name('own', wiretap.layer, domain)}.safetensors"
        cinn: Any
        if path.exists():
            cinn, facts = load_module(path)
            for what, key in (("denoiser", "denoiser_sha256"), ("autoencoder", "vae_sha256")):
                if facts.get(key) != digests[key]:
                    raise DataError(
                        f"trained for another {what}",
                        where=path,
                        expected=digests[key],
                        got=facts.get(key, "no digest"),
                        remedy=f"remove the folder {folder} to train again",
                    )
        else:
            if pairs is None:
                x, y = phantom_pairs(64, seed=_seed(seed, "own"), point=point, progress=progress)
                pairs = PatchPairs(x, y, patch=point.patch)
            cinn = stages.cinn(f, vae, wiretap.layer, domain, pairs, path.stem).cinn
            facts = {**point.facts, "denoiser": name, **digests}
            save_module(path, cinn, **facts)
        models[layer] = InvarianceModel(
            wiretap=wiretap, vae=vae, cinn=cinn, domain=domain, facts=facts
        )
    return models


@dataclass
class _Stages:
    """The stages of a training that share a folder, a recipe and a seed."""

    folder: Path
    recipe: Recipe
    point: WorkingPoint
    seed: int
    progress: bool

    def run(self, stage: str, task: Task, steps: int) -> None:
        """Train one stage, from its checkpoint where there is one."""
        train(
            task,
            steps=steps,
            seed=_seed(self.seed, stage),
            checkpoint=self.folder / "checkpoints" / f"{stage}.safetensors",
            label=stage,
            progress=self.progress,
        )

    def save(self, name: str, module: torch.nn.Module, figures: dict[str, Any]) -> None:
        """Keep a trained network in half precision with the working point and its figures."""
        facts = {**self.point.facts, "recipe": self.recipe.name, "figures": figures}
        save_module(self.folder / f"{name}.safetensors", module, half=True, **facts)

    def saved(self, name: str) -> Any:
        """A network as it was saved: later stages build on what ships, in half precision."""
        module: Any = load_module(self.folder / f"{name}.safetensors")[0]
        return module.to(memory_format=torch.channels_last)

    def chen(self, pairs: PatchPairs) -> Chen:
        """Chen's CNN with an L2 loss."""
        f = _seeded(Chen, self.seed, "chen")
        steps = self.recipe.chen_steps
        task = SupervisedTask(f, pairs, batch=self.recipe.batch, steps=steps, lr=1e-3)
        self.run("chen", task, steps)
        return f

    def yang(self, pairs: PatchPairs) -> Yang:
        """Yang's WGAN-VGG: a supervised start, then the adversarial and the feature loss."""
        f = _seeded(Yang, self.seed, "yang")
        steps = self.recipe.yang_start_steps
        start = SupervisedTask(f, pairs, batch=self.recipe.batch, steps=steps, lr=1e-3)
        self.run("yang-start", start, steps)
        side = self.point.patch
        critic = _seeded(lambda: Critic(shape=(side, side), width=0.25), self.seed, "critic")
        features = VGG19Features(cut="relu2_2")
        steps = self.recipe.yang_wgan_steps
        task = WganVggTask(f, critic, features, pairs, batch=8, steps=steps, lr=1e-4)
        self.run("yang", task, steps)
        return f

    def vae(self, domain: str, pairs: PatchPairs) -> VAE:
        """VAE_x on the low-dose images, VAE_y on the high-dose images."""
        stage = vae_name(domain)
        vae = _seeded(
            lambda: VAE(
                shape=(self.point.patch, self.point.patch),
                latent=self.recipe.latent,
                offset=-300.0,
                scale=400.0,
            ),
            self.seed,
            stage,
        )
        steps = self.recipe.vae_steps
        task = VAETask(vae, pairs.batch, domain=domain, batch=24, steps=steps, lr=2e-3)
        self.run(stage, task, steps)
        return vae

    def cinn(
        self, f: Any, vae: VAE, layer: str, domain: str, pairs: PatchPairs, stage: str
    ) -> InvarianceModel:
        """The cINN of one layer, on posterior samples of the VAE."""
        wiretap = Wiretap(f, layer)
        vae = vae.eval().requires_grad_(False)
        x, _ = pairs.batch(2, torch.Generator().manual_seed(0))
        cinn = _seeded(
            lambda: ConditionalINN(
                latent=self.recipe.latent, condition_shape=tuple(wiretap.phi(x).shape[1:])
            ),
            self.seed,
            stage,
        )
        steps = self.recipe.inn_steps
        task = INNTask(
            cinn, vae, wiretap, pairs.batch, domain=domain, batch=32, steps=steps, lr=2e-3,
            bank=self.recipe.inn_bank,
        )  # fmt: skip
        self.run(stage, task, steps)
        cinn.eval().requires_grad_(False)
        return InvarianceModel(wiretap=wiretap, vae=vae, cinn=cinn, domain=domain, facts={})
