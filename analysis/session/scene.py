"""What a command works on: slices, the patch placed in one of them, and models to sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon import DataError

from .running import current

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from analysis.data.phantom_pairs import WorkingPoint
    from analysis.scanner.slice_scanner import SliceScanner
    from analysis.scanner.slices import Patch
    from analysis.scanner.surroundings import Surroundings
    from ctxai import Model, WeightSet, Wiretap
    from recon import CTImages

__all__ = [
    "Scene",
    "departures",
    "draw_phantom",
    "has_jacobian",
    "learnt_from",
    "load_named",
    "models_for",
    "on_device",
    "open_scene",
    "tell_departures",
    "weight_set",
    "working_point",
    "write_slice",
]

_LEARNT = 32  # slices of a series
SHIPPED = ("chen", "yang")
"""Denoisers that have a name in a set of weights."""


@dataclass
class Scene:
    """Slices from a folder, the one to study, and the patch placed in it."""

    images: CTImages
    index: int
    kvp: float
    patch: Patch
    native: bool = False  # the patch keeps the slice's pixels; samplers are trained for the scan
    _measured: list[tuple[Callable[[Tensor], Tensor], Surroundings]] = field(default_factory=list)

    @property
    def hu(self) -> np.ndarray:
        """The slice under study, (rows, cols) [HU]."""
        return self.images.hu[self.index]

    @property
    def thickness(self) -> float:
        """Thickness of the slice under study [mm]."""
        return float(self.images.thicknesses[self.index])

    def point(self, mas: float, weights: WeightSet) -> WorkingPoint | None:
        """This scan at an exposure [mAs], for which samplers of a user's own denoiser are trained.

        None if the patch has the pixels that a set of networks was trained at: that is theirs.
        """
        from analysis.data.phantom_pairs import WorkingPoint

        if not self.native:
            return None
        like, spacing = WorkingPoint(**working_point(weights)), self.patch.grid.spacing[0]
        width = like.matrix * like.spacing_mm  # no phantom is narrower than what it was drawn for
        return replace(
            like,
            spacing_mm=spacing,
            matrix=max(*self.hu.shape, math.ceil(width / spacing)),
            kvp=self.kvp,
            mas=mas,
            slice_thickness_mm=self.thickness,
        )

    def surroundings(self, f: Callable[[Tensor], Tensor]) -> Surroundings:
        """What of the slice a denoiser looks at around the patch, measured once."""
        from analysis.scanner.surroundings import measure_surroundings

        for known, around in self._measured:  # a user's callable need not have a hash
            if known is f:
                return around
        around = measure_surroundings(f, self.hu, self.images.spacing, self.patch.grid)
        self._measured.append((f, around))
        return around

    def used_at(self, f: Callable[[Tensor], Tensor]) -> tuple[int, int]:
        """Shape of the images that a denoiser is given."""
        return self.surroundings(f).grid.shape

    def scanner(
        self, f: Callable[[Tensor], Tensor], *, seed: int, device: str = "cpu"
    ) -> SliceScanner:
        """The slice in the scanner, with as much around the patch as a denoiser looks at."""
        from analysis.scanner.slice_scanner import SliceScanner

        around = self.surroundings(f)
        current().note(f"the denoiser sees the patch in {around}")
        return SliceScanner(
            self.hu,
            self.images.spacing,
            kvp=self.kvp,
            slice_thickness=self.thickness,
            patch_grid=self.patch.grid,
            context_grid=around.grid,
            seed=seed,
            image=self.index,
            device=device,
        )

    def inputs(self) -> dict[str, str]:
        """SHA-256 of the input files."""
        from recon.storage import digest_files

        return digest_files(self.images.files)


def weight_set(folder: Path | None) -> WeightSet:
    """The networks in a folder that `ctxai train` made, or those that come along."""
    from ctxai import SHIPPED, WeightSet

    return SHIPPED if folder is None else WeightSet(Path(folder).expanduser())


def working_point(weights: WeightSet) -> dict[str, Any]:
    """The scan that a set of networks was trained at, as plain values."""
    return dict(weights.manifest["recipe"]["working_point"])


def open_scene(
    folder: Path,
    *,
    number: int | None,
    roi: tuple[int, int] | None,
    kvp: float | None,
    weights: WeightSet,
    pixels: int | None = None,
    native: bool = False,
    series: str = "",
) -> Scene:
    """Read slices and place the patch; notes what differs from an ideal input.

    Parameters
    ----------
    folder : path
        DICOM files of one series.
    number : int, optional
        Slice, counted from 0 in order of position; the middle one by default.
    roi : (row, col), optional
        Centre of the patch in the slice; the body's centre by default.
    kvp : float, optional
        In place of the files' own [kV].
    weights : WeightSet
        Its networks' patch is placed.
    pixels : int, optional
        Side of the patch in place of theirs.
    native : bool
        Whether the patch keeps the pixels of the slice, in place of those of the networks.
    series : str
        Which series, where the folder holds several.
    """
    from analysis.scanner.slices import BODY_HU, load_slices, place_patch
    from recon import mu_water

    images = load_slices(folder, series)
    count = len(images.hu)
    index = count // 2 if number is None else number
    if not 0 <= index < count:
        raise DataError("no such slice", where="--slice", expected=f"0 to {count - 1}", got=index)
    voltage = kvp if kvp is not None else images.kvp
    if voltage is None:
        raise DataError("the files state no tube voltage", where=folder, remedy="give --kvp")
    if roi is None and not (images.hu[index] > BODY_HU).any():
        current().note(
            f"slice {index} holds nothing denser than {BODY_HU:g} HU: the patch lies in its middle"
        )
    mu_water(voltage)  # refuses a voltage without a spectrum before any work is done
    point = working_point(weights)
    if pixels is not None and (pixels < 8 or pixels % 8):
        raise DataError("no such patch", where="--patch", expected="a multiple of 8", got=pixels)
    patch = place_patch(
        images.hu[index],
        images.spacing,
        shape=(pixels or int(point["patch"]),) * 2,
        to_spacing=(min(images.spacing),) * 2 if native else (float(point["spacing_mm"]),) * 2,
        roi=roi,
    )
    return Scene(images, index, float(voltage), patch, native)


def learnt_from(scene: Scene, *, seed: int) -> Callable[[WorkingPoint], tuple[Tensor, Tensor]]:
    """Slices of a series that samplers learn low-dose images from, beside phantoms.

    The middle fifth of the series, where the slice of a study lies by default, is held out; of the
    rest 32 slices at most are taken, and scanned as a study scans them.

    Raises
    ------
    DataError
        If the series has fewer than 5 slices.
    """
    count = len(scene.images.hu)
    if count < 5:
        raise DataError("too few slices to hold any out", expected="at least 5", got=count)
    rest = [k for k in range(count) if not 2 * count <= 5 * k < 3 * count]
    taken = rest[:: -(-len(rest) // _LEARNT)]
    current().note(
        f"{len(taken)} slices of the series are learnt from; slices {-(-2 * count // 5)} to "
        f"{-(-3 * count // 5) - 1} are held out"
    )

    def scans(point: WorkingPoint) -> tuple[Tensor, Tensor]:
        import numpy as np
        import torch

        from analysis.data.phantom_pairs import scan
        from analysis.scanner.slice_scanner import derived_seed
        from analysis.scanner.slices import resample
        from recon import AIR_HU

        y = resample(scene.images.hu[taken], scene.images.spacing, point.grid.spacing)
        around = [((point.matrix - n) // 2, -(-(point.matrix - n) // 2)) for n in y.shape[1:]]
        y = np.pad(y, [(0, 0), *around], constant_values=AIR_HU)
        x = scan(y, point.mas, seed=derived_seed(seed, "learnt from"), point=point)
        return torch.from_numpy(x), torch.from_numpy(y)

    return scans


def draw_phantom(anatomy: str, out: Path, *, seed: int, point: dict) -> Path:
    """A random slice of the working point's grid, as a series of one image."""
    from analysis.data.phantom_pairs import WorkingPoint
    from recon.phantom import random_slice

    where = WorkingPoint(**point)
    return write_slice(
        out / "phantom",
        random_slice(anatomy, seed=seed, grid=where.grid),
        where,
        series_description=f"Random {anatomy}",
        uid_seed=f"projection-domain/{anatomy}/{seed}",
    )


