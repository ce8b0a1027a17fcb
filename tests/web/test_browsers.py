"""What a browser has or may not do is no reason for an empty page: storage, files that are not there any more."""

import pytest
from playwright.sync_api import expect

from tests.serving import serve
from tests.web.watching import DEMO

pytestmark = pytest.mark.browser

FORBIDDEN = (
    """Object.defineProperty(window, "localStorage", {get() { throw new DOMException("Denied", "SecurityError"); }})"""
)
FULL = """Storage.prototype.setItem = () => { throw new DOMException("Full", "QuotaExceededError"); }"""
OF_ANOTHER_VERSION = """
    const keys = ["drafts default", "recent jobs", "flow", "flows", "flow-runs"];
    for (const key of keys) localStorage.setItem(key, "null");
    localStorage.setItem("theme", "purple");
    localStorage.setItem("results size", "large");
"""
SCREENS = ["Create", "Watch", "Results", "Draw", "Connect", "Manage"]


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, web="auto") as running:
        yield running


def go(page, screen):
    page.get_by_role("navigation", name="Screens").get_by_role("link", name=screen).click()


@pytest.mark.parametrize(
    "state", [FORBIDDEN, FULL, OF_ANOTHER_VERSION], ids=["forbidden", "full", "of_another_version"]
)
def test_every_screen_is_there_whatever_the_browser_keeps(server, visit, state):
    page = visit(server)
    page.add_init_script(state)
    page.reload()
    for screen in SCREENS:
        go(page, screen)
        expect(page.get_by_role("main").get_by_role("heading").first).to_be_attached()
        expect(page.get_by_role("alert")).to_have_count(0)
    go(page, "Create")
    page.get_by_role("button", name="Choose another job").click()
    page.get_by_role("dialog").get_by_role("button", name="paint").first.click()
    expect(page.get_by_role("form", name="Form of paint")).to_be_visible()


def test_a_flow_that_cannot_be_kept_is_not_said_to_be_saved(server, visit):
    page = visit(server)
    page.add_init_script(FULL)
    page.reload()
    go(page, "Connect")
    page.get_by_role("textbox", name="Name of the flow").fill("Mine")
    page.keyboard.press("Control+s")
    expect(page.get_by_role("alert")).to_contain_text("Download the flow as a file")
    expect(page.get_by_text("Saved as")).to_have_count(0)


def test_a_screen_that_a_newer_page_has_otherwise_is_there_after_one_reload(server, visit):
    page = visit(server)
    reloads = []
    page.on("request", lambda request: request.is_navigation_request() and reloads.append(request.url))
    page.route("**/Manage-*.js", lambda route: route.fallback() if reloads else route.abort())
    go(page, "Manage")
    expect(page.get_by_role("heading", name="Plugins")).to_be_visible()
    assert len(reloads) == 1


def test_a_screen_that_cannot_be_had_at_all_leaves_the_others(server, visit):
    page = visit(server)
    page.add_init_script("window.reportError = () => undefined")  # that it fails is what is wanted here
    page.reload()
    loads = []
    page.on("load", lambda page: loads.append(page.url))
    page.route("**/Manage-*.js", lambda route: route.abort())
    go(page, "Manage")
    expect(page.get_by_role("alert")).to_contain_text("This cannot be shown just now")
    assert len(loads) == 1
    go(page, "Watch")
    expect(page.get_by_role("heading", name="Watch")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_text_that_comes_with_a_picture_of_itself_is_pasted_as_a_text(server, visit):
    page = visit(server)
    page.get_by_role("textbox").first.focus()
    is_left_to_the_field = page.evaluate("""() => {
        const clipboardData = new DataTransfer();
        clipboardData.setData("text/plain", "a cell of a table");
        clipboardData.items.add(new File(["bytes"], "table.png", { type: "image/png" }));
        const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData });
        return document.activeElement.dispatchEvent(event);
    }""")
    assert is_left_to_the_field
