"""The command line `ctxai`: one file of `analysis.commands` a command, read when it is asked for.

Exit status: 0 done; 2 bad input or usage, with one clear line on stderr; 1 a defect of the program,
with its traceback; 130 or 143 stopped by SIGINT or SIGTERM, with one line.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import importlib
import io
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

# before torch: a thread without work sleeps after some 50 µs, in which its next operation usually
# comes. To be woken takes it 75 µs, and a study a tenth longer; to wait three times as long takes a
# study a fifth longer where another program has one of two cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
# large pages for torch's memory: faults of small ones were a third of a study
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = ["COMMANDS", "main"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a full disk, a quota, a read-only one

COMMANDS = {
    "demo": "the whole study on a random phantom, with the networks that come along",
    "train": "train the networks from nothing",
    "layers": "which layers of a denoiser can be tapped, what each sees, and what passes it",
    "invariances": "which other low-dose images give the same output, layer by layer",
    "target-domain": "which other anatomies give the same output when they are scanned",
    "projection-domain": "what the scanner could tell apart, and who lost it",
    "study": "the same of many patients, on many machines: a manifest, one table, one report",
    "phantom": "a synthetic helical scan, as projection files",
    "recon": "slices of a projection scan, as a DICOM series",
    "simulate": "a projection scan, or images, at lower doses",
    "inspect": "what a projection scan is, in numbers and as a picture",
    "verify": "whether a projection scan is whole and sound",
    "report": "make the report of a run again",
}
"""Sub-commands, each the function of its name in the module of its name, and what they are for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after `ctxai`; those of the process by default.

    Examples
    --------
    >>> from analysis.main import main
    >>> main(["report", "no/such/folder"])
    2
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words == ["--version"]:
        from recon.storage import version

        print(f"ctxai {version()}")
        return 0
    if not words or words[0] not in COMMANDS:
        what = f"no such command: {words[0]}" if words else "which command?"
        return _refuse(f"{what} (one of {', '.join(COMMANDS)}; ctxai --help says more)")
    from analysis.session.stopping import stoppable

    _keep_freed_memory()
    with stoppable():
        return _run(words)


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next array: new pages were a fifth of a study's time.

    By default it returns arrays of some megabytes to the system, which has to clear them again.
    """
    mmap_threshold, trim_threshold = -3, -1  # numbers of mallopt (3)
    with contextlib.suppress(AttributeError, OSError, TypeError):  # there is none elsewhere
        mallopt = ctypes.CDLL(None).mallopt
        if not mallopt(mmap_threshold, 1 << 30):
            mallopt(mmap_threshold, 32 << 20)  # the most that older ones take
        mallopt(trim_threshold, 1 << 30)


def _run(words: list[str]) -> int:
    from recon import BackendUnavailable, DataError

    if isinstance(sys.stdout, io.TextIOWrapper):  # paths need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        job = _parse(words[0], words[1:])
        if isinstance(job, int):
            return job
        job(shlex.join(["ctxai", *words]))
    except (DataError, BackendUnavailable) as error:
        return _refuse(" ".join(str(error).split()))
    except KeyboardInterrupt:
        return _refuse("interrupted", status=130)
    except MemoryError as error:
        return _refuse(f"not enough memory: {error or 'a smaller matrix or fewer slices help'}")
    except BrokenPipeError:  # whoever read what is printed has gone, as head and a pager do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno is None:  # raised by hand, not by the system
            traceback.print_exc()
            return 1
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in _NO_ROOM:
            what = f"results cannot be written{where}: {error.strerror}; earlier ones are kept"
            return _refuse(what)
        return _refuse(f"cannot be read or written{where}: {error.strerror}")
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _refuse(line: str, status: int = 2) -> int:
    print(f"ctxai: {line}", file=sys.stderr)
    return status


_HELP = """\
usage: ctxai COMMAND [options]

Which anatomy, and which noise, would have given this CT denoiser the same output?

{commands}

ctxai COMMAND --help tells the options of a command, with an example; ctxai --version, which
version this is. For instance

  ctxai target-domain --images FOLDER_OF_DICOM --denoiser chen --mas 10 --out OUT"""


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return _HELP.format(commands="\n".join(lines))


def _parse(name: str, words: list[str]) -> Callable[[str], None] | int:
    """The command with its arguments, ready to run; or the exit status of help and misuse."""
    import tyro

    module = name.replace("-", "_")
    function = getattr(importlib.import_module(f"analysis.commands.{module}"), module)

    @functools.wraps(function)
    def bind(*args: Any, **kwargs: Any) -> Callable[[str], None]:
        def job(command: str) -> None:
            from analysis.session.running import running

            with running(command):
                function(*args, **kwargs)

        return job

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(bind, prog=f"ctxai {name}", args=words)
    except SystemExit as end:
        if end.code in (0, None):
            return 0
        return _refuse(f"{_one_line(said.getvalue())} (ctxai {name} --help says more)")


def _one_line(boxed: str) -> str:
    """The message in a box of text, without title and help texts, up to its rule, as one line."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line)[1:].rstrip("│ ") for line in boxed.splitlines()]
    is_rule = [set(line.strip()) <= set("─-╯") for line in lines]
    first = 2 if is_rule[1:2] == [True] else 1  # below the title, and the rule below that
    last = is_rule.index(True, first) if True in is_rule[first:] else len(lines)
    kept = [line for line in lines[first:last] if len(line) - len(line.lstrip()) <= 6]
    message = " ".join(line.replace("(required)", "").strip() for line in kept)
    return message or " ".join(boxed.split()) or "bad usage"


if __name__ == "__main__":
    sys.exit(main())
