"""The viewer: CT numbers as they were written, and a page that works in a real browser."""

import base64
import hashlib
import html.parser
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from analysis.report import render
from analysis.report_pictures import of_study
from analysis.report_style import STYLE
from analysis.run_store import Run, Study
from analysis.viewer import Packer, image_sets, policy, section, unpack
from recon.errors import DataError

# HU: half of the step that images are kept in; whole numbers are kept as they are
KEPT = 0.05 + 1e-9
ROWS, COLS, SAMPLES = 12, 16, 5  # not square, so that rows and columns cannot be exchanged
SPACING = (1.5, 1.0)


def made(kind, mas, seed):
    """A study of noise that is different in every array."""
    noise = np.random.default_rng(seed)
    images = lambda *n: noise.normal(20, 60, (*n, ROWS, COLS)).astype(np.float32)
    verdict = {"label": "no", "holds": False, "sentence": f"No, at {mas:g}.", "reasons": ["why"]}
    study = Study(kind, "chen", mas, {})
    study.facts = {
        "layers": ["4", "output"], "n": SAMPLES, "draws": 2,
        "scan": {
            "kvp": 120.0, "views": 1152, "slice_thickness_mm": 1.5, "quanta_at_centre": 31000.0,
            "starved_share": 0.0, "backend": "numba", "backend_reason": "CPU",
        },
        "patch": {
            "shape": [ROWS, COLS], "spacing_mm": list(SPACING), "centre_mm": [3.0, -4.5],
            "slice_spacing_mm": [2.0, 2.0], "slice_number": 0,
        },
    }  # fmt: skip
    study.arrays = {"slice": np.arange(-1000, 1000, dtype=np.float32).reshape(40, 50)}
    study.arrays |= {name: images() for name in ("y", "x", "fx")}
    if kind == "target-domain":
        study.facts["verdict"] = verdict
        study.arrays |= {
            "ybar": images(SAMPLES), "rescanned": images(SAMPLES), "xprime": images(SAMPLES, 2),
            "distance": noise.uniform(1, 9, (SAMPLES, 2)), "null_distance": np.ones((3, 2)),
        }  # fmt: skip
    else:
        study.facts["verdicts"] = {"4, plain": verdict, "output, plain": verdict}
        study.arrays["redrawn_distance"] = np.ones(3)
        for layer in ("4", "output"):
            study.arrays |= {
                f"layer-{layer}/plain": images(SAMPLES),
                f"layer-{layer}/plain_output": images(SAMPLES),
                f"layer-{layer}/plain_distance": noise.uniform(1, 9, SAMPLES),
            }
    return study


