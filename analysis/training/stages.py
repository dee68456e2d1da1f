"""The stages of a training: what each network is trained on, for how long, and from which seed.

Every stage is seeded by its own name, keeps a checkpoint and goes on from it, so that a run which
is killed ends with the same weights as one which is not.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ctxai import (
    Chen,
    ConvolutionalINN,
    Critic,
    FlowMatching,
    FlowModel,
    FlowTask,
    INNTask,
    InvarianceModel,
    PatchPairs,
    SpatialVAE,
    SupervisedTask,
    Task,
    VAETask,
    VGG19Features,
    WganVggTask,
    Window,
    Wiretap,
    Yang,
    is_first,
    load_module,
    needed_context,
    pick_domain,
    represented,
    save_module,
    train,
    vae_name,
)

from ..data.phantom_pairs import WorkingPoint, phantom_pairs
from ..data.various_scans import VARIOUS, ScanRange, various_pairs, working_points
from .curves import write_curves

__all__ = [
    "LARGE",
    "LONG",
    "ONWARDS",
    "REDUCED",
    "TUNED",
    "Recipe",
    "Stages",
    "seeded",
    "stage_seed",
    "tell_random",
]

_PART, _ALIGNED = 192, 32  # pixels of a part of a slice, and of which multiples it begins


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Sizes, steps and rates of a training. The default is reduced to minutes on two cores."""

    name: str = "reduced"
    slices: int = 600
    held_out: int = 16
    scans: ScanRange = VARIOUS  # of the samplers' phantoms
    scan_kinds: int = 30
    scan_slices: int = 480
    own_slices: int = 64  # for the samplers of a user's own denoiser
    chen_steps: int = 2000
    yang_start_steps: int = 700
    yang_wgan_steps: int = 250
    vae_steps: int = 1000
    vae_channels: tuple[int, int] = (16, 12)  # of VAE_x and VAE_y, for each 4 × 4 pixels
    vae_noise: float = 2.0  # standard deviation of the likelihood of both [HU]
    vae_width: int = 64
    inn_steps: tuple[int, int] = (16000, 5000)  # after the output, in domains x and y
    inn_inner_steps: int = 4000  # layers inside leave less open
    inn_batch: int = 8
    inn_lr: float = 2e-3
    inn_goes_on: bool = False  # from the cINN of that name in the set that is kept
    inn_blocks: int = 8
    inn_hidden: int = 64
    flow_steps: int = 800
    flow_batch: int = 16
    flow_tune_steps: int = 300
    flow_widths: tuple[int, ...] = (32, 64, 80)
    flow_lr: float = 2e-3
    flow_goes_on: bool = False  # from the flow of that name in the set that is kept
    batch: int = 16
    differs: str = (
        "Chen: 2,000 L2 steps on 64² patches. Yang: an L2 start, then WGAN-VGG with a critic of a"
        " quarter of the published width and VGG19 cut at relu2_2 with random weights. VAE and"
        " cINN: small convolutional networks. Flow matching: a small U-Net. Phantoms alone;"
        " denoisers and VAEs of one scan, samplers of many kinds."
    )


REDUCED = Recipe()
"""What `ctxai train` and `ctxai demo --retrain` do."""

LONG = replace(
    REDUCED,
    name="long",
    slices=1200,
    flow_steps=3000,
    flow_batch=64,
    flow_tune_steps=2000,
    differs="Flow matching on a GPU: 3,000 steps of 64 patches for a layer, 2,000 for Yang's"
    " outputs, from Chen's. Denoisers and VAEs of the reduced recipe. Phantoms alone.",
)
"""The flows that ship, on a GPU."""

LARGE = replace(
    LONG,
    name="large",
    flow_batch=32,
    flow_widths=(64, 96, 128),
    differs=LONG.differs.replace("64 patches", "32 patches of 128²"),
)
"""Flows of larger patches that ship."""

ONWARDS = replace(
    REDUCED,
    name="onwards",
    inn_steps=(6000, 1500),
    inn_goes_on=True,
    flow_goes_on=True,
    differs="Samplers that go on from those of an earlier set, in fewer steps.",
)
"""Samplers that go on from those of a set that is kept."""

TUNED = replace(
    ONWARDS,
    name="tuned",
    scan_slices=120,
    inn_inner_steps=600,
    differs=ONWARDS.differs + " Layers inside and flows: of a quarter of the slices.",
)
"""Samplers that only have to learn that scans are of many kinds."""


def stage_seed(seed: int, stage: str) -> int:
    """Seed of one stage of a training."""
    return (seed * 0x9E3779B1 + zlib.crc32(stage.encode())) % 2**31


