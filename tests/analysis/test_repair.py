"""A repair from end to end: what is undesired, where lesions go, what is measured, the script."""

import csv
import importlib.util
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from tolerances import REPAIR

import analysis.repair.finetune
import analysis.repair.pairs
from analysis.data.phantom_pairs import WorkingPoint, scan
from analysis.lesions.lesion import match_lesions, site_lesion
from analysis.lesions.sites import SitePatches, around, lesion_sites, middle, patches_at_sites
from analysis.repair.numbers import LESIONS, RADII, measure, rows, share_of, shown_lesions
from analysis.repair.pairs import Alternating, KeptPairs, RandomLesions, lesion_like_pairs
from ctxai.files.modules import load_module
from ctxai.weights.sets import WeightSet
from recon.errors import DataError
from recon.geometry import ImageGrid

SCRIPT = Path(__file__).parents[2] / "scripts/repair_study.py"
GRID = ImageGrid(shape=(32, 32), spacing=(1.0, 1.0))


def noise(*shape, seed, sd=20.0):
    return sd * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted():
    """Eight samples of noise about x, a bright lesion in the third and a dark one in the sixth."""
    x = noise(32, 32, seed=1, sd=100.0)
    samples = x + noise(8, 32, 32, seed=2)
    bright = site_lesion(contrast=100.0, radius=3.0, grid=GRID).on(GRID)
    samples[2] += torch.roll(bright, (-6, 4), (0, 1))
    samples[5] -= torch.roll(bright, (7, -5), (0, 1))
    return x, samples


@pytest.mark.parametrize("radius", [1.5, 3.0])
def test_the_matcher_tells_small_lesions_from_large_ones(radius):
    x = torch.zeros(32, 32)
    lesion = site_lesion(contrast=-100.0, radius=radius, grid=GRID)
    score, (found,) = match_lesions(x + lesion.on(GRID)[None], x, GRID)
    assert (found.contrast, found.radius) == (-1.0, radius) and score == pytest.approx(1.0)


def test_the_matcher_picks_the_planted_lesions_among_noise():
    x, samples = planted()
    score, lesions = match_lesions(samples, x, GRID)
    assert sorted(score.argsort(descending=True)[:2].tolist()) == [2, 5]
    others = [k for k in range(8) if k not in (2, 5)]
    # over 100 seeds .347 ± .038: four standard errors
    assert score[[2, 5]].min() > score[others].max() + 0.19
    for k, place, sign in ((2, (16 - 6, 16 + 4), 1.0), (5, (16 + 7, 16 - 5), -1.0)):
        assert (lesions[k].contrast, lesions[k].radius) == (sign, 3.0)
        found = (lesions[k].place[1] + 15.5, lesions[k].place[0] + 15.5)  # row and column
        assert math.dist(found, place) <= 1.0


def test_only_what_looks_like_a_lesion_is_kept(monkeypatch):
    x, samples = planted()
    drawn = SimpleNamespace(images=samples)
    monkeypatch.setattr(analysis.repair.pairs, "draw", lambda *args, **kwargs: drawn)
    kept = lesion_like_pairs(
        None, x[None], 1.0, n=8, keep=2, side=20, tolerance_hu=3.0, seed=1, progress=False
    )
    difference = (kept.b - kept.a)[:, 0]
    assert difference.shape == (2, 20, 20)
    assert (difference.abs().amax((1, 2)) > 50.0).all()  # the lesions themselves
    assert ((difference.abs() < 1.0).float().mean((1, 2)) > 0.6).all()  # and little else
    with pytest.raises(DataError, match="cannot keep"):
        lesion_like_pairs(None, x[None], 1.0, n=2, keep=3, side=20, tolerance_hu=3.0, seed=1)
    with pytest.raises(DataError, match="larger than a patch"):
        lesion_like_pairs(None, x[None], 1.0, n=2, keep=1, side=40, tolerance_hu=3.0, seed=1)


def test_random_lesions_lie_at_the_site_in_their_range():
    x = noise(5, 32, 32, seed=3)
    source = RandomLesions(x, 1.0, window="hann")
    a, b = source.batch(200, torch.Generator().manual_seed(1))
    lesions = (b - a)[:, 0]
    peak = lesions[:, 16, 16]
    assert (lesions.abs().flatten(1).argmax(1) == 16 * 32 + 16).all()
    # a scan shows .4 of the contrast of the smallest, .9 of that of the largest
    assert 4.0 < peak.abs().min() < 10.0 and 60.0 < peak.abs().max() <= 80.0
    assert 70 < (peak > 0).sum() < 130
    again, _ = source.batch(200, torch.Generator().manual_seed(1))
    assert torch.equal(a, again)
    others = RandomLesions(x + 1.0, 1.0, window="hann"), RandomLesions(x, 1.0, window="cosine")
    assert len({source.digest, *(other.digest for other in others)}) == 3


