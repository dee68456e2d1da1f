"""The examples of the gallery run as they stand, each in under a minute, and show a picture."""

import re
import runpy
import time
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "docs/gallery").glob("*.py"))
MOST_SECONDS = 100  # of processors: a minute on two cores, with some room


def test_examples_are_numbered_and_short() -> None:
    assert [path.name[:3] for path in EXAMPLES] == [f"{k:02}_" for k in range(1, 11)]
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        assert re.match(r'"""\n[^\n]+\n=+\n', text), f"{path.name} begins with a title"
        assert 30 <= len(text.splitlines()) <= 70, path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    start = time.process_time()
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        plt.close("all")
    assert shown, "no picture"
    assert time.process_time() - start < MOST_SECONDS
    assert "nan" not in capsys.readouterr().out
