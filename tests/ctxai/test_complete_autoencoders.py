"""Autoencoders that hold an image: linear ones, and the spatial VAE that starts from them."""

import math

import pytest
import torch

from ctxai.representation.linear import LinearAutoencoder, cosines
from ctxai.representation.spatial_vae import SpatialVAE
from ctxai.representation.vae import active_dimensions
from ctxai.training.loop import train
from ctxai.training.vae import VAETask
from recon.errors import DataError

SIDE = 16
TOLERANCES = {
    "given back [HU]": 1e-3,  # must-value, of images to 1000 HU in 32 bits
    "posterior sd, rel": 0.02,  # of 25,600 numbers: standard error .5 %
    "variance left out, rel": 0.03,  # eigenvalues of one sample held against another of 1600 blocks
}

pytestmark = pytest.mark.usefixtures("one_thread")


def texture(n, seed=1):
    """Images of 40 HU with a correlation from pixel to pixel, around a level of 30 HU."""
    noise = torch.randn(n, 1, SIDE + 4, SIDE + 4, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1)[..., 1:-1, 1:-1]
    return 30.0 + 60.0 * smooth + 20.0 * noise[..., 2:-2, 2:-2]


@pytest.mark.parametrize("channels", [1, 2])
def test_a_complete_basis_gives_the_image_back(channels):
    linear = LinearAutoencoder(shape=(12, 20), offset=-300.0, scale=400.0, channels=channels)
    x = 1000.0 * torch.randn(3, channels, 12, 20, generator=torch.Generator().manual_seed(1))
    posterior = linear.encode(x)
    assert posterior.loc.shape == (3, channels * 240) == (3, linear.latent)
    assert float((linear.decode(posterior.loc) - x).abs().max()) < TOLERANCES["given back [HU]"]


def test_the_cosines_are_orthonormal_and_go_from_low_to_high():
    basis = cosines(4).double()
    assert torch.allclose(basis @ basis.T, torch.eye(16).double(), atol=1e-6)
    assert torch.allclose(basis[0], torch.full((16,), 0.25).double())
    changes = basis.reshape(16, 4, 4).diff(dim=1).square().sum((1, 2))
    changes += basis.reshape(16, 4, 4).diff(dim=2).square().sum((1, 2))
    assert (changes.diff() > -1.2).all() and changes[-1] == changes.max()


def test_the_posterior_is_white_noise_of_the_width_in_every_pixel():
    linear = LinearAutoencoder(shape=(SIDE, SIDE), scale=400.0, width=3.0)
    x = texture(100)
    drawn = linear.decode(linear.encode(x).sample()) - x
    assert float(drawn.std()) == pytest.approx(3.0, rel=TOLERANCES["posterior sd, rel"])
    beside = (drawn * drawn.roll(1, -1)).mean() / drawn.var()
    assert abs(float(beside)) < 0.03


@pytest.mark.parametrize("kept", [4, 10])
def test_principal_components_leave_out_the_least_variance(kept):
    """The mean square error is the sum of the eigenvalues that are not kept (Jolliffe, 2002)."""
    linear = LinearAutoencoder(shape=(SIDE, SIDE), kept=kept, offset=30.0).fit(texture(100))
    blocks = torch.nn.functional.pixel_unshuffle(texture(100, seed=2) - 30.0, 4)
    values = torch.linalg.eigvalsh(blocks.movedim(1, -1).flatten(0, 2).double().T.cov())
    left = float(values[: 16 - kept].sum()) / 16
    x = texture(100, seed=2)
    off = linear.decode(linear.encode(x).loc) - x
    assert float(off.square().mean()) == pytest.approx(
        left, rel=TOLERANCES["variance left out, rel"]
    )
    cosine = LinearAutoencoder(shape=(SIDE, SIDE), kept=kept, offset=30.0)
    assert off.square().mean() < (cosine.decode(cosine.encode(x).loc) - x).square().mean()


def spatial(**changes):
    torch.manual_seed(0)
    sizes = {"shape": (SIDE, SIDE), "latent_channels": 8, "width": 16, "noise": 4.0}
    return SpatialVAE(**(sizes | {"offset": 30.0, "scale": 50.0} | changes))


def rebuilt(vae, x, condition=None):
    with torch.no_grad():
        return float((vae.decode(vae.encode(x, condition).loc, condition) - x).square().mean())


