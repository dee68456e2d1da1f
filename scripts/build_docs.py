"""Build the site: docs/_build/html. Warnings are errors, and nothing is fetched.

    python scripts/build_docs.py               with the gallery's examples run (some minutes)
    python scripts/build_docs.py --quick       without running them

What the code knows better than a page is written from it first, into docs/_generated: the commands
from their help, the quantities from their table, the names of the packages from their faces. Needs
the extra `docs`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import importlib
import io
import itertools
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["COLUMNS"] = "100"  # the width of the commands' help

from analysis.main import COMMANDS  # noqa: E402
from analysis.main import main as ctxai  # noqa: E402

DOCS = ROOT / "docs"
GENERATED = DOCS / "_generated"
FACES = ("recon", "recon.phantom", "recon.storage", "ctxai", "analysis")


def help_of(*words: str) -> str:
    """What `ctxai … --help` prints, without colours."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        ctxai([*words, "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue()).rstrip()


def commands() -> str:
    """The page of the commands, from their help."""
    parts = ["# Commands", "```text\n" + help_of() + "\n```"]
    for name in COMMANDS:
        parts += [f"## ctxai {name}", "```text\n" + help_of(name) + "\n```"]
    return "\n\n".join(parts) + "\n"


def metrics(quantities: Path, arrays: Path) -> str:
    """The page of the quantities in metrics.csv and of the arrays in samples.zarr."""
    lines = [
        "# Metrics and arrays",
        "Quantities of `metrics.csv` by identifier. What stands in braces is filled in by a run.",
        _table(quantities, "id"),
        "Arrays of `samples.zarr`, in the group of their study; those of a layer in a group of its"
        " own. Each carries its line as attributes.",
        _table(arrays, "name"),
    ]
    return "\n\n".join(lines) + "\n"


def _table(path: Path, key: str) -> str:
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    columns = [name for name in rows[0] if name]
    cells = [[_cell(row[name], code=name == key) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *cells])


def _cell(text: str | None, *, code: bool) -> str:
    plain = (text or "").replace("|", "\\|").replace("\n", " ")
    return f"`{plain}`" if code else plain.replace("{", "\\{").replace("*", "\\*")


def offered(face: str) -> list[tuple[str, str]]:
    """Names of a face with the module that each comes from, modules themselves left out."""
    stub = ROOT.joinpath(*face.split("."), "__init__.pyi")
    return [
        (alias.asname or alias.name, f"{face}.{node.module}")
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]


def said_of(name: str, module: str) -> str:
    """First sentence of the string below a constant, or nothing."""
    source = Path(importlib.import_module(module).__file__ or "")
    body = ast.parse(source.read_text(encoding="utf-8")).body
    for node, after in itertools.pairwise(body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = any(isinstance(t, ast.Name) and t.id == name for t in targets)
        if named and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            paragraph = " ".join(str(after.value.value).split("\n\n")[0].split())
            return re.split(r"(?<=[.;:]) ", paragraph)[0].rstrip(";:")
    return ""


def api(face: str) -> str:
    """The page of one face: functions and classes by room, then constants."""
    package = importlib.import_module(face)
    rooms: dict[str, list[str]] = {}
    constants = []
    for name, module in offered(face):
        value = getattr(package, name)
        if callable(value) and getattr(value, "__module__", "").startswith(face.split(".")[0]):
            rooms.setdefault(module[len(face) + 1 :].split(".")[0], []).append(name)
        elif not hasattr(value, "__path__"):
            constants.append((name, said_of(name, module)))
    lines = [face, "=" * len(face), "", f".. currentmodule:: {face}", ""]
    lines += [(package.__doc__ or "").strip(), ""]
    for room, names in rooms.items():
        lines += [room, "-" * len(room), "", ".. autosummary::", f"   :toctree: api/{face}", ""]
        lines += [*(f"   {name}" for name in names), ""]
    if constants:
        lines += ["Constants", "---------", ""]
        for name, what in constants:
            lines += [f"``{name}``", f"    {what or 'See the source.'}", ""]
    return "\n".join(lines)


def write_pages() -> None:
    """Write what is made from the code; files that have not changed are left alone."""
    pages = {
        "commands.md": commands(),
        "metrics.md": metrics(
            *(ROOT / f"analysis/runs/{name}.csv" for name in ("quantities", "arrays"))
        ),
        "api.md": "# Python\n\n```{toctree}\n:maxdepth: 1\n\n" + "\n".join(FACES) + "\n```\n",
    } | {f"{face}.rst": api(face) for face in FACES}
    GENERATED.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = GENERATED / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def main(argv: list[str]) -> int:
    """Write the pages, then build; returns the exit status."""
    from sphinx.cmd.build import main as sphinx

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="do not run the gallery's examples")
    options = parser.parse_args(argv)
    write_pages()
    quick = ["-D", "plot_gallery=0"] if options.quick else []
    html = DOCS / "_build" / "html"
    status = sphinx(["-W", "--keep-going", "-q", *quick, "-b", "html", str(DOCS), str(html)])
    print(f"{html / 'index.html'}" if status == 0 else "the site has errors")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
