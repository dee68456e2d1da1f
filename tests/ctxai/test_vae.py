"""The variational autoencoder: shapes and units, its loss against closed forms, no collapse."""

import math

import pytest
import tolerances
import torch
from torch.distributions import Normal, kl_divergence

from ctxai.files.modules import load_module, save_module
from ctxai.representation.vae import VAE, active_dimensions, kl_per_dimension
from ctxai.training.loop import train
from ctxai.training.vae import VAETask
from recon.errors import DataError

pytestmark = pytest.mark.usefixtures("one_thread")


def disc_sampler(side, *, level=40.0, noise=5.0):
    """Off-centre ellipses of random place, size and level, and their noisy twins."""
    rows, cols = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")

    def sample(n, generator):
        u = torch.rand(n, 5, 1, 1, generator=generator)
        row, col = side * (0.3 + 0.4 * u[:, 0]), side * (0.2 + 0.4 * u[:, 1])
        a, b = side * (0.1 + 0.2 * u[:, 2]), side * (0.15 + 0.1 * u[:, 3])
        inside = ((rows - row) / a) ** 2 + ((cols - col) / b) ** 2
        y = (level * (1 + u[:, 4]) * torch.sigmoid(4 * (1 - inside)))[:, None]
        return y + noise * torch.randn(y.shape, generator=generator), y

    return sample


@pytest.mark.parametrize(
    ("shape", "channels", "widths"),
    [
        ((64, 64), 1, (32, 64, 128, 128)),
        ((8, 8), 1, (8, 16, 32)),  # halved once only
        ((16, 24), 2, (8, 8)),
    ],
)
def test_shapes(shape, channels, widths):
    vae = VAE(shape=shape, channels=channels, latent=10, widths=widths)
    posterior = vae.encode(torch.randn(3, channels, *shape))
    assert isinstance(posterior, Normal)
    assert posterior.loc.shape == posterior.scale.shape == (3, 10)
    assert (posterior.scale > 0).all()
    assert vae.decode(posterior.rsample()).shape == (3, channels, *shape)


def test_normalisation_is_inside():
    """Images in another unit, with offset and scale to match, have the same representation."""
    torch.manual_seed(1)
    hu = VAE(shape=(16, 16), latent=6, widths=(8, 16), offset=-400.0, scale=450.0)
    plain = VAE(shape=(16, 16), latent=6, widths=(8, 16), unit="")
    plain.load_state_dict(hu.state_dict())
    image = torch.randn(2, 1, 16, 16)
    assert torch.allclose(hu.encode(450.0 * image - 400.0).loc, plain.encode(image).loc, atol=1e-5)
    latent = torch.randn(2, 6)
    assert torch.allclose(hu.decode(latent), 450.0 * plain.decode(latent) - 400.0, atol=1e-3)


def test_level_of_a_homogeneous_patch_is_represented():
    torch.manual_seed(2)
    vae = VAE(shape=(32, 32), latent=16, widths=(16, 32), offset=-400.0, scale=450.0)
    soft, fat = torch.full((1, 1, 32, 32), 50.0), torch.full((1, 1, 32, 32), -100.0)
    assert (vae.encode(soft).loc - vae.encode(fat).loc).abs().max() > 1e-2


def test_divergence_is_that_of_torch():
    posterior = Normal(torch.randn(7, 5), torch.rand(7, 5) + 0.1)
    expected = kl_divergence(posterior, Normal(torch.zeros(5), torch.ones(5))).mean(0)
    assert torch.allclose(kl_per_dimension(posterior), expected, atol=1e-5)


