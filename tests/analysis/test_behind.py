"""Noise behind a linearised denoiser: d' from factors and from products."""

import numpy as np
import pytest
import torch
from torch import nn

from analysis.observers.ideal import WITHIN, detectability
from analysis.projection_domain.behind import Behind
from ctxai import InPlace, Window
from recon import DataError

# off the middle: 3 rows above, 4 below, 2 columns at the left and 5, the most, at the right
PLACE = Window(3, 2, (18, 21), (25, 28))


def network(*kernels, seed=1):
    """Convolutions with rectifiers between them, which look Σ (k - 1)/2 pixels far."""
    torch.manual_seed(seed)
    layers = []
    for number, kernel in enumerate(kernels):
        channels = 1 if number == 0 else 6, 1 if number == len(kernels) - 1 else 6
        layers += [nn.Conv2d(*channels, kernel, padding=kernel // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def placed(f, seed=2):
    x = torch.randn(PLACE.image, generator=torch.Generator().manual_seed(seed))
    return InPlace(f, PLACE, x), x


def whole_jacobian(f, x):
    """J by automatic differentiation, (outputs, inputs)."""
    J = torch.autograd.functional.jacobian(lambda x: f(x[None, None])[0, 0], x)
    return J.reshape(-1, x.numel())


class Noise:
    """A covariance of images on the window's image, kept as a matrix or not."""

    fits = True

    def __init__(self, sigma, *, kept):
        self.sigma, self.matrices = sigma, (sigma, sigma) if kept else None

    def matrix(self, mas):
        return self.sigma / mas

    def times(self, mas):
        return lambda v: (v.flatten(1) @ (self.sigma / mas)).reshape(v.shape)


@pytest.mark.parametrize("kernels", [(3, 5), (9, 9, 7)])
def test_d_is_that_of_the_matrix_either_way(kernels):
    """Of a local network by factors, of another and without the matrices by products."""
    f, x = placed(network(*kernels))
    generator = torch.Generator().manual_seed(4)
    sigma = torch.randn(x.numel(), x.numel(), generator=generator)
    sigma = sigma @ sigma.T / x.numel()
    signals, mas, tolerances = torch.randn(2, *x.shape, generator=generator), 4.0, [0.05, 0.3]
    J, flat = whole_jacobian(f, x).double(), signals.double().flatten(1)
    A, seen = J @ sigma.double() @ J.T / mas, flat @ J.T
    expected = [
        [
            float(torch.sqrt(s @ torch.linalg.solve(A + t**2 * torch.eye(len(A)), s)))
            for t in tolerances
        ]
        for s in seen
    ]
    for kept in (True, False):
        behind = Behind(f, x, Noise(sigma, kept=kept), mas)
        np.testing.assert_allclose(behind.detectability(signals, tolerances), expected, rtol=1e-4)


def test_a_matrix_gives_the_d_of_its_products():
    generator = torch.Generator().manual_seed(5)
    A = torch.randn(30, 30, generator=generator)
    A, signals = A @ A.T, torch.randn(3, 5, 6, generator=generator)
    products = detectability(
        lambda v: (v.flatten(1) @ A).reshape(v.shape), signals, tolerances=[0.1, 2.0]
    )
    np.testing.assert_allclose(
        detectability(A, signals, tolerances=[0.1, 2.0]), products, rtol=1e-4
    )


def test_the_factors_for_one_tolerance_give_all_others():
    """In any order, with noise of five decades, for signals in the strongest and in the weakest."""
    generator = torch.Generator().manual_seed(6)
    directions = torch.linalg.qr(torch.randn(400, 400, generator=generator).double())[0]
    A = (directions * torch.logspace(-2, 3, 400).double()) @ directions.T
    weights = torch.logspace(0, -3, 400).double()
    signals = torch.stack([directions @ weights, directions @ weights.flip(0), directions[:, 200]])
    tolerances = [3.0, 0.1, 30.0, 0.5, 0.1]
    expected = [
        [float(s @ torch.linalg.solve(A + t**2 * torch.eye(400).double(), s)) for t in tolerances]
        for s in signals
    ]
    found = detectability(A, signals.reshape(3, 20, 20), tolerances=tolerances)
    np.testing.assert_allclose(found**2, expected, rtol=WITHIN)


def test_a_matrix_that_is_not_positive_is_refused_with_the_tolerance_that_it_allows():
    A = torch.diag(torch.tensor([1.0, -0.5, 2.0, 3.0]))
    signal = torch.ones(1, 2, 2)
    with pytest.raises(DataError, match="not positive to within its rounding") as refused:
        detectability(A, signal, tolerances=[0.1])
    assert "above 0.75 HU" in str(refused.value)  # √(.5/.9)
    allowed = detectability(A, signal, tolerances=[0.8])[0, 0]
    assert allowed**2 == pytest.approx(sum(1 / (a + 0.64) for a in (1.0, -0.5, 2.0, 3.0)))
