"""16 bits where they are meant to be, and nowhere else."""

import pytest
import torch

from ctxai.data import PatchPairs
from ctxai.denoisers import Chen
from ctxai.precision import mixed, sixteen_bits
from ctxai.representation.flow import FlowMatching
from ctxai.sampling import fibre
from ctxai.training.flow import FlowTask
from ctxai.training.loop import train
from ctxai.weights.sets import SHIPPED
from ctxai.wiretap.wiretap import Wiretap


def test_a_cpu_keeps_32_bits() -> None:
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    with mixed(x):
        assert torch.equal(x @ x, torch.matmul(x, x))
        assert (x @ x).dtype == torch.float32


def test_samples_in_16_bits_are_those_of_32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SHIPPED.load_model("chen", "output", "x", sampler="flow")
    v = torch.randn(4, model.latent, generator=torch.Generator().manual_seed(1))
    z = model.represent(20 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(2)))
    samples = {}
    for able in (False, True):
        monkeypatch.setattr("ctxai.precision._multiplies_bfloat16", lambda able=able: able)
        with sixteen_bits(v):
            assert (v @ v.T).dtype == (torch.bfloat16 if able else torch.float32)
        samples[able] = model.generate(v, z)
        assert samples[able].dtype == torch.float32
    gap = (samples[True] - samples[False]).square().mean().sqrt()
    assert 0 < float(gap) < 1.0  # HU; measured .5 and .6, where a projected sample may be 3 off


def test_a_projection_steps_in_16_bits_and_measures_in_32(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    f = SHIPPED.load("chen")[0]
    x = 30.0 * torch.randn(4, 1, 32, 32, generator=generator)
    z, found, steps = f(x[:1]), {}, set()
    step = fibre._gauss_newton_step

    def watched(times_j, times_jt, *rest):
        steps.add(torch.is_autocast_enabled("cpu"))
        return step(times_j, times_jt, *rest)

    monkeypatch.setattr(fibre, "_gauss_newton_step", watched)
    for able in (False, True):
        monkeypatch.setattr("ctxai.precision._multiplies_bfloat16", lambda able=able: able)
        found[able] = fibre.project_to_fibre(f, x[1:], z, tolerance=2.0)
        assert steps == ({False} if not able else {False, True})
        assert found[able].x.dtype == torch.float32 and found[able].converged.all()
        measured = fibre.rms(f(found[able].x) - z)
        assert torch.allclose(measured, found[able].residual, rtol=1e-4)
    gap = fibre.rms(found[True].x - found[False].x)
    assert (gap > 0).all() and (gap < 0.2).all()  # HU, of a move by some 20


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_flow_learns_in_16_bits_on_a_gpu() -> None:
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(1)).cuda()
    f = Chen().cuda().requires_grad_(False)

    def loss(kind: str) -> list[float]:
        torch.manual_seed(2)
        flow = FlowMatching(condition_shape=(1, 32, 32), widths=(8, 8, 8)).to(kind)
        pairs = PatchPairs(*(40 * side.to(kind) for side in noise), patch=32)
        task = FlowTask(flow, Wiretap(f.to(kind), "output"), pairs.batch, batch=8, steps=30)
        logs = train(task, steps=30, seed=3, progress=False)
        assert {weight.dtype for weight in flow.parameters()} == {torch.float32}
        return [log["loss"] for log in logs]

    slow, fast = loss("cpu"), loss("cuda")
    # other draws of the same noise; of 30 losses the mean differs by 2 %, as between two seeds
    assert sum(fast) == pytest.approx(sum(slow), rel=0.1)
    assert fast[-1] < 0.8 * fast[0]
