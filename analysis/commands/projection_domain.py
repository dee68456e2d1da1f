"""`ctxai projection-domain`: what the scanner could tell apart, and who lost it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from recon import DataError

__all__ = ["projection_domain"]


def projection_domain(
    *,
    denoiser: str,
    out: Annotated[Path, arg(metavar="DIR")],
    images: Annotated[Path | None, arg(metavar="DIR")] = None,
    phantom: Literal["thorax", "abdomen", "head"] | None = None,
    other: Literal["lesion", "sample"] = "lesion",
    sample: int = 1,
    contrast: float = 20.0,
    radius: float = 3.0,
    mas: tuple[float, ...] = (10.0,),
    full_mas: float | None = None,
    tolerance_hu: float = 1.0,
    draws: int = 100,
    slice: int | None = None,
    roi: Annotated[tuple[int, int] | None, arg(metavar="ROW COL")] = None,
    seed: int = 1,
    kvp: float | None = None,
    weights: Annotated[Path | None, arg(metavar="DIR")] = None,
) -> None:
    """How well could the scanner tell two anatomies apart, and who lost it: dose or network?

    Compares a slice y with a lesion in it, or with an anatomy sampled for its denoised scan, and
    follows the difference: an ideal observer's d' in the rays at full dose and at --mas, after the
    reconstruction, and after the denoiser, for a reader who sees --tolerance-hu.

    Example: ctxai projection-domain --images ABDOMEN --denoiser chen --mas 10 --out OUT

    Prints a table, and writes OUT/mas-010.png, run.json, metrics.csv and samples.zarr.

    Args:
        denoiser: chen, yang, or your own as path/to/module.py:factory, where factory() returns a
            network or callable, HU to HU on (B, 1, H, W).
        out: Folder for the results; earlier results of the same name are replaced.
        images: Folder of CT images of one series (DICOM); or else a phantom.
        phantom: A random slice of this anatomy, drawn from --seed, without noise of its own.
        other: What y is compared with: a lesion in it, or a sampled anatomy.
        sample: Which sampled anatomy: number K, from 1 as its report counts, of those that `ctxai
            target-domain` draws for the same patch, seed and first exposure.
        contrast: Of the lesion, in the middle of the patch [HU].
        radius: Of the lesion [mm].
        mas: Exposures of the simulated scans in mAs per rotation. A sampled anatomy is drawn for
            the scan at the first one, and followed at all.
        full_mas: The full dose [mAs]; that of the images by default.
        tolerance_hu: What a reader or display cannot tell apart [HU].
        draws: Noise draws for the human-like observers: training, and as many for the test.
        slice: Slice to study, from 0 in order of position; the middle one by default.
        roi: Row and column of the slice, from 0, at the patch's centre; the body's by default.
        seed: Seed of everything random.
        kvp: Tube voltage in kV, in place of the files' own.
        weights: Networks made by `ctxai train`, in place of those that come along.
    """
    from analysis import session

    exposures = session.require_mas(mas)
    session.require_count(draws, "--draws", least=12)
    session.require_count(sample, "--sample", most=session.MOST_SAMPLES - 1)
    if sample > 1 and other != "sample":
        raise DataError("no anatomy is sampled", where="--sample", remedy="add --other sample")
    session.require_count(seed, "--seed", least=0)
    if not 0.0 < tolerance_hu < float("inf"):
        raise DataError("tolerance is not positive", where="--tolerance-hu", got=tolerance_hu)
    if (images is None) == (phantom is None):
        raise DataError("what is to be scanned?", expected="either --images or --phantom")
    out = session.require_out(out)
    networks = session.weight_set(weights)

    from analysis.lesions.lesion import Lesion
    from analysis.projection_domain.study import projection_study, require_exposures
    from ctxai import load_denoiser, require_differentiable

    Lesion(contrast=contrast, radius=radius)  # refuses what is no lesion before any work is done
    if denoiser.lower() in ("chen", "yang"):
        name = denoiser.lower()
        f = networks.load(name)[0]
    else:
        f, name, _ = load_denoiser(denoiser)
        require_differentiable(f, denoiser)
    if images is None:
        point = session.working_point(networks)
        require_exposures(exposures, full_mas if full_mas is not None else point["high_mas"])
        images = session.draw_phantom(str(phantom), out, seed=seed, point=point)
    scene = session.open_scene(images, number=slice, roi=roi, kvp=kvp, weights=networks)
    full = full_mas if full_mas is not None else scene.images.mas
    if full is None:
        raise DataError("the files state no exposure", where=images, remedy="give --full-mas")
    require_exposures(exposures, full)
    half = min(n * s for n, s in zip(scene.patch.grid.shape, scene.patch.grid.spacing)) / 2
    if other == "lesion" and radius > half:
        raise DataError(
            "the lesion is larger than the patch", where="--radius",
            expected=f"at most {half:g} mm", got=f"{radius:g} mm",
        )  # fmt: skip

    from analysis.projection_domain.pair import Pair
    from analysis.report.page import write_report
    from analysis.report.pair_figure import projection_figure
    from analysis.report.pair_words import table
    from analysis.report.record import study_of
    from analysis.runs.store import mas_label, write_run
    from recon.storage import run_folder, write_atomic

    scanner = scene.scanner(seed=seed)
    grid = scene.patch.grid
    for text in session.departures(scene, exposures, session.working_point(networks)):
        session.current().note(text)
    lesion = None
    if other == "lesion":
        place = (grid.x[grid.shape[1] // 2], grid.y[grid.shape[0] // 2])
        lesion = Lesion(contrast=contrast, radius=radius, place=place)
        ybar = scanner.y + lesion.on(grid)
    else:
        from analysis.target_domain.study import sample_targets

        _, models = session.models_for(denoiser, ["output"], "y", out=out, weights=networks)
        # one more than needed: an image alone in its batch is rounded in another way (0.3 HU)
        drawn = sample_targets(models["output"], scanner, mas=exposures[0], n=sample + 1, seed=seed)
        ybar = drawn[sample - 1]
    results = projection_study(
        f, Pair(scanner, ybar, progress=True), denoiser=name, mas=exposures,
        full_mas=full, tolerance_hu=tolerance_hu, draws=draws, lesion=lesion,
        sample=None if lesion else sample, seed=seed,
    )  # fmt: skip
    studies = [study_of(result) for result in results]
    record = {
        "command": session.current().command,
        "configuration": {
            "command": "projection-domain",
            "images": None if phantom else str(images),
            "phantom": phantom,
            "denoiser": denoiser,
            "out": str(out),
            "other": other,
            "sample": sample,
            "contrast": contrast,
            "radius": radius,
            "mas": exposures,
            "full_mas": full,
            "tolerance_hu": tolerance_hu,
            "draws": draws,
            "slice": scene.index,
            "roi": list(scene.patch.roi),
            "seed": seed,
            "kvp": scene.kvp,
            "weights": networks.folder.name if weights is None else str(weights),
        },
        "seed": seed,
        "inputs": scene.inputs(),
        "weights": {
            "recipe": networks.manifest["recipe"],
            "sha256": networks.manifest["sha256"],
        },
        "notes": session.current().notes,
    }
    with run_folder(out) as folder:
        for study in studies:
            picture = projection_figure(study, spacing=grid.spacing[0])
            write_atomic(folder / f"{mas_label(study.mas)}.png", picture)
        write_run(folder, record=record, studies=studies, seconds=session.current().seconds)
        write_report(folder)
    for study in studies:
        print(table(study))
        print(out / f"{mas_label(study.mas)}.png")
    print(out / "report.html")
