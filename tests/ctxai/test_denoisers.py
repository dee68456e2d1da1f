import math
from itertools import pairwise

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from ctxai.denoisers import Chen, Yang
from ctxai.training.critic import Critic
from ctxai.training.features import VGG19Features
from ctxai.weights.derivative import require_differentiable
from ctxai.weights.load import load_denoiser
from recon.errors import DataError


@pytest.fixture(autouse=True)
def no_cached_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def convolution(channels, filters, side):
    """Number of weights and biases of a convolution."""
    return filters * (channels * side**2 + 1)


def ramp(batch=2, rows=18, cols=23):
    generator = torch.Generator().manual_seed(1)
    return 400 * torch.randn(batch, 1, rows, cols, generator=generator) - 200


def test_the_networks_are_those_of_the_papers():
    chen = convolution(1, 64, 9) + convolution(64, 32, 3) + convolution(32, 1, 5)
    assert count(Chen()) == chen == 24513
    yang = convolution(1, 32, 3) + 6 * convolution(32, 32, 3) + convolution(32, 1, 3)
    assert count(Yang()) == yang == 56097
    widths = (1, 64, 64, 128, 128, 256, 256)
    critic = sum(convolution(*pair, 3) for pair in pairwise(widths))
    critic += (256 * 8 * 8 + 1) * 1024 + 1025
    assert count(Critic()) == critic
    # the well-known size of VGG19's convolutional part
    assert count(VGG19Features()) == 20_024_384


