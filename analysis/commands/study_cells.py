"""What a cell of `ctxai study` computes: one of the other commands, by its own options."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.commands.invariances import InvarianceOptions, invariances
from analysis.commands.projection_domain import PairOptions, projection_domain
from analysis.commands.recon import recon
from analysis.commands.simulate import simulate
from analysis.commands.target_domain import TargetOptions, target_domain
from analysis.projections.slices import SliceOptions
from analysis.session.options import SamplingOptions, StudyOptions
from recon import DataError

if TYPE_CHECKING:
    from analysis.cohort.cells import Cell, Kind
    from analysis.cohort.work import Outcome, Task

__all__ = ["check_cell", "kinds", "networks_of", "run_cell", "side_of"]

_TRAINED = "trained"


class _OfCohort(StudyOptions):
    """A study as a cell: without the low-dose series, which `simulate` writes once for all."""

    def write(self, *args: Any, **how: Any) -> None:
        """Write the run folder of the study."""
        super().write(*args, **({"beside": lambda folder, studies: None} | how))


class _Sampled(_OfCohort, SamplingOptions):
    """The same of a study that samples; what has to be trained is trained once for all cells."""

    def models(self, *args: Any, **how: Any) -> Any:
        """Name and models of the denoiser, of which other processes may be waiting."""
        from analysis.cohort.ledger import turn

        above = self.out.parents[1]  # of OUT/cells/DIGEST
        with turn(above / _TRAINED / ".lock") if self.trains else contextlib.nullcontext():
            return SamplingOptions.models(replace(self, out=above), *args, **how)

    @property
    def trains(self) -> bool:
        """Whether samplers may have to be trained."""
        return self.denoiser.lower() not in self.networks().manifest["sha256"]


class _Invariances(_Sampled, InvarianceOptions):
    """Of one layer."""


class _Targets(_Sampled, TargetOptions):
    """Of one exposure."""


class _Pairs(_OfCohort, PairOptions):
    """Of one exposure."""


_STUDIES: dict[str, tuple[type[StudyOptions], Callable[..., None]]] = {
    "target-domain": (_Targets, target_domain),
    "invariances": (_Invariances, invariances),
    "projection-domain": (_Pairs, projection_domain),
}
_SIMULATE = {"mas": None, "dose_fraction": None, "electronic_noise": 3.0, "projections": False}
_SIMULATE |= {"kvp": None, "image_mas": None}
_NOT_OPTIONS = (
    "out", "images", "phantom", "slice", "roi", "seed", "layers", "mas", "overwrite", "series",
)  # fmt: skip


def kinds() -> Mapping[str, Kind]:
    """The studies that a manifest may ask for, with their options."""
    from analysis.cohort.cells import Kind

    found = {}
    for name, (options, _) in _STUDIES.items():
        takes = {
            one.name: None if one.default is MISSING else one.default
            for one in fields(options)
            if one.name not in _NOT_OPTIONS
        }
        takes |= {"mas": 10.0} | ({"layer": "output"} if name == "invariances" else {})
        found[name] = Kind(("images",), takes, needs=(("denoiser",),), placed=True)
    of_slices = {one.name: one.default for one in fields(SliceOptions)}
    dose = (("mas", "dose_fraction"),)
    found["simulate"] = Kind(("scan", "images"), {**_SIMULATE, **of_slices}, needs=dose)
    found["recon"] = Kind(("scan",), of_slices)
    return found


def _job(task: Task, folder: Path) -> tuple[StudyOptions | SliceOptions, Callable[[], None]]:
    """Options of a cell, and the command that computes it into a folder."""
    options: dict[str, Any] = dict(task["options"])
    given, path = task["input"]
    kind, seed = task["study"], task["seed"]
    if kind in _STUDIES:
        of_kind, command = _STUDIES[kind]
        several: dict[str, Any] = {"mas": (options.pop("mas", 10.0),)}
        if kind == "invariances":
            several = {"mas": several["mas"][0], "layers": (str(options.pop("layer", "output")),)}
        slice_, row, col = task["place"]
        roi = None if row is None else (row, col)
        make: Callable[..., StudyOptions] = of_kind
        asked = make(
            images=Path(path), slice=slice_, roi=roi, seed=seed, out=folder, **several, **options
        )
        return asked, lambda: command(asked)
    of_scan = {name: options.pop(name) for name in _SIMULATE if name in options}
    slices = SliceOptions(**options)
    if kind == "recon":
        return slices, lambda: recon(Path(path), out=folder, options=slices)
    for name in ("mas", "dose_fraction"):
        of_scan[name] = (of_scan[name],) if name in of_scan else ()
    inputs: dict[str, Any] = {"scan": None, "images": None, given: Path(path)}
    return slices, lambda: simulate(**inputs, out=folder, seed=seed, options=slices, **of_scan)


def check_cell(cell: Cell) -> None:
    """Refuse a cell that cannot be computed, as far as that is seen without computing."""
    from analysis.cohort.work import task_of

    try:
        options, _ = _job(task_of(cell, Path("cell")), Path("cells/cell"))
        options.check()
    except TypeError as error:
        raise DataError("no such value of an option", where=cell.where, got=error) from None
    except DataError as error:
        raise DataError(f"{error}", where=cell.where) from None


def run_cell(task: Task) -> Outcome:
    """Compute a cell, unless it is there: what the processes of every engine call."""
    from analysis.cohort.work import carry_out

    return carry_out(task, _compute_cell)


def _compute_cell(task: Task, folder: Path) -> None:
    from analysis.session.running import running

    with running(_command(task, folder)):
        _job(task, folder)[1]()


def _command(task: Task, folder: Path) -> str:
    """The command that computes the same as a cell."""
    given, path = task["input"]
    words = ["ctxai", task["study"], *([path] if given == "scan" else ["--images", path])]
    slice_, row, col = task["place"]
    asked = {"slice": slice_, "roi": None if row is None else (row, col), **task["options"]}
    if task["study"] != "recon":
        asked["seed"] = task["seed"]
    for name, value in asked.items():
        if value is None or value is False:
            continue
        words.append(f"--{'layers' if name == 'layer' else name.replace('_', '-')}")
        if value is not True:
            words += [str(one) for one in (value if isinstance(value, tuple) else (value,))]
    return shlex.join([*words, "--out", str(folder)])


@functools.cache
def networks_of(denoiser: str, weights: str | None) -> tuple[Any, list[Path]]:
    """What identifies the networks that a study of a denoiser uses, and the denoiser's files."""
    from analysis import session

    digests = session.weight_set(None if weights is None else Path(weights)).manifest["sha256"]
    name = denoiser.lower()
    if name not in digests:
        parts = denoiser.split(":")
        used = [Path(part) for part in parts if Path(part).is_file()]
        names = [part if "/" not in part else Path(part).name for part in parts]
        return {"denoiser": ":".join(names), **digests}, used
    of_it = {
        k: v for k, v in digests.items() if k == name or k.startswith("vae") or f"-{name}-" in k
    }
    return of_it, []


@functools.cache
def side_of(weights: str | None, patch: int | None) -> int:
    """Side of a patch [pixels]: it keeps the pixels of the slice that it lies in."""
    from analysis import session

    folder = None if weights is None else Path(weights)
    return patch or int(session.working_point(session.weight_set(folder))["patch"])
