"""`ctxai study`: the studies of many patients, on as many machines as there are."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from recon import DataError

if TYPE_CHECKING:
    from analysis.cohort.cells import Cell
    from analysis.cohort.ledger import Ledger
    from analysis.cohort.work import Outcome

__all__ = ["study"]


def study(
    manifest: Positional[Path],
    *,
    out: Annotated[Path, arg(metavar="DIR")],
    dry_run: bool = False,
    jobs: int = 1,
    shard: Annotated[str | None, arg(metavar="I/N")] = None,
    scheduler: Annotated[str | None, arg(metavar="ADDRESS")] = None,
) -> None:
    """Studies, simulations or reconstructions of many patients: a cell for each combination.

    A manifest, CSV or TOML, names for each patient the images or the projection scan, the study
    (target-domain, invariances, projection-domain, simulate or recon), and the options of that
    study; what holds several values stands for each of them. docs/cohort.md tells all of it.

    May be stopped anywhere, and killed: the same command computes what is not there yet, and tries
    again what failed. Cells are the same, byte for byte, however they are shared out.

    Example: ctxai study cohort.csv --out COHORT --dry-run

    Example: ctxai study cohort.csv --out COHORT --jobs 8

    Example: ctxai study cohort.csv --out COHORT --shard 3/40

    Example: ctxai study cohort.toml --out COHORT --scheduler tcp://node1:8786

    Writes OUT/table.csv and table.parquet, a row a number; summary and differences of networks;
    cells.csv; report.html; run.json; and each cell, OUT/cells/DIGEST, as its own command writes it,
    without the low-dose series. Exit status 2 if a cell failed.

    Args:
        manifest: A file .csv or .toml.
        out: Folder of the cohort, there already or not.
        dry_run: List the cells, which of them are there, and what the others will take; nothing is
            written.
        jobs: Processes of this machine, of one thread each.
        shard: Compute every N-th cell, from the I-th on (I from 1 to N), and no tables: for job
            arrays. The command without it makes the tables of what is there.
        scheduler: Let the workers of a Dask scheduler compute: its address, or its file.
    """
    from analysis import session
    from recon.storage import digest_files

    session.require_count(jobs, "--jobs")
    mine = _shard(shard)
    if scheduler is not None and (jobs > 1 or shard is not None):
        raise DataError("one engine at a time", where="--jobs, --shard, --scheduler")

    from analysis.cohort.cells import cells_of
    from analysis.cohort.inputs import Inputs
    from analysis.cohort.ledger import Ledger
    from analysis.cohort.manifest import read_manifest

    from .study_cells import check_cell, kinds, networks_of, side_of

    rows = read_manifest(manifest)
    out = out.expanduser().absolute()
    ledger = Ledger(out)
    if not dry_run:
        session.require_out(out if shard is None else out / f"shard-{mine[0]}-of-{mine[1]}")
    inputs = Inputs(ledger.inputs)
    cells = cells_of(rows, kinds(), inputs, side=side_of, networks=networks_of)
    there = ledger.present(cells)
    for cell in cells:
        if cell.digest not in there:
            check_cell(cell)
    if dry_run:
        print("\n".join(_listed(cells, there, ledger)))
        return
    part = cells[mine[0] - 1 :: mine[1]]
    ledger.prepare(part)
    inputs.save()
    failures = _compute([c for c in part if c.digest not in there], ledger, jobs, scheduler)
    if shard is None:
        from analysis.cohort.results import write_results

        write_results(
            ledger, cells, failures, command=session.current().command, manifest=manifest,
            sha256=digest_files([manifest])[manifest.name], notes=session.current().notes,
        )  # fmt: skip
        print(out / "report.html")
    else:
        print(f"{len(part) - len(failures)} of {len(part)} cells of shard {shard} are there")
    if failures:
        raise DataError(
            f"{len(failures)} of {len(part)} cells failed", where=ledger.failed,
            got=next(iter(failures.values())), remedy="the same command tries them again",
        )  # fmt: skip


def _shard(text: str | None) -> tuple[int, int]:
    """Number and count of a shard."""
    if text is None:
        return 1, 1
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise DataError("no such shard", where="--shard", expected="I/N, I from 1 to N", got=text)
    return int(number), int(count)


def _compute(
    cells: Sequence[Cell], ledger: Ledger, jobs: int, scheduler: str | None
) -> dict[str, str]:
    """Compute cells; returns what went wrong with which."""
    from tqdm import tqdm

    from analysis.cohort.cluster import on_cluster
    from analysis.cohort.engines import here, in_processes
    from analysis.cohort.work import task_of

    from .study_cells import run_cell

    tasks = [task_of(cell, ledger.folder(cell.digest)) for cell in cells]
    outcomes: Generator[Outcome, None, None]
    if scheduler is not None:
        outcomes = on_cluster(tasks, run_cell, scheduler=scheduler)
    elif jobs > 1:
        outcomes = in_processes(tasks, run_cell, jobs=jobs)
    else:
        outcomes = here(tasks, run_cell)
    failures = {}
    with contextlib.closing(outcomes), tqdm(total=len(tasks), unit="cell", disable=None) as bar:
        for outcome in outcomes:
            if outcome.fatal:
                raise DataError("cells cannot be written", where=ledger.out, got=outcome.error)
            ledger.record(outcome)
            if not outcome.fine:
                failures[outcome.digest] = outcome.error
            bar.update()
    return {cell.digest: failures[cell.digest] for cell in cells if cell.digest in failures}


def _listed(cells: Sequence[Cell], there: set[str], ledger: Ledger) -> Iterator[str]:
    """The cells as lines: what is there, and what the others will take by those that are."""
    from recon.storage import read_json

    took: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        if cell.digest in there:
            record = read_json(ledger.folder(cell.digest) / "run.json")
            took.setdefault((cell.study, cell.denoiser), []).append(float(record["seconds"]))
    failures = ledger.failures(cells)
    usual = {what: statistics.median(seconds) for what, seconds in took.items()}
    missing = [cell for cell in cells if cell.digest not in there]
    for cell in cells:
        seconds = usual.get((cell.study, cell.denoiser))
        cost = "not measured yet" if seconds is None else f"about {seconds:.0f} s"
        if cell.digest in failures and cell.digest not in there:
            cost = f"failed: {failures[cell.digest]}"
        yield f"{cell.digest}  {'there' if cell.digest in there else cost}: {cell.words}"
    known = [usual[at] for cell in missing if (at := (cell.study, cell.denoiser)) in usual]
    unknown = len(missing) - len(known)
    yield (
        f"{len(cells)} cells: {len(there)} there, {len(missing)} to compute"
        + (f", about {sum(known) / 3600:.2g} hours of one process" if known else "")
        + (f"; {unknown} of a kind of which none was measured" if unknown else "")
    )
