"""The talk's figures: what arrows point at, what stands in which column, what a run must hold."""

import importlib.util
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from viewer_run import COLS, ROWS, SPACING, made

import analysis.talk.figures
from analysis.data.phantom_pairs import WorkingPoint
from analysis.figures.images import SOFT_TISSUE
from analysis.figures.sheets import sheet
from analysis.runs.store import Run, read_run, write_run
from analysis.talk.arrows import SMOOTHING_MM, largest_differences
from analysis.talk.cover import (
    NETWORKS,
    _bodies,
    cover_figure,
    cover_of_run,
    cover_slice,
    trained,
)
from analysis.talk.figures import (
    LAYERS,
    denoising_figure,
    layers_figure,
    of_run,
    target_domain_figure,
)
from analysis.talk.sheet import Panel
from ctxai.files.modules import load_module
from recon.errors import DataError

POINT = WorkingPoint(spacing_mm=4.0, matrix=100, patch=32)
SCRIPT = Path(__file__).parents[2] / "scripts/talk_figures.py"


def study(kind, denoiser, seed):
    """A study of noise, with the three layers of the talk where it has layers."""
    made_up = made(kind, 10.0, seed)
    made_up.denoiser = denoiser
    if kind == "invariances":
        noise = np.random.default_rng(seed)
        shape = made_up.arrays["y"].shape
        for layer in LAYERS:
            plain = noise.normal(20, 60, (6, *shape)).astype(np.float32)
            made_up.arrays[f"layer-{layer}/plain"] = plain
            made_up.arrays[f"layer-{layer}/plain_distance"] = noise.uniform(1, 99, 6)
    return made_up


def studies():
    return [
        study("invariances", "chen", 1), study("invariances", "yang", 2),
        study("target-domain", "chen", 3),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    record = {"seed": 4, "weights": {"recipe": {"working_point": POINT.facts}}}
    write_run(folder, record=record, studies=studies(), seconds=1.0)
    return folder


@pytest.fixture
def panels(monkeypatch):
    """Rows of panels that a figure would show, in place of its bytes."""
    monkeypatch.setattr(analysis.talk.figures, "sheet", lambda rows, **_: rows)


def planted(shape, places, spacing):
    """Blobs of the average's own width, with their HU, at the given pixels."""
    image = np.zeros(shape)
    for row, col, hu in places:
        blob = np.zeros(shape)
        blob[row, col] = 1.0
        blob = ndimage.gaussian_filter(blob, SMOOTHING_MM / np.asarray(spacing))
        image += hu * blob / blob.max()
    return image


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3)])
def test_arrows_stand_at_the_planted_differences_the_largest_first(spacing):
    places = [(41, 9, -120.0), (12, 50, 90.0), (30, 33, 60.0), (8, 18, -45.0)]
    found = largest_differences(planted((56, 64), places[::-1], spacing), spacing)
    assert [(p.row, p.col) for p in found] == [place[:2] for place in places]
    # averaging a Gaussian with one of its own width halves its peak in two dimensions
    for pointer, (_, _, hu) in zip(found, places, strict=True):
        assert pointer.hu == pytest.approx(hu / 2, rel=0.03)


def test_noise_averages_out_before_a_structure_does():
    noise = np.random.default_rng(0).normal(0, 40, (64, 64))
    lost = np.zeros((64, 64))
    lost[44:49, 13:18] = -80.0
    assert np.abs(noise).max() > 130  # single pixels beyond the structure
    [first] = largest_differences(noise + lost, (1.0, 1.0), count=1)
    assert abs(first.row - 46) <= 1
    assert abs(first.col - 15) <= 1
    assert first.hu < 0


def test_of_two_near_places_the_larger_is_shown_and_the_edge_is_left_out():
    near = planted((64, 64), [(20, 20, 100.0), (20, 27, -99.0), (50, 40, 30.0)], (1.0, 1.0))
    near[0, 60] = 5000.0
    assert [(p.row, p.col) for p in largest_differences(near, (1.0, 1.0), count=2)] == [
        (20, 20), (50, 40),
    ]  # fmt: skip
    assert largest_differences(np.zeros((64, 64)), (1.0, 1.0)) == []


