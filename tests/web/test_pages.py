"""What is served at /, /plain/ and /web/: to whom, as what, and for how long a browser keeps it."""

import re
import shutil

import pytest
import requests

from tests.serving import serve
from tests.test_page import DEMO
from tests.web.npm import Npm

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, web="auto") as server:
        yield server


def get(server, path, token=True, **headers):
    headers |= {"Authorization": f"Bearer {server.token}"} if token else {}
    return requests.get(server.url + path, headers=headers, timeout=10, allow_redirects=False)


def assets(server):
    """The addresses that the full page asks for at once."""
    return re.findall(r'(?:src|href)="(/web/[^"]+)"', get(server, "/").text)


def test_the_full_page_is_asked_for_each_time_and_its_parts_once(server):
    page = get(server, "/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8" and page.headers["Cache-Control"] == "no-cache"
    assert get(server, "/", **{"If-None-Match": page.headers["ETag"]}).status_code == 304
    parts = [get(server, path, token=False) for path in assets(server) if path.startswith("/web/assets/")]
    types = {part.headers["Content-Type"] for part in parts}
    assert {"text/javascript; charset=utf-8", "text/css; charset=utf-8"} <= types
    for part in parts:
        assert part.status_code == 200 and part.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_everything_comes_with_the_strict_policy(server):
    for path in ("/", "/plain/", "/plain/page.js", *assets(server)):
        headers = get(server, path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"


def test_who_can_read_it_gets_it_compressed(server):
    for path in ("/", *assets(server)):
        whole, small = get(server, path, **{"Accept-Encoding": "identity"}), get(server, path)
        assert "Content-Encoding" not in whole.headers and small.headers["Content-Encoding"] == "gzip"
        assert whole.content == small.content and int(small.headers["Content-Length"]) < len(whole.content)
        assert small.headers["Vary"] == "Accept-Encoding" and small.headers["ETag"] != whole.headers["ETag"]
        for name in ("Content-Type", "Content-Disposition"):
            assert small.headers[name] == whole.headers[name]


@pytest.mark.parametrize("page", ["/", "/plain/"])
def test_both_pages_are_locked_without_the_token(server, page):
    for path in (page, f"{page}?token=wrong"):
        answer = requests.get(server.url + path, timeout=10)
        assert answer.status_code == 401 and "This server is locked" in answer.text
    unlocked = get(server, f"{page}?token={server.token}", token=False)
    assert unlocked.headers["Location"] == page and "HttpOnly" in unlocked.headers["Set-Cookie"]


def test_how_the_page_stands_is_for_who_has_the_token(server):
    assert get(server, "/web", token=False).status_code == 401
    assert get(server, "/web").json() == {"ok": True, "state": "ready", "text": ""}


def test_nothing_but_the_page_is_served(server):
    for path in ("/web/nothing", "/web/../files.json", "/web/%2e%2e/complete", "/web/assets/", "/web//etc/passwd"):
        session = requests.Session()
        request = session.prepare_request(requests.Request("GET", server.url))
        request.url = server.url + path  # as it is
        assert session.send(request, timeout=10).status_code == 404, path


def test_a_page_that_is_open_since_before_an_update_gets_its_parts(server, web):
    older = web.with_name("page-older") / "assets"
    older.mkdir(parents=True)
    try:
        (older / "draw-1.js").write_text("older")
        answer = get(server, "/web/assets/draw-1.js")
        assert (answer.text, answer.headers["Content-Type"]) == ("older", "text/javascript; charset=utf-8")
        assert get(server, "/web/draw-1.js").status_code == get(server, "/web/assets/../draw-1.js").status_code == 404
    finally:
        shutil.rmtree(older.parent)


def test_the_full_page_connects_and_the_plain_one_leads_to_it(browser, server):
    page = browser.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.goto(f"{server.url}/plain/?token={server.token}")
    expect(page.locator("#connection")).to_have_text("Connected")
    page.get_by_role("link", name="Open the full page").click()
    expect(page.locator("#root > *").first).to_be_visible()
    assert page.url.startswith(f"{server.url}/") and "/plain/" not in page.url
    assert all(url.startswith((server.url, f"blob:{server.url}")) for url in asked) and not complaints
    page.close()


def test_the_plain_page_offers_the_full_one_once_it_is_there_and_keeps_what_was_typed(browser, tmp_path, monkeypatch):
    npm = Npm(tmp_path / "npm", monkeypatch)
    npm.waits()
    settings = {"web": "auto", "environments": tmp_path / "envs", "wait_for_web": False}
    with serve({"demo": DEMO}, **settings) as server:
        page = browser.new_page()
        page.goto(f"{server.url}/?token={server.token}")
        expect(page.locator("#full")).to_contain_text("The full page is being made, this one works meanwhile.")
        page.get_by_label("Title").fill("typed meanwhile")
        npm.go()
        expect(page.get_by_role("link", name="Open the full page")).to_be_visible(timeout=20_000)
        expect(page.get_by_label("Title")).to_have_value("typed meanwhile")
        page.get_by_role("link", name="Open the full page").click()
        expect(page).to_have_title("Full")
        page.close()


def test_the_plain_page_says_why_there_is_no_full_one(browser, tmp_path, monkeypatch):
    npm = Npm(tmp_path / "npm", monkeypatch)
    npm.does(ci="echo ENOTFOUND; exit 1")
    with serve({}, web="auto", environments=tmp_path / "envs") as server:
        page = browser.new_page()
        page.goto(f"{server.url}/?token={server.token}")
        said = "The full page could not be made. npm ci failed. npm's registry cannot be reached."
        expect(page.locator("#full")).to_contain_text(said)
        page.close()
