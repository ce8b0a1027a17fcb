"""What txt2img and img2img answer: pictures as base64, the request, and A1111's JSON about how they were made."""

import asyncio
import datetime
import itertools
import json
from collections.abc import Sequence
from typing import Any

import PIL.Image

from clients.bridges.a1111 import grids
from clients.bridges.a1111.drawing import Translated
from clients.bridges.a1111.requests import Asked, ImageToImage
from clients.bridges.pictures import to_base64, unpacked
from clients.bridges.waiting import outputs
from clients.python import AsyncArtifact, AsyncJob

Facts = dict[str, Any]


async def answer(asked: Asked, translated: Translated, jobs: Sequence[AsyncJob]) -> dict[str, Any]:
    """The body of the answer, once all jobs have ended: first grids, then pictures. Raises what made one fail."""
    remaining = iter(await outputs(jobs, partial=True))  # of an interrupted one what there was
    chains = [[*itertools.islice(remaining, 1 + len(job.get("then", [])))] for job in translated.jobs]
    by_job = [next(filter(None, chain[::-1]), []) for chain in chains]  # as far as they came
    drawn = [each for some in by_job for each in some]
    first = [each for chain, some in zip(chains, by_job, strict=True) for each in chain[0][: len(some)]]
    facts = [await _facts(*each) for each in zip(first, drawn, strict=True)]
    files: dict[str, bytes] = {}
    if asked.send_images:
        data = await asyncio.gather(*(each.bytes() for each in drawn))
        files = {artifact.id: each for artifact, each in zip(drawn, data, strict=True)}
    made = await unpacked(arranged, asked, translated, by_job, files, facts)
    alone = not translated.cells or translated.cells.alone
    images = made + ([*files.values()] if alone else [])
    body = json.dumps(info(asked, jobs[0].record.get("params", {}), facts, len(made), alone))
    return {"images": [to_base64(each) for each in images], "parameters": echo(asked), "info": body}


async def _facts(drawn: AsyncArtifact, finished: AsyncArtifact) -> Facts:
    """What is known of a picture from when it was drawn, and since."""
    return (await drawn.load())["facts"] | (await finished.load())["facts"]


def arranged(
    asked: Asked, translated: Translated, by_job: list[list[AsyncArtifact]], files: dict[str, bytes], facts: list[Facts]
) -> list[bytes]:
    """The grids of a script, or the one that A1111's API makes where it saves pictures, too."""
    wanted = translated.cells.arrange if translated.cells else asked.save_images and len(files) > 1
    if not (files and wanted):
        return []
    if translated.cells:
        remaining, size = iter(by_job), grids.opened(next(iter(files.values()))).size
        cells = [[each for some in itertools.islice(remaining, share) for each in some] for share in translated.shares]
        missing = PIL.Image.new("RGB", size)
        made = wanted([grids.opened(files[cell[0].id]) if cell else missing for cell in cells])
    else:
        first, *others = (grids.opened(data) for data in files.values())
        too_large = first.width * first.height * len(files) > grids.MOST_PIXELS
        made = [] if too_large else [grids.square([first, *others])]
    return [grids.png(each, facts[0].get("infotext", "")) for each in made]


def echo(asked: Asked) -> dict[str, Any]:
    """What was asked, as it was understood; the pictures only if that is wanted."""
    told = asked.model_dump(include=type(asked).model_fields.keys())
    if isinstance(asked, ImageToImage) and not asked.include_init_images:
        told |= {"init_images": None, "mask": None}
    return told


def info(asked: Asked, used: dict[str, Any], facts: list[Facts], in_grids: int, alone: bool) -> dict[str, Any]:
    """About all pictures, as they were really drawn: lists with an entry for each, and the first one's alone. Before
    the texts of pictures, if these are sent `alone`, stand those of the grids. `used` is what the first job got."""
    texts = [fact.get("infotext", "") for fact in facts]
    prompts, negative = zip(*(prompts_of(fact, asked) for fact in facts), strict=True) if facts else ((), ())
    seeds = [fact.get("seed", asked.seed) for fact in facts]
    subseeds = [fact.get("variation_seed", asked.subseed) for fact in facts]
    first = facts[0] if facts else {}
    return {
        "prompt": prompts[0] if prompts else asked.prompt,
        "all_prompts": prompts,
        "negative_prompt": negative[0] if negative else asked.negative_prompt,
        "all_negative_prompts": negative,
        "seed": seeds[0] if seeds else asked.seed,
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else asked.subseed,
        "all_subseeds": subseeds,
        "subseed_strength": used.get("variation_strength", asked.subseed_strength),
        "width": used.get("width") or first.get("width", asked.width),
        "height": used.get("height") or first.get("height", asked.height),
        "sampler_name": used.get("sampler", asked.sampler_name or asked.sampler_index),
        "cfg_scale": used.get("cfg_scale", asked.cfg_scale),
        "steps": used.get("steps", asked.steps),
        "batch_size": asked.batch_size,
        "restore_faces": bool(asked.restore_faces),
        "face_restoration_model": None,
        "sd_model_name": first.get("model"),
        "sd_model_hash": first.get("model_hash"),
        "sd_vae_name": used.get("vae") or None,
        "sd_vae_hash": first.get("vae_hash"),
        "seed_resize_from_w": asked.seed_resize_from_w,
        "seed_resize_from_h": asked.seed_resize_from_h,
        "denoising_strength": used["denoising_strength"] if redrawn(asked, used) else asked.denoising_strength,
        "extra_generation_params": {},
        "index_of_first_image": in_grids,
        "infotexts": texts[:1] * in_grids + (texts if alone else []),
        "styles": asked.styles,
        "job_timestamp": datetime.datetime.now().strftime("%Y%m%d%H%M%S"),
        "clip_skip": used.get("clip_skip", 1),
        "is_using_inpainting_conditioning": False,
        "version": "stable-core",
    }


def redrawn(asked: Asked, used: dict[str, Any]) -> bool:
    """Whether `denoising_strength` counts, as it does for pictures and the second pass."""
    return "denoising_strength" in used and (isinstance(asked, ImageToImage) or bool(used.get("hires")))


def prompts_of(facts: Facts, asked: Asked) -> tuple[str, str]:
    """The prompt and the negative prompt that a picture was drawn with, styles and choices included."""
    head, fields, _ = f"\n{facts.get('infotext', '')}".rpartition("\nSteps: ")
    prompt, _, negative = head[1:].partition("\nNegative prompt: ")
    return (prompt, negative) if fields else (asked.prompt, asked.negative_prompt)
