"""The target domain: sampled anatomies ȳ, scanned again and denoised again, x' = f(R⁻¹𝒫Rȳ).

A sampler trained on targets, flow matching or VAE_y with a cINN, proposes high-dose anatomies ȳ
that should give the same output as x. Whether they do is decided by the scanner: each is put into
the slice, scanned at the exposure of x with several draws of the noise, and denoised. Its distance
to f(x) is judged beside that of the true anatomy, scanned as often. Every ȳ is taken as noise-free.
The same ȳ can be scanned at other exposures than that of the scan they were drawn for: there the
scanner may tell them from y.
"""

from __future__ import annotations

from torch import Tensor

from ctxai import Model, sample_invariances
from recon import DataError

from ..fidelity.verdict import judge_targets
from ..lesions.lesion import match_lesions
from ..numbers import Spread, apply, coverage, ideal_coverage, rms, sample_sd
from ..projection_domain.pair import ray_detectability
from ..runs.rows import add_scan, patch_facts
from ..runs.store import Study
from ..scanner.slice_scanner import SliceScanner, derived_seed
from .compatibility import NULL_DRAWS, POWER_SCANS, NullOutputs, add_compatibility, power_lesion

__all__ = ["sample_targets", "target_domain_study"]


def sample_targets(model: Model, scanner: SliceScanner, *, mas: float, n: int, seed: int) -> Tensor:
    """Anatomies ȳ (n, H, W) [HU] for the output of the scan of y at an exposure [mAs].

    Number k is the same for every n above it, but for the rounding of 16 bits.
    """
    x = scanner.low_dose(mas, seed=seed)[0]
    return sample_invariances(model, x, n=n, seed=seed).reshape(n, *x.shape)