def test_loss_of_the_first_step_is_the_evidence_bound():
    """½ log mse + KL/D, with the Gaussian likelihood at the variance that fits best."""
    torch.manual_seed(3)
    vae = VAE(shape=(8, 8), latent=4, widths=(8,), scale=50.0, unit="")
    vae_before = VAE(shape=(8, 8), latent=4, widths=(8,), scale=50.0, unit="")
    vae_before.load_state_dict(vae.state_dict())
    task = VAETask(vae, disc_sampler(8), batch=6, steps=10, kl_weight=0.7, free_bits=0.0)
    log = task.step(0, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    x, _ = disc_sampler(8)(6, generator)
    posterior = vae_before.encode(x)
    latent = posterior.loc + posterior.scale * torch.randn(6, 4, generator=generator)
    mse = ((vae_before.decode(latent) - x) / 50.0).square().mean().detach()
    kl = kl_per_dimension(posterior).sum().detach()
    rel = tolerances.VAE["logs of a step, rel"]
    assert log["loss"] == pytest.approx(float(0.5 * mse.log() + 0.7 * kl / 64), rel=rel)
    assert log["rmse"] == pytest.approx(50.0 * math.sqrt(float(mse)), rel=rel)
    assert log["kl"] == pytest.approx(float(kl), rel=rel)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(4)
    vae = VAE(shape=(16, 16), latent=12, widths=(16, 32), offset=30.0, scale=30.0, unit="")
    task = VAETask(vae, disc_sampler(16), batch=32, steps=400, lr=3e-3)
    logs = train(task, steps=400, seed=1, progress=False)
    return vae.eval(), logs


def test_training_represents_the_image_and_not_the_noise(trained):
    vae, _ = trained
    x, y = disc_sampler(16)(200, torch.Generator().manual_seed(99))
    with torch.no_grad():
        decoded = vae.decode(vae.encode(x).loc)
    spread = (y - y.mean(0)).square().mean().sqrt()
    error = (decoded - y).square().mean().sqrt()
    assert error < tolerances.VAE["reconstruction error, rel"] * spread
    # five numbers make an image: they are represented, and the noise does not take the rest
    assert 4 <= active_dimensions(vae, x) <= 12


def test_training_beats_the_collapsed_autoencoder(trained):
    _, logs = trained
    late = logs[-20:]
    assert sum(log["kl"] for log in late) / 20 > 5.0
    assert sum(log["rmse"] for log in late) < 0.5 * sum(log["rmse"] for log in logs[:20])


def test_collapse_is_seen():
    torch.manual_seed(6)
    vae = VAE(shape=(16, 16), latent=9, widths=(8, 16), scale=30.0)
    x, _ = disc_sampler(16)(64, torch.Generator().manual_seed(1))
    with torch.no_grad():
        vae.encoder[-1].weight[:7] = 0.0  # two of the nine means still move
        vae.encoder[-1].weight[7:9] *= 10.0
    assert active_dimensions(vae, x) == 2


def test_domain_y_trains_on_the_other_image():
    seen = []

    def sampler(n, generator):
        x = torch.zeros(n, 1, 8, 8)
        seen.append(n)
        return x, x + 100.0

    vae = VAE(shape=(8, 8), latent=2, widths=(8,), offset=100.0)
    log = VAETask(vae, sampler, domain="y", batch=3, steps=5).step(0, torch.Generator())
    assert seen == [3] and log["rmse"] < 10.0  # about 0 after the offset; x would give 100


def test_small_enough_to_ship(tmp_path):
    vae = VAE(offset=-400.0, scale=450.0)
    path = save_module(tmp_path / "vae.safetensors", vae, half=True)
    assert path.stat().st_size < tolerances.VAE["size of a file [bytes]"]
    loaded, _ = load_module(path)
    assert loaded.config == vae.config and loaded.shape == (64, 64)


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: VAE(shape=(9, 9)), "shape"),
        (lambda: VAE(shape=(4, 4)), "shape"),
        (lambda: VAE(scale=0.0), "scale"),
        (lambda: VAE().encode(torch.zeros(1, 1, 32, 32)), "autoencoder"),
        (lambda: VAE().encode(torch.zeros(64, 64)), "autoencoder"),
        (lambda: VAE().decode(torch.zeros(1, 5)), "latent"),
        (lambda: active_dimensions(VAE(), torch.zeros(1, 1, 64, 64)), "images"),
        (lambda: VAETask(VAE(), disc_sampler(64), domain="both", steps=1), "domain"),
    ],
)
def test_bad_input_is_refused(build, word):
    with pytest.raises(DataError, match=word):
        build()
