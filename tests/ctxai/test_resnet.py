"""ResNet50: torchvision's keys, written out from the paper's table, and weights by path."""

import pytest
import safetensors.torch
import torch
from torch.nn import functional

from ctxai.eulig2024.resnet import ResNet50, load_resnet50
from recon.errors import DataError

pytestmark = pytest.mark.usefixtures("one_thread")


def published():
    """Keys and shapes of torchvision's resnet50."""

    def norm(name, width):
        kinds = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.{kind}": (width,) for kind in kinds} | {f"{name}.num_batches_tracked": ()}

    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    before = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            for conv, shape in (
                (1, (width, before, 1, 1)),
                (2, (width, width, 3, 3)),
                (3, (4 * width, width, 1, 1)),
            ):
                shapes[f"{at}.conv{conv}.weight"] = shape
                shapes |= norm(f"{at}.bn{conv}", shape[0])
            if block == 0:
                shapes[f"{at}.downsample.0.weight"] = (4 * width, before, 1, 1)
                shapes |= norm(f"{at}.downsample.1", 4 * width)
            before = 4 * width
    return shapes | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random numbers under the published keys."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for key, shape in published().items():
        value = torch.rand(shape, generator=generator) * 0.02
        tensors[key] = value.long() if key.endswith("tracked") else value
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    safetensors.torch.save_file(tensors, path)
    return path


def test_keys_and_size_are_torchvisions():
    network = ResNet50()
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == published()
    assert sum(p.numel() for p in network.parameters()) == 25_557_032


def test_sizes_of_the_stages_are_the_papers():
    """224² gives 56, 28, 14 and 7 pixels; the 3×3 convolution of a stage carries its stride."""
    network, sides = ResNet50().eval(), []
    for number in range(1, 5):
        network.get_submodule(f"layer{number}").register_forward_hook(
            lambda _module, _input, out: sides.append(out.shape[-1])
        )
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
    assert sides == [56, 28, 14, 7]
    first = network.get_submodule("layer2.0")
    assert (first.conv1.stride, first.conv2.stride) == ((1, 1), (2, 2))


def by_hand(tensors, x):
    """The network from its tensors alone, with functional operations."""

    def part(h, at, conv, norm, stride=1, padding=0):
        h = functional.conv2d(h, tensors[f"{at}{conv}.weight"], stride=stride, padding=padding)
        kinds = ("running_mean", "running_var", "weight", "bias")
        mean, variance, gain, shift = (
            tensors[f"{at}{norm}.{kind}"][:, None, None] for kind in kinds
        )
        return (h - mean) / (variance + 1e-5).sqrt() * gain + shift

    h = functional.max_pool2d(part(x, "", "conv1", "bn1", 2, 3).relu(), 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            at, stride = f"layer{stage}.{block}.", 2 if stage > 1 and block == 0 else 1
            new = part(h, at, "conv1", "bn1").relu()
            new = part(new, at, "conv2", "bn2", stride, 1).relu()
            new = part(new, at, "conv3", "bn3")
            if block == 0:
                h = part(h, at, "downsample.0", "downsample.1", stride)
            h = (new + h).relu()
    return h.mean((2, 3)) @ tensors["fc.weight"].T + tensors["fc.bias"]


def test_the_same_weights_through_a_functional_forward():
    torch.manual_seed(3)
    network = ResNet50(channels=2, outputs=6).double()
    x = torch.randn(2, 2, 64, 64).double()
    with torch.no_grad():
        network(x)  # in training mode: statistics of its own, so that they count
        for name, value in network.named_parameters():
            if "bn" in name:
                value += 0.1 * torch.randn(value.shape)
        found = network.eval()(x)
        off = found - by_hand(network.state_dict(), x)
    assert found.abs().max() > 0.1 and off.abs().max() < 1e-6  # the specification's


def test_weights_of_colours_are_taken_for_grey_channels(weights):
    grey, colours = ResNet50(channels=2, outputs=12).eval(), ResNet50().eval()
    last = grey.fc.weight.clone()
    assert load_resnet50(grey, weights) == "weights of resnet50.safetensors"
    load_resnet50(colours, weights)
    picture = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            grey.conv1(picture.expand(-1, 2, -1, -1)), colours.conv1(picture.expand(-1, 3, -1, -1))
        )
    assert torch.equal(grey.fc.weight, last)  # another number of outputs: its own
    tensors = safetensors.torch.load_file(weights)
    assert all(torch.equal(value, tensors[key]) for key, value in colours.state_dict().items())
    assert torch.equal(grey.get_submodule("layer4.2.bn3").running_var,
                       tensors["layer4.2.bn3.running_var"])  # fmt: skip


def test_without_a_file_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = ResNet50(outputs=3)
    before = network.conv1.weight.clone()
    assert "random" in load_resnet50(network)
    assert torch.equal(network.conv1.weight, before)


def test_what_is_refused(tmp_path, weights):
    with pytest.raises(DataError, match=r"convert them once.*resnet50"):
        load_resnet50(ResNet50(), tmp_path / "resnet50.pth")
    with pytest.raises(DataError, match="cannot be read"):
        load_resnet50(ResNet50(), tmp_path / "none.safetensors")
    tensors = safetensors.torch.load_file(weights)
    del tensors["layer3.5.conv2.weight"]
    safetensors.torch.save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(DataError, match=r"does not hold ResNet50: tensor 'layer3\.5\.conv2"):
        load_resnet50(ResNet50(), tmp_path / "less.safetensors")
    with pytest.raises(DataError, match="channels"):
        ResNet50(channels=0)
