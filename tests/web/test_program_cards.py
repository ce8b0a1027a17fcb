"""Programs on the page: one card for all their parts, results that a person is asked for, and adding to them."""

import re

import pytest
from playwright.sync_api import expect

from tests.serving import serve, wait_until
from tests.web.watching import DEMO, end_all

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, web="auto") as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client
        end_all(client)


def card(page, text):
    return page.get_by_role("article").filter(has_text=text)


def ended(page, text):
    return page.get_by_role("region", name="Ended lately").get_by_role("listitem").filter(has_text=text).first


def test_a_program_is_held_and_goes_on_as_one(server, client, visit):
    page = visit(server, "/watch")
    client.submit("several", {"parts": 6, "delay": 0.1})
    card(page, "several").get_by_role("button", name="Hold").click()
    expect(card(page, "several")).to_contain_text("On hold")
    states = lambda: {job.state for job in client.jobs(order="queue")}  # noqa: E731
    wait_until(lambda: states() == {"held"})
    card(page, "several").get_by_text("Its parts").click()
    expect(card(page, "several").get_by_role("listitem").filter(has_text="part 6held")).to_be_visible()
    card(page, "several").get_by_role("button", name="Release").click()
    expect(ended(page, "several")).to_contain_text("6 parts")


def test_a_program_is_there_however_many_parts_are_before_it(server, client, visit):
    program = client.submit("several", {"parts": 220, "delay": 1})
    wait_until(lambda: client.job(program.id).record.get("children") == 220)
    after = client.submit("paint", {"prompt": "afterwards"})
    page = visit(server, "/watch")
    expect(card(page, "several")).to_contain_text("of 220 parts")
    expect(page.get_by_role("status").filter(has_text="running")).to_contain_text("1 waiting")
    expect(page.get_by_role("list", name="The queue").get_by_role("listitem")).to_have_count(1)
    card(page, "several").get_by_text("Its parts").click()
    expect(card(page, "several").get_by_role("listitem")).to_have_count(51)
    card(page, "several").get_by_role("button", name="Show more").click()
    expect(card(page, "several").get_by_role("listitem")).to_have_count(151)
    card(page, "several").get_by_role("button", name="Cancel").click()
    expect(ended(page, "several")).to_contain_text("Cancelled")
    after.wait(timeout=60)


def test_what_a_program_asks_for_is_answered_with_a_key_each_and_then_it_goes_on(server, client, visit, illustrate):
    page = visit(server, "/watch")
    job = client.submit("chosen", {"parts": 3})
    expect(card(page, "chosen")).to_contain_text("Waits for you: 3 results are to be picked or rejected.")
    expect(card(page, "chosen").get_by_role("img", name="The first to be picked or rejected")).to_be_visible()
    card(page, "chosen").get_by_role("link", name="Review them").click()
    status = page.get_by_role("region", name="Review").get_by_role("status").first
    expect(status).to_have_text("3 of 3 to go")
    page.keyboard.press("y")
    expect(status).to_have_text("2 of 3 to go")
    page.keyboard.press("y")
    page.keyboard.press("u")
    expect(status).to_have_text("2 of 3 to go")
    illustrate(page, "web-review")
    page.keyboard.press("n")
    page.keyboard.press("n")
    expect(page.get_by_role("status").filter(has_text="1 picked, 2 rejected")).to_be_visible()
    assert client.job(job.id).state == "waiting"  # the last answer may be taken back
    page.keyboard.press("u")
    page.keyboard.press("y")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="It is done")).to_be_visible()
    assert len(client.job(job.id).outputs) == 2


def test_a_review_for_no_job_says_so(server, client, visit):
    page = visit(server, "/results/review/nobody")
    expect(page.get_by_role("heading", name="This cannot be reviewed")).to_be_visible()


def test_a_review_that_is_left_early_keeps_its_last_answer(server, client, visit):
    job = client.submit("chosen", {"parts": 1})
    page = visit(server, "/watch")
    card(page, "chosen").get_by_role("link", name="Review it").click()
    expect(page.get_by_role("status").filter(has_text="1 of 1 to go")).to_be_visible()
    page.keyboard.press("y")
    expect(page.get_by_role("button", name=re.compile("^Go on"))).to_be_focused()
    page.get_by_role("link", name="Back to Watch").click()
    assert len(job.wait(timeout=30)) == 1


def test_a_program_that_has_ended_is_extended_and_keeps_what_it_made(server, client, visit):
    job = client.submit("several", {"parts": 2, "delay": 0})
    job.wait(timeout=30)
    page = visit(server, "/watch")
    ended(page, "several").get_by_role("button", name=re.compile("^Extend")).click()
    expect(page.get_by_role("status").filter(has_text="Adds to the several of")).to_be_visible()
    page.get_by_label("Parts").fill("4")
    page.get_by_role("button", name="Extend", exact=True).click()
    expect(page.get_by_role("button", name=re.compile("^Run"))).to_be_visible()
    newest = lambda: client.call("jobs", {"parent": "", "limit": 1})["jobs"][0]  # noqa: E731
    wait_until(lambda: newest().get("extends") == job.id and newest()["state"] == "done")
    assert len(client.call("jobs", {"parent": newest()["id"]})["jobs"]) == 4
