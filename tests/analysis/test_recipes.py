"""Training images and the whole training, in miniature."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from analysis.data.phantom_pairs import WorkingPoint, phantom_pairs
from analysis.data.various_scans import ScanRange, various_pairs, working_points
from analysis.training.recipes import LAYERS, train_all, train_for
from analysis.training.stages import Recipe, Stages
from ctxai.data import PatchPairs
from ctxai.files.modules import load_module, save_module
from ctxai.sampling.draw import draw
from ctxai.sampling.model import FlowModel, InvarianceModel
from ctxai.weights.sets import SAMPLERS, WeightSet, sampler_name
from recon import DataError

TINY = Recipe(
    name="tiny", slices=2, held_out=2, own_slices=2, chen_steps=2, yang_start_steps=1,
    yang_wgan_steps=1, vae_steps=2, vae_width=8, inn_steps=(2, 2),
    inn_inner_steps=2, inn_batch=2, inn_blocks=1, inn_hidden=8, flow_steps=2, flow_batch=2,
    flow_tune_steps=1, flow_widths=(8, 8, 8), batch=2, scan_slices=2, scan_kinds=2,
    scans=ScanRange(spacing_mm=(3.0, 5.0)),
)  # fmt: skip
SIDE = 16
POINT = WorkingPoint(spacing_mm=4.0, matrix=100, patch=SIDE)


def test_training_images_carry_the_noise_of_their_doses() -> None:
    x, y = phantom_pairs(2, seed=5, anatomies=["abdomen"], point=POINT, progress=False)
    again, _ = phantom_pairs(2, seed=5, anatomies=["abdomen"], point=POINT, progress=False)
    other, _ = phantom_pairs(2, seed=6, anatomies=["abdomen"], point=POINT, progress=False)
    assert x.shape == y.shape == (2, 100, 100)
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    inside = (y > -200) & (y < 200)
    noise = (x - y)[inside]
    assert 20 < float(noise.std()) < 200  # HU; some 60 at 10 mAs in the middle of an abdomen
    assert abs(float(noise.mean())) < 8  # HU; blurred edges and the logarithm's bias, no shift


def test_anatomies_to_learn_from_have_no_noise_and_their_scans_have_it_once() -> None:
    how = {"seed": 5, "anatomies": ["abdomen"], "point": POINT, "progress": False}
    x, y = phantom_pairs(2, **how)
    of_clean, clean = phantom_pairs(2, noise_free=True, **how)
    flat = (y > -200) & (y < 200)
    flat &= (clean - clean.roll(1, -1)).abs() < 1.0  # no edge
    flat &= (clean - clean.roll(1, -2)).abs() < 1.0
    rough = float((y - clean)[flat].std())
    assert rough > 5.0  # HU; noise of 200 mAs, which the other has not
    once, twice = (of_clean - clean)[flat].var(), (x - clean)[flat].var()
    # x of the noisy y has the noise of both scans, that of the clean one the low dose's alone
    assert float(twice - once) == pytest.approx(rough**2, rel=0.5)


def test_scans_of_a_range_cover_it_evenly() -> None:
    within = ScanRange(spacing_mm=(0.4, 1.6), mas_mm=(10.0, 1000.0), kvp=(80.0, 140.0))
    points = working_points(8, within, like=WorkingPoint(), seed=3)
    spacing = np.array([point.spacing_mm for point in points])
    quanta = np.array([point.mas * point.slice_thickness_mm for point in points])
    # the middles of eight equal steps of the logarithm
    assert spacing == pytest.approx(0.4 * 4 ** ((np.arange(8) + 0.5) / 8), rel=1e-3)
    assert np.sort(quanta) == pytest.approx(10.0 * 100 ** ((np.arange(8) + 0.5) / 8), rel=0.01)
    assert abs(np.corrcoef(np.log(spacing), np.log(quanta))[0, 1]) < 0.8  # not in step
    assert all(point.matrix * point.spacing_mm == pytest.approx(400, abs=1) for point in points)
    assert {point.kvp for point in points} == {80.0, 140.0}
    assert points == working_points(8, within, like=WorkingPoint(), seed=3)
    assert points != working_points(8, within, like=WorkingPoint(), seed=4)


def test_the_noise_of_a_scan_is_parted_from_what_it_blurs() -> None:
    """x - y holds the blur of the second reconstruction too, at every edge; the noise does not."""
    points = [replace(POINT, mas=mas) for mas in (40.0, 10.0)]
    pairs = various_pairs(4, points, side=64, seed=5, progress=False)
    assert pairs.x.shape == (4, 64, 64) and pairs.noise is not None
    blur = pairs.x - pairs.noise - pairs.y
    steps = torch.stack([(pairs.y - pairs.y.roll(k, dim)).abs() for dim in (1, 2) for k in (1, -1)])
    edge, flat = steps.amax(0) > 100.0, steps.amax(0) < 10.0
    assert float(blur[edge].abs().mean()) > 4 * float(blur[flat].abs().mean())
    assert abs(float(pairs.noise[flat].mean())) < 3.0
    high, low = pairs.noise[:2].std(), pairs.noise[2:].std()
    assert float(low / high) == pytest.approx(2.0, rel=0.4)  # other bodies, four times the quanta
    _, _, seen, noise = pairs.batch(3, torch.Generator().manual_seed(1))
    assert seen is None and noise.shape == (3, 1, SIDE, SIDE)


def test_no_slices_and_unknown_anatomies_are_refused() -> None:
    with pytest.raises(DataError, match="at least 1"):
        phantom_pairs(0, seed=1, point=POINT)
    with pytest.raises(DataError, match="unknown anatomy"):
        phantom_pairs(1, seed=1, anatomies=["knee"], point=POINT, progress=False)


@pytest.fixture(scope="module", autouse=True)
def fewer_layers():
    """A layer inside each denoiser, beside its output, stands for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LAYERS, ("chen", "x"), ("1", "output"))
        patch.setitem(LAYERS, ("yang", "x"), ("4", "output"))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> WeightSet:
    return train_all(tmp_path_factory.mktemp("set"), recipe=TINY, point=POINT, progress=False)


