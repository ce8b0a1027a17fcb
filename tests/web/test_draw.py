"""The Draw screen: what is painted is what the job gets, and nothing else of the picture changes."""

import io
import math
import re
import time

import PIL.Image
import PIL.ImageChops
import PIL.ImageFilter
import PIL.ImageOps
import pytest

from tests.serving import serve, wait_until

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

COUNT = """
window.touched = 0;
for (const [name, at] of [["putImageData", 0], ["getImageData", null], ["createImageData", null]]) {
  const real = CanvasRenderingContext2D.prototype[name];
  CanvasRenderingContext2D.prototype[name] = function (...given) {
    const [wide, high] = at === null ? given.slice(-2) : [given[at].width, given[at].height];
    window.touched += wide * high;
    return real.apply(this, given);
  };
}
"""
GARDEN = """
class Repair(Params):
    reach: int = param(9, ge=0, mask="blur", help="How far it goes over its edge.")

class Extend(Params):
    below: int = param(0, ge=0, le=64, multiple_of=16, frame="down", help="New at the bottom.")

class Garden(Plugin):
    @job()
    def repair(self, photo: Image, hole: Mask, params: Repair, ctx: Context) -> Image:
        for _ in range(4):
            ctx.preview(photo)
            time.sleep(0.3)
        return photo

    @job()
    def extend(self, photo: Image, params: Extend) -> Image:
        import PIL.Image
        whole = PIL.Image.new("RGB", (photo.width, photo.height + params.below), "green")
        whole.paste(photo)
        return whole

    @job()
    def mirror(self, photo: Image) -> Image:
        return photo
"""


@pytest.fixture(scope="module")
def picture(artist):
    with artist.client() as client:
        return client.run("txt2img", prompt="a red circle on a blue background", seed=3, steps=8)[0].id


@pytest.fixture
def client(artist):
    with artist.client() as client:
        yield client


def uploaded(server, image, name="picture.png", **options):
    data = io.BytesIO()
    image.save(data, {"jpg": "JPEG"}.get(name[-3:], name.rpartition(".")[2]), **options)
    with server.client() as client:
        return client.upload(data.getvalue(), kind="image", name=name).id


@pytest.fixture
def paint(visit, artist):
    """paint(id) opens a picture on the Draw screen."""

    def opened(id):
        page = visit(artist, f"/draw/{id}")
        expect(page.locator("[data-layer=ground]")).to_be_visible()
        return page

    return opened


def stage(page):
    return page.get_by_role("application")


def drag(page, *points):
    """Through points given as shares of what the picture has of the screen."""
    expect(page.locator("[data-layer=ground]")).to_be_visible()
    box = page.evaluate(PLACE)
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


PLACE = """() => {
  const { x, y, width, height } = document.querySelector("[data-layer=ground]").getBoundingClientRect();
  return { x, y, width, height };
}"""


def field(page, name):
    return page.get_by_role("spinbutton", name=re.compile(f"^{name}", re.IGNORECASE)).first


def run(page):
    page.get_by_role("button", name="Run", exact=True).click()


def result_of(page, client):
    """What was made of the picture, once it is there."""
    expect(page.get_by_role("button", name="Result 1", exact=True)).to_be_visible(timeout=60_000)
    return client.artifacts(limit=1)[0]


def image_of(artifact):
    return PIL.Image.open(io.BytesIO(artifact.bytes()))


def saved_mask(page, client):
    """What is painted, as the server has it once it was saved."""
    known = client.artifacts(limit=1)[0].id
    page.get_by_role("button", name="Save the mask").click()
    newest = wait_until(lambda: next((each for each in client.artifacts(limit=1) if each.id != known), None))
    return image_of(newest)


def overlay(page):
    """How opaque the mask is shown, as rows of the screen."""
    return page.evaluate(
        """() => {
          const canvas = document.querySelector("canvas[data-layer=mask]");
          const { data } = canvas.getContext("2d").getImageData(0, canvas.height >> 1, canvas.width, 1);
          return Array.from({ length: canvas.width }, (_, x) => data[4 * x + 3]);
        }"""
    )


