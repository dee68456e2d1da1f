"""What stands at the top of a report: which images, which bars, which colour, which networks."""

import shlex

import numpy as np
import pytest
from viewer_run import made, with_compatibility

from analysis.figures.images import SOFT_TISSUE
from analysis.figures.pixels import grey_png
from analysis.report import summary
from analysis.report.answer import answer, leading
from analysis.report.networks import networks_used, recipes_used
from analysis.report.stairs import staircase
from analysis.runs.store import Run
from analysis.viewer.page import edge_letters


def run_of(folder, *studies, **record):
    return Run(folder, {"seed": 1, **record}, list(studies))


def test_the_scan_shown_keeps_the_output_and_its_anatomy_differs_most(tmp_path):
    study = made("invariances", 10.0, 1)
    a = study.arrays
    study.facts["tolerance_hu"] = 3.0
    rows, cols = a["x"].shape
    grain = 50.0 * ((np.arange(rows)[:, None] + np.arange(cols)) % 2 * 2.0 - 1.0)
    name = "layer-output/plain"
    a[name] = np.stack([a["x"] + grain, a["x"] + 4.0, a["x"] + 5.0, a["x"] + 90.0, a["x"]])
    a[f"{name}_distance"] = np.array([1.0, 1.0, 1.0, 9.0, 0.0])
    _, other, output = answer(run_of(tmp_path, study)).views
    assert other.png == grey_png(a[name][2], SOFT_TISSUE)  # not the grain, nor what moves f
    assert other.words == "off by 5.0 HU in tissue and organs, 0.0 HU in noise"
    assert output.png == grey_png(a[f"{name}_output"][2], SOFT_TISSUE)


@pytest.mark.parametrize(
    "colours, tone",
    [
        (["green"] * 2, "good"),
        (["green", "red"], "undecided"),
        (["amber"] * 2, "undecided"),
        (["red"] * 2, "bad"),
    ],
)
def test_the_colour_is_that_of_all_verdicts_or_undecided(tmp_path, colours, tone):
    study = made("invariances", 10.0, 1)
    for verdict, colour in zip(study.facts["verdicts"].values(), colours, strict=True):
        verdict["colour"] = colour
    assert answer(run_of(tmp_path, study)).tone == tone


def test_one_sentence_stands_at_the_top_and_the_others_below(tmp_path, monkeypatch):
    said = "Undecided: no lesion of 1.5 mm is seen. 3 of 4 are invariances. For 1 there is nothing."
    monkeypatch.setattr("analysis.report.answer.headline", lambda studies: said)
    top = answer(run_of(tmp_path, made("target-domain", 10.0, 3)))
    assert top.sentence == "Undecided: no lesion of 1.5 mm is seen."
    assert top.more == "3 of 4 are invariances. For 1 there is nothing."


def test_two_anatomies_lead_only_alone():
    target, pair = made("target-domain", 10.0, 3), made("invariances", 10.0, 1)
    pair.kind = "projection-domain"
    assert leading([pair, target]) == [target] and leading([pair]) == [pair]


def test_checks_stand_in_a_table_with_what_they_should_be(tmp_path):
    study = made("target-domain", 10.0, 3)
    check = {"id": "coverage_of_y", "name": "coverage of y", "error": 0.02, "essential": False}
    study.facts["verdict"] |= {
        "colour": "amber",
        "checks": [
            {**check, "value": 0.67, "low": 0.83, "high": 0.83, "outcome": "missed"},
            {**check, "value": 2.0, "low": None, "high": 3.0, "error": None, "outcome": "met"},
        ],
    }
    text = summary.summary(run_of(tmp_path, study))
    assert "<td class=number>0.67</td>\n<td class=number>0.83</td>" in text
    assert "at most 3</td>\n<td class=number>–</td>" in text
    assert text.count("<tr class=bad>") == text.count("<tr class=good>") == 1


def test_a_bar_that_was_not_measured_is_empty_and_its_command_named(tmp_path):
    study = with_compatibility(made("target-domain", 100.0, 4))
    study.arrays["rays_d"] = np.array([1.0, 2.0, 3.0, 4.5, 5.0], np.float32)
    (tmp_path / "high-dose").mkdir()
    found = staircase(run_of(tmp_path, study, configuration={"roi": [9, 8]}), study, 3)
    assert [stair.d for stair in found.stairs] == [None, 4.5, None, None]
    assert shlex.split(found.command) == [
        "ctxai", "projection-domain", "--images", str(tmp_path / "high-dose"), "--denoiser", "chen",
        "--roi", "9", "8", "--mas", "100", "--other", "sample", "--sample", "4", "--seed", "1",
        "--out", "OUT",
    ]  # fmt: skip
    study.arrays["telling_d"] = study.arrays["rays_d"] / 3
    found = staircase(run_of(tmp_path, study), study, 3)
    assert [stair.d for stair in found.stairs] == [None, 4.5, None, 1.5]


def test_a_study_of_targets_has_all_four_bars_of_the_anatomy_shown_first(tmp_path):
    study = with_compatibility(made("target-domain", 100.0, 4))
    of = {"sample": 3, "full_mas": 200.0, "tolerance_hu": 1.0, "d": [9.0, 4.5, 4.0, 2.0]}
    study.facts["stairs"] = of
    found = staircase(run_of(tmp_path, study), study, 3)
    assert [stair.d for stair in found.stairs] == of["d"] and found.command == ""
    assert "ȳ 4" in found.of and "200 mAs" in found.stairs[0].place
    other = staircase(run_of(tmp_path, study), study, 2)
    assert None in [stair.d for stair in other.stairs] and other.command


def test_networks_are_named_with_the_recipe_each_was_trained_by(tmp_path):
    study = made("invariances", 10.0, 1)
    facts = {"recipe": "long", "mas": 10.0, "spacing_mm": 1.0}
    study.facts |= {
        "layers": ["4", "output"],
        "sampler": {"4": "flow matching", "output": "VAE_x + cINN"},
        "weights": {"4": facts, "output": {**facts, "recipe": "new"}},
    }
    old = {"name": "old", "differs": "old ways"}
    long = {
        "name": "long",
        "differs": "longer",
        "taken_over": {"networks": ["chen"], "recipe": old},
    }
    new = {"name": "new", "differs": "new ways",
           "taken_over": {"networks": ["chen", "flow-chen-4-x"], "recipe": long}}  # fmt: skip
    names = ("chen", "flow-chen-4-x", "vae_x", "cinn-chen-output-x")
    weights = {"recipe": new, "sha256": {name: f"{k}" * 64 for k, name in enumerate(names)}}
    run = run_of(tmp_path, study, weights=weights)
    found = {line["name"]: (line["recipe"], line["digest"]) for line in networks_used(run)}
    assert found == {
        "chen": ("old", "0" * 12), "flow-chen-4-x": ("long", "1" * 12),
        "vae_x": ("new", "2" * 12), "cinn-chen-output-x": ("new", "3" * 12),
    }  # fmt: skip
    assert dict(recipes_used(run)) == {"new": "new ways", "long": "longer", "old": "old ways"}


@pytest.mark.parametrize("orientation, letters", [
    ((1, 0, 0, 0, 1, 0), "RLAP"), ((-1, 0, 0, 0, 1, 0), "LRAP"), ((1, 0, 0, 0, 0, -1), "RLHF"),
    ((0, 1, 0, 0.1, 0, -0.99), "APHF"),
])  # fmt: skip
def test_letters_follow_the_orientation(orientation, letters):
    assert "".join(edge_letters(orientation).values()) == letters
