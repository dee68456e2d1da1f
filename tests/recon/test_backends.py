"""Which backend is chosen and why, and that each can be had or says what to use instead."""

import os
import platform
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.backends import BACKENDS, astra, make_backend, tomosipo
from recon.engine import simd
from recon.errors import BackendUnavailable, DataError
from recon.geometry import FanBeam, ImageGrid, ParallelBeam
from recon.operator import operator

ANGLES = np.arange(24) * (2 * np.pi / 24)
FAN = FanBeam(angles=ANGLES, n_cols=32, col_pitch=4.0, src_iso=200.0, src_det=400.0)
FLAT = FanBeam(
    angles=ANGLES, n_cols=32, col_pitch=4.0, src_iso=200.0, src_det=400.0, detector="flat"
)
PARALLEL = ParallelBeam(angles=ANGLES[:12], n_cols=32, col_pitch=2.0)
GRID = ImageGrid(shape=(16, 16), spacing=(2.0, 2.0))

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


def test_auto_goes_by_the_input_and_says_why():
    A = operator(FAN, GRID)
    assert A.backend == "numba"
    assert "CPU" in A.reason
    A(torch.zeros(GRID.shape))
    assert A.backend == "numba"
    assert "CPU" in A.reason
    assert "numba" in repr(A)
    assert operator(FAN, GRID, backend="reference").reason == "asked for"


def test_finite_values_are_taken_though_their_sum_is_not():
    x = torch.zeros(GRID.shape)
    x[0, 0] = x[8, 8] = x[15, 3] = 1.5e38
    assert not torch.isfinite(x.sum())
    operator(PARALLEL, GRID)(x)
    x[4, 4] = float("inf")
    with pytest.raises(DataError, match="1 of 256 not finite"):
        operator(PARALLEL, GRID)(x)


def test_unknown_backends_are_refused_by_name():
    with pytest.raises(DataError, match=r"'numba'.*'astra'.*got 'cuda'"):
        operator(FAN, GRID, backend="cuda")


def test_what_is_no_name_is_refused_too():
    for wrong in (None, 3, ["numba"]):
        with pytest.raises(DataError, match="unknown backend"):
            operator(FAN, GRID, backend=wrong)
    with pytest.raises(DataError, match=r"geometry is not one.*Geometry.*ImageGrid"):
        operator(GRID, FAN)


@no_cuda
@pytest.mark.parametrize("name", ["astra", "tomosipo"])
def test_a_backend_that_cannot_run_says_what_to_use_instead(name):
    with pytest.raises(BackendUnavailable, match=f"backend '{name}' cannot run here.*; "):
        operator(FLAT, GRID, backend=name)


def test_an_old_tomosipo_is_refused_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "tomosipo", types.SimpleNamespace(__version__="0.6.0"))
    with pytest.raises(BackendUnavailable, match=r"0\.6\.0.*cicwi/tomosipo@v0\.7\.0"):
        make_backend("tomosipo", FLAT, GRID)


def test_an_old_astra_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "astra", types.SimpleNamespace(__version__="2.1.3"))
    with pytest.raises(BackendUnavailable, match=r"2\.1\.3.*backend='numba'"):
        make_backend("astra", FAN, GRID)


@pytest.mark.parametrize("beam", [FLAT, PARALLEL], ids=["flat", "parallel"])
def test_both_gpu_libraries_are_told_of_the_same_rays_and_pixels(beam, monkeypatch):
    """Off centre, oblong pixels, a shifted detector; tomosipo counts axes as z, y, x."""
    told = {}
    names = "volume", "cone_vec", "parallel_vec"
    fake = {name: lambda name=name, **how: told.update({name: how}) for name in names}
    monkeypatch.setitem(sys.modules, "tomosipo", types.SimpleNamespace(__version__="0.7.0", **fake))
    beam = replace(beam, col_offset=3.5)
    grid = ImageGrid(shape=(10, 16), spacing=(3.0, 2.0), centre=(5.0, -7.0))
    tomosipo.to_tomosipo(beam, grid)
    window = astra.volume_geometry(grid)["option"]
    edges = [(window[f"WindowMin{axis}"], window[f"WindowMax{axis}"]) for axis in "ZYX"]
    assert edges == [(-0.5, 0.5), (-7.0 - 15.0, -7.0 + 15.0), (5.0 - 16.0, 5.0 + 16.0)]
    assert told["volume"]["pos"] == tuple(np.mean(edges, axis=1))
    assert told["volume"]["size"] == tuple(high - low for low, high in edges)
    cone, parallel = told.get("cone_vec"), told.get("parallel_vec")
    ours = astra.projection_geometry(beam)["Vectors"].reshape(-1, 4, 3)[..., ::-1]
    theirs = [cone["src_pos"]] if cone else [parallel["ray_dir"]]
    theirs += [(cone or parallel)[name] for name in ("det_pos", "det_u", "det_v")]
    np.testing.assert_allclose(np.stack(theirs, axis=1), ours, atol=1e-9)


def test_every_backend_has_the_same_face():
    for name in ("numba", "reference"):
        backend = make_backend(name, PARALLEL, GRID)
        assert backend.name == name
        for method in ("forward", "adjoint", "fbp", "fbp_transpose"):
            assert callable(getattr(backend, method))
    assert set(BACKENDS) == {"numba", "reference", "torch", "astra", "tomosipo"}


