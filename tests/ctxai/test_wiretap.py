import pytest
import torch
from torch import nn
from torch.nn import functional

from ctxai.denoisers import Chen, Yang
from ctxai.wiretap.several import joined
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError


def low_dose(batch=3, seed=0, shape=(20, 24)):
    """Off-centre disc in noise [HU]."""
    generator = torch.Generator().manual_seed(seed)
    rows, cols = torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    disc = 1000.0 * ((rows - 7) ** 2 + (cols - 15) ** 2 < 30) - 900.0
    return disc + 50 * torch.randn(batch, 1, *shape, generator=generator)


@pytest.fixture(params=[Chen, Yang])
def f(request):
    torch.manual_seed(2)
    return request.param()


def convolutions(f):
    return [module for module in f.modules() if isinstance(module, nn.Conv2d)]


def by_hand(f, h, first, last):
    """Convolution blocks first to last (from 1) of Chen or Yang, by functional operations."""
    layers = convolutions(f)
    for number in range(first, last + 1):
        layer = layers[number - 1]
        h = functional.conv2d(h, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)
        if number < len(layers):
            h = h.clamp(min=0)
    return h


class Branched(nn.Module):
    """A small U-shaped network: b is passed by a skip connection, a and c are not."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.c = nn.Conv2d(4, 4, 3, padding=1)
        self.d = nn.Conv2d(4, 1, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.aside = nn.Conv2d(4, 1, 1)

    def forward(self, x, scale=None):
        h = self.act(self.a(x))
        self.aside(h)
        h = functional.leaky_relu(self.b(h), 0.1) + h
        h = self.act(self.c(h))
        return self.d(h) if scale is None else scale * self.d(h)


class Residual(nn.Module):
    """Predicts the noise: the input passes every layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)
        )

    def forward(self, x):
        return x - self.body(x)


@pytest.mark.parametrize("batch", [1, 5])
def test_psi_of_phi_is_f_for_every_tap(f, batch):
    x = low_dose(batch)
    layers = Wiretap(f, "input").layers
    assert layers[0] == "input" and layers[-1] == "output"
    for layer in [*layers, *range(1, len(convolutions(f)) + 1)]:
        tap = Wiretap(f, layer)
        assert tap.is_cut
        assert torch.equal(tap.psi(tap.phi(x)), f(x)), layer


def test_blocks_count_from_one_and_include_their_activation(f):
    x = low_dose()
    normal = (x - f.offset) / f.scale
    for number in range(1, len(convolutions(f))):
        z = Wiretap(f, number).phi(x)
        assert torch.allclose(z, by_hand(f, normal, 1, number), atol=1e-6)
        assert z.min() == 0


def test_psi_of_another_z_is_the_networks_tail_without_x(f):
    for number in range(1, len(convolutions(f))):
        x = low_dose()
        tap = Wiretap(f, number)
        z = tap.phi(x)
        del x
        z = z + 0.3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(number))
        tail = by_hand(f, z, number + 1, len(convolutions(f))) * f.scale + f.offset
        assert torch.allclose(tap.psi(z), tail, rtol=1e-6, atol=1e-3)  # HU; f is several hundred
        assert tap.psi(z[:1]).shape == (1, 1, 20, 24)


def test_names_of_one_place_are_one(f):
    name = "layers" if isinstance(f, Chen) else "net"
    blocks = len(convolutions(f))
    assert Wiretap(f, 1).layer == Wiretap(f, "1").layer == Wiretap(f, f"{name}.1").layer == "1"
    assert Wiretap(f, blocks).layer == "output"
    for layer in Wiretap(f, 1).layers:
        assert Wiretap(f, layer).layer == layer


def test_the_last_convolution_and_the_output_differ_by_the_normalisation(f):
    x = low_dose()
    last = [name for name in Wiretap(f, 1).layers if "." in name][-1]
    tap = Wiretap(f, last)
    assert tap.layer == last
    assert torch.allclose(tap.phi(x) * f.scale + f.offset, f(x), rtol=1e-6, atol=1e-3)  # HU


def test_modules_named_by_numbers_come_before_block_numbers():
    f = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 5, 3), nn.PReLU(),
        nn.Conv2d(5, 1, 3),
    ).eval()  # fmt: skip
    assert Wiretap(f, 1).layer == "2" and Wiretap(f, 2).layer == "4"
    assert Wiretap(f, "2").phi(low_dose()).shape[1] == 3
    assert Wiretap(f, 3).layer == "output"


