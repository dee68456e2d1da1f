"""`ctxai projection-domain`: what the scanner could tell apart, and who lost it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from analysis.session.options import StudyOptions
from recon import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.lesions.lesion import Lesion
    from analysis.runs.store import Study
    from analysis.scanner.slice_scanner import SliceScanner
    from analysis.session import Loaded, Scene
    from ctxai import WeightSet

__all__ = ["PairOptions", "projection_domain"]


@dataclass(frozen=True, kw_only=True)
class PairOptions(StudyOptions):
    """What the study of two anatomies is given."""

    images: Annotated[Path | None, arg(metavar="DIR")] = None
    """CT images of one series: a DICOM folder, or a NIfTI or NRRD file; or else a phantom."""
    phantom: Literal["thorax", "abdomen", "head"] | None = None
    """A random slice of this anatomy, drawn from --seed, without noise of its own."""
    other: Literal["lesion", "sample"] = "lesion"
    """What y is compared with: a lesion in it, or a sampled anatomy."""
    sample: int = 1
    """Which sampled anatomy: number K, from 1 as its report counts, of those that `ctxai
    target-domain` draws for the same patch, seed and first exposure."""
    contrast: float = 20.0
    """Contrast of the lesion, in the middle of the patch [HU]."""
    radius: float = 3.0
    """Radius of the lesion [mm]."""
    mas: tuple[float, ...] = (10.0,)
    """Exposures of the simulated scans in mAs per rotation. A sampled anatomy is drawn for the scan
    at the first one, and followed at all."""
    full_mas: float | None = None
    """The full dose [mAs]; that of the images by default."""
    tolerance_hu: float = 1.0
    """What a reader or display cannot tell apart [HU]."""
    draws: int = 100
    """Noise draws for the human-like observers: training, and as many for the test."""

    def check(self) -> None:
        """Refuse what cannot be studied, whatever the images."""
        from analysis import session
        from recon.storage import require_there

        session.require_mas(self.mas)
        session.require_count(self.draws, "--draws", least=12)
        session.require_count(self.sample, "--sample", most=session.MOST_SAMPLES - 1)
        if self.sample > 1 and self.other != "sample":
            raise DataError("no anatomy is sampled", where="--sample", remedy="add --other sample")
        super().check()
        if not 0.0 < self.tolerance_hu < float("inf"):
            raise DataError(
                "tolerance is not positive", where="--tolerance-hu", got=self.tolerance_hu
            )
        if (self.images is None) == (self.phantom is None):
            raise DataError("what is to be scanned?", expected="either --images or --phantom")
        if self.images is not None:
            require_there(self.images)


def projection_domain(options: Annotated[PairOptions, arg(name="")]) -> None:
    """How well could the scanner tell two anatomies apart, and who lost it: dose or network?

    Compares a slice y with a lesion in it, or with an anatomy sampled for its denoised scan, and
    follows the difference: an ideal observer's d' in the rays at full dose and at --mas, after the
    reconstruction, and after the denoiser, for a reader who sees --tolerance-hu. Says who lost a
    lesion for a reader with noise of his own too, with intervals, and what could hide at the dose.

    Example: ctxai projection-domain --images ABDOMEN --denoiser chen --mas 10 --out OUT

    Prints a table, and writes OUT/mas-010.png, run.json, metrics.csv and samples.zarr.
    """
    from analysis import session

    options.check()
    out, networks = (
        session.require_out(options.out, overwrite=options.overwrite),
        options.networks(),
    )

    from analysis.lesions.lesion import Lesion

    Lesion(contrast=options.contrast, radius=options.radius)  # refuses one that is none
    exposures = session.require_mas(options.mas)
    scene, full = _scene(options, networks, exposures, out)
    session.tell_departures(scene, exposures, networks)
    loaded = options.load(scene, networks)
    session.require_jacobian(loaded)

    from analysis.projection_domain.could_hide import SIDE
    from analysis.projection_domain.pair import Pair
    from analysis.projection_domain.study import projection_study

    _note_cost(options, SIDE)
    scanner = scene.scanner(loaded.f, seed=options.seed)
    f = session.among_neighbours(loaded.f, scene, scanner, exposures[0])
    ybar, lesion = _other(options, loaded, f, networks, scene, scanner)
    results = projection_study(
        f,
        Pair(scanner, ybar, progress=True),
        denoiser=loaded.name,
        mas=exposures,
        full_mas=full,
        tolerance_hu=options.tolerance_hu,
        draws=options.draws,
        lesion=lesion,
        sample=options.sample if options.other == "sample" else None,
        seed=options.seed,
    )
    options.write(
        "projection-domain", scene, results, networks, mas=exposures, full_mas=full,
        beside=_write_pictures, told=_told,
    )  # fmt: skip


def _note_cost(options: PairOptions, side: int) -> None:
    """Say what is computed at each exposure besides the stages."""
    from analysis import session

    readers = "who lost the lesion is followed for two readers, and " * (options.other == "lesion")
    session.current().note(
        f"at each exposure {readers}what could hide is looked for among changes of the {side} × "
        f"{side} pixels in the middle of the patch: about a minute"
    )


def _scene(
    options: PairOptions, networks: WeightSet, exposures: Sequence[float], out: Path
) -> tuple[Scene, float]:
    """The slice, and the full dose [mAs]; refuses what does not fit into them."""
    from analysis import session
    from analysis.projection_domain.study import require_exposures

    images, full = options.images, options.full_mas
    if images is None:
        point = session.working_point(networks)
        require_exposures(exposures, full if full is not None else point["high_mas"])
        images = session.draw_phantom(str(options.phantom), out, seed=options.seed, point=point)
    scene = options.scene(images, networks)
    if full is None:  # a phantom states none: it has no noise
        full = scene.images.mas if options.images is not None else point["high_mas"]
    if full is None:
        raise DataError("the files state no exposure", where=images, remedy="give --full-mas")
    require_exposures(exposures, full)
    half = min(n * s for n, s in zip(scene.patch.grid.shape, scene.patch.grid.spacing)) / 2
    if options.other == "lesion" and options.radius > half:
        raise DataError(
            "the lesion is larger than the patch", where="--radius",
            expected=f"at most {half:g} mm", got=f"{options.radius:g} mm",
        )  # fmt: skip
    return scene, full


def _other(
    options: PairOptions,
    loaded: Loaded,
    f: Callable[[Tensor], Tensor],
    networks: WeightSet,
    scene: Scene,
    scanner: SliceScanner,
) -> tuple[Tensor, Lesion | None]:
    """The anatomy that y is compared with, and the lesion that it adds, if it does."""
    from analysis import session
    from analysis.lesions.lesion import Lesion, middle_of
    from analysis.target_domain.study import sample_targets

    grid = scanner.patch_grid
    if options.other == "lesion":
        lesion = Lesion(contrast=options.contrast, radius=options.radius, place=middle_of(grid))
        return scanner.y + lesion.on(grid), lesion
    models = session.models_for(
        loaded, ["output"], "y", out=options.out.expanduser(), weights=networks, scene=scene,
        mas=options.mas[0],
    )  # fmt: skip
    model = session.models_among(models, f)["output"]
    drawn = sample_targets(model, scanner, mas=options.mas[0], n=options.sample, seed=options.seed)
    return drawn[options.sample - 1], None


def _write_pictures(folder: Path, studies: Sequence[Study]) -> None:
    from analysis.report.pair_figure import projection_figure
    from analysis.runs.store import mas_label
    from recon.storage import write_atomic

    for study in studies:
        picture = projection_figure(study, spacing=study.facts["patch"]["spacing_mm"][0])
        write_atomic(folder / f"{mas_label(study.mas)}.png", picture)


def _told(out: Path, study: Study) -> str:
    from analysis.report.pair_words import table
    from analysis.runs.store import mas_label

    return f"{table(study)}\n{out / mas_label(study.mas)}.png"
