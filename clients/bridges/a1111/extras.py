"""What A1111 does with finished pictures: enlarge them, mend faces, read their texts, say what they show.

Jobs do it, found by what they take, give and let choose; what no plugin here does is answered with what one has to
announce."""

import asyncio
import html
from typing import Any, Literal

import pydantic
from fastapi import APIRouter, HTTPException, Request, Response

from clients.bridges import finding
from clients.bridges.a1111.finishing import FACES, UPSCALERS, entry
from clients.bridges.answers import tell_ignored
from clients.bridges.pictures import MOST_READ, from_base64, opened, to_base64, unpacked
from clients.bridges.waiting import outputs
from clients.python import AsyncClient

UPSCALING = f"an image as input and as output, and a parameter with choices_from {UPSCALERS!r}"
RESTORING = f"an image as input and as output, and a parameter with choices_from {FACES!r}"
INTERROGATORS = ("clip", "deepdanbooru")
Row = dict[str, Any]
router = APIRouter(prefix="/sdapi/v1")


class Extras(pydantic.BaseModel):
    """What both requests have in common, with A1111's defaults and bounds."""

    model_config = pydantic.ConfigDict(extra="allow")
    resize_mode: Literal[0, 1] = 0
    show_extras_results: bool = True
    gfpgan_visibility: float = pydantic.Field(0, ge=0, le=1)
    codeformer_visibility: float = pydantic.Field(0, ge=0, le=1)
    codeformer_weight: float = pydantic.Field(0, ge=0, le=1)
    upscaling_resize: float = pydantic.Field(2, ge=1, le=8)
    upscaling_resize_w: int = pydantic.Field(512, ge=1)
    upscaling_resize_h: int = pydantic.Field(512, ge=1)
    upscaling_crop: bool = True
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: float = pydantic.Field(0, ge=0, le=1)
    upscale_first: bool = False


class Single(Extras):
    image: str = ""


class File(pydantic.BaseModel):
    data: str
    name: str = ""


class Batch(Extras):
    imageList: list[File]


class Picture(pydantic.BaseModel):
    image: str = ""


class Interrogated(Picture):
    model: str = "clip"


@router.post("/extra-single-image")
async def extra_single_image(request: Request, response: Response, asked: Single) -> Row:
    images, info = await improved(request.state.client, response, asked, [from_base64(asked.image, "image")])
    return {"html_info": info, "image": images[0] if images else None}


@router.post("/extra-batch-images")
async def extra_batch_images(request: Request, response: Response, asked: Batch) -> Row:
    pictures = [from_base64(file.data, f"imageList.{place}.data") for place, file in enumerate(asked.imageList)]
    images, info = await improved(request.state.client, response, asked, pictures)
    return {"html_info": info, "images": images}


async def improved(client: AsyncClient, response: Response, asked: Extras, pictures: list[bytes]) -> tuple[list, str]:
    """The pictures as base64, and what was done to them, as HTML. One flow of jobs for all: accepted or none."""
    ignored = [*(asked.model_extra or {})]
    found = await finding.jobs(client)
    faces, upscaling = await _faces(client, found, asked, ignored), await _upscaling(client, found, asked, ignored)
    steps = [upscaling, *faces] if asked.upscale_first else [*faces, upscaling]
    steps = [step for step in steps if step]
    tell_ignored(response, dict.fromkeys(ignored))
    if not steps:
        return [to_base64(data) for data in pictures if asked.show_extras_results], "<p></p>"
    uploads = await asyncio.gather(*(client.upload(data, kind="image") for data in pictures))
    flow = []
    for place, (upload, data) in enumerate(zip(uploads, pictures, strict=True)):
        given: Any = upload
        for number, (about, params) in enumerate(steps):
            params = await unpacked(_sized, about, params, asked, data)
            name = f"{place}.{number}"
            inputs = {finding.port(about, "image"): given}
            flow.append({"job": about["name"], "params": params, "inputs": inputs, "id": name})
            given = {"job": name}
    jobs = await client.flow(flow) if flow else []
    results = [found[0] for found in (await outputs(jobs))[len(steps) - 1 :: len(steps)]]
    told = [] if upscaling is None else [f"Postprocess upscaler: {asked.upscaler_1}"]
    told += [f"Postprocess {name} visibility: {share}" for name, share in _wanted_faces(asked)]
    images = await asyncio.gather(*(each.bytes() for each in results)) if asked.show_extras_results else []
    return [to_base64(each) for each in images], f"<p>{html.escape(', '.join(told))}</p>"


@router.post("/png-info")
async def png_info(request: Request, asked: Picture) -> Row:
    """The text inside, all that Pillow finds beside the pixels, and the form that a plugin makes of it."""
    client, data = request.state.client, from_base64(asked.image.strip(), "image")
    found = finding.telling_how_made(await finding.jobs(client))
    takes = "the name png_info, an image as input and JSON as output, marked light"
    about = finding.first(found, "read what a picture says", takes)
    picture = await client.upload(data, kind="image")
    told = (await client.light(about["name"], inputs={finding.port(about, "image"): picture}))[0]
    info = told.get("infotext") or ""
    return {"info": info, "items": await unpacked(_items, data, info), "parameters": told.get("form") or {}}


@router.post("/interrogate")
async def interrogate(request: Request, asked: Interrogated) -> Row:
    client = request.state.client
    data, found = from_base64(asked.image, "image"), finding.to_text(await finding.jobs(client))
    chosen = [(about, params) for about in found if (params := await _model(client, about, asked.model)) is not None]
    if not chosen and asked.model not in INTERROGATORS:
        raise HTTPException(404, "Model not found")
    takes = f"an image as input, a text as output, and a parameter that lets choose {asked.model!r}"
    about, params = finding.first(chosen, f"interrogate with {asked.model}", takes)
    inputs = {finding.port(about, "image"): await client.upload(data, kind="image")}
    ((text,),) = await outputs([await client.submit(about["name"], params, inputs)])
    return {"caption": await text.text()}


