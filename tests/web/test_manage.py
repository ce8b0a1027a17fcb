"""The Manage screen in a real browser: plugins and what is wrong with them, settings, models, defaults, the log."""

import re
import shutil
import time

import pytest
from playwright.sync_api import expect

from core.remote.records import Records, Remote, Rented, Rule, State
from tests.serving import serve
from tests.site import plugin, site

pytestmark = pytest.mark.browser
GUEST = "a-long-token-of-a-guest"
DEMO = '''
class LoudSettings(Params):
    loud: bool = param(False, help="All in capitals.")
    mark: str = param("!", pattern="^[!?]*$", help="What stands at the end.")

class ShoutParams(Params):
    times: int = param(1, ge=1, le=10, help="How many marks.")
    model: str = param("", choices_from="models/checkpoint", help="Who shouts.")

class WhisperParams(Params):
    breaths: int = param(1, ge=1, le=10, help="How many.")
    voice: str = param("a.safetensors", choices_from="models/lora", help="In which voice.")

class Demo(Plugin):
    settings: LoudSettings

    @job()
    def shout(self, params: ShoutParams, ctx: Context) -> Text:
        """Say it loud."""
        for line in range(60):
            ctx.log(f"line {line} of a story")
        if params.times == 7:
            raise ValueError("seven is not loud")
        return "hello" + self.settings.mark * params.times

    @job()
    def whisper(self, params: WhisperParams) -> Text:
        return "." * params.breaths
'''
MENDED = """
from core.plugin import Plugin, Text, job

class Late(Plugin):
    @job()
    def hurry(self) -> Text:
        return "now"
"""


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, web="auto", tokens={"guest": GUEST}) as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def card(page, title):
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=title))


def test_a_refused_plugin_shows_its_whole_error_and_is_ready_once_it_is_mended(server, visit):
    page = visit(server, "/manage")
    expect(card(page, "demo").get_by_text("ready", exact=True)).to_be_visible()
    server.write_plugin("late", "import nothing_of_that_name")
    expect(card(page, "late").get_by_text("refused", exact=True)).to_be_visible()
    expect(card(page, "late").get_by_label("Error of late", exact=True)).to_contain_text(
        "No module named 'nothing_of_that_name'"
    )
    (server.folder / "plugins" / "late" / "__init__.py").write_text(MENDED)
    expect(card(page, "late").get_by_text("ready", exact=True)).to_be_visible()
    expect(card(page, "late").get_by_role("button", name="hurry")).to_be_visible()
    assert not card(page, "late").get_by_label("Error of late", exact=True).is_visible()


def test_the_picture_of_the_documents(server, visit, illustrate):
    server.write_plugin("torn", "import a_package_that_is_not_there")
    page = visit(server, "/manage/plugins")
    expect(card(page, "torn").get_by_text("refused", exact=True)).to_be_visible()
    card(page, "demo").get_by_text("Settings").click()
    expect(card(page, "demo").get_by_role("textbox", name="Mark")).to_be_visible()
    illustrate(page, "web-manage")


def test_the_button_of_a_job_leads_to_its_form(server, visit):
    page = visit(server, "/manage/plugins")
    card(page, "demo").get_by_role("button", name="shout").click()
    expect(page).to_have_url(f"{server.url}/#/")
    expect(page.get_by_label("times").first).to_be_visible()


def test_the_log_follows_its_end_until_somebody_scrolls_up(server, client, visit):
    page = visit(server, "/manage/log", height=500)
    client.run("shout", times=1)
    lines = page.get_by_role("log")
    expect(lines.get_by_text("line 59 of a story").last).to_be_in_viewport()
    lines.evaluate("box => box.scrollTo(0, 0)")
    expect(page.get_by_role("button", name="Newest")).to_be_visible()
    shown = lines.get_by_text("line 59 of a story").count()
    client.run("shout", times=2)
    expect(lines.get_by_text("line 59 of a story")).to_have_count(shown + 1)
    assert lines.evaluate("box => box.scrollTop") == 0
    page.get_by_role("button", name="Newest").click()
    expect(lines.get_by_text("line 59 of a story").last).to_be_in_viewport()


