"""The Watch screen in a real browser: what runs, the queue and its order, what has ended; the same in every tab."""

import re
import time

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
    """At the end nothing runs or waits, and the queue goes on."""
    with server.client() as client:
        yield client
        end_all(client)


def paint(client, prompt, session="default", **params):
    return client.submit("paint", {"prompt": prompt, **params}, session=session)


def card(page, text):
    return page.get_by_role("article").filter(has_text=text)


def rows(page):
    return page.get_by_role("list", name="The queue").get_by_role("listitem")


def row(page, text):
    return rows(page).filter(has_text=text)


def shown(page):
    return [re.search(r"number \w+", each)[0] for each in rows(page).all_inner_texts()]


def ended(page, text):
    return page.get_by_role("region", name="Ended lately").get_by_role("listitem").filter(has_text=text).first


def three_wait(client):
    client.queue("pause")
    return [paint(client, f"number {word}") for word in ("one", "two", "three")]


def test_a_running_job_shows_its_picture_how_far_it_is_and_what_is_finished(server, client, visit):
    page = visit(server, "/watch")
    expect(page.get_by_role("heading", name="Nothing runs, and nothing waits")).to_be_visible()
    job = paint(client, "three rings", pictures=3, steps=10, delay=0.1)
    expect(card(page, "three rings").get_by_role("img", name="Preview of paint")).to_be_visible()
    expect(card(page, "three rings")).to_contain_text(
        re.compile(r"Painting · \d+ of 30 · (about \d+ s|a few seconds) left")
    )
    expect(page).to_have_title("1 running · stable-core")
    expect(card(page, "three rings").get_by_role("link", name="Result 1")).to_be_visible()
    job.wait(timeout=30)
    expect(card(page, "three rings")).to_have_count(0)
    expect(ended(page, "three rings").get_by_role("link")).to_have_count(3)
    expect(page).to_have_title("stable-core")


def test_a_page_that_comes_late_shows_what_is_finished_already(server, client, visit):
    job = paint(client, "late", pictures=30, steps=4, delay=0.1)
    events = job.events(timeout=30)
    wait_until(lambda: next(events).type == "artifact")
    wait_until(lambda: next(events).type == "artifact")
    page = visit(server, "/watch")
    expect(card(page, "late").get_by_role("link", name="Result 1")).to_be_visible()
    job.cancel()


def test_a_job_is_cancelled_and_nothing_of_it_is_kept(server, client, visit):
    job = paint(client, "unwanted", pictures=9, steps=50, delay=0.1)
    page = visit(server, "/watch")
    card(page, "unwanted").get_by_role("button", name="Cancel").click()
    expect(ended(page, "unwanted")).to_contain_text("Cancelled")
    assert client.job(job.id).state == "cancelled"


def test_a_picture_is_skipped_and_a_batch_is_stopped_and_what_is_there_stays(server, client, visit):
    job = paint(client, "a batch", pictures=5, steps=100, delay=0.1)
    page = visit(server, "/watch")
    expect(card(page, "a batch")).to_contain_text("of 500")
    card(page, "a batch").get_by_role("button", name="Skip").click()
    expect(card(page, "a batch").get_by_role("link", name="Result 1")).to_be_visible()
    card(page, "a batch").get_by_role("button", name="Stop and keep").click()
    expect(ended(page, "a batch").get_by_role("link")).to_have_count(2)
    assert len(client.job(job.id).outputs) == 2


def test_the_queue_is_reordered_with_the_mouse_and_the_other_tab_shows_it_within_a_second(server, client, visit):
    one, two, three = three_wait(client)
    page, other = visit(server, "/watch"), visit(server, "/watch")
    expect(rows(page)).to_have_count(3)
    expect(rows(other)).to_have_count(3)
    grip, target = row(page, "number three").get_by_role("button", name=re.compile("^Move")), row(page, "number one")
    grip.hover()
    page.mouse.down()
    box = target.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20, steps=10)
    page.mouse.up()
    began = time.monotonic()
    expect(rows(other).first).to_contain_text("number three")
    assert time.monotonic() - began < 1
    assert shown(page) == shown(other) == ["number three", "number one", "number two"]
    assert [job.id for job in client.jobs(order="queue")] == [three.id, one.id, two.id]


