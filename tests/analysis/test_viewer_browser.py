"""The report in a real browser: the numbers under the cursor, sliders, keys, mouse, paper."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from headless import opened
from PIL import Image
from viewer_run import COLS, KEPT, ROWS, SPACING, four_studies, made

from analysis.report.page import render
from analysis.report.pictures import Picture, of_study
from analysis.runs.store import Run
from analysis.viewer.sets import MOST_SAMPLES


@pytest.fixture(scope="module")
def studies():
    return four_studies()


@pytest.fixture(scope="module")
def browser():
    with opened() as found:
        yield found


@pytest.fixture(scope="module")
def page(browser, studies):
    """A whole report, with the fixed pictures of its first study alone, which take their time."""
    run = Run(Path(), {"command": "ctxai target-domain --out OUT", "seed": 1}, studies)
    some = lambda study, *, scene: of_study(study, scene=scene) if study is studies[0] else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.pictures.of_study", some)
        return render(run)


@pytest.fixture(scope="module")
def address(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page)
    return path.as_uri()


def expected(study, row, col, sample):
    """What stands below the tiles of a target-domain study, to 0.1 HU."""
    a = study.arrays
    at = lambda image: float(np.rint(np.float64(image[row, col]) * 10) / 10)
    y, x, fx = (at(a[name]) for name in ("y", "x", "fx"))
    ybar, scanned = at(a["ybar"][sample]), at(a["rescanned"][sample])
    xprime = at(a["xprime"][sample, 0])
    return {
        "y, high dose": y, f"x, {study.mas:g} mAs": x, "f(x)": fx, "x - y": x - y,
        "f(x) - y": fx - y, "ȳ": ybar, "ȳ - y": ybar - y, "rescan of ȳ": scanned,
        "rescan of ȳ - x": scanned - x, "x' = f(rescan of ȳ)": xprime, "x' - f(x)": xprime - fx,
        "sd of ȳ": at(a["ybar"].std(0, ddof=1)),
    }  # fmt: skip


def agrees(found, wanted):
    for label, value in wanted.items():
        assert found[label] == pytest.approx(value, abs=1e-9), label


@pytest.mark.parametrize("row, col, sample", [(0, 0, 0), (11, 15, 4), (3, 14, 2)])
def test_a_link_leads_to_the_exact_numbers(browser, address, studies, row, col, sample):
    browser.open(f"{address}#kind=target-domain&mas=10&sample={sample + 1}&probe={row},{col}")
    agrees(browser.hu(), expected(studies[2], row, col, sample))
    assert browser.run("document.getElementById('viewer-sample').value") == str(sample)
    assert f"row {row}, column {col}" in browser.run(
        "document.getElementById('viewer-place').textContent"
    )


def test_nothing_is_fetched_and_nothing_complains(browser, address):
    browser.open(address)
    allowed = ("data:image/png;base64", address, "about:blank")
    assert [url for url in browser.fetched if not url.startswith(allowed)] == []
    assert browser.fetched.count(address[:80]) <= 1
    assert browser.complaints == []


def test_sliders_move_the_images(browser, address, studies):
    browser.open(f"{address}#kind=target-domain&mas=5&probe=7,2")
    agrees(browser.hu(), expected(studies[1], 7, 2, 0))
    browser.focus("sample")
    browser.key("ArrowRight")
    browser.until("document.getElementById('viewer-sample-word').textContent.startsWith('2 of 5')")
    agrees(browser.hu(), expected(studies[1], 7, 2, 1))
    browser.focus("mas")
    for study in studies[2:]:
        browser.key("ArrowRight")
        browser.until(
            f"document.getElementById('viewer-mas-word').textContent.startsWith('{study.mas:g} m')"
        )
        browser.until(
            f"document.getElementById('viewer-said').textContent.includes('{study.mas:g}.')"
        )
        agrees(browser.hu(), expected(study, 7, 2, 1))
    browser.until("location.hash.includes('mas=100') && location.hash.includes('sample=2')")


WORD = "document.getElementById('viewer-sample-word').textContent"


def test_the_most_different_compatible_one_is_first_and_links_name_its_number(
    browser, address, studies
):
    """At 100 mAs the order is ȳ 4, 2, 1, 3, 5."""
    browser.open(f"{address}#kind=target-domain&mas=100&probe=6,3")
    assert browser.run(WORD) == "1 of 5: ȳ 4, p = .90"
    agrees(browser.hu(), expected(studies[3], 6, 3, 3))
    for _ in range(3):
        browser.focus("sample")
        browser.key("ArrowRight")
    browser.until(f"{WORD} === '4 of 5: ȳ 3, p = .050, not compatible'")
    agrees(browser.hu(), expected(studies[3], 6, 3, 2))
    browser.until("location.hash.includes('sample=3')")
    browser.open(browser.run("location.href"))
    assert browser.run(WORD).startswith("4 of 5: ȳ 3,")
    agrees(browser.hu(), expected(studies[3], 6, 3, 2))


def test_another_question_starts_with_its_first_sample(browser, address):
    browser.open(f"{address}#kind=invariances&sample=2")
    assert browser.run(WORD) == "2 of 5"
    browser.run("location.hash = 'kind=target-domain&mas=100'")
    browser.until(f"{WORD} === '1 of 5: ȳ 4, p = .90'")


def test_the_layer_slider_and_the_keys(browser, address, studies):
    browser.open(f"{address}#kind=invariances&layer=4&probe=5,9")
    browser.focus("tiles")
    for layer, key in (("4", None), ("output", "ArrowDown"), ("4", "ArrowUp")):
        if key:
            browser.key(key)
        word = layer if layer == "output" else "layer 4"
        browser.until(
            f"document.getElementById('viewer-layer-word').textContent.startsWith('{word}')"
        )
        xbar = studies[0].arrays[f"layer-{layer}/plain"][0, 5, 9]
        browser.until("document.querySelector('#viewer-tiles output[data-view=x̄]').dataset.hu")
        assert browser.hu()["x̄"] == pytest.approx(float(xbar), abs=KEPT)
    browser.key("ArrowRight", shift=True)  # the crosshair, not the sample
    browser.key("ArrowDown", shift=True)
    assert browser.hu()["f(x)"] == pytest.approx(float(studies[0].arrays["fx"][6, 10]), abs=KEPT)
    browser.key("3")
    assert browser.run("document.getElementById('viewer-width').value") == "1800"
    browser.key("Escape")
    assert browser.hu()["f(x)"] is None


def tile_box(browser, label):
    return browser.run(
        "(() => { const frame = [...document.querySelectorAll('#viewer-tiles figure')].find((f) =>"
        f" f.querySelector('output').dataset.view === {json.dumps(label)}).firstChild;"
        " frame.scrollIntoView({block: 'center'}); const b = frame.getBoundingClientRect();"
        " return [b.left, b.top, b.width, b.height]; })()"
    )


def test_the_mouse_points_drags_and_draws(browser, address, studies):
    browser.open(f"{address}#kind=target-domain&mas=10&window=40,400")
    left, top, width, height = tile_box(browser, "ȳ")
    assert width / height == pytest.approx(COLS * SPACING[1] / (ROWS * SPACING[0]), rel=0.01)
    at = lambda row, col: (left + (col + 0.5) * width / COLS, top + (row + 0.5) * height / ROWS)
    browser.mouse("mouseMoved", *at(4, 13), pressed=False)
    agrees(browser.hu(), expected(studies[2], 4, 13, 0))

    x, y = at(4, 13)
    browser.mouse("mousePressed", x, y)
    browser.mouse("mouseMoved", x + 40, y - 20)
    browser.mouse("mouseReleased", x + 40, y - 20)
    wide = round(400 * np.exp(40 / 150))
    fields = "['level', 'width'].map((n) => +document.getElementById('viewer-' + n).value)"
    assert browser.run(fields) == [20, wide]

    browser.mouse("mousePressed", *at(2, 3), shift=True)
    browser.mouse("mouseMoved", *at(8, 12), shift=True)
    browser.mouse("mouseReleased", *at(8, 12), shift=True)
    found = browser.statistics()
    ybar, base = (np.rint(studies[2].arrays[n] * 10.0) / 10 for n in ("ybar", "y"))
    for label, image in (("ȳ", ybar[0]), ("ȳ - y", ybar[0] - base)):
        part = image[2:9, 3:13].astype(np.float64)
        assert found[label]["n"] == part.size
        assert found[label]["mean"] == pytest.approx(part.mean(), abs=1e-3)
        assert found[label]["sd"] == pytest.approx(part.std(ddof=1), rel=1e-4)
    # Parseval: the spectrum over the plane adds up to the variance of the region
    assert found["ȳ - y"]["power"] == pytest.approx(part.var(), rel=1e-4)
    browser.until("location.hash.includes('roi=2%2C3%2C8%2C12')")


def test_the_canvas_shows_the_window(browser, address, studies):
    browser.open(f"{address}#kind=target-domain&mas=10&window=40,400")
    grey = browser.run(
        "(() => { const c = document.querySelector('#viewer-tiles canvas');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return [...d].filter((_, i) => i % 4 === 0); })()"
    )
    hu = np.rint(studies[2].arrays["y"] * 10.0) / 10
    shown = np.clip(np.floor((hu + 160) / 400 * 256), 0, 255)
    assert np.abs(np.reshape(grey, (ROWS, COLS)) - shown).max() <= 1


def test_the_spectrum_is_that_of_the_definition(browser, address, studies):
    """White noise of 1 × 1.5 mm pixels: rings and frequencies against a transform by NumPy."""
    browser.open(f"{address}#kind=target-domain&mas=10&roi=1,2,10,14")
    image = np.rint(studies[2].arrays["ybar"][0] * 10.0) / 10
    image = (image - np.rint(studies[2].arrays["y"] * 10.0) / 10)[1:11, 2:15].astype(float)
    ny, nx = image.shape
    sy, sx = SPACING
    density = np.abs(np.fft.fft2(image - image.mean())) ** 2 * sx * sy / (nx * ny)
    radius = np.hypot(np.fft.fftfreq(ny, sy)[:, None], np.fft.fftfreq(nx, sx)[None, :])
    width = 1 / max(nx * sx, ny * sy)  # 10 × 13 pixels: no frequency lies between two rings
    ring = np.rint(radius / width)
    wanted = [
        density[ring == k].mean() for k in range(1, int(0.5 / max(sx, sy) / width + 1e-9) + 1)
    ]
    points = browser.run(
        "[...document.querySelectorAll('#viewer-spectra polyline')].map((p) =>"
        " p.getAttribute('points').split(' ').map((q) => q.split(',').map(Number)))"
    )[2]  # the third difference: ȳ - y
    ticks = browser.run(
        "[...document.querySelectorAll('#viewer-spectra .grid')].map((l) => +l.getAttribute('y1'))"
    )
    powers = browser.run(
        "[...document.querySelectorAll('#viewer-spectra tspan')]"
        ".map((t) => +t.textContent.replace('−', '-'))"
    )
    per_pixel = (powers[-1] - powers[0]) / (ticks[-1] - ticks[0])
    shown = [10 ** (powers[0] + (y - ticks[0]) * per_pixel) for _, y in points]
    np.testing.assert_allclose(shown, wanted, rtol=0.01)  # a tenth of a pixel of the plot


def test_on_paper_the_pictures_stand_in_for_the_viewer(browser, address):
    browser.open(address)
    seen = "getComputedStyle(document.getElementById('viewer')).display"
    assert browser.run(seen) == "block"
    browser.ask("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run(seen) == "none"
        assert browser.run("[...document.images].every((i) => i.complete && i.width > 100)")
    finally:
        browser.ask("Emulation.setEmulatedMedia", media="")


def test_without_a_program_the_page_is_still_read(browser, address):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.ask("Page.navigate", url=address)
        time.sleep(0.5)
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run("document.querySelector('noscript').textContent").strip()
    assert (
        browser.run("getComputedStyle(document.getElementById('viewer-tiles')).display") == "none"
    )
    assert browser.run("document.images.length") == 9


def test_a_report_of_the_most_weight_opens_within_two_seconds(browser, tmp_path):
    """8 MB: as many images as a page may hold, and 4 MB of pictures, which are noise here."""
    studies = [
        made("target-domain", mas, k, shape=(64, 64), samples=MOST_SAMPLES)
        for k, mas in enumerate((5.0, 10.0, 25.0, 50.0, 100.0, 200.0))
    ]
    noise = np.random.default_rng(0).integers(0, 256, (700, 700), np.uint8)
    png = io.BytesIO()
    Image.fromarray(noise).save(png, "png")
    picture = Picture("noise", png.getvalue, "Noise.", "Noise")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.pictures.of_study", lambda study, *, scene: [picture])
        page = render(Run(Path(), {}, studies))
    assert 7.5e6 < len(page.encode()) < 8e6
    path = tmp_path / "report.html"
    path.write_text(page)
    taken = []
    for _ in range(3):  # the quickest of them: the machine may be busy with something else
        browser.open(path.as_uri())
        taken.append(int(browser.run("document.getElementById('viewer').dataset.milliseconds")))
    assert min(taken) < 2000