@pytest.mark.parametrize("pixel", [0.5, 2.0])
def test_near_is_a_sixth_of_the_width_for_pixels_of_any_size(pixel):
    """Places 14 and 18 pixels apart in 96: only the second are two."""
    for apart, number in ((14, 1), (18, 2)):
        places = [(48, 40, 100.0), (48, 40 + apart, -99.0)]
        image = planted((96, 96), places, (pixel, pixel))
        assert len(largest_differences(image, (pixel, pixel), count=2)) == number


def test_what_is_shown_holds_every_body_and_a_margin_of_8_mm():
    """As far as the image reaches: two bodies, of rows 30 to 49 and of columns 3 to 79."""
    images = [np.full((100, 100), -1000.0) for _ in range(2)]
    images[0][30:50, 40:80] = images[1][35:45, 3:50] = 0.0
    assert _bodies(images, (2.0, 1.0)) == (slice(26, 54), slice(0, 88))


def test_arrows_point_at_their_place_and_hide_none():
    places = [(41, 9, -120.0), (12, 50, 90.0), (30, 33, 60.0), (8, 18, -45.0)]
    found = largest_differences(planted((56, 64), places, (1.0, 1.0)), (1.0, 1.0))
    for pointer in found:
        place, tip, tail = (
            np.array(p) for p in ((pointer.row, pointer.col), pointer.tip, pointer.tail)
        )
        away, along = tip - place, tip - tail
        assert away @ along == pytest.approx(-np.hypot(*away) * np.hypot(*along))  # straight at it
        shaft = [tip + share * (tail - tip) for share in np.linspace(0, 1, 20)]
        for row, col, _ in places:
            assert min(np.hypot(*(point - (row, col))) for point in shaft) > 2.5  # pixels
        row, col = pointer.label
        assert 1 < row < 54
        assert 8 < col < 55  # all of the text


def test_the_picture_of_a_place_is_as_without_its_arrow():
    image = planted((64, 64), [(20, 40, 150.0)], (1.0, 1.0))

    def page(arrows):
        rows = [("", [Panel(image, "", "", SOFT_TISSUE, arrows)])]
        content = sheet(rows, spacing=(1.0, 1.0), footer="")
        return np.asarray(Image.open(BytesIO(content)).convert("L"), int)

    bare, marked = page([]), page(largest_differences(image, (1.0, 1.0)))
    # 150 HU is shown as 255 (150 + 160)/400 = 198, by a block of pixels that is the largest so grey
    regions, _ = ndimage.label(np.abs(bare - 198) < 3)
    peak = regions == 1 + np.argmax(np.bincount(regions.ravel())[1:])
    assert peak.sum() >= 16
    assert (bare != marked).sum() > 50
    assert not (bare != marked)[ndimage.binary_dilation(peak, iterations=4)].any()


def test_every_denoiser_has_its_images_in_a_row_with_its_own_arrows(panels):
    chen, yang, _ = studies()
    places = [(6, 4, -300.0), (5, 11, 200.0)]
    chen.arrays["fx"] = (chen.arrays["y"] + planted((ROWS, COLS), places, SPACING)).astype("f4")
    (first, row), (second, _) = denoising_figure(chen, yang)()
    assert (first, second) == ("Chen", "Yang")
    y, x, fx = (chen.arrays[name] for name in ("y", "x", "fx"))
    for panel, image in zip(row, (y, x, fx, fx - y), strict=True):
        np.testing.assert_array_equal(panel.image, image)
        assert [(p.row, p.col) for p in panel.pointers] == [place[:2] for place in places]
    assert f"{np.sqrt(np.mean((x - y) ** 2)):.0f} HU" in row[1].caption


def test_a_column_has_the_same_v_and_each_sample_its_own_number(panels):
    yang = study("invariances", "yang", 2)
    rows = layers_figure(yang)()
    for (label, row), layer in zip(rows, ("1", "4", "7"), strict=True):
        assert label.endswith(f"layer {layer}")
        for k, panel in enumerate(row[:5]):
            np.testing.assert_array_equal(panel.image, yang.arrays[f"layer-{layer}/plain"][k])
            number = yang.arrays[f"layer-{layer}/plain_distance"][k]
            assert panel.caption == f"{number:.0f} HU"
    assert [panel.title for panel in rows[0][1][:5]] == ["v₁", "v₂", "v₃", "v₄", "v₅"]
    yang.facts["sampler"] = {"1": "VAE_x + cINN", "4": "flow matching", "7": "VAE_x + cINN"}
    with pytest.raises(DataError, match="do not share v"):
        layers_figure(yang)