def write_slice(folder: Path, hu: np.ndarray, point: WorkingPoint, **how: Any) -> Path:
    """A slice on the grid of a working point as a series of one image at its high dose."""
    from recon import write_series
    from recon.storage import run_folder

    with run_folder(folder.parent) as parent:
        write_series(
            parent / folder.name,
            hu[None],
            spacing=point.grid.spacing,
            slice_thickness=point.slice_thickness_mm,
            positions=[(point.grid.x[0], point.grid.y[0], 0.0)],
            kvp=point.kvp,
            mas=point.high_mas,
            **how,
        )
    return folder


def on_device(models: dict[str, Model], device: str) -> dict[str, Model]:
    """The models with their networks on a device, "cpu" or "cuda"."""
    import torch

    for model in models.values():
        for part in (model.wiretap.f, *model.networks):
            if isinstance(part, torch.nn.Module):
                part.to(device)
    return models


def tell_departures(scene: Scene, mas: Sequence[float], weights: WeightSet) -> None:
    """Note how scans at some exposures [mAs] differ from that which the networks learnt from."""
    for text in departures(scene, mas, weights):
        current().note(text)


def departures(scene: Scene, mas: Sequence[float], weights: WeightSet) -> list[str]:
    """In which respects a study differs from the scan that the networks were trained at."""
    images, found = scene.images, []
    trained_for = scene.point(mas[0], weights)
    point = working_point(weights) if trained_for is None else trained_for.facts
    for what, ours, theirs, unit in (
        ("tube voltage", scene.kvp, point["kvp"], "kV"),
        ("slice thickness", scene.thickness, point["slice_thickness_mm"], "mm"),
        *(("exposure", value, point["mas"], "mAs") for value in mas),
    ):
        if abs(ours - theirs) > 1e-3 * theirs:
            found.append(f"{what} {ours:g} {unit}: the networks were trained at {theirs:g} {unit}")
    spacing = images.spacing
    if not scene.native and any(abs(s - point["spacing_mm"]) > 1e-3 for s in spacing):
        found.append(
            f"pixels of {spacing[0]:.4g} × {spacing[1]:.4g} mm: the patch was resampled to the "
            f"{point['spacing_mm']:g} mm that the networks were trained at"
        )
    if images.mas is not None and any(value > images.mas for value in mas):
        found.append(
            f"an exposure above the image's own {images.mas:g} mAs: the image is taken as "
            "noise-free all the same"
        )
    return found


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
