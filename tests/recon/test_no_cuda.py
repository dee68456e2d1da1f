"""Where there is no CUDA device, no public call ends the process: each runs in one of its own.

ASTRA's 3D calls and tomosipo's operators kill the interpreter there, which no handler can catch, so
only the exit status tells.
"""

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
    assert torch.isfinite(A.fbp(p.detach(), extrapolated=True)).all()
    assert A.backend in ("numba", "reference") and A.reason and repr(A)
    for wrong in (mu.to("meta"), mu.detach().numpy(), mu[0, 0]):
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
        tomosipo.from_tomosipo(*tomosipo.to_tomosipo(geometry, grid))
    except (BackendUnavailable, DataError) as error:
        assert str(error)
assert astra.volume_geometry(grid)["GridSliceCount"] == 1
"""


def run(code):
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, "-c", START + code + "print('alive')"],
        capture_output=True,
        text=True,
        env=hidden,
    )


@pytest.mark.parametrize(
    "code",
    [
        RUNS.format(name="auto"),
        RUNS.format(name="numba"),
        RUNS.format(name="reference"),
        REFUSES.format(name="astra"),
        HALF + REFUSES.format(name="astra"),
        REFUSES.format(name="tomosipo"),
        TOMOSIPO + REFUSES.format(name="tomosipo"),
        TOMOSIPO + HALF + REFUSES.format(name="tomosipo"),
        GEOMETRIES,
    ],
    ids=[
        "auto",
        "numba",
        "reference",
        "astra",
        "astra that cannot use what torch sees",
        "no tomosipo",
        "tomosipo",
        "tomosipo over such an astra",
        "geometries",
    ],
)
def test_every_public_call_leaves_the_process_alive(code):
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("alive\n")


def test_a_process_that_ends_itself_would_be_noticed():
    assert run(TOMOSIPO + "fake.operator()\n").returncode == 9
