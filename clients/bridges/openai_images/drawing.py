"""From a request to a job, and from its pictures to the answer, whole or as a stream."""

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import PIL.Image
import PIL.ImageOps
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from clients.bridges import finding
from clients.bridges.answers import Answer, tell_ignored
from clients.bridges.openai_images import errors, models
from clients.bridges.openai_images.requests import Asked, Fields, read
from clients.bridges.pictures import opened, png, to_base64, unpacked
from clients.bridges.waiting import end, outputs
from clients.python import (
    TERMINAL,
    AsyncArtifact,
    AsyncClient,
    AsyncJob,
    BadImage,
    Event,
    InvalidParams,
    ServerError,
)

COUNT = "batch_size"  # the parameter that says how many pictures a job makes
EXAMPLES = "reference"  # the input for more pictures than the one that is redrawn
VARIED = 0.6  # denoising_strength of variations: the same things, drawn anew
LINK_SECONDS = 3600  # as long as OpenAI's
BEAT_SECONDS = 1  # a stream says something at least as often: how it is found out that nobody listens
QUALITIES = ("low", "medium", "high", "xhigh", "max")
NO_TOKENS = {  # nobody is billed
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}


@dataclass(frozen=True)
class Call:
    """One of the three calls; `event` begins the names of what it streams."""

    event: str
    picture: bool
    prompt: bool


GENERATION = Call("image_generation", picture=False, prompt=True)
EDIT = Call("image_edit", picture=True, prompt=True)
VARIATION = Call("image_edit", picture=True, prompt=False)


async def answer(request: Request, client: AsyncClient, call: Call) -> Response:
    asked = await read(request)
    jobs, ignored = await submit(client, call, asked)
    if asked.fields.stream:
        response: Response = StreamingResponse(stream(jobs, call, asked.fields), media_type="text/event-stream")
        response.headers["Cache-Control"] = "no-cache"
    else:
        response = Answer(await whole(jobs, asked.fields, base_of(request)))
    response.headers["x-request-id"] = jobs[0].id
    tell_ignored(response, ignored)
    return response


async def submit(client: AsyncClient, call: Call, asked: Asked) -> tuple[list[AsyncJob], list[str]]:
    """The jobs, mostly one, that make n pictures together, and the names of the fields that nothing here knows."""
    fields = asked.fields
    for name, missing in (
        ("prompt", call.prompt and fields.prompt is None),
        ("image", call.picture and not asked.pictures),
    ):
        if missing:
            text = f"Missing required parameter: '{name}'."
            raise InvalidParams(text, field=name, code="missing_required_parameter")
    await settle_mask(call, asked)
    need = models.UNDER_MASK if asked.mask else models.FROM_PICTURE if call.picture else models.FROM_TEXT
    about, chosen = await models.choose(client, fields.model, need)
    params, ignored = parameters(about, fields)
    if call is VARIATION:
        params.setdefault("denoising_strength", VARIED)
    inputs = await uploaded(client, about, asked) if call.picture else {}
    if COUNT in finding.parameters(about):
        wanted = [{COUNT: fields.n} | chosen | params]
    else:
        seed = params.get("seed", -1)
        seeds = [{"seed": seed + k} if isinstance(seed, int) and seed >= 0 else {} for k in range(fields.n)]
        wanted = [chosen | params | seed for seed in seeds]
    if len(wanted) == 1:
        return [await client.submit(about["name"], wanted[0], inputs)], ignored
    return await client.flow([{"job": about["name"], "params": each, "inputs": inputs} for each in wanted]), ignored


def parameters(about: dict[str, Any], fields: Fields) -> tuple[dict[str, Any], list[str]]:
    """Parameters of the job, and names of fields that it does not know. Forms send all as text."""
    known, given, ignored = finding.parameters(about), {}, fields.without_effect
    if fields.prompt is not None:
        given["prompt"] = fields.prompt
    if fields.sides and {"width", "height"} <= known.keys():
        given["width"], given["height"] = fields.sides
    elif fields.sides:
        ignored.append("size")
    for name, value in (fields.model_extra or {}).items():
        if name not in known:
            ignored.append(name)
            continue
        if isinstance(value, str) and known[name].get("type") not in ("string", None):
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        given[name] = value
    return given, ignored


