"""`ctxai train` for a denoiser of one's own: which sampler each layer gets, all by one command."""

import torch

from analysis.main import main
from analysis.session.models import sampler_for
from ctxai.wiretap.wiretap import Wiretap


def test_one_command_trains_the_samplers_of_all_layers_named(tmp_path, monkeypatch, capsys):
    import analysis.training.recipes

    asked = []

    def train_for(f, *, layers, domain, sampler, folder, **_):
        asked.append((tuple(layers), domain, sampler, folder))
        folder.mkdir(parents=True, exist_ok=True)
        return dict.fromkeys(layers)

    monkeypatch.setattr(analysis.training.recipes, "train_for", train_for)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Near(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        half = nn.Conv2d(4, 4, 3, stride=2, padding=1)\n"
        "        back = nn.ConvTranspose2d(4, 1, 2, stride=2)\n"
        "        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), half, back)\n"
        "    def forward(self, x):\n"
        "        return x + 0.05 * self.body(x)\n"
        "make = Near\n"
    )
    out = tmp_path / "out"
    words = ["train", "--denoiser", f"{tmp_path / 'net.py'}:make", "--out", str(out)]
    assert main([*words, "--layers", "body.0", "body.1", "output"]) == 0
    flows, cinns = ("1", "output"), ("2",)  # the second layer is no map of the image's size
    assert asked == [
        (layers, domain, sampler, out / "trained")
        for domain in ("x", "y")
        for layers, sampler in ((flows, "flow"), (cinns, "cinn"))
    ]
    assert capsys.readouterr().out.strip() == str(out / "trained")
    asked.clear()
    assert main([*words, "--layers", "body.0", "output", "--sampler", "cinn"]) == 0
    assert [(layers, sampler) for layers, _, sampler, _ in asked] == 2 * [(flows, "cinn")]


def test_a_denoiser_without_a_derivative_is_trained_for_too(tmp_path, monkeypatch) -> None:
    import analysis.training.recipes

    asked = []

    def train_for(f, *, layers, domain, sampler, **_):
        asked.append((tuple(layers), domain, sampler))
        return dict.fromkeys(layers)

    monkeypatch.setattr(analysis.training.recipes, "train_for", train_for)
    (tmp_path / "net.py").write_text(
        "import torch\ndef make(): return lambda x: torch.from_numpy(0.9 * x.numpy())\n"
    )
    out = tmp_path / "out"
    assert main(["train", "--denoiser", f"{tmp_path / 'net.py'}:make", "--out", str(out)]) == 0
    assert asked == [(("output",), domain, "flow") for domain in ("x", "y")]


def test_layers_of_the_images_size_get_a_flow_and_others_a_cinn() -> None:
    halved = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.Conv2d(4, 4, 3, stride=2, padding=1),
        torch.nn.ConvTranspose2d(4, 1, 2, stride=2),
    )
    kinds = [sampler_for(Wiretap(halved, layer), {"patch": 16}) for layer in ("0", "1", "output")]
    assert kinds == ["flow", "cinn", "flow"]