def target_domain_study(
    model: Model,
    scanner: SliceScanner,
    *,
    denoiser: str,
    mas: float,
    sampled_at: float | None = None,
    n: int = 250,
    draws: int = 8,
    null_groups: int = 24,
    seed: int,
    progress: bool = True,
) -> Study:
    """Sample ȳ for the output of one scan, and send each through the scanner and f again.

    Parameters
    ----------
    model : InvarianceModel or FlowModel
        Of domain "y": its samples are high-dose anatomies [HU].
    scanner : SliceScanner
        The slice, with the patch that x and ȳ lie on.
    denoiser : str
        Name of f.
    mas : float
        Exposure [mAs] of x and of the scans of ȳ.
    sampled_at : float, optional
        Exposure [mAs] of the scan of y for whose output the ȳ are drawn; ``mas`` by default.
    n : int
        Number of ȳ.
    draws : int
        Noise draws for each ȳ; its distance to f(x) is their mean.
    null_groups : int
        How often the true anatomy is scanned with as many draws, for comparison.
    seed : int
        Of x, of the samples and of all noise.
    progress : bool
        Bars on stderr.

    Returns
    -------
    Study
        Arrays: ``slice``; ``y``, ``x``, ``fx`` (H, W); ``ybar`` (n, H, W); ``rescanned`` (n, H, W),
        the first draw of R⁻¹𝒫Rȳ; ``xprime`` (n, draws, H, W); ``distance`` (n, draws) and
        ``null_distance`` (null_groups, draws) [HU]; ``compatibility_p`` (n,), see
        :mod:`analysis.target_domain.compatibility`; ``rays_d`` (n,), d' of ȳ - y to an ideal
        observer of the rays; ``lesion_likeness`` (n,), see
        :func:`analysis.lesions.lesion.match_lesions`.

    Raises
    ------
    DataError
        If a count is less than 1 or the model samples low-dose images.
    """
    for name, count in (("n", n), ("draws", draws), ("null_groups", null_groups)):
        if count < 1:
            raise DataError("too few", where=name, expected="at least 1", got=count)
    if model.domain != "y":
        raise DataError("not a model of targets", expected="domain 'y'", got=repr(model.domain))
    f = model.wiretap.f
    y = scanner.y
    x = scanner.low_dose(mas, seed=seed)[0]
    fx = apply(f, x)
    sampled_at = mas if sampled_at is None else float(sampled_at)
    ybar = sample_targets(model, scanner, mas=sampled_at, n=n, seed=seed)

    def scan_label(what: str) -> str | None:
        return f"{denoiser}: scanning {what} at {mas:g} mAs" if progress else None

    rescanned = scanner.rescan(
        ybar, mas, draws=draws, seed=derived_seed(seed, "rescan"), progress=scan_label(f"{n} ȳ")
    )
    xprime = apply(f, rescanned)
    distance = rms(xprime - fx)
    again = scanner.low_dose(
        mas,
        draws=max(NULL_DRAWS, null_groups * draws),
        seed=derived_seed(seed, "null"),
        progress=scan_label("y again"),
    )
    again = apply(f, again)
    null = rms(again[: null_groups * draws] - fx).reshape(null_groups, draws)
    lesion = y + power_lesion(scanner.patch_grid).on(scanner.patch_grid).to(y)
    with_lesion = scanner.rescan(
        lesion.expand(POWER_SCANS, *y.shape),
        mas,
        draws=draws,
        seed=derived_seed(seed, "lesion"),
        progress=scan_label("y with a lesion"),
    )

    study = Study("target-domain", denoiser, float(mas), {})
    likeness, _ = match_lesions(ybar, y, scanner.patch_grid)
    by_sample, by_group = Spread.of(distance.mean(1)), Spread.of(null.mean(1))
    inside = float((distance.mean(1) <= by_group.high).double().mean())
    sd, covered = rms(sample_sd(ybar)), coverage(ybar, y)
    verdict = judge_targets(
        by_sample, by_group, inside=inside, sd_hu=float(sd), covered=covered, n=n
    )
    add_scan(study, x, y, fx)
    sampler = model.sampler
    _numbers(study, sampler, y, ybar, xprime)
    study.add(
        "likeness of ȳ - y to a lesion, the likest", float(likeness.max()), "1", sampler=sampler,
        should_be="1 if a lesion is all that differs",
        meaning=f"correlation with discs of radius 1.5 and 3 px; ȳ {int(likeness.argmax()) + 1}",
    )  # fmt: skip
    for what, value in by_sample.named():
        study.add(
            f"‖x' - f(x)‖, {what}", value, "HU", sampler=sampler,
            should_be=f"within {by_group.low:.1f} to {by_group.high:.1f} HU, as for the true y",
            meaning=f"{what} over the ȳ of the mean over {draws} noise draws",
        )  # fmt: skip
    for what, value in by_group.named():
        study.add(
            f"‖f(R⁻¹𝒫Ry) - f(x)‖, {what}", value, "HU", sampler="true y, noise redrawn",
            should_be="the reference",
            meaning=f"the same for the true y, over {null_groups} groups of {draws} draws",
        )  # fmt: skip
    study.add(
        "share of ȳ no farther from f(x) than the true y", inside, "1", sampler=sampler,
        should_be="about 1 if the ȳ are invariances",
        meaning="mean distance at most the largest of the true y's groups",
    )  # fmt: skip
    study.facts = {
        "layers": [model.wiretap.layer],
        "sampler": model.sampler,
        "n": n,
        "draws": draws,
        "sampled_at_mas": sampled_at,
        "null_groups": null_groups,
        "seed": seed,
        "scan": scanner.facts(mas),
        "weights": dict(model.facts),
        "verdict": {**vars(verdict)},
        "patch": patch_facts(scanner),
    }
    study.arrays = {
        "slice": scanner.hu,
        **{
            name: array.cpu().numpy()
            for name, array in {
                "y": y,
                "x": x,
                "fx": fx,
                "ybar": ybar,
                "rescanned": rescanned[:, 0],
                "xprime": xprime,
                "distance": distance,
                "null_distance": null,
                "lesion_likeness": likeness,
            }.items()
        },
    }
    add_compatibility(
        study,
        NullOutputs(fx, again[:NULL_DRAWS], seed=seed),
        xprime=xprime,
        ybar=ybar,
        y=y,
        with_lesion=apply(f, with_lesion),
        rays=ray_detectability(scanner, ybar, mas),
        sampler=sampler,
    )
    if sampled_at != mas:
        study.facts["verdict"]["reasons"].append(
            f"the anatomies were drawn for the scan at {sampled_at:g} mAs and scanned at {mas:g}"
        )
    study.add_verdict(study.facts["verdict"], sampler=sampler)  # with the power as a reason
    return study


def _numbers(study: Study, sampler: str, y: Tensor, ybar: Tensor, xprime: Tensor) -> None:
    """The numbers that need no reference: spread, bias and coverage."""
    n = len(ybar)
    study.add(
        "sd of ȳ", float(rms(sample_sd(ybar))), "HU", sampler=sampler,
        should_be="above 0: 0 means that the samples are all the same",
        meaning="rms over pixels of the standard deviation over samples",
    )  # fmt: skip
    study.add(
        "sd of x'", float(rms(sample_sd(xprime.flatten(0, 1)))), "HU", sampler=sampler,
        should_be="about that of f(R⁻¹𝒫Ry) if the ȳ are invariances",
        meaning="the same for the outputs, over samples and draws",
    )  # fmt: skip
    study.add(
        "‖mean ȳ - y‖", float(rms(ybar.mean(0) - y)), "HU", sampler=sampler,
        should_be="at most the sd of ȳ", meaning="bias of the samples",
    )  # fmt: skip
    study.add(
        "coverage of y by the 5–95 % band", coverage(ybar, y), "1", sampler=sampler,
        should_be=f"{ideal_coverage(n):.3f}", meaning=f"share of pixels; the ideal for {n} samples",
    )  # fmt: skip
