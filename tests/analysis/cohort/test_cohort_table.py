"""The table, the means and differences that are made of it, and the report."""

import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

from analysis.cohort.cells import Cell
from analysis.cohort.figures import Shown
from analysis.cohort.ledger import Ledger
from analysis.cohort.page import _worst
from analysis.cohort.results import write_results
from analysis.cohort.statistics import bootstrap_interval
from analysis.cohort.summary import Group
from analysis.cohort.table import COLUMNS, ascii_name
from analysis.runs.quantities import QUANTITIES
from recon import DataError

ROOT = Path(__file__).resolve().parents[3]
MEANING = "95 % interval 0.40 to 0.60"


def cell(patient, denoiser="chen", *, mas=10.0, place=(3, 40, 50), digest=None):
    options = {"denoiser": denoiser, "mas": mas}
    name = digest or f"{patient}{denoiser}{mas:g}{place[0]}"
    return Cell(
        patient, "abdomen", "target-domain", ("images", "/a"), place, options, 1, name, "line 2"
    )


def values(patient, denoiser):
    """What a network leaves of a patient: a difference of 1 and more between networks."""
    return float(np.sin(patient)) + (0.0 if denoiser == "chen" else 1.0 + patient / 10)


@pytest.fixture
def cohort(tmp_path, cell_writer):
    """Seven patients, two networks, one place more for the first patient."""
    ledger, cells = Ledger(tmp_path / "OUT"), []
    for k in range(7):
        for denoiser in ("chen", "yang"):
            for slice_ in (3, 4) if k == 0 else (3,):
                one = cell(f"P{k}", denoiser, place=(slice_, 40, 50))
                shift = 2.0 * (slice_ - 3)
                rows = [
                    ("compatible_share", values(k, denoiser) + shift, {"denoiser": denoiser}),
                    ("test_power", 0.5, {
                        "denoiser": denoiser, "sampler": "y with a lesion, x̄", "meaning": MEANING,
                    }),
                ]  # fmt: skip
                ledger.cells.mkdir(parents=True, exist_ok=True)
                cell_writer(ledger.folder(one.digest), rows, place=one.place)
                cells.append(one)
    return ledger, sorted(cells, key=lambda one: one.order)


def write(ledger, cells, failures=()):
    return write_results(
        ledger, cells, dict(failures), command="ctxai study", manifest=Path("m.csv"), sha256="0",
        notes=[],
    )  # fmt: skip


