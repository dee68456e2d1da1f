"""The report: complete, self-contained, made from the run folder alone."""

import html.parser
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from analysis.figures.images import LUNG, SOFT_TISSUE, distance_figure, fit_window
from analysis.figures.sheets import Row, rows_figure
from analysis.report.page import write_report
from analysis.report.summary import headline
from analysis.runs.store import Study, mas_label, read_run, write_run
from recon.errors import DataError


class Reader(html.parser.HTMLParser):
    """Collects tags with attributes, and the visible text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def study(kind):
    noise = np.random.default_rng(0).normal(0, 20, (9, 4, 16, 16)).astype(np.float32)
    common = {
        "layers": ["4", "output"], "n": 9, "draws": 4, "seed": 1,
        "scan": {
            "kvp": 120.0, "views": 1152, "slice_thickness_mm": 1.5, "quanta_at_centre": 31000.0,
            "starved_share": 2e-5, "backend": "numba", "backend_reason": "no GPU is here",
        },
        "patch": {
            "shape": [16, 16], "spacing_mm": [1.0, 1.0], "centre_mm": [3.0, -4.0],
            "slice_spacing_mm": [2.0, 2.0], "slice_number": 0,
        },
    }  # fmt: skip
    verdict = {
        "kind": "not_invariances",
        "holds": False,
        "spread": "right",
        "layer": "output",
        "label": "not invariances",
        "sentence": "No & no.",
        "reasons": ["<9"],
    }
    image = noise[0, 0]
    arrays = {"slice": np.zeros((40, 50), np.float32), "y": image, "x": image, "fx": image}
    made = Study(kind, "chen", 10.0, {})
    if kind == "target-domain":
        made.facts = {**common, "weights": {"recipe": "reduced"}, "verdict": verdict}
        made.arrays = {
            **arrays, "ybar": noise[:, 0], "rescanned": noise[:, 1], "xprime": noise,
            "distance": np.abs(noise[:, :, 0, 0]), "null_distance": np.abs(noise[:5, :, 0, 1]),
        }  # fmt: skip
    else:
        plain = {**verdict, "projected": False}
        kept = {**plain, "holds": True, "kind": "invariances"}
        verdicts = {"4, plain": {**plain, "layer": "4"}, "output, plain": kept}
        made.facts = {**common, "weights": {"4": {"recipe": "reduced"}}, "verdicts": verdicts}
        made.arrays = {**arrays, "redrawn_distance": np.arange(1.0, 6.0)}
        for layer in ("4", "output"):
            made.arrays[f"layer-{layer}/plain"] = noise[:, 0]
            made.arrays[f"layer-{layer}/plain_distance"] = np.arange(9.0)
            made.arrays[f"layer-{layer}/plain_output"] = noise[:, 1]
    made.add("sample_sd", 12.345)
    made.metrics[-1] |= {"quantity": "sd of <x̄>", "should_be": "> 0", "meaning": "spread & more"}
    made.add("coverage_of_x", 0.75, ideal=0.8, n=9)
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    record = {
        "command": "ctxai demo --out OUT", "seed": 1, "configuration": {"n": 9},
        "inputs": {"slice-001.dcm": "ab" * 32}, "notes": ["pixels were <resampled>"],
        "weights": {"recipe": {"name": "reduced", "differs": "four times smaller"}},
    }  # fmt: skip
    studies = [study("invariances"), study("target-domain")]
    write_run(out, record=record, studies=studies, seconds=3.21)
    write_report(out)
    return out


@pytest.fixture(scope="module")
def page(run):
    reader = Reader()
    reader.feed((run / "report.html").read_text())
    return reader


def test_a_run_is_read_as_it_was_written(run):
    back = read_run(run)
    for before, after in zip((study("invariances"), study("target-domain")), back.studies):
        assert (after.kind, after.denoiser, after.mas) == (before.kind, "chen", 10.0)
        assert after.facts == before.facts
        assert after.metrics == before.metrics
        assert after.arrays.keys() == before.arrays.keys()
        for name, array in before.arrays.items():
            np.testing.assert_array_equal(after.arrays[name], array.astype(np.float32))
    assert back.record["versions"]["numpy"] == np.__version__


def test_the_page_fetches_nothing(run, page):
    text = (run / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(|<link|<script[^>]* src", text)
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(sources) >= 7
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert len(text) < 8e6


def test_every_picture_has_words(page):
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all(len(attributes["alt"]) > 20 for attributes in pictures)
    captions, figures = (sum(tag == t for tag, _ in page.tags) for t in ("figcaption", "figure"))
    assert captions == figures > len(pictures) / 2  # two that blink share a caption


def test_a_reader_finds_the_answer_and_the_way_back(page):
    text = page.text
    for words in (
        "1 of the 3 sets of samples are invariances", "The other 2 are not", "No & no.",
        "<9", "taken as noise-free",
        "31,000", "less than 0.01 %", "W 400 / L 40 HU", "12.3",
        "How sure", "reduced", "four times smaller",
        "pixels were <resampled>", "How to repeat it",
        "ctxai demo --out OUT", "slice-001.dcm", "no GPU is here", "3.2 s",
    ):  # fmt: skip
        assert words in text, words
    order = (
        "Which other anatomies, scanned at 10 mAs, would Chen have turned into the same image?",
        "One patch, one scan",
        "y, the true anatomy",
        "Another anatomy: ȳ 1",
        "this adds it:",
    )
    places = [text.index(word) for word in order]
    headings = ["The images", "Verdicts", "Pictures", "Numbers", "What was done", "Networks"]
    first = text.index("The samples are ")  # of the study whose images follow
    assert places[0] < first < places[1] < text.index("1 of the 3 sets of samples")
    last = text.index("How to repeat it")
    assert [text.index(name) for name in headings] == sorted(text.index(name) for name in headings)
    assert places == sorted(places) and places[-1] < text.index("The images") < last


def test_tags_are_balanced(run):
    void, stack = {"meta", "img", "input"}, []

    class Check(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in void:
                stack.append(tag)

        def handle_endtag(self, tag):
            assert stack.pop() == tag

    checker = Check()
    checker.feed((run / "report.html").read_text())
    assert stack == []


@pytest.mark.parametrize("missing", ["run.json", "metrics.csv", "samples.zarr"])
def test_a_broken_run_is_refused_by_name(missing, run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    part = copy / missing
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(DataError):
        write_report(copy)


def shorten(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("change", [shorten, lambda path: path.unlink()])
@pytest.mark.parametrize(
    "part",
    [
        "metrics.csv",
        *(f"samples.zarr/{p}" for p in ("zarr.json", "*/ybar/zarr.json", "*/slice/c/*/*")),
    ],
)
def test_a_part_that_was_cut_or_lost_is_refused(part, change, run, tmp_path):
    """Also a chunk of zeros: one that is not there would be read as zeros."""
    copy = shutil.copytree(run, tmp_path / "copy")
    change(next(copy.glob(part)))
    earlier = (copy / "report.html").read_bytes()
    with pytest.raises(DataError, match=r"missing|not complete|broken"):
        write_report(copy)
    assert (copy / "report.html").read_bytes() == earlier


def test_a_foreign_record_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="record"):
        read_run(tmp_path)


def test_figures_are_pictures_of_the_numbers():
    """A bright image gives bright pixels, a positive difference red ones, a negative one blue."""
    images = [np.full((8, 8), value, np.float32) for value in (-160.0, 240.0)]
    changes = [np.full((8, 8), value, np.float32) for value in (-30.0, 30.0)]
    rows = [Row("a", images), Row("b", changes, "difference", limit=30.0)]
    with Image.open(io.BytesIO(rows_figure(rows, window=SOFT_TISSUE, spacing=1.0))) as picture:
        pixels = np.asarray(picture.convert("RGB"), float)
    height, width = pixels.shape[:2]
    at = lambda row, col: pixels[int(row * height), int(col * width)]
    dark, bright, blue, red = at(0.2, 0.25), at(0.2, 0.62), at(0.75, 0.25), at(0.75, 0.62)
    assert dark.max() < 5 and bright.min() > 250
    assert blue[2] > blue[0] + 50 and red[0] > red[2] + 50


def test_a_circle_is_drawn_where_it_is_asked_for():
    images = [np.full((64, 64), 40.0), np.full((64, 64), 40.0)]

    def drawn(*circles):
        png = rows_figure([Row("a", images, circles=circles)], window=SOFT_TISSUE, spacing=1.0)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)

    plain, circled = drawn(), drawn((16.0, 48.0, 8.0))
    rows, cols = np.nonzero(np.abs(circled - plain).max(-1) > 60)
    side = 1.35 * 110 / 64  # dots a pixel
    assert np.ptp(rows) == pytest.approx(16 * side, abs=4) == np.ptp(cols)
    left = np.nonzero((np.abs(plain - 128).max(-1) < 8).mean(0) > 0.5)[0][0]  # of the first image
    assert (cols.min() + cols.max()) / 2 - left == pytest.approx(48.5 * side, abs=4)


def test_window_follows_the_tissue():
    assert fit_window(np.full((4, 4), 30.0)) == SOFT_TISSUE
    assert fit_window(np.full((4, 4), -800.0)) == LUNG
    assert SOFT_TISSUE.limits == (-160.0, 240.0)


def test_strips_of_one_value_are_drawn():
    png = distance_figure({"noise": np.ones(1), "samples": np.ones(3)}, xlabel="HU", limit=1.0)
    assert png.startswith(b"\x89PNG")


def test_labels_of_exposures_sort():
    labels = [mas_label(mas) for mas in (2.5, 5, 10, 100)]
    assert labels == sorted(labels)


def test_a_layer_that_hides_nothing_does_not_count_as_found() -> None:
    verdicts = {
        "1, plain": {"kind": "injective", "holds": True, "spread": "right"},
        "4, plain": {"kind": "invariances", "holds": True, "spread": "right"},
    }
    study = Study("invariances", "yang", 10.0, {"verdicts": verdicts})
    assert headline([study]) == (
        "1 of the 2 sets of samples are invariances. For 1 there is nothing to be found: the layer "
        "is as good as injective."
    )
    only = Study("invariances", "yang", 10.0, {"verdicts": {"1, plain": verdicts["1, plain"]}})
    assert headline([only]).startswith("Nothing to be found")


def test_the_headline_says_which_sets_vary_too_little_or_too_much() -> None:
    def study(**spreads: str) -> Study:
        verdicts = {
            key: {"kind": "invariances", "holds": True, "spread": spread}
            for key, spread in spreads.items()
        }
        return Study("invariances", "yang", 10.0, {"verdicts": verdicts})

    good, narrow, wide = "right", "too_narrow", "too_wide"
    assert headline([study(a=good, b=narrow, c=wide, d=wide)]) == (
        "All 4 sets of samples are invariances; in 1 of them they are too much alike and in 2 of "
        "them they are too different from each other."
    )
    assert headline([study(a=wide)]) == (
        "The samples are invariances, but they are too different from each other."
    )
    assert headline([study(a=narrow, b=narrow)]) == (
        "Both sets of samples are invariances; in each of them they are too much alike."
    )