def test_the_spatial_vae_starts_at_the_principal_components():
    vae = spatial()
    vae.fit_scales(texture(100))
    linear = LinearAutoencoder(shape=(SIDE, SIDE), kept=8, offset=30.0)
    x = texture(100, seed=2)
    error = rebuilt(linear.fit(texture(100)), x)
    assert rebuilt(vae, x) == pytest.approx(error, rel=0.01)
    posterior = vae.encode(texture(100))
    # latents of variance 1, posteriors of the variance w²/(λ + w²)
    variance = posterior.loc.reshape(100, 8, -1).var((0, 2)).tolist()
    assert variance == pytest.approx([1.0] * 8, rel=1e-3)
    assert active_dimensions(vae, x) == vae.latent == 128
    blocks = torch.nn.functional.pixel_unshuffle(texture(100) - 30.0, 4)
    values = torch.linalg.eigvalsh(blocks.movedim(1, -1).flatten(0, 2).double().T.cov()).flip(0)[:8]
    expected = (16.0 / (values + 16.0)).sqrt().tolist()
    assert posterior.scale[0].reshape(8, -1)[:, 0].tolist() == pytest.approx(expected, rel=1e-3)


def test_training_holds_more_of_an_image_than_the_same_number_of_components(record_property):
    vae = spatial(latent_channels=4)
    task = VAETask(
        vae, lambda n, g: (texture(n, int(torch.randint(2**31, (), generator=g))),) * 2,
        batch=16, steps=150, lr=4e-3, free_bits=0.0,
    )  # fmt: skip
    logs = train(task, steps=150, seed=1, progress=False)
    assert logs[-1]["loss"] < logs[0]["loss"]
    linear = LinearAutoencoder(shape=(SIDE, SIDE), kept=4, offset=30.0).fit(texture(400))
    x = texture(100, seed=2)
    ratio = math.sqrt(rebuilt(vae, x) / rebuilt(linear, x))
    record_property("rms error beside the components'", ratio)
    assert ratio < 0.97  # neighbours say something of what a block does not hold


def test_a_conditional_one_is_given_the_output():
    vae = spatial(condition=1)
    x, given = texture(4), texture(4, seed=3)
    with torch.no_grad():
        vae.decoder[-1].weight.normal_(std=0.1)
    posterior = vae.encode(x, given)
    image = vae.decode(posterior.loc, given)
    assert image.shape == x.shape
    assert not torch.allclose(vae.decode(posterior.loc, given + 20.0), image)
    assert torch.allclose(vae.decode(posterior.loc[:1], given[:1]), image[:1], atol=1e-3)
    for call in (lambda: vae.encode(x), lambda: spatial().encode(x, given)):
        with pytest.raises(DataError, match="condition"):
            call()


@pytest.mark.parametrize("make", [spatial, lambda: LinearAutoencoder(shape=(SIDE, SIDE))])
def test_other_sizes_have_the_same_weights(make):
    small = make()
    large = small.resized((24, 32))
    assert large.latent_shape[1:] == (6, 8)
    wide = torch.cat([texture(1), texture(1, seed=2)], dim=-1)
    x = torch.cat([wide, texture(1, seed=3).repeat(1, 1, 1, 2)], dim=2)[:, :, :24]
    with torch.no_grad():
        assert large.decode(large.encode(x).loc).shape == x.shape
        ours = small.encode(texture(1)).loc.reshape(small.latent_shape)[:, 0, 0]
        theirs = large.encode(x).loc.reshape(large.latent_shape)[:, 0, 0]
    assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: LinearAutoencoder(shape=(18, 16)), "shape"),
        (lambda: LinearAutoencoder(shape=(16, 16), kept=17), "kept"),
        (lambda: LinearAutoencoder(shape=(16, 16), width=0.0), "width"),
        (lambda: LinearAutoencoder(shape=(16, 16)).encode(torch.zeros(1, 1, 8, 8)), "image"),
        (lambda: LinearAutoencoder(shape=(16, 16)).decode(torch.zeros(1, 8)), "latent"),
        (lambda: spatial(shape=(18, 16)), "shape"),
        (lambda: spatial(latent_channels=17), "latent_channels"),
        (lambda: spatial(noise=0.0), "noise"),
        (lambda: spatial().encode(torch.zeros(1, 1, 8, 8)), "image"),
        (lambda: spatial().decode(torch.zeros(1, 8)), "latent"),
    ],
)
def test_what_does_not_fit_is_refused(call, where):
    with pytest.raises(DataError, match=where):
        call()
