"""How sets of networks are trained: denoisers, VAE_x and VAE_y, cINNs and flows of layers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ctxai import (
    SAMPLERS,
    SHIPPED,
    FlowModel,
    InvarianceModel,
    Model,
    PatchPairs,
    WeightSet,
    Wiretap,
    autoencoder_facts,
    flow_name,
    load_module,
    pick_domain,
    sampler_name,
    save_module,
    vae_name,
)
from recon import DataError

from ..data.phantom_pairs import WORKING_POINT, WorkingPoint
from ..numbers import collapse_alarm
from .scores import denoiser_figures, model_figures, vae_figures
from .stages import REDUCED, Recipe, Stages

__all__ = ["LAYERS", "train_all", "train_for"]

Anatomies = Callable[[WorkingPoint], tuple[torch.Tensor, torch.Tensor]]

LAYERS = {
    ("chen", "x"): ("1", "2", "output"),
    ("yang", "x"): ("1", "4", "7", "output"),
    ("chen", "y"): ("output",),
    ("yang", "y"): ("output",),
}
"""Layers for which a cINN and a flow ship, by denoiser and domain."""


def train_all(
    folder: str | Path,
    *,
    recipe: Recipe = REDUCED,
    point: WorkingPoint = WORKING_POINT,
    seed: int = 1,
    keep: WeightSet | None = None,
    anew: Sequence[str] = (),
    names: Sequence[str] = ("*",),
    device: str = "cpu",
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
    keep : WeightSet, optional
        Networks that are taken over from another set, with their figures, and not trained.
    anew : sequence of str
        Patterns of the names that are not taken over, such as ``"flow-*"``.
    names : sequence of str
        Patterns of the names that the set shall hold; all by default.
    device : str
        Where networks are trained; on "cuda" in mixed precision.
    progress : bool
        Bars on stderr.

    Returns
    -------
    WeightSet
        The trained set, as :data:`ctxai.weights.sets.SHIPPED` is one.
    """
    folder = Path(folder)
    stages = Stages(folder, recipe, point, seed, progress, device)

    @cache
    def pairs(domain: str) -> PatchPairs:
        """Scans to learn the images of a domain from: anatomies have no noise."""
        return stages.patches("train", recipe.slices, noise_free=domain == "y")

    various = cache(stages.various)

    @cache
    def seen(denoiser: str) -> PatchPairs:
        return stages.in_place(various(), stages.saved(denoiser))

    @cache
    def held_out(noise_free: bool) -> tuple[torch.Tensor, ...]:
        of = stages.scanned if noise_free else stages.patches
        return of("test", recipe.held_out).batch(64, torch.Generator().manual_seed(0))

    high_dose = held_out(noise_free=False)
    figures: dict[str, Any] = {}
    if keep is not None:
        taken = [name for name in keep.names if _any(names, name) and not _any(anew, name)]
        figures = _take_over(keep, taken, folder)

    def missing(name: str) -> bool:
        return name not in figures and _any(names, name)

    for name, train_denoiser in (("chen", stages.chen), ("yang", stages.yang)):
        if missing(name):
            denoiser = train_denoiser(pairs("x"))
            figures[name] = denoiser_figures(denoiser, *high_dose)
            stages.save(name, denoiser, figures[name])
    for domain in ("x", "y"):
        name = vae_name(domain)
        if missing(name):
            scans = pairs("x") if domain == "x" else pairs("x") + pairs("y")
            autoencoder = stages.vae(domain, scans)
            networks = {f: stages.saved(f) for f in ("chen", "yang")} if domain == "x" else {}
            images = pick_domain(high_dose, domain)
            figures[name] = vae_figures(autoencoder, images, denoisers=networks)
            stages.save(name, autoencoder, figures[name])
            active = figures[name]["active_dimensions"]
            if alarm := collapse_alarm(active, autoencoder.latent):
                tqdm.write(f"{name}: {alarm}", file=sys.stderr)
    weights = WeightSet(folder)
    for sampler, of, domain, layer in _samplers():
        name = sampler_name(sampler, of, layer, domain)
        if missing(name):
            scans = seen(of) if layer == "output" else various()
            first = flow_name("chen", layer, domain)
            start = first if first in figures else None
            onwards = recipe.flow_goes_on if sampler == "flow" else recipe.inn_goes_on
            goes_on = keep if onwards and keep is not None and name in keep else None
            model = _sampler(stages, sampler, (of, layer, domain), scans, name, start, goes_on)
            x, y, _, noise = held_out(noise_free=True)
            figures[name] = model_figures(model, x, y, noise)
            stages.save(
                name, model.networks[-1], figures[name], noise_free=True,
                scans=recipe.scans.facts, in_place=scans.seen is not None,
            )  # fmt: skip
    facts = {**asdict(recipe), "seed": seed, "working_point": point.facts}
    if keep is not None:
        facts["taken_over"] = {"networks": taken, "recipe": keep.manifest["recipe"]}
    weights.seal(recipe=facts, figures=figures)
    return weights


def _samplers() -> Iterator[tuple[str, str, str, str]]:
    """Sampler, denoiser, domain and layer of all samplers of a set."""
    for sampler in SAMPLERS:
        for (of, domain), layers in LAYERS.items():
            yield from ((sampler, of, domain, layer) for layer in layers)


def _sampler(
    stages: Stages,
    sampler: str,
    of: tuple[str, str, str],
    scans: PatchPairs,
    name: str,
    first: str | None,
    goes_on: WeightSet | None,
) -> Model:
    """One sampler of a denoiser, layer and domain.

    It starts from itself in an earlier set that goes on; a flow else from the ``first`` one.
    """
    denoiser, layer, domain = of
    f = stages.saved(denoiser)
    if sampler == "flow":
        start = stages.saved(first) if first else None
        start = goes_on.load(name)[0] if goes_on else start
        return stages.flow(f, layer, domain, scans, name, start=start)
    start = goes_on.load(name)[0] if goes_on else None
    vae = stages.saved(vae_name(domain))
    return stages.cinn(f, vae, layer, domain, scans, name, start=start)


