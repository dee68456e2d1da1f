#!/usr/bin/env python3
"""Are samples invariances? Every sampler of a set of weights, on patches it was not trained on.

    python scripts/measure_fidelity.py --out OUT                    200 patches of random phantoms
    python scripts/measure_fidelity.py --out OUT --images 20 -n 250 --denoisers chen
    python scripts/measure_fidelity.py --out OUT --slices DIR_OF_DICOM --mas 25 --images 30
    python scripts/measure_fidelity.py --out OUT --domain y --images 6

Writes OUT/fidelity.csv and OUT/fidelity.md, one row for each denoiser, layer and sampler, plain and
projected: consistency, spread beside the reference's at the same consistency, coverage, ranks of
the truth, near-null space, spread beside the exact conditional of the linearised network, and the
scales that samples differ on. The first rows of a layer are the true anatomy with its noise drawn
again, what no sampler can know; projected, they say how much images can vary at all. In domain y
(OUT/targets.csv and .md) each sampled anatomy is scanned and denoised again, and its distance to
f(x) stands beside that of the true anatomy, scanned again. On two cores some minutes for each row
of 200 patches.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from scipy.stats import kstest
from torch import Tensor
from tqdm import tqdm

from analysis import session
from analysis.data.held_out import HeldOut, phantom_scanners, real_scanners, scan_patches
from analysis.data.phantom_pairs import WorkingPoint
from analysis.fidelity.exact import exact_curve
from analysis.fidelity.held_out import TrueAnatomy, held_out_fidelity
from analysis.fidelity.statistics import deviation_by_scale, joint_rank, miss_relative_to_sd
from analysis.numbers import apply, coverage, ideal_coverage, rms, sample_sd
from analysis.scanner.covariance import ImageCovariance
from analysis.scanner.slice_scanner import SliceScanner, derived_seed
from analysis.target_domain.study import sample_targets
from ctxai import SAMPLERS, InPlace, Model, PlacedModel, sampler_name
from recon.storage import write_atomic, write_csv

LAYERS = ("1", "2", "4", "7", "output")
LOW_DOSE: tuple[str, ...] = (
    "consistency [HU]", "representation, relative to redrawn noise", "sd [HU]",
    "sd relative to the reference", "sd relative to the exact conditional", "coverage",
    "miss relative to sd", "near-null energy", "near-null energy of white noise", "gain",
    "near-null dimension",
    "rank histograms with p > .01", "rank histograms, smallest χ² p", "joint rank",
    "joint rank, p", "sd, noise [HU]", "sd, tissue [HU]", "sd, organ [HU]", "pulled",
    "rebuilt [HU]", "rebuilt, change of f [HU]", "noise of x [HU]",
)  # fmt: skip
_EXACT = 4  # scans behind a curve of the exact conditional
_TAUS = np.array([2.0, 4.0, 8.0]) / 3.0  # in tolerances, so that the one asked for is bracketed
TARGETS: tuple[str, ...] = (
    "distance [HU]", "sd [HU]", "bias [HU]", "coverage", "coverage, ideal",
    "miss relative to sd", "joint rank", "joint rank, p", "sd, noise [HU]", "sd, tissue [HU]",
    "sd, organ [HU]",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--slices", type=Path, help="real slices in place of random phantoms")
    parser.add_argument("--mas", type=float, help="of the low dose; that of the training")
    parser.add_argument("--images", type=int, default=200, help="patches")
    parser.add_argument(
        "--least-noise", type=float, default=0.0,
        help="patches with less are passed over, of --images that are scanned [HU]",
    )  # fmt: skip
    parser.add_argument("--patch", type=int, help="side of a patch; that of the training [pixels]")
    parser.add_argument(
        "--pixels", type=float, help="their size; 1 mm in phantoms, of real slices their own [mm]"
    )
    parser.add_argument("-n", type=int, default=24, help="samples of each patch")
    parser.add_argument(
        "--closely", type=int, default=8,
        help="patches, of the first, whose near-null space and curves are measured",
    )  # fmt: skip
    parser.add_argument("--domain", choices=["x", "y"], default="x")
    parser.add_argument("--weights", type=Path, help="folder of a set; the one that ships")
    parser.add_argument("--denoisers", nargs="+", default=["chen", "yang"])
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--samplers", nargs="+", default=["true", *SAMPLERS])
    parser.add_argument("--tolerance-hu", type=float, default=3.0, help="at the output [HU]")
    parser.add_argument("--tolerance", type=float, default=0.1, help="elsewhere, in redrawn noise")
    parser.add_argument("--seed", type=int, default=2001)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser.parse_args()


def main() -> None:
    """Measure, and write the tables."""
    asked = arguments()
    weights = session.weight_set(asked.weights)
    point = WorkingPoint(**weights.manifest["recipe"]["working_point"])
    if asked.patch is not None:
        point = replace(point, patch=asked.patch)
    if asked.pixels is not None:
        matrix = round(point.matrix * point.spacing_mm / asked.pixels)
        point = replace(point, spacing_mm=asked.pixels, matrix=matrix)
    mas = point.mas if asked.mas is None else asked.mas
    common: dict[str, Any] = {"seed": asked.seed, "point": point, "device": asked.device}
    scanners: Any = (
        phantom_scanners(asked.images, **common)
        if asked.slices is None
        else real_scanners(asked.slices, asked.images, **common)
    )
    scanners = list(tqdm(scanners, total=asked.images, desc="phantoms", leave=False))
    if asked.domain == "x":
        how = {"draws": max(16, asked.n), "least_noise": asked.least_noise, "seed": asked.seed}
        held_out = scan_patches(scanners, mas, **how)
        exact = None if asked.least_noise else Exact(scanners, held_out, mas, asked)
        print(f"{len(held_out.x)} patches of {asked.images}", file=sys.stderr)
        rows = low_dose_rows(asked, weights, held_out, exact)
        name, shown = "fidelity", LOW_DOSE
    else:
        rows, name = target_rows(asked, weights, scanners, mas), "targets"
        shown = TARGETS
    done = []
    for row in rows:
        done.append(row)
        write_tables(asked.out / name, done, shown)
    print((asked.out / f"{name}.md").read_text())


def models_of(asked: argparse.Namespace, weights: Any) -> Iterator[tuple[str, str, Any]]:
    """Denoiser, layer and model of every sampler that the set holds and that was asked for."""
    shape = None if asked.patch is None else (asked.patch, asked.patch)
    for denoiser in asked.denoisers:
        f = weights.load(denoiser)[0].to(asked.device)
        for layer in asked.layers:
            held = [
                s for s in SAMPLERS if sampler_name(s, denoiser, layer, asked.domain) in weights
            ]
            models: dict[str, Any] = {
                s: weights.load_model(denoiser, layer, asked.domain, f=f, sampler=s, shape=shape)
                for s in held
                if s in asked.samplers
            }
            session.on_device(models, asked.device)
            if held and "true" in asked.samplers and asked.domain == "x":
                first = weights.load_model(denoiser, layer, "x", f=f, sampler=held[0], shape=shape)
                yield denoiser, layer, TrueAnatomy(first.wiretap, first.shape)
            for model in models.values():
                yield denoiser, layer, model


class Exact:
    """Curves of the exact conditional of the first patches, measured once for each network."""

    def __init__(
        self,
        scanners: Sequence[SliceScanner],
        held_out: HeldOut,
        mas: float,
        asked: argparse.Namespace,
    ) -> None:
        self.scanners, self.held_out, self.mas, self.asked = scanners, held_out, mas, asked
        self.covariances: dict[int, Any] = {}
        self.curves: dict[tuple[str, int], Any] = {}

    def curve(self, name: str, image: int, placed: PlacedModel) -> Any:
        """The curve of one patch of one denoiser, blended into the scan as samples are."""
        if image not in self.covariances:
            whole = self.scanners[image]
            alone = SliceScanner(
                whole.hu, whole.spacing, kvp=whole.kvp, slice_thickness=whole.slice_thickness,
                patch_grid=whole.patch_grid, window=whole.window, seed=whole.seed,
                image=whole.image, device=whole.device,
            )  # fmt: skip
            self.covariances[image] = ImageCovariance.of(alone, progress=True)
        if (name, image) not in self.curves:
            added, weight = self.covariances[image].times(self.mas), placed.weight
            own = stationary(self.held_out.finer[image])
            scans = self.held_out.redrawn[image][:_EXACT]
            mean = scans.mean(0)  # a slice with noise of its own is not drawn again as a whole
            scans = mean + (scans - mean) / self.held_out.shares[image] ** 0.5
            self.curves[name, image] = exact_curve(
                placed.place, placed.place.inside, placed.blend(scans),
                lambda v: weight * (added(weight * v) + own(weight * v)),
                _TAUS * self.asked.tolerance_hu,
                seed=self.asked.seed,
            )  # fmt: skip
        return self.curves[name, image]


def stationary(noise: Tensor) -> Callable[[Tensor], Tensor]:
    """The product with the covariance of a noise that is alike everywhere, from one draw of it.

    Its autocovariance is cut off by a Gaussian of 4 pixels (Blackman and Tukey).
    """
    lags = [torch.fft.fftfreq(side, 1.0 / side) / 4.0 for side in noise.shape]
    taper = torch.exp(-0.5 * (lags[0][:, None] ** 2 + lags[1] ** 2))
    together = torch.fft.ifft2(torch.fft.fft2(noise).abs() ** 2).real / noise.numel()
    power = torch.fft.fft2(taper * together).real
    return lambda v: torch.fft.ifft2(power.to(v) * torch.fft.fft2(v)).real


def low_dose_rows(
    asked: argparse.Namespace, weights: Any, held_out: Any, exact: Exact | None
) -> Iterator[dict]:
    """Plain and projected samples of every model."""
    for denoiser, layer, model in models_of(asked, weights):
        at_output = layer == "output"
        curve = None
        if exact is not None and at_output:
            curve = partial(exact.curve, denoiser)
        projected = {
            "tolerance_hu": asked.tolerance_hu if at_output else None,
            "tolerance": None if at_output else asked.tolerance,
        }
        for name, how in (
            (model.sampler, {"tolerance_hu": None, "tolerance": None}),
            (f"{model.sampler}, projected", projected),
        ):
            label = f"{denoiser}, layer {layer}, {name}"
            found = held_out_fidelity(
                model, held_out, n=asked.n, looked_at=asked.closely, exact=curve,
                seed=asked.seed, label=label, **how,
            )  # fmt: skip
            found.pop("ranks", None)
            yield {"denoiser": denoiser, "layer": layer, "sampler": name, **found}


@torch.no_grad()
def target_rows(
    asked: argparse.Namespace, weights: Any, scanners: Sequence[SliceScanner], mas: float
) -> Iterator[dict]:
    """Every sampler of anatomies, and the true anatomy, scanned and denoised again; means."""
    seen = set()
    for denoiser, layer, model in models_of(asked, weights):
        if denoiser not in seen:
            again = [_scanned_again(model, scanner, asked, mas) for scanner in scanners]
            name = "true anatomy, scanned again"
            yield {"denoiser": denoiser, "layer": layer, "sampler": name, **_means(again)}
        seen.add(denoiser)
        found = [
            _scanned(model, scanner, asked, mas)
            for scanner in tqdm(scanners, desc=f"{denoiser}, {model.sampler}", leave=False)
        ]
        yield {"denoiser": denoiser, "layer": layer, "sampler": model.sampler, **_means(found)}


def _scanned_again(
    model: Model, scanner: SliceScanner, asked: argparse.Namespace, mas: float
) -> dict[str, float]:
    scan = scanner.low_dose(mas, seed=asked.seed)[0]
    f = InPlace(model.wiretap.f, scanner.place, scan)
    again = scanner.low_dose(mas, draws=asked.n, seed=derived_seed(asked.seed, "again"))
    return {"distance [HU]": float(rms(apply(f, again) - apply(f, scan)).median())}


def _scanned(
    model: Model, scanner: SliceScanner, asked: argparse.Namespace, mas: float
) -> dict[str, float]:
    scan = scanner.low_dose(mas, seed=asked.seed)[0]
    f = InPlace(model.wiretap.f, scanner.place, scan)
    ybar = sample_targets(model, scanner, mas=mas, n=asked.n, seed=asked.seed)
    scans = scanner.rescan(ybar, mas, seed=derived_seed(asked.seed, "rescan"))[:, 0]
    return {
        "distance [HU]": float(rms(apply(f, scans) - apply(f, scan)).median()),
        "sd [HU]": float(rms(sample_sd(ybar))),
        "bias [HU]": float(rms(ybar.mean(0) - scanner.y)),
        "coverage": coverage(ybar, scanner.y),
        "coverage, ideal": ideal_coverage(asked.n),
        "miss relative to sd": miss_relative_to_sd(ybar, scanner.y),
        "joint rank": joint_rank(scanner.y, ybar),
        **{f"sd, {name} [HU]": sd for name, sd in deviation_by_scale(ybar).items()},
    }


def _means(found: Sequence[dict[str, float]]) -> dict[str, float]:
    means = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
    if "joint rank" in means:
        ranks = [row["joint rank"] for row in found]
        means["joint rank, p"] = float(kstest(ranks, "uniform").pvalue)
    return means


def write_tables(path: Path, rows: Sequence[dict], shown: Sequence[str]) -> None:
    """All columns as CSV, those that are shown in Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(path.with_suffix(".csv"), [{c: row.get(c, "") for c in columns} for row in rows])
    head = ["denoiser", "layer", "sampler", *(c for c in shown if c in columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.get(c, "") for c in head]
        text = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(text) + " |")
    write_atomic(path.with_suffix(".md"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
