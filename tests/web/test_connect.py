"""The Connect screen: flows are built, run, watched, saved and loaded in a real Chromium."""

import io
import json

import PIL.Image
import pytest

from clients.python import Client
from tests.serving import ROOT, serve
from tests.shell import in_process

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

DEMO = """
import PIL.Image

class Paint(Params):
    color: str = param("red", help="Which.")
    steps: int = param(2, ge=1, le=9, help="How many.")
    seed: int = param(-1, ge=-1, widget="seed", help="Where chance begins.")

class Turn(Params):
    angle: int = param(90, ge=0, le=270, help="How far.")

class Demo(Plugin):
    @job(reuse=True)
    def paint(self, params: Paint, ctx: Context) -> list[Image]:
        for step in range(params.steps):
            ctx.progress(step, params.steps, "brushing")
            yield PIL.Image.new("RGB", (32, 16), (params.seed % 256, step, 0))

    @job(reuse=True)
    def turn(self, image: Image, mask: Mask | None, params: Turn) -> Image:
        return image.rotate(params.angle, expand=True)

    @job()
    def sheet(self, images: list[Image], params: Turn) -> Image:
        return images[0]

    @job()
    def shout(self, text: Text, params: Params) -> Text:
        return text.upper()

    @job()
    def measure(self, image: Image) -> Json:
        return {"width": image.width}

    @job(converts=True)
    def spell(self, value: Json) -> Text:
        return ", ".join(f"{name} {each}" for name, each in value.items())
"""
FRAMES = """() => {
    let last = performance.now()
    window.frames_ = []
    const tick = (now) => {
        frames_.push(now - last)
        last = now
        requestAnimationFrame(tick)
    }
    requestAnimationFrame(tick)
}"""
PAINT = {"id": "paint", "job": "demo.paint", "params": {"steps": 1}}
TURN = {"id": "turn", "job": "demo.turn", "inputs": {"image": {"job": "paint"}}}


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, web="auto") as running:
        yield running


@pytest.fixture
def connect(visit, server):
    """connect(jobs, ...) opens the screen, and these jobs on it."""

    def open_screen(jobs=None, **options):
        page = visit(server, "/connect", **options)
        if jobs:
            open_file(page, jobs)
        else:
            expect(page.get_by_role("button", name="paint, then turn")).to_be_visible()
        return page

    return open_screen


def choose_file(page, flow, name="made.json"):
    page.get_by_role("button", name="Flows").click()
    content = json.dumps(flow).encode()
    page.get_by_label("File of a flow").set_input_files(
        {"name": name, "mimeType": "application/json", "buffer": content}
    )


def open_file(page, flow):
    choose_file(page, flow)
    expect(page.get_by_role("dialog")).to_be_hidden()


def node(page, name):
    return page.locator(f'.react-flow__node[data-id="{name}"]')


def socket(page, name, handle="results"):
    return node(page, name).locator(f'[data-handleid="{handle}"]')


def drag(page, start, end):
    page.wait_for_timeout(400)  # the view moves to what was opened
    start.hover()
    page.mouse.down()
    box = end.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=8)


def run(page):
    page.get_by_role("button", name="Run", exact=True).click()


def whole(page):
    return page.get_by_role("toolbar").get_by_role("status")


def wires(page):
    return page.locator(".react-flow__edge")


def picture():
    content = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(content, "PNG")
    return content.getvalue()


def test_a_flow_of_two_nodes_is_built_and_draws_with_the_model(visit, artist, illustrate):
    page = visit(artist, "/connect")
    page.get_by_role("button", name="txt2img, then img2img").click()
    for name, prompt in (
        ("txt2img", "a red circle on a blue background"),
        ("img2img", "a yellow star on a blue background"),
    ):
        page.wait_for_timeout(400)  # the view moves to what was opened
        node(page, name).locator("strong").click()
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.get_by_label("Steps", exact=True).last.fill("4")
        page.get_by_label("Steps", exact=True).last.press("Tab")
    page.get_by_role("button", name="Close", exact=True).click()
    run(page)
    expect(whole(page)).to_have_text("Done", timeout=90_000)
    for name in ("txt2img", "img2img"):
        shown = node(page, name).get_by_role("button", name=f"Open result 1 of {name}").locator("img")
        expect(shown).not_to_have_js_property("naturalWidth", 0)
    page.get_by_role("button", name="Show all").click()
    illustrate(page, "web-connect")


