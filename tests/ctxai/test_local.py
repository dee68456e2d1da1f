"""The Jacobian of a local network as blocks, against automatic differentiation."""

import numpy as np
import pytest
import torch
from torch import nn

from ctxai import Chen, InPlace, LocalJacobian, RedCNN, Window, Yang, linearise

# off the middle: 3 rows above, 4 below, 2 columns at the left and 5 at the right
PLACE = Window(3, 2, (18, 21), (25, 28))


def network(*layers, seed=1):
    torch.manual_seed(seed)
    for layer in layers:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return nn.Sequential(*layers).requires_grad_(False).eval()


class Residual(nn.Module):
    """Two ways of different reach, one of them cut and padded, that are added."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.long = nn.Sequential(nn.Conv2d(1, 3, 5, padding=2), nn.ReLU(), nn.Conv2d(3, 1, 3))
        self.short = nn.Conv2d(1, 1, (1, 3), padding=(0, 1))

    def forward(self, x):
        long = self.long(nn.functional.pad(x, (2, 0, 0, 2)))  # seen one pixel down, one right
        return torch.relu(x - self.short(x)) + 0.5 * long[..., : x.shape[-2], : x.shape[-1]]


NETWORKS = {
    "one kernel": (network(nn.Conv2d(1, 1, 3, padding=1)), ((-1, 1), (-1, 1))),
    "two kernels": (
        network(
            nn.Conv2d(1, 6, (3, 5), padding=(1, 2)), nn.LeakyReLU(), nn.Conv2d(6, 1, 3, padding=1)
        ),
        ((-2, 2), (-3, 3)),
    ),
    "not centred": (
        network(
            nn.Conv2d(1, 4, 4, padding=(0, 3)), nn.ReLU(),
            nn.ConvTranspose2d(4, 1, (4, 2), padding=(0, 1)),
        ),
        ((-3, 3), (-3, 1)),
    ),
    "two ways": (Residual().requires_grad_(False), ((-2, 4), (-4, 2))),
}  # fmt: skip


def whole_jacobian(f, x):
    J = torch.autograd.functional.jacobian(lambda x: f(x[None, None])[0, 0], x)
    return J.flatten(0, 1).flatten(1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("placed", [False, True])
def test_blocks_are_the_whole_jacobian(name, placed):
    f, looks = NETWORKS[name]
    x = torch.randn(PLACE.image, generator=torch.Generator().manual_seed(2))
    if placed:
        f = InPlace(f, PLACE, x)
        looks = tuple((a + at, b + at) for (a, b), at in zip(looks, (PLACE.top, PLACE.left)))
    at, J = linearise(f, x[None, None]), whole_jacobian(f, x)
    assert at.looks == looks
    assert (J.reshape(*at.value.shape[2:], *x.shape) != 0).any()
    local = LocalJacobian.of(at, tuple(x.shape))
    np.testing.assert_allclose(local.times(torch.eye(x.numel())), J, atol=1e-6)
    w, u = torch.randn(3, 1, *x.shape), torch.randn(2, *at.value.shape[1:])
    np.testing.assert_allclose(local.times_j(w).flatten(1), w.flatten(1) @ J.T, atol=1e-5)
    np.testing.assert_allclose(local.times_jt(u).flatten(1), u.flatten(1) @ J, atol=1e-5)
    sigma = torch.randn(x.numel(), x.numel(), dtype=torch.float64)
    sigma = sigma @ sigma.T
    expected = (J.double() @ sigma @ J.double().T).numpy()
    np.testing.assert_allclose(local.around(sigma), expected, atol=1e-6 * expected.max())


@pytest.mark.parametrize("name", NETWORKS)
def test_an_output_depends_on_nothing_beyond_what_it_is_said_to_look_at(name):
    f, _ = NETWORKS[name]
    (top, bottom), (left, right) = linearise(f, torch.zeros(1, 1, 25, 28)).looks
    x = torch.randn(1, 1, 25, 28)
    far = torch.full_like(x, 1e3)
    i, j = 12, 13
    rows, cols = slice(i + top, i + bottom + 1), slice(j + left, j + right + 1)
    far[..., rows, cols] = x[..., rows, cols]
    assert float((f(far) - f(x))[0, 0, i, j].abs()) < 1e-4


@pytest.mark.parametrize(("network", "side"), [(Chen, 15), (Yang, 17)])
def test_shipped_networks_look_as_far_as_their_kernels_reach(network, side):
    looks = linearise(network().requires_grad_(False), torch.zeros(1, 1, 24, 24)).looks
    assert looks == ((-(side // 2), side // 2),) * 2


def test_no_blocks_where_they_do_not_pay_or_are_none():
    image = (48, 48)
    x = torch.zeros(1, 1, *image)
    far = linearise(RedCNN().requires_grad_(False), x)
    assert far.looks == ((-20, 20), (-20, 20)) and LocalJacobian.of(far, image) is None
    mean = linearise(lambda x: x - x.mean((-2, -1), keepdim=True), x)
    assert mean.looks is None and LocalJacobian.of(mean, image) is None
    maps = linearise(nn.Conv2d(1, 2, 3, padding=1).requires_grad_(False), x)
    assert maps.looks is not None and LocalJacobian.of(maps, image) is None
    many = linearise(nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False), x.expand(2, -1, -1, -1))
    assert LocalJacobian.of(many, image) is None
    small = linearise(nn.Conv2d(1, 1, 5, padding=2).requires_grad_(False), torch.zeros(1, 1, 4, 6))
    assert LocalJacobian.of(small, (4, 6)) is None  # 25 products for 24 outputs


def test_a_network_in_training_leaves_no_graph_behind():
    """Its weights want gradients: each product would keep what the network made for it."""
    conv = torch.nn.Conv2d(1, 1, 3, padding=1)
    assert conv.weight.requires_grad
    local = LocalJacobian.of(linearise(conv, torch.zeros(1, 1, 12, 12)), (12, 12))
    assert not local.blocks.requires_grad