def test_the_log_of_a_failed_job_is_there_after_a_reload_and_its_traceback_is_folded(server, client, visit):
    page = visit(server, "/manage/log")
    job = client.submit("shout", {"times": 7})
    summary = page.get_by_role("log").locator("summary", has_text="ValueError: seven is not loud")
    expect(summary).to_be_visible()
    page.get_by_label("Whose lines").select_option(job.id)
    expect(page).to_have_url(f"{server.url}/#/manage/log/{job.id}")
    page.reload()
    expect(page.get_by_role("log").get_by_text("of a story")).to_have_count(60)
    assert not page.get_by_text("Traceback (most recent call last)").is_visible()
    summary.click()
    expect(page.get_by_text("Traceback (most recent call last)")).to_be_visible()
    page.get_by_label("Filter the lines").fill("STORY 57")
    expect(page.get_by_role("log").get_by_text("of a story")).to_have_count(1)


def test_the_server_says_in_the_log_what_becomes_of_plugins(server, visit):
    page = visit(server, "/manage/log/server")
    server.write_plugin("wrong", "import nothing_at_all")
    expect(page.get_by_role("log").get_by_text("No module named 'nothing_at_all'").first).to_be_visible()


def test_devices_and_their_workers_are_listed_and_the_queue_can_be_paused(server, client, visit):
    client.run("shout", times=3)
    page = visit(server, "/manage/devices")
    expect(card(page, "cpu").get_by_role("heading", name="demo")).to_be_visible()
    expect(card(page, "cpu").get_by_role("progressbar", name="Memory of cpu")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("The queue is paused.")).to_be_visible()
    assert client.call("queue", {})["paused"]
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The queue runs.")).to_be_visible()


def test_a_machine_tells_why_it_failed_and_what_it_costs_and_is_started(server, client, visit):
    records, now = Records(server.folder / "data"), time.time()
    rented = Rented(provider="vast", id="7", price_per_hour=0.4, spend_limit=5, created=now - 3600)
    rule = Rule(jobs=["shout"], when="only")
    gpu1 = Remote(name="gpu1", host="127.0.0.1", port=1, user="root", plugins=["demo"], rule=rule, rented=rented)
    records.write(gpu1)
    card_4090 = {"title": "RTX 4090", "free_bytes": 17_100_000_000, "total_bytes": 25_300_000_000}
    error = {"code": "forbidden", "message": "It has another host key.", "hint": "python3 server.py deploy trust gpu1"}
    records.write_state("gpu1", State(state="failed", since=now, error=error, devices={"cuda:0": card_4090}))
    page, guest = visit(server, "/manage/devices"), visit(server, "/manage/devices", token=GUEST)
    machine = page.get_by_role("region", name="Other machines").get_by_role("listitem")
    expect(machine).to_contain_text("It has another host key. python3 server.py deploy trust gpu1")
    expect(machine).to_contain_text("Jobs shout run there only")
    expect(machine).to_contain_text("$0.40 an hour, $0.40 of at most $5.00 so far, at vast")
    expect(card(page, "gpu1/cuda:0")).to_contain_text("Its machine is not connected.")
    expect(card(guest, "gpu1").first).to_be_visible()
    expect(guest.get_by_text("127.0.0.1")).to_have_count(0)
    expect(guest.get_by_role("button", name="Start gpu1")).to_have_count(0)
    page.get_by_role("button", name="Start gpu1").click()
    expect(page.get_by_role("button", name="Stop gpu1")).to_be_visible()
    assert records.read("gpu1").on
    page.get_by_role("button", name="Stop gpu1").click()
    expect(page.get_by_role("button", name="Start gpu1")).to_be_visible()
    job = client.submit("shout", {"times": 2})
    page.goto(f"{server.url}/#/watch")
    expect(page.get_by_text(re.compile("Waits for gpu1, which is (off|failed|lost)"))).to_be_visible()
    shutil.rmtree(records.of("gpu1"))  # then it may run here
    assert job.wait()[0].text() == "hello!!"


def test_a_model_file_that_comes_is_listed_without_a_reload(server, visit):
    page = visit(server, "/manage/models")
    expect(page.get_by_text("models/checkpoint/", exact=True)).to_be_visible()  # a form chooses from it
    (server.folder / "models" / "checkpoint").mkdir(parents=True)
    (server.folder / "models" / "checkpoint" / "portraits.safetensors").write_bytes(b"x" * 4_200_000)
    expect(page.get_by_role("list", name="Models of the kind checkpoint")).to_contain_text(
        "portraits.safetensors4.2 MB"
    )
    page.get_by_label("Search models").fill("landscape")
    expect(page.get_by_text("No model has that name")).to_be_visible()


