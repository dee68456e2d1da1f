"""The top of a report in a real browser: what is seen at once, blinking, keys, contrast, paper."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from headless import opened
from PIL import Image
from viewer_run import COLS, ROWS, four_studies, with_compatibility

from analysis.report.page import render
from analysis.report.pictures import of_study
from analysis.runs.store import Run, Study


@pytest.fixture(scope="module")
def studies():
    return four_studies()


@pytest.fixture(scope="module")
def browser():
    with opened() as found:
        found.ask(
            "Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        yield found


@pytest.fixture(scope="module")
def address(studies, tmp_path_factory):
    some = lambda study, *, scene: of_study(study, scene=scene)[:1] if study is studies[0] else []
    record = {"command": "ctxai demo --out OUT", "seed": 1, "orientation": [1, 0, 0, 0, 1, 0]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.pictures.of_study", some)
        page = render(Run(Path("OUT"), record, studies))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page)
    return path.as_uri()


def seen(browser, what):
    """Whether each of some elements can be seen."""
    return browser.run(
        f"[...document.querySelectorAll('{what}')].map((e) => getComputedStyle(e).visibility ==="
        " 'visible' && getComputedStyle(e).display !== 'none')"
    )


def test_the_answer_its_images_and_bars_are_seen_without_moving_the_page(browser, address):
    browser.open(address)
    boxes = browser.run(
        "['h1', '#answer .frame', '#answer .stairs'].flatMap((s) => [...document.querySelectorAll(s"
        ")].map((e) => e.getBoundingClientRect()).map((b) => [b.top, b.bottom, b.width]))"
    )
    (_, headline, _), *frames, (_, bars, _) = boxes
    assert len(frames) == 3 and headline < frames[0][0] <= 250
    assert all(width >= 400 for _, _, width in frames) and bars <= 900
    words = browser.run("document.querySelector('header').innerText")
    assert 15 <= len(words.split()) <= 60
    assert browser.run("document.querySelectorAll('.stairs tr').length") == 4


def test_the_space_bar_exchanges_the_other_anatomy_for_the_truth(browser, address, studies):
    """The first ȳ of the first target domain and its output, against y and f(x)."""
    browser.open(address)
    a = studies[1].arrays
    pairs = [(a["y"], None), (a["ybar"][0], a["y"]), (a["xprime"][0, 0], a["fx"])]
    sources = browser.run(
        "[...document.querySelectorAll('#answer .frame')].map((f) =>"
        " [...f.querySelectorAll('img')].map((i) => i.src.split(',')[1]))"
    )
    for found, images in zip(sources, pairs, strict=True):
        wanted = [image for image in images if image is not None]
        for source, image in zip(found, wanted, strict=True):
            grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
            assert grey.shape == (ROWS, COLS)
            shown = np.clip(np.floor((image.astype(float) + 160) / 400 * 256), 0, 255)
            assert np.array_equal(grey, shown)
    states = []
    for _ in range(2):
        states.append((seen(browser, "#answer img.other"), seen(browser, "#answer strong.other")))
        browser.key(" ")
    assert states == [([False] * 2,) * 2, ([True] * 2,) * 2]
    assert browser.run("scrollY") == 0
    assert seen(browser, "#answer img.other") == [False] * 2
    browser.run("document.getElementById('blink').focus()")
    browser.key(" ")  # pressed as a button: once, not twice
    assert seen(browser, "#answer img.other") == [True] * 2
    assert browser.run("document.getElementById('blink').ariaPressed") == "true"


def frame_box(browser, number):
    return browser.run(
        f"(() => {{ const f = document.querySelectorAll('#viewer-tiles .frame')[{number}];"
        " f.scrollIntoView({block: 'center'}); const b = f.getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2, b.width]; })()"
    )


def test_the_wheel_steps_through_the_samples_and_then_moves_the_page(browser, address):
    browser.open(f"{address}#kind=target-domain&mas=5")
    x, y, _ = frame_box(browser, 4)
    value = "document.getElementById('viewer-sample').value"
    for by, place in ((120, "1"), (120, "2"), (-120, "1"), (20, "1"), (40, "2"), (120, "3")):
        before = browser.run("scrollY")
        browser.wheel(x, y, by)
        browser.until(f"{value} === '{place}'")
        assert browser.run("scrollY") == before
    browser.wheel(x, y, 120)
    browser.until(f"{value} === '4'")
    before = browser.run("scrollY")
    browser.wheel(x, y, 120)
    browser.until(f"scrollY > {before}")
    assert browser.run(value) == "4"


def test_a_double_click_shows_one_image_alone_and_its_numbers_stay(browser, address, studies):
    browser.open(f"{address}#kind=target-domain&mas=5&probe=3,7")
    x, y, small = frame_box(browser, 6)
    for clicks in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            browser.mouse(kind, x, y, clicks=clicks)
    assert sum(seen(browser, "#viewer-tiles figure")) == 1
    _, _, large = frame_box(browser, 6)
    assert large > 3 * small
    label = browser.run("document.querySelector('#viewer-tiles .large output').dataset.view")
    at = browser.run("document.getElementById('viewer-place').textContent")
    row, col = (int(word) for word in at.replace(",", " ").split() if word.isdigit())
    stored = np.rint(studies[1].arrays["ybar"][0].astype(float) * 10.0) / 10
    assert label == "ȳ" and browser.hu()["ȳ"] == pytest.approx(float(stored[row, col]), abs=1e-9)
    browser.key("Escape")
    assert all(seen(browser, "#viewer-tiles figure"))


def test_keys_alone_are_enough(browser, address):
    """From the top by the tab key to an image: enlarge, step, brain window, back."""
    browser.open(f"{address}#kind=target-domain&mas=5")
    browser.run("document.activeElement.blur(); scrollTo(0, 0)")
    for _ in range(60):
        browser.key("Tab")
        if browser.run("document.activeElement.classList.contains('frame')"):
            break
    ring = browser.run("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    browser.key("Enter")
    assert sum(seen(browser, "#viewer-tiles figure")) == 1
    browser.key("ArrowRight")
    browser.until("document.getElementById('viewer-sample').value === '1'")
    browser.key("5")
    fields = "['level', 'width'].map((n) => +document.getElementById('viewer-' + n).value)"
    assert browser.run(fields) == [40, 80]
    browser.key(" ")
    assert seen(browser, "#answer img.other") == [True] * 2
    browser.key(" ")
    browser.key("Enter")
    assert all(seen(browser, "#viewer-tiles figure"))
    reached = set()
    browser.run("document.activeElement.blur()")
    for _ in range(120):
        browser.key("Tab")
        reached.add(browser.run("document.activeElement.id || document.activeElement.tagName"))
    for name in ("blink", "viewer-kind", "viewer-sample", "viewer-level", "viewer-whole"):
        assert name in reached
    assert "SUMMARY" in reached and "A" in reached


def test_the_edges_say_where_the_patient_lies(browser, address):
    browser.open(address)
    letters = browser.run(
        "Object.fromEntries([...document.querySelector('#viewer-tiles .frame')"
        ".querySelectorAll('.letter')].map((e) => [e.className, e.textContent]))"
    )
    assert letters == {
        "letter left": "R", "letter right": "L", "letter top": "A", "letter bottom": "P",
    }  # fmt: skip


CONTRASTS = """(() => {
  const parse = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const parent = walk.currentNode.parentElement, style = getComputedStyle(parent);
    if (!walk.currentNode.data.trim() || !parent.checkVisibility({ visibilityProperty: true }))
      continue;
    if (parent.closest("script, style, noscript, svg, option, .letter, .length")) continue;
    let ground = parent, rgb = [0, 0, 0, 0];
    for (; ground && !(rgb.length === 3 || rgb[3] === 1); ground = ground.parentElement)
      rgb = parse(getComputedStyle(ground).backgroundColor);
    if (parent.closest(":disabled")) continue;
    const [a, b] = [light(parse(style.color)), light(rgb)].sort((p, q) => q - p);
    found.push([(a + 0.05) / (b + 0.05), walk.currentNode.data.trim().slice(0, 30)]);
  }
  return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(browser, address, scheme):
    """WCAG 2.1 AA: a contrast of 4.5. Texts on images have an outline instead."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.ask("Emulation.setEmulatedMedia", features=features)
    try:
        browser.open(address)
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        found = browser.run(CONTRASTS)
    finally:
        browser.ask("Emulation.setEmulatedMedia", features=[])
    assert len(found) > 150
    assert [(ratio, text) for ratio, text in found if ratio < 4.5] == []


def test_on_paper_there_are_the_answer_and_at_most_eight_pages(browser, address):
    browser.open(address)
    assert 2 <= pages(browser) <= 8


def pages(browser):
    content = base64.b64decode(browser.ask("Page.printToPDF", printBackground=True)["data"])
    return content.count(b"/Type /Page\n") + content.count(b"/Type /Page ")


def pair(studies):
    """A study of y and the ȳ 4 that leads at 100 mAs."""
    of = studies[3]
    facts = {
        "other": "sampled ȳ 4", "sample": 4, "full_mas": 200.0, "tolerance_hu": 1.0,
        "scan": of.facts["scan"], "patch": of.facts["patch"],
    }  # fmt: skip
    study = Study("projection-domain", "chen", 100.0, facts)
    study.arrays = {"stages": np.outer([40.0, 25.0, 20.0, 10.0], np.ones(7))}
    return study


def test_the_four_bars_are_as_long_as_the_numbers(browser, studies, tmp_path):
    tested = with_compatibility(studies[3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.pictures.of_study", lambda study, *, scene: [])
        page = render(Run(tmp_path, {}, [tested, pair(studies)]))
    (tmp_path / "report.html").write_text(page)
    browser.open((tmp_path / "report.html").as_uri())
    bars = "[...document.querySelectorAll('.stairs tr')].map((r) => [r.cells[0].textContent, +r."
    rows = browser.run(bars + "cells[2].textContent, r.querySelector('i').offsetWidth])")
    names = ["full dose, 200 mAs", "this dose, 100 mAs", "after the FBP", "after Chen"]
    assert [name for name, _, _ in rows] == names
    assert [d for _, d, _ in rows] == [40.0, 25.0, 20.0, 10.0]
    longest = rows[0][2]
    for _, d, width in rows:
        assert width == pytest.approx(longest * d / 40.0, abs=1.0)
    assert "projection-domain --" not in browser.run("document.getElementById('answer').innerText")
