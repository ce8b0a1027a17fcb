"""The Create screen in a real browser: forms of any job, prompts, submits, what comes out, what is remembered."""

import io
import json
import re
import shutil

import PIL.Image
import pytest
from playwright.sync_api import expect

from core.ops.wizard import asking
from tests.serving import serve, wait_until

pytestmark = pytest.mark.browser
DEMO = '''
from typing import Annotated, Any, Literal
import pydantic, PIL.Image

KEPT = {}

class Layer(Params):
    title: str = param("", help="Which.", order=1)
    kind: Literal["plain", "soft"] = param("plain", help="How.", order=2)
    blur: int = param(3, ge=0, help="How soft.", visible_if={"kind": "soft"}, order=3)
    share: float = param(1, ge=0, le=1, help="How much of it.", advanced=True, order=4)

class Point(Params):
    x: int = param(0, help="How far to the right.")

class All(Params):
    prompt: str = param("a cat", widget="textarea", counts="count", order=1, help="What it shows.")
    title: str = param("untitled", order=2, help="A line.")
    number: int = param(3, ge=1, le=9, unit="pieces", help="How many.")
    scale: float = param(1.5, ge=0, le=4, step=0.25, widget="slider", group="size", help="How large.")
    width: int = param(64, ge=8, le=512, multiple_of=8, pairs_with="height", group="size", help="How wide.")
    height: int = param(32, ge=8, le=512, multiple_of=8, group="size", help="How high.")
    seed: int = param(-1, ge=-1, widget="seed", group="size", help="Where chance begins.")
    style: Literal["plain", "sketch", 7] = param("plain", help="How it looks.")
    model: str = param("", choices_from="models/checkpoint", help="Who draws.")
    tile: bool = param(False, help="Without seams.")
    overlap: int | None = param(None, visible_if={"tile": True}, help="Only for tiles.")
    models: list[str] = param([], choices_from="models/checkpoint", help="Who helps.")
    styles: list[str] = param([], choices_from="call/kept", reads="one", saves="keep", deletes="drop", help="Kept.")
    sides: list[Literal["left", "right", "up"]] = param(["left", "up"], help="Where.")
    tags: list[str] = param(["a"], advanced=True, help="Words.")
    layers: list[Layer] = param([], max_length=2, help="What lies above it.")
    point: Point = param(Point(), advanced=True, help="Where.")
    extra: dict[str, Any] = param({}, advanced=True, help="Anything.")
    paper: str = param("plain", choices=["plain", "coarse"], help="What it is drawn on.")
    separator: str = param("\\n", advanced=True, help="Between lines.")

class Secret(Params):
    name: str = param(help="Nobody knows.")
    steps: int = param(4, le=10, advanced=True, help="How many.")

class Words(Params):
    prompt: str = param("", widget="textarea", help="A text.")

class Name(Params):
    name: str = param(min_length=1, help="Its name.")

class Entry(Name):
    prompt: str = param("", help="Its text.")

class Paint(Params):
    prompt: str = param("", widget="textarea", examples=["a red wall"], order=1, help="What it shows.")
    coats: str = param("one", examples=["two"], help="How many.")
    rest: str = param("", advanced=True, examples=["3, 3"], help="Between them.")
    seed: int = param(-1, widget="seed", help="Which.")

class Branch(pydantic.BaseModel):
    title: str = ""
    branches: "list[Branch]" = []

class Tree(Params):
    top: Branch = param(Branch(), help="What all others are part of.")

class Demo(Plugin):
    @job()
    def paint(self, params: Paint, ctx: Context) -> Image:
        """Paint a wall."""
        time.sleep(0.1)
        return Result(PIL.Image.new("RGB", (96, 64), (180, 60, 60)), {"seed": 7 if params.seed < 0 else params.seed})

    @job()
    def echo(self, params: All) -> Json:
        """Return the parameters."""
        return params.model_dump()

    @job()
    def plant(self, params: Tree) -> Json:
        """Plant a tree."""
        return params.model_dump()

    @job()
    def strict(self, note: Annotated[Text, "Who asks."] | None, params: Secret) -> Text:
        return params.name

    @job()
    def mirror_twice(self, image: Image, params: Params) -> Image:
        """Leave a picture as it is."""
        return image

    @job()
    def mirror(self, image: Image, params: Params) -> Image:
        """Turn a picture around."""
        return image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)

    @job(light=True)
    def count(self, params: Words) -> Json:
        return {"tokens": len(params.prompt.split()), "limit": 75, "warnings": []}

    @job(light=True)
    def kept(self) -> Json:
        return [*KEPT]

    @job(light=True)
    def one(self, params: Name) -> Json:
        return {"name": params.name, "prompt": KEPT[params.name]}

    @job(light=True)
    def keep(self, params: Entry) -> Json:
        """Keep a style, or change it."""
        KEPT[params.name] = params.prompt
        return [*KEPT]

    @job(light=True)
    def drop(self, params: Name) -> Json:
        del KEPT[params.name]
        return [*KEPT]
'''
LATE = '''
class Loaf(Params):
    grams: int = param(500, ge=100, le=2000, unit="grams", widget="slider", help="How much.")

class Bakery(Plugin):
    @job()
    def bake(self, params: Loaf) -> Text:
        """Bake a loaf."""
        return f"{params.grams} g"
'''


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, web="auto") as running:
        folder = running.folder / "models" / "checkpoint"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("small.safetensors", "large.safetensors"):
            (folder / name).touch()
        yield running