def test_a_model_that_a_plugin_names_is_fetched_when_its_licence_is_accepted(server, visit):
    with site() as hub:
        hub.seconds_a_block = 0.05
        plugin(hub.url)(server.folder)
        page, guest = visit(server, "/manage/models"), visit(server, "/manage/models", token=GUEST)
        page.get_by_role("button", name="Fetch a.safetensors").click()
        expect(page.get_by_role("dialog")).to_contain_text("LicenceMIT")
        page.get_by_role("button", name="Accept and fetch").click()
        expect(guest.get_by_text(re.compile("fetch .* of 4.2 MB"))).to_be_visible()
        page.get_by_role("button", name="Stop fetching a.safetensors").click()
        expect(guest.get_by_text("of it are there")).to_be_visible()
        expect(guest.get_by_role("button", name="Fetch a.safetensors")).to_have_count(0)
        form = visit(server, "/manage/plugins")
        card(form, "demo").get_by_role("button", name="whisper").click()
        expect(form.get_by_text("This one is not here yet: it can be fetched.")).to_be_visible()
        hub.seconds_a_block = 0
        form.get_by_role("button", name="Fetch a.safetensors").click()
        form.get_by_role("button", name="Accept and fetch").click()
        expect(form.get_by_text("to be fetched")).to_have_count(0)
        expect(guest.get_by_role("list", name="Models of the kind lora")).to_contain_text("a.safetensors4.2 MB")
        expect(page.get_by_text("there", exact=True)).to_be_visible()


def test_an_own_default_is_in_the_form_of_another_tab_without_a_reload_and_can_be_given_back(server, visit):
    form, page = visit(server, "/manage/plugins"), visit(server, "/manage/defaults")
    card(form, "demo").get_by_role("button", name="whisper").click()
    breaths = form.get_by_role("spinbutton", name="Breaths", exact=True)
    expect(breaths).to_have_value("1")
    page.get_by_label("Search parameters and jobs").fill("breaths")
    field = page.get_by_label("default of Breaths")
    field.fill("12")
    field.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="12 is greater than the maximum of 10")).to_be_visible()
    field.fill("4")
    field.press("Enter")
    expect(breaths).to_have_value("4")
    page.get_by_label("maximum of Breaths").fill("6")
    page.get_by_label("maximum of Breaths").blur()
    expect(breaths).to_have_attribute("max", "6")
    assert "maximum = 6" in (server.folder / "config.toml").read_text()
    page.get_by_role("button", name="As the plugin has it: Breaths").click()
    expect(breaths).to_have_value("1")
    expect(breaths).to_have_attribute("max", "10")


def test_settings_of_a_plugin_are_saved_and_used_and_a_wrong_one_is_told_at_its_field(server, client, visit):
    page = visit(server, "/manage/plugins")
    demo = card(page, "demo")
    mark = demo.get_by_role("textbox", name="Mark")
    demo.get_by_text("Settings").click()
    mark.fill("and")
    demo.get_by_role("button", name="Save").click()
    expect(mark).to_have_attribute("aria-invalid", "true")
    mark.fill("?")
    demo.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.reload()
    demo.get_by_text("Settings").click()
    expect(mark).to_have_value("?")
    assert client.run("shout", times=5)[0].text() == "hello?????"


def test_who_is_not_the_owner_is_told_why_nothing_can_be_changed(server, visit):
    page = visit(server, "/manage/defaults", token=GUEST)
    expect(page.get_by_text("You are here as “guest”.")).to_be_visible()
    page.get_by_label("Search parameters and jobs").fill("times")
    expect(page.get_by_label("default of Times")).to_be_disabled()
    page.goto(f"{server.url}/#/manage/plugins")
    card(page, "demo").get_by_text("Settings").click()
    expect(card(page, "demo").get_by_text("What stands at the end.")).to_be_visible()
    assert not card(page, "demo").get_by_role("button", name="Save").is_visible()


def test_other_apps_are_told_the_address_but_never_the_token(server, visit):
    page = visit(server, "/manage/about", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the address for OpenAI's images").click()
    assert page.evaluate("navigator.clipboard.readText()") == f"{server.url}/v1"
    assert server.token not in page.content()


def test_dark_and_light_are_kept(server, visit):
    page = visit(server, "/manage/about", color_scheme="light")
    page.get_by_role("combobox", name="Theme").select_option("dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("combobox", name="Theme")).to_have_value("dark")
