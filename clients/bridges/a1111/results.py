"""What txt2img and img2img answer: pictures as base64, the request, and A1111's JSON about how they were made."""

import asyncio
import datetime
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from clients.bridges.a1111.requests import Asked, ImageToImage
from clients.bridges.pictures import to_base64
from clients.python import AsyncArtifact, AsyncJob, Cancelled

Facts = dict[str, Any]


async def outputs(jobs: Sequence[AsyncJob]) -> list[AsyncArtifact]:
    """What the jobs gave, in order, once all have ended; of an interrupted one what there was. Raises what failed."""
    found = []
    for job in jobs:
        try:
            found += await job.wait()
        except Cancelled:
            await job.refresh()
            found += job.outputs
    return found


async def answer(asked: Asked, drawn: list[AsyncArtifact], grid: bytes | None = None) -> dict[str, Any]:
    """The body of the answer. A `grid` comes first."""
    facts = [(await each.load())["facts"] for each in drawn]
    pictures = await asyncio.gather(*(each.bytes() for each in drawn)) if asked.send_images or wants_grid(asked) else []
    if grid is None and wants_grid(asked) and len(pictures) > 1:
        grid = await asyncio.to_thread(tiled, pictures, facts)
    images = [to_base64(each) for each in ([grid] if grid else []) + [*pictures]] if asked.send_images else []
    return {"images": images, "parameters": echo(asked), "info": json.dumps(info(asked, facts, bool(grid)))}


def wants_grid(asked: Asked) -> bool:
    """A1111's API makes one only where it saves pictures, too."""
    return asked.save_images and asked.pictures > 1


def echo(asked: Asked) -> dict[str, Any]:
    """What was asked, as it was understood; the pictures only if that is wanted."""
    told = asked.model_dump(include=type(asked).model_fields.keys())
    if isinstance(asked, ImageToImage) and not asked.include_init_images:
        told |= {"init_images": None, "mask": None}
    return told


def info(asked: Asked, facts: list[Facts], has_grid: bool) -> dict[str, Any]:
    """About all pictures, as they were really drawn: lists with an entry for each, and the first one's alone."""
    texts = [fact.get("infotext", "") for fact in facts]
    prompts = [fact.get("prompt", asked.prompt) for fact in facts]
    negative = [fact.get("negative_prompt", asked.negative_prompt) for fact in facts]
    seeds = [fact.get("seed", asked.seed) for fact in facts]
    subseeds = [fact.get("variation_seed", asked.subseed) for fact in facts]
    first = facts[0] if facts else {}
    vae = asked.override_settings.get("sd_vae")
    return {
        "prompt": prompts[0] if prompts else asked.prompt,
        "all_prompts": prompts,
        "negative_prompt": negative[0] if negative else asked.negative_prompt,
        "all_negative_prompts": negative,
        "seed": seeds[0] if seeds else asked.seed,
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else asked.subseed,
        "all_subseeds": subseeds,
        "subseed_strength": asked.subseed_strength,
        "width": first.get("width", asked.width),
        "height": first.get("height", asked.height),
        "sampler_name": asked.sampler_name or asked.sampler_index,
        "cfg_scale": asked.cfg_scale,
        "steps": asked.steps,
        "batch_size": asked.batch_size,
        "restore_faces": bool(asked.restore_faces),
        "face_restoration_model": None,
        "sd_model_name": first.get("model"),
        "sd_model_hash": first.get("model_hash"),
        "sd_vae_name": vae if first.get("vae_hash") else None,
        "sd_vae_hash": first.get("vae_hash"),
        "seed_resize_from_w": asked.seed_resize_from_w,
        "seed_resize_from_h": asked.seed_resize_from_h,
        "denoising_strength": asked.denoising_strength,
        "extra_generation_params": {},
        "index_of_first_image": int(has_grid),
        "infotexts": texts[:1] * has_grid + texts,
        "styles": asked.styles,
        "job_timestamp": datetime.datetime.now().strftime("%Y%m%d%H%M%S"),
        "clip_skip": asked.override_settings.get("CLIP_stop_at_last_layers", 1),
        "is_using_inpainting_conditioning": False,
        "version": "stable-core",
    }


def tiled(pictures: Sequence[bytes], facts: list[Facts]) -> bytes:
    """All in rows, as near to a square as it goes; the first one's text is its own."""
    images = [PIL.Image.open(io.BytesIO(each)).convert("RGB") for each in pictures]
    rows = round(math.sqrt(len(images)))
    columns = math.ceil(len(images) / rows)
    width, height = (max(getattr(image, side) for image in images) for side in ("width", "height"))
    grid = PIL.Image.new("RGB", (columns * width, rows * height))
    for place, image in enumerate(images):
        grid.paste(image, (place % columns * width, place // columns * height))
    return png(grid, facts[0].get("infotext", ""))


def png(picture: PIL.Image.Image, infotext: str) -> bytes:
    out, texts = io.BytesIO(), PngInfo()
    texts.add_itxt("parameters", infotext)
    picture.save(out, "PNG", pnginfo=texts)
    return out.getvalue()
