"""OpenAI's images API, used by its published client and by raw requests as well-known apps send them."""

import asyncio
import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import PIL.Image
import PIL.ImageDraw
import pytest
import requests

from clients.bridges.openai_images.requests import Fields
from tests.node import run_node
from tests.serving import ROOT, serve, wait_until

pytestmark = pytest.mark.torch
RED_ON_BLUE = "a red circle on a blue background"
SMALL = {"size": "128x128", "extra_body": {"steps": 8, "seed": 1}}  # what the built-in model draws in half a second
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 70, 210),
    "yellow": (240, 220, 50),
    "white": (250,) * 3,
}
ZOO = """
import PIL.Image

class PaintParams(Params):
    prompt: str = param("", help="A colour.")
    seed: int = param(0, help="Where it starts.")
    seconds: float = param(0, ge=0, help="How long it takes.")

class Zoo(Plugin):
    @job()
    def paint(self, params: PaintParams, ctx: Context) -> Image:
        "Paint a plane."
        for step in range(50):
            ctx.raise_if_cancelled()
            ctx.progress(step, 50, "paint")
            if params.seconds:
                ctx.preview(PIL.Image.new("RGB", (16, 8), params.prompt))
            time.sleep(params.seconds / 50)
        picture = PIL.Image.new("RGB", (16, 8), params.prompt)
        return Result(picture, {"width": 16, "height": 8, "seed": params.seed})
"""


@pytest.fixture(scope="module")
def server(artist):
    artist.write_plugin("zoo", ZOO)
    with artist.client() as client:
        wait_until(lambda: any(plugin["name"] == "zoo" for plugin in client.plugins()))
        yield artist
    shutil.rmtree(artist.folder / "plugins/zoo")


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.token, max_retries=0) as client:
        yield client


def post(server, path, **body):
    return requests.post(f"{server.url}/v1/{path}", headers={"Authorization": f"Bearer {server.token}"}, **body)


def of(item):
    """The picture of one entry of `data`; an address is opened as a browser does that knows no token."""
    item = item if isinstance(item, dict) else item.model_dump()
    data = base64.b64decode(item["b64_json"]) if item.get("b64_json") else requests.get(item["url"]).content
    return PIL.Image.open(io.BytesIO(data))


def colours(picture):
    """What its middle and its corner look like."""
    picture = picture.convert("RGB")
    shown = [picture.resize((8, 8), PIL.Image.Resampling.BOX).getpixel(at) for at in ((4, 4), (0, 0))]
    return tuple(
        min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], pixel, strict=True)))
        for pixel in shown
    )


def png(*shapes, size=(128, 128), mode="RGB", ground="blue"):
    """A file with rectangles on a ground: (box, colour), ..."""
    picture, out = PIL.Image.new(mode, size, ground), io.BytesIO()
    for box, colour in shapes:
        PIL.ImageDraw.Draw(picture).rectangle(box, fill=colour)
    picture.save(out, "PNG")
    return out.getvalue()


def newest(server):
    with server.client() as ours:
        return ours.jobs(session="openai", limit=1)[0].refresh().record


def test_a_picture_comes_as_base64_and_is_an_ordinary_job(server, client):
    answer = client.images.with_raw_response.generate(model="gpt-image-1", prompt=RED_ON_BLUE, **SMALL)
    pictures = answer.parse()
    job = newest(server)
    assert colours(of(pictures.data[0])) == ("red", "blue")
    assert (job["name"], job["session"], answer.headers["x-request-id"]) == (
        "stable_diffusion.txt2img", "openai", job["id"],
    )  # fmt: skip
    assert (pictures.size, pictures.output_format, pictures.usage.total_tokens) == ("128x128", "png", 0)
    assert time.time() - 300 < pictures.created < time.time() + 1 and pictures.data[0].revised_prompt == RED_ON_BLUE


@pytest.mark.parametrize(
    "asked, way",
    [
        ({"model": "dall-e-3"}, "url"),
        ({}, "url"),
        ({"model": "gpt-image-1"}, "b64_json"),
        ({"model": "builtin"}, "b64_json"),
        ({"model": "dall-e-2", "response_format": "b64_json"}, "b64_json"),
        ({"model": "gpt-image-1", "response_format": "url"}, "url"),
    ],
)
def test_each_program_gets_the_way_it_expects(client, asked, way):
    (item,) = client.images.generate(prompt=RED_ON_BLUE, **SMALL | asked).data
    assert {name for name in ("url", "b64_json") if getattr(item, name)} == {way}
    assert colours(of(item)) == ("red", "blue")


