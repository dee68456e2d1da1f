"""Imports point one way: between the packages, through their faces, and between their rooms."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("recon", "ctxai", "analysis")
MAY_IMPORT = {"recon": {"recon"}, "ctxai": {"ctxai", "recon"}, "analysis": set(PACKAGES)}
FROM_RECON = {"errors", "units", "storage"}  # all that ctxai may use of recon
HEAVY = ("astra", "tomosipo", "matplotlib", "dask", "torch", "numba", "pydicom")

FACES = ("recon", "recon.phantom", "recon.storage", "ctxai")
"""All that analysis and scripts may import from."""

PAST_THE_FACE = {
    ("benchmark.py", "recon.backends.rays"): "lists the rays that its own bare loop walks over",
    ("benchmark.py", "recon.engine.simd"): "writes that bare loop with the vectors of the kernels",
    ("gpu_check.py", "recon.backends.rays"): "lists the rays, to time the projector per ray",
    ("benchmark_scan.py", "recon.helical"): "times the two steps of a slab inside `slabs`",
    ("benchmark_scan.py", "recon.helical.lookup"): "times the look-ups of a slab by themselves",
    ("benchmark_scan.py", "recon.engine.simd"): "writes those look-ups with the kernels' vectors",
}
"""Scripts that look behind a face, what they take from there, and why."""

ROOMS = {  # from the ground up: a room may use those that stand before it
    "recon": (
        "errors units storage engine checks geometry tube dose fbp backends operator scan helical "
        "volumes dicom dicom_image ctpd phantom warm"
    ),
    "ctxai": (
        "files precision data wiretap representation denoisers training sampling weights eulig2024"
    ),
    "analysis": (
        "numbers figures scanner runs data training observers lesions fidelity invariances "
        "projection_domain target_domain viewer report projections repair talk session cohort "
        "commands main"
    ),
}
MOST_ROOMS = {"recon": 19, "ctxai": 11, "analysis": 21}
MOST_ARROWS = 167  # of all three packages
MOST_POSITIONAL = 10  # arguments of one function


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[tuple[str, str]]:
    """What a source imports: modules and the names taken from them ("" for a whole module)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: None if is_package else -1]
            above = above[: len(above) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((base, alias.name) for alias in node.names)


def sources(root: Path, *folders: str) -> Iterator[tuple[Path, str, list[tuple[str, str]]]]:
    """Every Python file under the folders, with its module name and its imports."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            module, is_package = module_of(path, root), path.stem == "__init__"
            yield path, module, list(imports(path.read_text(), module, is_package=is_package))


@functools.cache
def names_of(face: str) -> set[str]:
    """Names that a face offers: those of its stub, or what a plain module defines in public."""
    path = ROOT / face.replace(".", "/")
    stub = path / "__init__.pyi"
    tree = ast.parse((stub if stub.exists() else path.with_suffix(".py")).read_text())
    nodes = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    if stub.exists():
        return {alias.asname or alias.name for node in nodes for alias in node.names}
    return {getattr(node, "name", "_") for node in tree.body}


def between_packages(package: str, found: list[tuple[str, str]]) -> list[str]:
    """Imports of a module of `package` that point upward, or past what it may use of recon."""
    wrong = []
    for module, name in found:
        full = f"{module}.{name}" if module == "recon" and name else module
        top, _, rest = full.partition(".")
        upward = top in PACKAGES and top not in MAY_IMPORT[package]
        past = package == "ctxai" and top == "recon" and rest.split(".")[0] not in FROM_RECON
        if upward or past:
            wrong.append(full)
    return wrong


def past_the_faces(found: list[tuple[str, str]]) -> list[str]:
    """Modules of recon and ctxai that are imported from, but are no face or do not offer that."""
    wrong = []
    for module, name in found:
        if module.split(".")[0] not in ("recon", "ctxai"):
            continue
        if module not in FACES or (name and name not in names_of(module)):
            wrong.append(module)
    return wrong


def arrows(package: str, root: Path = ROOT) -> dict[tuple[str, str], list[str]]:
    """Which room (a folder or file at the top of a package) uses which, and by what files."""
    everything = list(sources(root, package))
    modules = {module for _, module, _ in everything}
    drawn: dict[tuple[str, str], list[str]] = {}
    for path, module, found in everything:
        if module == package:
            continue  # the face hands on what all rooms make
        room = module.split(".")[1]
        for base, name in found:
            target = f"{base}.{name}" if f"{base}.{name}" in modules else base
            parts = target.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] != room:
                drawn.setdefault((room, parts[1]), []).append(str(path.relative_to(root)))
    return drawn


def back_up(drawn: dict[tuple[str, str], list[str]], order: list[str]) -> dict:
    """Arrows from a room to one that stands above it; without any, there is no circle either."""
    return {(a, b): by for (a, b), by in drawn.items() if order.index(a) < order.index(b)}


def made_in(source: str) -> set[str]:
    """Names that a module makes: its functions, its classes, and all that it assigns."""
    nodes = list(ast.walk(ast.parse(source)))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def passed_on(root: Path, *folders: str) -> list[str]:
    """Names that a module takes from one that has only imported them itself.

    Faces hand names on: that is what they are for.
    """
    everything = list(sources(root, *folders))
    handed = {
        module: {name for _, name in found} - made_in(path.read_text())
        for path, module, found in everything
        if path.stem != "__init__"
    }
    return [
        f"{module}: {name} from {base}"
        for _, module, found in everything
        for base, name in found
        if name and name in handed.get(base, ())
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    everything = list(sources(ROOT, package))
    assert everything
    wrong = {module: between_packages(package, found) for _, module, found in everything}
    assert {module: found for module, found in wrong.items() if found} == {}


def test_analysis_and_scripts_go_through_the_faces() -> None:
    wrong = {
        (path.name, module)
        for path, _, found in sources(ROOT, "analysis", "scripts")
        for module in past_the_faces(found)
    }
    assert wrong == set(PAST_THE_FACE)


def test_scripts_use_no_command_as_a_library() -> None:
    for path, _, found in sources(ROOT, "scripts"):
        taken = {base if name == "" else f"{base}.{name}" for base, name in found}
        assert not [t for t in taken if t.startswith("analysis.commands")], path.name


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_between_rooms_point_down(package: str) -> None:
    order = ROOMS[package].split()
    here = {
        p.stem
        for p in (ROOT / package).iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert sorted(order) == sorted(here - {"__init__"})
    assert len(order) <= MOST_ROOMS[package]
    assert back_up(arrows(package), order) == {}


def test_the_rooms_are_held_together_by_few_arrows() -> None:
    assert sum(len(arrows(package)) for package in PACKAGES) <= MOST_ARROWS


def test_names_are_taken_from_where_they_are_made() -> None:
    assert passed_on(ROOT, *PACKAGES, "scripts") == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_takes_many_positional_arguments(package: str) -> None:
    functions = [
        (path, node)
        for path, _, _ in sources(ROOT, package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    many = {
        f"{path.relative_to(ROOT)}:{node.lineno}": len(node.args.posonlyargs + node.args.args)
        for path, node in functions
    }
    assert {place: n for place, n in many.items() if n > MOST_POSITIONAL} == {}


def test_the_walk_sees_what_is_wrong(tmp_path: Path) -> None:
    def seen(package: str, source: str) -> list[str]:
        return between_packages(package, list(imports(source, f"{package}.some")))

    assert seen("recon", "def f():\n    from ctxai.vae import VAE") == ["ctxai.vae"]
    assert seen("ctxai", "import recon.dose") == ["recon.dose"]
    assert seen("ctxai", "from recon import operator") == ["recon.operator"]
    assert seen("ctxai", "from recon.units import hu_to_mu") == []
    for source, wrong in (
        ("from recon.geometry import FanBeam", ["recon.geometry"]),
        ("import ctxai.weights.sets", ["ctxai.weights.sets"]),
        ("from recon import geometry", ["recon"]),
        ("from recon import FanBeam, phantom\nfrom recon.phantom import body", []),
    ):
        assert past_the_faces(list(imports(source, "analysis.some"))) == wrong

    for name, source in {
        "ground/deep.py": "from .. import roof\nVALUE = 1",
        "ground/__init__.py": "",
        "wall.py": "from .ground.deep import VALUE",
        "roof.py": "from p.wall import VALUE",
        "__init__.py": "from .roof import VALUE",
    }.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_text(source)
    drawn = arrows("p", tmp_path)
    assert set(drawn) == {("ground", "roof"), ("wall", "ground"), ("roof", "wall")}
    assert back_up(drawn, ["ground", "wall", "roof"]) == {("ground", "roof"): ["p/ground/deep.py"]}
    assert "p.roof: VALUE from p.wall" in passed_on(tmp_path, "p")


def test_a_face_gives_what_its_stub_states() -> None:
    stubs = [stub for package in PACKAGES for stub in (ROOT / package).rglob("*.pyi")]
    faces = [".".join(stub.relative_to(ROOT).parts[:-1]) for stub in stubs]
    assert {"recon", "recon.phantom", "ctxai", "analysis"} <= set(faces)
    code = (
        f"import importlib\nfor face in map(importlib.import_module, {faces}):\n"
        "    names = dir(face)\n    assert len(set(names)) == len(names) > 0\n"
        "    for name in names:\n        getattr(face, name)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_importing_the_packages_is_light() -> None:
    code = (
        "import sys, recon, ctxai, analysis\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
