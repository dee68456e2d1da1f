"""An autoencoder given the network's output: it uses it, is sampled with it, and its collapse is
seen; its losses with features and a critic against ones written by hand."""

import copy

import pytest
import torch
from steps_by_hand import STEP_REL, assert_adam_step
from torch.distributions import Normal, kl_divergence

from analysis.numbers import collapse_alarm
from analysis.training.scores import model_figures
from ctxai.eulig2024.task import VAEGANTask
from ctxai.eulig2024.vae import EuligVAE
from ctxai.files.modules import load_module, save_module
from ctxai.files.tensors import digest_tensors
from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.vae import VAE, active_dimensions
from ctxai.sampling.draw import draw
from ctxai.sampling.model import InvarianceModel
from ctxai.training.cinn import INNTask
from ctxai.training.critic import Critic
from ctxai.training.features import VGG19Features
from ctxai.training.loop import train
from ctxai.training.vae import VAETask
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 16


def smooth(x):
    """A denoiser that is linear and known: 4 × 4 means, each pixel given its block's."""
    return torch.nn.functional.avg_pool2d(x, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)


def textures(n, generator):
    """Blocks of random level, which f keeps, with a grating of random sign, which f removes."""
    level = 30.0 * torch.randn(n, 1, SIDE // 4, SIDE // 4, generator=generator)
    level = level.repeat_interleave(4, 2).repeat_interleave(4, 3)
    sign = torch.randn(n, 1, 1, 1, generator=generator)
    grating = 1.0 - 2.0 * (torch.arange(SIDE) % 2).float()
    return level + 20.0 * sign * grating, level


def small(seed=1, **changes):
    torch.manual_seed(seed)
    options = {"shape": (SIDE, SIDE), "latent": 6, "widths": (16, 32), "scale": 30.0, "unit": ""}
    return VAE(**{**options, "condition": 1, **changes})


def gan_task(vae, sampler=textures, *, width=0.05, cut="relu2_1", channels=2, **changes):
    torch.manual_seed(7)
    critic = Critic(
        shape=vae.shape, channels=channels, width=width, offset=vae.offset, scale=vae.scale
    )
    options = {"f": smooth, "batch": 4, "lr": 1e-4, **changes}
    return VAEGANTask(vae, critic, VGG19Features(cut=cut), sampler, **options)


@pytest.fixture(scope="module")
def trained():
    """An autoencoder of six dimensions, for images of which one number is not in f(x)."""
    vae = small()
    task = VAETask(vae, textures, f=smooth, batch=32, steps=250, lr=3e-3)
    train(task, steps=250, seed=1, progress=False)
    return vae.eval().requires_grad_(False)


def test_the_output_is_used_beside_the_latent(trained):
    """17 numbers make an image, 16 of which f tells: without them six are far too few."""
    x, _ = textures(200, torch.Generator().manual_seed(2))
    rebuilt = trained.decode(trained.encode(x, smooth(x)).loc, smooth(x))
    error = (rebuilt - x).square().mean().sqrt()
    best_six = torch.linalg.svdvals(x.flatten(1))[6:].square().sum().div(x.numel()).sqrt()
    assert error < 0.2 * best_six
    # and the latent is used: without it the grating is lost
    blind = trained.decode(torch.zeros(200, 6), smooth(x))
    assert (blind - x).square().mean().sqrt() > 5.0 * error
    assert active_dimensions(trained, x, smooth(x)) >= 1


def test_the_output_decides_what_is_decoded(trained):
    """Another ŷ for the same latent gives another image, whose f is that other ŷ."""
    x, _ = textures(100, torch.Generator().manual_seed(3))
    latent = trained.encode(x, smooth(x)).loc
    other = smooth(x).roll(1, 0)
    swapped = smooth(trained.decode(latent, other))
    assert (swapped - other).square().mean() < 0.1 * (swapped - smooth(x)).square().mean()


def test_one_condition_for_all_is_each_ones(trained):
    latent, output = torch.randn(5, 6), smooth(textures(1, torch.Generator())[0])
    once = trained.decode(latent, output)
    torch.testing.assert_close(once, trained.decode(latent, output.expand(5, -1, -1, -1)))


def test_samples_with_a_condition_are_drawn_and_projected(trained):
    tap = Wiretap(smooth, "output")
    torch.manual_seed(4)
    cinn = ConditionalINN(latent=6, condition_shape=(1, SIDE, SIDE), blocks=2, hidden=32)
    task = INNTask(cinn, trained, tap, textures, batch=32, steps=150, lr=3e-3)
    train(task, steps=150, seed=1, progress=False)
    model = InvarianceModel(wiretap=tap, vae=trained, cinn=cinn.eval().requires_grad_(False))
    assert model.sampler == "cVAE_x + cINN"
    x, y = textures(8, torch.Generator().manual_seed(5))
    model.redraw = lambda image, n, seed: (
        image + torch.randn(n, *image.shape, generator=torch.Generator().manual_seed(seed))
    )
    plain = draw(model, x[0, 0], n=60, seed=1)
    projected = draw(model, x[0, 0], n=60, tolerance=1.0, seed=1)
    assert (projected.violation <= projected.tolerance * 1.0001).all()
    assert projected.violation.mean() < plain.violation.mean()
    # what f removes varies still: the grating's amplitude is N(0, 20²)
    assert 8.0 < projected.images.std(0).mean() < 32.0
    assert {"rms_v", "consistency_hu"} <= set(model_figures(model, x, y))


def test_the_alarm_goes_off_at_collapse_and_not_otherwise(trained):
    x, _ = textures(64, torch.Generator().manual_seed(6))
    vae = small()
    task = VAETask(vae, textures, f=smooth, batch=16, steps=60, kl_weight=1e4, free_bits=0.0)
    train(task, steps=60, seed=1, progress=False)
    active = active_dimensions(vae, x, smooth(x))
    assert active == 0 and "collapsed: 0 of 6" in collapse_alarm(active, vae.latent)
    assert collapse_alarm(active_dimensions(trained, x, smooth(x)), trained.latent) is None


@pytest.mark.parametrize("condition", [0, 1])
@pytest.mark.parametrize(("domain", "free_bits"), [("x", 0.0), ("y", 0.4)])
def test_a_step_is_the_one_written_by_hand(condition, domain, free_bits):
    def double(n, generator):
        x, y = textures(n, generator)
        return x.double(), y.double()

    vae = small(latent=5, condition=condition)
    f = smooth if condition else None
    task = gan_task(vae, double, free_bits=free_bits, domain=domain, f=f, channels=1 + condition)
    for network in (vae, task.critic, task.features):
        network.double()
    before, critic = copy.deepcopy(vae), copy.deepcopy(task.critic)
    first_critic = copy.deepcopy(critic)
    log = task.step(0, torch.Generator().manual_seed(5))

    def beside(image):
        return torch.cat([image, smooth(x)], 1) if condition else image

    generator = torch.Generator().manual_seed(5)
    x, y = double(4, generator)
    image, given = x if domain == "x" else y, (smooth(x),) if condition else ()
    noise = torch.randn(4, 5, generator=generator).double()
    share = torch.rand(4, 1, 1, 1, generator=generator).double()
    posterior = before.encode(image, *given)
    decoded = before.decode(posterior.loc + posterior.scale * noise, *given)
    true, made = beside(image), beside(decoded).detach()
    between = (share * true + (1 - share) * made).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty = ((30.0 * gradient).flatten(1).norm(dim=1) - 1).square().mean()
    distance = critic(true).mean() - critic(made).mean()
    down = torch.autograd.grad(10.0 * penalty - distance, list(critic.parameters()))
    assert_adam_step(task.critic, first_critic, down, 4e-4)
    assert log["penalty"] == pytest.approx(penalty.item(), rel=STEP_REL)
    assert log["wasserstein"] == pytest.approx(distance.item(), rel=STEP_REL)

    with torch.no_grad():
        for weight, slope in zip(critic.parameters(), down):
            weight -= 4e-4 * slope / (slope.abs() + 1e-8)
    l1 = ((decoded - image) / 30.0).abs().sum() / 4
    divergence = kl_divergence(posterior, Normal(torch.zeros(5), torch.ones(5))).mean(0)
    apart = (task.features(decoded) - task.features(image)).abs().mean()
    score = critic(beside(decoded)).mean()
    kl = torch.where(divergence > free_bits, divergence, free_bits).sum()
    loss = 0.00119 * l1 + 0.575 * kl + 0.121 * apart - score
    assert log["loss"] == pytest.approx(loss.item(), rel=STEP_REL)
    assert log["kl"] == pytest.approx(divergence.sum().item(), rel=STEP_REL)
    assert log["features"] == pytest.approx(apart.item(), rel=STEP_REL)
    assert_adam_step(vae, before, torch.autograd.grad(loss, list(before.parameters())), 1e-4)


@pytest.mark.parametrize("large", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_stopped_run_ends_in_the_same_bits(tmp_path, large):
    """The large networks have normalisations that keep a state of their own."""

    def run(path, stop=None):
        torch.manual_seed(1)
        vae = small(shape=(32, 32))
        if large:
            vae = EuligVAE(shape=(32, 32), latent=64, width=1, offset=0.0, scale=30.0)
        task = gan_task(vae, wide, cut="relu1_1", batch=2)
        step = task.step

        def stopping(index, generator):
            if index == stop:
                raise KeyboardInterrupt
            return step(index, generator)

        task.step = stopping
        try:
            train(task, steps=4, seed=3, checkpoint=path, every=1, progress=False)
        except KeyboardInterrupt:
            return None
        return [digest_tensors(module.state_dict()) for module in task.modules.values()]

    def wide(n, generator):
        x, y = textures(n, generator)
        return x.repeat(1, 1, 2, 2), y.repeat(1, 1, 2, 2)

    assert run(tmp_path / "stopped", stop=2) is None
    assert run(tmp_path / "stopped") == run(tmp_path / "whole")


@pytest.mark.parametrize(
    "build", [small, lambda: EuligVAE(shape=(32, 32), latent=64, width=2)], ids=["small", "large"]
)
def test_a_file_gives_the_same_network(tmp_path, build):
    vae = build()
    shape = (3, 1, *vae.shape)
    x, latent = torch.randn(shape), torch.randn(3, vae.latent)
    vae.encode(x, x), vae.decode(latent, x)  # one pass in training mode, for the statistics
    vae.eval()
    loaded, _ = load_module(save_module(tmp_path / "vae.safetensors", vae))
    assert loaded.config == vae.config and type(loaded) is type(vae)
    with torch.no_grad():
        assert torch.equal(loaded.encode(x, x).loc, vae.encode(x, x).loc)
        assert torch.equal(loaded.decode(latent, x), vae.decode(latent, x))


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: small(condition=-1), "condition"),
        (lambda: small().encode(torch.zeros(2, 1, 16, 16)), "condition"),
        (lambda: small().decode(torch.zeros(2, 6), torch.zeros(2, 1, 8, 8)), "condition"),
        (lambda: small().decode(torch.zeros(4, 6), torch.zeros(2, 1, 16, 16)), "condition"),
        (
            lambda: small(condition=0).decode(torch.zeros(2, 6), torch.zeros(2, 1, 16, 16)),
            "takes no condition",
        ),
        (lambda: VAETask(small(), textures), "needs a network"),
        (lambda: VAETask(small(condition=0), textures, f=smooth), "needs a network"),
        (lambda: EuligVAE(shape=(64, 32)), "squares"),
        (lambda: EuligVAE(shape=(96, 96)), "doubles"),
        (lambda: EuligVAE(shape=(32, 32), latent=60), "latent"),
        (lambda: Critic(channels=0), "channels"),
    ],
)
def test_bad_input_is_refused(build, word):
    with pytest.raises(DataError, match=word):
        build()