def test_only_fitting_ends_connect_and_the_page_says_why_not(connect):
    page = connect([PAINT, TURN, {"id": "shout", "job": "demo.shout"}])
    expect(wires(page)).to_have_count(1)
    drag(page, socket(page, "paint"), socket(page, "shout", "text"))
    expect(page.get_by_text("text of shout takes text, this is image.")).to_be_visible()
    page.mouse.up()
    page.get_by_role("dialog").press("Escape") if page.get_by_role("dialog").is_visible() else None
    drag(page, socket(page, "turn"), socket(page, "turn", "image"))
    expect(page.get_by_text("A job cannot take its own results.")).to_be_visible()
    page.mouse.up()
    expect(wires(page)).to_have_count(1)


def test_a_converter_lets_ends_connect_and_says_so(connect):
    measure = {"id": "measure", "job": "demo.measure", "inputs": {"image": {"job": "paint"}}}
    page = connect([PAINT, measure, {"id": "shout", "job": "demo.shout"}])
    drag(page, socket(page, "measure"), socket(page, "shout", "text"))
    expect(page.get_by_text("It becomes text first, by demo.spell.")).to_be_visible()
    page.mouse.up()
    expect(wires(page)).to_have_count(2)
    expect(page.get_by_text("json → text", exact=True)).to_be_visible()
    run(page)
    expect(node(page, "shout").get_by_text("WIDTH 32")).to_be_visible()
    node(page, "measure").locator("header").click()
    page.get_by_label("Connect measure to").select_option("Something new …")
    converted = page.get_by_role("dialog").get_by_role("region", name="Converted first")
    expect(converted.get_by_role("button", name="shout")).to_contain_text("json → text by demo.")


def test_a_wire_that_would_close_a_circle_is_refused(connect):
    second = {"id": "again", "job": "demo.turn", "inputs": {"image": {"job": "turn"}}}
    page = connect([PAINT, TURN, second])
    drag(page, socket(page, "again"), socket(page, "turn", "mask"))
    expect(page.get_by_text("This would go round in a circle: again needs turn.")).to_be_visible()
    page.mouse.up()
    expect(wires(page)).to_have_count(2)


def test_a_second_wire_replaces_the_first_where_one_thing_is_taken_and_joins_it_where_several_are(connect):
    other, sheet = PAINT | {"id": "other"}, {"id": "sheet", "job": "demo.sheet", "inputs": {"images": {"job": "paint"}}}
    page = connect([PAINT, other, TURN, sheet])
    drag(page, socket(page, "other"), socket(page, "turn", "image"))
    page.mouse.up()
    drag(page, socket(page, "other"), socket(page, "sheet", "images"))
    page.mouse.up()
    expect(wires(page)).to_have_count(3)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(wires(page)).to_have_count(2)
    page.keyboard.press("Control+Shift+z")
    expect(page.locator('[data-id="other > turn.image"]')).to_have_count(1)


def test_a_wire_dropped_on_a_free_place_offers_only_what_takes_it(connect):
    page = connect([PAINT])
    drag(page, socket(page, "paint"), page.get_by_role("button", name="Zoom in"))
    page.mouse.move(700, 750)
    page.mouse.up()
    offered = page.get_by_role("dialog")
    expect(offered.get_by_role("button", name="turn")).to_be_visible()
    expect(offered.get_by_role("button", name="shout")).to_have_count(0)
    offered.get_by_role("button", name="turn").click()
    expect(page.locator('[data-id="paint > turn.image"]')).to_have_count(1)


def test_a_flow_is_built_with_the_keyboard_alone(connect):
    page = connect()
    for name in ("shout", "paint", "turn"):
        page.keyboard.press("a")
        page.get_by_role("dialog").get_by_label("Search jobs").fill(name)
        page.keyboard.press("Enter")
        expect(page.get_by_role("complementary", name=f"About {name}")).to_be_visible()
    choices = page.get_by_label("Connect image from").locator("option").all_inner_texts()
    assert "paint" in choices and "shout" not in choices
    page.get_by_label("Connect image from").select_option("paint")
    expect(wires(page)).to_have_count(1)
    before = node(page, "turn").bounding_box()
    node(page, "turn").focus()
    page.keyboard.press("ArrowDown")
    assert node(page, "turn").bounding_box()["y"] > before["y"]
    page.keyboard.press("Delete")
    expect(node(page, "turn")).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(wires(page)).to_have_count(1)