def _any(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _take_over(keep: WeightSet, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Copy networks of a set into a folder; returns their figures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        keep.load(name)  # refuses a file that is not what the manifest says
        shutil.copy2(keep.folder / f"{name}.safetensors", folder)
    return {name: keep.manifest["figures"][name] for name in names}


def train_for(
    f: Callable[[torch.Tensor], torch.Tensor],
    *,
    name: str,
    digest: str,
    layers: Sequence[str],
    domain: str,
    folder: str | Path,
    sampler: str = "cinn",
    weights: WeightSet = SHIPPED,
    recipe: Recipe = REDUCED,
    point: WorkingPoint | None = None,
    anatomies: Anatomies | None = None,
    seed: int = 1,
    shape: tuple[int, int] | None = None,
    progress: bool = True,
) -> dict[str, Model]:
    """Train the samplers of a user's own denoiser: flows, or cINNs on the VAE of a trained set.

    After the output they learn from what the denoiser makes of patches in their place in a slice,
    after layers inside from patches alone.

    Parameters
    ----------
    f : callable
        Denoiser, HU → HU on (B, 1, H, W).
    name, digest : str
        What it is called, and the digest that its samplers are kept by.
    layers : sequence of str
        Wiretapped layers, "output" for any callable.
    domain : {"x", "y"}
        Samples of the low-dose image, or of the high-dose image.
    folder : path
        Kept in ``folder/<first 16 digits of the digest>``, and in a folder of that for another
        scan than the set's; what is there is not trained again.
    sampler : {"cinn", "flow"}
        VAE + cINN, or flow matching; the latter starts from the set's flow for Chen's output where
        the layer's shape is the same.
    weights : WeightSet
        Where VAE_x and VAE_y come from; those that ship by default.
    recipe : Recipe
        How long, with what.
    point : WorkingPoint, optional
        The scan that they are trained for: pixels, slice thickness, voltage and exposure; that of
        the set by default.
    anatomies : callable, optional
        ``anatomies(point) -> (x, y)``, scans of further slices to learn low-dose images from,
        beside phantoms.
    seed : int
        Everything random is a function of it.
    shape : (rows, cols), optional
        Of the images that shall be sampled, in place of that of the training.
    progress : bool
        Bars on stderr.

    Returns
    -------
    dict
        For each layer an :class:`~ctxai.sampling.model.InvarianceModel`, or a
        :class:`~ctxai.sampling.model.FlowModel`.

    Raises
    ------
    DataError
        If what is kept there was trained for another denoiser or on another VAE.
    """
    folder = Path(folder) / digest[:16]
    of_set = WorkingPoint(**weights.manifest["recipe"]["working_point"])
    if point is None or point == of_set:
        point = of_set
    else:
        folder /= str(point)
    stages = Stages(folder, recipe, point, seed, progress)
    digests = {"denoiser": digest}
    known: dict[str, Any] = {}
    if sampler == "cinn":
        vae, of_vae = weights.load(vae_name(domain))
        known = autoencoder_facts(of_vae)
        digests["autoencoder"] = weights.manifest["sha256"][vae_name(domain)]
    models: dict[str, Model] = {}
    pairs = seen = None
    for layer in layers:
        wiretap = Wiretap(f, layer)
        path = folder / f"{sampler_name(sampler, 'own', wiretap.layer, domain)}.safetensors"
        network: Any
        facts: dict[str, Any] = {}
        slices_too = anatomies is not None and domain == "x"
        if path.exists():
            network, facts = load_module(path)
            _require_same(digests, facts, path)
        if not facts or slices_too > facts.get("slices_too", False):
            if pairs is None:
                pairs = stages.patches("own", recipe.own_slices, noise_free=domain == "y")
                if anatomies is not None and domain == "x":
                    pairs += PatchPairs(*anatomies(point), patch=point.patch)
            learnt = pairs
            if wiretap.layer == "output":
                learnt = seen = stages.in_place(pairs, f) if seen is None else seen
            stage = path.stem + "-slices" * slices_too
            trained: Model
            if sampler == "cinn":
                trained = stages.cinn(f, vae, wiretap.layer, domain, learnt, stage)
            else:
                similar = flow_name("chen", "output", domain)
                start = weights.load(similar)[0] if similar in weights else None
                trained = stages.flow(f, wiretap.layer, domain, learnt, stage, start=start)
            network = trained.networks[-1]
            of = {f"{what}_sha256": value for what, value in digests.items()}
            facts = {
                **point.facts, "denoiser": name, "noise_free": domain == "y",
                "in_place": learnt.seen is not None, "slices_too": slices_too, **of,
            }  # fmt: skip
            save_module(path, network, **facts)
        model: Model = (
            InvarianceModel(wiretap, vae, network, domain, facts=facts | known)
            if sampler == "cinn"
            else FlowModel(wiretap, network, domain, facts=facts)
        )
        models[layer] = model if shape is None else model.resized(shape)
    return models


def _require_same(digests: Mapping[str, str], facts: Mapping[str, Any], path: Path) -> None:
    """Refuse a kept network that was trained for another denoiser or on another VAE."""
    for what, wanted in digests.items():
        if (got := facts.get(f"{what}_sha256", "no digest")) != wanted:
            raise DataError(
                f"trained for another {what}",
                where=path,
                expected=wanted,
                got=got,
                remedy=f"remove the folder {path.parent} to train again",
            )