def test_the_narrowest_vector_that_holds_the_stack_is_taken():
    assert [simd.width_for(n) for n in (1, 2, 15, 16, 40)] == [1, 16, 16, 16, 16]


class StandIn:
    """ASTRA's 3D projectors by name and rules, but ours inside: no GPU is needed."""

    def __init__(self, geometry):
        self.A = operator(geometry, GRID)
        self.deleted = []

    def create(self, description):
        self.kernel = description["ProjectionKernel"]
        return 7

    def direct_FP(self, made, volume, out):
        self.hand_over(made, self.A, volume, out)

    def direct_BP(self, made, rays, out):
        self.hand_over(made, self.A.T, rays, out)

    def hand_over(self, made, job, given, out):
        assert made == 7
        for tensor in (given, out):
            assert tensor.is_contiguous()
            assert tensor.dtype == torch.float32
            assert not tensor.requires_grad
        assert len(given) == len(out) == 1  # one slice, one row of the detector
        out.copy_(job(given))

    def delete(self, made):
        self.deleted.append(made)


@pytest.mark.parametrize("geometry", [FAN, FLAT, PARALLEL], ids=["arc", "flat", "parallel"])
def test_astra_is_handed_what_it_takes_slice_by_slice(monkeypatch, geometry):
    inside = StandIn(geometry)
    monkeypatch.setattr(astra, "_astra", lambda: types.SimpleNamespace(projector3d=inside))
    backend = astra.AstraBackend(geometry, GRID)
    assert inside.kernel == ("matched_bp" if geometry is FAN else "2d_weighting")
    x = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    x = x.transpose(1, 2).requires_grad_()
    p = inside.A(x.detach())
    # a slice and a stack go through kernels of different widths, which may round differently
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(backend.forward(x), p, **close)
    torch.testing.assert_close(backend.adjoint(p.requires_grad_()), inside.A.T(p).detach(), **close)
    p = p.detach()
    torch.testing.assert_close(backend.fbp(p, "hann"), inside.A.fbp(p, "hann"), rtol=0, atol=1e-5)
    del backend
    assert inside.deleted == [7]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("geometry", [FAN, FLAT, PARALLEL], ids=["arc", "flat", "parallel"])
def test_astra_agrees_with_the_cpu(geometry):
    x = torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    x = torch.nn.functional.avg_pool2d(x, 9, 1)[:, 0]
    slow, fast = operator(geometry, GRID), operator(geometry, GRID, backend="astra")
    p = slow(x)
    # for an arc ASTRA has the transpose of its own projector; elsewhere it interpolates rays to
    # pixels, 1.8 (flat) and 2.3 % (parallel) away on pixels as coarse as these
    transpose = 2e-2 if geometry is FAN else 3e-2
    for ours, theirs, bound in (
        (p, fast(x.cuda()), 2e-2),
        (slow.T(p), fast.T(p.cuda()), transpose),
        (slow.fbp(p), fast.fbp(p.cuda()), 2e-2),
    ):
        assert float((theirs.cpu() - ours).norm() / ours.norm()) < bound


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_transpose_of_an_arc_is_exact_on_a_gpu():
    fast = operator(FAN, GRID, backend="astra")
    signed = torch.Generator().manual_seed(1)
    x = torch.randn(GRID.shape, generator=signed).cuda()
    p = torch.randn(FAN.shape, generator=signed).cuda()
    forward, back = fast(x).double(), fast.T(p).double()
    gap = (forward * p).sum() - (x * back).sum()
    assert float(gap.abs() / (forward.norm() * p.norm())) < 1e-4  # texture weights have 8 bits


OLDER = """
import torch
from recon.geometry import FanBeam, ImageGrid
from recon.operator import operator
import numpy as np
fan = FanBeam(angles=np.arange(24) * (2 * np.pi / 24), n_cols=32, col_pitch=4.0, src_iso=200.0,
              src_det=400.0)
grid = ImageGrid(shape=(16, 16), spacing=(2.0, 2.0))
x = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(1))
A, B = operator(fan, grid), operator(fan, grid, backend="reference")
for ours, theirs in ((A(x), B(x.double())), (A.T(A(x)), B.T(B(x.double()))),
                     (A.fbp(A(x)), B.fbp(B(x.double())))):
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5
"""


@pytest.mark.slow
def test_processors_without_avx512_give_the_same_result(tmp_path):
    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        pytest.skip(f"compiles for x86, and this is {machine}")
    older = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,-avx512f"}
    environment = {**os.environ, **older, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OLDER], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_cuda_tensors_get_plain_torch_where_astra_cannot_run() -> None:
    pytest.importorskip("astra")
    if torch.cuda.is_available():
        pytest.skip("ASTRA may run")
    A = operator(FAN, GRID)
    A._choose(torch.device("cuda"))
    assert A.backend == "torch" and "'astra' cannot run here" in A.reason


@pytest.mark.parametrize("geometry", [FAN, FLAT, PARALLEL])
def test_plain_torch_is_the_reference_in_single_precision(geometry) -> None:
    single, double = (operator(geometry, GRID, backend=name) for name in ("torch", "reference"))
    mu = torch.rand(3, *GRID.shape, generator=torch.Generator().manual_seed(2))
    p = double(mu.double())
    for found, expected in (
        (single(mu), p),
        (single.T(p.float()), double.T(p)),
        (single.fbp(p.float(), "hann"), double.fbp(p, "hann")),
    ):
        assert found.dtype == torch.float32
        assert float((found - expected).norm() / expected.norm()) < 1e-6