def test_the_whole_set_trains_and_is_sealed(trained: WeightSet) -> None:
    samplers = {
        sampler_name(sampler, f, layer, domain)
        for sampler in SAMPLERS
        for (f, domain), layers in LAYERS.items()
        for layer in layers
    }
    assert set(trained.names) == {"chen", "yang", "vae_x", "vae_y"} | samplers
    assert trained.manifest["recipe"]["name"] == "tiny"
    assert trained.manifest["recipe"]["working_point"]["matrix"] == 100
    assert set(trained.manifest["figures"]) == set(trained.names)
    assert all(
        np.isfinite(value)
        for figures in trained.manifest["figures"].values()
        for value in figures.values()
    )
    for (f, domain), layers in LAYERS.items():
        for layer in layers:
            assert trained.load_model(f, layer, domain, sampler="cinn").wiretap.layer == layer
            best = trained.load_model(f, layer, domain)
            better = InvarianceModel if layer == "output" else FlowModel
            assert isinstance(best, better)


@pytest.mark.slow
def test_training_again_from_finished_checkpoints_gives_the_same_set(trained: WeightSet) -> None:
    before = trained.manifest
    again = train_all(trained.folder, recipe=TINY, point=POINT, progress=False)
    assert again.manifest == before


def test_networks_that_are_kept_are_not_trained_again(trained: WeightSet, tmp_path: Path) -> None:
    partial = shutil.copytree(
        trained.folder, tmp_path / "partial", ignore=shutil.ignore_patterns("checkpoints")
    )
    (partial / f"{sampler_name('flow', 'yang', 'output', 'x')}.safetensors").unlink()
    kept = WeightSet(partial)
    kept.seal(
        recipe=trained.manifest["recipe"],
        figures={key: {} for key in trained.names if key != "flow-yang-output-x"},
    )
    again = train_all(tmp_path / "new", recipe=TINY, point=POINT, keep=kept, progress=False)
    assert again.manifest["sha256"] == trained.manifest["sha256"]
    made = {path.stem for path in (tmp_path / "new/checkpoints").iterdir()}
    assert made == {"flow-yang-output-x"}