@pytest.mark.parametrize("way", ["url", "b64_json"])
@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_a_picture_comes_in_the_format_that_was_asked_for(client, format, way):
    asked = SMALL | {"output_format": format, "output_compression": 50, "response_format": way}
    picture = of(client.images.generate(prompt=RED_ON_BLUE, model="dall-e-2", **asked).data[0])
    assert picture.format == format.upper() and colours(picture) == ("red", "blue")


def test_an_address_is_that_which_the_caller_knows(server, client):
    body = {"prompt": "red", "model": "zoo.paint", "response_format": "url"}
    headers = {"Authorization": f"Bearer {server.token}", "X-Forwarded-Proto": "https"}
    there = requests.post(
        server.url.replace("127.0.0.1", "localhost") + "/v1/images/generations", json=body, headers=headers
    )
    assert there.json()["data"][0]["url"].startswith(f"https://localhost:{server.port}/artifacts/")


def test_several_pictures_are_one_job_where_the_job_can(server, client):
    pictures = client.images.generate(model="gpt-image-1", prompt=RED_ON_BLUE, n=3, **SMALL).data
    job = newest(server)
    assert job["params"]["batch_size"] == 3 and len(job["outputs"]) == 3
    assert len({picture.b64_json for picture in pictures}) == 3
    assert {colours(of(picture)) for picture in pictures} == {("red", "blue")}


def test_several_pictures_are_several_jobs_where_it_cannot(client):
    body = {"model": "zoo.paint", "prompt": "red", "n": 3, "extra_body": {"seed": 7}}
    answer = client.images.with_raw_response.generate(**body)
    assert len(answer.parse().data) == 3 and "Warning" not in answer.headers


def test_parameters_of_the_job_reach_it_and_others_are_told_of(server, client):
    more = {"steps": 2, "negative_prompt": "blurry", "sampler": "DPM++ 2M", "cfg_scale": 5, "seed": 3, "lucky": True}
    asked = {"model": "gpt-image-1", "prompt": RED_ON_BLUE, "quality": "high", "size": "128x128", "extra_body": more}
    answer = client.images.with_raw_response.generate(**asked)
    params = newest(server)["params"]
    assert {name: params[name] for name in more if name != "lucky"} == {
        name: value for name, value in more.items() if name != "lucky"
    }
    assert answer.headers["Warning"].endswith(': quality, lucky"')


def test_models_are_the_jobs_that_draw_and_the_checkpoints(client):
    found = {model.id: model for model in client.models.list()}
    assert {"stable_diffusion.txt2img", "zoo.paint", "builtin"} <= found.keys()
    assert (found["builtin"].object, found["zoo.paint"].owned_by) == ("model", "zoo")
    assert client.models.retrieve("builtin") == found["builtin"]
    assert client.models.retrieve("dall-e-3").id == "dall-e-3"
    with pytest.raises(openai.NotFoundError, match="'nothing' does not exist"):
        client.models.retrieve("nothing")


@pytest.mark.parametrize("model", ["txt2img", "stable_diffusion.txt2img", "builtin", "gpt-image-2.5-flare-2026-09-08"])
def test_a_model_is_a_job_a_checkpoint_or_one_of_openai(server, client, model):
    assert colours(of(client.images.generate(model=model, prompt=RED_ON_BLUE, **SMALL).data[0])) == ("red", "blue")
    assert newest(server)["name"] == "stable_diffusion.txt2img" and newest(server)["params"]["model"] == "builtin"


def test_the_size_is_the_model_s_own_if_nothing_is_asked_for(client):
    asked = {"model": "gpt-image-1", "prompt": RED_ON_BLUE, "extra_body": {"steps": 2}}
    assert client.images.generate(**asked).size == "128x128"
    assert client.images.generate(**asked, size="auto").size == "128x128"
    assert of(client.images.generate(**asked, size="192x128").data[0]).size == (192, 128)


def test_an_edit_redraws_the_whole_picture_as_the_prompt_says(server, client):
    asked = {"prompt": RED_ON_BLUE, "extra_body": {"steps": 12, "seed": 1, "denoising_strength": 1}}
    picture = ("any.png", png(ground="yellow"), "image/png")
    edited = client.images.edit(model="gpt-image-1", image=picture, **asked)
    job = newest(server)
    assert (job["name"], job["params"]["steps"]) == ("stable_diffusion.img2img", 12)
    assert (edited.size, colours(of(edited.data[0]))) == ("128x128", ("red", "blue"))


