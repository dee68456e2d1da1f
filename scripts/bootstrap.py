#!/usr/bin/env python3
"""Install ctxai into .venv and run it, on a machine that has Python and nothing else.

    python3 scripts/bootstrap.py demo     install, run the demonstration, print the report's path
    python3 scripts/bootstrap.py test     install, run the test suite
    python3 scripts/bootstrap.py setup    install only

Words after the first go to the command: `demo --retrain`, `test -m slow`. `--gpu` installs a
CUDA build of torch and tomosipo as well.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "ctxai-installed"
MOST_WORKERS = 4  # of the test suite: each takes up to 2 GB
TOMOSIPO = "tomosipo @ git+https://github.com/cicwi/tomosipo@v0.7.0"


def fail(message: str) -> None:
    """Print one line and leave with the status of bad input."""
    print(f"bootstrap: {message}", file=sys.stderr)
    raise SystemExit(2)


def run(*command: str | Path, check: bool = True, **settings: str) -> int:
    """Run a command in the repository's root, quiet threads between parallel regions."""
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **settings, **os.environ}
    status = subprocess.run([str(c) for c in command], cwd=ROOT, env=environment).returncode
    if check and status:
        fail(f"this step failed with status {status}: {' '.join(map(str, command))}")
    return status


def recipe(gpu: bool) -> str:
    """Digest of everything that decides what gets installed."""
    parts = [(ROOT / name).read_bytes() for name in ("setup.cfg", "constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, str(ROOT).encode(), bytes([gpu])])).hexdigest()


def install(gpu: bool) -> None:
    """Make .venv and install the project, unless that very installation is there already."""
    wanted = recipe(gpu)
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    start = time.monotonic()
    if not PYTHON.exists():
        print("bootstrap: making .venv", flush=True)
        if run(sys.executable, "-m", "venv", VENV, check=False):
            fail("python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv")
    print("bootstrap: installing (a few minutes the first time)", flush=True)
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    pinned = () if gpu else ("--constraint", ROOT / "constraints.txt")
    run(*pip, *pinned, "--editable", f"{ROOT}[test]")
    if gpu and run(*pip, TOMOSIPO, check=False):
        print("bootstrap: tomosipo did not install; everything else works without it")
    STAMP.write_text(wanted)
    print(f"bootstrap: installed in {time.monotonic() - start:.0f} s", flush=True)
    if not gpu:
        print("bootstrap: for an NVIDIA GPU, add --gpu (CUDA torch and tomosipo, several GB)")
    print("bootstrap: compiling the kernels, once", flush=True)
    run(PYTHON, "-m", "recon.warm")


def test(words: list[str]) -> int:
    """Run the suite, its files side by side where there is more than one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(cores or 1, MOST_WORKERS)
    if workers == 1:
        return run(PYTHON, "-m", "pytest", *words, check=False)
    side_by_side = ("-n", str(workers), "--dist", "loadfile")
    threads = str(max(1, (cores or 1) // workers))
    return run(
        PYTHON, "-m", "pytest", *side_by_side, *words, check=False, OMP_NUM_THREADS=threads
    )  # fmt: skip


def main() -> int:
    """Install, then do what the first word says."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the reader may have started an older one
        fail(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("demo", "test", "setup"))
    parser.add_argument("--gpu", action="store_true", help="install for an NVIDIA GPU (CUDA)")
    options, rest = parser.parse_known_args()
    install(options.gpu)
    if options.what == "demo":
        return run(PYTHON, "-m", "analysis.main", "demo", *rest, check=False)
    if options.what == "test":
        return test(rest)
    print(f"bootstrap: ready; {PYTHON.parent / 'ctxai'} --help")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
