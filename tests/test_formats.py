"""Pictures as JPEG and WebP: in the outputs folder and over HTTP, with what the PNG says inside, and recognised."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import PIL.Image
import PIL.PngImagePlugin
import pytest
import requests

from core.errors import InvalidParams, TooLarge
from core.library.embedded import from_exif, to_exif
from core.library.media import SUFFIXES, convert, decode_image, encode_image
from core.ops.config import load
from tests.serving import serve, wait_until
from tests.wire import Wire

INFOTEXT = "a red circle, 猫 🐈\nNegative prompt: blue\nSteps: 20, Sampler: Euler a, Seed: 7"
PAINT = f"""
import PIL.Image

class Paint(Plugin):
    @job()
    def paint(self) -> Image:
        return Result(PIL.Image.new("RGBA", (32, 24), (255, 0, 0, 0)), {{"seed": 7, "infotext": {INFOTEXT!r}}})

    @job()
    def mask(self) -> Mask:
        return PIL.Image.new("L", (8, 8), 255)

    @job()
    def say(self) -> Text:
        return "hello"

    @job()
    def read(self, image: Image) -> Json:
        return image.info.get("parameters")
"""


@pytest.fixture(scope="module")
def server():
    with serve({"paint": PAINT}, export_format="jpeg", filename_pattern="{job}-{id}") as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def painted(wire, **more):
    """The id of a picture that a job has made."""
    return wire.ended(wire.submit("paint", **more))["outputs"][0]


def exported(server, artifact):
    """The only file of that result, once it is there."""
    pattern = f"*-{artifact.split('.')[0][-6:]}.*"
    found = lambda: [file for file in (server.folder / "outputs").glob(pattern) if file.stat().st_size]  # noqa: E731
    return wait_until(found)[0]


def get(server, artifact, etag=None, **query):
    headers = {"Authorization": f"Bearer {server.token}"} | ({"If-None-Match": etag} if etag else {})
    return requests.get(f"{server.url}/artifacts/{artifact}", params=query, headers=headers, timeout=30)


def as_a1111_reads(data):
    """The text in the UserComment: bytes of type 7 (undefined) that say that UTF-16 follows, which is taken for
    big-endian. A1111's reader (piexif) knows nothing else."""
    assert b"\x92\x86\x00\x07" in data
    comment = PIL.Image.open(io.BytesIO(data)).getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    return comment[8:].decode("utf_16_be")


def record(data):
    """Ours, in the ImageDescription."""
    name, _, text = PIL.Image.open(io.BytesIO(data)).getexif()[0x010E].partition(":")
    assert name == "stable-core"
    return json.loads(text)


def test_copies_for_people_are_jpegs_with_both_texts_on_white(server, wire):
    artifact = painted(wire)
    file = exported(server, artifact)
    data = file.read_bytes()
    picture = PIL.Image.open(file)
    assert (file.suffix, picture.format, picture.mode, picture.size) == (".jpg", "JPEG", "RGB", (32, 24))
    assert picture.getpixel((16, 12)) == (255, 255, 255)  # what was transparent
    assert as_a1111_reads(data) == INFOTEXT
    assert record(data)["artifact"] == artifact and record(data)["facts"]["seed"] == 7
    assert PIL.Image.open(io.BytesIO(wire.download(artifact).content)).format == "PNG"  # what is stored is as it was


def test_copies_can_be_webps_of_a_quality_and_keep_what_is_transparent():
    settings = {"export_format": "webp", "export_quality": 1}
    with serve({"paint": PAINT}, filename_pattern="{job}-{id}", **settings) as server, Wire(server) as wire:
        artifact = painted(wire)
        data = exported(server, artifact).read_bytes()
        assert data == convert(wire.download(artifact).content, "webp", 1)
        picture = PIL.Image.open(io.BytesIO(data))
        assert (picture.format, picture.mode) == ("WEBP", "RGBA") and picture.getpixel((0, 0))[3] == 0
        assert as_a1111_reads(data) == INFOTEXT and record(data)["artifact"] == artifact


def test_nothing_goes_along_that_the_submitter_did_not_want(server, wire):
    minimal, none = (painted(wire, embed_metadata=much) for much in ("minimal", "none"))
    data = exported(server, minimal).read_bytes()
    assert record(data) == {"artifact": minimal} and "exif" in PIL.Image.open(io.BytesIO(data)).info
    assert b"\x92\x86" not in data
    assert "exif" not in PIL.Image.open(io.BytesIO(exported(server, none).read_bytes())).info


