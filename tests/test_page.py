"""The plain page, driven in a real Chromium against real servers."""

import io
import json
import re

import PIL.Image
import pytest

from tests.serving import ROOT, serve

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=\"document.title = 'owned'\">"
DEMO = '''
from typing import Annotated, Any, Literal
import pydantic, PIL.Image

class Point(pydantic.BaseModel):
    x: int = 0

class Layer(Params):
    title: str = param("", help="Which.", order=1)
    kind: Literal["plain", "soft"] = param("plain", help="How.", order=2)
    blur: int = param(3, ge=0, help="How soft.", visible_if={"kind": "soft"}, order=3)
    share: float = param(1, ge=0, le=1, help="How much of it.", advanced=True, order=4)

class All(Params):
    layers: list[Layer] = param([], max_length=2, help="What lies above it.")
    title: str = param("untitled", order=1, help="A line.")
    prompt: str = param("a cat", widget="textarea", order=2, help="What it shows.")
    count: int = param(3, ge=1, le=9, unit="pieces", help="How many.")
    scale: float = param(1.5, ge=0, le=4, step=0.25, widget="slider", group="size", help="How large.")
    seed: int = param(-1, ge=-1, widget="seed", group="size", help="Where chance begins.")
    style: Literal["plain", "sketch", 7] = param("plain", help="How it looks.")
    model: str = param("", choices_from="models/checkpoint", help="Who draws.")
    tile: bool = param(False, help="Without seams.")
    overlap: int | None = param(None, visible_if={"tile": True}, help="Only for tiles.")
    tags: list[str] = param(["a"], advanced=True, help="Words.")
    models: list[str] = param([], choices_from="models/checkpoint", help="Who helps.")
    sides: list[Literal["left", "right", "up"]] = param(["left", "up"], help="Where.")
    margin: int = param(2, advanced=True, group="size", visible_if={"tile": True}, help="Only for tiles, too.")
    point: Point = param(Point(), advanced=True, help="Where.")
    separator: str = param("\\n", advanced=True, help="Between lines.")

class Secret(Params):
    name: str = param(help="Nobody knows.")
    steps: int = param(4, le=10, advanced=True, help="How many.")

class Said(Params):
    words: str = param("hello", widget="textarea", help="EVIL")

class Paint(Params):
    steps: int = param(3, ge=1, help="How many.")
    seed: int = param(-1, widget="seed", help="Which.")

class Demo(Plugin):
    @job()
    def echo(self, params: All) -> Json:
        """Return the parameters."""
        return params.model_dump()

    @job()
    def strict(self, note: Annotated[Text, "Who asks."] | None, params: Secret) -> Text:
        return params.name

    @job()
    def say(self, params: Said) -> Text:
        """EVIL"""
        return params.words

    @job(light=True)
    def look(self, params: Said) -> Json:
        return {"seen": params.words, "form": {"job": "say", "params": {"words": "as before"}, "inputs": {}}}

    @job()
    def warn(self, ctx: Context) -> Text:
        time.sleep(0.7)  # until somebody listens
        ctx.log("There is no such colour.")
        return "done"

    @job()
    def fail(self, params: Said) -> Text:
        raise InvalidParams(params.words, hint="Say something else.")

    @job()
    def series(self, params: Paint, ctx: Context) -> list[Text]:
        for number in range(params.steps):
            before = ctx.skips
            while ctx.skips == before and not ctx.cancelled:
                ctx.progress(number, params.steps, f"number {number}")
                time.sleep(0.02)
            yield f"{number} kept" if ctx.cancelled else f"{number} skipped"
            if ctx.cancelled:
                return

    @job()
    def paint(self, params: Paint, ctx: Context) -> Image:
        picture = PIL.Image.new("RGB", (32, 16), (255, 0, 0))
        for step in range(params.steps):
            ctx.progress(step, params.steps, "brushing")
            ctx.preview(picture)
            ctx.raise_if_cancelled()
            time.sleep(0.3 if step else 0)
        return Result(picture, {"seed": 42})

    @job()
    def mirror(self, image: Image, notes: list[Text] | None, params: Params) -> Image:
        return image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
'''.replace("EVIL", EVIL.replace('"', '\\"'))


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO, "text": ROOT / "plugins" / "text"}) as running:
        for name in ("small.safetensors", "large.safetensors"):
            (running.folder / "models" / "checkpoint").mkdir(parents=True, exist_ok=True)
            (running.folder / "models" / "checkpoint" / name).touch()
        yield running


