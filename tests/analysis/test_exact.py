"""Draws of the exact conditional of a linear network, against the dense matrices."""

import pytest
import torch
from torch.nn import functional as F

from analysis.fidelity.exact import exact_curve, exact_draws

SIDE, N, TAU = 6, 1000, 1.5
TOLERANCES = {
    # 1,000 draws: a variance is known to 4.5 %, the mean of 36 correlated ones to 1.2 %
    "sd": 0.025,
    "covariance, Frobenius": 0.28,  # 36 × 36 entries of 1,000 draws: .19 where all is noise
    "change": 0.04,
}


def smooth(x):
    """The "denoiser": the mean of 3 × 3 pixels."""
    return F.avg_pool2d(x, 3, 1, 1)


@pytest.fixture(scope="module")
def case():
    place = torch.stack(torch.meshgrid(*[torch.arange(SIDE).double()] * 2, indexing="ij"), -1)
    place = place.reshape(-1, 2)
    sigma = 400.0 * (torch.exp(-torch.cdist(place, place)) + 0.1 * torch.eye(SIDE**2).double())
    jacobian = smooth(torch.eye(SIDE**2).double().reshape(-1, 1, SIDE, SIDE)).flatten(1).T
    root = torch.linalg.cholesky(sigma)
    noise = torch.randn(N + 1, SIDE**2, generator=torch.Generator().manual_seed(1)).double()
    scans = (100.0 + noise @ root.T).float().reshape(-1, SIDE, SIDE)
    return sigma, jacobian, scans[0], scans[1:]


@pytest.mark.slow
def test_draws_have_the_covariance_of_the_conditional(case):
    """Σ - ΣJᵀ(JΣJᵀ + τ²)⁻¹JΣ."""
    sigma, jacobian, x, scans = case
    seen = jacobian @ sigma @ jacobian.T + TAU**2 * torch.eye(SIDE**2).double()
    exact = sigma - sigma @ jacobian.T @ torch.linalg.solve(seen, jacobian @ sigma)
    images, change = exact_draws(
        smooth, x, scans, lambda v: (v.double().flatten(1) @ sigma).reshape(v.shape).to(v), [TAU],
        seed=2,
    )  # fmt: skip
    found = images[0].flatten(1).double().T.cov()
    assert float((found - exact).norm() / exact.norm()) < TOLERANCES["covariance, Frobenius"]
    ratio = float((found.trace() / exact.trace()).sqrt())
    assert ratio == pytest.approx(1.0, abs=TOLERANCES["sd"])
    # about the posterior mean of x's own output, which is not x itself
    gain = sigma @ jacobian.T @ torch.linalg.inv(seen) @ jacobian
    mean = x.flatten().double() + (gain - torch.eye(SIDE**2)) @ (x.flatten() - 100.0).double()
    off = float((images[0].flatten(1).double().mean(0) - mean).square().mean().sqrt())
    assert off < 4.0 * float((exact.trace() / SIDE**2 / N).sqrt())
    expected = jacobian @ (exact + torch.outer(mean - x.flatten(), mean - x.flatten())) @ jacobian.T
    level = float((expected.trace() / SIDE**2).sqrt())
    assert float(change.square().mean().sqrt()) == pytest.approx(level, rel=TOLERANCES["change"])


def test_the_curve_widens_with_the_tolerance_and_ends_at_the_noise(case):
    sigma, _, x, scans = case
    curve = exact_curve(
        smooth, x, scans[:50], lambda v: (v.double().flatten(1) @ sigma).reshape(v.shape).to(v),
        (1.0, 4.0, 1000.0), seed=2,
    )  # fmt: skip
    assert curve.sd == sorted(curve.sd) and curve.consistency == sorted(curve.consistency)
    assert curve.sd[-1] == pytest.approx(float(scans[:50].std(0).square().mean().sqrt()), rel=0.01)