def test_a_person_inpaints_a_picture_in_under_a_minute(visit, artist, client, picture):
    began = time.monotonic()
    page = visit(artist, "/draw")
    page.get_by_role("button", name="Draw on").first.click()
    drag(page, (0.2, 0.2), (0.4, 0.2), (0.4, 0.4))
    page.get_by_label("Prompt", exact=True).fill("a green star on a blue background")
    run(page)
    result = result_of(page, client)
    assert time.monotonic() - began < 60
    shown = page.locator("[data-layer=result]")
    page.get_by_role("button", name="Hold to compare").hover()
    page.mouse.down()
    expect(shown).to_be_hidden()
    page.mouse.up()
    expect(shown).to_be_visible()
    job = client.job(result.record["job"]).record
    mask = image_of(client.artifact(job["inputs"]["mask"][0]))
    before = image_of(client.artifact(job["inputs"]["image"][0]))
    assert (mask.mode, mask.size) == ("L", before.size)
    changed = PIL.ImageChops.difference(before.convert("RGB"), image_of(result).convert("RGB")).convert("L")
    reach = mask.filter(PIL.ImageFilter.MaxFilter(21))  # a mask_blur of 4 reaches 10 pixels
    outside = PIL.ImageChops.multiply(changed.point(lambda value: 255 * (value > 0)), PIL.ImageOps.invert(reach))
    assert outside.getbbox() is None
    assert PIL.ImageChops.multiply(changed, mask).getextrema()[1] > 20


def test_undo_and_redo_give_back_each_mask_to_the_byte(paint, client, picture):
    page = paint(picture)
    expect(stage(page)).to_be_visible()
    masks = []
    page.keyboard.press("}")  # a soft brush
    drag(page, (0.1, 0.5), (0.9, 0.6))
    masks.append(saved_mask(page, client).tobytes())
    page.keyboard.press("e")
    drag(page, (0.5, 0.1), (0.5, 0.9))
    masks.append(saved_mask(page, client).tobytes())
    page.keyboard.press("r")
    drag(page, (0.25, 0.25), (0.75, 0.5))
    masks.append(saved_mask(page, client).tobytes())
    page.keyboard.press("l")
    drag(page, (0.1, 0.9), (0.3, 0.7), (0.4, 0.95))
    page.get_by_role("button", name="Invert the mask").click()
    masks.append(saved_mask(page, client).tobytes())
    assert len(set(masks)) == 4
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert saved_mask(page, client).tobytes() == masks[2]
    page.keyboard.press("Control+z")
    assert saved_mask(page, client).tobytes() == masks[1]
    page.keyboard.press("Control+z")
    assert saved_mask(page, client).tobytes() == masks[0]
    page.keyboard.press("Control+z")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    for _ in range(5):
        page.keyboard.press("Control+Shift+z")
    assert saved_mask(page, client).tobytes() == masks[3]