def test_a_row_of_the_target_domain_is_one_anatomy_on_its_way(panels):
    chen = study("target-domain", "chen", 3)
    arrays = chen.arrays
    (_, truth), *rows = target_domain_figure(chen)()
    for panel, name in zip(truth, ("y", "x", "fx"), strict=True):
        np.testing.assert_array_equal(panel.image, arrays[name])
    assert len(rows) == 3
    for k, (_, row) in enumerate(rows):
        ybar, xprime = arrays["ybar"][k], arrays["xprime"][k, 0]
        wanted = (
            ybar, arrays["rescanned"][k], xprime, ybar - arrays["y"], xprime - arrays["fx"],
        )  # fmt: skip
        for panel, image in zip(row, wanted, strict=True):
            np.testing.assert_array_equal(panel.image, image)


@pytest.mark.parametrize("left_out", range(3))
def test_a_run_without_a_study_is_told_what_to_run(left_out):
    some = studies()
    del some[left_out]
    with pytest.raises(DataError, match="ctxai demo --out RUN"):
        of_run(Run(Path("RUN"), {}, some))


def test_a_study_without_a_layer_is_told_what_to_run():
    yang = study("invariances", "yang", 2)
    del yang.arrays["layer-7/plain"]
    with pytest.raises(DataError, match=r"lacks layer-7/plain .*yang.*ctxai demo --out RUN"):
        layers_figure(yang)


@pytest.fixture
def few_slices(monkeypatch):
    """Two slices to train on."""
    monkeypatch.setattr("analysis.talk.cover._SLICES", 2)


@pytest.mark.slow
def test_both_networks_start_the_same_see_their_anatomy_and_are_kept(tmp_path, few_slices):
    def train(steps=2):
        return trained(tmp_path, steps=steps, point=POINT, seed=4, progress=False)

    networks = train()
    assert list(networks) == list(NETWORKS)
    for name, anatomy in NETWORKS.items():
        _, facts = load_module(tmp_path / f"{name.lower()}.safetensors")
        assert facts["preset"]["anatomies"] == [anatomy]
    weights = [torch.cat([p.flatten() for p in f.parameters()]) for f in networks.values()]
    # two steps of Adam at a rate of 4e-5 and then 1e-3 move no weight by more than both together
    assert 0 < (weights[0] - weights[1]).abs().max() < 2 * 2 * 1e-3
    again = train()
    for name, network in networks.items():
        for old, new in zip(network.parameters(), again[name].parameters(), strict=True):
            assert torch.equal(old, new)
    with pytest.raises(DataError, match=r"its steps differs.*train again"):
        train(steps=3)

    pieces = [cover_slice(anatomy, point=POINT, seed=4) for anatomy in ("thorax", "abdomen")]
    noise = [(p.x - p.y)[(p.y > -200) & (p.y < 200)].std() for p in pieces]
    assert min(noise) > 15  # HU; some 60 at 10 mAs on pixels of 1 mm
    assert cover_figure(pieces, networks, point=POINT)(form="png")[1:4] == b"PNG"


def script():
    spec = importlib.util.spec_from_file_location("talk_figures_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_script_writes_all_four_in_both_forms_and_the_same_bytes_again(
    run_folder, tmp_path, few_slices, capsys
):
    main = script().main
    assert main([str(run_folder), "--out", str(tmp_path), "--steps", "1"]) == 0
    figures = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(figures) == {
        f"{name}.{form}"
        for name in ("denoising", "layers", "target-domain", "cover")
        for form in ("png", "svg")
    }
    assert "talk_figures" not in capsys.readouterr().err
    again = cover_of_run(read_run(run_folder), tmp_path / "networks", steps=1, progress=False)
    assert again(form="png") == figures["cover.png"]
    denoising = denoising_figure(*studies()[:2])
    assert denoising(form="png") == figures["denoising.png"]
    assert denoising(form="svg") == figures["denoising.svg"]


def test_the_script_refuses_in_one_line_and_its_help_has_an_example(tmp_path, capsys):
    write_run(tmp_path / "run", record={"seed": 1}, studies=studies()[:1], seconds=1.0)
    main = script().main
    assert main([str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no study of invariances for yang" in said
    assert "ctxai demo --out RUN" in said
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert (
        "python scripts/talk_figures.py RUN --layers LAYERS --out FIGURES"
        in capsys.readouterr().out
    )
