"""A network of neighbouring slices through the studies: what it is given, and what it lacks."""

import json

import numpy as np
import pytest
import torch
import zarr
from torch.nn.functional import conv2d

from analysis.main import main
from analysis.scanner.low_dose import scanned_slices
from analysis.scanner.surroundings import window_in
from analysis.session.neighbours import among_neighbours, models_among
from analysis.session.scene import open_scene
from ctxai import AmongNeighbours, InvarianceModel, Wiretap
from recon import read_images

pytestmark = pytest.mark.usefixtures("few_scans")

WEIGHTS = [0.5, 0.2, 0.3]
FACTORY = f"""
import torch
from torch.nn.functional import conv2d, pad

def make():
    kernel = (torch.tensor({WEIGHTS}) / 9)[None, :, None, None].expand(1, 3, 3, 3)
    return lambda x: conv2d(pad(x, [1] * 4, mode="replicate"), kernel)
"""


@pytest.fixture
def network(tmp_path, tiny_weights, monkeypatch):
    import analysis.training.recipes

    def train_for(f, *, layers, domain, **_):
        with torch.no_grad():
            f(torch.zeros(1, 1, 16, 16))  # where there are no neighbours, it is its own
        model = tiny_weights.load_model("chen", "output", domain)
        return {
            layer: InvarianceModel(Wiretap(f, layer), model.vae, model.cinn, domain, facts={})
            for layer in layers
        }

    monkeypatch.setattr(analysis.training.recipes, "train_for", train_for)
    (tmp_path / "mine.py").write_text(FACTORY)
    return f"{tmp_path / 'mine.py'}:make"


def words(command, ct_folder, tiny_weights, network, out, *more):
    return [
        command, "--images", str(ct_folder), "--weights", str(tiny_weights.folder),
        "--denoiser", network, "--input", "slices=3", "--roi", "36", "42", "--out", str(out), *more,
    ]  # fmt: skip


def test_neighbours_are_scanned_as_the_slice_is(ct_folder, tiny_weights):
    """At one exposure, with the noise of their own number in the series, in the place of x."""
    scene = open_scene(
        ct_folder, number=None, roi=(36, 42), kvp=None, weights=tiny_weights, own=True
    )
    f = AmongNeighbours(lambda x: x.mean(1, keepdim=True), 3)
    scanner = scene.scanner(f, seed=4)
    held = among_neighbours(f, scene, scanner, 10.0)
    low = scanned_slices(
        scene.images.hu, scene.images.spacing, image_mas=scene.images.exposures, mas=10.0,
        kvp=scene.kvp, slice_thickness=1.5, seed=4,
    )  # fmt: skip
    place = window_in(scanner.slice_operator.grid, scanner.context_grid)
    for neighbour, index in zip(held.neighbours, (0, 2)):
        off = neighbour.numpy() - place.of(low[index])
        noise = place.of(low[index] - scene.images.hu[index])
        assert off.std() < 0.15 * noise.std()  # rays beside those of the patch have noise
    plain = torch.relu
    assert among_neighbours(plain, scene, scanner, 10.0) is plain
    model = tiny_weights.load_model("chen", "output", "x")
    [found] = models_among({"output": model}, held).values()
    assert found.wiretap.f is held and found.networks == model.networks
    assert models_among({"output": found}, held)["output"] is found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "more", "first"),
    [
        ("target-domain", ("--mas", "10", "40", "--draws", "2"), 10),
        ("invariances", ("--mas", "20"), 20),
    ],
)
def test_the_neighbours_are_those_of_the_scan_and_stay(
    command, more, first, ct_folder, tiny_weights, network, tmp_path, capsys
):
    """They are slices 0 and 2 of the low-dose series that is written, at the first exposure."""
    out = tmp_path / "out"
    assert main(words(command, ct_folder, tiny_weights, network, out, *more, "-n", "2")) == 0
    notes = json.loads((out / "run.json").read_text())["notes"]
    said = f"1 slice on either side, held as scanned at {first} mAs"
    assert len([note for note in notes if said in note]) == 1 and said in capsys.readouterr().err
    series = torch.from_numpy(read_images(out / f"mas-{first:03d}").hu.copy())
    patch, inner = np.s_[28:44, 34:50], np.s_[1:-1, 1:-1]
    kernel = (torch.tensor(WEIGHTS) / 9)[None, :, None, None].expand(1, 3, 3, 3)
    groups = zarr.open_group(str(out / "samples.zarr"), mode="r")
    for name in groups.group_keys():
        x, fx = (torch.from_numpy(groups[name][which][...]) for which in ("x", "fx"))
        series[1][patch] = x
        among = conv2d(series[None], kernel, padding=1)[0, 0][patch]
        alone = conv2d(x[None, None], kernel.sum(1, keepdim=True), padding=1)[0, 0]
        off, other = (float((fx - answer)[inner].std()) for answer in (among, alone))
        assert off < 0.15 * other, (name, off, other)  # rays beside those of the patch have noise


def test_a_slice_without_neighbours_is_refused_in_one_line(
    ct_folder, tiny_weights, network, tmp_path, capsys
):
    out = tmp_path / "out"
    edge = words("target-domain", ct_folder, tiny_weights, network, out, "--slice", "0")
    assert main(edge) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "note" not in line]
    assert len(error) == 1 and "--slice" in error[0] and "expected 1 to 1, got 0" in error[0]
    single = tmp_path / "one"
    single.mkdir()
    (single / "a.dcm").write_bytes(sorted(ct_folder.glob("*.dcm"))[0].read_bytes())
    for command in ("invariances", "projection-domain"):
        assert main(words(command, single, tiny_weights, network, out)) == 2
        error = [line for line in capsys.readouterr().err.splitlines() if "note" not in line]
        assert len(error) == 1 and "too few slices for a network of 3" in error[0]
        assert "at least 3, got 1" in error[0]
    assert not out.exists()
