"""`ctxai demo`: the whole study on a random patient, with the networks that come along."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

if TYPE_CHECKING:
    from analysis.invariances.result import InvarianceResult
    from analysis.session import Scene
    from analysis.target_domain.study import TargetResult
    from ctxai import WeightSet

__all__ = ["COUNTS", "demo"]

COUNTS: Mapping[tuple[str, str], int] = {
    ("chen", "x"): 250,
    ("yang", "x"): 24,
    ("chen", "y"): 24,
    ("yang", "y"): 24,
}
"""Samples a row of the demonstration, by denoiser and domain."""

_LAYERS = {
    ("chen", "x"): ("output",),
    ("yang", "x"): ("1", "4", "7", "output"),
    ("chen", "y"): ("output",),
    ("yang", "y"): ("output",),
}
_PROJECTED = 24  # of the samples after a layer, those that are moved onto the fibre
_TOLERANCE = 0.1  # of what redrawn noise does to a layer, about 3 HU at an output


def demo(
    *,
    out: Annotated[Path, arg(metavar="DIR")] = Path("ctxai-demo"),
    overwrite: bool = False,
    retrain: bool = False,
    high_dose: bool = False,
    seed: int = 1,
    roi: Annotated[tuple[int, int] | None, arg(metavar="ROW COL")] = None,
) -> None:
    """See invariances of two denoisers, from a random patient to a report, in about a minute.

    Draws an abdominal slice, scans it at 10 mAs, denoises the low dose with Chen's CNN and Yang's
    WGAN-VGG, samples which other low-dose images (VAE_x, after several layers, with the
    same v) and which other anatomies (VAE_y, scanned again) the network should map to the same
    output, and measures whether they are invariances at all.

    Example: ctxai demo --out ctxai-demo

    Writes OUT/report.html (open it in a browser), run.json, metrics.csv, samples.zarr, and the
    slice as DICOM series without noise and at the low dose, OUT/phantom and OUT/mas-010.

    Args:
        out: Folder for the results, new or empty.
        overwrite: Replace the results of an earlier run in OUT; files that are of no run stay.
        retrain: Train all networks again from nothing first, in OUT/weights (one to two hours on
            two cores); a run that was stopped goes on where it was.
        high_dose: Take the slice's scan at 200 mAs, with its noise, as the true anatomy, in
            OUT/high-dose; its image without noise by default.
        seed: Seed of the patient, of all noise, and of the training.
        roi: Row and column of the slice, from 0, at the patch's centre; the body's by default.
    """
    from analysis import session

    session.require_count(seed, "--seed", least=0)
    out = session.require_out(out, overwrite=overwrite)

    from analysis.scanner.slice_scanner import derived_seed
    from analysis.training.recipes import train_all
    from ctxai import SHIPPED

    weights = train_all(out / "weights", seed=seed) if retrain else SHIPPED
    point = session.working_point(weights)
    images = session.draw_phantom(
        "abdomen", out, seed=derived_seed(seed, "demo"), point=point,
        mas=point["high_mas"] if high_dose else None,
    )  # fmt: skip
    scene = session.open_scene(images, number=None, roi=roi, kvp=None, weights=weights)
    session.tell_departures(scene, [point["mas"]], weights)
    studies = _studies(weights, scene, mas=point["mas"], seed=seed)
    session.write_results(
        out, scene, studies, command="demo", seed=seed, networks=weights, retrain=retrain,
        high_dose=high_dose, mas=point["mas"],
    )  # fmt: skip


def _studies(
    weights: WeightSet, scene: Scene, *, mas: float, seed: int
) -> list[InvarianceResult | TargetResult]:
    """All studies of the demonstration, with the layers that the set of weights holds."""
    from analysis.invariances.study import invariance_study
    from analysis.target_domain.study import target_domain_study
    from ctxai import FlowModel, flow_name

    results: list[InvarianceResult | TargetResult] = []
    names = dict.fromkeys(denoiser for denoiser, _ in _LAYERS)
    denoisers = {name: weights.load(name)[0] for name in names}
    scanners = {name: scene.scanner(f, seed=seed) for name, f in denoisers.items()}
    for (denoiser, domain), layers in _LAYERS.items():
        f, scanner = denoisers[denoiser], scanners[denoiser]
        models = {layer: weights.load_model(denoiser, layer, domain, f=f) for layer in layers}
        beside = {
            layer: weights.load_model(denoiser, layer, domain, f=f, sampler="flow")
            for layer, model in models.items()
            if layer == "output"
            and not isinstance(model, FlowModel)
            and flow_name(denoiser, layer, domain) in weights
        }
        n = COUNTS[denoiser, domain]
        common: dict[str, Any] = {"denoiser": denoiser, "mas": mas, "n": n, "seed": seed}
        if domain == "x":
            found = invariance_study(
                models, scanner, projected=min(n, _PROJECTED), tolerance=_TOLERANCE, beside=beside,
                **common,
            )  # fmt: skip
            results.append(found)
        else:
            results.append(
                target_domain_study(models["output"], scanner, differentiable=True, **common)
            )
    return results
