"""Weights of ldct-benchmark: its names of tensors, its normalisation, and what is refused."""

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from ctxai.weights.load import load_denoiser
from ctxai.weights.published import load_ldct_benchmark
from recon.errors import DataError

MEAN, SD = 481.45419786099086, 502.18507379395044  # of ldct-benchmark's data, HU + 1024


def cnn10(seed):
    """Tensors under the names that a ModuleList ``layers`` of three convolutions gives."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {0: (64, 1, 9, 9), 2: (32, 64, 3, 3), 4: (1, 32, 5, 5)}
    return {
        f"layers.{n}.{kind}": 0.05 * torch.randn(shape, generator=generator)
        for n, whole in shapes.items()
        for kind, shape in (("weight", whole), ("bias", whole[:1]))
    }


def wganvgg(seed):
    """The same for a Sequential ``net`` of eight."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {2 * n: (32 if n < 7 else 1, 32 if n else 1, 3, 3) for n in range(8)}
    return {
        f"net.{n}.{kind}": 0.05 * torch.randn(shape, generator=generator)
        for n, whole in shapes.items()
        for kind, shape in (("weight", whole), ("bias", whole[:1]))
    }


def redcnn(seed):
    """The same for five convolutions and five transposed ones, each a module of its own."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for n in range(1, 6):
        down, up = (96, 1 if n == 1 else 96, 5, 5), (96, 1 if n == 5 else 96, 5, 5)
        for name, shape, outputs in ((f"conv{n}", down, 96), (f"tconv{n}", up, up[1])):
            tensors[f"{name}.weight"] = 0.02 * torch.randn(shape, generator=generator)
            tensors[f"{name}.bias"] = 0.02 * torch.randn(outputs, generator=generator)
    return tensors


def forward_redcnn(tensors, x):
    """RED-CNN with its three shortcuts, by the shapes of the paper's figure."""

    def layer(name, h):
        apply = functional.conv_transpose2d if name[0] == "t" else functional.conv2d
        return apply(h, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    kept = [(x + 1024 - MEAN) / SD]
    for n in range(1, 6):
        kept.append(layer(f"conv{n}", kept[-1]).clamp(min=0))
    h = kept[-1]
    for n, shortcut in zip(range(1, 6), (4, None, 2, None, 0)):
        h = layer(f"tconv{n}", h)
        h = h if shortcut is None else h + kept[shortcut]
        h = h if n == 5 else h.clamp(min=0)
    return h * SD + MEAN - 1024


def forward(tensors, x):
    """The network on HU + 1024, normalised to mean 0 and sd 1, and back."""
    h = (x + 1024 - MEAN) / SD
    keys = sorted(
        {key.rsplit(".", 1)[0] for key in tensors}, key=lambda key: int(key[-2:].strip("."))
    )
    for count, key in enumerate(keys):
        weight = tensors[f"{key}.weight"]
        h = functional.conv2d(
            h if count == 0 else h.relu(),
            weight,
            tensors[f"{key}.bias"],
            padding=len(weight[0, 0]) // 2,
        )
    return h * SD + MEAN - 1024


@pytest.mark.parametrize(("method", "make"), [("cnn10", cnn10), ("wganvgg", wganvgg)])
def test_its_tensors_give_its_images(tmp_path, method, make):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(make(1), path)
    f = load_ldct_benchmark(method, path)
    x = 400 * torch.randn(2, 1, 20, 24, generator=torch.Generator().manual_seed(2)) - 200
    torch.testing.assert_close(f(x), forward(make(1), x), rtol=1e-6, atol=1e-2)  # HU, 32 bits
    assert not any(p.requires_grad for p in f.parameters())
    again, name, _ = load_denoiser(f"{method}:{path}")
    assert name == f"{method}-weights" and torch.equal(again(x), f(x))


@pytest.mark.parametrize("method", ["redcnn", "dugan"])
def test_red_cnn_is_read_under_both_names(tmp_path, method):
    """DU-GAN's generator is RED-CNN's network."""
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(redcnn(1), path)
    f = load_ldct_benchmark(method, path)
    assert {k: v.shape for k, v in f.state_dict().items()} == {
        k: v.shape for k, v in redcnn(0).items()
    }
    x = 400 * torch.randn(2, 1, 24, 28, generator=torch.Generator().manual_seed(2)) - 200
    torch.testing.assert_close(f(x), forward_redcnn(redcnn(1), x), rtol=1e-5, atol=1e-2)
    again, name, digest = load_denoiser(f"{method}:{path}")
    assert name == f"{method}-weights" and torch.equal(again(x), f(x)) and len(digest) == 64


@pytest.mark.parametrize("method", ["redcnn", "dugan"])
def test_a_red_cnn_of_its_shortcut_alone_changes_no_hu(tmp_path, method):
    path = tmp_path / "identity.safetensors"
    safetensors.torch.save_file({k: torch.zeros_like(v) for k, v in redcnn(0).items()}, path)
    x = torch.linspace(-1024.0, 3071.0, 24 * 24).reshape(1, 1, 24, 24)
    assert (load_ldct_benchmark(method, path)(x) - x).abs().max() < 1e-3


def test_a_network_that_changes_nothing_changes_no_hu(tmp_path):
    """Their own script for DICOM files would add 20.7 HU here."""
    tensors = {key: torch.zeros_like(value) for key, value in wganvgg(0).items()}
    for n in range(8):
        tensors[f"net.{2 * n}.weight"][0, 0, 1, 1] = 1.0
    path = tmp_path / "identity.safetensors"
    safetensors.torch.save_file(tensors, path)
    x = torch.tensor([-500.0, 0.0, 40.0, 1000.0]).reshape(
        1, 1, 2, 2
    )  # above their mean: no clipping
    assert (load_ldct_benchmark("wganvgg", path)(x) - x).abs().max() < 1e-3


def test_what_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(wganvgg(1), path)
    with pytest.raises(DataError, match=r"does not hold cnn10"):
        load_ldct_benchmark("cnn10", path)
    with pytest.raises(DataError, match=r"cnn10 or redcnn or wganvgg or dugan"):
        load_ldct_benchmark("resnet", path)
    with pytest.raises(DataError, match=r"convert it once.*weights_only=True.*model_state_dict"):
        load_ldct_benchmark("cnn10", tmp_path / "cnn10.pt")
    with pytest.raises(DataError, match=r"cannot be read"):
        load_ldct_benchmark("cnn10", tmp_path / "none.safetensors")
    broken = cnn10(1)
    broken["layers.0.bias"][3] = torch.nan
    safetensors.torch.save_file(broken, path)
    with pytest.raises(DataError, match=r"'layers\.0\.bias' holds NaN.*weights\.safetensors"):
        load_ldct_benchmark("cnn10", path)


def test_the_keys_are_those_of_a_module_list_and_a_sequential():
    class List(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(
                [
                    nn.Conv2d(1, 64, 9),
                    nn.ReLU(),
                    nn.Conv2d(64, 32, 3),
                    nn.ReLU(),
                    nn.Conv2d(32, 1, 5),
                ]
            )

    assert {k: v.shape for k, v in List().state_dict().items()} == {
        k: v.shape for k, v in cnn10(0).items()
    }
