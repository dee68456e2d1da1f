"""The denoiser that a command works on, and what samples images for its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon import DataError

from .running import current

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.data.phantom_pairs import WorkingPoint
    from ctxai import Model, WeightSet, Wiretap

    from .scene import Scene

__all__ = [
    "SHIPPED",
    "has_jacobian",
    "load_named",
    "models_for",
    "on_device",
    "sampler_for",
    "weight_set",
    "working_point",
]

SHIPPED = ("chen", "yang")
"""Denoisers that have a name in a set of weights."""


def weight_set(folder: Path | None) -> WeightSet:
    """The networks in a folder that `ctxai train` made, or those that come along."""
    from ctxai import SHIPPED, WeightSet

    return SHIPPED if folder is None else WeightSet(Path(folder).expanduser())


def working_point(weights: WeightSet) -> dict[str, Any]:
    """The scan that a set of networks was trained at, as plain values."""
    return dict(weights.manifest["recipe"]["working_point"])


def load_named(
    denoiser: str,
    weights: WeightSet,
    *,
    differentiable: bool,
    input: str = "hu",
    shape: Callable[[Callable[[Tensor], Tensor]], tuple[int, int]] | None = None,
) -> tuple[Callable[[Tensor], Tensor], str, str]:
    """A denoiser of the set, or of the user's own, which may have to be differentiable.

    The user's own is tried at the shape of the images that it will be given, as a function of it;
    that of the set's training by default. Returns f, its name and its digest.
    """
    from ctxai import NoJacobian, load_denoiser, require_differentiable

    if (name := denoiser.lower()) in SHIPPED and input == "hu":
        return weights.load(name)[0], name, weights.manifest["sha256"][name]
    side = int(working_point(weights)["patch"])
    at = (side, side) if shape is None else shape
    f, name, digest = load_denoiser(denoiser, input=input, shape=at)
    if differentiable:
        try:
            require_differentiable(f, denoiser, at(f) if callable(at) else at)
        except NoJacobian as error:
            raise NoJacobian(f"{error}; anatomies (target-domain) need no derivative") from error
    return f, name, digest


def has_jacobian(denoiser: str, weights: WeightSet, **how: Any) -> bool:
    """Whether samples of a denoiser can be projected and its near-null space be found.

    Notes what is left out if not; a derivative that is not that of the answers is refused.
    """
    from ctxai import NoJacobian

    try:
        load_named(denoiser, weights, differentiable=True, **how)
    except NoJacobian as error:
        current().note(
            f"samples are not projected, and the near-null space is not looked at: {error}"
        )
        return False
    return True


def models_for(
    denoiser: str,
    layers: Sequence[str],
    domain: str,
    *,
    out: Path,
    sampler: str | None = None,
    weights: WeightSet | None = None,
    scene: Scene | None = None,
    mas: float | None = None,
    anatomies: Callable[[WorkingPoint], tuple[Tensor, Tensor]] | None = None,
    input: str = "hu",
) -> tuple[str, dict[str, Model]]:
    """Name of a denoiser and a model for each of its layers, trained first if none comes along.

    Parameters
    ----------
    denoiser : str
        As `ctxai.load_denoiser` takes it.
    layers : sequence of str
        Names or numbers of layers.
    domain : {"x", "y"}
        Samples of low-dose images, or of targets.
    out : path
        What has to be trained is kept in ``out/trained`` by the denoiser's digest.
    sampler : {"flow", "cinn"}, optional
        By default, for each layer, the better one of those that come along; what has to be trained
        is a flow, and a cINN after a layer that is no map of the image's size.
    weights : WeightSet, optional
        Networks to use; those that come along by default.
    scene : Scene, optional
        Where the denoiser is used: models are for its patch, and samplers of the user's own
        denoiser are trained for its scan; both are those of the set's training by default.
    mas : float, optional
        Exposure of that scan [mAs]; the training's by default.
    anatomies : callable, optional
        Scans of further slices that they learn from; see `train_for`.
    input : str
        What the user's own network takes, as `ctxai.load_denoiser` takes it.
    """
    from ctxai import Wiretap, sampler_name

    weights = weight_set(None) if weights is None else weights
    f, name, digest = load_named(
        denoiser, weights, differentiable=False, input=input,
        shape=None if scene is None else scene.used_at,
    )  # fmt: skip
    shape = None if scene is None else scene.patch.grid.shape
    trained_at = working_point(weights)
    mas = trained_at["mas"] if mas is None else mas
    point = None if scene is None else scene.point(mas, weights)
    wanted = list(dict.fromkeys(Wiretap(f, layer).layer for layer in layers))
    if not wanted:
        raise DataError("no layer to sample", where="--layers")
    models: dict[str, Model] = {}
    missing: dict[str, list[str]] = {}
    ours = denoiser.lower() in SHIPPED  # not a user's own, whatever that is called
    for layer in wanted:
        found = weights.best_sampler(name, layer, domain) if ours else None
        kind = sampler or found or sampler_for(Wiretap(f, layer), trained_at)
        if ours and sampler_name(kind, name, layer, domain) in weights:
            models[layer] = weights.load_model(name, layer, domain, f=f, sampler=kind, shape=shape)
        else:
            missing.setdefault(kind, []).append(layer)
    for kind, untrained in missing.items():
        from analysis.training.recipes import train_for

        models |= train_for(
            f,
            name=name,
            digest=digest,
            layers=untrained,
            domain=domain,
            folder=out / "trained",
            sampler=kind,
            weights=weights,
            shape=shape,
            point=point,
            anatomies=anatomies,
        )
    return name, {layer: models[layer] for layer in wanted}


def sampler_for(wiretap: Wiretap, point: dict[str, Any]) -> str:
    """The sampler to train for a layer: the better one that there is for its shape."""
    import torch

    side = int(point["patch"])
    if wiretap.layer == "output":  # of a denoiser that need not take an image of that size
        return "flow"
    z = wiretap.phi(torch.zeros(1, 1, side, side))
    return "flow" if z.ndim == 4 and tuple(z.shape[2:]) == (side, side) else "cinn"


def on_device(models: dict[str, Model], device: str) -> dict[str, Model]:
    """The models with their networks on a device, "cpu" or "cuda"."""
    import torch

    for model in models.values():
        for part in (model.wiretap.f, *model.networks):
            if isinstance(part, torch.nn.Module):
                part.to(device)
    return models
