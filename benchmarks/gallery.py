"""The page's gallery with 10,000 results: from opening it to its first pictures, and frames while it is scrolled, in a
real Chromium."""

import functools
import shutil

from playwright.sync_api import sync_playwright

from core.ops import webclient
from tests.conftest import FLAGS
from tests.serving import ROOT, serve
from tests.web.many import fill

RESULTS = 10_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SPEEDS = (2_000, 12_000)  # pixels a second: to look, and to get far
SECONDS = 5
SCROLL = """async ([speed, seconds]) => {
    const box = document.querySelector("[role=listbox]");
    const frames = [];
    const began = performance.now();
    for (let last = began; last - began < 1000 * seconds; ) {
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        box.scrollTop += (speed * (now - last)) / 1000;
        last = now;
    }
    return frames.slice(1);
}"""


def measure(scale):
    webclient.build(ROOT, ROOT / ".envs", lambda line: None)
    many = functools.partial(fill, count=round(RESULTS * scale))
    with serve({}, many, web="auto", environments=ROOT / ".envs") as server, sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, CHROMIUM)), None)
        browser = driver.chromium.launch(executable_path=path, args=[*FLAGS, "--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{server.url}/?token={server.token}")
        page.goto(f"{server.url}/#/results")
        page.reload()
        page.locator("[role=option] img").first.wait_for()
        yield "first pictures", page.evaluate("performance.now()"), "ms"
        for speed in SPEEDS:
            frames = sorted(page.evaluate(SCROLL, [speed, max(1, SECONDS * scale)]))
            yield f"{speed:,} pixels/s: frames", 1000 * len(frames) / sum(frames), "1/s"
            yield f"{speed:,} pixels/s: frame, p95", frames[int(len(frames) * 0.95)], "ms"
            yield f"{speed:,} pixels/s: longest frame", frames[-1], "ms"
        yield "elements of the page", page.locator("*").count(), ""
        browser.close()
