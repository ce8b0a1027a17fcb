"""How a request of txt2img or img2img becomes jobs, which are found by what they take."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import PIL.Image
from fastapi import HTTPException

from clients.bridges import finding
from clients.bridges.a1111 import controlnet, finishing, grids, options
from clients.bridges.a1111.cells import MOST, Cells
from clients.bridges.a1111.fields import FIELDS, RESIZE_MODES, rows_of, unheard
from clients.bridges.a1111.requests import Asked, ImageToImage, TextToImage
from clients.bridges.pictures import from_base64, opened, png, unpacked
from clients.python import AsyncArtifact, AsyncClient, InvalidParams

About = dict[str, Any]
Uploaded = tuple[list[AsyncArtifact], AsyncArtifact | None]
SEEDS = 2**32
AUTOMATIC = {  # what "Automatic" is since 1.9, where it is not the model's own noise levels, evenly
    "DPM++ 2M": "Karras", "DPM++ SDE": "Karras", "DPM++ 2M SDE": "Exponential", "DPM++ 2M SDE Heun": "Exponential",
    "DPM++ 2S a": "Karras", "DPM++ 3M SDE": "Exponential", "DPM2": "Karras", "DPM2 a": "Karras", "Restart": "Karras",
}  # fmt: skip


@dataclass
class Translated:
    """What a request becomes: jobs, with what is done `then` with the pictures of each (see finishing.py), and the
    names of what has no counterpart here.

    Of a script that makes `cells`, so many of the jobs are for each as `shares` says."""

    jobs: list[dict[str, Any]]
    ignored: list[str] = field(default_factory=list)
    shares: list[int] = field(default_factory=list)
    cells: Cells | None = None


async def translate(
    asked: Asked,
    client: AsyncClient,
    among: list[About] | None = None,
    also: dict[str, Any] | None = None,
    given: Uploaded | None = None,
) -> Translated:
    """The jobs that draw what is asked for. Nothing is submitted yet, but pictures are uploaded.

    `among` are the jobs that may do it, by default what txt2img and img2img are for; `also` are parameters of theirs,
    in our words, which win; `given` are the pictures, if they are uploaded already. Raises HTTPException, with A1111's
    words, for an unknown sampler or no picture to start from; NotThere if no plugin draws; InvalidParams for a bad
    setting, BadImage for a bad picture; ModelNotFound."""
    found = await finding.jobs(client)
    about = best(candidates(asked, found) if among is None else among, asked)
    taken, ignored = finding.parameters(about), [*(asked.model_extra or {})]
    pasted = await read_infotext(asked, client, found, ignored)
    overrides, unknown = await options.parameters(client, asked.override_settings)
    ignored += unknown
    params = await options.defaults(client) | pasted | overrides
    enlarge = await finishing.enlarging(asked, taken, found, client)
    for row in rows_of(asked):
        value = None if enlarge and row.field == "hr_upscaler" else getattr(asked, row.field)
        value = None if value is None else row.words(value)
        if value is None or row.parameter not in taken or (pasted and row.field not in asked.model_fields_set):
            continue
        params[row.parameter] = await fitting(value, row.field, taken[row.parameter], client, ignored)
    if not pasted or asked.model_fields_set & {"sampler_name", "sampler_index", "scheduler"}:
        params |= sampling(asked, taken, ignored)
    images, mask = given or await uploaded(asked, client)
    under = finding.port(about, "mask")
    inputs = {under: mask} if mask and under else {}
    ignored += ["mask"] if mask and not inputs else []
    guided, shown = await controlnet.units(asked.alwayson_scripts, about, client, images[:1], ignored)
    params = {name: value for name, value in (params | guided | (also or {})).items() if name in taken}
    jobs = divided(asked, about, params, inputs | shown, images, apart=bool(enlarge))
    if enlarge:
        jobs = [finishing.in_two(job, enlarge, found) for job in jobs]
    ignored += unheard(asked, taken)
    if then := await finishing.restoring(asked, found, client, ignored):
        jobs = [job | {"then": [*job.get("then", []), *then]} for job in jobs]
    return Translated(jobs, [*dict.fromkeys(ignored)])


def candidates(asked: Asked, found: list[About]) -> list[About]:
    """The jobs that could do it. Raises NotThere."""
    if isinstance(asked, TextToImage):
        wanted, words = finding.from_text(found), ("draw", "no input and the parameter prompt")
    elif asked.mask:
        wanted, words = finding.under_mask(found), ("inpaint", "an image and a mask, and the parameter prompt")
    else:
        needs = "an image, and the parameters prompt and denoising_strength"
        wanted, words = finding.from_picture(found), ("redraw a picture", needs)
    finding.first(wanted, *words)
    return wanted


def best(found: list[About], asked: Asked) -> About:
    """The one that takes the most of what this request may say, and the least besides."""
    wanted = {row.parameter for row in rows_of(asked)} | {"sampler", "schedule", "model", "controlnets"}

    def score(about: About) -> float:
        taken = finding.parameters(about).keys()
        return len(taken & wanted) - len(taken - FIELDS.keys()) / 10

    return max(found, key=score)


async def fitting(value: Any, name: str, schema: About, client: AsyncClient, ignored: list[str]) -> Any:
    """The value as the parameter takes it, where A1111 would take it, too: another spelling, a size between."""
    source = schema.get("ui", {}).get("choices_from", "")
    if source == "models/checkpoint":
        return await options.checkpoint(client, value)
    if isinstance(value, list) and source:
        there = set(await client.choices(source))
        ignored += [f"{name}: {each}" for each in value if each not in there]
        return [each for each in value if each in there]
    if isinstance(value, str):
        found = spelled(value, schema)
        if found is None and name == "resize_mode":
            ignored.append(name)
        return found or (RESIZE_MODES[0] if name == "resize_mode" else value)
    if isinstance(value, int) and schema.get("multipleOf"):
        return value - value % schema["multipleOf"]
    return value


def spelled(word: str, schema: About) -> str | None:
    """The allowed value that is the word, but for capitals; the word where all are allowed."""
    allowed = schema.get("enum")
    return {str(each).casefold(): each for each in allowed[::-1]}.get(word.casefold()) if allowed else word


def sampling(asked: Asked, taken: dict[str, About], ignored: list[str]) -> dict[str, str]:
    """Sampler and schedule. A schedule that is not there is drawn with as if it were Automatic, as in A1111."""
    name, wanted = asked.sampler_name or asked.sampler_index, asked.scheduler
    sampler, schedule = spelled(name, taken.get("sampler", {})), None
    if sampler is None:
        raise HTTPException(404, "Sampler not found")
    if wanted:
        word = AUTOMATIC.get(sampler, wanted) if wanted.casefold() == "automatic" else wanted
        schedule = spelled(word, taken.get("schedule", {}))
        ignored += [] if schedule else [f"scheduler: {wanted}"]
    return {"sampler": sampler} | ({"schedule": schedule} if schedule else {})


async def read_infotext(asked: Asked, client: AsyncClient, found: list[About], ignored: list[str]) -> dict[str, Any]:
    """What the field `infotext` says, as parameters: read by the job that tells how a picture was made. Models that are
    not here, and what needs pictures that are not inside, do not count."""
    if not asked.infotext:
        return {}
    blank = grids.png(PIL.Image.new("RGB", (8, 8)), asked.infotext)
    for about in finding.telling_how_made(found):
        (told, *_) = await client.light(about["name"], inputs={finding.port(about, "image"): blank})
        if isinstance(told, dict) and told.get("form"):
            return await _without_pictures(told["form"]["params"], client, found, ignored)
    ignored.append("infotext")
    return {}


async def _without_pictures(
    params: dict[str, Any], client: AsyncClient, found: list[About], ignored: list[str]
) -> dict[str, Any]:
    """What can be drawn from an infotext alone."""
    schemas = {name: schema for about in found for name, schema in finding.parameters(about).items()}
    kept = {}
    for name, value in params.items():
        source = schemas.get(name, {}).get("ui", {}).get("choices_from", "")
        is_model = isinstance(value, str) and value and source.startswith("models/")
        missing = is_model and value not in await client.choices(source)
        if missing or (value and name in ("controlnets", "ip_adapter")):
            ignored.append(f"infotext: {name}")
        else:
            kept[name] = value
    return kept


async def uploaded(asked: Asked, client: AsyncClient) -> Uploaded:
    """The pictures to start from, and the mask. Raises InvalidParams or BadImage."""
    if not isinstance(asked, ImageToImage):
        return [], None
    if not asked.init_images:
        raise HTTPException(404, "Init image not found")
    few_enough(len(asked.init_images), "init_images")
    data = [from_base64(each, f"init_images.{place}") for place, each in enumerate(asked.init_images)]
    images = await asyncio.gather(*(client.upload(each, kind="image") for each in data))
    if not asked.mask:
        return images, None
    mask = await unpacked(plain_mask, from_base64(asked.mask, "mask"), asked.mask_round)
    return images, await client.upload(mask, kind="mask")


def few_enough(count: int, field: str) -> None:
    if count > MOST:
        raise InvalidParams(f"{field}: a request may become {MOST:,} jobs at most. Send several requests.", field=field)


def plain_mask(data: bytes, rounded: bool) -> bytes:
    """A mask as A1111 reads one: what is opaque, if it is transparent anywhere, else how bright it is."""
    picture = opened(data, "mask")
    if picture.mode in ("P", "LA", "PA"):
        picture = picture.convert("RGBA")
    mask = picture.convert("L")
    if picture.mode == "RGBA" and picture.getextrema()[-1] != (255, 255):
        mask = picture.getchannel("A")
        mask = mask.point(lambda value: 255 * (value > 128)) if rounded else mask
    return png(mask)


def divided(
    asked: Asked, about: About, params: dict[str, Any], inputs: dict[str, Any], images: list[AsyncArtifact],
    apart: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """One job for all pictures; but one for each, where each has a picture of its own to start from, where the job
    draws no more than one, or where they are wanted `apart`. The seeds are the same."""
    taken, name = finding.parameters(about), finding.port(about, "image")
    if len(images) < 2 and not apart and (asked.pictures == 1 or {"batch_size", "n_iter"} <= taken.keys()):
        return [{"job": about["name"], "params": params, "inputs": inputs | ({name: images[0]} if images else {})}]
    count = asked.n_iter * (len(images) if len(images) > 1 else asked.batch_size)
    few_enough(count, "n_iter")
    counted = "variation_seed" if params.get("variation_strength") else "seed"
    seeds = {key: random.randrange(SEEDS) for key in ("seed", "variation_seed") if params.get(key, -1) < 0}
    params = {key: value for key, value in (params | seeds).items() if key in taken}
    alone = params | {key: 1 for key in ("batch_size", "n_iter") if key in taken}
    return [
        {
            "job": about["name"],
            "params": alone | ({counted: (alone[counted] + k) % SEEDS} if counted in alone else {}),
            "inputs": inputs | ({name: images[k % len(images)]} if images else {}),
        }
        for k in range(count)
    ]