def test_a_lesion_at_a_site_is_what_a_whole_scan_shows_of_it():
    """Off centre, from the slice's own rays: R⁻¹R(y + l) - R⁻¹R y, cut around the site."""
    point = WorkingPoint(spacing_mm=2.0, matrix=160, patch=24)
    patches = patches_at_sites(1, 1, draws=1, seed=3, point=point, progress=False)
    (grid,) = patches.grids
    assert max(map(abs, grid.centre)) > 10.0  # mm
    lesion = site_lesion(contrast=200.0, radius=1.5, grid=grid).on(point.grid).numpy()
    assert lesion.max() > 190.0
    with_it, without = (
        torch.from_numpy(scan(hu[None], None, seed=1, point=point, progress=False))
        for hu in (lesion, 0.0 * lesion)
    )
    row, col = divmod(int(lesion.argmax()), 160)
    whole = around(with_it - without, torch.tensor([[0, row, col]]), 24)[0]
    shown = 200.0 * shown_lesions(patches, window=point.window)[1.5][0]
    assert float((shown - whole).abs().max()) < 0.02 * float(whole.max())


def test_sources_take_turns():
    first, second = (KeptPairs(torch.full((3, 1, 2, 2), v), torch.zeros(3, 1, 2, 2), torch.ones(3))
                     for v in (1.0, 2.0))  # fmt: skip
    a, b = Alternating(first, second).batch(5, torch.Generator())
    assert sorted(a[:, 0, 0, 0].tolist()) == [1, 1, 1, 2, 2] and b.shape == a.shape
    one, _ = Alternating(first, second).batch(1, torch.Generator())
    assert one.shape == (1, 1, 2, 2)
    assert Alternating(first, second).digest != Alternating(second, first).digest


def test_sites_lie_in_even_soft_tissue():
    """A slice of air, one of soft tissue with a rough half, one of bone."""
    y = torch.full((3, 60, 60), -1000.0)
    y[1] = 60.0
    y[1, :, 30:] += noise(60, 30, seed=4, sd=80.0)
    y[2] = 400.0
    sites = lesion_sites(y, 50, side=16, spacing=1.0, seed=1)
    assert sites.shape == (50, 3) and (sites[:, 0] == 1).all()
    assert sites[:, 1].min() >= 8 and sites[:, 1].max() <= 52
    assert sites[:, 2].min() >= 8 and sites[:, 2].max() <= 26  # the box reaches 7 pixels on
    patches = around(y, sites, 16)
    assert torch.equal(patches[:, 8, 8], y[sites[:, 0], sites[:, 1], sites[:, 2]])
    assert torch.equal(middle(patches, 6)[:, 3, 3], patches[:, 8, 8])
    with pytest.raises(DataError, match="no even soft tissue"):
        lesion_sites(y[::2], 5, side=16, spacing=1.0, seed=1)


def white(images=60, draws=12, sd=10.0):
    """Flat patches of different HU in white noise, four to a slice."""
    y = torch.linspace(0, 100, images)[:, None, None].expand(images, 32, 32)
    return SitePatches(
        x=y + noise(images, 32, 32, seed=5, sd=sd), y=y,
        redrawn=y[:, None] + noise(images, draws, 32, 32, seed=6, sd=sd),
        slice_of=torch.arange(images) // 4,
        x_anywhere=y + noise(images, 32, 32, seed=7, sd=sd), y_anywhere=y, grids=(GRID,) * images,
    )  # fmt: skip


def unscanned(patches):
    """Lesions of 1 HU as they are, for images that no scanner has made."""
    return {
        radius: site_lesion(contrast=1.0, radius=radius, grid=GRID).on(GRID).expand_as(patches.x)
        for radius, _ in LESIONS
    }


