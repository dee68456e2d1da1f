"""Every number in README and on the site has a command beside it; results have date and commit."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def claims():
    spec = importlib.util.spec_from_file_location("check_claims", ROOT / "scripts/check_claims.py")
    module = importlib.util.module_from_spec(spec)
    # its dataclass looks its module up by name
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_number_is_without_its_command(claims) -> None:
    wrong = [line for page in claims.pages() for line in claims.wrong_in(page)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Within 2 HU (`pytest tests/test_claims.py`), 2026-11-29, at abcdef0.", []),
        ("Within 2 HU.", ["no command", "no date"]),
        ("| a |\n|---|\n| .5 % |\n\n2026-11-29, at abcdef0, by `ctxai demo`", ["no command"]),
        ("1.2 to 3 ms by `python scripts/nowhere.py`, 2026-11-29, at abcdef0", ["no such file"]),
        ("In 64 s by `ctxai demo`.", ["no date"]),
        ("<!-- given: chosen -->\n\nAt most 3 HU.", []),
        ("Pages 3 and 4 of 64² pixels, v1.2.", []),
        ("```\n3 HU\n```", []),
        ("Two of 3 times.", []),
    ],
)
def test_what_is_missing_is_listed(text: str, found: list[str], claims, tmp_path: Path) -> None:
    page = tmp_path / "results-here.md"
    page.write_text(f"# A page\n\n## A section\n\n{text}\n", encoding="utf-8")
    # files are looked for in the project, the page is named from its own folder
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    listed = list(claims.wrong_in(page, tmp_path))
    assert [any(what in line for line in listed) for what in found] == [True] * len(found)
    assert len(listed) == len(found), listed