@pytest.fixture
def create(visit, server):
    """create("strict") opens the form of that job in a browser that knows nothing; session="own" of that session."""

    def open_form(job, session="default", **settings):
        page = visit(server, **settings)
        page.evaluate(f"localStorage.setItem('job', 'demo.{job}'); localStorage.setItem('session', '{session}')")
        page.reload()
        expect(page.get_by_role("form", name=f"Form of {job}")).to_be_visible()
        return page

    return open_form


def field(page, name):
    return page.locator(f"[data-field={name}]").first


def control(page, name):
    return field(page, name).locator("input:not([type=range]), select, textarea").first


def options(page):
    """Of the list that is open."""
    return page.get_by_role("listbox").get_by_role("option")


def run(page):
    page.get_by_role("button", name="Run", exact=True).click()


def submitted(server, session):
    with server.client() as client:
        return client.call("jobs", {"session": session})["jobs"]


def output(page):
    shown = page.get_by_label("What comes out").locator("pre")
    expect(shown).to_contain_text("{")
    return json.loads(shown.inner_text())


def test_a_newcomer_presses_run_and_has_a_picture(create):
    page = create("paint", "newcomer")
    expect(control(page, "prompt")).to_have_value("a red wall")
    expect(control(page, "coats")).to_have_value("one")
    expect(control(page, "rest")).to_have_value("")
    expect(control(page, "prompt")).to_be_focused()
    expect(page.get_by_text("1 image", exact=False)).to_be_visible()
    run(page)
    expect(page.get_by_role("img", name="Result 1, seed 7")).to_be_visible()
    page.get_by_role("button", name="The seed of the last result").click()
    expect(control(page, "seed")).to_have_value("7")
    page.get_by_role("button", name="A new seed each time").click()
    expect(control(page, "seed")).to_have_value("-1")


def test_what_the_wizard_writes_has_a_form_and_makes_a_sound(visit, server):
    page = visit(server)
    page.evaluate("localStorage.setItem('job', 'doorbell.doorbell'); localStorage.setItem('session', 'doorbell')")
    into = server.folder / "plugins"
    assert asking.main(["Doorbell", "--kind", "audio", "--no-git", "--into", str(into)]) == 0
    wait_until(lambda: "plugin    doorbell: doorbell" in server.log)
    page.reload()
    expect(page.get_by_role("form", name="Form of doorbell")).to_be_visible()
    expect(control(page, "notes")).to_have_value("C4 E4 G4 C5")
    control(page, "notes").fill("G5 E5")
    run(page)
    expect(page.get_by_label("What comes out").locator("audio")).to_be_visible()
    shutil.rmtree(into / "doorbell")


