"""Progress in a log: a line every half a minute, and nothing that draws over itself."""

import sys

from tqdm import tqdm

from analysis.session import bars, running


def test_a_log_has_a_line_every_half_minute(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(bars.time, "time", lambda: now[0])
    with running.running("test"), tqdm(total=100, desc="reconstruct", mininterval=0) as bar:
        bar.start_t = now[0]
        for _ in range(100):
            now[0] += 1.0
            bar.update()
            bar.refresh()
        tqdm.write("a word between", file=sys.stderr)
    lines = capsys.readouterr().err.split("\n")
    assert [line for line in lines if line.startswith("ctxai:")] == [
        "ctxai: reconstruct: 30 of 100, about 70 s left",
        "ctxai: reconstruct: 60 of 100, about 40 s left",
        "ctxai: reconstruct: 90 of 100, about 10 s left",
    ]
    assert not any("\r" in line or "it/s" in line for line in lines)


def test_a_terminal_has_its_bars(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    before = tqdm.display
    with running.running("test"):
        assert tqdm.display is before


def test_bars_are_what_they_were_afterwards():
    before = tqdm.display
    with running.running("test"):
        assert tqdm.display is not before
    assert tqdm.display is before
