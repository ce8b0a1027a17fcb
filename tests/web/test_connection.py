"""What goes wrong between page and server has a clear, calm place: a lost connection, a restart, a new token."""

import re

import pytest
from playwright.sync_api import expect

from clients.python import Internal
from tests.cable import Cable
from tests.serving import serve, wait_until
from tests.test_store_failures import fill_up, small_disk
from tests.web.watching import DEMO

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, web="auto", max_queued=20) as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def card(page, text):
    return page.get_by_role("article").filter(has_text=text)


def ended(page, text):
    return page.get_by_role("region", name="Ended lately").get_by_role("listitem").filter(has_text=text).first


def status(page, text):
    return page.get_by_role("status").filter(has_text=text)


def test_a_pulled_cable_is_said_changes_wait_and_what_was_missed_is_told(server, client, visit):
    with Cable(server) as cable:
        page = visit(server, "/watch")
        page.goto(f"{cable.url}/?token={server.token}")
        page.goto(f"{cable.url}/#/watch")
        job = client.submit("paint", {"prompt": "while away", "steps": 200, "delay": 0.1})
        expect(card(page, "while away")).to_be_visible()
        cable.cut()
        expect(status(page, "The connection to the server is lost.")).to_contain_text("Trying again")
        card(page, "while away").get_by_role("button", name="Cancel").click()
        expect(status(page, "is lost")).to_contain_text("One change waits and will be sent then.")
        other = client.submit("fail", {"why": "nobody looked"})
        cable.mend()
        expect(
            status(page, re.compile(r"Connected again, caught up on \d+ events?\.|Nothing was missed"))
        ).to_be_visible()
        expect(ended(page, "while away")).to_contain_text("Cancelled")
        expect(ended(page, "nobody looked")).to_contain_text("Failed")
        expect(status(page, "Connected again")).to_have_count(0)  # it goes by itself
        wait_until(lambda: client.job(job.id).state == "cancelled" and client.job(other.id).state == "failed")


def test_a_server_that_is_killed_and_started_again_goes_on_with_its_job_on_the_same_page(server, client, visit):
    page = visit(server, "/watch")
    client.submit("paint", {"prompt": "through the storm", "pictures": 2, "steps": 20, "delay": 0.1})
    expect(card(page, "through the storm")).to_contain_text("Painting")
    server.kill()
    expect(status(page, "is lost. Jobs go on there")).to_be_visible()
    expect(card(page, "through the storm")).to_be_visible()
    server.start()
    expect(status(page, re.compile("Connected again"))).to_be_visible()
    expect(card(page, "through the storm")).to_contain_text("Attempt 2")
    expect(ended(page, "through the storm").get_by_role("link")).to_have_count(2)


def test_a_page_that_finds_no_server_at_first_goes_on_trying(server, client, visit):
    page = visit(server, "/watch")
    page.route("**/healthz", lambda route: route.abort())
    page.add_init_script(
        "const Real = WebSocket; let tries = 0;"
        "const address = (url) => (tries++ ? url : `ws://${location.host}/nothing`);"
        "window.WebSocket = function (url, protocols) { return new Real(address(url), protocols); };"
    )
    page.reload()
    expect(status(page, "is lost")).to_contain_text(re.compile(r"Trying again in \d s\."))
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    expect(status(page, "is lost")).to_have_count(0)


def test_a_full_queue_is_said_once_and_goes_when_there_is_room(server, client, visit):
    page = visit(server, "/watch")
    client.queue("pause")
    jobs = client.flow([{"job": "paint", "params": {"prompt": f"number {number}"}} for number in range(20)])
    ended_job = client.jobs(state="failed", limit=1)[0]
    ended(page, ended_job.record["params"]["why"]).get_by_role("button", name="Retry").click()
    trouble = page.get_by_role("alert").filter(has_text="unfinished jobs, the limit is 20").first
    expect(trouble).to_be_visible()
    for job in jobs:
        job.cancel()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("[data-state=trouble]")).to_have_count(0)


def test_a_new_token_is_asked_for_and_the_page_goes_on_with_it(server, visit):
    page = visit(server, "/watch")
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    server.kill()
    (server.folder / "config/stable-core/token").unlink()
    server.start()
    form = page.get_by_role("form", name="Unlock")
    expect(form).to_contain_text("Open the address that it printed when it started")
    form.get_by_label("Token").fill("wrong")
    form.get_by_role("button", name="Unlock").click()
    expect(form.get_by_text("That token was not right.")).to_be_visible()
    form.get_by_label("Token").fill(server.token)
    form.get_by_role("button", name="Unlock").click()
    expect(form).to_have_count(0)
    with server.client() as client:
        client.submit("paint", {"prompt": "as before"})
        expect(ended(page, "as before")).to_contain_text("Done")


def test_a_plugin_that_is_being_installed_is_named(server, visit):
    page = visit(server, "/watch")
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    server.write_plugin("slow", "time.sleep(6)\nclass Slow(Plugin): ...")
    expect(status(page, "Being installed: slow. Its jobs appear as soon as it is ready.")).to_be_visible()
    expect(status(page, "Being installed")).to_have_count(0)


@pytest.mark.slow
def test_a_full_disk_is_said_and_goes_when_there_is_space(tmp_path, web, visit):
    with small_disk(tmp_path / "data", "6m") as data, serve({"demo": DEMO}, data=data, web="auto") as server:
        with server.client() as client:
            client.submit("fail", {"why": "something"})
            page = visit(server, "/watch")
            expect(ended(page, "something")).to_be_visible()
            fill_up(data)
            said = page.locator("[data-state=trouble]").filter(has_text="Free some disk space")

            def refused():
                ended(page, "something").get_by_role("button", name="Retry").click()
                page.wait_for_timeout(300)
                return said.is_visible()

            wait_until(refused)
            (data / "filler").unlink()
            ended(page, "something").get_by_role("button", name="Retry").click()
            expect(said).to_have_count(0)


def test_a_full_disk_that_keeps_jobs_from_running_is_said_to_who_asks_for_nothing(visit, tmp_path):
    with small_disk(tmp_path / "data", "6m") as data, serve({"demo": DEMO}, data=data, web="auto") as server:
        with server.client() as client:
            client.run("paint", steps=1)
            page = visit(server, "/watch")
            client.queue("pause")
            fill_up(data)

            def refused():
                try:
                    client.submit("paint", {"steps": 1})
                except Internal:
                    return True

            wait_until(refused)
            said = page.locator("[data-state=trouble]").filter(has_text="Free some disk space")
            expect(said).to_be_visible()
            (data / "filler").unlink()
            client.queue("resume")
            expect(said).to_have_count(0)
