"""Build sdist and wheel, and check that the wheel holds every file that the packages need.

    python scripts/check_wheel.py [FOLDER]

Every file below the three packages that is under version control has to be in the wheel, and no
other; both are left in FOLDER (`dist` by default). Needs `build`, of the extra `dev`.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("recon", "ctxai", "analysis")


def build(folder: Path) -> Path:
    """Build both, the wheel from the sdist; returns the wheel."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return max(folder.glob("*.whl"), key=lambda path: path.stat().st_mtime)


def tracked() -> set[str]:
    """Files of the packages that are under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(filter(None, listed.stdout.split("\0")))


def differences(wheel: Path) -> list[str]:
    """What is missing in a wheel, and what should not be in it."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = tracked()
    return [
        *(f"missing: {name}" for name in sorted(wanted - held)),
        *(f"too much: {name}" for name in sorted(held - wanted)),
    ]


def main(argv: list[str]) -> int:
    """Build, compare, and say what differs."""
    wheel = build(Path(argv[0]) if argv else ROOT / "dist")
    wrong = differences(wheel)
    print("\n".join(wrong) or f"{wheel}: whole, {len(tracked())} files")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