def test_values_arrive_as_they_were_entered(create):
    page = create("echo", "entered")
    page.get_by_text("Advanced").click()
    for name, value in {
        "title": "two words",
        "number": "5",
        "scale": "2.25",
        "seed": "12",
    }.items():
        control(page, name).fill(value)
    for at, (name, value) in enumerate([("a", "[1]"), ("gone", "2"), ("b", "plain words")], 1):
        field(page, "extra").get_by_role("button", name="Add").click()
        page.get_by_label(f"Name {at}").fill(name)
        page.get_by_label(f"Value {at}").fill(value)
    field(page, "extra").get_by_role("button", name="Remove gone").click()
    control(page, "paper").fill("of rice")  # which is not among those that are offered
    page.get_by_label("Tile").check()
    control(page, "overlap").fill("3")
    control(page, "style").select_option(label="7")
    control(page, "x").fill("4")
    control(page, "tags").fill("b")
    control(page, "tags").press("Enter")
    for name, choice in {"model": "large", "models": "small", "sides": "right"}.items():
        control(page, name).fill(choice)
        expect(options(page)).to_contain_text([choice])
        control(page, name).press("Enter")
    field(page, "sides").get_by_role("button", name="Remove left").click()
    field(page, "layers").get_by_role("button", name="Add").click()
    expect(field(page, "layers").locator("[data-field=blur]")).to_have_count(0)
    field(page, "layers").locator("[data-field=kind] select").select_option(label="soft")
    field(page, "layers").locator("[data-field=blur] input").fill("9")
    page.get_by_role("button", name="Swap width and height").click()
    run(page)
    assert output(page) == {
        "prompt": "a cat", "title": "two words", "number": 5, "scale": 2.25, "width": 32, "height": 64, "seed": 12,
        "style": 7, "model": "large.safetensors", "tile": True, "overlap": 3, "models": ["small.safetensors"],
        "styles": [], "sides": ["up", "right"], "tags": ["a", "b"], "point": {"x": 4},
        "extra": {"a": [1], "b": "plain words"},
        "paper": "of rice", "layers": [{"title": "", "kind": "soft", "blur": 9, "share": 1}], "separator": "\n",
    }  # fmt: skip


def test_what_contains_itself_is_written_as_json(create, server):
    page = create("plant", "tree")
    control(page, "title").fill("trunk")
    control(page, "branches").fill('[{"title": "twig"}]')
    run(page)
    assert output(page) == {"top": {"title": "trunk", "branches": [{"title": "twig", "branches": []}]}}
    page.goto(f"{server.url}/#/manage/defaults")
    expect(page.get_by_role("heading", name="Defaults")).to_be_visible()


def test_fields_show_where_their_condition_holds_and_only_then_count(create, server):
    page = create("echo", "hidden")
    expect(field(page, "overlap")).to_have_count(0)
    page.get_by_label("Tile").check()
    control(page, "overlap").fill("5")
    page.get_by_label("Tile").uncheck()
    run(page)
    wait_until(lambda: submitted(server, "hidden"))
    assert submitted(server, "hidden")[0]["params"]["overlap"] is None


def test_what_the_server_refuses_is_said_at_its_field(create):
    page = create("strict", "refused")
    page.get_by_text("Advanced").click()
    control(page, "steps").fill("99")
    page.get_by_text("Advanced").click()
    run(page)
    expect(field(page, "name").locator(".error")).to_contain_text("required")
    expect(field(page, "steps").locator(".error")).to_contain_text("99 is greater than the maximum of 10")
    expect(control(page, "name")).to_be_focused()
    control(page, "name").fill("known")
    control(page, "steps").fill("9")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("What comes out").locator("pre")).to_have_text("known")
    expect(page.locator(".error:visible")).to_have_count(0)