def test_a_gain_is_measured_as_what_it_is():
    """f = 0.6 x shows 0.6 of every lesion and 0.36 of each is hidden by it; d' is that of x."""
    patches = white()
    lesion = site_lesion(contrast=20.0, radius=3.0, grid=GRID).on(GRID)
    samples = KeptPairs(patches.x[:4, None], (patches.x[:4] + lesion)[:, None], torch.ones(4))
    lesions = unscanned(patches)
    found = {
        "control": measure(lambda x: x, patches, lesions, samples, spacing=1.0, seed=1),
        "less": measure(lambda x: 0.6 * x, patches, lesions, samples, spacing=1.0, seed=1),
    }
    for key in LESIONS:
        torch.testing.assert_close(
            found["less"].recovery[key], torch.full((60,), 0.6), atol=1e-4, rtol=0.0
        )
    assert found["less"].hidden == pytest.approx(0.16, rel=1e-4)
    assert math.sqrt(found["control"].error.mean()) == pytest.approx(
        10.0, rel=REPAIR["sd of 60 patches, rel"]
    )
    expected = {
        r: site_lesion(contrast=20.0, radius=r, grid=GRID).on(GRID).norm() / 10 for r in RADII
    }
    for radius in RADII:
        seen = {name: m.observed["NPW", radius] for name, m in found.items()}
        assert seen["less"].d == pytest.approx(seen["control"].d, rel=1e-4)
        assert seen["control"].d == pytest.approx(
            float(expected[radius]), rel=REPAIR["NPW of white noise, rel"]
        )
        assert found["control"].observed["CHO", radius].d < 1.1 * seen["control"].d
    seeds = {name: [one, one] for name, one in found.items()} | {"before": [found["control"]]}
    table = {
        r["quantity"]: r for r in rows("gain", seeds, patches.slice_of) if r["network"] == "less"
    }
    row = table["recovery, r 1.5 px, +20 HU"]
    assert float(row["against_control"]) == pytest.approx(-40.0, abs=0.01)
    assert float(row["against_control_error"]) < 0.01
    assert row["against_before"] == row["against_control"]
    low, high = (float(table["d' NPW, r 3 px"][end]) for end in ("low", "high"))
    assert low < float(expected[3.0]) < high


def test_errors_of_a_ratio_are_those_of_independent_slices():
    """Four patches of each of 400 slices, all alike within a slice: as few numbers as slices."""
    slice_of = torch.arange(1600) // 4
    control = 1.0 + noise(400, seed=8, sd=0.1)[slice_of]
    values = 1.2 * control + noise(400, seed=9, sd=0.05)[slice_of]
    ratio, error = share_of(values, control, slice_of)
    assert error == pytest.approx(0.05 / 20, rel=0.1)
    assert abs(ratio - 1.2) < 4 * error


@pytest.fixture(scope="module")
def coarse_weights(tiny_weights, tmp_path_factory):
    """The untrained set again, said to be of 4 mm pixels, so that a phantom is scanned quickly."""
    folder = tmp_path_factory.mktemp("coarse")
    for path in tiny_weights.folder.glob("*.safetensors"):
        shutil.copy(path, folder)
    point = tiny_weights.manifest["recipe"]["working_point"] | {"spacing_mm": 4.0, "matrix": 100}
    weights = WeightSet(folder)
    weights.seal(recipe={"name": "untrained", "working_point": point}, figures={})
    return weights


def script():
    spec = importlib.util.spec_from_file_location("repair_study", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_study_runs_from_end_to_end(coarse_weights, tmp_path, capsys, monkeypatch):
    for name, fewer in (("_IMAGES", 2), ("_SAMPLES", 3), ("_KEEP", 2)):
        monkeypatch.setattr(analysis.repair.finetune, name, fewer)
    study = script()
    words = [
        "--denoisers", "chen", "--steps", "2", "--slices", "4", "--draws", "3", "--seeds", "2",
        "--weights", str(coarse_weights.folder), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert study.main(words) == 0
    out = tmp_path / "out"
    with open(out / "repair.csv") as file:
        table = list(csv.DictReader(file))
    networks = ("x", "before", "control", "lesions", "lesions and samples")
    assert tuple(dict.fromkeys(row["network"] for row in table)) == networks
    assert {row["denoiser"] for row in table} == {"chen"}
    of = {(row["network"], row["quantity"]): row for row in table}
    # a Hann window leaves more of a lesion of 6 mm; pixels of 4 mm are coarser than the scan
    assert 0.9 < float(of["x", "recovery, r 1.5 px, +20 HU"]["value"]) < 1.1
    assert float(of["control", "rmse_hu"]["against_control"]) == 0.0
    assert float(of["before", "rmse_hu"]["against_before"]) == 0.0
    assert (out / "repair.svg").stat().st_size > 1000
    with Image.open(out / "repair.png") as picture:
        assert picture.size[0] > 800
    before, _ = coarse_weights.load("chen")
    for name in ("control", "lesions", "lesions-and-samples"):
        first = load_module(out / f"chen-{name}-1.safetensors")[0].layers[0].weight
        module, facts = load_module(out / f"chen-{name}-2.safetensors")
        assert not torch.equal(module.layers[0].weight, first) and facts["finetuning"] == 2
        assert facts["repair"]["steps"] == 2 and facts["network"] == name.replace("-", " ")
        assert not torch.equal(module.layers[0].weight, before.layers[0].weight)
    shown = capsys.readouterr().out
    assert shown.count("| chen |") == 5 and "recovery r 1.5 px" in shown


def test_the_study_refuses_what_it_does_not_know(coarse_weights, tmp_path, capsys):
    words = ["--weights", str(coarse_weights.folder), "--out", str(tmp_path / "out")]
    assert script().main([*words, "--denoisers", "nobody"]) == 2
    assert "no such trained network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