def test_the_queue_is_reordered_with_the_keyboard_and_a_screen_reader_is_told(server, client, visit):
    one, two, three = three_wait(client)
    page = visit(server, "/watch")
    row(page, "number one").get_by_role("button", name=re.compile("^Move")).focus()
    said = page.locator("[id^=DndLiveRegion]")
    page.keyboard.press("Space")
    expect(said).to_have_text("Picked up paint, which is number 1 of 3.")
    page.keyboard.press("ArrowDown")
    expect(said).to_have_text("paint would be number 2 of 3.")
    page.keyboard.press("ArrowDown")
    expect(said).to_have_text("paint would be number 3 of 3.")
    page.keyboard.press("Space")
    wait_until(lambda: [job.id for job in client.jobs(order="queue")] == [two.id, three.id, one.id])
    expect(rows(page).last).to_contain_text("number one")


def test_the_queue_is_reordered_by_touch(server, client, visit):
    one, two, three = three_wait(client)
    page = visit(server, "/watch", width=390, height=844, has_touch=True, is_mobile=True)
    expect(rows(page)).to_have_count(3)
    box = row(page, "number three").get_by_role("button", name=re.compile("^Move")).bounding_box()
    above = row(page, "number one").bounding_box()
    touch = page.context.new_cdp_session(page)

    def send(type, y):
        points = [{"x": box["x"] + 10, "y": y}] if y else []
        touch.send("Input.dispatchTouchEvent", {"type": type, "touchPoints": points})

    send("touchStart", start := box["y"] + 20)
    page.wait_for_timeout(300)  # a touch that stays is no scrolling
    for share in range(1, 11):
        send("touchMove", start + (above["y"] + 20 - start) * share / 10)
    send("touchEnd", None)
    wait_until(lambda: [job.id for job in client.jobs(order="queue")] == [three.id, one.id, two.id])


def test_jobs_go_to_the_front_are_held_and_released(server, client, visit):
    one, two, three = three_wait(client)
    page = visit(server, "/watch")
    row(page, "number three").get_by_role("button", name="To the front").first.click()
    expect(rows(page).first).to_contain_text("number three")
    row(page, "number two").get_by_role("button", name=re.compile("^Hold")).first.click()
    expect(row(page, "number two")).to_contain_text("On hold until somebody releases it.")
    row(page, "number two").get_by_role("button", name=re.compile("^Release")).click()
    expect(row(page, "number two")).not_to_contain_text("On hold")
    row(page, "number three").get_by_role("button", name=re.compile("^More")).click()
    page.get_by_role("button", name="To the back").locator("visible=true").click()
    expect(rows(page).last).to_contain_text("number three")


def test_a_waiting_job_says_for_what(server, client, visit):
    client.queue("pause")
    first = paint(client, "the first")
    client.submit("look", {}, {"image": first})
    page = visit(server, "/watch")
    expect(row(page, "look")).to_contain_text("Waits for paint, which is queued.")


def test_one_several_and_all_jobs_are_cancelled(server, client, visit):
    one, two, three = three_wait(client)
    four = paint(client, "number four")
    page, other = visit(server, "/watch"), visit(server, "/watch")
    row(page, "number one").get_by_role("button", name=re.compile("^Cancel")).click()
    expect(rows(page)).to_have_count(3)
    for word in ("two", "three"):
        row(page, f"number {word}").get_by_role("checkbox").check()
    page.get_by_role("group", name="Of the selected jobs").get_by_role("button", name="Cancel").click()
    expect(rows(other)).to_have_count(1)
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel them all").click()
    expect(rows(other)).to_have_count(0)
    assert {client.job(job.id).state for job in (one, two, three, four)} == {"cancelled"}


