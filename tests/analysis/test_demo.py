"""The demonstration, with the networks that ship, few samples and few scans to compare with."""

import csv
import json
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pydicom
import pytest

from analysis.commands import demo
from analysis.fidelity import evidence
from analysis.main import main
from analysis.viewer.page import HEAVIEST
from ctxai import near_null

Layers = dict[tuple[str, str], tuple[str, ...]]

SOME: Layers = {
    ("chen", "x"): ("output",), ("yang", "x"): ("output",), ("chen", "y"): ("output",),
}  # fmt: skip


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.slow)])
def layers(request: pytest.FixtureRequest) -> Layers:
    """The layers after which the demonstration samples; all of them take a minute more."""
    return SOME if request.param == "some" else demo._LAYERS


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, few_scans: None, layers: Layers) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "OUT"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "COUNTS", dict.fromkeys(demo.COUNTS, 6))  # a row of pictures
        patch.setattr(demo, "_LAYERS", layers)
        patch.setattr(evidence, "near_null", partial(near_null, steps=6))
        assert main(["demo", "--out", str(folder)]) == 0
    return folder


def test_the_report_of_a_whole_demonstration_stays_below_8_mb(out: Path, layers: Layers) -> None:
    """The pictures are all there; the viewer's images weigh at most what they may."""
    page = (out / "report.html").read_text()
    [images] = re.findall(r"<script type='application/json' id='viewer-data'>(.*?)</script>", page)
    pictures = len(page.encode()) - len(images.encode())
    assert pictures > 3e5 * sum(map(len, layers.values()))  # some for each layer
    assert HEAVIEST + pictures < 7.9e6  # and 0.1 MB for the words of the viewer's sets


class Words(HTMLParser):
    """Words of a page outside of its tables and programs, and how many precede the first image."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.count, self.before_image = 0, 0, -1

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.inside += tag in ("table", "script", "style", "title", "noscript")
        if tag == "img" and self.before_image < 0:
            self.before_image = self.count

    def handle_endtag(self, tag: str) -> None:
        self.inside -= tag in ("table", "script", "style", "title", "noscript")

    def handle_data(self, data: str) -> None:
        self.count += 0 if self.inside else len(data.split())


def test_the_report_is_short(out: Path) -> None:
    words = Words()
    words.feed((out / "report.html").read_text())
    assert 15 < words.before_image <= 60
    assert 500 < words.count <= 1200


def rows(out: Path, **wanted: str) -> list[dict[str, str]]:
    with open(out / "metrics.csv", newline="") as handle:
        found = list(csv.DictReader(handle))
    return [row for row in found if all(row[k].startswith(v) for k, v in wanted.items())]


def test_the_run_is_complete(out: Path) -> None:
    assert {"report.html", "run.json", "metrics.csv", "samples.zarr", "phantom", "mas-010"} == {
        item.name for item in out.iterdir()
    }
    record = json.loads((out / "run.json").read_text())
    assert {study["denoiser"] for study in record["studies"]} == {"chen", "yang"}
    assert record["versions"]["torch"]
    page = (out / "report.html").read_text()
    assert "taken as noise-free" in page
    assert "http://" not in page
    assert "https://" not in page


def test_both_doses_are_derived_series_of_one_slice(out: Path) -> None:
    [high], [low] = (list((out / name).glob("*.dcm")) for name in ("phantom", "mas-010"))
    y, x = pydicom.dcmread(high), pydicom.dcmread(low)
    assert list(x.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert y.SeriesInstanceUID != x.SeriesInstanceUID
    np.testing.assert_allclose(x.ImagePositionPatient, y.ImagePositionPatient)
    noise = (x.pixel_array.astype(float) - y.pixel_array)[180:220, 180:220].std()
    assert 20 < noise < 200  # HU at 10 mAs in the middle of an abdomen


def test_plain_samples_are_measured_and_projected_ones_keep_the_output(
    out: Path, layers: Layers
) -> None:
    for denoiser in ("chen", "yang"):
        plain = rows(out, id="output_change_median", denoiser=denoiser)
        assert {r["layer"] for r in plain} == set(layers[denoiser, "x"])
        assert all(float(r["value"]) > 0 for r in plain)
        [largest] = rows(
            out, id="output_change_largest", denoiser=denoiser, layer="output",
            sampler="VAE_x + cINN, projected",
        )  # fmt: skip
        assert float(largest["value"]) <= 3.0 * 1.001
    anatomies = [denoiser for denoiser, domain in layers if domain == "y"]
    found = rows(out, study="target-domain", id="target_distance_median")
    assert [row["denoiser"] for row in found] == anatomies
