"""Distances, coverage and verdicts, against cases whose answer is known."""

import pytest
import torch
from tolerances import FIDELITY

from analysis.fidelity.verdict import (
    SampleNumbers,
    TargetNumbers,
    judge_invariances,
    judge_targets,
)
from analysis.numbers import Spread, apply, coverage, ideal_coverage, rms, sample_sd
from analysis.report.wording import sample_words, target_words
from recon.errors import DataError


def test_rms_is_per_image():
    images = torch.stack([torch.full((4, 5), 3.0), torch.zeros(4, 5), -torch.ones(4, 5)])
    assert rms(images).tolist() == [3.0, 0.0, 1.0]
    assert rms(images[None].expand(2, 3, 4, 5)).shape == (2, 3)


@pytest.mark.parametrize("n", [6, 24, 250])
def test_exact_samples_have_ideal_coverage(n):
    generator = torch.Generator().manual_seed(n)
    samples = torch.rand(n, 120, 120, generator=generator) * 7.0 - 3.0
    truth = torch.rand(120, 120, generator=generator) * 7.0 - 3.0
    assert abs(coverage(samples, truth) - ideal_coverage(n)) < FIDELITY["coverage of exact samples"]
    assert coverage(samples * 0.1, truth) < 0.5 * ideal_coverage(n)


def test_ideal_coverage_agrees_with_the_table():
    assert [round(ideal_coverage(n), 3) for n in (6, 24, 250)] == [0.643, 0.828, 0.893]


def test_sd_of_one_sample_is_zero():
    assert sample_sd(torch.ones(1, 3, 3)).abs().max() == 0
    assert torch.allclose(sample_sd(torch.tensor([[[1.0]], [[3.0]]])), torch.tensor(2.0).sqrt())


def test_apply_refuses_other_shapes_and_nan():
    with pytest.raises(DataError, match="shape"):
        apply(lambda x: x[..., 1:], torch.zeros(2, 4, 4))
    with pytest.raises(DataError, match="not finite"):
        apply(lambda x: x / 0.0, torch.zeros(2, 4, 4))
    images = torch.arange(300.0).reshape(100, 1, 3)
    assert torch.equal(apply(lambda x: 2 * x, images), 2 * images)


def spread(value, count=24):
    return Spread(value, 0.9 * value, 1.1 * value, count)


def judged(*spreads, **numbers):
    """A verdict on samples as data, and in words."""
    found = SampleNumbers(*spreads, **numbers)
    verdict = judge_invariances(found)
    return verdict, sample_words(found, verdict)


def test_verdict_follows_the_noise_or_the_tolerance():
    noise = spread(35.0)
    good = ideal_coverage(24)
    assert not judged(spread(129.0), noise, covered=good)[0].holds
    verdict, words = judged(spread(30.0), noise, covered=good)
    assert (verdict.kind, verdict.spread, words.label) == ("invariances", "right", "invariances")
    assert not judged(spread(30.0), noise, covered=good, tolerance_hu=3.0)[0].holds
    assert judged(spread(2.9), noise, covered=good, tolerance_hu=3.0)[0].holds
    narrow, words = judged(spread(2.9), noise, covered=0.06, tolerance_hu=3.0)
    assert narrow.spread == "too_narrow" and words.label == "invariances, but too narrow"
    _, loose = judged(spread(2.9), spread(2.5), covered=good, tolerance_hu=3.0)
    assert "any scan of this anatomy" in loose.reasons[0]
    features, words = judged(spread(30.0), noise, covered=good, feature_ratio=3.0)
    assert not features.holds and "representation" in words.sentence


def test_target_verdict_counts_what_the_truth_would_give():
    null = Spread(30.0, 29.0, 31.0, 24)

    def judged(distance, inside, *, sd_hu=12.0, covered=0.8, n=250):
        numbers = TargetNumbers(distance, null, inside, sd_hu, covered, n)
        return judge_targets(numbers), target_words(numbers, judge_targets(numbers))

    assert judged(spread(30.0), 0.9)[0].holds
    one, words = judged(spread(30.0, 1), 1.0, sd_hu=0.0, covered=0.0, n=1)
    assert one.holds and not any("differ among" in reason for reason in words.reasons)
    assert "few of" in judged(spread(60.0), 0.1)[1].sentence
    assert "none of" in judged(spread(60.0), 0.0)[1].sentence
