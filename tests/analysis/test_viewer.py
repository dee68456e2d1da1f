"""The viewer's data: CT numbers as they were written, and a page that holds all it needs."""

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
from viewer_run import COLS, KEPT, ROWS, SAMPLES, four_studies, made

from analysis.report.html import look
from analysis.report.page import render
from analysis.runs.store import Run, Study
from analysis.viewer import Packer, image_sets, policy, section, unpack
from analysis.viewer.page import _first_view
from recon.errors import DataError


@pytest.fixture(scope="module")
def studies():
    return four_studies()


@pytest.fixture(scope="module")
def page(studies):
    """A report without its fixed pictures, which take their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.pictures.of_study", lambda study, *, scene: [])
        return render(Run(Path(), {"command": "ctxai target-domain", "seed": 1}, studies))


def data_of(page):
    [text] = re.findall(r"<script type='application/json' id='viewer-data'>(.*?)</script>", page)
    return json.loads(text)


# ---- what is kept in the page -----------------------------------------------------------------


def test_numbers_come_back_as_they_were_written():
    values = np.random.default_rng(0).normal(0, 900, (3, 5, 7))
    packer = Packer()
    back = unpack(packer.stacks[packer.add(values)])
    np.testing.assert_allclose(back, values, atol=KEPT, rtol=0)
    assert np.array_equal(back, np.rint(values * 10) / 10)


@pytest.mark.parametrize("largest, step", [(3071, 1.0), (3276.5, 0.1), (9000.5, 1.0), (1e5, 10.0)])
def test_the_step_is_the_finest_that_holds_them(largest, step):
    values = np.array([[-1000.0, largest]])
    packer = Packer()
    [stack] = packer.stacks.values() if packer.add(values) else []
    assert stack["step"] == step
    np.testing.assert_allclose(unpack(stack)[0], values, atol=step / 2, rtol=0)


def test_the_same_images_are_kept_once():
    packer = Packer()
    image = np.arange(6.0).reshape(2, 3)
    assert packer.add(image) == packer.add(image[None]) != packer.add(image.T)
    assert len(packer.stacks) == 2


@pytest.mark.parametrize("bad", [np.ones(3), np.full((2, 2), np.nan), np.full((2, 2), 1e6)])
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(DataError):
        Packer().add(bad)


@pytest.mark.parametrize(("sd", "expected"), [(0.0, 10.0), (4.0, 20.0), (12.0, 40.0)])
def test_differences_are_first_shown_to_twice_the_noise_in_whole_tens(sd, expected):
    """And to 10 HU at least, where there is no noise at all."""
    y = np.zeros((8, 8))
    one = Study("target-domain", "f", 10.0, {})
    one.arrays = {"y": y, "x": y + sd * (-1.0) ** np.arange(8)}
    found = _first_view(one)
    assert (found["difference"], found["spread"]) == (expected, expected / 2)


def test_the_page_holds_every_image_of_the_run(page, studies):
    data = data_of(page)
    images = {key: unpack(stack) for key, stack in data["stacks"].items()}
    assert [(s["kind"], s["layer"], s["mas"]) for s in data["sets"]] == [
        ("invariances", "4", 10), ("invariances", "output", 10),
        *(("target-domain", "output", mas) for mas in (5, 10, 100)),
    ]  # fmt: skip
    for one, study, names in (
        (data["sets"][0], studies[0], {"x̄": "layer-4/plain", "f(x̄)": "layer-4/plain_output"}),
        (data["sets"][3], studies[2], {"ȳ": "ybar", "rescan of ȳ": "rescanned"}),
    ):
        tiles = {tile["label"]: tile for column in one["columns"] for tile in column}
        names = names | {"y, high dose": "y", "x, 10 mAs": "x", "f(x)": "fx"}
        for label, name in names.items():
            assert not tiles[label]["minus"]
            expected = study.arrays[name].reshape(-1, ROWS, COLS)
            np.testing.assert_allclose(images[tiles[label]["of"]], expected, atol=KEPT, rtol=0)
        assert np.array_equal(images[tiles["slice"]["of"]][0], study.arrays["slice"])
    assert len(data["sets"][0]["distance"]) == SAMPLES


def test_the_sd_is_that_of_all_samples(studies):
    packer = Packer()
    [one] = image_sets(studies[1], packer, most=2)
    tiles = {tile["label"]: tile for column in one["columns"] for tile in column}
    assert (one["shown"], one["total"]) == (2, SAMPLES)
    assert packer.stacks[tiles["ȳ"]["of"]]["count"] == 2
    expected = studies[1].arrays["ybar"].std(0, ddof=1)
    sd = unpack(packer.stacks[tiles["sd of ȳ"]["of"]])[0]
    np.testing.assert_allclose(sd, expected, atol=KEPT, rtol=0)


def test_the_most_different_compatible_ones_come_first(studies):
    packer, a = Packer(), studies[3].arrays
    [one] = image_sets(studies[3], packer, most=4)
    tiles = {tile["label"]: tile for column in one["columns"] for tile in column}
    order = [3, 1, 0, 2]
    images = {
        "ȳ": a["ybar"],
        "rescan of ȳ": a["rescanned"],
        "x' = f(rescan of ȳ)": a["xprime"][:, 0],
    }
    for label, image in images.items():
        shown = unpack(packer.stacks[tiles[label]["of"]])
        np.testing.assert_allclose(shown, image[order], atol=KEPT, rtol=0)
    np.testing.assert_allclose(one["distance"], a["distance"].mean(1)[order], atol=0.005)
    assert one["numbers"] == [4, 2, 1, 3]
    assert one["words"] == [
        "ȳ 4, p = .90", "ȳ 2, p = .43", "ȳ 1, p = .20", "ȳ 3, p = .050, not compatible",
    ]  # fmt: skip
    assert one["order_word"].startswith("First the compatible ȳ that differ most from y, then")


def test_a_study_of_another_kind_shows_what_it_has(studies):
    study = Study("something", "own", 10.0, {"patch": studies[0].facts["patch"]})
    names = ("y", "x", "fx")
    study.arrays = {n: studies[0].arrays[n] for n in names} | {"odd": np.ones(4)}
    study.arrays["what"] = studies[1].arrays["ybar"]
    [one] = image_sets(study, Packer())
    assert [tile["label"] for tile in one["columns"][-1]] == ["what", "what - y"]


def test_text_cannot_leave_its_place(studies):
    study = made("target-domain", 10.0, 5)
    study.denoiser = "</script><img src=x onerror=alert(1)>"
    study.facts["verdict"]["sentence"] = "<!--<script>"
    text = section([study])
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "<!--" not in text
    assert data_of(text)["sets"][0]["denoiser"] == study.denoiser


def test_the_policy_lets_this_program_run_and_nothing_be_fetched(page):
    program = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(program) == 1
    digest = base64.b64encode(hashlib.sha256(program[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy()
    assert "default-src 'none'" in policy()
    assert policy() in page
    assert not re.search(r"https?:|@import|url\(|<link|\bimport\(|eval\(|innerHTML", page)


def test_a_demonstration_of_pure_noise_stays_small():
    """Nine sets of 24 samples and outputs, 64², of white noise: nothing for compression to find."""
    noise = np.random.default_rng(0)
    packer = Packer()
    for _ in range(9 * 2):
        packer.add(noise.normal(0, 100, (24, 64, 64)))
    assert sum(len(stack["data"]) for stack in packer.stacks.values()) < 4.5e6  # of 8 MB


def test_a_heavy_run_shows_fewer_samples(studies):
    whole = data_of(section(studies))
    weight = sum(len(stack["data"]) for stack in whole["stacks"].values())
    part = data_of(section(studies, heaviest=weight // 10))
    assert {one["shown"] for one in part["sets"]} == {2}  # of 24, of which there are 5
    assert {one["total"] for one in part["sets"]} == {SAMPLES}
    assert part["sets"][-1]["numbers"] == [4, 2]  # the most different compatible ones are kept


def luminance(colour):
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", [0, 1], ids=["bright", "dark"])
def test_texts_stand_out_from_the_paper(scheme):
    """WCAG 2.1: a contrast of 4.5 for text, 3 for the edges of controls."""
    block = re.findall(r":root \{(.*?)\}", look(), re.S)[scheme]
    colour = dict(re.findall(r"--(\w+): (#\w{6})", block))
    for name in ("ink", "soft", "accent", "good", "undecided", "bad", "edge"):
        for ground in ("paper", "wash"):
            light, dark = sorted((luminance(colour[name]), luminance(colour[ground])))[::-1]
            ratio = (light + 0.05) / (dark + 0.05)
            assert ratio >= (3.0 if name == "edge" else 4.5), (name, ground, ratio)


class Ids(html.parser.HTMLParser):
    """All ids, and the ids that labels and outputs refer to."""

    def __init__(self):
        super().__init__()
        self.ids, self.wanted = [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.wanted += [found[k] for k in ("for", "aria-labelledby") if k in found]


def test_ids_are_unique_and_references_lead_somewhere(page):
    reader = Ids()
    reader.feed(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.wanted) <= set(reader.ids)