def test_an_edit_under_a_mask_redraws_what_is_transparent_in_it(server, client):
    mask = png(((32, 32, 95, 95), (0, 0, 0, 0)), mode="RGBA", ground=(0, 0, 0, 255))
    asked = {"prompt": RED_ON_BLUE, "size": "128x128", "extra_body": {"steps": 12, "seed": 1, "denoising_strength": 1}}
    picture = client.images.edit(image=png(ground="yellow"), mask=mask, model="gpt-image-1", **asked).data[0]
    assert newest(server)["name"] == "stable_diffusion.inpaint"
    assert colours(of(picture))[1] == "yellow" and of(picture).getpixel((64, 64))[1] < 120


def test_with_dall_e_2_what_is_transparent_in_the_picture_is_the_mask(server, client):
    image = png(((32, 32, 95, 95), (0, 0, 0, 0)), mode="RGBA", ground="yellow")
    asked = {"image": image, "prompt": RED_ON_BLUE, "extra_body": {"steps": 2}}
    client.images.edit(model="dall-e-2", **asked)
    assert newest(server)["name"] == "stable_diffusion.inpaint"
    client.images.edit(model="gpt-image-1", **asked)
    assert newest(server)["name"] == "stable_diffusion.img2img"


def test_variations_keep_the_large_forms(server, client):
    image = png(((40, 40, 87, 87), "red"))
    with pytest.deprecated_call():  # OpenAI has shut its own down
        varied = client.images.create_variation(image=image, n=2, size="128x128", response_format="b64_json")
    params = newest(server)["params"]
    assert (params["prompt"], params["denoising_strength"], params["batch_size"]) == ("", 0.6, 2)
    assert varied.data[0].b64_json != varied.data[1].b64_json and of(varied.data[0]).size == (128, 128)


