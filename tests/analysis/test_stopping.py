"""SIGINT and SIGTERM end a command in one line, and leave nothing behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


PATIENCE = 100.0  # seconds; what is stopped ends at once


def heard() -> None:
    """Signals as a shell in the foreground leaves them: one in the background ignores SIGINT."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def program(code: str, *words: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heard,
    )  # fmt: skip


def ended(run: subprocess.Popen) -> str:
    """What a program left on stderr; one that does not end is killed, and the test fails."""
    try:
        return run.communicate(timeout=PATIENCE)[1]
    finally:
        run.kill()


STOPPED = """
import sys, time
from analysis.session.stopping import stoppable
from recon.storage import run_folder
with stoppable(), run_folder(sys.argv[1]) as folder:
    (folder / "metrics.csv").write_text("half")
    print("built", flush=True)
    time.sleep(60)
"""

HELD = """
import os, signal, sys, time
from analysis.session.stopping import stoppable
from recon.storage import run_folder, write_json
replace = os.replace
def slow(source, target):
    replace(source, target)
    if str(target).endswith("a.csv"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
os.replace = slow
with stoppable(), run_folder(sys.argv[1]) as folder:
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("second")
    write_json(folder / "run.json", {})
time.sleep(60)
"""


IMPORTING = """
import os, signal, sys, threading
from analysis.main import main
stop = lambda: os.kill(os.getpid(), int(sys.argv[2]))
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            threading.Thread(target=stop).start()
sys.meta_path.insert(0, Finder())
sys.exit(main(["train", "--preset", "talk", "--out", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_one_line_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    run = program(STOPPED, tmp_path / "a" / "OUT")
    assert run.stdout is not None and run.stdout.readline() == "built\n"
    run.send_signal(number)
    error = ended(run)
    assert run.returncode == 128 + number
    assert error in ("ctxai: interrupted\n", "ctxai: terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_waits_while_a_run_is_published(tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    out.mkdir()
    (out / "b.csv").write_text("first")
    run = program(HELD, out)
    began = time.monotonic()
    error = ended(run)
    assert run.returncode == 143 and error == "ctxai: terminated\n"
    assert time.monotonic() - began < 50
    assert (out / "b.csv").read_text() == "second" and (out / "run.json").exists()
    assert sorted(item.name for item in out.iterdir()) == ["a.csv", "b.csv", "run.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_while_modules_are_imported(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = program(IMPORTING, tmp_path / "OUT", int(number))
    error = ended(run)
    assert run.returncode == 128 + number
    assert error in ("ctxai: interrupted\n", "ctxai: terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_handlers_are_given_back_and_what_is_ignored_stays_ignored() -> None:
    from analysis.session.stopping import stoppable

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupted = signal.getsignal(signal.SIGINT)
        with stoppable():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) != interrupted
        assert signal.getsignal(signal.SIGINT) == interrupted
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, usual)
