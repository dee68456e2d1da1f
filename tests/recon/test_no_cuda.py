"""Where there is no CUDA device, no public call ends the process: each runs in one of its own.

ASTRA's 3D calls and tomosipo's operators kill the interpreter there, which no handler can catch, so
only the exit status tells.
"""

import json
import os
import subprocess
import sys

import pytest

START = """
import sys, types
import numpy as np, torch
import recon
from recon.backends import make_backend
from recon.errors import BackendUnavailable, DataError
from recon.geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from recon.operator import operator
angles = np.arange(24) * (2 * np.pi / 24)
fan = dict(angles=angles, n_cols=32, col_pitch=4.0, src_iso=200.0, src_det=400.0)
arc, flat = FanBeam(**fan), FanBeam(**fan, detector="flat")
parallel = ParallelBeam(angles=angles[:12], n_cols=32, col_pitch=2.0)
grid = ImageGrid(shape=(16, 16), spacing=(2.0, 2.0))
"""

RUNS = """
for geometry in (arc, flat, parallel):
    A = operator(geometry, grid, backend={name!r})
    kind = torch.float64 if {name!r} == "reference" else torch.float32
    mu = torch.full((2, 16, 16), 0.02, dtype=kind, requires_grad=True)
    p = A(mu)
    (A.fbp(p).sum() + A.T(p).sum()).backward()
    assert torch.isfinite(mu.grad).all()
    for window in ("hann", recon.fbp.windows.Kernel(mtf50=0.8, mtf10=1.4), lambda f: 1 - f):
        assert torch.isfinite(A.fbp(p.detach(), window)).all()
    assert A.backend in ("numba", "reference") and A.reason and repr(A)
    for wrong in (mu.to("meta"), mu.detach().numpy().tolist(), mu[0, 0]):
        try:
            A(wrong)
        except DataError:
            continue
        raise AssertionError("not refused")
"""

REFUSES = """
for geometry in (arc, flat, parallel):
    for ask in (operator, make_backend):
        try:
            if ask is operator:
                operator(geometry, grid, backend={name!r})
            else:
                make_backend({name!r}, geometry, grid)
        except BackendUnavailable as error:
            assert "; " in str(error), error
        except DataError as error:
            assert {name!r} == "tomosipo" and geometry is arc and "curved" in str(error), error
        else:
            raise AssertionError("a GPU backend was made without a GPU")
"""

# a tomosipo that is fit, and ends the process as the real one does where there is no GPU
TOMOSIPO = """
import os
fake = types.ModuleType("tomosipo")
fake.__version__ = "0.7.0"
fake.volume = fake.cone_vec = fake.parallel_vec = lambda **k: object()
fake.operator = lambda *a: os._exit(9)
sys.modules["tomosipo"] = fake
"""

# torch sees a device, but ASTRA cannot use it
HALF = "torch.cuda.is_available = lambda: True\n"

GEOMETRIES = """
from recon.backends import astra, tomosipo
for geometry in (arc, flat, parallel, flash_axial(8)):
    assert astra.projection_geometry(geometry)["Vectors"].shape[0] == len(geometry.angles)
    assert repr(geometry) and hash(geometry) == hash(geometry)
    try:
        tomosipo.to_tomosipo(geometry, grid)
    except (BackendUnavailable, DataError) as error:
        assert str(error)
assert astra.volume_geometry(grid)["GridSliceCount"] == 1
"""


IMPORTS = """
import recon.backends.astra, recon.backends.tomosipo
assert not {"astra", "tomosipo", "dask", "matplotlib"} & set(sys.modules)
"""

JOBS = {
    "auto": RUNS.format(name="auto"),
    "numba": RUNS.format(name="numba"),
    "reference": RUNS.format(name="reference"),
    "astra": REFUSES.format(name="astra"),
    "astra that cannot use what torch sees": HALF + REFUSES.format(name="astra"),
    "no tomosipo": REFUSES.format(name="tomosipo"),
    "tomosipo": TOMOSIPO + REFUSES.format(name="tomosipo"),
    "tomosipo over such an astra": TOMOSIPO + HALF + REFUSES.format(name="tomosipo"),
    "geometries": GEOMETRIES,
    "imports": IMPORTS,
    "one that ends itself": TOMOSIPO + "fake.operator()\n",
}

# imports once, and forks before each job; a job goes the whole way to the interpreter's own end
FORKS = """
import json, os
jobs, folder = json.load(sys.stdin), sys.argv[1]
for number, code in enumerate(jobs):
    child = os.fork()
    if child == 0:
        said = os.open(f"{folder}/{number}.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
        exec(code, globals())
        print("alive")
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def hidden():
    return {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Exit status and output of each job, by name."""
    if not hasattr(os, "fork"):
        return {
            name: (done.returncode, done.stdout + done.stderr)
            for name, code in JOBS.items()
            for done in [
                subprocess.run(
                    [sys.executable, "-c", START + code + "print('alive')"],
                    capture_output=True, text=True, env=hidden(),
                )
            ]
        }  # fmt: skip
    folder = tmp_path_factory.mktemp("jobs")
    done = subprocess.run(
        [sys.executable, "-c", START + FORKS, str(folder)], input=json.dumps(list(JOBS.values())),
        capture_output=True, text=True, env=hidden(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    statuses = map(int, done.stdout.split())
    said = [(folder / f"{number}.txt").read_text() for number in range(len(JOBS))]
    return dict(zip(JOBS, zip(statuses, said, strict=True)))


@pytest.mark.parametrize("name", list(JOBS)[:-2])
def test_every_public_call_leaves_the_process_alive(name, outcomes):
    status, said = outcomes[name]
    assert status == 0, said
    assert "alive" in said.splitlines()


def test_no_gpu_library_is_imported_by_itself(outcomes):
    assert outcomes["imports"][0] == 0, outcomes["imports"][1]


def test_a_process_that_ends_itself_would_be_noticed(outcomes):
    assert outcomes["one that ends itself"][0] == 9
