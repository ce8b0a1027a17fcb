"""The Results screen and pictures dropped anywhere, in a real Chromium against a real server."""

import base64
import io
import re

import PIL.Image
import PIL.PngImagePlugin
import pytest
from playwright.sync_api import expect

from tests.serving import serve, wait_until
from tests.web.many import fill

pytestmark = pytest.mark.browser
MANY = 10_000
DEMO = '''
import PIL.Image

class Painted(Params):
    prompt: str = param("", widget="textarea", order=1, help="What it shows.")
    colour: str = param("red", order=2, group="look", help="Of all of it.")
    width: int = param(32, ge=1, le=2000, group="look", help="Of the picture.")
    height: int = param(32, ge=1, le=2000, group="look", help="Of the picture.")
    seed: int = param(-1, ge=-1, widget="seed", help="Where chance begins.")

class Tinted(Params):
    colour: str = param("blue", help="What is mixed in.")

class Demo(Plugin):
    @job()
    def paint(self, params: Painted, ctx: Context) -> Image:
        """Paint a picture."""
        ctx.log("mixing the colours")
        seed = 4711 if params.seed < 0 else params.seed
        infotext = f"{params.prompt}\\nSteps: 1, Seed: {seed}"
        size = params.width, params.height
        return Result(PIL.Image.new("RGB", size, params.colour), {"seed": seed, "infotext": infotext})

    @job()
    def tint(self, image: Image, params: Tinted) -> Image:
        """Mix a colour into a picture."""
        return PIL.Image.blend(image.convert("RGB"), PIL.Image.new("RGB", image.size, params.colour), 0.5)

    @job()
    def note(self, text: Text, params: Params) -> Text:
        """Hand a text on."""
        return text

    @job()
    def weigh(self, params: Params) -> Json:
        """Tell what it weighs."""
        return {"weight": 7}

    @job(converts=True)
    def spell(self, value: Json) -> Text:
        """Say in words what a value is."""
        return ", ".join(f"{name} {each}" for name, each in value.items())

    @job(light=True)
    def measure(self, image: Image, params: Params) -> Json:
        """A light job that looks at pictures and knows no forms."""
        return {"width": image.width}

    @job(light=True)
    def read(self, image: Image, params: Params) -> Json:
        """Read a form out of what a picture says about itself."""
        prompt = image.info.get("parameters", "").split("\\n")[0]
        form = {"job": "paint", "params": {"prompt": prompt, "colour": "green"}, "inputs": {}}
        return {"form": form if prompt else None, "notes": ["Its model is not here."]}
'''


@pytest.fixture(scope="module")
def server(web):
    with serve({"demo": DEMO}, lambda folder: fill(folder, MANY), web="auto") as server:
        yield server


@pytest.fixture
def client(server, request):
    """Jobs and uploads in a session of the test's own."""
    with server.client(session=request.node.name[:60]) as client:
        yield client


@pytest.fixture
def open_results(visit, server, client):
    """open_results(screen) shows the gallery of the test's own session, or one of its results."""

    def open_results(screen="/results", **options):
        page = visit(server, "/results", **options)
        page.get_by_label("Session", exact=True).select_option(client.session)
        if screen != "/results":
            page.goto(f"{server.url}/#{screen}")
            expect(page.get_by_role("toolbar", name="What can be done with it")).to_be_visible()
        return page

    return open_results


def paint(client, count=1, **params):
    """The results, oldest first."""
    jobs = [client.submit("paint", {"prompt": f"picture {number}", **params}) for number in range(count)]
    return [job.wait()[0] for job in jobs]


def tiles(page):
    return page.get_by_role("option").filter(visible=True)


def drop(page, data, name, mime="image/png", target="body"):
    script = """([data, name, type, target]) => {
        const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], name, { type }));
        for (const kind of ["dragenter", "dragover", "drop"]) {
            const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer });
            document.querySelector(target).dispatchEvent(event);
        }
    }"""
    page.evaluate(script, [base64.b64encode(data).decode(), name, mime, target])


