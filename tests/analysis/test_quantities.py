"""The table of quantities, and runs of version 0.1.0, which had words alone."""

import csv
import json
import re

import numpy as np
import pytest
import zarr
from viewer_run import made

from analysis.fidelity.statistics import BANDS
from analysis.main import main
from analysis.projection_domain.pair import BAND_EDGES
from analysis.report.summary import headline, verdicts
from analysis.runs.quantities import BY_ID, PARTS, QUANTITIES, STAGES
from analysis.runs.store import METRIC_COLUMNS, Study, read_run, write_run
from recon import DataError

LABELS = {
    ("invariances", "too_narrow"): "invariances, but too narrow",
    ("invariances", "too_wide"): "invariances, but too wide",
    ("injective", "right"): "as good as injective",
    ("targets", "right"): "targets that the output allows",
    ("lost_by_network", "right"): "lost by the network",
}
SHARES = {
    "dose": "the dose took",
    "reconstruction": "the reconstruction took",
    "network": "the network took",
    "left": "is left",
}


def test_every_array_says_what_it_is(tmp_path):
    study = made("invariances", 10.0, 3)
    write_run(tmp_path, record={"command": "invariances"}, studies=[study], seconds=1.0)
    group = zarr.open_group(tmp_path / "samples.zarr", mode="r")[study.name]
    assert dict(group.attrs)["denoiser"] == "chen" and dict(group.attrs)["mas"] == 10.0
    layer = study.facts["layers"][0]
    for name, dims, unit in (
        ("x", ("row", "column"), "HU"),
        (f"layer-{layer}/plain", ("sample", "row", "column"), "HU"),
    ):
        array = group[name]
        assert array.metadata.dimension_names == dims and array.attrs["units"] == unit
        assert len(array.attrs["long_name"]) > 10
    study.arrays["riddle"] = np.zeros(3, np.float32)
    with pytest.raises(DataError, match="riddle"):
        write_run(tmp_path, record={}, studies=[study], seconds=1.0)


def test_identifiers_are_stable_words_and_names_stand_once():
    for texts in ([q.id for q in QUANTITIES], [q.name for q in QUANTITIES]):
        assert len(set(texts)) == len(texts)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", quantity.id) for quantity in QUANTITIES)
    for quantity in QUANTITIES:
        assert quantity.name and quantity.unit and quantity.should_be and quantity.meaning


def test_the_bands_of_the_table_are_those_that_are_measured():
    for k, (low, high) in enumerate(BANDS, 1):
        assert BY_ID[f"noise_power_band_{k}"].name.endswith(f"{low:g} to {high:g} cycles/pixel")
    assert len(PARTS) == 2 + len(BAND_EDGES) + 1
    assert {f"d_{part}_{stage}" for part in PARTS for stage in STAGES} <= BY_ID.keys()


def test_a_quantity_that_is_not_in_the_table_cannot_be_added():
    with pytest.raises(KeyError):
        Study("invariances", "f", 10.0, {}).add("surprise", 1.0)


def pair():
    """A study of two anatomies, as far as the report looks at it."""
    study = made("target-domain", 10.0, 5, shape=(16, 16))
    study.kind = "projection-domain"
    noise = np.random.default_rng(3)
    study.facts |= {
        "layers": ["projections", "input", "output"], "full_mas": 100.0, "tolerance_hu": 1.0,
        "other": "lesion of 6 HU, radius 3 mm", "question": "Who?", "done": "Followed.",
        "parts": ["whole", "below 2 mm removed", *"12345"], "shares_of_reached": {"network": 0.5},
        "shares_of_full_dose": dict.fromkeys(SHARES, 0.25),
        "detected_at_mas": dict.fromkeys(("rays", "image", "output"), "3"),
    }  # fmt: skip
    for name in ("change", "signal", "output_signal"):
        study.arrays[name] = noise.normal(0, 3, (16, 16)).astype(np.float32)
    study.arrays["ybar"] = study.arrays["y"] + study.arrays["change"]
    study.arrays["stages"] = noise.uniform(1, 5, (4, 7))
    study.arrays["curve"] = np.geomspace(1, 99, 24).reshape(4, 6)
    study.arrays["tolerance_curve"] = np.geomspace(0.1, 10, 21).reshape(3, 7)
    return study


def judged(kind, spread="right"):
    return {
        "kind": kind, "holds": True, "spread": spread, "layer": "output",
        "label": LABELS[kind, spread], "sentence": "So it is.", "reasons": ["why"],
    }  # fmt: skip


def studies():
    layers, targets, two = made("invariances", 10.0, 1), made("target-domain", 10.0, 2), pair()
    layers.arrays |= {
        name.replace("layer-4/plain", "layer-4/projected"): array
        for name, array in layers.arrays.items()
    }
    layers.facts["verdicts"] = {
        f"{layer}, {'projected' if projected else 'plain'}": {
            **judged(*found), "layer": layer, "projected": projected,
        }
        for layer, projected, found in (
            ("4", False, ("injective",)), ("4", True, ("invariances", "too_narrow")),
            ("output", False, ("invariances", "too_wide")),
        )
    }  # fmt: skip
    targets.facts["verdict"], two.facts["verdict"] = judged("targets"), judged("lost_by_network")
    for study in (layers, targets, two):
        study.add("scan_error", 12.0)
        study.add("verdict", 1.0, words="So it is. why")
    return [layers, targets, two]


def as_of_0_1_0(folder):
    """Take from a run what version 0.1.0 did not write."""
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    columns = [column for column in METRIC_COLUMNS if column != "id"]
    with open(folder / "metrics.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    record = json.loads((folder / "run.json").read_text())
    for study in record["studies"]:
        for verdict in [study.get("verdict", {}), *study.get("verdicts", {}).values()]:
            for key in ("kind", "spread", "layer", "projected"):
                verdict.pop(key, None)
        if shares := study.get("shares_of_full_dose"):
            study["shares_of_full_dose"] = {SHARES[who]: share for who, share in shares.items()}
    (folder / "run.json").write_text(json.dumps(record))


def test_a_run_of_version_0_1_0_is_read_and_gives_the_same_report(tmp_path, capsys):
    write_run(tmp_path, record={"command": "ctxai demo"}, studies=studies(), seconds=1.0)
    assert main(["report", str(tmp_path)]) == 0
    today, report = read_run(tmp_path), (tmp_path / "report.html").read_text()
    as_of_0_1_0(tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    back = read_run(tmp_path)
    assert [study.metrics for study in back.studies] == [study.metrics for study in today.studies]
    for before, after in zip(today.studies, back.studies, strict=True):
        for ours, theirs in zip(verdicts(before), verdicts(after), strict=True):
            assert {key: theirs.get(key, ours["layer"]) for key in ours} == ours
    assert (tmp_path / "report.html").read_text() == report
    assert "class=undecided" in report and "class=good" in report and "sampler=projected" in report
    said = headline(back.studies[:2])  # without the two anatomies, whose answer comes first
    for words in ("too much alike", "too different", "there is nothing to be found"):
        assert words in said
