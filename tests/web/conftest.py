"""What the tests of the web client share: pages in a real browser, each with cookies and storage of its own."""

import os

import pytest

from tests.serving import ROOT

playwright = pytest.importorskip("playwright.sync_api")
playwright.expect.set_options(timeout=20_000)


@pytest.fixture
def visit(browser, web):
    """visit(server, "/manage", width=390, ...) opens a screen as whoever has the printed address; more options are
    those of a Playwright context. At the end it fails if a page has raised or broken the policy of what it may load."""
    contexts, complaints = [], []

    def open_page(server, screen="/", width=1440, height=900, token=None, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(error.stack))
        page.on("console", lambda message: "Security Policy" in message.text and complaints.append(message.text))
        page.goto(f"{server.url}/?token={token or server.token}")
        page.goto(f"{server.url}/#{screen}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def illustrate():
    """illustrate(page, "web-watch") puts a picture of the page into docs/images, if STABLE_CORE_PICTURES is set: a run
    of the tests changes no file of the repository."""

    def take(page, name):
        if os.environ.get("STABLE_CORE_PICTURES"):
            page.wait_for_timeout(600)  # until what moves has come to rest
            page.screenshot(path=ROOT / "docs" / "images" / f"{name}.png")

    return take
