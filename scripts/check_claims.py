"""List numbers in README and docs without a command beside them, or without date and commit.

    python scripts/check_claims.py [PAGE ...]      all pages by default; exit status 1 if any is

A *claim* is a number with the unit of a measurement in a paragraph, a list or a table. A command is
beside it if it stands in the same block or in an earlier one of the same section, and if the
scripts and tests that it names exist. On the pages of results each section with claims states
when they were measured and at which commit. Numbers that were chosen rather than measured are told
by a comment, `<!-- given: why -->`: at the top of a page for the whole page, else for its section.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = re.compile(r"(results-(?!history)\w+|samplers)\.md$")

NUMBER = re.compile(
    r"(?<![\w²])[-+−]?(?:\d[\d,]*)?\.?\d+(?:e-?\d+)?(?: (?:to|±) [\d.]+)?"
    r" ?(?:HU|%|ms|s|min|GB|lp/cm)(?![\w²])"
)
COMMAND = re.compile(r"`(?:\.venv/bin/)?(?:python3?\s|pytest\s|ctxai\s|scripts/)[^`]*`")
BLOCK_OF_CODE = re.compile(r"^\s*```.*?^\s*```\s*$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"\b(?:scripts|tests)/[\w/]+\.py\b")
GIVEN = re.compile(r"<!-- given: .+? -->", re.DOTALL)
DATED = re.compile(r"\d{4}-\d\d-\d\d, at [0-9a-f]{7,}")


@dataclass
class Section:
    """A heading with the blocks of text below it, each with the line that it begins in."""

    title: str
    blocks: list[tuple[int, str]] = field(default_factory=list)


def sections(text: str) -> Iterator[Section]:
    """Parts of a page; the first is what stands before any heading. Code is left out."""
    hidden = BLOCK_OF_CODE.sub(lambda code: "\n" * code.group().count("\n"), text)
    current = Section("")
    block: list[str] = []
    for number, line in enumerate([*hidden.split("\n"), ""], 1):
        if line.strip() and not line.startswith("#"):
            block.append(line)
            continue
        if block:
            current.blocks.append((number - len(block), "\n".join(block)))
            block = []
        if line.startswith("#"):
            yield current
            current = Section(line.lstrip("# "))
    yield current


def wrong_in(page: Path, root: Path = ROOT) -> Iterator[str]:
    """What a page states without saying how it is measured, a line each."""
    parts = list(sections(page.read_text(encoding="utf-8")))
    name = page.relative_to(root)
    whole = any(GIVEN.search(block) for _, block in parts[0].blocks)
    for part in parts:
        given = whole or any(GIVEN.search(block) for _, block in part.blocks)
        command = claimed = False
        for line, block in part.blocks:
            for file in FILE.findall(block):
                if not (root / file).exists():
                    yield f"{name}:{line}: no such file: {file}"
            command = command or bool(COMMAND.search(block))
            numbers = NUMBER.findall(COMMAND.sub("", block))
            claimed = claimed or bool(numbers)
            if numbers and not command and not given:
                told = ", ".join(dict.fromkeys(numbers[:4]))
                yield f"{name}:{line}: no command beside {told} (section {part.title!r})"
        dated = any(DATED.search(block) for _, block in part.blocks)
        if claimed and not given and not dated and RESULTS.search(page.name):
            yield f"{name}: no date and commit in section {part.title!r}"


def pages() -> list[Path]:
    """README and the pages of the site that are written by hand."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main(argv: list[str]) -> int:
    """Print what is missing; returns 1 if anything is."""
    wrong = [
        line for page in ([Path(word).resolve() for word in argv] or pages())
        for line in wrong_in(page)
    ]  # fmt: skip
    print("\n".join(wrong) or "every number has its command")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
