"""What a report says of the test of compatibility, and the order in which it shows the ȳ."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
from viewer_run import made, with_compatibility

from analysis.report.pictures import of_study
from analysis.report.summary import summary
from analysis.runs.order import order_words, sample_words
from analysis.runs.store import Run


@pytest.fixture
def study():
    """Eight ȳ, of which 4, 2 and 1 are compatible and differ from y in that order."""
    return with_compatibility(made("target-domain", 100.0, 4, samples=8))


def rows_and_caption(study):
    """The rows of images in the first picture of a study, and its caption."""
    picture = of_study(study, scene=False)[0]
    return picture.draw.args[0], picture.caption


def none_compatible(study):
    study.arrays["compatibility_p"][:] = 0.002
    study.facts["compatibility"] |= {"most_different": [], "compatible_share": 0.0}
    return study


def top(*studies):
    """The words at the top of a report, without tags."""
    found = re.search(r"<dt>Compatible</dt><dd>(.*?)</dd>", summary(Run(Path(), {}, list(studies))))
    return found and html.unescape(found[1].replace("<br>", "\n"))


def test_the_picture_shows_the_most_different_compatible_ones_first(study):
    rows, caption = rows_and_caption(study)
    a, order = study.arrays, [3, 1, 0, 2, 4, 5]
    for row, images in zip(
        rows,
        (a["ybar"], a["ybar"] - a["y"], a["rescanned"], a["xprime"][:, 0],
         a["xprime"][:, 0] - a["fx"]),
    ):  # fmt: skip
        assert np.array_equal(np.stack(row.images), images[order])
    assert list(rows[0].captions) == [
        "ȳ 4, p = .90", "ȳ 2, p = .43", "ȳ 1, p = .20", "ȳ 3, p = .050\nnot compatible",
        "ȳ 5, p = .002\nnot compatible", "ȳ 6, p = .002\nnot compatible",
    ]  # fmt: skip
    distance = a["distance"].mean(1)[order]
    assert list(rows[3].captions) == [f"‖x' - f(x)‖ {value:.1f}" for value in distance]
    assert "First the compatible ȳ that differ most from y, then others by number." in caption
    assert "does not rule it out, p above 0.05" in caption


def test_the_picture_says_where_none_is_compatible(study):
    rows, caption = rows_and_caption(none_compatible(study))
    assert np.array_equal(np.stack(rows[0].images), study.arrays["ybar"][:6])
    assert "No ȳ is compatible with the output" in caption


def test_a_run_without_the_test_is_shown_by_number():
    rows, caption = rows_and_caption(made("target-domain", 100.0, 4, samples=8))
    assert list(rows[0].captions) == [f"ȳ {k}" for k in range(1, 7)]
    assert "compatible" not in caption


def test_a_second_line_below_an_image_has_its_place(study):
    with_words = of_study(study, scene=False)[0].draw()
    study.arrays["compatibility_p"][:] = 0.5
    without = of_study(study, scene=False)[0].draw()
    height = lambda png: int.from_bytes(png[20:24], "big")
    assert height(with_words) > height(without) + 10


def test_where_all_that_are_shown_are_compatible_there_are_no_others(study):
    assert order_words(study, 3) == "First the compatible ȳ that differ most from y."


@pytest.mark.parametrize(
    "p, words",
    [(0.05, ["ȳ 1, p = .050", "not compatible"]), (0.051, ["ȳ 1, p = .051"]),
     (0.1, ["ȳ 1, p = .10"]), (0.001, ["ȳ 1, p = .001", "not compatible"]),
     (1.0, ["ȳ 1, p = 1.00"])],
)  # fmt: skip
def test_p_in_words_and_what_it_means(study, p, words):
    study.arrays["compatibility_p"][0] = p
    assert sample_words(study, 0) == words


def test_the_top_states_share_power_and_its_scans(study):
    said = top(study)
    assert "that this test does not rule out that the output came from an anatomy" in said
    assert (
        "Chen at 100 mAs: 3 of 8 ȳ are compatible (38 %); the test's power is 1 of 40 scans (2 %)."
        in said
    )
    assert "interval" not in said and "ideal observer" not in said


def test_the_top_states_the_interval_and_the_rays_where_they_are_known(study):
    other = made("target-domain", 5.0, 1)
    study.facts["compatibility"] |= {
        "power_low": 0.0006, "power_high": 0.132,
        "rays": {"least": 19.03, "median": 24.1, "largest": 31.4},
    }  # fmt: skip
    said = top(other, study)
    assert "1 of 40 scans (2 %; 95 % interval 0 to 13 %)." in said
    assert said.count("Chen at") == 1  # the other one was not tested
    assert (
        "An ideal observer who knows both anatomies would tell the compatible ȳ from y in the rays "
        "with d' 19 to 31.4 (median 24.1)." in said
    )
    assert top(other) is None


def test_the_top_says_where_none_is_compatible(study):
    assert "0 of 8 ȳ are compatible (0 %)" in top(none_compatible(study))
