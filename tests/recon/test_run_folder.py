"""A run folder is one process's at a time, is published as a whole, and proves that it is one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recon.errors import DataError
from recon.storage import holding, require_parts, run_folder, write_json
from recon.storage.files import digest_tree

ROOT = Path(__file__).resolve().parents[2]


def program(code: str, *words: object, **how: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how,
    )  # fmt: skip


def ended(process: subprocess.Popen) -> int:
    process.communicate()
    return process.returncode


BUILD = """
import sys, time
from recon.storage import run_folder, write_json
with run_folder(sys.argv[1]) as folder:
    (folder / "metrics.csv").write_text("half")
    print("built", flush=True)
    time.sleep(60)
"""

PUBLISH = """
import os, signal, sys
from recon.storage import run_folder, write_json
out, text, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
replace, count = os.replace, 0
def counted(source, target):
    global count
    if "partial" in f"{source} {target}" and ".json.partial" not in str(source):
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
    replace(source, target)
os.replace = counted
with run_folder(out) as folder:
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text(text)
    (folder / "c").mkdir()
    (folder / "c" / "1").write_text(text)
    write_json(folder / "run.json", {"text": text})
"""


def everything(above: Path) -> list[str]:
    return sorted(str(item.relative_to(above)) for item in above.rglob("*"))


def test_a_second_process_is_refused_by_name_and_a_killed_one_is_cleared(tmp_path: Path) -> None:
    for out in (tmp_path / "new" / "OUT", tmp_path / "there"):
        (tmp_path / "there").mkdir(exist_ok=True)
        first = program(BUILD, out)
        assert first.stdout is not None and first.stdout.readline() == "built\n"
        with pytest.raises(DataError, match=f"another run .*process {first.pid}"), run_folder(out):
            pass
        first.kill()
        first.communicate()
        assert any("partial" in name for name in everything(tmp_path))
        with run_folder(out) as folder:
            (folder / "metrics.csv").write_text("whole")
        assert (out / "metrics.csv").read_text() == "whole"
    assert everything(tmp_path) == [
        "new", "new/OUT", "new/OUT/metrics.csv", "there", "there/metrics.csv",
    ]  # fmt: skip


def test_what_is_not_ours_or_still_alive_stays(tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    mine = tmp_path / ".OUT.partial-mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    alive = tmp_path / f".OUT.partial-{os.getppid()}"
    alive.mkdir()
    mark = {"process": os.getppid(), "host": os.uname().nodename}
    (alive / ".run").write_text(json.dumps(mark))
    elsewhere = tmp_path / ".OUT.partial-99999999"
    elsewhere.mkdir()
    (elsewhere / ".run").write_text(json.dumps({"process": 99999999, "host": "another machine"}))
    with run_folder(out) as folder:
        (folder / "a").write_text("a")
    assert (mine / "thesis.txt").exists() and alive.is_dir() and elsewhere.is_dir()
    (elsewhere / ".run").write_text(json.dumps(mark | {"process": 99999999}))
    (out / ".report.html.partial-99999999").write_text("half")
    (out / f".report.html.partial-{os.getppid()}").write_text("half")
    with holding(out):
        pass
    assert not elsewhere.exists()
    assert sorted(item.name for item in out.iterdir()) == [
        f".report.html.partial-{os.getppid()}", "a",
    ]  # fmt: skip


@pytest.mark.parametrize("kill_at", range(10))
def test_a_run_killed_while_it_publishes_is_the_earlier_or_the_new_one(
    tmp_path: Path, kill_at: int
) -> None:
    out = tmp_path / "OUT"
    assert ended(program(PUBLISH, out, "first", 99)) == 0
    (out / "thesis.txt").write_text("precious")
    killed = ended(program(PUBLISH, out, "second", kill_at))
    assert killed == (-signal.SIGKILL if kill_at < 9 else 0)
    with holding(out):
        pass
    record = json.loads((out / "run.json").read_text())
    require_parts(out, record, ["a.csv", "b.csv", "c"])
    assert record["text"] == ("first" if kill_at == 0 else "second")
    assert everything(tmp_path) == [
        "OUT", *(f"OUT/{name}" for name in ("a.csv", "b.csv", "c", "c/1", "run.json", "thesis.txt"))
    ]  # fmt: skip


def test_parts_of_two_runs_are_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with run_folder(tmp_path / name) as folder:
            (folder / "numbers").mkdir()
            (folder / "numbers" / "0").write_text(name)
            (folder / "metrics.csv").write_text(name)
            (folder / "report.html").write_text("made again at any time")
            write_json(folder / "run.json", {"name": name})
    one, parts = tmp_path / "one", ["numbers", "metrics.csv"]
    record = json.loads((one / "run.json").read_text())
    assert sorted(record["parts"]) == sorted(parts)
    require_parts(one, record, parts)
    (one / "numbers" / ".DS_Store").write_text("of a file manager")
    require_parts(one, record, parts)
    other = json.loads((tmp_path / "two" / "run.json").read_text())
    with pytest.raises(DataError, match=r"numbers is not the one that run\.json was written with"):
        require_parts(one, other, parts)
    (one / "numbers" / "0").rename(one / "numbers" / "1")
    with pytest.raises(DataError, match="numbers"):
        require_parts(one, record, parts)
    (one / "metrics.csv").unlink()
    with pytest.raises(DataError, match="not complete"):
        require_parts(one, record, ["metrics.csv"])
    require_parts(one, {"name": "of an earlier version"}, parts)


def test_the_digest_of_a_folder_is_that_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    before = digest_tree(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_tree(tmp_path) != before


def made(out: Path, names: list[str], *, record: bool = True) -> None:
    with run_folder(out) as folder:
        for name in names:
            (folder / name).write_text(name)
        if record:
            write_json(folder / "run.json", {"names": names})


def test_what_an_earlier_run_has_on_record_goes_with_it(tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    made(out, ["a", "b"])
    (out / "thesis.txt").write_text("precious")
    (out / "report.html").write_text("of the first")
    made(out, ["b", "c"])
    assert sorted(item.name for item in out.iterdir()) == ["b", "c", "run.json", "thesis.txt"]
    made(out, ["d"], record=False)  # an export belongs to the run that is there
    assert (out / "b").exists() and (out / "run.json").exists()


def test_what_a_run_published_before_its_record_is_part_of_it(tmp_path: Path) -> None:
    """The slice that a study is of is written before the study is done."""
    out = tmp_path / "OUT"
    with holding(out):
        made(out, ["slice"], record=False)
        made(out, ["numbers"])
    record = json.loads((out / "run.json").read_text())
    assert sorted(record["parts"]) == ["numbers", "slice"] and (out / "slice").exists()
    made(out, ["numbers"])
    assert not (out / "slice").exists()


@pytest.mark.parametrize("names", ["no list", {"../thesis.txt": "1", "/etc": "2", ".git": "3"}])
def test_a_record_names_nothing_outside_its_folder(names: object, tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    made(out, ["a"])
    (tmp_path / "thesis.txt").write_text("precious")
    (out / ".git").mkdir()
    write_json(out / "run.json", {"parts": names})
    made(out, ["b"])
    assert (tmp_path / "thesis.txt").exists() and (out / ".git").exists() and (out / "b").exists()