def test_masks_stay_what_they_are(server, wire):
    assert exported(server, wire.ended(wire.submit("mask"))["outputs"][0]).suffix == ".png"


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_an_app_gets_a_picture_in_the_format_it_asks_for(server, wire, format):
    artifact = painted(wire)
    answer = get(server, artifact, format=format, quality=50)
    assert answer.headers["Content-Type"] == f"image/{format}" and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"] == f"inline; filename={artifact}{SUFFIXES[format]}"
    assert answer.content == convert(wire.download(artifact).content, format, 50)
    assert as_a1111_reads(answer.content) == INFOTEXT
    assert get(server, artifact, answer.headers["ETag"], format=format, quality=50).status_code == 304
    assert get(server, artifact, answer.headers["ETag"], format=format, quality=51).status_code == 200


def test_without_a_format_it_is_what_is_stored(server, wire):
    artifact = painted(wire)
    for query in ({}, {"v": "a word for caches"}, {"quality": 50}):
        answer = get(server, artifact, **query)
        assert answer.headers["Content-Type"] == "image/png" and answer.content.startswith(b"\x89PNG")


def test_a_format_that_is_not_there_and_what_is_no_picture_are_refused(server, wire):
    picture, text = painted(wire), wire.ended(wire.submit("say"))["outputs"][0]
    for artifact, query, field, says in (
        (picture, {"format": "bmp"}, "format", "'jpeg' or 'webp'"),
        (picture, {"format": "jpeg", "quality": 101}, "quality", "less than or equal to 100"),
        (picture, {"format": "jpeg", "quality": 0}, "quality", "greater than or equal to 1"),
        (picture, {"format": "webp", "size": 15}, "size", "greater than or equal to 16"),
        (picture, {"format": "webp", "size": 4097}, "size", "less than or equal to 4096"),
        (picture, {"size": 384}, "size", "size is there for converted pictures"),
        (text, {"format": "webp", "size": 384}, "format", "is of kind text; only pictures"),
        (text, {"format": "jpeg"}, "format", "is of kind text; only pictures can be had as jpeg"),
    ):
        answer = get(server, artifact, **query)
        error = answer.json()["error"]
        assert answer.status_code == 400 and error["code"] == "invalid_params" and error["field"] == field
        assert says in error["message"]
    assert get(server, "nothing", format="jpeg").status_code == 404


def uploaded(wire, picture, format="PNG", **options):
    """The record of a picture that was sent."""
    out = io.BytesIO()
    picture.save(out, format, **options)
    return wire.upload(out.getvalue())["artifact"]


@pytest.mark.parametrize(
    "size, side, made",
    [
        ((640, 480), 384, (384, 288)), ((480, 640), 16, (12, 16)), ((100, 50), 384, (100, 50)),
        ((384, 384), 384, (384, 384)), ((5000, 1), 16, (16, 1)), ((1, 1), 4096, (1, 1)),
    ],
)  # fmt: skip
def test_a_thumbnail_fits_and_is_never_enlarged(server, wire, size, side, made):
    picture = uploaded(wire, PIL.Image.new("RGB", size, "red"))
    answer = get(server, picture["id"], format="webp", size=side)
    small = PIL.Image.open(io.BytesIO(answer.content))
    assert (small.format, small.size) == ("WEBP", made) and answer.headers["Content-Type"] == "image/webp"


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_thumbnail_stands_upright(server, wire, format):
    camera, photo = PIL.Image.Exif(), PIL.Image.new("RGB", (800, 400), "red")
    photo.paste("blue", (0, 0, 400, 400))
    camera[0x0112] = 6  # lies on its side: what is left belongs at the top
    picture = uploaded(wire, photo, format, exif=camera)
    small = PIL.Image.open(io.BytesIO(get(server, picture["id"], format="webp", size=100).content))
    assert small.size == (50, 100)
    assert small.getpixel((25, 10))[2] > 200 > 50 > small.getpixel((25, 90))[2]