def test_only_operations_on_the_image_go_by_their_names_in_the_graph():
    """Not a gain that is made of weights alone, and not a module, which has a name of its own."""

    class Gained(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3))
            self.gain = nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return torch.tanh(self.body(x) * torch.exp(self.gain)) + 1.0

    f, x = Gained(), low_dose()
    assert Wiretap(f, "body").layer != Wiretap(f, "mul").layer == "mul"
    assert torch.equal(Wiretap(f, "mul").phi(x), f.body(x) * torch.exp(f.gain))
    for name in ("exp", "gain", "body_0", "x"):
        with pytest.raises(DataError, match="unknown layer"):
            Wiretap(f, name)


def test_functional_activations_have_numbers_too():
    class Functional(nn.Sequential):
        def forward(self, x):
            h = functional.relu(self[0](x))
            return torch.tanh(self[1](h)) * 100

    f = Functional(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 1, 3))
    tap = Wiretap(f, 1)
    assert tap.layer == "block-1" and Wiretap(f, "block-1").layer == "block-1"
    assert tap.phi(low_dose()).min() == 0
    assert Wiretap(f, "1").phi(low_dose()).shape[1] == 1  # the module, before its activation
    assert Wiretap(f, 2).layer == "output"


def test_a_skip_connection_past_the_layer_is_refused_by_name():
    f, x = Branched(), low_dose()
    for layer in ("b", 3):
        tap = Wiretap(f, layer)
        assert not tap.is_cut
        z = tap.phi(x)
        with pytest.raises(DataError, match=r"module 'act' is used behind it by operation 'add"):
            tap.psi(z)
    for layer in ("a", 1, "c", 4, 5):
        tap = Wiretap(f, layer)
        assert torch.equal(tap.psi(tap.phi(x)), f(x))


def test_the_remedy_lists_the_layers_that_are_cuts():
    with pytest.raises(DataError, match=r"tap one of input, a, 1, c, 4, output$"):
        Wiretap(Branched(), "b").psi(torch.zeros(1, 4, 8, 8))


def test_the_input_passes_every_layer_of_a_residual_network():
    f = Residual()
    for layer in ("body.0", "body.1", "body", 1, 2):
        with pytest.raises(DataError, match=r"the network's input is used behind it by .*sub"):
            Wiretap(f, layer).psi(low_dose())
    x = low_dose()
    assert torch.equal(x - Wiretap(f, "body").phi(x), f(x))


def test_a_branch_that_the_output_does_not_see_is_no_cut():
    with pytest.raises(DataError, match="does not depend on the layer"):
        Wiretap(Branched(), "aside").psi(torch.zeros(1, 1, 4, 4))


def test_even_the_shape_of_x_is_a_bypass():
    class Resized(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 2, 3, stride=2)
            self.b = nn.Conv2d(2, 1, 1)

        def forward(self, x):
            return functional.interpolate(self.b(self.a(x)), size=x.shape[-2:])

    assert Wiretap(Resized(), "a").passing == ["size"] and Wiretap(Resized(), "a").crossing is None
    with pytest.raises(DataError, match="getitem"):
        Wiretap(Resized(), "a").psi(torch.zeros(1, 2, 4, 4))


def test_derivatives_and_vmap_go_through_both_parts(f):
    x, d = low_dose(2, shape=(12, 12)).double(), low_dose(2, seed=5, shape=(12, 12)).double()
    f = f.double()
    tap = Wiretap(f, 1)
    value, tangent = torch.func.jvp(lambda x: tap.psi(tap.phi(x)), (x,), (d,))
    expected_value, expected = torch.func.jvp(f, (x,), (d,))
    assert torch.equal(value, expected_value) and torch.allclose(tangent, expected, rtol=1e-12)
    z, pull = torch.func.vjp(tap.phi, x)
    _, push = torch.func.jvp(tap.phi, (x,), (d,))
    w = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(1))
    assert torch.isclose((push * w).sum(), (d * pull(w)[0]).sum(), rtol=1e-10)  # ⟨Jd, w⟩ = ⟨d, Jᵀw⟩
    stack = torch.stack([x, d])
    mapped = torch.vmap(lambda x: tap.psi(tap.phi(x)))(stack)
    assert torch.allclose(mapped, torch.stack([f(x), f(d)]), rtol=1e-12)


def test_layers_that_work_in_place_do_not_overwrite_z():
    f = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 1, 3))
    tap = Wiretap(f, "0")
    z = tap.phi(low_dose())
    assert z.min() < 0
    kept = z.clone()
    first = tap.psi(z)
    assert torch.equal(z, kept) and torch.equal(tap.psi(z), first)