def test_a_flow_can_go_on_from_a_kept_one_with_scans_at_other_doses(
    trained: WeightSet, tmp_path: Path
) -> None:
    name = "flow-yang-output-x"
    noisier = ScanRange(spacing_mm=(3.0, 5.0), mas_mm=(2.0, 5.0))
    recipe = replace(TINY, flow_goes_on=True, scans=noisier, flow_lr=0.0)
    again = train_all(
        tmp_path, recipe=recipe, point=POINT, keep=trained, anew=[name], names=["yang", name],
        progress=False,
    )  # fmt: skip
    (before, _), (after, _) = trained.load(name), again.load(name)
    for old, new in zip(before.parameters(), after.parameters()):
        assert torch.equal(old, new)  # at a rate of zero, those that it started from
    assert float(after.scale / before.scale) > 1.01  # but its scale is that of noisier scans


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_users_denoiser_gets_its_sampler_once(
    trained: WeightSet, tmp_path: Path, sampler: str
) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x

    def models() -> dict:
        return train_for(
            f, name="half", digest="0" * 64, layers=["output"], domain="y", folder=tmp_path,
            sampler=sampler, weights=trained, recipe=TINY, progress=False,
        )  # fmt: skip

    first = models()["output"]
    [path] = tmp_path.glob("*/*.safetensors")
    written = path.stat().st_mtime_ns
    second = models()["output"]
    assert path.stat().st_mtime_ns == written
    v, z = torch.randn(3, first.latent), torch.randn(1, 1, SIDE, SIDE)
    # HU: convolutions sum in another order for another layout of the same weights in memory
    torch.testing.assert_close(first.generate(v, z), second.generate(v, z), rtol=1e-4, atol=1e-2)
    with pytest.raises(DataError, match="another denoiser"):
        train_for(
            f, name="half", digest="0" * 16 + "1" * 48, layers=["output"], domain="y",
            folder=tmp_path, sampler=sampler, weights=trained, recipe=TINY, progress=False,
        )  # fmt: skip


@pytest.mark.parametrize("side", [POINT.matrix, SIDE])
def test_a_network_of_one_size_is_learnt_in_its_place(
    trained: WeightSet, tmp_path: Path, side: int
) -> None:
    """One that takes whole slices gives what they learn from; one of patches sees patches alone."""

    def f(x: torch.Tensor) -> torch.Tensor:
        assert x.shape[2:] == (side, side)
        return 0.9 * x

    models = train_for(
        f, name="fixed", digest="2" * 64, layers=["output"], domain="y", folder=tmp_path,
        sampler="flow", weights=trained, recipe=TINY, progress=False,
    )  # fmt: skip
    assert models["output"].facts["in_place"] == (side != SIDE)
    v, z = torch.randn(2, models["output"].latent), torch.zeros(1, 1, SIDE, SIDE)
    assert models["output"].generate(v, z).shape == (2, 1, SIDE, SIDE)


@pytest.mark.parametrize("side", [256, 300])
def test_of_whole_slices_parts_are_enough_for_a_network_that_looks_a_little_around(
    tmp_path: Path, side: int
) -> None:
    """192 pixels of each slice, with the output that all of the slice gives there."""

    def f(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * nn.functional.avg_pool2d(x, 5, 1, 2) + 10.0

    x = 50.0 * torch.randn(2, side, side, generator=torch.Generator().manual_seed(1))
    stages = Stages(tmp_path, TINY, POINT, seed=1, progress=False)
    found = stages.in_place(PatchPairs(x, x + 1.0, patch=SIDE), f)
    assert found.x.shape == found.y.shape == found.seen.shape == (2, 192, 192)
    assert torch.equal(found.y, found.x + 1.0)
    for part, seen, whole in zip(found.x, found.seen, x):
        [(top, left)] = (whole[:-191, :-191] == part[0, 0]).nonzero().tolist()
        assert torch.equal(whole[top : top + 192, left : left + 192], part)
        expected = f(whole[None])[0, top : top + 192, left : left + 192]
        torch.testing.assert_close(seen, expected, rtol=0, atol=1e-3)  # HU
        assert min(top, left) >= 32 and max(top, left) <= side - 192 - 32


def test_a_cinn_takes_the_steps_of_its_domain_at_the_output_and_others_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {}
    monkeypatch.setattr(
        Stages, "run", lambda self, stage, task, steps: taken.update({stage: steps})
    )
    recipe = replace(TINY, inn_steps=(5, 4), inn_inner_steps=3)
    stages = Stages(tmp_path, recipe, POINT, seed=1, progress=False)
    images = torch.zeros(2, SIDE, SIDE)
    pairs = PatchPairs(images, images, patch=SIDE)
    f, vae = (
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 1)),
        stages.vae("x", pairs),
    )
    for layer, domain in (("output", "x"), ("output", "y"), ("0", "x"), ("0", "y")):
        stages.cinn(f, vae, layer, domain, pairs, f"{layer} {domain}")
    taken.pop("vae_x")
    assert taken == {"output x": 5, "output y": 4, "0 x": 3, "0 y": 3}


