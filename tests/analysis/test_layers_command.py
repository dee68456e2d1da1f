"""`ctxai layers`: a table that can be read and typed from; a study of a layer that is no cut."""

import json

import pytest

from analysis.main import main
from analysis.session import options
from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.vae import VAE
from ctxai.sampling.model import InvarianceModel
from ctxai.weights.load import load_denoiser
from ctxai.wiretap.wiretap import Wiretap

NETWORK = """
import torch
from torch import nn

class Skipped(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.middle = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Conv2d(2, 1, 1)
        with torch.no_grad():  # near a mean of 3 × 3 pixels, so that it answers in HU
            for layer in (self.first, self.middle, self.last):
                layer.weight *= 0.02
                layer.bias.zero_()
            self.first.weight[:, 0] += 1.0 / 9.0
            self.last.weight += 0.5

    def forward(self, x):
        h = self.first(x / 100)
        return 100 * self.last(torch.relu(self.middle(h)) + h)

def build():
    torch.manual_seed(1)
    return Skipped().eval()

def gates():
    class Choosing(Skipped):
        def forward(self, x):
            return super().forward(x) if x.shape[-1] > 3 else x
    torch.manual_seed(1)
    return Choosing().eval()
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    file = tmp_path_factory.mktemp("network") / "mine.py"
    file.write_text(NETWORK)
    return file


def test_the_table_of_a_network_with_a_skip(network, capsys):
    assert main(["layers", f"{network}:build", "--patch", "32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "z", "sees", "cut", "passes", "by"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert list(rows) == ["input", "1", "middle", "2", "last", "output"]
    assert "2 × 32 × 32" in rows["middle"] and rows["1"].endswith("yes")
    assert rows["middle"].split()[-5:] == ["5", "no", "1;", "together:", "1+middle"]
    assert main(["layers", f"{network}:build", "--patch", "4"]) == 0
    assert "≥ 4" in capsys.readouterr().out


def test_a_network_that_cannot_be_traced_says_why(network, capsys):
    assert main(["layers", f"{network}:gates"]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["layer", "input", "output"]
    assert "cannot trace Choosing" in said.err


def test_what_cannot_be_listed(tmp_path, capsys):
    assert main(["layers", str(tmp_path / "none.py:build")]) == 2
    assert main(["layers", "chen", "--patch", "0"]) == 2
    assert "--patch" in capsys.readouterr().err


def test_a_study_after_a_layer_that_is_no_cut_says_what_passes_it(
    network, ct_folder, tiny_weights, tmp_path, monkeypatch, capsys
):
    """And one of the cut of both tensors, which has nothing to say."""
    f = load_denoiser(f"{network}:build")[0]

    def models(*_, **__):
        found = {}
        for layer, channels in (("middle", 2), ("1+middle", 4)):
            vae = VAE(shape=(16, 16), latent=6, widths=(8, 8), scale=200.0)
            cinn = ConditionalINN(
                latent=6, condition_shape=(channels, 16, 16), blocks=2, hidden=8, embedding=8
            )
            found[layer] = InvarianceModel(
                wiretap=Wiretap(f, layer), vae=vae.eval(), cinn=cinn.eval()
            )
        return found

    monkeypatch.setattr(options, "models_for", models)
    out = tmp_path / "out"
    argv = [
        "invariances", "--images", str(ct_folder), "--weights", str(tiny_weights.folder),
        "--denoiser", f"{network}:build", "--layers", "middle", "1+middle", "-n", "3",
        "--out", str(out),
    ]  # fmt: skip
    assert main(argv) == 0
    said = "layer middle is no cut: past it, the output also sees 1; the samples hold the layer"
    notes = json.loads((out / "run.json").read_text())["notes"]
    assert [note for note in notes if "no cut" in note] == [
        f"{said} alone (--layers 1+middle holds all of it)"
    ]
    assert said in capsys.readouterr().err and said in (out / "report.html").read_text()