def png(colour="teal", **texts):
    info = PIL.PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file = io.BytesIO()
    PIL.Image.new("RGB", (40, 30), colour).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def test_results_come_and_go_by_themselves(open_results, client):
    [first] = paint(client)
    page = open_results()
    expect(tiles(page)).to_have_count(1)
    [second] = paint(client)
    expect(tiles(page)).to_have_count(2)
    expect(tiles(page).first).to_have_attribute("id", f"tile-{second.id}")
    client.call("delete", {"ids": [second.id]})
    expect(tiles(page)).to_have_count(1)
    expect(tiles(page).first).to_have_attribute("id", f"tile-{first.id}")


def test_an_empty_session_and_filters_without_a_match_say_what_to_do(open_results, client):
    client.call("session", {"id": client.session, "name": "Nothing here"})
    page = open_results()
    expect(page.get_by_text("No results yet")).to_be_visible()
    paint(client)
    expect(tiles(page)).to_have_count(1)
    page.get_by_role("button", name="Picked").click()
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.get_by_role("button", name="Show everything").click()
    expect(tiles(page)).to_have_count(1)


def test_gallery_of_10000_is_a_bounded_number_of_elements_wherever_one_is(visit, server):
    page = visit(server, "/results")
    page.get_by_label("Session", exact=True).select_option("many")
    expect(page.get_by_text("10,000 results")).to_be_visible()
    box = page.get_by_role("listbox", name="Results")

    def at_the_end():
        assert page.locator("*").count() < 1500
        box.evaluate("box => (box.scrollTop = box.scrollHeight)")
        return page.locator(f'[aria-posinset="{MANY}"]').count()

    wait_until(at_the_end, 60)
    expect(tiles(page).last.locator("img")).to_be_visible()
    assert page.locator("*").count() < 1500


def test_what_one_looks_at_stays_where_it_is_when_results_come(visit, server, client):
    page = visit(server, "/results")
    expect(tiles(page).nth(20)).to_be_visible()
    page.get_by_role("listbox", name="Results").evaluate("box => (box.scrollTop = 700)")
    page.wait_for_timeout(300)  # until it is drawn
    seen = tiles(page).nth(20)
    id, before = seen.get_attribute("id"), seen.bounding_box()
    count = page.get_by_text(re.compile("^[0-9,]+ results$"))
    there = int(count.text_content().split()[0].replace(",", ""))
    paint(client, 3)
    expect(count).to_have_text(f"{there + 3:,} results")
    assert page.locator(f'[id="{id}"]').bounding_box() == before


def test_full_view_tells_how_a_result_was_made_and_the_way_back_works(open_results, client):
    [result] = paint(client, colour="green")
    page = open_results()
    tiles(page).first.click()
    expect(page).to_have_url(re.compile(f"#/results/{result.id}$"))
    details = page.get_by_role("complementary", name="Details")
    expect(details.get_by_text("picture 0", exact=True)).to_be_visible()
    changed = details.get_by_label("Differs from the defaults")
    expect(changed).to_contain_text("green")
    expect(changed).not_to_contain_text("32")
    expect(details).to_contain_text("4711")
    details.get_by_text("All parameters of paint").click()
    expect(details.get_by_role("heading", name="Look")).to_be_visible()
    details.get_by_text("Log of the job").click()
    expect(details.get_by_text("mixing the colours")).to_be_visible()
    page.go_back()
    expect(tiles(page)).to_have_count(1)


def test_full_view_is_zoomed_by_wheel_and_keys_and_arrows_go_on(open_results, client):
    first, second = paint(client, 2, width=64)
    page = open_results(f"/results/{second.id}")
    picture = page.get_by_label("A result in full").locator("img").last
    expect(picture).to_be_visible()
    width = picture.bounding_box()["width"]
    page.mouse.move(400, 400)
    page.mouse.wheel(0, -400)
    wait_until(lambda: picture.bounding_box()["width"] > 1.5 * width)
    page.keyboard.press("0")
    wait_until(lambda: picture.bounding_box()["width"] == width)
    page.keyboard.press("1")
    expect(page.get_by_role("button", name="100%")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(f"#/results/{first.id}$"))
    page.keyboard.press("Escape")
    expect(tiles(page)).to_have_count(2)


