"""The arguments that the commands of studies share, as the command line takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from .departures import tell_of_one_scan
from .models import SHIPPED, Loaded, load_named, models_for, on_device, weight_set
from .neighbours import require_neighbours
from .results import write_results
from .running import MOST_SAMPLES, current, require_count, require_device
from .scene import Scene, open_scene

if TYPE_CHECKING:
    from analysis.runs.store import Study
    from ctxai import Model, WeightSet

__all__ = ["SamplingOptions", "StudyOptions"]


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What every study of a denoiser on a slice is given."""

    denoiser: str
    """chen, yang, or your own: path/to/module.py:factory, where factory() returns a network or
    callable on (B, 1, H, W), or path/to/module.py:factory:weights.pt with a state dict for it; a
    TorchScript file (.pt, .ts), an exported program (.pt2) or a file.onnx; or weights of
    ldct-benchmark as cnn10:, redcnn:, wganvgg: or dugan:file.safetensors. What samples for your
    own, or after a layer without a sampler yet, is trained first and kept in OUT/trained."""
    input: str = "hu"
    """What your own network takes and returns: hu, hu+1024, hu+1000, water (water is 1 and air 0),
    or scale=S,offset=O for (HU + O) / S; with slices=3 beside it, as in water,slices=3, a slice and
    its neighbours as channels, of which it returns the middle one."""
    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for the results, new or empty; see --overwrite."""
    overwrite: bool = False
    """Replace the results of an earlier run in OUT. Files that are of no run stay, and so do
    networks that were trained there."""
    series: str = ""
    """Number, UID or description of the DICOM series to take, where a folder holds several."""
    slice: int | None = None
    """Slice to study, from 0 in order of position; the middle one by default."""
    roi: Annotated[tuple[int, int] | None, arg(metavar="ROW COL")] = None
    """Row and column of the slice, from 0, at the patch's centre; the body's by default."""
    seed: int = 1
    """Seed of everything random."""
    kvp: float | None = None
    """Tube voltage in kV, in place of the files' own."""
    weights: Annotated[Path | None, arg(metavar="DIR")] = None
    """Networks made by `ctxai train`, in place of those that come along."""

    def check(self) -> None:
        """Refuse what cannot be studied, whatever the images; nothing heavy is loaded for it."""
        from ctxai import require_denoiser

        require_count(self.seed, "--seed", least=0)
        require_denoiser(self.denoiser, self.input)
        _ = self.networks().manifest

    def networks(self) -> WeightSet:
        """The set of networks that was asked for."""
        return weight_set(self.weights)

    def scene(self, images: Path, networks: WeightSet, *, pixels: int | None = None) -> Scene:
        """The slice that was asked for, with the patch placed in it."""
        scene = open_scene(
            images, series=self.series, number=self.slice, roi=self.roi, kvp=self.kvp,
            weights=networks, pixels=pixels, own=self.denoiser.lower() not in SHIPPED,
        )  # fmt: skip
        (row, col), (rows, cols) = scene.patch.roi, scene.patch.grid.shape
        current().note(
            f"slice {scene.index} of 0 to {len(scene.images) - 1}, z "
            f"{scene.images.positions[scene.index, 2]:.1f} mm; patch of {rows} × {cols} pixels of "
            f"{scene.patch.grid.spacing[0]:.3g} mm about row {row}, column {col}"
        )
        return scene

    def load(self, scene: Scene, networks: WeightSet) -> Loaded:
        """The denoiser, tried at the size at which the scene gives it images."""
        loaded = load_named(self.denoiser, networks, input=self.input, shape=scene.used_at)
        require_neighbours(loaded.f, scene)
        return loaded

    def found(self, scene: Scene) -> dict[str, Any]:
        """What was found for arguments that may be left out."""
        return {"slice": scene.index, "kvp": scene.kvp}

    def write(
        self,
        command: str,
        scene: Scene,
        results: Sequence[Any],
        networks: WeightSet,
        *,
        beside: Callable[[Path, Sequence[Study]], None] | None = None,
        told: Callable[[Path, Study], str] | None = None,
        **resolved: Any,
    ) -> None:
        """Write the run folder of a study, all arguments in its record; see `write_results`."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "out"}
        write_results(
            self.out.expanduser(), scene, results, command=command, networks=networks,
            beside=beside, told=told, **given | self.found(scene) | resolved,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(StudyOptions):
    """What a study that draws samples is given besides."""

    images: Annotated[Path, arg(metavar="DIR")]
    """CT images of one series: a folder of DICOM files, or a NIfTI or NRRD file."""
    sampler: Literal["flow", "cinn"] | None = None
    """cinn (VAE and cINN) or flow (flow matching in pixel space); by default the one that was
    measured better: cinn after the output, flow after layers inside. What has to be trained for
    your own denoiser is a flow, and a cinn after a layer that is no map of the image's size."""
    n: Annotated[int, arg(aliases=["-n"])] = 250
    """Number of samples: of low-dose images after each layer, or of anatomies."""
    patch: int | None = None
    """Side of the patch in pixels, a multiple of 8; that of the training by default. Others take
    flow matching."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where networks and projections run."""

    def check(self) -> None:
        """Refuse what cannot be studied, whatever the images."""
        from recon.storage import require_there

        require_count(self.n, "-n", most=MOST_SAMPLES)
        super().check()
        require_there(self.images)
        require_device(self.device)

    def models(
        self,
        loaded: Loaded,
        layers: tuple[str, ...],
        domain: str,
        scene: Scene,
        networks: WeightSet,
        *,
        mas: float,
    ) -> dict[str, Model]:
        """A model for each layer of the denoiser, on the device.

        What has to be trained for it is trained for the scan at an exposure [mAs].
        """
        models = models_for(
            loaded, layers, domain, out=self.out.expanduser(), sampler=self.sampler,
            weights=networks, scene=scene, mas=mas,
        )  # fmt: skip
        tell_of_one_scan(scene, mas, models)
        return on_device(models, self.device)

    def found(self, scene: Scene) -> dict[str, Any]:
        """The same with the patch that was placed."""
        return super().found(scene) | {"patch": scene.patch.grid.shape}