def test_a_wiretap_follows_the_weights_and_the_type_of_its_network(f):
    tap, x = Wiretap(f, 1), low_dose().double()
    f.double()
    with torch.no_grad():
        convolutions(f)[-1].bias += 1
    assert torch.equal(tap.psi(tap.phi(x)), f(x))


def test_a_plain_callable_has_input_and_output_only():
    def f(x):
        return x / 2

    x = low_dose()
    assert Wiretap(f, "output").layers == ["input", "output"]
    ahead, behind = Wiretap(f, "input"), Wiretap(f, "output")
    assert ahead.phi(x) is x and torch.equal(ahead.psi(x), x / 2)
    assert torch.equal(behind.phi(x), x / 2) and behind.psi(x) is x
    with pytest.raises(DataError, match=r"unknown layer .*input, output; a plain callable"):
        Wiretap(f, 1)


def test_a_network_that_cannot_be_traced_has_input_and_output_only():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.a(x) if x.mean() > 0 else x

    f, x = Choosing(), low_dose()
    for layer in ("input", "output"):
        tap = Wiretap(f, layer)
        assert torch.equal(tap.psi(tap.phi(x)), f(x))
    with pytest.raises(DataError, match="cannot trace Choosing"):
        Wiretap(f, "a")


@pytest.mark.parametrize("layer", ["conv9", 0, 9, -1, "", True, None, 1.0])
def test_an_unknown_layer_is_refused_with_those_that_exist(layer):
    with pytest.raises(DataError, match=r"unknown layer .*input, .*net\.0, 1, .*, output"):
        Wiretap(Yang(), layer)


def test_a_module_used_twice_does_not_say_where():
    with pytest.raises(DataError, match="called 2 times"):
        Wiretap(Branched(), "act")


def test_a_layer_that_gives_several_tensors_is_refused():
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.halves = Halves()

        def forward(self, x):
            return torch.cat(self.halves(x), -1)

    class Halves(nn.Module):
        def forward(self, x):
            return x[..., :6], x[..., 6:]

    with pytest.raises(DataError, match="one tensor"):
        Wiretap(Split(), "halves")
    with pytest.raises(DataError, match="one tensor"):
        Wiretap(lambda x: (x, x), "output").phi(low_dose())


def test_no_denoiser_at_all():
    with pytest.raises(DataError, match="module or a callable"):
        Wiretap("chen", "output")


