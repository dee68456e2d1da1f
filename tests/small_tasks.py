"""One small task of each kind that is trained, for tests of what they have in common."""

import torch
from torch import nn

from ctxai.data import PatchPairs
from ctxai.denoisers import Chen
from ctxai.eulig2024.task import VAEGANTask
from ctxai.eulig2024.vae import EuligVAE
from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.flow import FlowMatching
from ctxai.representation.vae import VAE
from ctxai.training.cinn import INNTask
from ctxai.training.critic import Critic
from ctxai.training.denoiser import SupervisedTask, WganVggTask
from ctxai.training.flow import FlowTask
from ctxai.training.repair import RepairTask
from ctxai.training.vae import VAETask

STEPS = 4


class Output:
    """z is the image itself."""

    def phi(self, x):
        return x


def gan(vae, y, *, lr):
    """An autoencoder against a critic; in 64 bits, for its distance is a difference of scores."""
    y = y.double()
    pairs = PatchPairs(y + 40.0 * torch.randn(y.shape), y, patch=vae.shape[0])
    critic = Critic(shape=vae.shape, width=0.1, scale=vae.scale).double()
    return VAEGANTask(vae.double(), critic, nn.AvgPool2d(4), pairs.batch, batch=4, lr=lr)


def small_vae():
    return VAE(shape=(16, 16), latent=4, widths=(8, 8), scale=200.0)


def supervised(y, pairs):
    return SupervisedTask(Chen(), pairs, batch=4, steps=STEPS, lr=1e-3)


def wgan(y, pairs):
    critic, shrink = Critic(shape=(16, 16), width=0.1), nn.AvgPool2d(4)
    return WganVggTask(Chen(), critic, shrink, pairs, batch=4, steps=STEPS, lr=1e-3)


def vae(y, pairs):
    return VAETask(small_vae(), pairs.batch, batch=4, steps=STEPS)


def cinn(y, pairs):
    network = ConditionalINN(latent=4, condition_shape=(1, 16, 16), blocks=2, hidden=8, embedding=4)
    return INNTask(network, small_vae(), Output(), pairs.batch, batch=4, steps=STEPS)


def flow(y, pairs):
    network = FlowMatching(condition_shape=(1, 16, 16), widths=(8, 8, 8))
    return FlowTask(network, Output(), pairs.batch, batch=4, steps=STEPS)


def repair(y, pairs):
    return RepairTask(Chen(), pairs, pairs, weight=9.0, batch=4, steps=STEPS, lr=1e-3)


def with_a_critic(y, pairs):
    return gan(small_vae(), y, lr=1e-3)


def large_with_a_critic(y, pairs):
    # at a larger rate Adam turns the rounding of its smallest gradients, 1e-15, into steps
    network = EuligVAE(shape=(32, 32), latent=64, width=1, condition=0, scale=200.0)
    return gan(network, y, lr=1e-5)


LARGE = "large, with a critic"
MAKERS = {
    "supervised": supervised,
    "wgan": wgan,
    "vae": vae,
    "cinn": cinn,
    "flow": flow,
    "repair": repair,
    "with a critic": with_a_critic,
    LARGE: large_with_a_critic,
}


def task(kind):
    """The one of this kind, on patches of 16² or 32², the same at every call."""
    torch.manual_seed(1)
    y = 200.0 * torch.randn(3, 40, 40)
    return MAKERS[kind](y, PatchPairs(y + 40.0 * torch.randn(y.shape), y, patch=16))