@router.post("/unload-checkpoint")
async def unload_checkpoint(request: Request) -> Row:
    """Give back the memory of models, where a worker has any."""
    client = request.state.client
    there = {worker["plugin"] for worker in (await client.queue())["workers"] if worker["ready"]}
    found = finding.unloading(await finding.jobs(client))
    for about in found:
        if about["name"].partition(".")[0] in there:  # else a worker would be started to unload nothing
            await (await client.submit(about["name"])).wait()
    return {}


@router.post("/reload-checkpoint")
async def reload_checkpoint() -> Row:
    """Nothing to do: a job loads what it needs."""
    return {}


async def _faces(client: AsyncClient, found: list[Row], asked: Extras, ignored: list[str]) -> list[tuple[Row, Row]]:
    steps = []
    for name, visibility in _wanted_faces(asked):
        about = finding.first(finding.with_models(found, FACES), f"restore faces with {name}", RESTORING)
        wanted = {"visibility": visibility}
        wanted |= {"weight": asked.codeformer_weight} if name == "CodeFormer" else {}
        model = await entry(client, FACES, name)
        steps.append((about, {finding.chosen_from(about, FACES): model} | _taken(about, wanted, ignored)))
    return steps


def _wanted_faces(asked: Extras) -> list[tuple[str, float]]:
    both = (("GFPGAN", asked.gfpgan_visibility), ("CodeFormer", asked.codeformer_visibility))
    return [(name, visibility) for name, visibility in both if visibility]


async def _upscaling(
    client: AsyncClient, found: list[Row], asked: Extras, ignored: list[str]
) -> tuple[Row, Row] | None:
    """The job for upscaler_1, and its parameters but for the size; None if nothing is to be enlarged."""
    second = asked.upscaler_2 not in ("", "None") and asked.extras_upscaler_2_visibility > 0
    if asked.upscaler_1 in ("", "None"):
        ignored += ["upscaler_2"] * second
        return None
    able = finding.with_models(found, UPSCALERS)
    plain = [about for about in finding.image_to_image(found) if "prompt" not in finding.parameters(about)]
    for about in [] if able else plain:
        for name, schema in finding.parameters(about).items():
            if asked.upscaler_1 in schema.get("enum", []):
                ignored += ["upscaler_2"] * second
                _tell_sizes(about, asked, ignored)
                return about, {name: asked.upscaler_1}
    about = finding.first(able, f"upscale with {asked.upscaler_1}", UPSCALING)
    params = {finding.chosen_from(about, UPSCALERS): await entry(client, UPSCALERS, asked.upscaler_1)}
    _tell_sizes(about, asked, ignored)
    if second:
        more = {"second_model": await entry(client, UPSCALERS, asked.upscaler_2)}
        params |= _taken(about, more | {"second_visibility": asked.extras_upscaler_2_visibility}, ignored)
    return about, params


def _tell_sizes(about: Row, asked: Extras, ignored: list[str]) -> None:
    """A job may enlarge by its own factor only, or not crop."""
    taken = finding.parameters(about).keys()
    exact = {"width", "height"} <= taken
    ignored += [] if "scale" in taken or (exact and asked.resize_mode) else ["upscaling_resize"]
    ignored += (
        ["upscaling_crop"] if asked.resize_mode and asked.upscaling_crop and not (exact and "crop" in taken) else []
    )


def _sized(about: Row, params: Row, asked: Extras, data: bytes) -> Row:
    """With the size for this picture, where the job enlarges: scale, or width and height and whether it may crop."""
    taken = finding.parameters(about)
    if finding.chosen_from(about, FACES) in params:
        return params
    if not asked.resize_mode:
        return params | {name: asked.upscaling_resize for name in ("scale",) if name in taken}
    width, height = asked.upscaling_resize_w, asked.upscaling_resize_h
    if {"width", "height"} <= taken.keys():
        crop = {name: asked.upscaling_crop for name in ("crop",) if name in taken}
        return params | {"width": width, "height": height} | crop
    picture = opened(data, "image", MOST_READ)
    scale = max(width / picture.width, height / picture.height)
    return params | {name: scale for name in ("scale",) if name in taken}


def _taken(about: Row, wanted: Row, ignored: list[str]) -> Row:
    """What the job has parameters for; the rest is told."""
    taken = finding.parameters(about)
    ignored += [name for name in wanted if name not in taken]
    return {name: value for name, value in wanted.items() if name in taken}


async def _model(client: AsyncClient, about: Row, name: str) -> Row | None:
    """The parameter that makes the job use the model `name`, as {parameter: value}; None if it does not have it. What
    can be fetched counts: the job says how."""
    for parameter, schema in finding.parameters(about).items():
        source = finding.choices_from(about, parameter)
        there = await client.choices(source) if source else [*map(str, schema.get("enum", []))]
        if source.startswith("models/"):
            offers = (await client.call("choices", {"list": source, "limit": 1}))["fetchable"]
            there += [offer["id"].partition("/")[2] for offer in offers]
        if alike := [each for each in there if name.lower() in each.lower()]:
            return {parameter: alike[0]}
    return {} if name.lower() in about["name"].partition(".")[2].lower() else None


def _items(data: bytes, info: str) -> Row:
    """What stands beside the pixels, as texts."""
    texts = {str(key): value for key, value in opened(data, "image", MOST_READ).info.items() if isinstance(value, str)}
    return texts | {"parameters": info} if info else texts