def test_an_edit_as_json_takes_data_and_our_own_artifacts(server, client):
    own = client.images.generate(model="zoo.paint", prompt="red", response_format="url").data[0].url
    data = "data:image/png;base64," + base64.b64encode(png(ground="yellow")).decode()
    said = {"model": "gpt-image-1", "prompt": RED_ON_BLUE, "size": "128x128", "steps": 2}
    id = own.partition("/artifacts/")[2].partition("?")[0]
    for reference in ({"image_url": data}, {"image_url": own}, {"file_id": id}):
        answer = post(server, "images/edits", json=said | {"images": [reference]})
        assert answer.status_code == 200 and of(answer.json()["data"][0]).size == (128, 128), answer.text
    assert newest(server)["inputs"]["image"] == [id]


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/artifacts/01m8014ja5ytw67aqn8ftsr1zy.0", "file:///etc/passwd", "https://example.com/a.png"],
)
def test_nothing_is_fetched_from_elsewhere(server, address):
    body = {"model": "gpt-image-1", "prompt": "red", "images": [{"image_url": address}]}
    answer = post(server, "images/edits", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (400, "image", "invalid_request_error")
    assert "only this server's own artifacts" in error["message"]


@pytest.mark.parametrize(
    "body, param, says",
    [
        ({}, "prompt", "Missing required parameter: 'prompt'."),
        ({"prompt": ["red"]}, "prompt", "prompt: Input should be a valid string"),
        ({"prompt": "red", "n": 11}, "n", "n: Input should be less than or equal to 10, got '11'."),
        ({"prompt": "red", "n": "many"}, "n", "n: Input should be a valid integer"),
        ({"prompt": "red", "size": "big"}, "size", "size: send auto or WIDTHxHEIGHT"),
        ({"prompt": "red", "size": "100x100"}, "size", "size: send auto or WIDTHxHEIGHT, both multiples of 8"),
        ({"prompt": "red", "size": "8000x8000"}, "size", "4096"),
        ({"prompt": "red", "steps": 5000}, "steps", "150"),
        ({"prompt": "red", "seed": "first"}, "seed", "integer"),
        ({"prompt": "red", "output_format": "gif"}, "output_format", "'png', 'jpeg' or 'webp'"),
        ({"prompt": "red", "partial_images": 4, "stream": True}, "partial_images", "less than or equal to 3"),
        ({"prompt": "red", "stream": True, "steps": 5000}, "steps", "150"),
        ({"prompt": "x" * 40_000}, "prompt", "20,000"),
    ],
)
def test_a_bad_field_is_named_in_their_shape(client, body, param, says):
    with pytest.raises(openai.BadRequestError, match=re.escape(says)) as raised:
        client.post("/images/generations", body=body, cast_to=object)
    assert (raised.value.param, raised.value.type) == (param, "invalid_request_error")


@pytest.mark.parametrize(
    "path, body, param",
    [
        ("images/edits", {"files": {"image": b"no picture"}, "data": {"prompt": "red"}}, "image"),
        ("images/edits", {"files": {"image": png(), "mask": png()}, "data": {"prompt": "red"}}, "mask"),
        ("images/edits", {"files": {"image": png(), "mask": b"none"}, "data": {"prompt": "red"}}, "mask"),
        ("images/edits", {"data": {"prompt": "red"}}, "image"),
        ("images/edits", {"json": {"prompt": "red", "image": "%%%"}}, "image"),
        ("images/variations", {"files": {"nothing": b""}}, "image"),
        ("images/edits", {"files": [("image[]", png())] * 17, "data": {"prompt": "red"}}, "image"),
        ("images/generations", {"data": "{", "headers": {"Content-Type": "application/json"}}, None),
        ("images/generations", {"data": "[]", "headers": {"Content-Type": "application/json"}}, None),
        ("images/edits", {"data": "x", "headers": {"Content-Type": "multipart/form-data"}}, None),
    ],
)
def test_what_cannot_be_read_is_refused_in_their_shape(server, path, body, param):
    headers = {"Authorization": f"Bearer {server.token}"} | body.pop("headers", {})
    answer = requests.post(f"{server.url}/v1/{path}", headers=headers, **body)
    assert answer.status_code == 400 and answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["param"] == param, answer.text


def test_an_unknown_model_is_not_found(client):
    for call in (client.images.generate, lambda **asked: client.images.edit(image=png(), **asked)):
        with pytest.raises(openai.NotFoundError, match="The model 'sdxl' does not exist") as raised:
            call(model="sdxl", prompt="red")
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_a_wrong_token_and_an_unknown_address_are_told_in_their_shape(server, client):
    with pytest.raises(openai.AuthenticationError) as raised:
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-wrong").models.list()
    assert raised.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError, match="there is no POST /v1/chat/completions here"):
        client.chat.completions.create(model="gpt-5", messages=[])


def test_a_job_that_fails_is_a_server_error_and_not_tried_again(server, client):
    before = time.time()
    with pytest.raises(openai.InternalServerError) as raised:
        client.with_options(max_retries=2).images.generate(model="zoo.paint", prompt="no colour")
    assert (raised.value.type, raised.value.code) == ("server_error", "plugin_error")
    with server.client() as ours:
        failed = [job for job in ours.jobs(state="failed") if job.record["created"] > before]
    assert [job.id for job in failed] == [raised.value.request_id]


def test_a_full_queue_too_large_a_file_and_a_missing_plugin_are_told_of_in_their_shape():
    with serve({"zoo": ZOO}, max_queued=1, max_upload_bytes=10_000) as server, server.client() as ours:
        large = post(server, "images/edits", files={"image": b"x" * 20_000}, data={"prompt": "red"})
        missing = post(server, "images/edits", files={"image": png()}, data={"prompt": "red"})
        ours.queue("pause")
        ours.submit("paint", {"prompt": "red"})
        full = post(server, "images/generations", json={"prompt": "red"})
    error = full.json()["error"]
    assert (full.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "queue_full")
    assert (large.status_code, large.json()["error"]["type"]) == (413, "invalid_request_error")
    assert missing.status_code == 404
    assert "no plugin announces a job with an image and a prompt" in missing.json()["error"]["message"]


def test_a_stream_has_previews_spread_over_the_work_and_then_the_picture(client):
    asked = {"model": "zoo.paint", "prompt": "red", "stream": True, "partial_images": 3, "extra_body": {"seconds": 2.5}}
    began, heard = time.monotonic(), []
    for event in client.images.generate(**asked):
        heard.append((event.type, getattr(event, "partial_image_index", None), time.monotonic() - began))
        shown = of({"b64_json": event.b64_json})
        assert (shown.format, shown.size) == ("PNG", (16, 8)) and shown.convert("RGB").getpixel((1, 1))[0] > 200
    partial, completed = "image_generation.partial_image", "image_generation.completed"
    assert [each[:2] for each in heard] == [(partial, 0), (partial, 1), (partial, 2), (completed, None)]
    assert heard[0][2] < heard[3][2] - 1.5  # they come as they are drawn, not all at the end