async def uploaded(client: AsyncClient, about: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """The job's inputs. Raises BadImage for what is no picture, InvalidParams for more than the job takes."""
    ports, main = about["inputs"], finding.port(about, "image")
    pictures = [await upload(client, picture, "image") for picture in asked.pictures]
    more = pictures[1:]
    inputs: dict[str, Any] = {main: pictures if ports[main]["list"] else pictures[0]}
    if more and not ports[main]["list"]:
        if not (EXAMPLES in ports and ports[EXAMPLES]["list"]):
            text = f"image: {about['name']} takes one picture, got {len(pictures)}."
            raise InvalidParams(text, field="image", hint="Send one, or choose a model that takes several.")
        inputs[EXAMPLES] = more
    if asked.mask is not None:
        inputs[finding.port(about, "mask")] = await upload(client, asked.mask, "mask")
    return inputs


async def settle_mask(call: Call, asked: Asked) -> None:
    """Their mask becomes one of ours. As with dall-e-2, the transparent parts of the picture itself may be the mask."""
    picture = asked.pictures[0] if asked.pictures else None
    if call is not EDIT:
        asked.mask = None
    elif isinstance(asked.mask, bytes):
        asked.mask = await unpacked(erased, asked.mask, "mask")
        if not asked.mask:
            text = "mask: nothing in it is transparent, so there is nothing to redraw."
            raise InvalidParams(text, field="mask", hint="Make transparent what is to be redrawn, and send a PNG.")
    elif asked.mask is None and asked.fields.model == "dall-e-2" and isinstance(picture, bytes):
        asked.mask = await unpacked(erased, picture, "image")


async def upload(client: AsyncClient, picture: bytes | str, kind: str) -> Any:
    """An artifact, or the id of one that is here."""
    if isinstance(picture, str):
        return picture
    try:
        return await client.upload(picture, kind=kind)
    except BadImage as error:
        error.field = error.field or kind
        raise


def erased(picture: bytes, name: str) -> bytes | None:
    """A mask as ours are, white where `picture` is transparent; None if it is nowhere. Raises BadImage."""
    mask = PIL.ImageOps.invert(opened(picture, name).convert("RGBA").getchannel("A"))
    return png(mask) if mask.getbbox() else None


async def whole(jobs: list[AsyncJob], fields: Fields, base: str) -> dict[str, Any]:
    """The answer once all pictures are there."""
    pictures = [each for some in await outputs(jobs) for each in some]
    data = []
    for picture in pictures:
        if fields.by_address:
            link = picture.link(LINK_SECONDS)
            said = {"url": base + link[link.index("/artifacts/") :] + address_of(fields)}
        else:
            said = {"b64_json": to_base64(await in_format(picture, fields))}
        data.append(said | ({"revised_prompt": fields.prompt} if fields.prompt is not None else {}))
    told = {"created": int(time.time()), "data": data, "output_format": fields.output_format, "usage": NO_TOKENS}
    told |= {"quality": fields.quality} if fields.quality in QUALITIES else {}
    return told | ({"size": size_of(pictures[0])} if pictures else {}) | identified(fields)


async def stream(jobs: list[AsyncJob], call: Call, fields: Fields) -> AsyncIterator[str]:
    """Server-Sent Events: previews, and each picture as soon as it is there. Whoever leaves ends the jobs."""
    asked = {"background": fields.background, "output_format": fields.output_format}
    asked |= {"quality": fields.quality if fields.quality in QUALITIES else "auto"}
    spoke = time.monotonic()

    async def completed(picture: AsyncArtifact) -> str:
        told = asked | {"size": size_of(picture), "usage": NO_TOKENS} | identified(fields)
        return event(f"{call.event}.completed", told, await in_format(picture, fields))

    try:
        for job in jobs:
            share, shown, sent = 0.0, 0, set()
            async for heard in beating(job):
                said = []
                if heard is None:
                    pass
                elif heard.type == "progress" and heard.data["total"]:
                    share = heard.data["step"] / heard.data["total"]
                elif heard.type == "preview" and is_due(shown, share, fields.partial_images):
                    told = asked | {"size": fields.size, "partial_image_index": shown}
                    data = await anyio.to_thread.run_sync(converted, heard.data["image"], fields)
                    said, shown = [event(f"{call.event}.partial_image", told, data)], shown + 1
                elif heard.type == "artifact" and job.state not in TERMINAL:
                    fresh = {each.record["idx"]: each for each in job.outputs if each.record["idx"] not in sent}
                    said = [await completed(each) for each in fresh.values()]
                    sent |= fresh.keys()
                if not said and time.monotonic() - spoke >= BEAT_SECONDS:
                    said = [": drawing\n\n"]
                for each in said:
                    yield each
                    spoke = time.monotonic()
            for picture in await job.wait():
                if picture.record["idx"] not in sent:
                    yield await completed(picture)
    except ServerError as error:
        yield f"event: error\ndata: {json.dumps(errors.body(error))}\n\n"
    finally:
        await end(jobs)


def is_due(shown: int, share: float, most: int) -> bool:
    """Whether one more preview is to be shown: they are spread evenly over the work, of which `share` is done."""
    return shown < most and share >= shown / (most + 1)


def event(name: str, told: dict[str, Any], data: bytes) -> str:
    body = {"type": name, "b64_json": to_base64(data), "created_at": int(time.time())} | told
    return f"event: {name}\ndata: {json.dumps(body)}\n\n"


async def beating(job: AsyncJob) -> AsyncIterator[Event | None]:
    """The job's events, and None whenever nothing happens for a while."""
    events, coming = job.events(), None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            if not (await asyncio.wait({coming}, timeout=BEAT_SECONDS))[0]:
                yield None
                continue
            try:
                heard, coming = coming.result(), None
            except StopAsyncIteration:
                return
            yield heard
    finally:
        if coming and not coming.done():
            coming.cancel()


async def in_format(picture: AsyncArtifact, fields: Fields) -> bytes:
    if fields.output_format == "png":
        return await picture.bytes()
    return await picture.bytes(fields.output_format, quality(fields))


def converted(preview: bytes, fields: Fields) -> bytes:
    """A preview, which is a JPEG, in the format that was asked for."""
    if fields.output_format == "jpeg":
        return preview
    out = io.BytesIO()
    PIL.Image.open(io.BytesIO(preview)).save(out, fields.output_format)
    return out.getvalue()


def quality(fields: Fields) -> int:
    return max(1, fields.output_compression)


def address_of(fields: Fields) -> str:
    """What the server is told of the format in an address."""
    return "" if fields.output_format == "png" else f"&format={fields.output_format}&quality={quality(fields)}"


def base_of(request: Request) -> str:
    """The server's address as whoever asks knows it."""
    scheme = "https" if request.headers.get("X-Forwarded-Proto") == "https" else "http"
    return f"{scheme}://{request.headers['Host']}"


def size_of(picture: AsyncArtifact) -> str:
    facts = picture.record["facts"]
    return f"{facts['width']}x{facts['height']}"


def identified(fields: Fields) -> dict[str, str]:
    who = fields.safety_identifier or fields.user
    return {"safety_identifier": str(who)} if who else {}