@pytest.fixture(scope="module")
def studies():
    return [
        made("invariances", 10.0, 1), made("target-domain", 5.0, 2),
        made("target-domain", 10.0, 3), made("target-domain", 100.0, 4),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def page(studies):
    """A whole report, with the fixed pictures of its first study alone, which take their time."""
    run = Run(Path(), {"command": "ctxai target-domain --out OUT", "seed": 1}, studies)
    some = lambda study, *, scene: of_study(study, scene=scene) if study is studies[0] else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report_pictures.of_study", some)
        return render(run)


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


def test_the_page_holds_every_image_of_the_run(page, studies):
    data = data_of(page)
    images = {key: unpack(stack) for key, stack in data["stacks"].items()}
    assert [(s["kind"], s["layer"], s["mas"]) for s in data["sets"]] == [
        ("invariances", "4", 10), ("invariances", "output", 10),
        *(("target-domain", "output", mas) for mas in (5, 10, 100)),
    ]  # fmt: skip
    for one, study, names in (
        (data["sets"][0], studies[0], {"x̄": "layer-4/plain", "f(x̄)": "layer-4/plain_output"}),
        (data["sets"][3], studies[2], {"ȳ": "ybar", "R⁻¹𝒫Rȳ": "rescanned"}),
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


def luminance(colour):
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", [0, 1], ids=["bright", "dark"])
def test_texts_stand_out_from_the_paper(scheme):
    """WCAG 2.1: a contrast of 4.5 for text, 3 for the edges of controls."""
    block = re.findall(r":root \{(.*?)\}", STYLE, re.S)[scheme]
    colour = dict(re.findall(r"--(\w+): (#\w{6})", block))
    for name in ("ink", "soft", "accent", "yes", "part", "no", "edge"):
        for ground in ("paper", "wash"):
            light, dark = sorted((luminance(colour[name]), luminance(colour[ground])))[::-1]
            ratio = (light + 0.05) / (dark + 0.05)
            assert ratio >= (3.0 if name == "edge" else 4.5), (name, ground, ratio)


# ---- in a browser ---------------------------------------------------------------------------


class Browser:
    """Headless Chromium, spoken to through a pair of pipes; notes what it fetches and complains."""

    def __init__(self, program, folder):
        out_read, out_write = os.pipe()
        in_read, in_write = os.pipe()

        def hand_over():  # Chromium reads commands from descriptor 3 and answers on 4
            for source, target in ((os.dup(in_read), 3), (os.dup(out_write), 4)):
                os.dup2(source, target)

        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            "--disable-dev-shm-usage --remote-debugging-pipe --window-size=1400,1600"
        )
        self.process = subprocess.Popen(
            [program, *flags.split(), f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(in_read)
        os.close(out_write)
        self.write, self.read, self.rest, self.number = in_write, out_read, b"", 0
        self.session, self.fetched, self.complaints = None, [], []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            *whole, self.rest = (self.rest + self._more()).split(b"\0")
            answer = None
            for text in whole:
                event = json.loads(text)
                self._note(event)
                if event.get("id") == self.number:
                    answer = event
            if answer:
                assert "error" not in answer, answer
                return answer["result"]

    def _more(self):
        assert select.select([self.read], [], [], 60)[0], "Chromium does not answer"
        data = os.read(self.read, 1 << 20)
        assert data, "Chromium ended"
        return data

    def _note(self, event):
        what = event.get("method", "")
        if what == "Network.requestWillBeSent":
            self.fetched.append(event["params"]["request"]["url"].split(",")[0][:80])
        elif what in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(event["params"])

    def run(self, expression):
        answer = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, url):
        self.fetched.clear()
        self.complaints.clear()
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=url)
        self.until("document.getElementById('viewer')?.dataset.state === 'ready'")

    def until(self, expression, seconds=20):
        end = time.monotonic() + seconds
        while not self.run(expression):
            assert time.monotonic() < end, f"never: {expression}"
            time.sleep(0.02)

    def key(self, key, shift=False):
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, modifiers=8 * shift,
                windowsVirtualKeyCode={"ArrowLeft": 37, "ArrowRight": 39}.get(key, 0),
            )  # fmt: skip

    def mouse(self, kind, x, y, *, pressed=True, shift=False):
        self.ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, modifiers=8 * shift,
            button="left" if pressed else "none", clickCount=int(kind != "mouseMoved"),
            buttons=int(pressed and kind != "mouseReleased"),
        )  # fmt: skip

    def focus(self, part):
        self.run(f"document.getElementById('viewer-{part}').focus()")

    def hu(self):
        """CT number below each tile, by its label."""
        return self.run(
            "Object.fromEntries([...document.querySelectorAll('#viewer-tiles output')]"
            ".map((o) => [o.dataset.view, o.dataset.hu === undefined ? null : +o.dataset.hu]))"
        )

    def statistics(self):
        return self.run(
            "Object.fromEntries([...document.querySelectorAll('#viewer-statistics tr')].map((r) =>"
            " [r.dataset.view, {mean: +r.dataset.mean, sd: +r.dataset.sd, n: +r.dataset.n,"
            " power: +r.dataset.power}]))"
        )

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.write)
        os.close(self.read)


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium here to open the report in")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            found = Browser(CHROMIUM, folder)
        except (OSError, AssertionError) as error:
            pytest.skip(f"Chromium is here and does not start: {error}")
        yield found
        found.close()


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
        "f(x) - y": fx - y, "ȳ": ybar, "ȳ - y": ybar - y, "R⁻¹𝒫Rȳ": scanned,
        "R⁻¹𝒫Rȳ - x": scanned - x, "x' = f(R⁻¹𝒫Rȳ)": xprime, "x' - f(x)": xprime - fx,
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
    assert int(browser.run("document.getElementById('viewer').dataset.milliseconds")) < 5000


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
    assert browser.run("document.images.length") == 4


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