@pytest.mark.parametrize("blur", [4, 24])
def test_the_mask_can_be_seen_as_it_will_be_blurred(paint, picture, blur):
    page = paint(picture)
    page.keyboard.press("r")
    drag(page, (-0.02, -0.02), (0.5, 1.02))
    page.keyboard.press("1")  # a pixel of the screen for each of the picture
    sharp = wait_until(lambda: [x for x, value in enumerate(overlay(page)) if value == 140])  # 55 % of 255
    field(page, "Mask blur").fill(str(blur))
    page.get_by_role("button", name="Show how the mask is blurred").click()
    edge, start = max(sharp) + 2, min(sharp)  # beside the line that shows the edge
    wait_until(lambda: overlay(page)[edge + blur // 2] > 0)
    shown = [value / 140 for value in overlay(page)]
    for x in range(start, min(edge + 60, start + 126), 5):
        expected = 0.5 * math.erfc((x + 0.5 - edge) / (blur * math.sqrt(2)))
        assert shown[x] == pytest.approx(expected, abs=0.06), x - edge


@pytest.mark.parametrize(
    ("name", "orientation"), [("photo.jpg", 6), ("photo.jpg", 2), ("photo.png", 8), ("photo.webp", 3)]
)
def test_a_turned_photo_is_shown_and_masked_as_the_server_sees_it(paint, artist, client, name, orientation):
    photo = PIL.Image.new("RGB", (96, 64), "blue")
    photo.paste("red", (0, 0, 48, 32))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    page = paint(uploaded(artist, photo, name, exif=exif))
    photo.getexif()[0x0112] = orientation
    upright = PIL.ImageOps.exif_transpose(photo)
    expect(stage(page)).to_have_accessible_name(
        f"Picture of {upright.width} by {upright.height} pixels, to be painted on"
    )
    corner = page.evaluate(
        """() => {
          const box = document.querySelector("[data-layer=ground]").getBoundingClientRect();
          const around = document.querySelector("[role=application]").getBoundingClientRect();
          const seen = (x, y) => [...document.querySelector("canvas").getContext("2d").getImageData(
            box.x - around.x + x * box.width, box.y - around.y + y * box.height, 1, 1).data];
          return [seen(0.1, 0.1), seen(0.9, 0.1), seen(0.1, 0.9), seen(0.9, 0.9)];
        }"""
    )
    at = [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)]
    wanted = [upright.getpixel((int(x * upright.width), int(y * upright.height))) for x, y in at]
    assert [seen[0] > 128 for seen in corner] == [red > 128 for red, _, _ in wanted]
    page.keyboard.press("r")
    drag(page, (-0.02, -0.02), (0.5, 0.5))
    mask = saved_mask(page, client)
    assert mask.size == upright.size and mask.getbbox() == (0, 0, upright.width // 2, upright.height // 2)


def test_a_turned_photo_keeps_what_is_not_painted(paint, artist, client):
    photo = PIL.Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    page = paint(uploaded(artist, photo, "photo.jpg", exif=exif))
    page.keyboard.press("r")
    drag(page, (-0.02, -0.02), (1.02, 0.5))
    field(page, "Steps").fill("1")
    field(page, "Mask blur").fill("0")
    run(page)
    after = image_of(result_of(page, client)).convert("RGB")
    job = client.job(client.artifacts(limit=1)[0].record["job"]).record
    before = PIL.ImageOps.exif_transpose(image_of(client.artifact(job["inputs"]["image"][0]))).convert("RGB")
    assert after.size == before.size == (64, 96)
    assert after.crop((0, 48, 64, 96)).tobytes() == before.crop((0, 48, 64, 96)).tobytes()
    assert after.crop((0, 0, 64, 48)).tobytes() != before.crop((0, 0, 64, 48)).tobytes()


def test_a_picture_grows_to_where_its_frame_is_dragged(paint, client, picture):
    page = paint(picture)
    page.get_by_role("combobox", name="What to do").select_option("Outpaint")
    size = page.get_by_role("group", name="Frame").get_by_role("status")
    expect(size).to_have_text("128 × 128")
    right = page.get_by_role("slider", name="Pixels added at the right")
    box, picture_box = right.bounding_box(), page.evaluate(PLACE)
    scale = picture_box["width"] / 128
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30 * scale, y, steps=5)  # 30 is no multiple of 8
    page.mouse.up()
    expect(size).to_have_text("160 × 128")
    page.get_by_role("slider", name="Pixels added up").press("ArrowUp")
    page.get_by_role("slider", name="Pixels added up").press("ArrowUp")
    expect(size).to_have_text("160 × 144")
    page.get_by_role("spinbutton", name="Left").fill("12")
    page.get_by_role("spinbutton", name="Left").blur()
    expect(page.get_by_role("spinbutton", name="Left")).to_have_value("16")
    field(page, "Steps").fill("1")
    run(page)
    result = result_of(page, client)
    assert (result.record["facts"]["width"], result.record["facts"]["height"]) == (176, 144)
    page.get_by_role("button", name="Go on with this").click()
    expect(stage(page)).to_have_accessible_name("Picture of 176 by 144 pixels")
    expect(size).to_have_text("176 × 144")


def test_a_stroke_on_a_large_picture_touches_only_its_surroundings(visit, artist, client):
    large = uploaded(artist, PIL.Image.new("RGB", (4096, 4096), "grey"), compress_level=1)
    page = visit(artist, "/draw")
    page.add_init_script(COUNT)
    page.reload()
    page.goto(f"{artist.url}/#/draw/{large}")
    expect(stage(page)).to_be_visible()
    drag(page, (0.2, 0.2), (0.21, 0.2))
    page.wait_for_timeout(100)
    page.evaluate("window.touched = 0")
    drag(page, (0.5, 0.5), (0.52, 0.52))
    page.wait_for_timeout(100)
    box = page.evaluate(PLACE)
    share = 0.12 * 1.3 + 0.02 + 50 / box["width"]  # the brush, its way, and the edge of the mask
    moves = 10
    assert 0 < page.evaluate("window.touched") < moves * 2 * (share * box["width"]) ** 2
    mask = saved_mask(page, client)
    assert (mask.mode, mask.size) == ("L", (4096, 4096))
    assert mask.getpixel((2048, 2048)) == 255 and mask.getpixel((3500, 2048)) == 0


def test_nothing_is_lost_when_one_leaves_or_a_submit_is_refused(paint, client, picture):
    page = paint(picture)
    drag(page, (0.2, 0.5), (0.6, 0.5))
    page.get_by_label("Prompt", exact=True).fill("a green square")
    before = saved_mask(page, client).tobytes()
    page.get_by_role("link", name="Watch").click()
    expect(stage(page)).to_be_hidden()
    page.get_by_role("link", name="Draw").click()
    expect(stage(page)).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a green square")
    field(page, "Steps").fill("999")
    run(page)
    expect(page.get_by_role("alert").first).to_be_visible()
    drag(page, (0.8, 0.8), (0.8, 0.9))
    page.keyboard.press("Control+z")
    assert saved_mask(page, client).tobytes() == before
    page.keyboard.press("Control+z")
    assert saved_mask(page, client).getbbox() is None


def test_one_can_paint_with_the_keyboard_alone(paint, client, picture):
    page = paint(picture)
    stage(page).focus()
    for key in ("Shift+ArrowLeft", "Enter", "Alt+ArrowDown", " "):
        page.keyboard.press(key)
    mask = saved_mask(page, client)
    assert mask.getpixel((64 - 15, 64)) == 255 and mask.getpixel((64 + 15, 64)) == 0
    page.get_by_role("radio", name="Brush").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name="Eraser")).to_be_checked()