def test_state_dicts_hold_the_convolutions_only():
    assert set(Chen().state_dict()) == {
        f"layers.{n}.{kind}" for n in (0, 2, 4) for kind in ("weight", "bias")
    }
    assert set(Yang().state_dict()) == {
        f"net.{n}.{kind}" for n in range(0, 15, 2) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("cls", [Chen, Yang])
def test_the_same_weights_through_a_functional_forward(cls):
    torch.manual_seed(0)
    f, x = cls(offset=-300.0, scale=500.0).double(), ramp().double()
    weights = list(f.state_dict().values())
    h = (x + 300) / 500
    for number, (weight, bias) in enumerate(zip(weights[::2], weights[1::2])):
        h = functional.conv2d(h if number == 0 else h.relu(), weight, bias, padding="same")
    assert (f(x) - (500 * h - 300)).abs().max() < 1e-6  # HU, the specification's
    single = f.float()(x.float())  # 32 bits hold 1,000 HU to 6e-5
    assert (single - f.double()(x)).abs().max() < 1e-3


@pytest.mark.parametrize("cls", [Chen, Yang])
def test_denoisers_of_one_shifted_point_neither_flip_nor_transpose(cls):
    """Filters that hand the image on, shifted by one pixel each, shift it by their number."""
    f = cls(offset=-1000.0, scale=100.0)  # non-negative in, so that the ReLUs do nothing
    layers = [module for module in f.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
            layer.bias.zero_()
            middle = layer.kernel_size[0] // 2
            layer.weight[0, 0, middle, middle - 1] = 1.0  # takes the left neighbour: moves right
    x = torch.full((1, 1, 30, 34), -1000.0)
    x[0, 0, 7, 12] = 50.0
    assert torch.allclose(f(x), x.roll(len(layers), -1), atol=1e-3)


@pytest.mark.parametrize("cls", [Chen, Yang, Critic])
def test_a_network_needs_a_scale(cls):
    with pytest.raises(DataError, match="scale"):
        cls(scale=0.0)


def test_the_normalisation_moves_with_the_network_and_is_not_trained():
    f = Chen().double()
    assert f.offset.dtype == torch.float64
    assert not {"offset", "scale"} & {name for name, _ in f.named_parameters()}


def test_a_narrow_critic_scores_any_batch_and_refuses_other_sizes():
    critic = Critic(shape=(16, 24), width=0.125)
    assert critic(torch.zeros(3, 1, 16, 24)).shape == (3,)
    assert critic.config["width"] == 0.125
    with pytest.raises(DataError, match="multiples of 8"):
        Critic(shape=(20, 24))


def test_the_critic_sees_normalised_images():
    torch.manual_seed(0)
    a = Critic(shape=(8, 8), width=0.1, offset=0.0, scale=1.0)
    b = Critic(shape=(8, 8), width=0.1, offset=-400.0, scale=450.0)
    b.load_state_dict(a.state_dict())
    u = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(a(u), b(450 * u - 400), atol=1e-5)


class TestFeatures:
    def test_layers_carry_torchvisions_numbers(self):
        features = VGG19Features()
        numbers = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
        assert list(features.state_dict()) == [
            f"features.{n}.{kind}" for n in numbers for kind in ("weight", "bias")
        ]
        assert isinstance(features.features[-1], nn.ReLU) and len(features.features) == 36
        assert not any(parameter.requires_grad for parameter in features.parameters())

    def test_a_cut_computes_the_first_layers(self):
        features, x = VGG19Features(cut="relu2_1", seed=3).double(), ramp(1, 16, 16).double()
        u = ((x + 1000) / 2000).expand(1, 3, 16, 16)
        mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
        w = features.state_dict()
        h = (u - mean) / std
        for n in (0, 2):
            h = functional.conv2d(h, w[f"features.{n}.weight"], padding=1).relu()
        h = functional.conv2d(functional.max_pool2d(h, 2), w["features.5.weight"], padding=1).relu()
        assert torch.allclose(features(x), h, rtol=0, atol=1e-6)

    def test_random_weights_are_seeded_keep_the_scale_and_say_so(self):
        first, again, other = (VGG19Features(cut="relu3_2", seed=seed) for seed in (1, 1, 2))
        assert torch.equal(first.features[0].weight, again.features[0].weight)
        assert not torch.equal(first.features[0].weight, other.features[0].weight)
        assert "random" in first.source and "seed 1" in first.source
        level = first(ramp(1, 64, 64)).square().mean().sqrt()
        assert 0.2 < level < 10  # Kaiming: of order one at any depth

    def test_weights_come_from_a_file_else_from_torchs_folder(self, tmp_path, monkeypatch):
        tensors = VGG19Features(cut="relu3_1", seed=9).state_dict()
        tensors["classifier.6.bias"] = torch.zeros(1000)
        folder = tmp_path / "checkpoints"
        folder.mkdir()
        path = folder / "vgg19-1234.safetensors"
        safetensors.torch.save_file(tensors, path)
        given = VGG19Features(path, cut="relu2_2")
        assert given.source == "weights of vgg19-1234.safetensors"
        assert torch.equal(given.features[5].weight, tensors["features.5.weight"])
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        found = VGG19Features(cut="relu2_2")
        assert found.source == given.source
        assert torch.equal(found.features[7].weight, given.features[7].weight)
        with pytest.raises(DataError, match=r"does not hold VGG19: tensor 'features\.12\.weight'"):
            VGG19Features(path, cut="relu3_2")

    def test_files_that_cannot_be_used_are_refused(self, tmp_path):
        with pytest.raises(DataError, match="convert them once"):
            VGG19Features(tmp_path / "vgg19.pth")
        with pytest.raises(DataError, match="cannot be read"):
            VGG19Features(tmp_path / "missing.safetensors")
        with pytest.raises(DataError, match="no such layer"):
            VGG19Features(cut="relu6_1")


@pytest.mark.filterwarnings("ignore:.*hardly denoises")
class TestUsersDenoiser:
    SOURCE = """
import torch
class Blur(torch.nn.Module):
    def __init__(self, value=0.25):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1, 1, 2, 2), value))
    def forward(self, x):
        return torch.nn.functional.conv2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), self.weight)
def blur(): return Blur()
def paler(): return Blur(0.24)
def plain(): return lambda x: x.clamp(-1000, 500)
def smaller(): return lambda x: x[..., 1:]
def whole(): return lambda x: x.long()
def text(): return lambda x: "image"
def broken(): return lambda x: x / 0
def number(): return 3
def nothing(): return None
def raising(): raise RuntimeError("no weights here")
def failing(): return lambda x: x @ torch.zeros(3, 3)
def leaving(): raise SystemExit(0)
def quitting():
    def f(x): raise SystemExit(0)
    return f
def wider(): return lambda x: x.double()
def first(): return lambda x: x[:1]
def alone():
    def f(x):
        if len(x) > 1: raise ValueError("one image at a time")
        return 0.5 * (x + torch.nn.functional.pad(x, (1, 0))[..., :-1])
    return f
def writing(): return lambda x: x.add_(1.0)
def deaf(): return torch.zeros_like
def drawing(): return lambda x: x + 50 * torch.randn_like(x)
def numpy(): return lambda x: torch.from_numpy(0.9 * x.numpy())
def detached(): return lambda x: 0.9 * x.detach()
constant = 4
"""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "my_net.py"
        path.write_text(self.SOURCE)
        return path

    def test_a_module_is_loaded_frozen(self, path):
        f, name, digest = load_denoiser(f"{path}:blur")
        assert name == "my_net.blur" and len(digest) == 64
        assert not f.training and not f.weight.requires_grad
        assert torch.equal(f(torch.ones(2, 1, 4, 4))[..., :3, :3], torch.ones(2, 1, 3, 3))

    def test_a_plain_callable_is_loaded_as_it_is(self, path):
        f, name, _ = load_denoiser(f"{path}:plain")
        assert name == "my_net.plain"
        assert f(torch.tensor([900.0])) == 500

    def test_nothing_is_left_beside_the_file(self, path):
        load_denoiser(f"{path}:blur")
        assert [item.name for item in path.parent.iterdir()] == ["my_net.py"]

    def test_the_digest_follows_answers_and_weights_but_no_comment(self, path):
        blur, again, paler, plain = (
            load_denoiser(f"{path}:{factory}")[2] for factory in ("blur", "blur", "paler", "plain")
        )
        assert blur == again and len({blur, paler, plain}) == 3
        path.write_text(self.SOURCE + "# changed\n")
        assert load_denoiser(f"{path}:blur")[2] == blur

    @pytest.mark.parametrize(
        ("factory", "message"),
        [
            ("smaller", r"expected a float tensor .* got \(1, 1, 64, 63\)"),
            ("whole", "torch.int64"),
            ("text", "got str"),
            ("broken", "NaN or infinity"),
            ("number", "returned no denoiser .* got int"),
            ("nothing", "returned no denoiser"),
            ("raising", "RuntimeError: no weights here"),
            ("failing", "fails on an image of 64 × 64"),
            ("constant", "no function 'constant'"),
            ("leaving", "own code failed .* SystemExit: 0"),
            ("quitting", "fails on an image .* SystemExit: 0"),
            ("wider", "in 32 bits, got .* torch.float64"),
            ("first", r"expected .* \(2, 1, 64, 64\) in 32 bits, got \(1, 1, 64, 64\)"),
            ("writing", "writes into the images"),
            ("deaf", "same for every image"),
            ("drawing", "draws random numbers"),
            ("missing", "no function 'missing'"),
        ],
    )
    def test_what_is_no_denoiser_is_refused_in_one_line(self, path, factory, message):
        with pytest.raises(DataError, match=message) as caught:
            load_denoiser(f"{path}:{factory}")
        assert "\n" not in str(caught.value)

    def test_one_that_takes_one_image_at_a_time_is_given_one_after_the_other(self, path):
        with pytest.warns(UserWarning, match="one image at a time"):
            f, _, _ = load_denoiser(f"{path}:alone")
        x = ramp(3)
        assert f(x).shape == x.shape and torch.equal(f(x)[1:2], f(x[1:2]))

    @pytest.mark.parametrize("factory", ["numpy", "detached"])
    def test_a_denoiser_without_derivative_is_told_from_one_that_has_it(self, path, factory):
        require_differentiable(load_denoiser(f"{path}:blur")[0], "blur")
        require_differentiable(load_denoiser(f"{path}:plain")[0], "plain")
        with pytest.raises(DataError, match="operations of torch"):
            require_differentiable(load_denoiser(f"{path}:{factory}")[0], factory)

    @pytest.mark.parametrize(
        "spec", ["identity", "chen.py", "net.py:", ":make", "net.txt:make", ""]
    )
    def test_other_names_are_refused(self, spec):
        with pytest.raises(DataError, match="no such denoiser"):
            load_denoiser(spec)

    def test_files_that_are_missing_or_no_python_are_refused(self, tmp_path):
        with pytest.raises(DataError, match="not found"):
            load_denoiser(f"{tmp_path}/absent.py:make")
        (tmp_path / "bad.py").write_text("def make(:\n")
        with pytest.raises(DataError, match="SyntaxError"):
            load_denoiser(f"{tmp_path}/bad.py:make")


def test_normalised_air_water_and_bone_are_of_order_one():
    for hu in (-1000.0, 0.0, 1000.0):
        assert math.fabs((hu - float(Chen().offset)) / float(Chen().scale)) < 3.2