@pytest.fixture
def open_page(browser, server):
    """A function that opens the page in a browser of its own, which knows nothing yet."""
    contexts, complaints = [], []

    def open_page(job=None, running=server, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.goto(f"{running.url}/plain/?token={running.token}")
        expect(page.locator("#connection")).to_have_text("Connected")
        if job:
            page.select_option("#choice", job)
        return page

    yield open_page
    for context in contexts:
        context.close()
    usual = ("ERR_CONNECTION_REFUSED", "WebSocket connection", "400 (BAD", "401 (UN")  # no server, refused, locked
    assert [text for text in complaints if not any(words in text for words in usual)] == []


def field(page, name):
    return page.locator(f"[data-field={name}]")


def control(page, name):
    return field(page, name).locator("input:not([type=range]), select, textarea")


def run(page):
    """Submit the form and return the card of the new job."""
    known = page.locator("article").evaluate_all("cards => cards.map(card => card.id)")
    page.click("#form [type=submit]")
    card = page.locator("article" + "".join(f':not([id="{each}"])' for each in known))
    expect(card).to_have_count(1)
    return page.locator(f'[id="{card.get_attribute("id")}"]')


def test_form_is_rendered_from_the_schema_and_a_field_shows_only_when_its_condition_holds(open_page):
    page = open_page("demo.echo")
    expect(page.locator("#about")).to_have_text("Return the parameters.")
    order = page.locator("#fields [data-field]").evaluate_all("rows => rows.map(row => row.dataset.field)")
    assert order[:2] == ["title", "prompt"] and order[-4:] == ["tags", "point", "separator", "margin"]
    expect(field(page, "count").locator("label")).to_have_text("Count in pieces")
    expect(field(page, "count").locator(".help")).to_have_text("How many.")
    slider = page.get_by_role("group", name="Size").locator("input[type=range]")
    assert [slider.get_attribute(name) for name in ("min", "max", "step")] == ["0", "4", "0.25"]
    expect(control(page, "prompt")).to_have_value("a cat")
    assert control(page, "prompt").evaluate("box => box.tagName") == "TEXTAREA"
    assert control(page, "style").locator("option").all_text_contents() == ["plain", "sketch", "7"]
    models = control(page, "model").locator("option")
    expect(models).to_have_text(["none", "large.safetensors", "small.safetensors"])
    expect(control(page, "separator")).to_be_hidden()
    page.get_by_text("Advanced").click()
    expect(control(page, "separator")).to_have_value("\n")
    expect(control(page, "overlap")).to_be_hidden()
    expect(page.locator(".advanced").get_by_text("Size")).to_be_hidden()  # a group of which nothing is shown
    page.get_by_label("Tile").check()
    expect(control(page, "overlap")).to_be_visible()
    expect(page.locator(".advanced").get_by_role("group", name="Size").locator("input")).to_be_visible()


def test_inputs_that_may_be_left_out_come_after_the_parameters_with_what_they_are_for(open_page):
    page = open_page("demo.strict")
    order = page.locator("#fields [data-field]").evaluate_all("rows => rows.map(row => row.dataset.field)")
    assert order == ["name", "note", "steps"]
    expect(field(page, "note").locator(".help")).to_have_text("Who asks.")
    page.select_option("#choice", "demo.mirror")
    expect(page.locator("#fields [data-field]").first).to_have_attribute("data-field", "image")


def test_lists_follow_the_files_of_models(open_page, server):
    page = open_page("demo.echo")
    options = control(page, "model").locator("option")
    expect(options).to_have_text(["none", "large.safetensors", "small.safetensors"])
    new = server.folder / "models" / "checkpoint" / "new.safetensors"
    new.touch()
    expect(options).to_have_text(["none", "large.safetensors", "small.safetensors", "new.safetensors"])
    new.unlink()
    expect(options).to_have_text(["none", "large.safetensors", "small.safetensors"])


def test_what_is_entered_is_there_after_a_reload_and_arrives(open_page):
    page = open_page("demo.echo")
    page.get_by_text("Advanced").first.click()
    entered = {"title": "two words", "count": "5", "scale": "2.25", "seed": "12", "overlap": "3", "tags": '["b", "c"]'}
    page.get_by_label("Tile").check()
    for name, value in entered.items():
        control(page, name).first.fill(value)
    control(page, "point").fill('{"x": 4}')
    control(page, "style").select_option(label="7")
    control(page, "model").select_option("large.safetensors")
    control(page, "models").select_option("small.safetensors")
    control(page, "models").select_option("large.safetensors")
    control(page, "models").select_option("small.safetensors")  # is there already
    control(page, "sides").select_option("right")
    page.get_by_role("button", name="Remove left").click()
    layers = field(page, "layers")
    for _ in range(2):
        layers.get_by_role("button", name="Add").click()
    expect(layers.get_by_role("button", name="Add")).to_be_disabled()
    layers.get_by_label("Title").nth(1).fill("above")
    expect(layers.get_by_label("Blur").nth(1)).to_be_hidden()
    layers.get_by_label("Kind").nth(1).select_option("soft")
    layers.get_by_label("Blur").nth(1).fill("7")
    layers.get_by_text("Advanced").nth(1).click()
    layers.get_by_label("Share").nth(1).fill("0.5")
    layers.get_by_role("button", name="Remove", exact=True).first.click()
    page.select_option("#choice", "demo.say")
    control(page, "words").fill("me too")
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")  # and the jobs of other tests are there
    expect(control(page, "words")).to_have_value("me too")
    page.select_option("#choice", "demo.echo")
    expect(field(page, "models").locator("li span")).to_have_text(["small.safetensors", "large.safetensors"])
    expect(layers.get_by_label("Title")).to_have_value("above")
    output = run(page).locator("pre")
    expect(output).to_contain_text("title")
    assert json.loads(output.inner_text()) == {
        "title": "two words", "prompt": "a cat", "count": 5, "scale": 2.25, "seed": 12, "style": 7,
        "model": "large.safetensors", "tile": True, "overlap": 3, "tags": ["b", "c"], "point": {"x": 4},
        "separator": "\n", "models": ["small.safetensors", "large.safetensors"], "sides": ["up", "right"],
        "margin": 2, "layers": [{"title": "above", "kind": "soft", "blur": 7, "share": 0.5}],
    }  # fmt: skip
    page.get_by_role("button", name="Defaults").click()
    expect(control(page, "title")).to_have_value("untitled")


def test_what_is_wrong_is_said_where_it_is_seen(open_page):
    page = open_page("demo.strict")
    page.get_by_text("Advanced").click()
    control(page, "steps").fill("99")
    page.get_by_text("Advanced").click()
    page.click("#form [type=submit]")
    expect(field(page, "name").locator(".error")).to_contain_text("required")
    expect(field(page, "steps").locator(".error")).to_contain_text("99 is greater than the maximum of 10")
    expect(control(page, "name")).to_be_focused()
    control(page, "name").fill("known")
    control(page, "steps").fill("9")
    expect(run(page).locator("pre")).to_have_text("known")
    expect(page.locator("#form .error:visible")).to_have_count(0)
    page.select_option("#choice", "demo.echo")
    layers = field(page, "layers")
    for _ in range(2):
        layers.get_by_role("button", name="Add").click()
    layers.get_by_label("Kind").first.select_option("soft")
    layers.get_by_label("Blur").first.fill("-1")
    page.click("#form [type=submit]")
    error = layers.locator("> .error")
    expect(error).to_contain_text("layers.0.blur: -1 is less than the minimum of 0")
    expect(error).to_be_in_viewport()
    page.select_option("#choice", "demo.mirror")
    control(page, "image").set_input_files({"name": "not.png", "mimeType": "image/png", "buffer": b"not a picture"})
    expect(field(page, "image").locator(".error")).to_contain_text("not a picture")
    expect(field(page, "image").locator("li")).to_have_count(0)


def test_a_light_job_is_answered_at_once_and_its_form_can_be_opened(open_page):
    page = open_page("demo.look")
    names = page.locator("#choice optgroup").first.locator("option")
    expect(names).to_have_text(["echo", "strict", "say", "warn", "fail", "series", "paint", "mirror"])
    control(page, "words").fill("a cat")
    page.click("#form [type=submit]")
    expect(page.locator("#answer pre")).to_contain_text('"seen": "a cat"')
    expect(page.locator("article.running, article.queued")).to_have_count(0)
    page.get_by_role("button", name="Open in say").click()
    expect(page.locator("#choice")).to_have_value("demo.say")
    expect(control(page, "words")).to_have_value("as before")
    expect(page.locator("#answer")).to_be_hidden()


def test_what_a_job_says_while_it_runs_is_shown(open_page):
    card = run(open_page("demo.warn"))
    expect(card.locator(".state")).to_have_text("done")
    expect(card.locator(".notes")).to_have_text("There is no such colour.")


def test_a_result_is_the_input_of_another_job_and_brings_back_its_form(open_page, server):
    page = open_page("demo.paint")
    control(page, "steps").fill("2")
    card = run(page)
    expect(card.locator("figcaption")).to_contain_text("seed 42")
    page.get_by_role("button", name="Defaults").click()
    card.get_by_role("button", name="Edit").click()
    expect(control(page, "steps")).to_have_value("2")
    expect(control(page, "seed")).to_have_value("42")
    card.get_by_text("Use", exact=True).click()
    card.get_by_role("button", name="mirror: image").click()
    expect(page.locator("#choice")).to_have_value("demo.mirror")
    mirrored = run(page)
    expect(mirrored.locator("figure img")).to_have_attribute("width", "32")
    with server.client() as client:
        ancestor = client.job(card.get_attribute("id")).outputs[0].id
        assert client.job(mirrored.get_attribute("id")).record["inputs"]["image"] == [ancestor]


def test_files_and_texts_are_uploaded(open_page, server):
    page = open_page("demo.mirror")
    out = io.BytesIO()
    PIL.Image.linear_gradient("L").rotate(90).save(out, "PNG")
    picture = {"name": "slope.png", "mimeType": "image/png", "buffer": out.getvalue()}
    control(page, "image").set_input_files(picture)
    expect(field(page, "image").locator("li")).to_contain_text("slope.png")
    for note in ("one", "two"):
        control(page, "notes").fill(note)
        page.get_by_role("button", name="Add as an item").click()
    card = run(page)
    expect(card.locator("figure img")).to_have_count(1)
    with server.client() as client:
        job = client.job(card.get_attribute("id"))
        assert job.outputs[0].image().getpixel((0, 0)) == PIL.Image.linear_gradient("L").getpixel((0, 255))
        assert len(job.record["inputs"]["notes"]) == 2


def test_two_pages_see_a_running_job_its_progress_and_preview_and_it_can_be_cancelled(open_page):
    page, other = open_page("demo.paint"), open_page()
    control(page, "steps").fill("200")
    card = run(page)
    twin = other.locator(f'[id="{card.get_attribute("id")}"]')
    for each in (card, twin):
        expect(each.locator(".step")).to_contain_text("of 200")
        expect(each.locator(".step")).to_contain_text("left")
    preview = card.get_by_alt_text("Preview of demo.paint")
    expect(preview).to_be_visible()
    assert preview.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    ids = "cards => cards.map(card => card.id)"
    assert page.locator("article").evaluate_all(ids) == other.locator("article").evaluate_all(ids)
    card.get_by_role("button", name="Cancel").click()
    for each in (card, twin):
        expect(each.locator(".state")).to_have_text("cancelled")
    expect(preview).to_have_count(0)


def test_one_of_several_results_is_skipped_and_the_rest_stopped(open_page):
    page = open_page("demo.series")
    control(page, "seed").fill("7")
    card = run(page)
    card.get_by_role("button", name="Skip").click()
    expect(card).to_contain_text("0 skipped")
    card.get_by_role("button", name="Stop").click()
    expect(card).to_contain_text("1 kept")
    expect(card.get_by_role("button", name="Skip")).to_have_count(0)
    expect(card.locator("dt")).to_have_text(["Seed"])  # what was left as it is by default is not listed


def test_jobs_are_submitted_without_waiting_and_the_queue_pauses(open_page):
    page = open_page("demo.say")
    page.get_by_role("button", name="Pause the queue").click()
    expect(page.locator("#counts")).to_contain_text("queue paused")
    before = page.locator("article").count()
    for _ in range(3):
        page.click("#form [type=submit]")
    expect(page.locator("article.queued")).to_have_count(3)
    page.get_by_role("button", name="Resume the queue").click()
    expect(page.locator("article.queued")).to_have_count(0)
    assert page.locator("article").count() == before + 3


def test_failed_job_says_why_and_is_retried(open_page):
    page = open_page("demo.fail")
    control(page, "words").fill("Not this.")
    card = run(page)
    expect(card.locator("p.error")).to_have_text("Not this. Say something else.")
    failed = page.locator("article.failed").count()
    card.get_by_role("button", name="Retry").click()
    expect(page.locator("article.failed")).to_have_count(failed + 1)


def test_page_catches_up_after_the_server_was_killed_and_says_when_its_permission_is_gone(open_page):
    with serve({"demo": DEMO, "broken": "import nonsense"}) as server:
        page = open_page("demo.paint", server)
        expect(page.locator("#plugins")).to_contain_text("broken was refused: ")
        expect(page.locator("#plugins")).to_contain_text("No module named 'nonsense'")
        control(page, "steps").fill("5")
        card = run(page)
        expect(card.locator(".state")).to_have_text("running")
        server.kill()
        expect(page.locator("#connection")).to_contain_text("Connection lost, trying again")
        page.click("#form [type=submit]")  # waits for the connection
        server.start()
        expect(page.locator("#connection")).to_have_text(
            re.compile(r"Connected again, caught up on \d+ events?"), timeout=30_000
        )
        expect(page.locator("article.done")).to_have_count(2, timeout=30_000)
        expect(page.locator("article")).to_have_count(2)
        server.kill()
        next(server.folder.glob("**/stable-core/token")).write_text("another")
        server.start()
        expect(page.locator("#connection")).to_have_text("This page has lost its permission. Unlock it")
        page.get_by_role("link", name="Unlock it").click()
        expect(page.get_by_role("heading")).to_have_text("This server is locked")


def test_browser_without_the_token_is_locked_out_until_it_has_it_and_asks_no_other_server(browser, server):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(server.url)
    policy = answer.headers["content-security-policy"]
    assert answer.status == 401 and "default-src 'none'" in policy and "unsafe" not in policy
    expect(page.get_by_role("heading")).to_have_text("This server is locked")
    expect(page.get_by_text("That token was not right")).to_be_hidden()
    page.get_by_label("Or paste the token here").fill("a guess")
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_text("That token was not right")).to_be_visible()
    page.get_by_label("Or paste the token here").fill(server.token)
    page.get_by_role("button", name="Unlock").click()
    expect(page.locator("#connection")).to_have_text("Connected")
    assert page.url == server.url + "/"  # the token is not left in the address
    policy = page.reload().headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert asked and all(url.startswith(server.url) for url in asked)
    page.close()


def test_text_of_a_job_is_never_executed(open_page):
    page = open_page("demo.say")
    control(page, "words").fill(EVIL)
    card = run(page)
    expect(card.locator("pre")).to_have_text(EVIL)
    expect(card.locator("> details > summary")).to_have_text(EVIL)
    expect(field(page, "words").locator(".help")).to_have_text(EVIL)
    page.select_option("#choice", "demo.fail")
    control(page, "words").fill(EVIL)
    expect(run(page).locator("p.error")).to_contain_text(EVIL)
    assert page.locator("img:not([src^='/artifacts/'])").count() == 0
    assert "owned" not in page.title()


def test_nothing_is_wider_than_the_window(open_page):
    page = open_page("demo.say")
    control(page, "words").fill("W" * 500)
    expect(run(page).locator("pre")).to_be_visible()
    for width in (390, 1280, 3840):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, scheme