def test_a_stream_of_several_pictures_completes_each(client):
    asked = {"prompt": RED_ON_BLUE, "model": "gpt-image-1", "stream": True, "n": 2, "output_format": "jpeg", **SMALL}
    events = list(client.images.generate(**asked))
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert {(event.size, event.output_format, event.usage.total_tokens) for event in events} == {("128x128", "jpeg", 0)}
    assert {colours(of({"b64_json": event.b64_json})) for event in events} == {("red", "blue")}


def test_edits_stream_too(client):
    asked = {"image": png(), "prompt": RED_ON_BLUE, "model": "gpt-image-1", "stream": True, "partial_images": 3}
    events = list(client.images.edit(**asked, extra_body={"steps": 40, "denoising_strength": 1}))
    assert {event.type for event in events} == {"image_edit.partial_image", "image_edit.completed"}
    assert colours(of({"b64_json": events[-1].b64_json})) == ("red", "blue")


def test_a_stream_whose_job_fails_says_so(client):
    with pytest.raises(openai.APIError, match="no colour") as raised:
        list(client.images.generate(model="zoo.paint", prompt="no colour", stream=True))
    assert (raised.value.code, raised.value.type) == ("plugin_error", "server_error")


@pytest.mark.parametrize("partial_images", [0, 3])
def test_who_leaves_a_stream_ends_its_job(server, client, partial_images):
    asked = {"model": "zoo.paint", "prompt": "red", "stream": True, "partial_images": partial_images}
    stream = client.images.generate(**asked, extra_body={"seconds": 60})
    with server.client() as ours:
        state = lambda: ours.jobs(session="openai", limit=1)[0].state  # noqa: E731
        wait_until(lambda: state() == "running")
        stream.close()
        wait_until(lambda: state() == "cancelled")


def test_ten_clients_at_once_get_each_its_own_picture(server):
    pairs = [(a, b) for a in ("red", "green", "blue", "yellow") for b in ("blue", "white", "red") if a != b][:10]

    async def draw(colour, ground):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.token) as client:
            prompt = f"a {colour} circle on a {ground} background"
            asked = {"model": "builtin", "prompt": prompt, "size": "128x128", "extra_body": {"steps": 12, "seed": 1}}
            return colours(of((await client.images.generate(**asked)).data[0]))

    async def all():
        return await asyncio.gather(*(draw(*pair) for pair in pairs))

    assert len(pairs) == 10 and asyncio.run(all()) == pairs


# What apps send, with sizes that the built-in model draws quickly.
OPEN_WEBUI = {"model": "gpt-image-1", "prompt": RED_ON_BLUE, "n": 1, "size": "128x128"}
DALL_E = {
    "model": "dall-e-3",
    "quality": "standard",
    "style": "vivid",
    "size": "128x128",
    "prompt": RED_ON_BLUE,
    "n": 1,
}
IN_APPS = {
    "OpenAI's documents": {"model": "gpt-image-1.5", "prompt": RED_ON_BLUE, "n": 1, "size": "128x128"},
    "Open WebUI": OPEN_WEBUI,
    "Open WebUI, other models": OPEN_WEBUI | {"model": "builtin", "response_format": "b64_json"},
    "LibreChat, DALL-E-3": DALL_E,
    "LibreChat": OPEN_WEBUI | {"quality": "auto", "background": "auto", "output_format": "png", "user": "65f0"},
    "LobeChat": {"model": "gpt-image-1", "n": 1, "prompt": RED_ON_BLUE, "size": "auto", "moderation": "low"},
    "Home Assistant": DALL_E | {"response_format": "url"},
    "empty fields": OPEN_WEBUI | {"n": None, "response_format": None, "quality": "", "user": None, "seed": None},
}