def test_samplers_for_another_scan_are_kept_apart(trained: WeightSet, tmp_path: Path) -> None:
    def digests(point: WorkingPoint | None) -> set[str]:
        models = train_for(
            lambda x: 0.9 * x, name="own", digest="3" * 64, layers=["output"], domain="x",
            folder=tmp_path, sampler="flow", weights=trained, recipe=TINY, point=point,
            progress=False,
        )  # fmt: skip
        assert (
            models["output"].facts["spacing_mm"] == (POINT if point is None else point).spacing_mm
        )
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("flow-own*.safetensors")}

    first = digests(None)
    second = digests(replace(POINT, spacing_mm=3.5))
    assert len(second - first) == 2 and first < second  # the flow, and its checkpoint


class Narrow(nn.Module):
    """A network with a layer of half the size, and one that is a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 3, 3, stride=2, padding=1)
        entries = 3 * (SIDE // 8) ** 2
        self.code = nn.Sequential(nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(entries, 5))
        self.up = nn.Linear(5, SIDE * SIDE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.code(self.down(x / 100.0))).reshape(-1, 1, SIDE, SIDE)


def test_one_call_trains_a_cinn_after_any_layer_named(trained: WeightSet, tmp_path: Path) -> None:
    torch.manual_seed(0)
    shapes = {"down": (3, SIDE // 2, SIDE // 2), "code": (5,), "output": (1, SIDE, SIDE)}
    models = train_for(
        Narrow().eval().requires_grad_(False), name="narrow", digest="1" * 64, layers=list(shapes),
        domain="x", folder=tmp_path, sampler="cinn", weights=trained, recipe=TINY, progress=False,
    )  # fmt: skip
    assert {layer: model.cinn.condition_shape for layer, model in models.items()} == shapes
    assert len(list(tmp_path.glob("*/cinn-own-*-x.safetensors"))) == 3
    x = 50.0 * torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    found = [draw(model, x, n=3, seed=1) for model in models.values()]
    assert all(samples.images.shape == (3, SIDE, SIDE) for samples in found)
    assert all(torch.equal(samples.v, found[0].v) for samples in found)


def test_a_kept_cinn_is_not_used_with_another_autoencoder(
    trained: WeightSet, tmp_path: Path
) -> None:
    def models(weights: WeightSet) -> dict:
        return train_for(
            lambda x: x, name="same", digest="0" * 64, layers=["output"], domain="x",
            folder=tmp_path / "own", weights=weights, recipe=TINY, progress=False,
        )  # fmt: skip

    models(trained)
    other = shutil.copytree(trained.folder, tmp_path / "other")
    module, facts = load_module(other / "vae_x.safetensors")
    with torch.no_grad():
        module.decoder[-1].bias += 1.0
    save_module(other / "vae_x.safetensors", module, **facts)
    changed = WeightSet(other)
    changed.seal(recipe=trained.manifest["recipe"], figures={})
    with pytest.raises(DataError, match=r"another autoencoder.*remove the folder"):
        models(changed)


@pytest.mark.slow
def test_a_set_can_hold_a_part_of_another(trained: WeightSet, tmp_path: Path) -> None:
    part = train_all(
        tmp_path, recipe=TINY, point=POINT, keep=trained, anew=["flow-*"],
        names=["chen", "flow-chen-output-x"], progress=False,
    )  # fmt: skip
    assert set(part.names) == {"chen", "flow-chen-output-x"}
    recipe = part.manifest["recipe"]
    assert recipe["taken_over"]["networks"] == ["chen"]
    assert isinstance(part.load_model("chen", "output", "x"), FlowModel)