def conv(channels, to, side=3, padding=None, **more):
    return nn.Conv2d(channels, to, side, padding=side // 2 if padding is None else padding, **more)


class UNet(nn.Module):
    """Two levels: both skips are concatenated, the noise is subtracted in the end."""

    def __init__(self, residual=False):
        super().__init__()
        self.down1, self.down2, self.middle = conv(1, 4), conv(4, 6), conv(6, 8)
        self.up2, self.up1, self.last = conv(14, 6), conv(10, 4), conv(4, 1)
        self.pool, self.act, self.residual = nn.MaxPool2d(2), nn.LeakyReLU(0.2, True), residual

    def forward(self, x):
        first = self.act(self.down1(x / 100))
        second = self.act(self.down2(self.pool(first)))
        h = self.act(self.middle(self.pool(second)))
        h = functional.interpolate(h, size=second.shape[-2:])
        h = self.act(self.up2(torch.cat([h, second], 1)))
        h = functional.interpolate(h, scale_factor=2)
        h = self.last(self.act(self.up1(torch.cat([h, first], 1)))) * 100
        return x - h if self.residual else h


class RedCNN(nn.Module):
    """Three convolutions without padding, their transposes, and a sum at each level but the top."""

    def __init__(self, image=False):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (conv(n, 4, 5, 0) for n in (1, 4, 4))
        self.deconv3, self.deconv2, self.deconv1 = (
            nn.ConvTranspose2d(4, n, 5) for n in (4, 4, 1)
        )  # fmt: skip
        self.relu, self.image = nn.ReLU(True), image

    def forward(self, x):
        one = self.relu(self.conv1(x / 100))
        two = self.relu(self.conv2(one))
        h = self.relu(self.deconv3(self.relu(self.conv3(two))) + two)
        h = self.relu(self.deconv2(h) + one)
        return self.deconv1(h) * 100 + (x if self.image else 0)


def networks():
    torch.manual_seed(4)
    return {"unet": UNet(), "red": RedCNN()}


@pytest.mark.parametrize(
    ("network", "cut", "canonical"),
    [
        ("unet", "middle+down2+down1", "down1+down2+middle"),
        ("unet", "down1 + down2", "down1+down2"),  # before an activation that works in place
        ("unet", "up2+1", "1+up2"),
        ("unet", "3+2+1", "1+2+3"),
        ("unet", "1+1+2", "1+2"),
        ("unet", "cat+1", "1+cat"),  # an operation, by its name in the graph
        ("red", "conv3+conv2+conv1", "conv1+conv2+conv3"),
        ("red", "1+2+deconv3", "1+2+4"),
        ("red", "1+add", "1+add"),
        ("unet", "input+middle", "input+middle"),
    ],
)
@pytest.mark.parametrize("shape", [(24, 32), (40, 40)])
def test_psi_of_a_cut_of_several_tensors_is_exact(network, cut, canonical, shape):
    f, x = networks()[network], low_dose(shape=shape)
    tap = Wiretap(f, cut)
    assert tap.layer == canonical and tap.is_cut and tap.passing == [] and tap.crossing is None
    z = tap.phi(x)
    assert z.ndim == 4 and torch.equal(tap.psi(z), f(x))
    f.requires_grad_(False)
    x.requires_grad_()
    tap.psi(tap.phi(x)).square().sum().backward()  # through layers that work in place
    found, x.grad = x.grad, None
    f(x).square().sum().backward()
    assert torch.allclose(found, x.grad, rtol=1e-4, atol=1e-3 * float(x.grad.abs().max()))


def test_z_of_several_tensors_holds_each_as_it_is():
    x = low_dose(shape=(24, 32))
    f = networks()["unet"]
    z = Wiretap(f, "down1+down2+middle").phi(x)
    assert z.shape == (3, 4 + 6 + 8, 24, 32)
    alone = [Wiretap(f, name).phi(x) for name in ("down1", "down2", "middle")]
    assert torch.equal(z[:, :4], alone[0])
    assert torch.equal(z[:, 4:10, ::2, ::2], alone[1])
    assert torch.equal(z[:, 4:10, 1::2, 1::2], alone[1])
    assert torch.equal(z[:, 10:, 3::4, 2::4], alone[2])
    f = networks()["red"]
    z = Wiretap(f, "conv1+conv3").phi(x)
    assert torch.equal(z[:, :4], Wiretap(f, "conv1").phi(x)), "not what ReLU made of it in place"
    assert torch.equal(z[:, 4:, 4:-4, 4:-4], Wiretap(f, "conv3").phi(x))
    assert z[:, 4:, :4].abs().max() == 0


def test_a_vector_and_a_map_are_one_vector():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.gate = conv(1, 3), nn.Linear(3, 3)

        def forward(self, x):
            h = self.body(x)
            return (h * self.gate(h.mean((2, 3)))[..., None, None]).sum(1, keepdim=True)

    torch.manual_seed(0)
    f, x = Gated(), low_dose(shape=(8, 8))
    tap = Wiretap(f, "body+gate")
    assert tap.phi(x).shape == (3, 3 * 64 + 3) and torch.equal(tap.psi(tap.phi(x)), f(x))
    assert Wiretap(f, "gate").passing == ["1"]


@pytest.mark.parametrize("f", [UNet(), UNet(residual=True), RedCNN(), RedCNN(image=True)])
def test_what_passes_a_layer_is_what_the_output_really_uses(f):
    """Each name is a place to tap that the rest of the network feels, and nothing else passes."""
    x = low_dose(1, shape=(24, 32))
    for layer in Wiretap(f, "input").layers:
        tap = Wiretap(f, layer)
        assert tap.is_cut == (tap.passing == [])
        if "input" in tap.passing or tap.is_cut:
            assert tap.crossing is None
            continue
        whole = Wiretap(f, tap.crossing)
        passing = set(tap.passing) - {"size"}  # goes with the tensor
        assert whole.is_cut and set(whole.layer.split("+")) == {tap.layer, *passing}
        assert torch.equal(whole.psi(whole.phi(x)), f(x)), layer
        names = whole.layer.split("+")
        tensors = [Wiretap(f, name).phi(x) for name in names]
        for name in passing:
            changed = [t + 100 if n == name else t for n, t in zip(names, tensors)]
            assert not torch.equal(whole.psi(joined(changed)), f(x)), f"{name} past {layer}"
    if f.residual if isinstance(f, UNet) else f.image:
        inner = [name for name in Wiretap(f, 1).layers if name not in ("input", "output")]
        assert all("input" in Wiretap(f, name).passing for name in inner)


def test_a_refusal_names_the_skips_and_the_cut():
    f = UNet()
    assert Wiretap(f, "middle").passing == ["1", "2", "size"]
    assert Wiretap(f, "up2").passing == ["1"] and Wiretap(f, "up2").crossing == "1+up2"
    with pytest.raises(
        DataError, match=r"used behind it by .*'cat.*tap all that crosses, '1\+up2'"
    ):
        Wiretap(f, "up2").psi(torch.zeros(1, 6, 8, 8))


def test_a_branch_that_the_output_does_not_see_passes_nothing():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(1, 3), conv(3, 3), conv(3, 1)

        def forward(self, x):
            h = self.b(self.a(x))
            (h + x).mean()  # computed, never used
            return self.c(h)

    f, x = Aside(), low_dose()
    tap = Wiretap(f, "b")
    assert tap.is_cut and tap.passing == [] and torch.equal(tap.psi(tap.phi(x)), f(x))


def test_what_changes_a_tensor_in_place_passes_a_layer_though_nothing_uses_its_value():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(1, 3), conv(3, 3), conv(3, 1)

        def forward(self, x):
            skip = self.a(x)
            h = self.b(skip)
            h.add_(skip)
            return self.c(h)

    f, x = InPlace(), low_dose()
    assert Wiretap(f, "b").passing == ["1"]
    whole = Wiretap(f, "a+b")
    assert torch.equal(whole.psi(whole.phi(x)), f(x))


def test_what_no_several_tensors_can_be():
    f = UNet()
    with pytest.raises(DataError, match="a cut by itself"):
        Wiretap(f, "down1+output")
    with pytest.raises(DataError, match="unknown layer"):
        Wiretap(f, "down1+down9")
    with pytest.raises(DataError, match="no layers inside"):
        Wiretap(lambda x: x, "input+input")
    with pytest.raises(DataError, match="as phi gives it"):
        Wiretap(f, "1+2+3").psi(torch.zeros(1, 18, 8, 8))
    assert Wiretap(f, "input+input").layer == "input"


class ChannelsLast(nn.Module):
    """Features of (B, rows, cols, channels), as in transformers."""

    def __init__(self, channels=8):
        super().__init__()
        self.embed, self.mix = nn.Linear(1, channels), nn.Linear(channels, channels)
        self.norm, self.back = nn.LayerNorm(channels), nn.Linear(channels, 1)

    def forward(self, x):
        h = self.embed(x.permute(0, 2, 3, 1) / 100)
        return self.back(self.norm(h + self.mix(h))).permute(0, 3, 1, 2) * 100


@pytest.mark.parametrize("channels", [8, 16])
def test_channels_that_come_last_are_told_from_those_that_come_first(channels):
    torch.manual_seed(1)
    f, x = ChannelsLast(channels), low_dose(shape=(16, 16))  # 16 channels: the shape tells nothing
    for layer in ("embed", "norm", "embed+mix"):
        tap = Wiretap(f, layer)
        z = tap.phi(x)
        assert z.shape[1:] == (channels * (1 + ("+" in layer)), 16, 16)
        if tap.is_cut:
            assert torch.equal(tap.psi(z), f(x))
    feature = f.embed(x.permute(0, 2, 3, 1) / 100)[..., 2]
    assert torch.equal(Wiretap(f, "embed").phi(x)[:, 2], feature)
    torch.manual_seed(1)
    first = nn.Sequential(conv(1, 16), nn.ReLU(), conv(16, 1))
    assert torch.equal(Wiretap(first, "1").phi(x), first[1](first[0](x)))


def test_a_network_spread_over_devices_has_its_own_layers():
    torch.manual_seed(2)
    f, x = UNet(), low_dose(shape=(24, 32))
    spread = nn.DataParallel(f)
    assert Wiretap(spread, 1).layers == Wiretap(f, 1).layers
    for name in ("up2", "module.up2"):  # as torch names it, too
        tap = Wiretap(spread, name)
        assert tap.layer == "up2" and torch.equal(tap.phi(x), Wiretap(f, "up2").phi(x))
    whole = Wiretap(spread, "1+up2")
    assert torch.equal(whole.psi(whole.phi(x)), f(x))


def test_a_forward_that_asks_for_the_size_has_no_layers_and_says_why():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = conv(1, 1)

        def forward(self, x):
            if x.shape[-1] % 2:
                x = functional.pad(x, (0, 1))
            return self.a(x)

    assert Wiretap(Padded(), "input").layers == ["input", "output"]
    with pytest.raises(DataError, match=r"unknown layer.*cannot trace Padded: .*control flow"):
        Wiretap(Padded(), "a")
