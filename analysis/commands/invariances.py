"""`ctxai invariances`: other low-dose images with the same output, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from analysis.session.options import SamplingOptions
from recon import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.invariances.result import InvarianceResult
    from analysis.runs.store import Study
    from analysis.scanner.slice_scanner import SliceScanner
    from ctxai import InPlace, Model

__all__ = ["InvarianceOptions", "invariances"]

_WORTH_A_WORD = 60.0  # [s]


@dataclass(frozen=True, kw_only=True)
class InvarianceOptions(SamplingOptions):
    """What the study of invariances is given."""

    layers: tuple[str, ...] = ("output",)
    """Layers: numbers of convolution blocks from 1, dotted module names, several of these with +
    between them, or output; `ctxai layers` lists them."""
    mas: float = 10.0
    """Exposure of the simulated scan in mAs per rotation."""
    tolerance_hu: float = 3.0
    """At the output, samples are also projected until they change it by at most this rms in HU; 0
    leaves that out."""
    tolerance: float | None = None
    """At other layers, samples are also projected until they change what the layer represents by at
    most this, in units of what redrawn noise does; left out by default."""
    projected: int | None = None
    """How many of the samples are projected; all by default. How long that takes is estimated from
    one measured step, and said before, where it is more than a minute."""

    def check(self) -> None:
        """Refuse what cannot be studied, whatever the images."""
        from analysis import session

        session.require_mas([self.mas])
        super().check()
        if self.projected is not None:
            session.require_count(self.projected, "--projected")
        for value, option in (
            (self.tolerance_hu, "--tolerance-hu"), (self.tolerance, "--tolerance"),
        ):  # fmt: skip
            if value is not None and not 0.0 <= value < float("inf"):
                raise DataError(
                    "tolerance is negative or no number", where=option, expected="≥ 0", got=value
                )


def invariances(options: Annotated[InvarianceOptions, arg(name="")]) -> None:
    """Which other low-dose images would have given the same output?

    Scans a slice at --mas and samples, after each layer, images that the layer should represent as
    it represents the scan x, with the same v for all layers. Says by how much each changes the
    output, beside what drawing the noise again does, and which of the last layer's samples alter
    anatomy, and whether the output shows that.

    Example: ctxai invariances --images ABDOMEN --denoiser yang --layers 1 4 7 output --mas 10
    -n 250 --out OUT

    Writes OUT/report.html, run.json, metrics.csv, samples.zarr, and the low-dose slices as a DICOM
    series, OUT/mas-010.
    """
    from analysis import session

    options.check()
    session.require_out(options.out, overwrite=options.overwrite)
    networks = options.networks()
    scene = options.scene(options.images, networks, pixels=options.patch)
    session.tell_departures(scene, [options.mas], networks)
    loaded = options.load(scene, networks)
    differentiable = session.has_jacobian(
        loaded, "samples are not projected, and the near-null space is not looked at"
    )
    models = options.models(loaded, options.layers, "x", scene, networks, mas=options.mas)
    for layer, model in models.items():
        if passing := model.wiretap.passing:
            session.current().note(
                f"layer {layer} is no cut: past it, the output also sees {', '.join(passing)}; the "
                "samples hold the layer alone"
                + (f" (--layers {cut} holds all of it)" if (cut := model.wiretap.crossing) else "")
            )

    from analysis.invariances.study import invariance_study
    from ctxai import InPlace

    scanner = scene.scanner(loaded.f, seed=options.seed, device=options.device)
    f = session.among_neighbours(loaded.f, scene, scanner, options.mas)
    models = session.models_among(models, f)
    if differentiable:
        _note_cost(options, models, InPlace(f, scanner.place, scanner.low_dose(options.mas)[0]))
    result = invariance_study(
        models,
        scanner,
        denoiser=loaded.name,
        mas=options.mas,
        n=options.n,
        projected=options.projected,
        tolerance_hu=options.tolerance_hu or None,
        tolerance=options.tolerance or None,
        differentiable=differentiable,
        seed=options.seed,
    )
    study = _with_meaning(result, f, scanner, options, differentiable=differentiable)
    samplers = {layer: model.sampler for layer, model in models.items()}
    options.write("invariances", scene, [study], networks, layers=list(models), sampler=samplers)


def _with_meaning(
    result: InvarianceResult,
    f: Callable[[Tensor], Tensor],
    scanner: SliceScanner,
    options: InvarianceOptions,
    *,
    differentiable: bool,
) -> Study:
    """The study, and which of the last samples after the last layer alter anatomy."""
    from analysis.report.alterations import invariances_with_meaning
    from analysis.report.record import study_of
    from analysis.target_domain.compatibility import power_lesion
    from analysis.target_domain.semantic import noise_scale, semantic_map

    last, grid = result.layers[-1], scanner.patch_grid
    found = semantic_map(
        f, scanner, last.sets[-1].images, power_lesion(grid) if differentiable else None,
        mas=options.mas, scale=noise_scale(scanner, options.mas), seed=options.seed,
    )  # fmt: skip
    return invariances_with_meaning(study_of(result), found, last)


def _note_cost(options: InvarianceOptions, models: Mapping[str, Model], place: InPlace) -> None:
    """Say how long the projection of samples will take, if that is more than a minute."""
    from analysis import session
    from ctxai import PlacedTap, projection_seconds

    count = options.n if options.projected is None else min(options.projected, options.n)
    seconds = sum(
        projection_seconds(PlacedTap(place, model.wiretap).phi, place.inside[None, None], count)
        for layer, model in models.items()
        if (options.tolerance_hu if layer == "output" else options.tolerance)
    )
    if seconds > _WORTH_A_WORD:
        session.current().note(
            f"projecting {count} samples after each layer takes about {seconds / 60:.0f} minutes, "
            "by one measured step; --projected takes fewer"
        )