def test_apps_get_what_they_ask_for_unchanged(server):
    with ThreadPoolExecutor(len(IN_APPS)) as at_once:
        answers = at_once.map(lambda body: post(server, "images/generations", json=body).json(), IN_APPS.values())
    for (app, body), answer in zip(IN_APPS.items(), answers, strict=True):
        (item,) = answer["data"]
        assert ("url" in item) == ("dall-e" in body["model"]), app
        assert of(item).size == (128, 128) and colours(of(item)) == ("red", "blue"), app


@pytest.mark.parametrize(
    "fields, files",
    [
        (
            {"model": "gpt-image-1", "n": "1", "size": "128x128"},
            [("image", ("image.png", png(), "image/png"))],
        ),  # Open WebUI
        (
            {"model": "gpt-image-1", "quality": "auto", "size": "auto"},  # LibreChat
            [("image[]", ("image.png", png(), "image/png"))],
        ),
        (
            {"model": "dall-e-2", "n": "1", "response_format": "b64_json"},
            [("image", ("blob", png(), "application/octet-stream"))],
        ),
    ],
)
def test_apps_edit_pictures_unchanged(server, fields, files):
    answer = post(server, "images/edits", data=fields | {"prompt": RED_ON_BLUE, "steps": "2"}, files=files)
    assert answer.status_code == 200 and newest(server)["params"]["steps"] == 2, answer.text
    assert of(answer.json()["data"][0]).size == (128, 128)


def test_more_pictures_are_references_or_refused(server):
    two = [("image[]", png()), ("image[]", png(ground="red"))]
    refused = post(server, "images/edits", files=two, data={"prompt": "red", "model": "stable_diffusion.outpaint"})
    assert refused.json()["error"]["message"].startswith("image: stable_diffusion.outpaint takes one picture, got 2.")
    post(server, "images/edits", files=two, data={"prompt": "red"})
    assert [len(newest(server)["inputs"][name]) for name in ("image", "reference")] == [1, 1]


JAVASCRIPT = """
import OpenAI, { toFile } from "openai"
import { readFileSync } from "node:fs"

const [url, token, file, prompt] = process.argv.slice(2)
const openai = new OpenAI({ baseURL: url + "/v1", apiKey: token })
const asked = { model: "gpt-image-1", prompt, size: "128x128", steps: 8, seed: 1 }
const drawn = await openai.images.generate(asked)
const image = await toFile(readFileSync(file), "image.png", { type: "image/png" })
const edited = await openai.images.edit({ ...asked, image, denoising_strength: 1 })
const events = []
for await (const event of await openai.images.generate({ ...asked, stream: true })) events.push(event)
const wrong = await openai.images.generate({ ...asked, n: 11 }).catch((error) => [error.status, error.param])
console.log(JSON.stringify({ drawn, edited, events, wrong }))
"""


def test_the_client_for_javascript_works_too(server, tmp_path):
    (tmp_path / "image.png").write_bytes(png(ground="yellow"))
    said = json.loads(run_node(JAVASCRIPT, server.url, server.token, str(tmp_path / "image.png"), RED_ON_BLUE))
    (event,) = said["events"]
    assert (event["type"], said["wrong"]) == ("image_generation.completed", [400, "n"])
    for item in (said["drawn"]["data"][0], said["edited"]["data"][0], event):
        assert colours(of(item)) == ("red", "blue")


DOCUMENT = (ROOT / "docs" / "openai.md").read_text("utf-8")


def test_the_examples_of_the_document_run(server, tmp_path):
    python, shell = (re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)[1] for language in ("python", "sh"))
    environment = os.environ | {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": server.token}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}
    said = subprocess.run([sys.executable, "-c", python], **options).stdout.splitlines()
    assert said[-1] == "image_generation.completed 128x128"
    assert colours(PIL.Image.open(tmp_path / "circle.png")) == ("red", "blue")
    drawn, edited = map(
        json.loads, subprocess.run(["sh", "-ec", shell], **options).stdout.replace("}{", "}\n{").splitlines()
    )
    assert colours(of(drawn["data"][0])) == ("red", "blue") and of(edited["data"][0]).size == (128, 128)


def test_the_document_names_every_field_and_no_other():
    rows = DOCUMENT.partition("| field | here |")[2].partition("\n\n")[0]
    named = {name for row in rows.splitlines()[2:] for name in re.findall(r"`(\w+)`", row)}
    assert Fields.model_fields.keys() <= named
    assert {
        each.partition("`")[0] for each in re.findall(r"^\| `(.*?) \|", rows, re.M)
    } <= Fields.model_fields.keys() | {"image", "mask"}
