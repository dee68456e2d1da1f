"""The denoiser that a command works on, and what samples images for its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    "Loaded",
    "has_jacobian",
    "load_named",
    "models_for",
    "on_device",
    "require_jacobian",
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


@dataclass(frozen=True)
class Loaded:
    """A denoiser that was loaded, and tried if it is a user's own.

    Attributes
    ----------
    f : callable
        HU to HU, (B, 1, H, W) to the same shape.
    spec : str
        As it was named.
    name, digest : str
        What it is called, and the key of its samplers.
    shape : (rows, cols)
        Of the images that it was tried on.
    shipped : bool
        Whether a set of weights has samplers for it, whatever a user's own is called.
    """

    f: Callable[[Tensor], Tensor]
    spec: str
    name: str
    digest: str
    shape: tuple[int, int]
    shipped: bool


def load_named(
    denoiser: str,
    weights: WeightSet,
    *,
    input: str = "hu",
    shape: Callable[[Callable[[Tensor], Tensor]], tuple[int, int]] | None = None,
) -> Loaded:
    """A denoiser of the set, or of the user's own.

    The user's own is tried at the shape of the images that it will be given, as a function of it;
    that of the set's training by default.
    """
    from ctxai import load_denoiser

    side = int(working_point(weights)["patch"])
    if (name := denoiser.lower()) in SHIPPED and input == "hu":
        digest = weights.manifest["sha256"][name]
        return Loaded(weights.load(name)[0], denoiser, name, digest, (side, side), True)
    at = (side, side) if shape is None else shape
    f, name, digest = load_denoiser(denoiser, input=input, shape=at)
    return Loaded(f, denoiser, name, digest, at(f) if callable(at) else at, False)


def require_jacobian(loaded: Loaded) -> None:
    """Refuse a denoiser whose derivative is not there, or is not that of its answers."""
    from ctxai import NoJacobian, require_differentiable

    if loaded.shipped:
        return
    try:
        require_differentiable(loaded.f, loaded.spec, loaded.shape)
    except NoJacobian as error:
        raise NoJacobian(f"{error}; anatomies (target-domain) need no derivative") from error


def has_jacobian(loaded: Loaded, left_out: str, *, needed: bool = True) -> bool:
    """Whether a denoiser has a derivative; if not, a note says what is left out.

    Where it is needed, a derivative that is not that of the answers is refused.
    """
    from ctxai import NoJacobian

    try:
        require_jacobian(loaded)
    except DataError as error:
        if needed and not isinstance(error, NoJacobian):
            raise
        current().note(f"{left_out}: {error}")
        return False
    return True


def models_for(
    loaded: Loaded,
    layers: Sequence[str],
    domain: str,
    *,
    out: Path,
    sampler: str | None = None,
    weights: WeightSet | None = None,
    scene: Scene | None = None,
    mas: float | None = None,
    anatomies: Callable[[WorkingPoint], tuple[Tensor, Tensor]] | None = None,
) -> dict[str, Model]:
    """A model for each of a denoiser's layers, trained first if none comes along.

    Parameters
    ----------
    loaded : Loaded
        The denoiser.
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
    """
    from ctxai import Wiretap, sampler_name

    weights = weight_set(None) if weights is None else weights
    f, name, digest = loaded.f, loaded.name, loaded.digest
    shape = None if scene is None else scene.patch.grid.shape
    trained_at = working_point(weights)
    mas = trained_at["mas"] if mas is None else mas
    point = None if scene is None else scene.point(mas, weights)
    wanted = list(dict.fromkeys(Wiretap(f, layer).layer for layer in layers))
    if not wanted:
        raise DataError("no layer to sample", where="--layers")
    models: dict[str, Model] = {}
    missing: dict[str, list[str]] = {}
    for layer in wanted:
        found = weights.best_sampler(name, layer, domain) if loaded.shipped else None
        kind = sampler or found or sampler_for(Wiretap(f, layer), trained_at)
        if loaded.shipped and sampler_name(kind, name, layer, domain) in weights:
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
    return {layer: models[layer] for layer in wanted}


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