def test_a_review_pass_needs_the_keyboard_alone(open_results, client):
    results = [result.id for result in reversed(paint(client, 8))]
    page = open_results()
    expect(tiles(page)).to_have_count(8)
    page.get_by_role("listbox", name="Results").focus()
    for key in "pxp":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"#/results/{results[3]}$"))
    for key in "xxp":
        page.keyboard.press(key)
    page.evaluate("() => { history.back = () => setTimeout(() => history.go(-1), 500); }")  # as on a busy machine
    page.keyboard.press("Escape")
    page.keyboard.press("Home")
    page.keyboard.press("u")

    def states():
        return {record.id: record.record["review"] for record in client.artifacts(session=client.session)}

    wanted = ["new", "rejected", "picked", "rejected", "rejected", "picked", "new", "new"]
    wait_until(lambda: states() == dict(zip(results, wanted, strict=True)))
    page.get_by_role("button", name="Rejected").click()
    expect(tiles(page)).to_have_count(3)


def test_deleting_asks_first_and_says_how_many(open_results, client):
    paint(client, 3)
    page = open_results()
    expect(tiles(page)).to_have_count(3)
    page.get_by_role("listbox", name="Results").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.keyboard.press("Delete")
    dialog = page.get_by_role("dialog", name="Delete 2 results?")
    expect(dialog).to_contain_text("cannot be undone")
    dialog.get_by_role("button", name="Keep").click()
    expect(tiles(page)).to_have_count(3)
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(tiles(page)).to_have_count(1)
    assert len(client.artifacts(session=client.session)) == 1


def test_two_results_are_compared_with_what_differs(open_results, client):
    paint(client, 2, width=64)
    paint(client, colour="blue", width=64)
    page = open_results()
    expect(tiles(page)).to_have_count(3)
    for at in (0, 1):
        tiles(page).nth(at).click(modifiers=["Control"])
    page.get_by_role("button", name="Compare").click()
    table = page.get_by_role("group", name="In what they differ")
    expect(table.get_by_role("row", name=re.compile("^Colour (blue red|red blue)$"))).to_be_visible()
    expect(table.get_by_role("row", name=re.compile("^Width"))).to_have_count(0)
    pictures = page.get_by_label("Side by side").locator("figure img")
    page.mouse.move(300, 300)
    page.mouse.wheel(0, -500)
    widths = "all => [...new Set(all.map((each) => Math.round(each.getBoundingClientRect().width)))]"
    wait_until(
        lambda: len(found := pictures.evaluate_all(widths)) == 1 and found[0] > 256
    )  # four times is the most it fits
    page.get_by_role("button", name="Wipe").click()
    slider = page.get_by_role("slider", name="Where A ends and B begins")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "52")


def test_a_picture_and_its_enlargement_are_compared_in_one_size(open_results, client):
    paint(client, width=64)
    paint(client, width=192, height=95)
    page = open_results()
    for at in (0, 1):
        tiles(page).nth(at).click(modifiers=["Control"])
    page.get_by_role("button", name="Compare").click()
    pictures = page.get_by_label("Side by side").locator("figure img")
    expect(pictures).to_have_count(2)
    widths = "all => all.map((each) => Math.round(each.getBoundingClientRect().width))"
    wait_until(lambda: len({*pictures.evaluate_all(widths)}) == 1)
    page.get_by_role("button", name="Wipe").click()
    expect(page.get_by_role("slider", name="Where A ends and B begins")).to_be_visible()


def test_lineage_is_drawn_and_leads_on(open_results, client):
    [root] = paint(client)
    children = [client.run("tint", image=root, colour=colour)[0] for colour in ("blue", "white")]
    page = open_results(f"/results/{root.id}")
    page.keyboard.press("l")
    graph = page.get_by_role("group", name="Lineage")
    expect(graph.get_by_role("button", name=re.compile("^tint"))).to_have_count(2)
    expect(graph.locator("path")).to_have_count(2)
    graph.get_by_role("button", name=re.compile("^tint")).first.click()
    expect(page).to_have_url(re.compile("#/results/(" + "|".join(re.escape(child.id) for child in children) + ")$"))
    expect(graph.get_by_role("button", name=re.compile("^paint"))).to_be_visible()


