"""Check the docstrings of all public names by numpydoc's rules; exit status 1 if one is incomplete.

    python scripts/check_docstrings.py

Public is what the faces of recon, ctxai and analysis name. Needs numpydoc, of the extra `docs`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from numpydoc.validate import validate

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

FACES = ("recon", "recon.phantom", "recon.storage", "ctxai", "analysis")
RULES = {
    "GL08",  # no docstring
    "SS01",  # no summary
    "SS03",  # the summary ends without a full stop
    "SS06",  # the summary takes more than one line
    "PR01",  # a parameter is not documented
    "PR02",  # a parameter is documented that is not there
    "PR06",  # a type goes by another name
    "PR10",  # no space before the colon
    "RT01",  # what is returned is not documented
    "YD01",  # what is yielded is not documented
}

EXPLAINED_IN_PLACE = {"analysis.Recipe"}  # settings, each with its comment where it is set


def public(face: str) -> Iterator[str]:
    """Functions and classes of a face that are ours, and the public methods of the classes."""
    package = importlib.import_module(face)
    for name in dir(package):
        value = getattr(package, name)
        if not callable(value) or not getattr(value, "__module__", "").startswith(face):
            continue
        yield f"{face}.{name}"


def is_made_by_users(kind: type, text: str) -> bool:
    """Whether a class is something that is called: no result, error or protocol."""
    results = "Attributes\n----------" in text and "Parameters\n----------" not in text
    return not (results or issubclass(kind, Exception) or getattr(kind, "_is_protocol", False))


def wrong_with(name: str) -> list[str]:
    """What numpydoc's rules find in one docstring, as far as they are ours."""
    found = validate(name)
    said = [f"{code} {what}" for code, what in found["errors"] if code in RULES]
    value = importlib.import_module(name.rpartition(".")[0])
    value = getattr(value, name.rpartition(".")[2])
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value) and not is_made_by_users(value, text):
        said = [line for line in said if not line.startswith("PR0")]
    if name in EXPLAINED_IN_PLACE:
        said = []
    one_line = len(text.strip().splitlines()) == 1  # says it all where nothing is left to say
    few = one_line and not inspect.isclass(value) and len(inspect.signature(value).parameters) < 2
    return [] if few and not any(line.startswith(("GL", "SS")) for line in said) else said


def main() -> int:
    """Print what is wrong, a line for each name and rule."""
    names = [name for face in FACES for name in public(face)]
    wrong = [f"{name}: {what}" for name in names for what in wrong_with(name)]
    print("\n".join(wrong) or f"{len(names)} public names are documented")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
