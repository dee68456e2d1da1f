"""A run folder: run.json (what was done), metrics.csv (numbers), samples.zarr (stacks of images).

A report is made from these three alone, so it can be made again, and so can anything else.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recon import DataError
from recon.storage import versions, write_csv, write_json

from .arrays import described
from .earlier import facts_of_any_version, row_of_any_version
from .quantities import BY_ID
from .record import read_record

__all__ = ["METRIC_COLUMNS", "Run", "Study", "mas_label", "read_run", "sample_array", "write_run"]

METRIC_COLUMNS = (
    "study", "quantity", "denoiser", "layer", "sampler", "mas", "value", "unit", "should_be",
    "meaning", "id", "outcome",
)  # fmt: skip


def mas_label(mas: float) -> str:
    """Folder name of an exposure, sorted like the exposure.

    Examples
    --------
    >>> from analysis.runs.store import mas_label
    >>> mas_label(10), mas_label(2.5)
    ('mas-010', 'mas-002.5')
    """
    whole, dot, rest = f"{float(mas):.10g}".partition(".")
    return f"mas-{whole:0>3}{dot}{rest}"


def sample_array(layer: str, *, projected: bool, part: str = "") -> str:
    """Name of the array of a layer's samples, or of their "output" or "distance".

    Examples
    --------
    >>> from analysis.runs.store import sample_array
    >>> sample_array("4", projected=False), sample_array("output", projected=True, part="distance")
    ('layer-4/plain', 'layer-output/projected_distance')
    """
    return f"layer-{layer}/{'projected' if projected else 'plain'}{part and '_'}{part}"


@dataclass
class Study:
    """One question to one denoiser at one exposure: facts, numbers and images.

    Attributes
    ----------
    kind : str
        "invariances" or "target-domain".
    facts : dict
        Plain values for run.json: seeds, scan, layers, verdicts.
    metrics : list of dict
        Rows of metrics.csv.
    arrays : dict
        Name → float32 array [HU], or [1] where the name says so; a "/" in a name makes a group.
    """

    kind: str
    denoiser: str
    mas: float
    facts: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the study, and of its group of arrays."""
        return f"{self.kind}-{self.denoiser}-{mas_label(self.mas)}"

    def add(
        self,
        id: str,
        value: float,
        *,
        layer: str = "output",
        sampler: str = "",
        reference: bool = False,
        error: float = 0.0,
        **fields: Any,
    ) -> None:
        """Add one number as a row of metrics.csv, in the words of the table of quantities.

        Parameters
        ----------
        id : str
            Identifier, of :data:`analysis.runs.quantities.QUANTITIES`.
        value : float
        layer, sampler : str
            Where it was taken, and of which samples.
        reference : bool
            The row is no result but what results are held against.
        error : float
            Standard error of the value; NaN if it should have one that is not known.
        fields
            What the texts of the quantity name in braces.
        """
        self.metrics.append(
            {
                "study": self.name,
                "denoiser": self.denoiser,
                "layer": layer,
                "sampler": sampler,
                "mas": f"{self.mas:g}",
                "value": f"{value:.5g}",
                **BY_ID[id].texts(reference=reference, error=error, **fields),
                "id": id,
                "outcome": "" if reference else BY_ID[id].outcome(value, error=error, **fields),
            }
        )


@dataclass
class Run:
    """A run folder read back."""

    folder: Path
    record: dict[str, Any]
    studies: list[Study]


