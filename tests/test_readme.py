"""README is one page, its example runs as it stands, and its links lead to files."""

import re
from pathlib import Path

import pytest

from analysis.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_it_is_one_page() -> None:
    assert len(README.splitlines()) <= 110


def test_the_example_of_ten_lines_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    scope: dict = {}
    exec(compile(example, "README.md", "exec"), scope)
    assert scope["samples"].images.shape == (24, 64, 64)
    assert float(scope["samples"].violation.max()) <= 3.0 * 1.001
    assert "torch.Size([24, 64, 64])" in capsys.readouterr().out


def test_it_names_every_command() -> None:
    section = README.split("## Commands")[1].split("\n## ")[0]
    for name in COMMANDS:
        assert re.search(rf"`{name}[` ]", section), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|_generated/|#", target):
            continue  # elsewhere, or made when the site is built
        assert (page.parent / target.split("#")[0]).exists(), target