def test_the_queue_is_paused_with_a_key_and_every_tab_says_so(server, client, visit):
    page, other = visit(server, "/watch"), visit(server, "/watch")
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    page.keyboard.press("p")
    expect(other.get_by_text("The queue is paused: what runs goes on")).to_be_visible()
    other.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_a_failed_job_says_why_calmly_and_is_opened_in_its_form(server, client, visit):
    job = client.submit("fail", {"why": "There is no such colour."})
    page = visit(server, "/watch")
    failed = ended(page, "There is no such colour.")
    expect(failed).to_contain_text("Say something else.")
    failed.get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog", name="Why fail failed")
    expect(dialog).to_contain_text("invalid_params")
    expect(dialog).to_contain_text("Looked everywhere.")
    expect(dialog).to_contain_text("Ran oncpu")
    dialog.get_by_role("button", name="Retry").click()
    wait_until(lambda: len([each for each in client.jobs(limit=20) if each.record["name"] == "demo.fail"]) == 2)
    ended(page, "There is no such colour.").get_by_role("button", name="Open in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.url.endswith("#/") and client.job(job.id).state == "failed"


def test_a_worker_that_died_is_no_failure_and_the_card_says_that_it_is_tried_again(server, client, visit):
    page = visit(server, "/watch")
    client.submit("die")
    expect(card(page, "die")).to_contain_text("Attempt 2: its worker or the server ended under the one before.")
    expect(ended(page, "die")).to_contain_text("Done")


def test_the_parts_of_a_program_are_folded_under_it(server, client, visit):
    page = visit(server, "/watch")
    client.submit("several", {"parts": 4, "delay": 0.2})
    expect(card(page, "several")).to_contain_text("of 4 parts")
    expect(rows(page)).to_have_count(0)
    card(page, "several").get_by_text("Its parts").click()
    expect(card(page, "several").get_by_role("listitem").filter(has_text="part 4")).to_be_visible()
    expect(card(page, "several").get_by_role("img", name="Preview of several")).to_be_visible()
    expect(ended(page, "several").get_by_role("link")).to_have_count(4)


def test_only_the_jobs_of_one_session_are_shown_when_somebody_wants_that(server, client, visit):
    client.queue("pause")
    paint(client, "of birds", session="birds")
    paint(client, "of fish", session="fish")
    page = visit(server, "/watch")
    page.get_by_role("combobox", name="Of which session").select_option("fish")
    expect(rows(page)).to_have_count(1)
    expect(row(page, "of fish")).to_be_visible()


def work_of(page):
    """A function that gives the processor time that the page has taken since, in seconds: how busy others keep the
    machine does not count."""
    tracing = page.context.new_cdp_session(page)
    tracing.send("Performance.enable", {"timeDomain": "threadTicks"})
    values = lambda: {each["name"]: each["value"] for each in tracing.send("Performance.getMetrics")["metrics"]}  # noqa: E731
    before = values()["TaskDuration"]
    return lambda: values()["TaskDuration"] - before


@pytest.mark.slow
def test_a_queue_of_thousands_stays_quick(server, client, visit):
    client.queue("pause")
    client.flow([{"job": "paint", "params": {"prompt": f"number {number}"}} for number in range(1200)])
    page = visit(server, "/watch")
    expect(page.get_by_text("and 200 more after these")).to_be_attached()
    assert rows(page).count() < 60
    work = work_of(page)
    page.evaluate("""async () => {
        for (let step = 0; step < 40; step++) {
            document.getElementById("main").scrollTop += 700;
            await new Promise(requestAnimationFrame);
        }
    }""")
    assert 0 < work() / 40 < 0.05  # for each step
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel them all").click()
    expect(page.get_by_text("1200 jobs are cancelled.")).to_be_visible(timeout=60_000)


def test_every_shortcut_is_listed_and_none_fires_while_somebody_types(server, client, visit):
    page = visit(server, "/watch")
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Pause the queue")
    page.keyboard.press("p")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Alt+1")
    page.locator("textarea").first.press_sequentially("pp??")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not client.queue()["paused"]


def test_the_screen_as_it_is_in_the_documentation(server, client, visit, illustrate):
    page = visit(server, "/watch")
    paint(client, "a small boat in the morning mist, watercolour", pictures=3, delay=0).wait(timeout=30)
    client.submit("fail", {"why": "The colour chartreuse is not known here."})
    paint(client, "a lighthouse at the end of the world, golden hour", pictures=9, steps=20, delay=0.1)
    client.submit("several", {"parts": 5, "delay": 0.1}, session="herons")
    for number in range(3):
        paint(client, f"study of a heron, number {number + 1}", session="herons")
    expect(card(page, "lighthouse").get_by_role("link", name="Result 2")).to_be_visible()
    expect(rows(page)).to_have_count(3)
    illustrate(page, "web-watch")
