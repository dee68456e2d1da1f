"""Verdicts follow from what was measured: three colours, and what keeps one from being green."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.fidelity.calibration import coverage_error, miss_and_error, spread_error
from analysis.fidelity.verdict import SampleNumbers, TargetNumbers, judge_invariances, judge_targets
from analysis.numbers import (
    Share,
    Spread,
    collapse_alarm,
    coverage,
    ideal_coverage,
    outcome,
    rms,
    sample_sd,
)
from analysis.report.summary import headline
from analysis.report.wording import target_words
from analysis.runs.quantities import QUANTITIES
from analysis.runs.store import Study

NULL, FAR = Spread(30.0, 29.0, 31.0, 24), Spread(60.0, 50.0, 70.0, 24)
GOOD = TargetNumbers(
    NULL, NULL, inside=1.0, sd_hu=27.9, covered=0.82, n=24, covered_error=0.02, bias_hu=28.0,
    missed=1.0, missed_error=0.05, compatible=Share.of(24, 24), level=Share.of(9, 192),
    blind=Share.of(150, 192),
)  # fmt: skip
ABDOMEN = replace(  # as it was measured: coverage .67 for .83, 40.6 HU off, power 0 of 40
    GOOD, covered=0.67, bias_hu=40.6, missed=40.6 / (27.9 * math.sqrt(1 + 1 / 24)),
    blind=Share.of(0, 40),
)  # fmt: skip


def outcomes(verdict):
    return {check.id: check.outcome for check in verdict.checks}


def test_the_abdomen_as_it_was_measured_is_not_green():
    verdict = judge_targets(ABDOMEN)
    assert verdict.kind == "off" and verdict.colour == "red"
    assert [check.id for check in verdict.reasons] == ["target_miss", "coverage_of_y", "test_power"]
    words = target_words(ABDOMEN, verdict)
    assert words.label == "the samples are off"
    assert "1.43 ± 0.05 times as far" in words.sentence
    assert (
        "67% of the true anatomy's pixels where exact samples would cover 83%" in words.reasons[1]
    )
    assert "could not have seen a lesion of 20 HU" in words.reasons[2]


def test_a_test_without_power_decides_nothing():
    verdict = judge_targets(replace(GOOD, blind=Share.of(0, 40)))
    assert (verdict.kind, verdict.colour, verdict.holds) == ("undecided", "amber", True)
    sentence = target_words(GOOD, verdict).sentence
    assert sentence.startswith("Undecided: this test could not have seen a lesion of 20 HU")
    assert judge_targets(GOOD).colour == "green" and not judge_targets(GOOD).reasons


def test_anatomies_that_are_no_farther_away_and_are_told_apart_are_not_called_far():
    numbers = replace(GOOD, inside=0.7, compatible=Share.of(6, 24))
    verdict = judge_targets(numbers)
    assert (verdict.kind, verdict.colour, verdict.holds) == ("not_invariances", "red", True)
    assert "rules out 75% of the sampled anatomies" in target_words(numbers, verdict).sentence
    far = replace(numbers, distance=FAR)
    assert "few of the sampled anatomies" in target_words(far, judge_targets(far)).sentence


@pytest.mark.parametrize(
    ("change", "missed", "kind", "colour"),
    [
        ({"covered": 0.75}, "coverage_of_y", "off", "amber"),  # four errors; .79 is two
        ({"covered": 0.90}, "coverage_of_y", "off", "amber"),  # too wide is as wrong
        ({"missed": 1.2}, "target_miss", "off", "red"),
        ({"compatible": Share.of(15, 24)}, "compatible_share", "off", "amber"),
        ({"compatible": Share.of(3, 24)}, "compatible_share", "not_invariances", "red"),
        ({"level": Share.of(40, 192)}, "test_level", "off", "amber"),
        ({"distance": FAR}, "target_distance_median", "not_invariances", "red"),
    ],
)  # fmt: skip
def test_each_miss_alone_takes_the_green_away(change, missed, kind, colour):
    verdict = judge_targets(replace(GOOD, **change))
    assert [id for id, outcome in outcomes(verdict).items() if outcome != "met"] == [missed]
    assert (verdict.kind, verdict.colour) == (kind, colour)


def test_anatomies_as_far_as_the_farthest_redraw_hold():
    """A network that gives the same for every scan: all distances are zero, and nothing is off."""
    nowhere = Spread(0.0, 0.0, 0.0, 24)
    verdict = judge_targets(replace(GOOD, distance=nowhere, null=nowhere))
    assert verdict.holds and verdict.colour == "green"


def test_the_compatible_share_should_be_what_the_test_keeps_of_its_own():
    """At a level of 5 %: 95 % and up, to all of them."""
    checks = {check.id: check for check in judge_targets(GOOD).checks}
    found = checks["compatible_share"]
    assert (found.low, found.high) == (0.95, 1.0)


def test_what_is_off_by_its_sampling_error_is_no_miss():
    assert judge_targets(replace(GOOD, covered=0.79, missed=1.09)).colour == "green"
    unknown = replace(GOOD, covered_error=math.nan)
    assert outcomes(judge_targets(unknown))["coverage_of_y"] == "undecided"
    assert judge_targets(unknown).colour == "amber"


def test_a_level_is_known_no_better_than_its_scans_of_y_tell():
    """Of 2,000 scans 7 % are refused: with 199 scans of y that is a usual test, with many none."""
    refused = replace(GOOD, level=Share.of(140, 2000))
    assert outcomes(judge_targets(replace(refused, null_scans=199)))["test_level"] == "met"
    assert outcomes(judge_targets(replace(refused, null_scans=9999)))["test_level"] == "missed"
    assert outcomes(judge_targets(refused))["test_level"] == "missed"
    far = replace(refused, level=Share.of(200, 2000), null_scans=199)
    assert outcomes(judge_targets(far))["test_level"] == "missed"
    random = np.random.default_rng(1)
    references = np.sort(random.random((4000, 199)), axis=1)  # uniform statistics of y
    levels = references[:, 9]  # refused: what lies below the tenth smallest, p of 10 in 200
    assert levels.std() == pytest.approx(replace(GOOD, null_scans=199).level_error, rel=0.05)


def test_samples_after_a_layer_are_judged_alike():
    near, ideal = Spread(2.9, 2.0, 3.0, 24), ideal_coverage(24)
    numbers = SampleNumbers(near, NULL, covered=ideal, covered_error=0.02, tolerance_hu=3.0)
    assert judge_invariances(numbers).colour == "green"
    narrow = judge_invariances(replace(numbers, covered=0.70))
    assert (narrow.colour, narrow.spread, narrow.holds) == ("amber", "too_narrow", True)
    wide = judge_invariances(replace(numbers, covered=0.95))
    assert (wide.colour, wide.spread) == ("amber", "too_wide")
    assert judge_invariances(replace(numbers, tolerance_hu=1.0)).colour == "red"


def test_one_sample_alone_covers_nothing():
    """Its band is a line, which holds no pixel of x, and says nothing about the sampler."""
    one = SampleNumbers(Spread(2.9, 2.9, 2.9, 1), NULL, covered=0.0, tolerance_hu=3.0)
    verdict = judge_invariances(one)
    assert outcomes(verdict) == {"output_change_median": "met"} and verdict.colour == "green"


def test_sampling_errors_are_the_scatter_over_images():
    """Correlated pixels: 200 truths scatter as much as leaving samples out says."""
    draws = torch.randn(225, 24, 24, generator=torch.Generator().manual_seed(1))
    draws = torch.nn.functional.avg_pool2d(draws[:, None], 5, 1, 2)[:, 0]
    samples, truths = draws[:24], draws[24:]
    found = torch.tensor([coverage(samples, truth) for truth in truths]).std()
    assert coverage_error(samples) == pytest.approx(float(found), rel=0.5)
    assert float(found) > 1.5 * (0.83 * 0.17 / 576) ** 0.5  # what single pixels would say
    missed, error = miss_and_error(samples, truths[0])
    assert abs(missed - 1) < 4 * error
    away = miss_and_error(samples, truths[0] + 0.3)
    assert away[0] > 1 + 4 * away[1]
    sds = torch.stack([rms(sample_sd(part)) for part in draws[:216].split(8)])
    one = spread_error(draws[:8])
    assert one == pytest.approx(float(sds.std() / sds.mean()), rel=0.6)
    assert math.isnan(coverage_error(samples[:3])) and math.isnan(spread_error(samples[:3]))


def test_what_should_be_is_evaluated_in_every_row_that_says_so():
    """Words with a limit in them have a rule; a miss and its reference are told apart."""
    limits = ("at most", "at least", "below 0", "within")
    for quantity in QUANTITIES:
        if quantity.should_be.startswith(limits):
            assert quantity.rule, quantity.id
    study = Study("target-domain", "f", 10.0, {})
    study.add("coverage_of_y", 0.67, error=0.02, ideal=0.83, n=24)
    study.add("coverage_of_y", 0.80, error=0.02, ideal=0.83, n=24)
    study.add("test_power", 0.0, scans=40, draws=8, low=0.0, high=0.09)
    study.add("near_null_energy", 0.2, reference=True, count=2)
    assert [row["outcome"] for row in study.metrics] == ["missed", "met", "undecided", ""]


def test_the_report_says_first_that_samples_are_off():
    def told(verdict):
        words = target_words(ABDOMEN, verdict)
        return {"kind": verdict.kind, "holds": verdict.holds, "spread": verdict.spread,
                "reasons": words.reasons, "sentence": words.sentence}  # fmt: skip

    studies = [
        Study("target-domain", "f", 10.0, {"verdict": told(judge_targets(numbers))})
        for numbers in (GOOD, ABDOMEN, replace(GOOD, blind=Share.of(0, 40)))
    ]
    said = headline(studies)
    assert said.startswith("The samplers are off here, in 1 of 3 sets: the true anatomy lies")
    assert "1 of 3 sets are undecided: this test could not have seen" in said
    assert said.endswith("The samples are invariances.")
    assert "off" not in headline(studies[:1])


def test_a_number_may_be_off_by_two_standard_errors():
    for way in (-1.0, 1.0):
        assert outcome(1.0 + 1.9 * way, 1.0, 1.0, error=1.0) == "met"
        assert outcome(1.0 + 2.1 * way, 1.0, 1.0, error=1.0) == "missed"


def test_an_autoencoder_in_a_twentieth_of_its_latent_has_collapsed():
    assert collapse_alarm(6, 128) and collapse_alarm(7, 128) is None  # 6.4


def test_the_sentence_at_the_top_does_not_contradict_its_colour():
    """Anatomies that hold and are told apart are no invariances there either."""
    verdict = judge_targets(replace(GOOD, inside=0.7, compatible=Share.of(6, 24)))
    facts = {"verdict": {"holds": verdict.holds, "kind": verdict.kind, "spread": "right"}}
    told = headline([Study("target-domain", "chen", 10.0, facts)])
    assert verdict.holds and verdict.colour == "red"
    assert told == "The samples are no invariances."