def write_run(
    folder: str | Path, *, record: dict[str, Any], studies: Sequence[Study], seconds: float
) -> None:
    """Write run.json, metrics.csv and samples.zarr into a folder.

    Parameters
    ----------
    folder : path
        Existing folder, as `recon.storage.run_folder` gives.
    record : dict
        Command, configuration, seed, inputs and notes of the run; versions are added.
    studies : sequence of Study
    seconds : float
        How long the run took.
    """
    import zarr

    folder = Path(folder)
    root = zarr.open_group(str(folder / "samples.zarr"), mode="w")
    for study in studies:
        group = root.create_group(study.name, attributes=_attributes(study))
        for name, array in study.arrays.items():
            data = np.ascontiguousarray(array, dtype=np.float32)
            about = described(name, data.ndim)
            chunks = tuple(min(n, 64) for n in data.shape[:-2]) + data.shape[-2:]
            group.create_array(
                name,
                data=data,
                chunks=chunks if data.ndim > 1 else data.shape,
                fill_value=np.nan,  # and every chunk is written, so that a lost one is seen
                config={"write_empty_chunks": True},
                dimension_names=about.dims,
                attributes={"long_name": about.meaning, "units": about.unit},
            )
    write_csv(
        folder / "metrics.csv",
        [{column: row[column] for column in METRIC_COLUMNS} for s in studies for row in s.metrics],
    )
    write_json(
        folder / "run.json",
        {
            **record,
            "seconds": round(seconds, 1),
            "versions": versions(),
            "studies": [
                {
                    "name": s.name,
                    "kind": s.kind,
                    "denoiser": s.denoiser,
                    "mas": s.mas,
                    **s.facts,
                    "numbers": len(s.metrics),
                    "arrays": sorted(s.arrays),
                }
                for s in studies
            ],
        },
    )


def _attributes(study: Study) -> dict[str, Any]:
    """What a study's group of arrays says of itself."""
    patch = study.facts.get("patch", {})
    of_patch = {
        f"patch_{name}": patch[name] for name in ("spacing_mm", "centre_mm") if name in patch
    }
    return {"kind": study.kind, "denoiser": study.denoiser, "mas": study.mas, **of_patch}


def read_run(out: str | Path) -> Run:
    """Read a run folder.

    Parameters
    ----------
    out : path
        The run folder.

    Returns
    -------
    Run

    Raises
    ------
    DataError
        If the folder, or one of its three parts, is missing, broken, or of another run.
    """
    import zarr

    out = Path(out)
    record = read_record(out)
    try:
        with open(out / "metrics.csv", newline="") as handle:
            rows = [row_of_any_version(row) for row in csv.DictReader(handle)]
        root = zarr.open_group(str(out / "samples.zarr"), mode="r")
        studies = [_study(dict(entry), rows, root) for entry in record["studies"]]
    except DataError:
        raise
    except (FileNotFoundError, KeyError) as error:
        raise DataError("run folder is not complete", where=out, got=error) from None
    except Exception as error:  # zarr's stores and codecs raise types of every kind
        raise DataError(
            "run folder is broken", where=out, got=f"{type(error).__name__}: {error}",
            remedy="copy it again, or repeat the run",
        ) from error  # fmt: skip
    return Run(out, record, studies)


def _study(facts: dict[str, Any], rows: list[dict[str, Any]], root: Any) -> Study:
    """One study of the record, with its rows and arrays, all of them."""
    name, kind, denoiser, mas = (facts.pop(key) for key in ("name", "kind", "denoiser", "mas"))
    count, names = facts.pop("numbers", None), facts.pop("arrays", None)  # not in older runs
    study = Study(kind, denoiser, float(mas), facts_of_any_version(facts))
    study.metrics = [row for row in rows if row["study"] == name and None not in row.values()]
    if count is not None and count != len(study.metrics):
        raise DataError(
            "numbers are missing", where=f"metrics.csv, {name}", expected=f"{count} rows",
            got=len(study.metrics), remedy="copy the run again, or repeat it",
        )  # fmt: skip
    for path, item in _leaves(root[name]):
        if item.fill_value != item.fill_value and item.nchunks_initialized < item.nchunks:
            raise DataError(
                "images are missing", where=f"samples.zarr/{name}/{path}",
                expected=f"{item.nchunks} chunks", got=item.nchunks_initialized,
                remedy="copy the run again, or repeat it",
            )  # fmt: skip
        study.arrays[path] = np.asarray(item[...])
    if lost := set(names or ()) - study.arrays.keys():
        raise KeyError(f"samples.zarr/{name}/{min(lost)}")
    return study


def _leaves(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Arrays of a zarr group and of its groups, by path."""
    found = [(prefix + name, array) for name, array in group.arrays()]
    for name, inner in group.groups():
        found += _leaves(inner, f"{prefix}{name}/")
    return sorted(found, key=lambda item: item[0])
