"""The viewer in a page: controls, data, program and look."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from ..figures.images import fit_window, rms_hu
from ..runs.store import Study
from .pack import Packer
from .sets import MOST_SAMPLES, image_sets

__all__ = ["edge_letters", "policy", "script", "section", "style"]

_SCRIPTS = ("blink.js", "numbers.js", "picture.js", "page.js", "controls.js")

HEAVIEST = 3_700_000
"""Characters of images in a page, so that it stays below 8 MB with its pictures."""


@cache
def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def style() -> str:
    """CSS of the viewer."""
    return _read("page.css")


@cache
def script() -> str:
    """The program of the page, in a scope of its own."""
    return '"use strict";\n{\n' + "\n".join(_read(name) for name in _SCRIPTS) + "}\n"


def policy() -> str:
    """Content security policy of a report: this program, pictures in the page, nothing else."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def section(
    studies: Sequence[Study],
    orientation: Sequence[float] | None = None,
    *,
    heaviest: int = HEAVIEST,
) -> str:
    """HTML of the viewer with the images of all studies, or nothing if there are none.

    Parameters
    ----------
    studies : sequence of Study
    orientation : six floats, optional
        Direction of rows and columns in the patient, as DICOM has it; without it the images have no
        letters at their edges.
    heaviest : int
        Characters that the images may take; above it, fewer samples are shown of each set.
    """
    shown = [study for study in studies if {"x", "y", "fx"} <= study.arrays.keys()]
    if not shown:
        return ""
    sets, stacks = _packed(shown, MOST_SAMPLES)
    weight = sum(len(stack["data"]) for stack in stacks.values())
    if weight > heaviest:
        sets, stacks = _packed(shown, max(1, int(MOST_SAMPLES * heaviest / weight)))
    first = next((study for study in shown if study.kind == "target-domain"), shown[0])
    data = {"sets": sets, "stacks": stacks, "view": _first_view(first)}
    data["letters"] = edge_letters(orientation) if orientation else {}
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return (
        f"{_read('frame.html')}<script type='application/json' id='viewer-data'>{text}</script>\n"
        f"<script>{script()}</script>\n"
    )


def edge_letters(orientation: Sequence[float]) -> dict[str, str]:
    """What of the patient lies at the edges of an image, by the main axis of rows and columns.

    Parameters
    ----------
    orientation : six floats
        Image Orientation (Patient): where columns lead, and where rows lead.

    Examples
    --------
    >>> from analysis.viewer.page import edge_letters
    >>> edge_letters((1, 0, 0, 0, 1, 0))
    {'left': 'R', 'right': 'L', 'top': 'A', 'bottom': 'P'}
    """
    found = {}
    for edges, towards in (
        (("left", "right"), orientation[:3]),
        (("top", "bottom"), orientation[3:]),
    ):
        axis = int(np.argmax(np.abs(towards)))
        ends = ("RL", "AP", "FH")[axis]  # towards the patient's left, back and head
        found |= dict(zip(edges, ends if towards[axis] > 0 else ends[::-1]))
    return found


def _packed(studies: Sequence[Study], most: int) -> tuple[list[Any], dict[str, Any]]:
    """All sets with at most so many samples each, and their stacks."""
    packer = Packer()
    return [one for study in studies for one in image_sets(study, packer, most=most)], packer.stacks


def _first_view(study: Study) -> dict[str, Any]:
    """What to start with: the study, the tissue's window, twice the rms of the noise [HU]."""
    arrays = study.arrays
    window = fit_window(arrays["y"])
    noise = rms_hu(arrays["x"] - arrays["y"])
    reach = max(10.0, float(np.ceil(noise / 10) * 20))
    if "change" in arrays:  # two anatomies: their difference is what is looked at
        reach = max(10.0, float(np.ceil(np.abs(arrays["change"]).max() / 10) * 10))
    windows = {"level": window.level, "width": window.width}
    windows |= {"difference": reach, "spread": reach / 2}
    return {"kind": study.kind, "denoiser": study.denoiser, "mas": study.mas, **windows}