def test_of_many_descendants_a_few_are_drawn_at_first(open_results, client, server):
    root = client.upload(png(), name="root.png")
    client.flow(
        [{"job": "tint", "params": {"colour": f"#0000{n:02x}"}, "inputs": {"image": root.id}} for n in range(40)]
    )
    wait_until(lambda: len(client.call("lineage", {"id": root.id, "direction": "descendants"})["artifacts"]) == 40)
    page = open_results(f"/results/{root.id}")
    page.keyboard.press("l")
    graph = page.get_by_role("group", name="Lineage")
    expect(graph.get_by_role("button", name="28 more")).to_be_visible()
    graph.get_by_role("button", name="28 more").click()
    expect(graph.get_by_role("button", name="16 more")).to_be_visible()


def test_a_result_is_sent_to_a_job_that_takes_it(open_results, client):
    [result] = paint(client)
    page = open_results(f"/results/{result.id}")
    page.get_by_role("button", name="Send to").click()
    dialog = page.get_by_role("dialog", name="Send to")
    expect(dialog.get_by_role("button", name=re.compile("^tint"))).to_be_visible()
    expect(dialog.get_by_role("button", name=re.compile("^note"))).to_have_count(0)
    dialog.get_by_role("searchbox").fill("mix a col")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/$"))
    expect(page.locator("[data-field=image] img")).to_be_visible()


def test_what_does_not_fit_is_sent_through_a_converter_and_both_say_so(open_results, client):
    [result] = client.run("weigh")
    page = open_results(f"/results/{result.id}")
    page.get_by_role("button", name="Send to").click()
    dialog = page.get_by_role("dialog", name="Send to")
    expect(dialog.get_by_role("region", name="demo").get_by_role("button")).to_have_count(1)  # spell
    note = dialog.get_by_role("region", name="Converted first").get_by_role("button", name=re.compile("^note"))
    expect(note).to_contain_text("json → text by demo. Hand a text on.")
    note.click()
    expect(page.get_by_text("demo makes text of the json first.")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Run")).click()
    wait_until(lambda: [job for job in client.jobs() if job.record["name"] == "demo.note" and job.state == "done"])
    assert client.artifacts(kind="text")[0].text() == "weight 7"


def test_reuse_brings_back_the_form_with_the_seed_that_was_drawn(open_results, client):
    [result] = paint(client, colour="green")
    page = open_results(f"/results/{result.id}")
    page.get_by_role("button", name="Reuse form").click()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("picture 0")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("4711")


def test_a_result_dropped_anywhere_brings_its_form_back(visit, server, client):
    [result] = paint(client, colour="green")
    page = visit(server, "/manage")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    drop(page, result.bytes(), "renamed.png")
    expect(page.get_by_text("This is a result of paint; its form is here again.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("picture 0")


def test_a_picture_of_another_program_brings_the_form_that_a_light_job_reads(visit, server):
    page = visit(server, "/watch")
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    drop(page, png(parameters="a castle in the sea\nSteps: 20, Sampler: Euler a, Seed: 3"), "castle.png")
    expect(page.get_by_text("Its model is not here.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a castle in the sea")


def test_a_picture_that_tells_nothing_is_offered_to_the_jobs_that_take_it(visit, server):
    page = visit(server, "/watch")
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    drop(page, png("olive"), "holiday.png")
    dialog = page.get_by_role("dialog", name="holiday.png")
    expect(dialog).to_contain_text("It does not say how it was made.")
    dialog.get_by_role("button", name=re.compile("^tint")).click()
    expect(page.get_by_role("button", name="Remove holiday.png")).to_be_visible()


def test_what_cannot_be_taken_is_refused_calmly(visit, server):
    page = visit(server, "/watch")
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    drop(page, bytes(range(256)), "strange.bin", "application/octet-stream")
    expect(page.get_by_role("alert").filter(has_text="strange.bin")).to_be_visible()
    expect(page.get_by_text("Drop it anywhere")).to_have_count(0)


def test_a_result_whose_bytes_are_gone_says_so(open_results, client, server):
    [result] = paint(client, width=77)
    sha256 = result.record["sha256"]
    (server.folder / "data" / "blobs" / sha256[:2] / sha256).unlink()
    page = open_results()
    expect(tiles(page).first).to_contain_text("bytes are gone")
    tiles(page).first.click()
    expect(page.get_by_role("heading", name="Its bytes are gone from the server")).to_be_visible()
