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

__all__ = ["policy", "script", "section", "style"]

_SCRIPTS = ("numbers.js", "picture.js", "page.js", "controls.js")

HEAVIEST = 3_800_000
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


def section(studies: Sequence[Study], *, heaviest: int = HEAVIEST) -> str:
    """HTML of the viewer with the images of all studies, or nothing if there are none.

    Parameters
    ----------
    studies : sequence of Study
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
    data = {"sets": sets, "stacks": stacks, "view": _first_view(shown[0])}
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return (
        f"{_FRAME}<script type='application/json' id='viewer-data'>{text}</script>\n"
        f"<script>{script()}</script>\n"
    )


def _packed(studies: Sequence[Study], most: int) -> tuple[list[Any], dict[str, Any]]:
    """All sets with at most so many samples each, and their stacks."""
    packer = Packer()
    return [one for study in studies for one in image_sets(study, packer, most=most)], packer.stacks


def _first_view(study: Study) -> dict[str, float]:
    """Windows to start with [HU]: the tissue's, and twice the rms of the noise."""
    arrays = study.arrays
    window = fit_window(arrays["y"])
    noise = rms_hu(arrays["x"] - arrays["y"])
    reach = max(10.0, float(np.ceil(noise / 10) * 20))
    if "change" in arrays:  # two anatomies: their difference is what is looked at
        reach = max(10.0, float(np.ceil(np.abs(arrays["change"]).max() / 10) * 10))
    return {"level": window.level, "width": window.width, "difference": reach, "spread": reach / 2}


_FRAME = """\
<section id='viewer' aria-labelledby='viewer-title'>
<h2 id='viewer-title'>The images</h2>
<noscript><p>The viewer needs JavaScript. The pictures below show the same in fixed windows.</p>
</noscript>
<p id='viewer-failed' role='alert'></p>
<div class='controls'>
<fieldset class='choose'><legend>Which images</legend>
<label>Question <select id='viewer-kind'></select></label>
<label>Denoiser <select id='viewer-denoiser'></select></label>
<label>Samples <select id='viewer-sampler'></select></label>
<label>Exposure <input type='range' id='viewer-mas' min='0' step='1' value='0'>
<output id='viewer-mas-word' for='viewer-mas'></output></label>
<label>Layer <input type='range' id='viewer-layer' min='0' step='1' value='0'>
<output id='viewer-layer-word' for='viewer-layer'></output></label>
<label>Sample <input type='range' id='viewer-sample' min='0' step='1' value='0'>
<output id='viewer-sample-word' for='viewer-sample'></output></label>
</fieldset>
<fieldset class='windows'><legend>Window</legend>
<div id='viewer-presets' role='group' aria-label='Window presets'></div>
<label>Level <span><input type='number' id='viewer-level' step='10'> HU</span></label>
<label>Width <span><input type='number' id='viewer-width' min='1' step='10'> HU</span></label>
<label>Differences ±
<span><input type='number' id='viewer-difference' min='1' step='10'> HU</span></label>
<label>sd, 0 to <span><input type='number' id='viewer-spread' min='1' step='10'> HU</span></label>
</fieldset>
<fieldset class='scales'><legend>Scales</legend>
<p><i class='bar image'></i><span id='viewer-bar-image'></span></p>
<p><i class='bar difference'></i><span id='viewer-bar-difference'></span></p>
<p><i class='bar sd'></i><span id='viewer-bar-sd'></span></p>
</fieldset>
<fieldset class='tools'><legend>Dragging</legend>
<label><input type='radio' name='tool' value='window' checked> changes the window</label>
<label><input type='radio' name='tool' value='region'> draws a region</label>
<button type='button' id='viewer-whole'>Whole patch</button>
</fieldset>
</div>
<p id='viewer-said' role='status'></p>
<div id='viewer-tiles' tabindex='0' role='group' aria-label='Linked images; arrow keys change sample
 and layer, shift with arrow keys moves the crosshair, 1 to 4 are window presets'></div>
<p class='keys'>Keys, after a click on the images: <kbd>←</kbd> <kbd>→</kbd> sample, <kbd>↑</kbd>
<kbd>↓</kbd> layer, <kbd>n</kbd> <kbd>m</kbd> exposure, <kbd>1</kbd>–<kbd>4</kbd> presets,
<kbd>w</kbd> window, <kbd>r</kbd> region (or drag with <kbd>shift</kbd>), <kbd>shift</kbd> with an
arrow moves the crosshair, a click holds it, <kbd>esc</kbd> clears. Dragging to the right widens the
window, upwards brightens. The page's address then leads back to this view. CT numbers are kept to
0.1 HU.</p>
<div class='measures'>
<div><p id='viewer-place' aria-live='polite'></p>
<p id='viewer-region-word'></p>
<table><caption>CT number at the crosshair and statistics of the region [HU]</caption>
<thead><tr><th scope='col'>image</th><th scope='col' class='number'>at crosshair</th>
<th scope='col' class='number'>mean</th><th scope='col' class='number'>sd</th>
<th scope='col' class='number'>least</th><th scope='col' class='number'>largest</th></tr></thead>
<tbody id='viewer-statistics'></tbody></table></div>
<figure><svg id='viewer-spectra' role='img' aria-label='Noise power spectra of the differences in
 the region'></svg><figcaption>Noise power spectrum of each difference in the region, colours as in
the table: its mean removed, averaged over directions (of the middle 128 pixels a side, where the
region is larger). Anatomy that differs counts as well.</figcaption></figure>
</div>
</section>
"""
