"""A true server in a thread, on the toy model, and a true browser before it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
import time
import urllib.request

import pytest

from tests.toys import Toy

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PATIENCE = 30_000  # milliseconds; a busy machine is no failure


class Gated(Toy):
    """The toy, which can be made to wait before it looks at anything."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.free = 0

    def hold(self, free: int = 0):
        """Let ``free`` batches through, then wait until ``gate`` is set."""
        self.free = free
        self.gate.clear()

    def features(self, batch):
        if self.free > 0:
            self.free -= 1
        elif not self.gate.wait(30):
            raise TimeoutError("the gate was never opened")
        return super().features(batch)


class Serving:
    """A server that can go and come back at the same address."""

    def __init__(self, settings):
        self.settings = settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = None

    def start(self):
        import uvicorn

        from recoseg.web.app import create

        config = uvicorn.Config(
            create(self.settings), port=self.port, log_level="error", timeout_graceful_shutdown=2
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the server did not start"
            time.sleep(0.02)

    def stop(self):
        if self.server is not None:
            self.server.should_exit = True
            self.thread.join()
            self.server = None

    def ask(self, path, method="GET", body=None, kind="application/json"):
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        asked = urllib.request.Request(
            f"{self.url}/api{path}", data, {"Content-Type": kind}, method=method
        )
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)


def executable() -> str:
    """Where the browser is; without one, the test is skipped with the fix named."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("SKIPPED LOUDLY: needs a browser: apt-get install chromium")
    return found


@contextlib.contextmanager
def browser():
    api = pytest.importorskip(
        "playwright.sync_api", reason="SKIPPED LOUDLY: needs playwright: pip install playwright"
    )
    path = executable()
    api.expect.set_options(timeout=PATIENCE)
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


class Visit:
    """A page with what went wrong on it."""

    def __init__(self, browser, url, expected=(), **options):
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.url, self.expected, self.wrong, self.asked = url, expected, [], []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def _console(self, message):
        if message.type == "error":
            self.wrong.append(message.text)

    def close(self):
        self.context.close()
        unexpected = [w for w in self.wrong if not any(part in w for part in self.expected)]
        assert unexpected == [], unexpected
        assert [u for u in self.asked if not u.startswith((self.url, "blob:"))] == []


def pixel(page, x: float, y: float) -> list[int]:
    """RGBA of the painted map at fractions of width and height."""
    return page.evaluate(
        """([x, y]) => {
            const canvas = document.querySelector(".canvas canvas");
            const place = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
            return [...canvas.getContext("2d").getImageData(...place, 1, 1).data];
        }""",
        [x, y],
    )


# Contrast of every visible text with the nearest ground that is painted, by WCAG 2's formula.
CONTRASTS = """() => {
    const numbers = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const [r, g, b, a = 1] = numbers(getComputedStyle(one).backgroundColor);
            if (a > 0.5) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const bad = [];
    let seen = 0;
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        const resting = element.closest(":disabled, [aria-disabled=true], .unseen");
        if (!own || !element.checkVisibility() || resting) continue;
        const style = getComputedStyle(element);
        const pair = [light(numbers(style.color).slice(0, 3)), light(ground(element))];
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        seen += 1;
        if (ratio < 4.5) bad.push(`${element.textContent.trim()} ${ratio.toFixed(2)}`);
    }
    return { seen, bad };
}"""

# Controls that are shown but have no name that a screen reader could say.
NAMELESS = """() => [...document.querySelectorAll("button, input, select, a[href], [role=listbox]")]
    .filter((one) => one.checkVisibility())
    .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length
        || one.textContent.trim()))
    .map((one) => one.outerHTML)"""
