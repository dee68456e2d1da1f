"""Recorded Jacobians against automatic differentiation, and when they must not be recorded."""

import architectures
import pytest
import torch
from torch import nn
from torch.func import jvp, vjp
from torch.nn import functional as F

from ctxai.denoisers import Chen, Yang
from ctxai.sampling.jacobian import linearise
from ctxai.wiretap.wiretap import Wiretap

# float64 sums of some thousand products, in another order
ROUNDING = 1e-11


class Residual(nn.Module):
    """x minus what a network takes for noise, with a leaky rectifier in place."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 5, (3, 5), padding=(1, 2))
        self.last = nn.Conv2d(5, 1, 2, padding=1, bias=False)

    def forward(self, x):
        h = F.leaky_relu(self.first(x / 50.0), 0.2, inplace=True)
        return x - 50.0 * self.last(h)[..., 1:, 1:].clone() if self.training else x + 3.0 * h[:, :1]


def two_layers(x):
    """Of what one rectifier gives."""
    h, back = F.relu(F.conv2d(x, KERNELS, padding=1)), KERNELS.transpose(0, 1)
    return F.relu(F.conv2d(h, back, padding=1) + F.conv2d(h, back.flip(2), padding=1))


def skip(x):
    noise = F.conv2d(F.relu(F.conv2d(x, KERNELS, padding=1)), KERNELS.transpose(0, 1), padding=1)
    return x - noise / 7.0


KERNELS = torch.randn(6, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def shortcut_in_place(x):
    kept = F.relu(F.conv2d(x, KERNELS, padding=1))
    out = F.conv2d(kept, KERNELS.transpose(0, 1), padding=1)
    out += x
    return F.relu(out)


def read_twice(x):
    """What a convolution gives is read beside its rectifier, and this by two convolutions."""
    before = F.conv2d(x, KERNELS, padding=1)
    after = F.relu(before)
    back = KERNELS.transpose(0, 1)
    return F.conv2d(after, back, padding=1) - 2.0 * F.conv2d(after + before, back, padding=1)


def rectified_twice(x):
    leaky = F.leaky_relu(F.relu(x - 20.0) + 2.0 * x, 0.1)
    return F.relu(leaky - 3.0 * x)


def written_over(x):
    """The same; what a rectifier returned is changed in its place: its signs are other ones."""
    kept = F.relu(x - 20.0)
    kept += 2.0 * x
    leaky = F.leaky_relu(kept, 0.1)
    leaky += -3.0 * x
    return F.relu(leaky)


@torch.inference_mode()
def without_versions(x):
    """The same, of tensors that do not count how often they were changed."""
    return written_over(x)


class Straight(torch.autograd.Function):
    """Rounds, and lets the gradient through as it is."""

    @staticmethod
    def forward(x):
        return torch.round(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def random_like(values, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(values.shape, generator=generator, dtype=values.dtype)


def seeded(network):
    torch.manual_seed(3)
    return network().double().eval().requires_grad_(False)


def normalised(make):
    """A network whose normalisations hold numbers of their own."""
    network = seeded(make)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for kind, value in module.state_dict().items():
                if value.ndim:
                    value.copy_(0.5 + random_like(value, len(kind)).square())
    return network


CASES = {
    "Chen": lambda: seeded(Chen),
    "Chen, layer 2": lambda: Wiretap(seeded(Chen), 2).phi,
    "Yang": lambda: seeded(Yang),
    "Yang, layer 4": lambda: Wiretap(seeded(Yang), 4).phi,
    "RED-CNN": lambda: seeded(architectures.redcnn),
    "DnCNN": lambda: normalised(architectures.dncnn),
    "ResNet": lambda: normalised(architectures.resnet),
    "transposed, padded": lambda: lambda x: F.conv_transpose2d(x, KERNELS[:1], padding=1),
    "shortcut in place": lambda: shortcut_in_place,
    "skip connection": lambda: skip,
    "read twice": lambda: read_twice,
    "two layers of one": lambda: two_layers,
    "identity": lambda: lambda x: x,
    "affine": lambda: lambda x: 3.0 - x * torch.arange(15.0) / 2.0,
    "views": lambda: seeded(Residual),
}
AUTOMATIC = {
    "smooth": lambda: lambda x: F.silu(x),
    "reflected": lambda: lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), KERNELS),
    "batch statistics": lambda: lambda x: F.batch_norm(x, None, None, training=True),
    "transposed, strided": lambda: lambda x: F.conv_transpose2d(x, KERNELS[:1], stride=2),
    "strided": lambda: lambda x: F.conv2d(x, KERNELS, stride=2),
    "two ways": lambda: lambda x: x * F.relu(x),
    "broadcast": lambda: lambda x: x + torch.zeros(4, 1, 1, dtype=x.dtype),
}


@pytest.mark.parametrize("name", [*CASES, *AUTOMATIC])
def test_products_are_those_of_automatic_differentiation(name):
    phi = (CASES | AUTOMATIC)[name]()
    x = 100.0 * random_like(torch.zeros(3, 1, 14, 15, dtype=torch.float64), 5)
    at = linearise(phi, x)
    assert at.recorded == (name in CASES)
    w = random_like(x, 6)
    value, jw = jvp(phi, (x,), (w,))
    assert torch.allclose(at.value, value, rtol=ROUNDING)
    assert torch.allclose(at.times_j(w), jw, rtol=ROUNDING, atol=ROUNDING * float(jw.abs().max()))
    u = random_like(value, 7)
    jtu = vjp(phi, x)[1](u)[0]
    assert torch.allclose(
        at.times_jt(u), jtu, rtol=ROUNDING, atol=ROUNDING * float(jtu.abs().max())
    )
    assert torch.allclose((at.times_j(w) * u).sum(), (w * at.times_jt(u)).sum())


@pytest.mark.parametrize("phi", [written_over, without_versions])
def test_values_that_are_written_over_are_kept_as_they_were(phi):
    """Which automatic differentiation refuses."""
    x = 100.0 * random_like(torch.zeros(2, 1, 5, 6, dtype=torch.float64), 5)
    at, w = linearise(phi, x), random_like(x, 6)
    assert at.recorded
    value, jw = jvp(rectified_twice, (x,), (w,))
    assert torch.allclose(at.value, value) and torch.allclose(at.times_j(w), jw, rtol=ROUNDING)


@pytest.mark.parametrize("name", ["Chen", "shortcut in place"])
def test_products_in_16_bits_are_those_of_more_to_their_rounding(name):
    phi, kind = CASES[name](), torch.float32
    if isinstance(phi, nn.Module):
        phi = phi.float()
    x = 100.0 * random_like(torch.zeros(3, 1, 14, 15, dtype=kind), 5)
    KERNELS.data = KERNELS.data.to(kind)
    try:
        at = linearise(phi, x)
        w, u = random_like(x, 6), random_like(at.value, 7)
        exact = at.times_j(w), at.times_jt(u)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = at.times_j(w), at.times_jt(u)
        again = at.times_j(w), at.times_jt(u)
    finally:
        KERNELS.data = KERNELS.data.double()
    for full, half, after in zip(exact, rounded, again):
        assert 1e-4 < float((half - full).norm() / full.norm()) < 2e-2  # 8 bits of a mantissa
        assert torch.equal(after, full)


def test_products_leave_what_they_are_given_as_it_is():
    """Masks write over what a convolution gave, and over nothing else."""
    phi, x = Wiretap(seeded(Yang), 4).phi, 100.0 * random_like(torch.zeros(2, 1, 9, 8).double(), 5)
    at = linearise(phi, x)
    w, u = random_like(x, 6), random_like(at.value, 7)
    given = w.clone(), u.clone()
    once = at.times_j(w), at.times_jt(u)
    assert torch.equal(w, given[0]) and torch.equal(u, given[1])
    assert torch.equal(at.times_j(w), once[0]) and torch.equal(at.times_jt(u), once[1])


def test_one_image_may_have_many_products_and_many_images_one():
    f, x = seeded(Yang), 100.0 * random_like(torch.zeros(3, 1, 9, 8).double(), 5)
    w = random_like(x, 6)
    one = linearise(f, x[:1])
    each = torch.cat([one.times_j(part) for part in w.split(1)])
    assert torch.allclose(one.times_j(w), each, rtol=ROUNDING)
    many = linearise(f, x)
    same = many.times_j(w[:1].expand_as(w))
    assert torch.allclose(many.times_j(w[:1]), same, rtol=ROUNDING)


def test_a_product_has_gradients_itself():
    """⟨u, J w⟩ has Jᵀ u as its gradient in w."""
    f, x = seeded(Chen), 100.0 * random_like(torch.zeros(2, 1, 9, 8).double(), 5)
    at = linearise(f, x)
    w, u = random_like(x, 6).requires_grad_(True), random_like(x, 7)
    (gradient,) = torch.autograd.grad((at.times_j(w) * u).sum(), w)
    assert torch.allclose(gradient, at.times_jt(u), rtol=ROUNDING, atol=ROUNDING)


def test_a_gradient_of_its_own_is_respected():
    x = 10.0 * random_like(torch.zeros(2, 1, 4, 4), 1)
    at = linearise(lambda x: x + Straight.apply(F.relu(x)), x)
    assert not at.recorded  # the rounding is seen, although its gradient hides it
    assert torch.equal(at.times_jt(torch.ones_like(x)), 1.0 + (x > 0).float())


def test_a_constant_does_not_become_a_chain():
    x = random_like(torch.zeros(2, 1, 4, 4), 1)
    at = linearise(lambda x: torch.ones_like(x), x)
    assert not at.recorded
    assert at.times_j(x).abs().max() == 0


def test_the_network_may_be_used_again_between_products():
    f, x = seeded(Chen), random_like(torch.zeros(2, 1, 8, 8, dtype=torch.float64), 2)
    at = linearise(f, x)
    before = at.times_j(x)
    linearise(f, -x).times_j(x)
    assert torch.equal(at.times_j(x), before)
