"""The table of a report's sentences: each is said somewhere, and each that is said is there."""

import re
from pathlib import Path
from typing import get_args

import pytest

from analysis.fidelity.verdict import Kind, Verdict
from analysis.report import wording
from analysis.report.html import fill
from analysis.report.wording import TEXTS, label, say

SOURCES = [path.read_text() for path in Path(wording.__file__).parent.glob("*.py")]


def test_every_sentence_is_said_and_every_one_that_is_said_is_there() -> None:
    named = {name for text in SOURCES for name in re.findall(r'"([a-z_-]+)"', text)}
    starts = {start for text in SOURCES for start in re.findall(r'f"([a-z]+_)\{', text)}
    starts |= {start for text in SOURCES for start in re.findall(r"f'([a-z]+_)\{", text)}
    assert [id for id in TEXTS if id not in named and not id.startswith(tuple(starts))] == []
    asked = {id for text in SOURCES for id in re.findall(r'say\(\s*"([a-z_]+)"', text)}
    assert len(asked) > 30 and asked <= TEXTS.keys()


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("spread", ["right", "too_narrow", "too_wide"])
def test_every_verdict_has_a_label(kind: str, spread: str) -> None:
    assert label(Verdict(kind, True, spread))


def test_a_number_that_is_missing_is_no_empty_place() -> None:
    with pytest.raises(KeyError, match="redrawn"):
        say("redrawn")


def test_what_a_template_is_given_is_escaped() -> None:
    fields = dict.fromkeys(("asked", "done", "sure"), "<b>&'\"")
    text = fill("summary.html", **fields, compatible=[], answers=[], caption="")
    assert text.count("&lt;b&gt;&amp;&#39;&#34;") == 3 and "<b>" not in text
