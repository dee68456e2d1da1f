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


def tasks():
    """One of each kind, on patches of 16²."""
    torch.manual_seed(1)
    y = 200.0 * torch.randn(3, 40, 40)
    pairs = PatchPairs(y + 40.0 * torch.randn(y.shape), y, patch=16)
    vae = VAE(shape=(16, 16), latent=4, widths=(8, 8), scale=200.0)
    cinn = ConditionalINN(latent=4, condition_shape=(1, 16, 16), blocks=2, hidden=8, embedding=4)
    flow = FlowMatching(condition_shape=(1, 16, 16), widths=(8, 8, 8))
    shrink = nn.AvgPool2d(4)
    critic = Critic(shape=(16, 16), width=0.1)
    return {
        "supervised": SupervisedTask(Chen(), pairs, batch=4, steps=STEPS, lr=1e-3),
        "wgan": WganVggTask(Chen(), critic, shrink, pairs, batch=4, steps=STEPS, lr=1e-3),
        "vae": VAETask(vae, pairs.batch, batch=4, steps=STEPS),
        "cinn": INNTask(cinn, vae, Output(), pairs.batch, batch=4, steps=STEPS),
        "flow": FlowTask(flow, Output(), pairs.batch, batch=4, steps=STEPS),
        "repair": RepairTask(Chen(), pairs, pairs, weight=9.0, batch=4, steps=STEPS, lr=1e-3),
        "with a critic": gan(VAE(shape=(16, 16), latent=4, widths=(8, 8), scale=200.0), y, lr=1e-3),
        # at a larger rate Adam turns the rounding of its smallest gradients, 1e-15, into steps
        "large, with a critic": gan(
            EuligVAE(shape=(32, 32), latent=64, width=1, condition=0, scale=200.0), y, lr=1e-5
        ),
    }


def gan(vae, y, *, lr):
    """An autoencoder against a critic; in 64 bits, for its distance is a difference of scores."""
    y = y.double()
    pairs = PatchPairs(y + 40.0 * torch.randn(y.shape), y, patch=vae.shape[0])
    critic = Critic(shape=vae.shape, width=0.1, scale=vae.scale).double()
    return VAEGANTask(vae.double(), critic, nn.AvgPool2d(4), pairs.batch, batch=4, lr=lr)
