#!/usr/bin/env python3
"""Two denoisers at several exposures on one slice: which anatomies, what was there, who lost it.

For each denoiser and exposure: d' of a lesion (20 HU, radius 3 mm) in the rays, the image and
the output, for a reader with a tolerance of 1 HU, and the exposure at which the lesion is detected
(d' = 2.77); the share of anatomies ȳ, sampled for the output at the exposure of the training, that
are compatible with the output when they are scanned at this one; the power for a lesion of 20 HU
and 3 mm: the bound of every reader, that of a matched filter by its d', as measured, and of the
test of compatibility, which does not know the lesion; the share of scans of the ȳ that a reader
tells from those of y; d' of two high-dose scans of y; and the same three d' of the compatible ȳ
that differs most from the true anatomy.

    python scripts/target_domain_study.py --images DIR_OF_DICOM --out OUT
    python scripts/target_domain_study.py --phantom abdomen --out OUT

Writes OUT/study.csv and prints it as a table, in three minutes on two cores at -n 24.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import session
from analysis.projection_domain.pair import Pair, threshold, threshold_of_rays
from analysis.projection_domain.study import require_exposures
from analysis.target_domain.compatibility import power_lesion
from analysis.target_domain.study import TargetResult, target_domain_study
from ctxai import SHIPPED, InPlace
from recon import DataError
from recon.storage import write_csv

TOLERANCE_HU = 1.0
WHERE = ("rays", "image", "output")
WHOLE = slice(0, 1)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path)
    source.add_argument("--phantom", choices=("thorax", "abdomen", "head"))
    parser.add_argument("--denoisers", nargs="+", default=["chen", "yang"])
    parser.add_argument("--mas", nargs="+", type=float, default=[5.0, 10.0, 25.0, 50.0, 100.0])
    parser.add_argument("-n", type=int, default=24, help="sampled anatomies; 0 leaves them out")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> int:
    """Run the study; 2 if the input is bad."""
    try:
        study(arguments())
    except DataError as error:
        print(f"target_domain_study.py: {error}", file=sys.stderr)
        return 2
    return 0


def study(wanted: argparse.Namespace) -> None:
    """Measure every denoiser at every exposure, and write the table as it grows."""
    out = session.require_out(wanted.out)
    exposures = session.require_mas(wanted.mas)
    point = session.working_point(SHIPPED)
    with tempfile.TemporaryDirectory() as room:
        images = wanted.images
        if images is None:
            images = session.draw_phantom(wanted.phantom, Path(room), seed=wanted.seed, point=point)
        scene = session.open_scene(images, number=None, roi=None, kvp=None, weights=SHIPPED)
    full = scene.images.mas or max(*exposures, point["high_mas"])
    require_exposures(exposures, full)
    grid, curve = scene.patch.grid, sorted({1.0, full, *exposures})
    rows: list[dict[str, Any]] = []
    for denoiser in wanted.denoisers:
        loaded = session.load_named(denoiser, SHIPPED)
        models = session.models_for(loaded, ["output"], "y", out=out, sampler="flow")
        name, model = loaded.name, models["output"]
        scanner = scene.scanner(model.wiretap.f, seed=wanted.seed)
        lesion = Pair(scanner, scanner.y + power_lesion(grid).on(grid), progress=True)
        lesion_seen = before_network(lesion, curve)
        d = stages(lesion, lesion_seen, model.wiretap.f, label=f"{name}, lesion")
        studies = [
            target_domain_study(
                model, scanner, denoiser=name, mas=mas, sampled_at=point["mas"], n=wanted.n,
                draws=wanted.draws, seed=wanted.seed,
            )
            for mas in (exposures if wanted.n else [])
        ]  # fmt: skip
        follow = most_different(studies, point["mas"])
        other: dict[float, tuple[float, float, float]] = {}
        if follow is not None:
            pair = Pair(scanner, follow, progress=True)
            label = f"{name}, the most different compatible ȳ"
            other = stages(pair, before_network(pair, exposures), model.wiretap.f, label=label)
        for k, mas in enumerate(exposures):
            row = {
                "denoiser": name,
                "mas": f"{mas:g}",
                "full_mas": f"{full:g}",
                "lesion_d_full": f"{lesion.before(full)[0]:.4g}",
                **named("lesion", d[mas]),
                "lesion_detected_rays_mas": threshold_of_rays(lesion, full),
                "lesion_detected_image_mas": threshold(curve, [d[m][1] for m in curve]),
                "lesion_detected_output_mas": threshold(curve, [d[m][2] for m in curve]),
            }
            if studies:
                found, power = studies[k].compatibility, studies[k].lesion
                row |= {
                    "n": wanted.n,
                    "compatible": f"{found.share.value:.3g}",
                    "power_bound": f"{power.bound:.3g}",
                    "power_expected": f"{power.expected:.3g}",
                    "power_known": f"{power.known.value:.3g}",
                    "power_blind": f"{power.blind.value:.3g}",
                    "told_one": f"{studies[k].telling.told_one.value:.3g}",
                    "yardstick_d": f"{studies[k].yardstick.two_scans:.3g}",
                }
            if other:
                row |= named("ybar", other[mas])
            rows.append(row)
        out.mkdir(parents=True, exist_ok=True)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        write_csv(out / "study.csv", [{c: row.get(c, "") for c in columns} for row in rows])
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row.get(c, "")) for c in columns) + " |")


def before_network(pair: Pair, exposures: Sequence[float]) -> dict[float, tuple[float, float]]:
    """d' in the rays and the image, by exposure [mAs]: the same for every denoiser."""
    return {
        mas: (
            float(pair.before(mas)[0]),
            float(pair.after_reconstruction(mas, [TOLERANCE_HU], parts=WHOLE)[0, 0]),
        )
        for mas in exposures
    }


def stages(
    pair: Pair,
    seen: Mapping[float, tuple[float, float]],
    f: Callable[..., Any],
    *,
    label: str,
) -> dict[float, tuple[float, float, float]]:
    """d' in the rays, the image and the output, by exposure [mAs]."""
    found = {}
    for mas, before in seen.items():
        x = pair.scanner.low_dose(mas)[0]
        placed = InPlace(f, pair.scanner.place, x)
        output = pair.after_network(placed, x, mas, [TOLERANCE_HU], parts=WHOLE)[0, 0]
        found[mas] = (*before, float(output))
        told = ", ".join(f"{d:.3f} in the {where}" for d, where in zip(found[mas], WHERE))
        print(f"{label}, {mas:g} mAs: d' {told}", flush=True)
    return found


def named(what: str, d: tuple[float, float, float]) -> dict[str, str]:
    """Cells of the table."""
    return {f"{what}_d_{where}": f"{value:.4g}" for value, where in zip(d, WHERE)}


def most_different(studies: Sequence[TargetResult], mas: float) -> Any:
    """The compatible ȳ (H, W) that differs most from y, where the ȳ were drawn; None without."""
    for study in studies:
        if study.scanned.mas == mas and study.compatibility.most_different:
            return study.ybar[study.compatibility.most_different[0]].cpu()
    return None


if __name__ == "__main__":
    sys.exit(main())
