"""The conditional invertible network: inversion, Jacobian, conditioning, size, speed."""

from itertools import pairwise

import pytest
import torch
from tolerances import CINN
from torch.distributions import Normal

from ctxai.files.modules import load_module, save_module
from ctxai.representation.cinn import ConditionalINN
from ctxai.training.cinn import INNTask
from ctxai.training.loop import train
from recon.errors import DataError

pytestmark = pytest.mark.usefixtures("one_thread")


def perturbed(cinn, seed=0):
    """A network away from its start, where every coupling is the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in cinn.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return cinn


@pytest.mark.parametrize("condition_shape", [(1, 64, 64), (32, 64, 64), (5,)])
def test_forward_and_inverse_are_inverses(condition_shape):
    torch.manual_seed(1)
    cinn = perturbed(ConditionalINN(condition_shape=condition_shape)).eval()
    latent, z = torch.randn(4, 128), torch.randn(4, *condition_shape)
    with torch.no_grad():
        v, _ = cinn(latent, z)
        assert (v - latent).abs().max() > 0.1
        assert (cinn.inverse(v, z) - latent).abs().max() < CINN["inversion"]
        assert (cinn(cinn.inverse(latent, z), z)[0] - latent).abs().max() < CINN["inversion"]


@pytest.mark.parametrize("latent", [2, 7, 8])
def test_log_determinant_is_that_of_the_jacobian(latent):
    torch.manual_seed(2)
    cinn = ConditionalINN(
        latent=latent, condition_shape=(3,), blocks=3, hidden=16, embedding=4
    ).double()
    x, z = torch.randn(5, latent).double() * 3.0, torch.randn(5, 3).double()
    cinn.fit_scales(torch.randn(64, latent).double() * 2.0 + 1.0, torch.randn(64, 3).double())
    perturbed(cinn)
    _, log_det = cinn(x, z)
    for one, condition, value in zip(x, z, log_det):
        jacobian = torch.autograd.functional.jacobian(
            lambda u, c=condition: cinn(u[None], c[None])[0][0], one
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet
        assert abs(value - expected) < CINN["log-determinant"]
        assert jacobian.abs().min() > 0  # every v depends on every latent dimension


def test_block_is_the_double_affine_coupling():
    """Half by half: x̂2 = x2·exp(ξ1(x1)) + δ1(x1), then x̂1 = x1·exp(ξ2(x̂2)) + δ2(x̂2)."""
    torch.manual_seed(3)
    cinn = ConditionalINN(latent=6, condition_shape=(2,), blocks=1, hidden=8, embedding=3)
    perturbed(cinn)
    _, permutation, first, second, _ = cinn.flow.transforms
    z, x = torch.randn(1, 2), torch.randn(1, 6)
    h = cinn.embed(z)
    assert sorted(permutation(h)(torch.arange(6.0)).tolist()) == list(range(6))

    def affine(coupling, kept, moved):
        shift, raw = coupling.hyper(torch.cat([kept, h], 1)).unflatten(1, (-1, 2)).unbind(-1)
        return moved * torch.exp(raw / (1 + raw.abs() / 2.0)) + shift

    x1, x2 = x[:, :3], x[:, 3:]
    x2 = affine(first, x1, x2)
    x1 = affine(second, x2, x1)
    assert torch.allclose(second(h)(first(h)(x)), torch.cat([x1, x2], 1), atol=1e-6)


def test_log_scales_are_bounded():
    cinn = ConditionalINN(latent=4, condition_shape=(2,), blocks=1, hidden=8, embedding=3)
    with torch.no_grad():
        for coupling in cinn.flow.transforms[2:4]:
            coupling.hyper[-1].bias.fill_(1e6)
    _, log_det = cinn(torch.zeros(1, 4), torch.zeros(1, 2))
    assert 7.9 < log_det.item() <= 8.0  # 4 dimensions, each stretched by e² at most


def test_fit_scales_normalises_condition_and_latent():
    torch.manual_seed(4)
    cinn = ConditionalINN(latent=6, condition_shape=(3, 8, 8), blocks=2, hidden=8, embedding=4)
    latent = 5.0 + 0.01 * torch.randn(256, 6)
    z = torch.randn(256, 3, 8, 8) * torch.tensor([1e-4, 300.0, 0.0]).reshape(3, 1, 1) - 1000.0
    z[:, 0] += 1000.0
    cinn.fit_scales(latent, z)
    v, _ = cinn(latent, z)
    assert v.mean(0).abs().max() < 1e-3 and (v.std(0) - 1).abs().max() < 1e-3
    seen = (z - cinn.condition_mean) / cinn.condition_scale
    assert torch.allclose(seen.std((0, 2, 3))[:2], torch.ones(2), atol=1e-3)
    assert torch.isfinite(seen).all() and seen[:, 2].abs().max() == 0  # a dead channel stays dead


def test_condition_decides_and_one_serves_all():
    torch.manual_seed(5)
    cinn = perturbed(ConditionalINN(latent=16, condition_shape=(4, 16, 16), blocks=2, hidden=16))
    v, z = torch.randn(9, 16), torch.randn(9, 4, 16, 16)
    shared = cinn.inverse(v, z[:1])
    assert torch.allclose(shared, cinn.inverse(v, z[:1].expand(9, -1, -1, -1)), atol=1e-6)
    assert (shared - cinn.inverse(v, z)).abs().amax(1)[1:].min() > 1e-3


def test_networks_of_equal_configuration_share_their_permutations():
    a, b = (ConditionalINN(latent=8, condition_shape=(2,), blocks=3) for _ in range(2))
    orders = [[t(None).order.tolist() for t in net.flow.transforms[1::4]] for net in (a, b)]
    assert orders[0] == orders[1]
    assert all(p != q for p, q in pairwise(orders[0]))


def test_small_enough_to_ship_and_survives_16_bits(tmp_path):
    torch.manual_seed(6)
    for shape in ((1, 64, 64), (32, 64, 64)):
        cinn = perturbed(ConditionalINN(condition_shape=shape)).eval()
        path = save_module(tmp_path / "cinn.safetensors", cinn, half=True)
        assert path.stat().st_size < CINN["size of a file [bytes]"]
        loaded, _ = load_module(path)
        assert loaded.config == cinn.config
        latent, z = torch.randn(3, 128), torch.randn(3, *shape)
        with torch.no_grad():
            again = loaded.inverse(loaded(latent, z)[0], z)
            gap = (loaded(latent, z)[0] - cinn(latent, z)[0]).abs().max()
        assert (again - latent).abs().max() < CINN["inversion"]
        assert gap < CINN["16 bits against 32"]


class Plane:
    """Latents of a plane with a posterior of known spread, and z = their sum."""

    def encode(self, x):
        return Normal(x[:, 0, 0], 0.2 * torch.ones(len(x), 2), validate_args=False)

    def phi(self, x):
        return x[:, 0, 0].sum(1, keepdim=True)


def pairs(n, generator):
    x = torch.randn(n, 1, 1, 2, generator=generator)
    return x, -2.0 * x


def test_training_fits_once_repeats_and_uses_the_domain():
    def fresh(domain):
        torch.manual_seed(7)
        cinn = ConditionalINN(latent=2, condition_shape=(1,), blocks=2, hidden=16, embedding=4)
        task = INNTask(cinn, Plane(), Plane(), pairs, domain=domain, batch=64, steps=60, lr=5e-3)
        logs = train(task, steps=60, seed=3, progress=False)
        return cinn, [log["loss"] for log in logs]

    cinn, losses = fresh("x")
    assert cinn.fitted
    assert sum(losses[-10:]) < sum(losses[:10])
    again, _ = fresh("x")
    for a, b in zip(cinn.state_dict().values(), again.state_dict().values()):
        assert torch.equal(a, b)
    other, _ = fresh("y")
    x, _ = pairs(500, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for net, factor in ((cinn, 1.0), (other, -2.0)):
            samples = net.inverse(torch.randn(500, 2), Plane().phi(x))
            # y = -2x: its latents sum to -2 z, those of x to z
            slope = (samples.sum(1) * Plane().phi(x)[:, 0]).mean() / Plane().phi(x).square().mean()
            assert slope == pytest.approx(factor, rel=CINN["slope against z, rel"])


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: ConditionalINN(latent=1, condition_shape=(2,)), "latent"),
        (lambda: ConditionalINN(latent=4, condition_shape=(2, 3)), "condition_shape"),
        (lambda: ConditionalINN(latent=4, condition_shape=(0,)), "condition_shape"),
        (lambda: small().embed(torch.zeros(1, 3)), "z"),
        (lambda: small()(torch.zeros(2, 5), torch.zeros(2, 2)), "latent"),
        (lambda: small().inverse(torch.zeros(3, 4), torch.zeros(2, 2)), "v"),
        (lambda: INNTask(small(), Plane(), Plane(), pairs, domain="z", steps=1), "domain"),
    ],
)
def test_bad_input_is_refused(build, word):
    with pytest.raises(DataError, match=word):
        build()


def small():
    return ConditionalINN(latent=4, condition_shape=(2,), blocks=1, hidden=8, embedding=3)
