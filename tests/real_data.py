"""Real slices, a volume and a view of a scan beside the checkout, for tests that read them."""

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def needs(part: str) -> pytest.MarkDecorator:
    """Skip where that file or folder of the real data is not."""
    missing = not (DATA / part).exists()
    return pytest.mark.skipif(missing, reason=f"no real data: ../shared/data/{part}")
