"""Files that people send: kept if they are what they say, refused with a reason if not."""

import io
import struct
import zlib

import PIL.Image
import PIL.PngImagePlugin
import pytest
import requests

from tests.serving import serve
from tests.wire import Wire

COPY = """
class Copy(Plugin):
    @job()
    def size(self, image: Image) -> Text:
        return f"{image.mode} {image.width}x{image.height}"

    @job()
    def turn(self, image: Image) -> Image:
        return image.rotate(180)

    @job()
    def masked(self, image: Image, mask: Mask) -> Text:
        return f"{image.mode} {mask.mode}"
"""


@pytest.fixture(scope="module")
def server():
    with serve({"copy": COPY}, max_upload_bytes=2_000_000) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def encoded(picture, format="PNG", **options):
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def red(width=8, height=4, mode="RGB"):
    return PIL.Image.new("RGB", (width, height), "red").convert(mode)


def bomb():
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("format, mime", [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_a_picture_is_recognised_and_comes_back_unchanged(wire, format, mime):
    data = encoded(red(), format)
    artifact = wire.upload(data, name="my picture.png")["artifact"]
    assert (artifact["kind"], artifact["mime"], artifact["facts"]) == ("image", mime, {"width": 8, "height": 4})
    answer = wire.download(artifact["id"])
    assert answer.content == data and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA", "1", "I;16"])
def test_every_picture_mode_reaches_the_plugin_in_one_it_knows(wire, mode):
    picture = PIL.Image.new("I;16", (8, 4), 30_000) if mode == "I;16" else red(mode=mode)
    artifact = wire.upload(encoded(picture))["artifact"]["id"]
    found = wire.text(wire.ended(wire.submit("size", inputs={"image": artifact}))["outputs"][0])
    assert found.split()[0] in ("RGB", "RGBA", "L") and found.endswith("8x4")


def test_a_photo_is_turned_upright(wire):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    artifact = wire.upload(encoded(red(), "JPEG", exif=exif))["artifact"]
    assert artifact["facts"] == {"width": 4, "height": 8}
    assert wire.text(wire.ended(wire.submit("size", inputs={"image": artifact["id"]}))["outputs"][0]) == "RGB 4x8"


def test_a_picture_can_be_a_mask(wire):
    artifact = wire.upload(encoded(red()))["artifact"]["id"]
    ended = wire.ended(wire.submit("masked", inputs={"image": artifact, "mask": artifact}))
    assert wire.text(ended["outputs"][0]) == "RGB L"


@pytest.mark.parametrize(
    "data, query, code, says",
    [
        (encoded(red(200, 200))[:300], {}, "bad_image", "damaged"),
        (b"\x89PNG\r\n\x1a\n", {}, "bad_image", "not a picture"),
        (b"", {"kind": "image"}, "bad_image", "not a picture"),
        (bomb(), {}, "too_large", "over the limit of 150,000,000 pixels"),
        (b"words", {"kind": "image"}, "bad_image", "Send PNG"),
        (b"\xff\xfe\x00", {"kind": "text"}, "type_mismatch", "not UTF-8"),
        (b"{", {"kind": "json"}, "type_mismatch", "not JSON"),
        (b"words", {"kind": "audio"}, "type_mismatch", "WAV"),
        (b"words", {"kind": "picture"}, "invalid_params", "must be one of image, mask"),
        (b"x" * 2_000_001, {}, "too_large", "2,000,000"),
    ],
)
def test_what_is_not_what_it_says_is_refused(wire, data, query, code, says):
    answer = wire.upload(data, **query)
    assert not answer["ok"] and answer["error"]["code"] == code and says in answer["error"]["message"]


def test_an_upload_of_unknown_length_stops_at_the_limit(server):
    def endless():
        for _ in range(100):
            yield b"x" * 100_000

    headers = {"Authorization": f"Bearer {server.token}"}
    try:
        answer = requests.put(f"{server.url}/artifacts", data=endless(), headers=headers, timeout=30)
        assert answer.status_code == 413 and answer.json()["error"]["code"] == "too_large"
    except requests.ConnectionError:
        pass  # the server may hang up while we still send
    assert requests.get(f"{server.url}/healthz", timeout=10).ok
    assert not list((server.folder / "data" / "blobs" / "incoming").iterdir())


def test_html_never_runs_from_our_origin(wire):
    artifact = wire.upload(b"<script>alert(1)</script>", name="a.html")["artifact"]
    assert artifact["mime"] == "text/plain"
    assert wire.download(artifact["id"]).headers["Content-Type"].startswith("text/plain")


def test_part_of_a_file_can_be_fetched(wire, server):
    artifact = wire.upload(b"0123456789")["artifact"]["id"]
    headers = {"Authorization": f"Bearer {server.token}", "Range": "bytes=2-4"}
    answer = requests.get(f"{server.url}/artifacts/{artifact}", headers=headers, timeout=10)
    assert answer.status_code == 206 and answer.content == b"234"


@pytest.mark.parametrize("path", ["/artifacts", "/artifacts/x"])
def test_bytes_need_the_token(server, path):
    method = requests.put if path == "/artifacts" else requests.get
    assert method(server.url + path, timeout=10).json()["error"]["code"] == "unauthorized"


def embedded(artifact):
    """A PNG, other than any of ours, that says it is `artifact`."""
    texts = PIL.PngImagePlugin.PngInfo()
    texts.add_itxt("stable-core", artifact)
    return encoded(red(9, 9), pnginfo=texts)


def test_a_result_that_comes_back_is_recognised(wire):
    photo = wire.upload(encoded(red(3, 5)))["artifact"]["id"]
    made = wire.ended(wire.submit("turn", inputs={"image": photo}))["outputs"][0]
    data = wire.download(made).content
    picture, texts = PIL.Image.open(io.BytesIO(data)), PIL.PngImagePlugin.PngInfo()
    texts.add_itxt("stable-core", picture.text["stable-core"])
    edited = encoded(picture.rotate(90), pnginfo=texts)
    for sent in (data, edited):
        artifact = wire.upload(sent, name="renamed.png")["artifact"]
        assert artifact["source"] == made
        found = wire.call("lineage", {"id": artifact["id"]})["artifacts"]
        assert [each["id"] for each in found] == [made, photo]


def test_the_bytes_of_a_result_are_recognised_without_an_id_inside():
    source = """
class Says(Plugin):
    @job()
    def say(self) -> Text:
        return "something that was made here"
"""
    with serve({"says": source}) as server, Wire(server) as wire:
        made = wire.ended(wire.submit("say"))["outputs"][0]
        uploads = [wire.upload(wire.download(made).content, kind="text")["artifact"] for _ in range(2)]
        assert [each["source"] for each in uploads] == [made] * 2
        other = [wire.upload(b"not made here", kind="text")["artifact"] for _ in range(2)]
        assert not any("source" in each for each in other)


def test_whoever_sends_a_file_may_say_what_it_was_made_from(wire):
    parent = wire.upload(encoded(red(2, 9)))["artifact"]["id"]
    child = wire.upload(encoded(red(9, 2)), source=parent)["artifact"]
    assert child["source"] == parent
    assert [each["id"] for each in wire.call("lineage", {"id": child["id"]})["artifacts"]] == [parent]
    wrong = wire.upload(encoded(red(9, 2)), source="nothing.0")
    assert wrong["error"]["code"] == "unknown_artifact" and "nothing.0" in wrong["error"]["message"]


@pytest.mark.parametrize("text", ['{"artifact": "nothing.0"}', '{"artifact": 7}', "[]", "no JSON", '{"artifact": {}}'])
def test_an_id_that_does_not_exist_is_not_believed(wire, text):
    artifact = wire.upload(embedded(text))["artifact"]
    assert "source" not in artifact
    assert wire.call("artifact", {"id": artifact["id"]})["artifact"]["parents"] == []
