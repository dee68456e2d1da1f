"""Imports point one way, analysis → ctxai → recon, and the packages import light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("recon", "ctxai", "analysis")
MAY_IMPORT = {"recon": {"recon"}, "ctxai": {"ctxai", "recon"}, "analysis": set(PACKAGES)}
FROM_RECON = {"errors", "units", "storage"}  # all that ctxai may use of recon
HEAVY = ("astra", "tomosipo", "matplotlib", "dask")


def imported(source: str) -> list[str]:
    """Absolute module names that a source imports; relative imports stay in their package."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "recon":
                names += [f"recon.{alias.name}" for alias in node.names]
            else:
                names.append(node.module)
    return names


def violations(package: str, source: str) -> list[str]:
    """Imports in `source`, a module of `package`, that point upward or past the allowed part."""
    wrong = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        upward = top in PACKAGES and top not in MAY_IMPORT[package]
        past = package == "ctxai" and top == "recon" and rest.split(".")[0] not in FROM_RECON
        if upward or past:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    sources = sorted((ROOT / package).rglob("*.py"))
    assert sources
    wrong = {str(s.relative_to(ROOT)): violations(package, s.read_text()) for s in sources}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_the_walk_sees_upward_imports() -> None:
    assert violations("recon", "def f():\n    from ctxai.vae import VAE") == ["ctxai.vae"]
    assert violations("ctxai", "import recon.dose") == ["recon.dose"]
    assert violations("ctxai", "from recon import operator") == ["recon.operator"]
    assert violations("ctxai", "from recon.units import hu_to_mu") == []


def test_importing_the_packages_is_light() -> None:
    code = (
        "import sys, recon, ctxai, analysis\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
