"""Files are whole or not there, and a run that fails leaves nothing behind."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from recon.errors import DataError
from recon.storage import (
    digest_files,
    read_json,
    require_writable,
    run_folder,
    write_atomic,
    write_csv,
    write_json,
)


def test_a_write_that_fails_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_atomic(tmp_path / "a.txt", "before")

    def broken(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "after")
    assert path.read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_json_and_csv_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"µ": 0.02, "path": tmp_path})
    assert read_json(tmp_path / "a.json") == {"µ": 0.02, "path": str(tmp_path)}
    write_csv(tmp_path / "a.csv", [{"quantity": "sd", "value": 1.5}, {"quantity": "n", "value": 2}])
    assert (tmp_path / "a.csv").read_text() == "quantity,value\nsd,1.5\nn,2\n"


def test_broken_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"file not found \(.*missing\.json\)"):
        read_json(tmp_path / "missing.json")
    (tmp_path / "half.json").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(DataError, match=r"not a JSON file \(.*half\.json\)"):
        read_json(tmp_path / "half.json")


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert digest_files([tmp_path / "a.bin"]) == {"a.bin": hashlib.sha256(b"abc").hexdigest()}


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError), run_folder(tmp_path / "OUT") as folder:
        (folder / "half.txt").write_text("half")
        raise DataError("stopped")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_keeps_an_earlier_one_and_a_good_one_replaces_it(tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    with run_folder(out) as folder:
        (folder / "mas-010").mkdir()
        (folder / "mas-010" / "1.dcm").write_text("first")
        (folder / "kept").write_text("kept")
    with pytest.raises(RuntimeError), run_folder(out) as folder:
        (folder / "mas-010").mkdir()
        raise RuntimeError
    assert (out / "mas-010" / "1.dcm").read_text() == "first"
    with run_folder(out) as folder:
        (folder / "mas-010").mkdir()
        (folder / "mas-010" / "2.dcm").write_text("second")
    assert [item.name for item in (out / "mas-010").iterdir()] == ["2.dcm"]
    assert (out / "kept").read_text() == "kept"


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "OUT").write_text("a file")
    with pytest.raises(DataError, match="output is a file"), run_folder(tmp_path / "OUT"):
        pass
    assert (tmp_path / "OUT").read_text() == "a file"


def test_an_output_that_cannot_be_made_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    for out in (tmp_path / "file", tmp_path / "file" / "OUT", tmp_path / ("long" * 100)):
        with pytest.raises(DataError, match="--out"):
            require_writable(out)
    assert require_writable(tmp_path / "new" / "OUT") == tmp_path / "new" / "OUT"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_an_output_that_is_a_mount_gets_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is renamed across the border of OUT, which may be one of a file system."""
    out = tmp_path / "OUT"
    out.mkdir()
    (out / "figures").write_text("a file that a folder replaces")
    replace = os.replace

    def within_one_file_system(source: Path, target: Path) -> None:
        if Path(source).is_relative_to(out) != Path(target).is_relative_to(out):
            raise OSError(18, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", within_one_file_system)
    with run_folder(out) as folder:
        (folder / "figures").mkdir()
        (folder / "run.json").write_text("{}")
    assert sorted(item.name for item in out.iterdir()) == ["figures", "run.json"]
    assert (out / "figures").is_dir()