def seeded(build: Callable[[], Any], seed: int, stage: str) -> Any:
    """Build a network with initial weights that depend on (seed, stage) alone.

    Channels innermost in memory make a step on a CPU about 30 % faster.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage_seed(seed, stage))
        return build().to(memory_format=torch.channels_last)


def tell_random(stage: str, source: str) -> None:
    """Say on stderr that a network has random weights, where published ones could be had."""
    if source.startswith("random") and is_first():
        hint = "torchvision's are taken if torch's folder of checkpoints holds them as safetensors"
        tqdm.write(f"{stage}: {source}; {hint}", file=sys.stderr)


@torch.no_grad()
def _seen(f: Callable[[Any], Any], images: torch.Tensor, progress: bool) -> torch.Tensor:
    """f of images (n, rows, cols) [HU], one by one: a slice can be all that memory holds."""
    bar = tqdm(images, desc="the denoiser on training slices", disable=not progress, leave=False)
    return torch.cat([f(image[None, None])[:, 0] for image in bar])


@dataclass
class Stages:
    """The stages of a training that share a folder, a recipe and a seed."""

    folder: Path
    recipe: Recipe
    point: WorkingPoint
    seed: int
    progress: bool
    device: str = "cpu"

    def patches(self, stage: str, slices: int, **options: Any) -> PatchPairs:
        """Patches of random phantoms that are a stage's own; options of `phantom_pairs`."""
        x, y = phantom_pairs(
            slices, seed=stage_seed(self.seed, stage), point=self.point, progress=self.progress,
            **options,
        )  # fmt: skip
        return self._here(PatchPairs(x, y, patch=self.point.patch))

    def _here(self, pairs: PatchPairs) -> PatchPairs:
        """The same pairs on the device."""
        return pairs.changed(lambda images: images.to(self.device))

    def scanned(self, stage: str, slices: int) -> PatchPairs:
        """The same for anatomies without noise, with the noise of x."""
        point, seed = self.point, stage_seed(self.seed, stage)
        return self._here(
            various_pairs(slices, [point], side=point.matrix, seed=seed, progress=self.progress)
        )

    def various(self) -> PatchPairs:
        """Parts of phantoms in scans of many kinds, with room around what a denoiser sees."""
        recipe, seed = self.recipe, stage_seed(self.seed, "various")
        points = working_points(recipe.scan_kinds, recipe.scans, like=self.point, seed=seed)
        side = min(_PART + 2 * _ALIGNED, min(point.matrix for point in points))
        pairs = various_pairs(
            recipe.scan_slices, points, side=side, seed=seed, progress=self.progress
        )
        return self._here(pairs)

    def in_place(self, pairs: PatchPairs, f: Callable[[Any], Any]) -> PatchPairs:
        """The same patches with the output of a denoiser that sees them in their place.

        A denoiser that looks at everything sees whole slices; for any other, parts of them are
        enough, 192 pixels wide and with all that it looks at around them.
        """
        patch, rows, cols = self.point.patch, *pairs.x.shape[1:]
        side = min(_PART, rows, cols)
        middle = Window((side - patch) // 2, (side - patch) // 2, (patch, patch), (side, side))
        tried = Window((rows - side) // 2, (cols - side) // 2, (side, side), (rows, cols))
        part, off = needed_context(f, tried.of(pairs.x[0]).contiguous(), middle)
        places = stage_seed(self.seed, "in place")
        if off != off:  # it takes images of one size
            if part.shape == middle.shape:
                return pairs
            pairs = pairs.parts(part.shape[0], places, aligned=1)
            return pairs.with_output(_seen(f, pairs.x, self.progress))
        reach = side if part.whole else max(middle.top - part.top, middle.left - part.left)
        rim = -(-reach // _ALIGNED) * _ALIGNED
        if side + 2 * rim > min(rows, cols):
            return pairs.with_output(_seen(f, pairs.x, self.progress))
        pairs = pairs.parts(side + 2 * rim, places, aligned=_ALIGNED)
        inner = Window(rim, rim, (side, side), tuple(pairs.x.shape[1:]))
        return pairs.with_output(_seen(f, pairs.x, self.progress)).changed(inner.of)

    def run(self, stage: str, task: Task, steps: int) -> None:
        """Train one stage, from its checkpoint where there is one, and draw its curves."""
        checkpoint = self.folder / "checkpoints" / f"{stage}.safetensors"
        logs = train(
            task,
            steps=steps,
            seed=stage_seed(self.seed, stage),
            checkpoint=checkpoint,
            label=stage,
            progress=self.progress,
        )
        if is_first():
            write_curves(checkpoint, logs, title=stage)

    def save(
        self, name: str, module: torch.nn.Module, figures: dict[str, Any], **known: Any
    ) -> None:
        """Keep a trained network in half precision with the working point and its figures."""
        facts = {**self.point.facts, "recipe": self.recipe.name, "figures": figures, **known}
        save_module(self.folder / f"{name}.safetensors", module, half=True, **facts)

    def saved(self, name: str) -> Any:
        """A network as it was saved: later stages build on what ships, in half precision."""
        module: Any = load_module(self.folder / f"{name}.safetensors")[0]
        return module.to(self.device, memory_format=torch.channels_last)

    def fresh(self, build: Callable[[], Any], stage: str) -> Any:
        """A network with the first weights of its stage, on the device."""
        return seeded(build, self.seed, stage).to(self.device)

    def chen(self, pairs: PatchPairs) -> Chen:
        """Chen's CNN with an L2 loss."""
        f = self.fresh(Chen, "chen")
        steps = self.recipe.chen_steps
        task = SupervisedTask(f, pairs, batch=self.recipe.batch, steps=steps, lr=1e-3)
        self.run("chen", task, steps)
        return f

    def yang(self, pairs: PatchPairs) -> Yang:
        """Yang's WGAN-VGG: a supervised start, then the adversarial and the feature loss."""
        f = self.fresh(Yang, "yang")
        steps = self.recipe.yang_start_steps
        start = SupervisedTask(f, pairs, batch=self.recipe.batch, steps=steps, lr=1e-3)
        self.run("yang-start", start, steps)
        side = self.point.patch
        critic = self.fresh(lambda: Critic(shape=(side, side), width=0.25), "critic")
        features = VGG19Features(cut="relu2_2").to(self.device)
        steps = self.recipe.yang_wgan_steps
        task = WganVggTask(f, critic, features, pairs, batch=8, steps=steps, lr=1e-4)
        self.run("yang", task, steps)
        return f

    def vae(self, domain: str, pairs: PatchPairs) -> SpatialVAE:
        """VAE_x on the low-dose images, VAE_y on the high-dose images."""
        stage, recipe = vae_name(domain), self.recipe
        vae = self.fresh(
            lambda: SpatialVAE(
                shape=(self.point.patch, self.point.patch),
                latent_channels=pick_domain(recipe.vae_channels, domain),
                width=recipe.vae_width,
                noise=recipe.vae_noise,
                offset=-300.0,
                scale=400.0,
            ),
            stage,
        )
        task = VAETask(
            vae, pairs.batch, domain=domain, batch=recipe.batch, steps=recipe.vae_steps, lr=1e-3,
            free_bits=0.0,
        )  # fmt: skip
        self.run(stage, task, recipe.vae_steps)
        return vae

    def cinn(
        self,
        f: Any,
        vae: SpatialVAE,
        layer: str,
        domain: str,
        pairs: PatchPairs,
        stage: str,
        *,
        start: ConvolutionalINN | None = None,
    ) -> InvarianceModel:
        """The cINN of one layer, on posterior samples of the VAE, from nothing or from another."""
        wiretap, recipe = Wiretap(f, layer), self.recipe
        vae = vae.eval().requires_grad_(False)
        seen = represented(pairs.batch(2, torch.Generator().manual_seed(0)), wiretap.phi)
        cinn = self.fresh(
            lambda: ConvolutionalINN(
                latent_shape=vae.latent_shape,
                condition_shape=tuple(seen.shape[1:]),
                blocks=recipe.inn_blocks,
                hidden=recipe.inn_hidden,
            ),
            stage,
        )
        if start is not None:
            cinn.load_state_dict(start.state_dict())
            cinn.fitted.zero_()  # its scales are of these scans
        steps = recipe.inn_inner_steps
        if wiretap.layer == "output":
            steps = pick_domain(recipe.inn_steps, domain)
        task = INNTask(
            cinn, vae, wiretap, pairs.batch, domain=domain, batch=recipe.inn_batch, steps=steps,
            lr=recipe.inn_lr,
        )  # fmt: skip
        self.run(stage, task, steps)
        cinn.eval().requires_grad_(False)
        return InvarianceModel(wiretap=wiretap, vae=vae, cinn=cinn, domain=domain, facts={})

    def flow(
        self,
        f: Any,
        layer: str,
        domain: str,
        pairs: PatchPairs,
        stage: str,
        *,
        start: FlowMatching | None = None,
    ) -> FlowModel:
        """Flow matching for one layer, from nothing, or in fewer steps from another's weights."""
        wiretap = Wiretap(f, layer)
        seen = represented(pairs.batch(2, torch.Generator().manual_seed(0)), wiretap.phi)
        shape = tuple(seen.shape[1:])
        flow = self.fresh(
            lambda: FlowMatching(condition_shape=shape, widths=self.recipe.flow_widths), stage
        )
        steps = self.recipe.flow_steps
        if start is not None and start.config == flow.config:
            flow.load_state_dict(start.state_dict())
            flow.fitted.zero_()  # its scales are of this denoiser and these scans
            steps = self.recipe.flow_tune_steps
        task = FlowTask(
            flow, wiretap, pairs.batch, domain=domain, batch=self.recipe.flow_batch, steps=steps,
            lr=self.recipe.flow_lr,
        )  # fmt: skip
        self.run(stage, task, steps)
        flow.eval().requires_grad_(False)
        return FlowModel(wiretap=wiretap, flow=flow, domain=domain)