def test_a_file_is_opened_and_a_mask_is_loaded(visit, artist, client, tmp_path):
    PIL.Image.new("RGB", (80, 48), "red").save(tmp_path / "mine.png")
    half = PIL.Image.new("L", (40, 24))
    half.paste(255, (0, 0, 20, 24))
    half.save(tmp_path / "half.png")
    page = visit(artist, "/draw")
    page.get_by_label("Picture to draw on").set_input_files(tmp_path / "mine.png")
    expect(stage(page)).to_have_accessible_name("Picture of 80 by 48 pixels, to be painted on")
    page.get_by_label("Mask to load").set_input_files(tmp_path / "half.png")
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    mask = saved_mask(page, client)
    assert mask.size == (80, 48)
    assert mask.crop((0, 0, 38, 48)).getextrema() == (255, 255) and mask.crop((42, 0, 80, 48)).getextrema() == (0, 0)


def test_jobs_of_any_plugin_can_be_painted_for(visit):
    with serve({"garden": GARDEN}, web="auto") as server:
        page = visit(server, f"/draw/{uploaded(server, PIL.Image.new('RGB', (64, 48), 'red'))}")
        expect(page.get_by_role("group", name="What to do").locator("label")).to_have_text(["Repair", "Extend"])
        drag(page, (0.4, 0.4), (0.6, 0.6))
        run(page)
        expect(page.locator("[data-layer=preview]")).to_be_visible()
        assert page.locator("[data-layer=preview]").bounding_box() == pytest.approx(page.evaluate(PLACE), abs=1)
        expect(page.get_by_role("button", name="Result 1", exact=True)).to_be_visible()
        page.get_by_label("Extend").check()
        expect(page.get_by_role("slider", name="Pixels added")).to_have_count(1)
        for _ in range(5):
            page.get_by_role("slider", name="Pixels added down").press("ArrowDown")
        expect(page.get_by_role("slider", name="Pixels added down")).to_have_attribute("aria-valuenow", "64")
        run(page)
        expect(page.get_by_role("button", name="Result 2", exact=True)).to_be_visible()
        with server.client() as client:
            assert client.artifacts(limit=1)[0].record["facts"]["height"] == 112


def test_a_pasted_picture_is_put_on_the_easel_and_nowhere_else(visit, artist, client):
    data = io.BytesIO()
    PIL.Image.new("RGB", (64, 48), "teal").save(data, "PNG")
    before = client.call("artifacts", {"limit": 1})["total"]
    page = visit(artist, "/draw")
    page.get_by_role("button", name="Choose a picture").wait_for()
    page.evaluate(
        """bytes => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(bytes)], "teal.png", { type: "image/png" }));
            const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData });
            document.body.dispatchEvent(event);
        }""",
        list(data.getvalue()),
    )
    expect(page.get_by_role("application", name="Picture of 64 by 48 pixels")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert client.call("artifacts", {"limit": 1})["total"] == before + 1
