"""Headless Chromium for tests, without a library: its protocol over a pair of pipes."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

_CODES = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}


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
            text = {"Enter": "\r", " ": " "}.get(key, "") if kind == "keyDown" else ""
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code={" ": "Space"}.get(key, key),
                modifiers=8 * shift, text=text, windowsVirtualKeyCode=_CODES.get(key, 0),
            )  # fmt: skip

    def mouse(self, kind, x, y, *, pressed=True, shift=False, clicks=1):
        self.ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, modifiers=8 * shift,
            button="left" if pressed else "none", clickCount=clicks * (kind != "mouseMoved"),
            buttons=int(pressed and kind != "mouseReleased"),
        )  # fmt: skip

    def wheel(self, x, y, by):
        self.ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

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


@contextmanager
def opened():
    """A browser with a profile of its own; skips where there is none, or it does not start."""
    if not CHROMIUM:
        pytest.skip("no Chromium here to open the report in")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            found = Browser(CHROMIUM, folder)
        except (OSError, AssertionError) as error:
            pytest.skip(f"Chromium is here and does not start: {error}")
        yield found
        found.close()
