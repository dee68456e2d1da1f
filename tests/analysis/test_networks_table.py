"""The script that takes networks of many kinds through the studies, on three of them."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/networks_table.py"


@pytest.mark.slow
def test_three_networks_through_three_studies():
    """One with skips, one of neighbouring slices, one without a derivative: d' alone is refused."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--only", "RED-CNN", "slices", "NumPy"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    head, _, *rows = done.stdout.splitlines()
    assert head == "| network | invariances | target-domain | projection-domain |"
    cells = {row.split(" | ")[0].strip("| "): row.strip("| ").split(" | ")[1:] for row in rows}
    assert list(cells) == ["RED-CNN", "slices", "NumPy"]
    for name in ("RED-CNN", "slices"):
        assert not [cell for cell in cells[name] if "refused" in cell or "unprojected" in cell]
    plain, anatomies, pair = cells["NumPy"]
    assert "unprojected" in plain and anatomies.endswith(" s")
    assert "refused: the denoiser cannot be differentiated" in pair