def test_ctrl_up_and_down_change_the_attention_of_words_and_selections(create):
    page = create("echo", "attention")
    prompt = control(page, "prompt")
    prompt.fill("a red cat, here")
    prompt.evaluate("box => box.setSelectionRange(4, 4)")
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("a (red:1.1) cat, here")
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("a (red:1.2) cat, here")
    prompt.evaluate("box => box.setSelectionRange(2, 15)")
    prompt.press("Control+ArrowDown")
    expect(prompt).to_have_value("a ((red:1.2) cat:0.9), here")
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("a (red:1.2) cat, here")
    prompt.press("Control+z")
    expect(prompt).to_have_value("a ((red:1.2) cat:0.9), here")


def test_tokens_are_counted_while_one_types(create):
    page = create("echo", "tokens")
    expect(field(page, "prompt").locator("output")).to_have_text("2 / 75")
    control(page, "prompt").press("End")
    control(page, "prompt").press_sequentially(" on a mat")
    expect(field(page, "prompt").locator("output")).to_have_text("5 / 75")


def test_lists_follow_the_files_of_models(create, server):
    page = create("echo", "lists")
    control(page, "model").click()
    expect(options(page)).to_have_text(["none", "large.safetensors", "small.safetensors"])
    new = server.folder / "models" / "checkpoint" / "new.safetensors"
    new.touch()
    expect(options(page)).to_have_text(["none", "large.safetensors", "new.safetensors", "small.safetensors"])
    options(page).filter(has_text="new").click()
    new.unlink()
    expect(field(page, "model")).to_contain_text("does not have this one now")
    expect(control(page, "model")).to_have_value("new.safetensors")


def test_a_plugin_that_comes_and_goes_needs_no_reload(create, server):
    page = create("echo", "late")
    server.write_plugin("bakery", LATE)
    page.get_by_title("Return the parameters").click()
    page.get_by_label("Search jobs").fill("loaf")
    page.get_by_role("button", name="bake").click()
    expect(control(page, "grams")).to_have_value("500")
    expect(field(page, "grams").locator("[type=range]")).to_have_attribute("max", "2000")
    control(page, "grams").fill("750")
    shutil.rmtree(server.folder / "plugins" / "bakery")
    expect(page.get_by_text("What you typed stays")).to_be_visible()
    expect(control(page, "grams")).to_have_value("750")


def test_the_form_that_one_types_in_stays_while_its_plugin_is_read_again(visit, server):
    def announced():
        with server.client() as client:
            return [plugin["name"] for plugin in client.call("plugins")["plugins"] if plugin["jobs"]]

    server.write_plugin("second", LATE)
    wait_until(lambda: announced() == ["demo", "second"])
    page = visit(server)
    control(page, "prompt").fill("a blue wall")
    server.write_plugin("demo", DEMO + "# again")
    wait_until(lambda: announced() == ["second", "demo"])
    page.get_by_title("Paint a wall").click()
    jobs = page.get_by_role("dialog").get_by_role("region", name=re.compile("^(demo|second)$"))
    expect(jobs.locator("h3")).to_have_text(["second", "demo"])
    page.keyboard.press("Escape")
    expect(control(page, "prompt")).to_have_value("a blue wall")
    shutil.rmtree(server.folder / "plugins" / "second")


def test_five_quick_presses_are_five_jobs(create, server):
    page = create("paint", "five")
    for _ in range(5):
        run(page)
    wait_until(lambda: len(submitted(server, "five")) == 5)
    page.get_by_label("How many times").fill("3")
    page.get_by_role("button", name="Run 3 times").click()
    wait_until(lambda: len(submitted(server, "five")) == 8)
    results = page.get_by_role("list", name="Newest results").get_by_role("button")
    expect(results).to_have_count(8)
    results.last.click()
    expect(results.last).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("form", name="Form of paint")).to_be_visible()