def test_what_the_server_refuses_stands_at_its_node_and_field(connect):
    wrong = PAINT | {"params": {"steps": 99, "colour": "red"}}
    page = connect([wrong, TURN, {"id": "shout", "job": "demo.shout"}])
    run(page)
    expect(whole(page)).to_contain_text("2 nodes have to be mended")
    expect(node(page, "paint").get_by_role("alert")).to_contain_text("Did you mean color?")
    expect(node(page, "paint").get_by_role("alert")).to_contain_text("99 is greater than the maximum of 9")
    expect(node(page, "shout").get_by_role("alert")).to_contain_text("needs the input text")
    expect(node(page, "turn").get_by_role("alert")).to_have_count(0)


def test_equal_jobs_are_reused_and_only_what_changed_runs_again(connect):
    page = connect([PAINT, TURN])
    run(page)
    expect(whole(page)).to_have_text("Done")
    node(page, "turn").locator("strong").click()
    page.get_by_label("Angle").last.fill("180")
    page.get_by_label("Angle").last.press("Tab")
    page.get_by_role("button", name="Run changed").click()
    expect(whole(page)).to_have_text("Done, 1 reused")
    expect(node(page, "paint").get_by_text("reused")).to_be_visible()
    expect(node(page, "turn").get_by_text("angle")).to_be_visible()


def test_a_gate_lets_through_what_is_picked_on_the_node(connect):
    gated = TURN | {"inputs": {"image": {"job": "paint", "review": "picked"}}}
    page = connect([PAINT | {"params": {"steps": 2}}, gated])
    expect(page.get_by_text("only picked")).to_be_visible()
    run(page)
    expect(node(page, "turn").get_by_text("waits for what you pick")).to_be_visible()
    node(page, "paint").get_by_role("button", name="Reject result 1 of paint").click()
    node(page, "paint").get_by_role("button", name="Pick result 2 of paint").click()
    expect(whole(page)).to_have_text("Done")


def test_a_flow_and_its_run_outlive_the_page_and_run_from_a_terminal_too(connect, server, tmp_path, monkeypatch):
    text = {"id": "shout", "job": "shout", "inputs": {"text": "a red circle"}}
    page = connect({"version": 1, "name": "Two", "jobs": [PAINT, TURN, text]})
    run(page)
    expect(whole(page)).to_have_text("Done")
    page.get_by_role("button", name="Save").click()
    page.reload()
    expect(node(page, "turn").get_by_role("button", name="Open result 1 of turn")).to_be_visible()
    page.get_by_role("button", name="Flows").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download this flow").click()
    download.value.save_as(tmp_path / "two.json")
    page.get_by_role("button", name="New").click()
    expect(page.get_by_role("button", name="paint, then turn")).to_be_visible()
    page.get_by_role("button", name="Flows").click()
    page.get_by_role("button", name="Open Two").click()
    expect(wires(page)).to_have_count(2)
    expect(node(page, "turn").get_by_role("button", name="Open result 1 of turn")).to_be_visible()
    with Client(server.url, server.token) as client:
        done = in_process(client, "flow", tmp_path / "two.json", "--json")
    assert sorted(each["kind"] for each in json.loads(done.stdout)["outputs"]) == ["image", "image", "text"]


def test_jobs_that_nobody_announces_stay_as_they_are(connect, tmp_path):
    gone = {
        "id": "b",
        "job": "other.swirl",
        "params": {"angle": 3},
        "inputs": {"image": {"job": "paint"}},
        "priority": "batch",
    }
    page = connect([PAINT, gone])
    expect(node(page, "b")).to_contain_text("No plugin announces other.swirl")
    page.get_by_role("button", name="Flows").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download this flow").click()
    kept = json.loads(download.value.path().read_text())["jobs"][1]
    assert kept == gone | {"inputs": {"image": [{"job": "paint"}]}}


def test_a_flow_is_saved_on_the_server_runs_there_by_its_form_and_is_opened_and_deleted(visit, web):
    with serve({"demo": DEMO, "flows": ROOT / "plugins" / "flows"}, web="auto") as server:
        page = visit(server, "/connect")
        open_file(page, {"version": 1, "name": "Zwei Bögen", "jobs": [PAINT, TURN]})
        page.get_by_role("button", name="Flows").click()
        there = page.get_by_role("region", name="Flows on the server")
        there.get_by_role("button", name="Save this flow there").click()
        there.get_by_role("button", name="Open story of the server").click()
        expect(page.get_by_text("“story” has parameters, lists or conditions")).to_be_visible()
        page.get_by_role("button", name="Flows").click()
        there.get_by_role("button", name="Run Zwei_Bogen").click()
        expect(page.get_by_role("form", name="Form of Zwei_Bogen")).to_be_visible()
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("img", name="Result 1")).to_be_visible(timeout=60_000)  # a worker starts for it
        page.goto(f"{server.url}/#/connect")
        page.get_by_role("button", name="Flows").click()
        there.get_by_role("button", name="Open Zwei_Bogen of the server").click()
        expect(wires(page)).to_have_count(1)
        page.get_by_role("button", name="Flows").click()
        page.once("dialog", lambda dialog: dialog.accept())
        there.get_by_role("button", name="Delete Zwei_Bogen from the server").click()
        expect(there.get_by_text("Zwei_Bogen")).to_have_count(0)
        assert not (server.folder / "models" / "flow" / "Zwei_Bogen.json").exists()


