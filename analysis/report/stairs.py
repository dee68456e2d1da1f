"""The staircase of d': full dose, this dose, after the reconstruction, after the network.

A study of two anatomies holds all four, and a target-domain study those of the ȳ that is shown
first; of the others it knows two. What a run did not measure stays empty, and the command that
measures it is named.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..projection_domain.pair import DETECTED
from ..runs.order import capital
from ..runs.store import Run, Study
from .wording import say

__all__ = ["Stair", "Staircase", "staircase"]

_DRAWN = ("phantom", "high-dose")  # folders of a slice that was drawn for the run
_PLACES = ("full", "rays", "image", "output")
_TOLD = ("images", "phantom", "denoiser", "roi", "weights", "input", "kvp", "full_mas")


@dataclass(frozen=True)
class Stair:
    """One bar: where d' is taken, and d' itself, None where the run does not hold it."""

    place: str
    d: float | None


@dataclass(frozen=True)
class Staircase:
    """The four bars, what they are of, and what adds those that are missing."""

    stairs: list[Stair] = field(default_factory=list)
    of: str = ""
    command: str = ""

    @property
    def longest(self) -> float:
        """The d' that fills the width of the bars."""
        return max([DETECTED, *(stair.d for stair in self.stairs if stair.d is not None)])


def staircase(run: Run, study: Study, sample: int | None = None) -> Staircase:
    """The staircase of the anatomies of a study.

    Parameters
    ----------
    run : Run
    study : Study
        Whose denoiser and exposure it is.
    sample : int, optional
        Place of the sampled ȳ in the arrays that is compared with y; without it, any pair will do.
    """
    found, full = _whole(run.studies, study, sample), ""
    values: Sequence[float | None]
    if found is not None:
        values, facts, other = found
        full = f"{facts['full_mas']:g} mAs"
        of = say("stairs_of", other=other, tau=facts["tolerance_hu"], detected=DETECTED)
    else:
        rays, output = (_of_sample(study, name, sample) for name in ("rays_d", "telling_d"))
        values = [None, rays, None, output]
        if rays is None:
            of = say("stairs_nothing")
        else:
            which = "stairs_rays" if output is None else "stairs_telling"
            of = say(which, number=(sample or 0) + 1)
    places = [
        say(f"stair_{place}", full=full, study=study, who=capital(study.denoiser)).rstrip(", ")
        for place in _PLACES
    ]
    stairs = [Stair(place, d) for place, d in zip(places, values, strict=True)]
    return Staircase(stairs, of, "" if found is not None else _command(run, study, sample))


def _whole(
    studies: Sequence[Study], study: Study, sample: int | None
) -> tuple[list[float], dict[str, Any], str] | None:
    """All four d', the facts beside them and the other anatomy's name, if a study has them."""
    pair, own = _pair(studies, study, sample), study.facts.get("stairs")
    if pair is not None:
        return pair.arrays["stages"][:, 0].tolist(), pair.facts, str(pair.facts["other"])
    if sample is not None and own is not None and own["sample"] == sample:
        return own["d"], own, f"ȳ {sample + 1}"
    return None


def _of_sample(study: Study, name: str, sample: int | None) -> float | None:
    """The d' of one ȳ, where the study has it."""
    return None if sample is None or name not in study.arrays else float(study.arrays[name][sample])


def _pair(studies: Sequence[Study], study: Study, sample: int | None) -> Study | None:
    """The study of two anatomies that belongs to another study, or is it."""
    for one in studies:
        same = (one.denoiser, one.mas) == (study.denoiser, study.mas)
        other = sample is None or one.facts.get("sample") == sample + 1
        if "stages" in one.arrays and same and (one is study or other):
            return one
    return None


def _command(run: Run, study: Study, sample: int | None) -> str:
    """The command that follows the same anatomy, or a lesion, from the rays to the output."""
    asked = dict(run.record.get("configuration", {}))
    if not asked.get("images") and not asked.get("phantom"):
        # the run's folder may still be in the making: it is called by its name to be
        out = Path(asked.get("out", run.folder))
        there = [n for n in _DRAWN if (run.folder / n).exists() or (out / n).exists()]
        asked["images"] = str(out / (there or _DRAWN)[0])
    asked["denoiser"] = asked.get("denoiser") or study.denoiser
    words = ["ctxai", "projection-domain"]
    for name in _TOLD:
        value = asked.get(name)
        if value not in (None, "", False) and not (name == "weights" and value == "weights"):
            several = value if isinstance(value, list | tuple) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, several)]
    words += ["--mas", f"{study.mas:g}"]
    if sample is not None:
        words += ["--other", "sample", "--sample", str(sample + 1)]
    words += ["--seed", str(run.record.get("seed", 1)), "--out", "OUT"]
    return shlex.join(words)
