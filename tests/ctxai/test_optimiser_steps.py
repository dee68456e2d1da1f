"""One optimiser step of each sampler's loss equals one written by hand, in 64 bits.

The steps of the denoisers' losses are in test_denoiser_tasks, those of the autoencoder's with a
critic in test_conditional_vae, those of a repair in test_repair_task.
"""

import copy
import math

import pytest
import torch
from steps_by_hand import STEP_REL, assert_adam_step, clipped
from torch.nn import functional

from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.flow import FlowMatching
from ctxai.representation.vae import VAE
from ctxai.training.cinn import INNTask
from ctxai.training.flow import FlowTask
from ctxai.training.loop import one_cycle
from ctxai.training.vae import VAETask

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, BATCH, STEPS, LR = 8, 5, 40, 2e-3
RATE = one_cycle(0, STEPS, LR)


def pairs(n, generator):
    """White images of 40 HU around 60 HU, and y = x/2, in 64 bits."""
    x = 60.0 + 40.0 * torch.randn(n, 1, SIDE, SIDE, generator=generator).double()
    return x, 0.5 * x


class Halves:
    """A layer of 2 channels of the image's size; its output is their mean."""

    def phi(self, x):
        return torch.cat([x, x.roll(1, -1)], 1)

    def psi(self, z):
        return z.mean(1, keepdim=True)


def streams():
    """The generator of a step, and one that draws the same."""
    return torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)


def gradients_of(loss, network):
    return list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("domain", ["x", "y"])
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("free", [False, True])
def test_of_an_autoencoder(domain, conditional, free):
    """½ log mse + w Σ max(b, KL)/D, the KL of a normal distribution written out."""
    torch.manual_seed(1)
    vae = VAE(shape=(SIDE, SIDE), latent=6, widths=(8,), scale=50.0, condition=int(conditional))
    vae, f = vae.double(), (lambda x: x.roll(1, -2)) if conditional else None
    before = copy.deepcopy(vae)
    first, again = streams()

    x, y = pairs(BATCH, again)
    image, noise = x if domain == "x" else y, torch.randn(BATCH, 6, generator=again).double()
    given = (f(x),) if conditional else ()
    posterior = before.encode(image, *given)
    decoded = before.decode(posterior.loc + posterior.scale * noise, *given)
    mse = (((decoded - image) / 50.0) ** 2).sum() / image.numel()
    mean, variance = posterior.loc, posterior.scale**2
    kl = (0.5 * (mean**2 + variance - variance.log() - 1.0)).sum(0) / BATCH
    bits = float(kl.detach().median()) + 1e-6 if free else 0.0
    held = kl.detach() < bits
    assert held.sum() == 3 * free
    loss = 0.5 * (mse + 1e-8).log() + 0.7 * torch.where(held, bits, kl).sum() / SIDE**2

    task = VAETask(
        vae, pairs, f=f, domain=domain, batch=BATCH, steps=STEPS, lr=LR, kl_weight=0.7,
        free_bits=bits,
    )  # fmt: skip
    log = task.step(0, first)
    assert log["loss"] == pytest.approx(loss.item(), rel=STEP_REL)
    assert log["rmse"] == pytest.approx(50.0 * math.sqrt(mse.item()), rel=STEP_REL)
    assert log["kl"] == pytest.approx(kl.sum().item(), rel=STEP_REL)
    assert_adam_step(vae, before, clipped(gradients_of(loss, before), 5.0), RATE)


@pytest.mark.parametrize("domain", ["x", "y"])
def test_of_an_invertible_network(domain):
    """(½‖v‖² - log|det|)/d of posterior samples, the determinant from the Jacobian itself."""
    torch.manual_seed(2)
    vae = VAE(shape=(SIDE, SIDE), latent=4, widths=(8,), scale=50.0, condition=1).double()
    cinn = ConditionalINN(latent=4, condition_shape=(2, SIDE, SIDE), blocks=2, hidden=8,
                          embedding=4).double()  # fmt: skip
    with torch.no_grad():  # away from the start, where every coupling is the identity
        for weight in cinn.parameters():
            weight += 0.05 * torch.randn(weight.shape)
        cinn.fit_scales(torch.randn(64, 4).double(), Halves().phi(pairs(64, streams()[0])[0]))
    before = copy.deepcopy(cinn)
    task = INNTask(
        cinn, vae, Halves(), pairs, domain=domain, batch=BATCH, steps=STEPS, lr=LR
    )  # fmt: skip
    first, again = streams()
    log = task.step(0, first)

    x, y = pairs(BATCH, again)
    z = Halves().phi(x)
    with torch.no_grad():
        posterior = vae.encode(x if domain == "x" else y, Halves().psi(z))
    latent = posterior.loc + posterior.scale * torch.randn(BATCH, 4, generator=again).double()
    loss = 0.0
    for one, seen in zip(latent.split(1), z.split(1)):
        v = before(one, seen)[0]
        jacobian = torch.autograd.functional.jacobian(
            lambda u, seen=seen: before(u[None], seen)[0][0], one[0], create_graph=True
        )
        loss = loss + 0.5 * (v**2).sum() - torch.linalg.slogdet(jacobian).logabsdet
    loss = loss / BATCH / 4
    assert log["loss"] == pytest.approx(loss.item(), rel=STEP_REL)
    assert_adam_step(cinn, before, clipped(gradients_of(loss, before), 5.0), RATE)


@pytest.mark.parametrize("domain", ["x", "y"])
def test_of_a_flow(domain):
    """‖w(u_t, t, z) - (u₁ - v)‖², times stratified over the batch."""
    torch.manual_seed(3)
    flow = FlowMatching(condition_shape=(2, SIDE, SIDE), widths=(16, 16, 16)).double()
    with torch.no_grad():
        for weight in flow.parameters():
            weight += 0.05 * torch.randn(weight.shape)
    many, other = pairs(64, streams()[0])
    flow.fit_scales(many if domain == "x" else other, Halves().phi(many))
    flow.scale.fill_(7.0)  # a linear law leaves nothing: u₁ would be rounding
    flow.bias += 3.0
    before = copy.deepcopy(flow)
    task = FlowTask(flow, Halves(), pairs, domain=domain, batch=BATCH, steps=STEPS, lr=LR)
    first, again = streams()
    log = task.step(0, first)

    x, y = pairs(BATCH, again)
    z, image = Halves().phi(x), x if domain == "x" else y
    noise = torch.randn(image.shape, generator=again).double()
    t = ((torch.arange(BATCH) + torch.rand(BATCH, generator=again)) / BATCH).double()
    seen = (z - before.condition_mean) / before.condition_scale
    guess = functional.conv2d(seen, before.filters, before.bias, padding=2)
    end = (image - guess) / 7.0
    share = t.reshape(-1, 1, 1, 1)
    velocity = before.velocity(
        share * end + (1.0 - share) * noise, t, before.condition(z)
    )  # fmt: skip
    loss = ((velocity - (end - noise)) ** 2).sum() / image.numel()
    assert log["loss"] == pytest.approx(loss.item(), rel=STEP_REL)
    assert_adam_step(flow, before, clipped(gradients_of(loss, before), 1.0), RATE)
