"""`ctxai invariances`: other low-dose images with the same output, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from recon import DataError

__all__ = ["invariances"]


def invariances(
    *,
    images: Annotated[Path, arg(metavar="DIR")],
    denoiser: str,
    out: Annotated[Path, arg(metavar="DIR")],
    layers: tuple[str, ...] = ("output",),
    sampler: Literal["flow", "cinn"] | None = None,
    mas: float = 10.0,
    n: Annotated[int, arg(aliases=["-n"])] = 250,
    tolerance_hu: float = 3.0,
    tolerance: float | None = None,
    projected: int | None = None,
    slice: int | None = None,
    roi: Annotated[tuple[int, int] | None, arg(metavar="ROW COL")] = None,
    patch: int | None = None,
    seed: int = 1,
    kvp: float | None = None,
    weights: Annotated[Path | None, arg(metavar="DIR")] = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Which other low-dose images would have given the same output?

    Scans a slice at --mas and samples, after each layer, images that the layer should represent as
    it represents the scan x, with the same v for all layers. Says by how much each changes the
    output, beside what drawing the noise again does.

    Example: ctxai invariances --images ABDOMEN --denoiser yang --layers 1 4 7 output --mas 10
    -n 250 --out OUT

    Writes OUT/report.html, run.json, metrics.csv, samples.zarr, and the low-dose slices as a DICOM
    series, OUT/mas-010.

    Args:
        images: Folder of CT images of one series (DICOM).
        denoiser: chen, yang, or your own as path/to/module.py:factory, where factory() returns a
            network or callable, HU to HU on (B, 1, H, W). A layer without a sampler yet has one
            trained first, which is kept in OUT/trained.
        out: Folder for the results; earlier results of the same name are replaced.
        layers: Layers: numbers of convolution blocks from 1, dotted module names, or output.
        sampler: flow (flow matching in pixel space) or cinn (VAE_x and cINN); by default flow,
            and cinn after a layer that is no map of the image's size.
        mas: Exposure of the simulated scan in mAs per rotation.
        n: Number of samples after each layer.
        tolerance_hu: At the output, samples are also projected until they change it by at most
            this rms in HU; 0 leaves that out.
        tolerance: At other layers, samples are also projected until they change what the layer
            represents by at most this, in units of what redrawn noise does; left out by default.
        projected: How many of the samples are projected (half a second each); all by default.
        slice: Slice to study, from 0 in order of position; the middle one by default.
        roi: Row and column of the slice, from 0, at the patch's centre; the body's by default.
        patch: Side of the patch in pixels, a multiple of 8; that of the training by default. Others
            take flow matching.
        seed: Seed of everything random.
        kvp: Tube voltage in kV, in place of the files' own.
        weights: Networks made by `ctxai train`, in place of those that come along.
        device: Where networks and projections run.
    """
    from analysis import session

    [exposure] = session.require_mas([mas])
    session.require_count(n, "-n", most=session.MOST_SAMPLES)
    if projected is not None:
        session.require_count(projected, "--projected")
    session.require_count(seed, "--seed", least=0)
    for value, option in ((tolerance_hu, "--tolerance-hu"), (tolerance, "--tolerance")):
        if value is not None and not 0.0 <= value < float("inf"):
            raise DataError(
                "tolerance is negative or no number", where=option, expected="≥ 0", got=value
            )
    session.require_device(device)
    out = session.require_out(out)
    networks = session.weight_set(weights)
    scene = session.open_scene(
        images, number=slice, roi=roi, kvp=kvp, weights=networks, pixels=patch
    )
    name, models = session.models_for(
        denoiser,
        layers,
        "x",
        out=out,
        sampler=sampler,
        weights=networks,
        shape=scene.patch.grid.shape,
    )
    session.on_device(models, device)

    from analysis.invariances.study import invariance_study

    study = invariance_study(
        models,
        scene.scanner(seed=seed, device=device),
        denoiser=name,
        mas=exposure,
        n=n,
        projected=projected,
        tolerance_hu=tolerance_hu or None,
        tolerance=tolerance or None,
        seed=seed,
    )
    session.write_results(
        out,
        scene,
        [study],
        seed=seed,
        weights=networks,
        configuration={
            "command": "invariances",
            "images": str(images),
            "denoiser": denoiser,
            "out": str(out),
            "layers": list(models),
            "sampler": {layer: model.sampler for layer, model in models.items()},
            "mas": exposure,
            "n": n,
            "tolerance_hu": tolerance_hu,
            "tolerance": tolerance,
            "projected": projected,
            "slice": scene.index,
            "roi": list(scene.patch.roi),
            "patch": list(scene.patch.grid.shape),
            "seed": seed,
            "kvp": scene.kvp,
            "device": device,
            "weights": networks.folder.name if weights is None else str(weights),
        },
    )
