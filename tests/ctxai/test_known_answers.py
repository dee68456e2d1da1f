"""Cases in which the distribution of the invariances is known in closed form.

Gaussian images behind a linear low-pass: x ~ N(0, Σ) on 8×8 pixels with exponential covariance, the
"denoiser" B takes 2×2 means, and the complete representation is z̄ = E x + 0.3 ε with whitening E.
Then z̄ given z = B x is normal with mean E Σ Bᵀ (B Σ Bᵀ)⁻¹ z and covariance E C Eᵀ + 0.09 I, where
C = Σ - Σ Bᵀ (B Σ Bᵀ)⁻¹ B Σ.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tolerances import KNOWN_ANSWERS
from torch.distributions import Normal

from ctxai.representation.cinn import ConditionalINN
from ctxai.sampling.draw import draw
from ctxai.sampling.model import InvarianceModel
from ctxai.training.cinn import INNTask
from ctxai.training.loop import train

SIDE, PIXELS, SPREAD = 8, 64, 0.3
STEPS, BATCH = 500, 256

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class GaussianCase:
    """Images, representation and low-pass; plays the autoencoder and the wiretap alike."""

    spread: float = SPREAD

    # what a sampler asks of an autoencoder
    latent, channels, shape, unit = PIXELS, 1, (SIDE, SIDE), ""
    layer = "output"

    def __post_init__(self):
        place = np.stack(np.mgrid[:SIDE, :SIDE], -1).reshape(-1, 2)
        distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
        self.sigma = np.exp(-distance / 2.0) + 0.05 * np.eye(PIXELS)
        blocks = np.kron(np.eye(SIDE // 2), np.full((1, 2), 0.5))
        self.low_pass = np.kron(blocks, blocks)
        values, vectors = np.linalg.eigh(self.sigma)
        self.whiten = (vectors / np.sqrt(values)).T
        self.colour = vectors * np.sqrt(values)
        seen = self.low_pass @ self.sigma @ self.low_pass.T
        gain = self.sigma @ self.low_pass.T @ np.linalg.inv(seen)
        left = self.sigma - gain @ self.low_pass @ self.sigma
        self.mean_given_z = self.whiten @ gain
        self.covariance_given_z = self.whiten @ left @ self.whiten.T + self.spread**2 * np.eye(
            PIXELS
        )
        self.violation = self.spread * np.sqrt(np.trace(seen) / len(seen))

    def sample(self, n, generator):
        x = torch.randn(n, PIXELS, generator=generator) @ torch.tensor(self.colour.T).float()
        return (image := x.reshape(n, 1, SIDE, SIDE)), image

    def phi(self, x):
        return x.flatten(1) @ torch.tensor(self.low_pass.T).float()

    def encode(self, x):
        loc = x.flatten(1) @ torch.tensor(self.whiten.T).float()
        return Normal(loc, self.spread * torch.ones_like(loc), validate_args=False)

    def decode(self, latent):
        return (latent @ torch.tensor(self.colour.T).float()).reshape(-1, 1, SIDE, SIDE)


def train_flow(case, steps=STEPS):
    torch.manual_seed(0)
    cinn = ConditionalINN(latent=PIXELS, condition_shape=(16,), blocks=4, hidden=64, embedding=32)
    task = INNTask(cinn, case, case, case.sample, batch=BATCH, steps=steps, lr=5e-3)
    train(task, steps=steps, seed=1, progress=False)
    return cinn.eval()


def measure(case, cinn):
    """Errors of the sampled conditional, averaged over 8 conditions of 16,000 samples."""
    generator = torch.Generator().manual_seed(5)
    _, images = case.sample(8, generator)
    covariance, mean, violation = np.zeros((PIXELS, PIXELS)), 0.0, 0.0
    for image in images.split(1):
        z = case.phi(image)
        with torch.no_grad():
            latent = cinn.inverse(torch.randn(16_000, PIXELS, generator=generator), z)
            off = case.phi(case.decode(latent)) - z
        covariance += np.cov(latent.double().numpy().T) / 8
        expected = case.mean_given_z @ z[0].double().numpy()
        mean += np.sqrt(np.mean((latent.double().numpy().mean(0) - expected) ** 2)) / 8
        violation += float(off.square().mean()) / 8
    truth = case.covariance_given_z
    log_ratio = np.linalg.slogdet(truth)[1] - np.linalg.slogdet(covariance)[1]
    return {
        "covariance": np.linalg.norm(covariance - truth) / np.linalg.norm(truth),
        "divergence": 0.5 * (np.trace(np.linalg.solve(truth, covariance)) - PIXELS + log_ratio),
        "mean": mean,
        "violation": np.sqrt(violation),
    }


@pytest.fixture(scope="module")
def gaussian():
    case = GaussianCase()
    return case, train_flow(case)


def test_gaussian_low_pass_conditional(gaussian, record_property):
    case, cinn = gaussian
    found = measure(case, cinn)
    ratio = found["violation"] / case.violation
    for name in ("covariance", "mean", "divergence"):
        record_property(name, found[name])
    record_property("violation ratio", ratio)
    assert found["covariance"] < KNOWN_ANSWERS["covariance"]
    assert found["mean"] < KNOWN_ANSWERS["mean"]
    assert found["divergence"] < KNOWN_ANSWERS["divergence"]
    assert abs(ratio - 1.0) < KNOWN_ANSWERS["violation"]


def test_gaussian_likelihood_and_latent_normality(gaussian):
    case, cinn = gaussian
    generator = torch.Generator().manual_seed(9)
    x, _ = case.sample(32_000, generator)
    posterior = case.encode(x)
    latent = posterior.loc + posterior.scale * torch.randn(32_000, PIXELS, generator=generator)
    with torch.no_grad():
        v, log_det = cinn(latent, case.phi(x))
        back = cinn.inverse(v, case.phi(x))
    assert (back - latent).abs().max() < KNOWN_ANSWERS["inversion"]
    assert v.mean(0).abs().max() < KNOWN_ANSWERS["mean of v"]
    assert (v.std(0) - 1.0).abs().max() < KNOWN_ANSWERS["sd of v"]
    negative = (0.5 * v.square().sum(1) - log_det).mean().item()
    entropy = 0.5 * PIXELS + 0.5 * np.linalg.slogdet(case.covariance_given_z)[1]
    # no model has a lower expected loss than the truth; the scatter of 32,000 draws is .03 nats
    assert -0.25 < negative - entropy < 0.5


def test_gaussian_samples_projected_onto_the_fibre(gaussian):
    """Projection takes the violation away and leaves the invisible covariance as it was."""
    case, cinn = gaussian
    x, _ = case.sample(1, torch.Generator().manual_seed(2))
    noise = torch.Generator()

    def redraw(image, n, seed):
        return image + 0.3 * torch.randn(n, SIDE, SIDE, generator=noise.manual_seed(seed))

    model = InvarianceModel(wiretap=case, vae=case, cinn=cinn, redraw=redraw)
    free = draw(model, x[0, 0], n=500, seed=1)
    tied = draw(model, x[0, 0], n=500, tolerance=0.1, seed=1)
    # 0.3 noise through a mean of four pixels has an rms of 0.15
    assert float(tied.tolerance) == pytest.approx(0.015, rel=0.2)
    assert (tied.violation <= tied.tolerance).all() and tied.n_pulled == 0
    assert free.violation.median() > 10 * tied.tolerance

    def unseen(images):
        flat = images.reshape(-1, SIDE // 2, 2, SIDE // 2, 2)
        return flat - flat.mean((2, 4), keepdim=True)

    assert torch.allclose(unseen(free.images), unseen(tied.images), atol=1e-4)


@pytest.mark.slow
def test_noise_free_latents_fail_as_documented():
    """Without posterior noise p(z̄|z) is singular and maximum likelihood has no upper bound.

    The same network on the same budget then spends itself on the directions that z determines, and
    its samples still miss them by far: their covariance is regular where the true one is not. The
    error of the covariance as a whole (.07 to .13) shows little of it.
    """
    case = GaussianCase(spread=1e-4)
    found = measure(case, train_flow(case))
    assert found["violation"] > 20 * case.violation
    assert found["divergence"] > 1000 * KNOWN_ANSWERS["divergence"]