def test_what_was_typed_is_there_after_a_reload_and_elsewhere_what_was_submitted_last(create):
    page = create("echo", "kept")
    control(page, "title").fill("remember me")
    page.reload()
    expect(control(page, "title")).to_have_value("remember me")
    run(page)
    assert output(page)["title"] == "remember me"
    other = create("echo", "kept")
    expect(control(other, "title")).to_have_value("remember me")
    other.get_by_role("button", name="Back to the defaults").click()
    expect(control(other, "title")).to_have_value("untitled")


def test_styles_are_saved_from_the_form_edited_and_deleted(create):
    page = create("echo", "styles")
    control(page, "prompt").fill("in oil")
    field(page, "styles").get_by_role("button", name="Keep a style").click()
    dialog = page.get_by_role("dialog")
    expect(control(dialog, "prompt")).to_have_value("in oil")
    control(dialog, "name").fill("oily")
    dialog.get_by_role("button", name="Save").click()
    field(page, "styles").get_by_role("button", name="oily", exact=True).click()
    control(dialog, "prompt").fill("in much oil")
    dialog.get_by_role("button", name="Save").click()
    field(page, "styles").get_by_role("button", name="oily", exact=True).click()
    expect(control(dialog, "prompt")).to_have_value("in much oil")
    dialog.get_by_role("button", name="Delete").click()
    expect(field(page, "styles").locator("[data-gone=true]")).to_have_text("oily")


def test_dropped_and_pasted_files_become_inputs(create):
    page = create("mirror", "dropped")
    data = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (0, 0, 255)).save(data, "PNG")
    given = """([bytes, type, place]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${type}.png`, { type: "image/png" }));
        const name = type === "drop" ? "dataTransfer" : "clipboardData";
        const event = type === "drop" ? new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data })
            : new ClipboardEvent(type, { bubbles: true, cancelable: true, clipboardData: data });
        document.querySelector(place).dispatchEvent(event);
    }"""
    page.evaluate(given, [list(data.getvalue()), "drop", "[data-field=image]"])
    expect(field(page, "image").get_by_role("button", name="Remove drop.png")).to_be_visible()
    page.evaluate(given, [list(data.getvalue()), "paste", "body"])
    expect(field(page, "image").get_by_role("button", name=re.compile("Remove"))).to_have_count(1)
    expect(field(page, "image").get_by_role("button", name="Remove paste.png")).to_be_visible()
    run(page)
    expect(page.get_by_role("img", name="Result 1")).to_be_visible()
    field(page, "image").get_by_role("button", name="From results").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Use")).first.click()
    expect(field(page, "image").get_by_role("button", name=re.compile("Remove"))).to_have_count(1)


def test_enter_sends_to_the_job_of_that_name_and_presses_nothing_else(create):
    page = create("paint", "sent")
    run(page)
    page.get_by_role("button", name="Send to").click()
    page.get_by_role("dialog").get_by_role("searchbox").fill("mirror")
    page.keyboard.press("Enter")
    expect(page.get_by_role("form", name="Form of mirror", exact=True)).to_be_visible()
    expect(field(page, "image").get_by_role("img")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_light_job_is_answered_at_once(create):
    page = create("count", "light")
    control(page, "prompt").fill("one two three")
    page.get_by_role("button", name="Ask").click()
    assert output(page)["tokens"] == 3


def test_a_picture_is_drawn_from_the_form_by_the_builtin_model(visit, artist):
    page = visit(artist)
    expect(control(page, "prompt")).to_be_focused()
    control(page, "prompt").fill("a green star on a white background")
    control(page, "steps").fill("4")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("img", name=re.compile("Result 1, seed"))).to_be_visible(timeout=60_000)
    expect(field(page, "prompt").locator("output")).to_have_text("7 / 75")