@pytest.mark.parametrize("wrong", [{"id": 5}, {"params": None}, {"params": [1]}, {"inputs": {"image": [{"of": 1}]}}])
def test_a_file_with_wrong_types_is_refused_and_nothing_changes(connect, wrong):
    page = connect([PAINT])
    choose_file(page, [PAINT | wrong])
    expect(page.get_by_text("This is no flow: what it says of demo.paint is not of the right types.")).to_be_visible()
    expect(page.locator(".react-flow__node")).to_have_count(1)


def test_places_and_circles_that_make_no_sense_keep_no_flow_from_being_shown(connect):
    canvas = {"positions": {"turn": ["far", None]}, "given": {"a": 5, "b": {"kind": "text", "text": {}, "to": []}}}
    circle = TURN | {"inputs": {"image": {"job": TURN["id"]}}}
    page = connect({"jobs": [circle], "canvas": canvas})
    expect(page.locator(".react-flow__node")).to_have_count(1)
    expect(node(page, TURN["id"])).to_be_visible()


def test_a_dropped_picture_becomes_a_node(connect):
    page = connect([{"id": "turn", "job": "demo.turn"}])
    transfer = page.evaluate_handle(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "cat.png", {type: "image/png"})); return data; }""",
        [*picture()],
    )
    page.dispatch_event(".react-flow__pane", "drop", {"dataTransfer": transfer, "clientX": 500, "clientY": 300})
    expect(node(page, "image").get_by_text("cat.png")).to_be_visible()
    expect(node(page, "image").locator("img")).to_be_visible()
    page.get_by_label("Connect image to").select_option(label="turn: image")
    run(page)
    expect(whole(page)).to_have_text("Done")


def test_a_result_is_opened_as_the_flow_that_made_it(connect, server):
    with server.client() as client:
        first, second = client.flow([PAINT, TURN])
        made = second.wait()[0]
        seed = first.wait()[0].record["facts"].get("seed")
    page = connect([{"id": "shout", "job": "demo.shout"}])
    page.goto(f"{server.url}/#/connect/{made.id}")
    expect(wires(page)).to_have_count(1)
    expect(node(page, "paint")).to_be_visible()
    assert seed is None
    page.keyboard.press("Control+z")
    expect(node(page, "shout")).to_be_visible()


def test_copies_get_names_and_wires_of_their_own(connect):
    page = connect([PAINT, TURN])
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+d")
    expect(page.locator(".react-flow__node")).to_have_count(4)
    expect(page.locator('[data-id="paint 2 > turn 2.image"]')).to_have_count(1)


def test_a_phone_shows_and_runs_a_flow(connect):
    page = connect(width=390, height=844, has_touch=True)
    page.get_by_role("button", name="paint, then turn").tap()
    page.get_by_role("button", name="Run", exact=True).tap()
    expect(whole(page)).to_have_text("Done")
    node(page, "turn").locator("strong").tap()
    expect(page.get_by_role("complementary", name="About turn")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_hundred_nodes_are_moved_smoothly(connect):
    jobs = [
        {"id": f"n{k}", "job": "demo.turn", "inputs": {"image": {"job": f"n{k - 1}"}} if k % 10 else {}}
        for k in range(200)
    ]
    page = connect(jobs)
    expect(page.locator(".react-flow__node")).to_have_count(200)
    page.wait_for_timeout(500)
    page.evaluate(FRAMES)
    box = node(page, "n55").locator("header").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    for k in range(30):
        page.mouse.move(box["x"] + 5 * k, box["y"] + 3 * k)
    page.mouse.up()
    frames = sorted(page.evaluate("frames_"))
    assert frames[len(frames) // 2] < 100, f"half of the frames took longer than {frames[len(frames) // 2]} ms"
