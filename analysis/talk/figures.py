"""The figures of a talk, from one run: denoising, layers, target domain, and what training taught.

Everything is read from the run folder but the cover's two networks, which are trained by
:mod:`analysis.talk.cover`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from recon import DataError

from ..figures.images import fit_window, rms_hu
from ..figures.sheets import sheet
from ..runs.order import capital
from ..runs.store import Run, Study
from .arrows import SMOOTHING_MM, largest_differences
from .sheet import Panel, colour_limit, untitled

__all__ = ["LAYERS", "denoising_figure", "layers_figure", "of_run", "target_domain_figure"]

LAYERS = ("1", "4", "7")
"""Wiretapped layers of the second figure."""

_SAMPLES = 5  # columns of samples after a layer
_CHAINS = 3  # sampled anatomies that are scanned again
_REMEDY = "make a run that has it: ctxai demo --out RUN"
_SCANNED = r"R$^{-1}\mathcal{P}$Rȳ"  # the script P is in the fonts of formulas alone


def of_run(run: Run, layers: Run | None = None) -> dict[str, Callable[..., bytes]]:
    """The figures that a run of the demonstration holds, by file name.

    Parameters
    ----------
    run : Run
        As :func:`analysis.runs.store.read_run` gives it.
    layers : Run, optional
        Where the samples after Yang's layers are from, such as those of the talk's own VAE and
        cINN; the run itself by default, with the sampler that is better there.

    Returns
    -------
    dict
        "denoising", "layers", "target-domain" → function of ``form="png"`` or "svg" to bytes.

    Raises
    ------
    DataError
        If a study, a layer or an image is missing, with the command that makes it.
    """
    chen, yang = (_study(run, "invariances", name) for name in ("chen", "yang"))
    return {
        "denoising": denoising_figure(chen, yang),
        "layers": layers_figure(yang if layers is None else _study(layers, "invariances", "yang")),
        "target-domain": target_domain_figure(_study(run, "target-domain", "chen")),
    }


def denoising_figure(*studies: Study) -> Callable[..., bytes]:
    """y, x, f(x) and f(x) - y, a row a denoiser, with arrows at the largest differences.

    Parameters
    ----------
    studies : Study
        Studies of any kind, with "y", "x" and "fx".
    """
    _require(studies[0], "y", "x", "fx")
    window, spacing = fit_window(studies[0].arrays["y"]), _spacing(studies[0])
    rows: list[tuple[str, list[Panel]]] = []
    differences = []
    for study in studies:
        _require(study, "y", "x", "fx")
        if _spacing(study) != spacing:
            raise DataError("pixels of two sizes in one figure", where=study.name)
        y, x, fx = (study.arrays[name] for name in ("y", "x", "fx"))
        pointers = largest_differences(fx - y, spacing)
        differences.append(fx - y)
        noise, left = (f"{rms_hu(image - y):.0f} HU" for image in (x, fx))
        panels = [
            Panel(y, "y, high dose", "", window, pointers),
            Panel(x, f"x, {study.mas:g} mAs", f"‖x - y‖ = {noise}", window, pointers),
            Panel(fx, "f(x)", f"‖f(x) - y‖ = {left}", window, pointers),
            Panel(fx - y, "f(x) - y", "", None, pointers, labelled=True),
        ]
        rows.append((capital(study.denoiser), untitled(panels) if rows else panels))
    shown = capital(str(window))
    footer = (
        f"{shown}. ‖·‖ is the rms over pixels. Arrows: the largest differences f(x) - y,\n"
        f"averaged with a Gaussian of {SMOOTHING_MM:g} mm."
    )
    return partial(sheet, rows, spacing=spacing, footer=footer, limit=colour_limit(differences))


def layers_figure(study: Study) -> Callable[..., bytes]:
    """Samples x̄ after layers 1, 4 and 7, a row a layer; a column has the same v.

    Parameters
    ----------
    study : Study
        A study of invariances, with ``layer-L/plain`` and its distances for all :data:`LAYERS`.

    Raises
    ------
    DataError
        If a layer is missing, or the layers do not share v.
    """
    _require(
        study, "y", "x", "fx", *(f"layer-{la}/plain{d}" for la in LAYERS for d in ("", "_distance"))
    )
    samplers = {study.facts.get("sampler", {}).get(layer) for layer in LAYERS}
    if len(samplers) > 1:
        raise DataError(
            "layers with different samplers do not share v", where=study.name, got=samplers
        )
    window = fit_window(study.arrays["y"])
    beside = {f"x, {study.mas:g} mAs": "x", "f(x)": "fx", "y, high dose": "y"}
    rows: list[tuple[str, list[Panel]]] = []
    for layer, (caption, name) in zip(LAYERS, beside.items(), strict=True):
        samples = study.arrays[f"layer-{layer}/plain"][:_SAMPLES]
        distance = study.arrays[f"layer-{layer}/plain_distance"]
        panels = [
            Panel(image, f"v{_subscript(k + 1)}", f"{distance[k]:.0f} HU", window)
            for k, image in enumerate(samples)
        ]
        panels.append(Panel(study.arrays[name], "the case", caption, window))
        rows.append((f"x̄ after\nlayer {layer}", untitled(panels) if rows else panels))
    redrawn = ""
    if "redrawn_distance" in study.arrays:
        again = float(np.median(study.arrays["redrawn_distance"]))
        redrawn = f"; drawing the noise of x again gives {again:.0f} HU"
    name, shown = capital(study.denoiser), capital(str(window))
    footer = (
        f"{name}'s denoiser{_by(*samplers)}. A column has the same v. Below each sample:\n"
        f"‖f(x̄) - f(x)‖, rms over pixels{redrawn}.\n{shown}."
    )
    return partial(sheet, rows, spacing=_spacing(study), footer=footer)


def target_domain_figure(study: Study) -> Callable[..., bytes]:
    """What was there and what could have been: ȳ, its difference from y, its scan, x', x' - f(x).

    The first row is the truth, y → x → f(x); each further row is a sampled anatomy on the same way.

    Parameters
    ----------
    study : Study
        A study of the target domain.
    """
    _require(study, "y", "x", "fx", "ybar", "rescanned", "xprime", "null_distance")
    y, x, fx = (study.arrays[name] for name in ("y", "x", "fx"))
    window = fit_window(y)
    noise, left = rms_hu(x - y), rms_hu(fx - y)
    truth = [
        Panel(y, "y", "", window),
        Panel(x, r"x = R$^{-1}\mathcal{P}$Ry", f"‖x - y‖ = {noise:.0f} HU", window),
        Panel(fx, "f(x)", f"‖f(x) - y‖ = {left:.0f} HU", window),
    ]
    rows: list[tuple[str, list[Panel]]] = [("truth", truth)]
    changes = []
    for k, ybar in enumerate(study.arrays["ybar"][:_CHAINS]):
        scanned, xprime = study.arrays["rescanned"][k], study.arrays["xprime"][k, 0]
        images = {"ȳ": ybar, _SCANNED: scanned, f"x' = f({_SCANNED})": xprime}
        panels = [Panel(image, title, "", window) for title, image in images.items()]
        for title, change in {"ȳ - y": ybar - y, "x' - f(x)": xprime - fx}.items():
            changes.append(change)
            panels.append(Panel(change, title, f"{rms_hu(change):.0f} HU"))
        rows.append((f"sampled\nanatomy {k + 1}", panels if k == 0 else untitled(panels)))
    again = float(np.median(study.arrays["null_distance"]))
    name, shown = capital(study.denoiser), capital(str(window))
    footer = (
        f"{name}'s denoiser, {study.mas:g} mAs{_by(study.facts.get('sampler'))}.\n"
        "Below the differences, their rms over pixels; scanning the true y again gives "
        f"‖x' - f(x)‖ = {again:.0f} HU.\n{shown}."
    )
    return partial(sheet, rows, spacing=_spacing(study), footer=footer, limit=colour_limit(changes))


def _study(run: Run, kind: str, denoiser: str) -> Study:
    """The first study of a kind and a denoiser in a run."""
    found = [s for s in run.studies if s.kind == kind and s.denoiser == denoiser]
    if not found:
        raise DataError(
            f"the run has no study of {kind} for {denoiser}",
            where=run.folder,
            got=", ".join(s.name for s in run.studies) or "no study",
            remedy=_REMEDY,
        )
    return found[0]


def _require(study: Study, *names: str) -> None:
    """Refuse a study without these images."""
    missing = [name for name in names if name not in study.arrays]
    if missing:
        raise DataError(f"the study lacks {', '.join(missing)}", where=study.name, remedy=_REMEDY)


def _by(sampler: str | None) -> str:
    """Which sampler a figure shows, as the end of a clause."""
    return f", samples by {sampler}" if sampler else ""


def _spacing(study: Study) -> tuple[float, float]:
    sy, sx = study.facts["patch"]["spacing_mm"]
    return float(sy), float(sx)


def _subscript(number: int) -> str:
    return "".join(chr(0x2080 + int(digit)) for digit in str(number))
