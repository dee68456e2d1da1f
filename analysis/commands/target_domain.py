"""`ctxai target-domain`: sampled anatomies, scanned and denoised again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from analysis.session.options import SamplingOptions

__all__ = ["TargetOptions", "target_domain"]


@dataclass(frozen=True, kw_only=True)
class TargetOptions(SamplingOptions):
    """What the study of the target domain is given."""

    mas: tuple[float, ...] = (10.0,)
    """Exposure of the simulated scans in mAs per rotation. Of several, ȳ are drawn for the output
    at the first, and the same ȳ are scanned at each: a higher dose may tell them."""
    draws: int = 8
    """Noise draws for each anatomy."""

    def check(self) -> None:
        """Refuse what cannot be studied, whatever the images."""
        from analysis import session

        session.require_mas(self.mas)
        super().check()
        session.require_count(self.draws, "--draws", most=session.MOST_SAMPLES // self.n)


def target_domain(options: Annotated[TargetOptions, arg(name="")]) -> None:
    """Which other anatomies, scanned at this dose, would have given the same output?

    Takes a slice y as the truth, scans it at --mas, denoises the scan, and samples anatomies ȳ that
    should give that output; each is moved once by what a scan of it misses of that. Then it scans
    and denoises every ȳ again with fresh noise, and compares: x' = f(R⁻¹𝒫Rȳ)
    beside f(x), and beside what scanning y again gives. Ranks the ȳ by whether they alter anatomy,
    as a lesion would, and says whether the output shows it.

    Example: ctxai target-domain --images ABDOMEN --denoiser chen --mas 10 -n 250 --out OUT

    Writes OUT/report.html, run.json, metrics.csv, samples.zarr, and for each exposure the
    low-dose slices as a DICOM series, OUT/mas-010.
    """
    from analysis import session

    options.check()
    session.require_out(options.out, overwrite=options.overwrite)
    networks = options.networks()
    exposures = session.require_mas(options.mas)
    scene = options.scene(options.images, networks, pixels=options.patch)
    session.tell_departures(scene, exposures, networks)
    loaded = options.load(scene, networks)
    models = options.models(loaded, ("output",), "y", scene, networks, mas=exposures[0])

    from analysis.target_domain.study import target_domain_study

    differentiable = session.has_jacobian(
        loaded, "what it loses, and sees of directions, is left out", needed=False
    )
    scanner = scene.scanner(loaded.f, seed=options.seed, device=options.device)
    f = session.among_neighbours(loaded.f, scene, scanner, exposures[0])
    model = session.models_among(models, f)["output"]
    results = [
        target_domain_study(
            model,
            scanner,
            denoiser=loaded.name,
            mas=mas,
            sampled_at=exposures[0],
            n=options.n,
            draws=options.draws,
            differentiable=differentiable,
            seed=options.seed,
        )
        for mas in exposures
    ]
    options.write("target-domain", scene, results, networks, mas=exposures, sampler=model.sampler)
