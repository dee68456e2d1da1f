"""Two denoisers at several exposures on one slice: which anatomies, what was there, who lost it.

For each denoiser and exposure: the share of sampled anatomies ȳ that are compatible with the
output, beside the power of that test; d' of a lesion (20 HU, radius 3 mm) in the rays, the image
and the output, for a reader with a tolerance of 1 HU; and the exposure at which the lesion is
detected (d' = 2.77).

    python scripts/target_domain_study.py --images DIR_OF_DICOM --out OUT
    python scripts/target_domain_study.py --phantom abdomen --out OUT

Writes OUT/study.csv and prints it as a table. Ten minutes on two cores at -n 24, of which the
noise of the patch, computed once, takes one to two.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import tempfile
from pathlib import Path

from analysis import commands
from analysis.compatibility import power_lesion
from analysis.projection_domain import Pair, threshold, threshold_of_rays
from analysis.target_domain import target_domain_study
from ctxai.weights import SHIPPED
from recon.storage import write_csv

TOLERANCE_HU = 1.0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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


def main() -> None:
    """Run the study."""
    wanted = arguments()
    out = commands.require_out(wanted.out)
    exposures = commands.require_mas(wanted.mas)
    with tempfile.TemporaryDirectory() as room:
        images = wanted.images
        if images is None:
            from analysis.commands.projection_domain import draw_phantom

            point = commands.working_point(SHIPPED)
            images = draw_phantom(wanted.phantom, Path(room), seed=wanted.seed, point=point)
        scene = commands.open_scene(images, number=None, roi=None, kvp=None, weights=SHIPPED)
    scanner = scene.scanner(seed=wanted.seed)
    full = scene.images.mas or max(exposures)
    grid = scanner.patch_grid
    lesion = power_lesion(grid).on(grid)
    pair = Pair(scanner, scanner.y + lesion, progress=True)
    curve = sorted({1.0, full, *exposures})
    whole = slice(0, 1)
    image = [pair.after_reconstruction(m, [TOLERANCE_HU], parts=whole)[0, 0] for m in curve]
    rows = []
    for denoiser in wanted.denoisers:
        name, models = commands.models_for(denoiser, ["output"], "y", out=out)
        f = models["output"].wiretap.f
        output = []
        for mas in curve:
            x = scanner.low_dose(mas, seed=wanted.seed)[0]
            output.append(pair.after_network(f, x, mas, [TOLERANCE_HU], parts=whole)[0, 0])
            print(
                f"{name}, {mas:g} mAs: d' {pair.before(mas)[0]:.3f} in the rays, "
                f"{image[curve.index(mas)]:.3f} in the image, {output[-1]:.3f} in the output",
                flush=True,
            )
        for mas in exposures:
            rows.append(
                {
                    "denoiser": name,
                    "mas": f"{mas:g}",
                    "compatible": "",
                    "power": "",
                    "d_full": f"{pair.before(full)[0]:.4g}",
                    "d_rays": f"{pair.before(mas)[0]:.4g}",
                    "d_image": f"{image[curve.index(mas)]:.4g}",
                    "d_output": f"{output[curve.index(mas)]:.4g}",
                    "detected_rays_mas": threshold_of_rays(pair, full),
                    "detected_image_mas": threshold(curve, image),
                    "detected_output_mas": threshold(curve, output),
                    "full_mas": f"{full:g}",
                }
            )
            if wanted.n:
                study = target_domain_study(
                    models["output"], scanner, denoiser=name, mas=mas, n=wanted.n,
                    draws=wanted.draws, seed=wanted.seed,
                )  # fmt: skip
                found = study.facts["compatibility"]
                rows[-1]["compatible"] = f"{found['compatible_share']:.3g}"
                rows[-1]["power"] = f"{found['power']:.3g}"
            out.mkdir(parents=True, exist_ok=True)
            write_csv(out / "study.csv", rows)
    heads = list(rows[0])
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")


if __name__ == "__main__":
    main()
