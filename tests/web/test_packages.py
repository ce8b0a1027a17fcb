"""Plugins are looked at, installed, updated and taken back on the page where that is allowed; else it shows the way."""

import pytest
from playwright.sync_api import expect

from tests.serving import serve
from tests.test_indexes import entry, write
from tests.test_packages_over_api import ADD, plugin
from tests.web.test_accessibility import axe, problems
from tests.web.test_manage import card

pytestmark = pytest.mark.browser
GUEST = "a-long-token-of-a-guest"


@pytest.fixture(scope="module")
def server(web, tmp_path_factory):
    keeper = tmp_path_factory.mktemp("keeper")
    write(keeper / "index.json", entry("film", description="Cuts films."), entry("old", withdrawn="It steals."))
    settings = {"plugin_indexes": [str(keeper / "index.json")], "tokens": {"guest": GUEST}}
    with serve({}, web="auto", install_over_api=True, **settings) as running:
        running.keeper = keeper
        yield running


def test_a_plugin_is_looked_at_before_it_is_installed_updated_and_taken_back(server, visit):
    source = server.keeper / "adding"
    plugin(source, "1", "import subprocess\n" + ADD)
    page = visit(server, "/manage/plugins")
    page.get_by_label("Source of a plugin").fill(source.as_uri())
    page.get_by_role("button", name="Look at it", exact=True).click()
    report = page.get_by_role("dialog", name="adding 1")
    expect(report.get_by_text("add () → Text")).to_be_visible()
    expect(report.get_by_label("What to look at in its code")).to_contain_text("imports subprocess")
    assert page.request.get(f"{server.url}/api/v1/packages").json()["packages"] == []
    page.evaluate(axe())
    assert problems(page) == []
    report.get_by_role("button", name="Install").click()
    adding = card(page, "adding")
    expect(adding.get_by_text("ready", exact=True)).to_be_visible()
    expect(adding.get_by_text("Installed from")).to_contain_text(source.as_uri())
    expect(page.get_by_text("adding 1 is installed")).to_be_visible()

    adding.get_by_role("button", name="Look for an update").click()
    expect(page.get_by_text("there is nothing new")).to_be_visible()
    plugin(source, "2")
    adding.get_by_role("button", name="Look for an update").click()
    report = page.get_by_role("dialog", name="adding 2")
    expect(report.get_by_text("update 1 -> 2")).to_be_visible()
    report.get_by_role("button", name="Update").click()
    expect(adding.get_by_text("2", exact=True)).to_be_visible()
    adding.get_by_role("button", name="Go to 1 of adding").click()
    expect(adding.get_by_text("1", exact=True)).to_be_visible()
    adding.get_by_role("button", name="Disable adding").click()
    expect(adding.get_by_text("disabled", exact=True)).to_be_visible()
    adding.get_by_role("button", name="Remove adding").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="adding")).to_have_count(0)


def test_what_fails_is_told_with_what_the_command_said(server, visit):
    page = visit(server, "/manage/plugins")
    entries = page.get_by_label("Plugins of the indexes")
    expect(entries.get_by_text("withdrawn: It steals.")).to_be_visible()
    page.get_by_label("Search the indexes").fill("cuts")
    expect(entries.get_by_role("listitem")).to_have_count(1)
    (server.keeper / "empty").mkdir()
    page.get_by_label("Source of a plugin").fill(str(server.keeper / "empty"))
    page.get_by_role("button", name="Look at it", exact=True).click()
    expect(page.get_by_text("Looking at")).to_contain_text("failed. there is no plugin in it")


def test_who_may_not_install_is_not_offered_it(server, visit):
    page = visit(server, "/manage/plugins", token=GUEST)
    expect(page.get_by_role("heading", name="Plugins")).to_be_visible()
    expect(page.get_by_label("Install a plugin")).to_have_count(0)


def test_where_the_config_does_not_allow_it_the_page_shows_what_to_type(web, visit):
    with serve({"adding": ADD.format(version="1")}, web="auto") as server:
        page = visit(server, "/manage/plugins")
        expect(page.get_by_text("python3 server.py plugins install SOURCE")).to_be_visible()
        expect(page.get_by_label("Source of a plugin")).to_have_count(0)
        card(page, "adding").get_by_role("button", name="Disable adding").click()
        expect(card(page, "adding").get_by_text("disabled", exact=True)).to_be_visible()
        card(page, "adding").get_by_role("button", name="Enable adding").click()
        expect(card(page, "adding").get_by_text("ready", exact=True)).to_be_visible()