def test_a_thumbnail_of_every_kind_of_picture_is_what_the_picture_is():
    half = PIL.Image.new("RGBA", (64, 32), (255, 0, 0, 0))
    half.paste((0, 0, 255, 255), (0, 0, 32, 32))
    for mode, pixel in (("RGBA", (0, 0, 255, 255)), ("P", (0, 0, 255)), ("L", (29,) * 3), ("CMYK", (0, 0, 255))):
        out = io.BytesIO()
        half.convert(mode).save(out, "TIFF" if mode == "CMYK" else "PNG")
        small = PIL.Image.open(io.BytesIO(convert(out.getvalue(), "webp", 100, 16)))
        near = [abs(is_ - wanted) < 12 for is_, wanted in zip(small.getpixel((3, 4)), pixel, strict=False)]
        assert small.size == (16, 8) and all(near), mode
        assert mode != "RGBA" or small.getpixel((12, 4))[3] == 0


def test_a_thumbnail_says_nothing_of_how_it_was_made(server, wire):
    answer = get(server, painted(wire), format="webp", size=16)
    assert "exif" not in PIL.Image.open(io.BytesIO(answer.content)).info


def test_who_names_the_hash_keeps_an_answer_for_good_and_who_does_not_asks_again(server, wire):
    artifact = wire.call("artifact", {"id": painted(wire)})["artifact"]
    id, sha = artifact["id"], artifact["sha256"]
    small = {"format": "webp", "size": 16}
    for query in ({}, small):
        assert get(server, id, v=sha[:8], **query).headers["Cache-Control"] == "private, max-age=31536000, immutable"
        for other in ({}, {"v": ""}, {"v": sha[:7]}, {"v": "0" * 64}):
            assert get(server, id, **query, **other).headers["Cache-Control"] == "private, no-cache"
    etag = get(server, id, **small).headers["ETag"]
    assert get(server, id, etag, **small).status_code == 304
    assert get(server, id, etag, format="webp").status_code == 200
    assert get(server, id, etag, format="webp", size=17).status_code == 200


def test_huge_pictures_are_made_small_one_after_the_other_and_small_ones_meanwhile(server, wire):
    huge = uploaded(wire, PIL.Image.new("L", (10_000, 10_000), 200), compress_level=1)
    little = uploaded(wire, PIL.Image.new("L", (512, 512), 200))
    answered = []

    def ask(picture):
        answered.append((picture["id"], get(server, picture["id"], format="webp", size=384).status_code))

    with ThreadPoolExecutor(7) as pool:
        for picture in (huge, huge, huge, huge, little, little):
            pool.submit(ask, picture)
    assert sorted(answered) == sorted([(huge["id"], 200)] * 4 + [(little["id"], 200)] * 2)
    assert answered[-1][0] == huge["id"]  # and nothing blocked the hub, which `serve` looks at


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_a_copy_that_comes_back_is_recognised_also_edited(server, wire, format):
    artifact = painted(wire)
    copy = get(server, artifact, format=format).content
    picture, out = PIL.Image.open(io.BytesIO(copy)), io.BytesIO()
    picture.rotate(90).save(out, format, exif=picture.getexif())
    for data in (copy, out.getvalue()):
        upload = wire.upload(data, name=f"renamed{SUFFIXES[format]}")["artifact"]
        assert upload["source"] == artifact
        read = wire.ended(wire.submit("read", inputs={"image": upload["id"]}))["outputs"][0]
        assert json.loads(wire.text(read)) == INFOTEXT  # a plugin finds it where it finds that of a PNG


def test_a_copy_that_says_nothing_is_not_recognised(server, wire):
    copy = get(server, painted(wire, embed_metadata="none"), format="jpeg").content
    assert "source" not in wire.upload(copy)["artifact"]


def test_a_camera_s_data_does_not_go_along(server, wire):
    out, camera = io.BytesIO(), PIL.Image.Exif()
    camera[0x010F], camera[0x010E] = "A camera", "Our holiday"
    camera.get_ifd(0x8825)[1] = "N"
    PIL.Image.new("RGB", (8, 8)).save(out, "JPEG", exif=camera, comment=b"secret")
    upload = wire.upload(out.getvalue(), name="holiday.photo.jpg")["artifact"]["id"]
    answer = get(server, upload, format="webp")
    assert answer.headers["Content-Disposition"] == "inline; filename=holiday.photo.webp"
    assert "exif" not in PIL.Image.open(io.BytesIO(answer.content)).info and b"secret" not in answer.content
    assert b"secret" not in get(server, upload, format="jpeg").content


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 99]
)
def test_exif_that_is_damaged_says_nothing(exif):
    picture = PIL.Image.new("RGB", (8, 8))
    picture.info["exif"] = exif
    assert from_exif(picture) == {}


