"""`ctxai target-domain`: sampled anatomies, scanned and denoised again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

__all__ = ["target_domain"]


def target_domain(
    *,
    images: Annotated[Path, arg(metavar="DIR")],
    denoiser: str,
    out: Annotated[Path, arg(metavar="DIR")],
    sampler: Literal["flow", "cinn"] | None = None,
    mas: tuple[float, ...] = (10.0,),
    n: Annotated[int, arg(aliases=["-n"])] = 250,
    slice: int | None = None,
    roi: Annotated[tuple[int, int] | None, arg(metavar="ROW COL")] = None,
    patch: int | None = None,
    draws: int = 8,
    seed: int = 1,
    kvp: float | None = None,
    weights: Annotated[Path | None, arg(metavar="DIR")] = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Which other anatomies, scanned at this dose, would have given the same output?

    Takes a slice y as the truth, scans it at --mas, denoises the scan, samples anatomies ȳ that
    should give that output, scans and denoises each of them again, and compares: x' = f(R⁻¹𝒫Rȳ)
    beside f(x), and beside what scanning y again gives.

    Example: ctxai target-domain --images ABDOMEN --denoiser chen --mas 10 -n 250 --out OUT

    Writes OUT/report.html, run.json, metrics.csv, samples.zarr, and for each exposure the
    low-dose slices as a DICOM series, OUT/mas-010.

    Args:
        images: Folder of CT images of one series (DICOM).
        denoiser: chen, yang, or your own as path/to/module.py:factory, where factory() returns a
            network or callable, HU to HU on (B, 1, H, W). For your own a sampler is trained first,
            which is kept in OUT/trained.
        out: Folder for the results; earlier results of the same name are replaced.
        sampler: flow (flow matching in pixel space) or cinn (VAE_y and cINN); by default flow,
            where both come along.
        mas: Exposure of the simulated scans in mAs per rotation. Of several, ȳ are drawn for the
            output at the first, and the same ȳ are scanned at each: a higher dose may tell them.
        n: Number of sampled anatomies.
        slice: Slice to study, from 0 in order of position; the middle one by default.
        roi: Row and column of the slice, from 0, at the patch's centre; the body's by default.
        draws: Noise draws for each anatomy.
        patch: Side of the patch in pixels, a multiple of 8; that of the training by default. Others
            take flow matching.
        seed: Seed of everything random.
        kvp: Tube voltage in kV, in place of the files' own.
        weights: Networks made by `ctxai train`, in place of those that come along.
        device: Where networks and projections run.
    """
    from analysis import session

    exposures = session.require_mas(mas)
    session.require_count(n, "-n", most=session.MOST_SAMPLES)
    session.require_count(draws, "--draws", most=session.MOST_SAMPLES // n)
    session.require_count(seed, "--seed", least=0)
    session.require_device(device)
    out = session.require_out(out)
    networks = session.weight_set(weights)
    scene = session.open_scene(
        images, number=slice, roi=roi, kvp=kvp, weights=networks, pixels=patch
    )
    name, models = session.models_for(
        denoiser,
        ["output"],
        "y",
        out=out,
        sampler=sampler,
        weights=networks,
        shape=scene.patch.grid.shape,
    )
    session.on_device(models, device)

    from analysis.target_domain.study import target_domain_study

    scanner = scene.scanner(seed=seed, device=device)
    studies = [
        target_domain_study(
            models["output"],
            scanner,
            denoiser=name,
            mas=value,
            sampled_at=exposures[0],
            n=n,
            draws=draws,
            seed=seed,
        )
        for value in exposures
    ]
    session.write_results(
        out,
        scene,
        studies,
        seed=seed,
        weights=networks,
        configuration={
            "command": "target-domain",
            "images": str(images),
            "denoiser": denoiser,
            "out": str(out),
            "sampler": models["output"].sampler,
            "mas": exposures,
            "n": n,
            "slice": scene.index,
            "roi": list(scene.patch.roi),
            "patch": list(scene.patch.grid.shape),
            "draws": draws,
            "seed": seed,
            "kvp": scene.kvp,
            "device": device,
            "weights": networks.folder.name if weights is None else str(weights),
        },
    )
