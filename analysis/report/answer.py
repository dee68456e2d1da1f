"""What stands at the very top of a report: one sentence, three images, and the bars of d'.

The sentence is the verdict's. The images are the truth, the other image that could have given the
output and whose anatomy differs most, and the output that it leads to; the last two blink against
the truth and its output.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..fidelity.statistics import without_noise
from ..figures.images import Window, fit_window, rms_hu
from ..figures.pixels import grey_png
from ..runs.order import capital, sample_order, sample_words
from ..runs.store import Run, Study, sample_array
from .stairs import Staircase, staircase
from .summary import headline, tone, verdicts
from .wording import say

__all__ = ["Answer", "View", "answer", "leading"]

_END = re.compile(r"(?<=[.!?]) (?=[A-Z\d])")  # of a sentence


@dataclass(frozen=True)
class View:
    """One of the images, and what stands in its place when it blinks."""

    title: str
    words: str
    png: bytes
    other_title: str = ""
    other_png: bytes = b""


@dataclass(frozen=True)
class Answer:
    """All that a reader sees before the page is moved."""

    question: str
    sentence: str
    tone: str  # good, bad or undecided
    more: str = ""  # what else the verdicts say, farther down
    sure: str = ""
    views: list[View] = field(default_factory=list)
    ratio: float = 1.0  # width over height of the images [mm/mm]
    window: str = ""
    stairs: Staircase = field(default_factory=Staircase)


def leading(studies: Sequence[Study]) -> list[Study]:
    """The studies that the sentence is about: two anatomies only where nothing else was asked."""
    return [study for study in studies if study.kind != "projection-domain"] or list(studies)


def answer(run: Run) -> Answer:
    """The top of a run's report."""
    studies = leading(run.studies)
    shown = _shown(studies)
    asked = studies if shown is None else [shown]  # the sentence answers what the images show
    tones = {tone(verdict) for study in asked for verdict in verdicts(study)}
    colour = tones.pop() if len(tones) == 1 else "undecided"
    sentence, _, more = _END.sub("\n", headline(asked)).partition("\n")
    if len(studies) > len(asked):
        more = f"{more}\n{headline(studies)}".strip()
    told: dict[str, Any] = {
        "sentence": sentence, "tone": colour, "more": more.replace("\n", " "),
    }  # fmt: skip
    if shown is None:
        return Answer("", **told)
    window, (sy, sx) = fit_window(shown.arrays["y"]), shown.facts["patch"]["spacing_mm"]
    rows, cols = shown.arrays["y"].shape
    views, sample = _VIEWS[shown.kind](shown, window)
    return Answer(
        say(f"leading_{shown.kind}", who=capital(shown.denoiser), study=shown),
        sure=_sure(shown),
        views=views,
        ratio=cols * sx / (rows * sy),
        window=capital(str(window)),
        stairs=staircase(run, shown, sample),
        **told,
    )


def _shown(studies: Sequence[Study]) -> Study | None:
    """The study whose images are shown: rather other anatomies than two, or other noise."""
    able = [study for study in studies if {"x", "y", "fx"} <= study.arrays.keys()]
    return next((study for kind in _VIEWS for study in able if study.kind == kind), None)


def _sure(study: Study) -> str:
    """How far the answer goes, in a few words."""
    if "power" in study.facts.get("compatibility", {}):
        return say("top_sure_tested", power=100 * study.facts["compatibility"]["power"])
    return say("top_sure")


def _anatomy(change: np.ndarray) -> float:
    """Rms of a difference in the scales of tissue and organs [HU]."""
    return rms_hu(without_noise(torch.from_numpy(change.astype(np.float32))).numpy())


def _differs(change: np.ndarray) -> str:
    anatomy = _anatomy(change)
    noise = max(rms_hu(change) ** 2 - anatomy**2, 0.0) ** 0.5  # a difference of rounded numbers
    return say("top_differs", anatomy=anatomy, noise=noise)


def _targets(study: Study, window: Window) -> tuple[list[View], int | None]:
    """y; the first ȳ, blinking against y; f of its scan, blinking against f(x)."""
    arrays, k, who = study.arrays, sample_order(study)[0], capital(study.denoiser)
    y, fx, ybar, xprime = (
        grey_png(image, window)
        for image in (arrays["y"], arrays["fx"], arrays["ybar"][k], arrays["xprime"][k, 0])
    )
    far, null = float(arrays["distance"][k].mean()), arrays["null_distance"].mean(1)
    same = say("top_same_output", far=far, low=null.min(), high=null.max())
    return [
        View(say("top_y"), say("top_patch", study=study), y),
        View(say("top_ybar", told=", ".join(sample_words(study, k))),
             _differs(arrays["ybar"][k] - arrays["y"]), ybar, say("top_y"), y),
        View(say("top_output_ybar", who=who), same, xprime, say("top_output_y", who=who), fx),
    ], k  # fmt: skip


def _pair(study: Study, window: Window) -> tuple[list[View], int | None]:
    """y; the other anatomy; f(x), and what J says that it becomes for the other anatomy."""
    arrays, who = study.arrays, capital(study.denoiser)
    changed = arrays["fx"] + arrays["output_signal"]
    y, ybar, fx, other = (
        grey_png(image, window) for image in (arrays["y"], arrays["ybar"], arrays["fx"], changed)
    )
    moved = say("top_moved", far=rms_hu(arrays["output_signal"]))
    return [
        View(say("top_y"), say("top_patch", study=study), y),
        View(
            say("top_ybar", told=study.facts["other"]),
            _differs(arrays["change"]),
            ybar,
            say("top_y"),
            y,
        ),
        View(say("top_output_ybar", who=who), moved, other, say("top_output_y", who=who), fx),
    ], None


def _layers(study: Study, window: Window) -> tuple[list[View], int | None]:
    """x; the x̄ that keeps the output and differs most, blinking against x; the output of each."""
    arrays, who = study.arrays, capital(study.denoiser)
    x, fx = (grey_png(arrays[name], window) for name in ("x", "fx"))
    first = View(say("top_x", study=study), say("top_patch", study=study), x)
    names = [
        sample_array(layer, projected=projected)
        for projected in (True, False)
        for layer in reversed(study.facts["layers"])
    ]
    name = next((name for name in names if name in arrays), None)
    if name is None:
        return [first, View(say("top_output_y", who=who), "", fx)], None
    outputs, far = arrays[f"{name}_output"], arrays[f"{name}_distance"]
    limit = study.facts.get("tolerance_hu") or float(np.median(arrays["redrawn_distance"]))
    shown = range(len(outputs))
    kept = [k for k in shown if far[k] <= 1.001 * limit] or list(shown)
    k = max(kept, key=lambda number: _anatomy(arrays[name][number] - arrays["x"]))
    xbar, output = grey_png(arrays[name][k], window), grey_png(outputs[k], window)
    return [
        first,
        View(say("top_xbar", number=k + 1), _differs(arrays[name][k] - arrays["x"]), xbar,
             first.title, x),
        View(say("top_output_xbar", who=who), say("top_far", far=far[k], limit=limit), output,
             say("top_output_y", who=who), fx),
    ], None  # fmt: skip


_VIEWS = {"target-domain": _targets, "projection-domain": _pair, "invariances": _layers}