def read_back(exif):
    picture = PIL.Image.new("RGB", (8, 8))
    picture.info["exif"] = exif
    return from_exif(picture)


def test_what_does_not_fit_is_left_out_the_least_needed_first():
    texts = {"parameters": "é" * 1000, "stable-core": json.dumps({"artifact": "a.0", "params": {"prompt": "é" * 1000}})}
    brief = {"stable-core": '{"artifact": "a.0"}'}
    assert read_back(to_exif(texts)) == texts
    assert read_back(to_exif(texts, 3000)) == texts | brief
    assert read_back(to_exif(texts, 1000)) == brief
    assert to_exif(texts, 10) == to_exif({}) == b""


def test_a_long_prompt_fits_into_a_jpeg_with_the_id_alone():
    record = {"artifact": "a.0", "params": {"prompt": "x" * 20_000}, "facts": {"infotext": "x" * 60_000}}
    data = encode_image(PIL.Image.new("RGB", (8, 8)), {"parameters": "x" * 20_000, "stable-core": json.dumps(record)})
    jpeg, webp = (decode_image(convert(data, format, 80)).info for format in ("jpeg", "webp"))
    assert json.loads(jpeg["stable-core"]) == {"artifact": "a.0"} and json.loads(webp["stable-core"]) == record
    assert jpeg["parameters"] == webp["parameters"] == "x" * 20_000


@pytest.mark.parametrize(
    "mode, given", [("L", 200), ("RGB", (9, 200, 9)), ("P", 7), ("CMYK", (0, 0, 0, 99)), ("I;16", 51_400)]
)
def test_every_kind_of_picture_can_be_converted(mode, given):
    out = io.BytesIO()
    PIL.Image.new(mode, (1, 1), given).save(out, "TIFF" if mode == "CMYK" else "PNG")
    for format in ("jpeg", "webp"):
        made = decode_image(convert(out.getvalue(), format, 100))
        assert made.size == (1, 1) and made.mode in ("L", "RGB")


@pytest.mark.parametrize("mode, space, kept", [("RGB", b"RGB ", True), ("CMYK", b"CMYK", False)])
def test_the_profile_of_the_colours_goes_along_while_it_is_theirs(mode, space, kept):
    out, profile = io.BytesIO(), bytes(16) + space + bytes(108)
    PIL.Image.new(mode, (8, 8)).save(out, "JPEG", icc_profile=profile)
    for format in ("jpeg", "webp"):
        assert (decode_image(convert(out.getvalue(), format, 80)).info.get("icc_profile") == profile) is kept


def test_a_picture_that_is_too_large_for_a_format_is_refused_over_http_and_stays_a_png_in_the_folder():
    source = """
import PIL.Image

class Wide(Plugin):
    @job()
    def wide(self) -> Image:
        return PIL.Image.new("L", (16_384, 1))
"""
    with serve({"wide": source}, export_format="webp", filename_pattern="{job}-{id}") as server, Wire(server) as wire:
        artifact = wire.ended(wire.submit("wide"))["outputs"][0]
        assert exported(server, artifact).suffix == ".png"
        answer = get(server, artifact, format="webp")
        assert answer.status_code == 413
        assert answer.json()["error"]["message"] == "the picture has 16384x1 pixels, a webp at most 16,383 on a side."
        assert get(server, artifact, format="jpeg").status_code == 200
    with pytest.raises(TooLarge, match="a jpeg at most 65,500"):
        convert(encode_image(PIL.Image.new("L", (1, 65_501)), {}), "jpeg", 80)


@pytest.mark.parametrize("setting, value", [("export_format", "bmp"), ("export_quality", 0), ("export_quality", 101)])
def test_a_setting_that_makes_no_sense_is_refused_at_the_start(setting, value, tmp_path):
    with pytest.raises(InvalidParams, match=setting):
        load(None, {setting: value, "data": tmp_path})