def read(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_table_has_a_row_for_each_number(cohort):
    ledger, cells = cohort
    write(ledger, cells)
    rows = read(ledger.out / "table.csv")
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2 * len(cells)
    assert (ledger.out / "table.csv").read_bytes().isascii()
    power = next(row for row in rows if row["quantity"] == "test_power")
    assert power == {
        "patient": "P0", "series": "abdomen", "slice": "3", "row": "40", "col": "50",
        "study": "target-domain", "denoiser": "chen", "layer": "output",
        "sampler": "y-with-a-lesion-xbar", "mas": "10", "quantity": "test_power", "value": "0.5",
        "unit": "1", "low": "0.40", "high": "0.60", "cell": "P0chen103",
    }  # fmt: skip
    assert len({tuple(row[n] for n in COLUMNS if n != "value") for row in rows}) == len(rows)


def test_parquet_holds_the_same(cohort):
    parquet = pytest.importorskip("pyarrow.parquet")
    ledger, cells = cohort
    write(ledger, cells)
    for name in ("table", "summary", "differences"):
        rows = read(ledger.out / f"{name}.csv")
        table = parquet.read_table(ledger.out / f"{name}.parquet")
        assert table.column_names == list(rows[0]) and table.num_rows == len(rows)
        for column in table.column_names:
            found = ["" if v is None else v for v in table[column].to_pylist()]
            plain = [type(v)(row[column]) if v != "" else "" for v, row in zip(found, rows)]
            assert found == plain, column


def test_a_patient_counts_once(cohort):
    """The first patient's second place is 2 higher: its mean is 1 higher, whatever the others."""
    ledger, cells = cohort
    write(ledger, cells)
    row = next(
        row
        for row in read(ledger.out / "summary.csv")
        if (row["denoiser"], row["quantity"]) == ("yang", "compatible_share")
    )
    means = np.array([values(k, "yang") + (k == 0) for k in range(7)])
    low, high = bootstrap_interval(means)
    assert (row["patients"], row["cells"]) == ("7", "8")
    assert float(row["mean"]) == pytest.approx(means.mean(), rel=1e-5)
    assert float(row["sd"]) == pytest.approx(means.std(ddof=1), rel=1e-5)
    assert [float(row["low"]), float(row["high"])] == pytest.approx([low, high], rel=1e-5)


def test_networks_are_held_against_each_other_in_the_same_places(cohort):
    ledger, cells = cohort
    write(ledger, [one for one in cells if (one.patient, one.denoiser) != ("P6", "yang")])
    rows = read(ledger.out / "differences.csv")
    row = next(row for row in rows if row["quantity"] == "compatible_share")
    expected = -np.array([1.0 + k / 10 for k in range(6)])
    assert (row["denoiser"], row["minus"], row["patients"]) == ("chen", "yang", "6")
    assert float(row["mean"]) == pytest.approx(expected.mean(), rel=1e-5)
    assert float(row["p"]) == pytest.approx(2 / 2**6) and row["family"] == "1"
    assert float(row["high"]) < 0


def test_names_are_ascii_whatever_the_quantities_say():
    for quantity in QUANTITIES:
        assert quantity.id.isascii() and ascii_name(quantity.id) == quantity.id
    for text in ("flow", "cinn, projected", "noise redrawn, projected", "sampled ȳ 3", "τ = 1 HU"):
        assert re.fullmatch(r"[a-z0-9.+_-]+", ascii_name(text))


def test_the_report_says_what_failed_and_links_the_worst(cohort):
    ledger, cells = cohort
    lost = cell("P8", digest="0" * 16)
    (ledger.folder("P2yang103") / "report.html").write_text("its own")
    record = write(ledger, [*cells, lost], {lost.digest: "the <disk> was full"})
    assert record["cells"] == {"asked": 17, "there": 16, "failed": 1, "open": 0}
    page = (ledger.out / "report.html").read_text()
    assert 'href="cells/P2yang103/report.html"' not in page  # the lowest are the worst
    assert "the &lt;disk&gt; was full" in page and "P8" in page
    lowest = min(range(7), key=lambda k: values(k, "chen"))
    (ledger.folder(f"P{lowest}chen103") / "report.html").write_text("its own")
    write(ledger, cells)
    page = (ledger.out / "report.html").read_text()
    assert f'href="cells/P{lowest}chen103/report.html"' in page and "What failed" not in page
    assert page.count("<html") == 1 and "<script" not in page
    states = [row["state"] for row in read(ledger.out / "cells.csv")]
    assert states == ["there"] * 16


@pytest.mark.parametrize(("worst", "expected"), [("low", [3, 0]), ("high", [7, 5])])
def test_the_worst_are_the_highest_or_the_lowest_each_cell_once(worst, expected, monkeypatch):
    """A cell with two numbers stands for the worse; what is no number is not among them."""
    monkeypatch.setattr("analysis.cohort.page._WORST", 2)
    groups = []
    for numbers in ([(0, 0.2), (3, 0.1), (5, 0.7)], [(7, 0.9), (3, 0.4), (9, np.nan)]):
        group = Group("1")
        for k, value in numbers:
            group.cells.append(k)
            group.values.append(value)
        groups.append((None, group))
    found = _worst(Shown("s", "test_power", "power", worst), {"test_power": groups})
    values = {0: 0.2, 3: 0.1, 5: 0.7, 7: 0.9}
    assert found == [(k, values[k]) for k in expected]


def test_cells_of_one_version_need_no_note(cohort):
    ledger, cells = cohort
    assert write(ledger, cells)["notes"] == []


def test_cells_of_two_versions_are_told(cohort, cell_writer):
    ledger, cells = cohort
    path = ledger.folder(cells[0].digest) / "run.json"
    record = json.loads(path.read_text())
    record["versions"]["torch"] = "3"
    path.write_text(json.dumps(record))
    assert write(ledger, cells)["notes"] == ["cells were computed by torch 2 and 3"]


def test_a_broken_cell_is_named(cohort):
    ledger, cells = cohort
    (ledger.folder(cells[3].digest) / "metrics.csv").unlink()
    with pytest.raises(DataError, match=f"cell is broken.*{cells[3].digest}"):
        write(ledger, cells)
    assert not (ledger.out / "table.csv").exists()


def synthetic(out, patients, mas, networks=("chen", "yang", "redcnn")):
    """Cells with 40 numbers each, written as plainly as can be."""
    ledger, cells = Ledger(out), []
    ledger.cells.mkdir(parents=True)
    quantities = [q.id for q in QUANTITIES if "target" in q.id or "truth" in q.id][:20]
    quantities += ["compatible_share", "coverage_of_y", "test_power"]
    quantities += [q.id for q in QUANTITIES if q.id.startswith("d_")][: 40 - len(quantities)]
    random = np.random.default_rng(0)
    names = "study,quantity,denoiser,layer,sampler,mas,value,unit,should_be,meaning,id"
    for k in range(patients):
        for dose in mas:
            for denoiser in networks:
                one = cell(f"P{k:04d}", denoiser, mas=float(dose))
                folder = ledger.folder(one.digest)
                folder.mkdir()
                lines = [
                    f"s,words,{denoiser},output,cinn,{dose},{random.normal():.5g},1,,a meaning,{q}"
                    for q in quantities
                ]
                (folder / "metrics.csv").write_text("\n".join([names, *lines]) + "\n")
                (folder / "report.html").write_text("")
                record = {
                    "configuration": {"slice": 3, "roi": [4, 5]}, "seconds": 40.0,
                    "versions": {"torch": "2"}, "studies": [{"filler": list(range(2000))}],
                }  # fmt: skip
                (folder / "run.json").write_text(json.dumps(record))
                cells.append(one)
    return ledger, sorted(cells, key=lambda one: one.order)


def test_750_cells_that_are_there_take_seconds(tmp_path):
    """50 patients, 5 exposures, 3 networks: a second, and some once for tables and report."""
    ledger, cells = synthetic(tmp_path / "OUT", 50, (2, 5, 10, 20, 50))
    began = time.process_time()
    record = write(ledger, cells)
    assert time.process_time() - began < 15.0
    assert (ledger.out / "report.html").stat().st_size < 8e6
    began = time.process_time()
    assert write(ledger, cells) == {**record, "parts": ANY}  # nothing new: as they are
    assert time.process_time() - began < 1.0


def test_tables_are_made_again_when_anything_changes(cohort, cell_writer):
    ledger, cells = cohort
    write(ledger, cells)
    path = ledger.out / "table.csv"
    first, before = path.read_bytes(), path.stat().st_mtime_ns
    write(ledger, cells)
    assert path.stat().st_mtime_ns == before
    path.unlink()
    write(ledger, cells)
    assert path.read_bytes() == first
    write(ledger, cells[:-1])
    assert len(read(path)) == 2 * (len(cells) - 1)


@pytest.mark.slow
def test_ten_thousand_cells_take_little_memory(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import resource, pathlib, test_cohort_table as t\n"
        f"ledger, cells = t.synthetic(pathlib.Path({str(tmp_path / 'OUT')!r}), 334, range(1, 11))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "t.write(ledger, cells)\n"
        "print(len(cells), before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    count, _, after = map(int, done.stdout.split())
    assert count >= 10_000 and after / 1024 < 1000, done.stdout
