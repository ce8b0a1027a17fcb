"""The jobs of a run: the picture to begin with, the drawings, and what is done to them afterwards."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from core.plugin import Artifact, Child, Context, InvalidParams

from .grammar import one_line, parts_of

SEEDS = 2**32
MOST_CFG = 30
MOST_PARTS = 500  # of one chain
LOOKS = 20  # times that a preview of growing results is shown, at most
SHEET = {"gutter": 16, "max_side": 2096}
COMMON = ("negative_prompt", "width", "height", "steps", "sampler", "schedule")


@dataclass(frozen=True)
class Drawing:
    """One drawing: its key, prompt and CFG scale; of a part, its weight and what its group says."""

    key: str
    prompt: str
    cfg_scale: float
    weight: float = 1.0
    text: str = ""


def mode_of(params: Any, image: Artifact | None) -> str:
    if params.mode == "auto":
        return "txt2img" if image is None else "isi" if ";" in params.prompt else "img2img"
    if params.mode == "img2img" and image is None:
        raise InvalidParams("mode img2img needs a picture.", field="image", hint="Give one, or choose another mode.")
    return params.mode


def drawings_of(params: Any, mode: str) -> list[Drawing]:
    if mode != "isi":
        prompt = one_line(params.prompt)
        return [Drawing(f"picture {number}", prompt, params.cfg_scale) for number in range(1, params.count + 1)]
    parts, found = parts_of(params.prompt, params.weights, params.weight_syntax), []
    if len(parts) > MOST_PARTS:
        raise InvalidParams(
            f"prompt: {len(parts)} parts, of {MOST_PARTS} at most.", field="prompt",
            hint="Send the others with the last result as picture.",
        )  # fmt: skip
    for number, part in enumerate(parts, 1):
        scale = round(params.cfg_scale * part.factor, 5)
        if not 0 <= scale <= MOST_CFG:
            raise InvalidParams(
                f"prompt: part {number}, {part.text[:80]!r}, weighs {part.weight:g}: its CFG scale would be {scale:g}.",
                field="prompt",
                hint=f"It may be 0 to {MOST_CFG}. Change the weight or cfg_scale, or set weights to attention.",
            )  # fmt: skip
        found.append(Drawing(f"part {number}", part.prompt, scale, part.weight, part.text))
    return found


def drawn(image: Artifact | None, params: Any, ctx: Context) -> list[Artifact]:
    """All jobs are submitted at once; of a chain, each waits for the drawing before."""
    mode = mode_of(params, image)
    drawings = drawings_of(params, mode)
    seed = params.seed if params.seed >= 0 else ctx.seed("seed")
    begin = None if image is None or mode == "txt2img" else fitted(image, params, ctx)
    if mode == "isi":
        children: list[Child] = []
        for number, drawing in enumerate(drawings):
            source = children[-1] if children else begin
            children.append(ctx.submit(**requested(drawing, number, source, params, seed)))
    else:
        children = ctx.submit_all(requested(drawing, k, begin, params, seed) for k, drawing in enumerate(drawings))
    kept = slice(-1, None) if mode == "isi" and params.keep == "last" else slice(None)
    results = finished(children[kept], drawings[kept], params, ctx)
    others = []
    if params.sheet and len(results) > 1:
        captions = {"captions": [drawing.text for drawing in drawings]} if mode == "isi" else {}
        sheet = {"job": "contact_sheet", "params": SHEET | captions, "inputs": {"images": results}}
        others.append(sheet | {"key": "sheet"})
    rows = [
        {"part": drawing.text, "weight": drawing.weight, "cfg_scale": drawing.cfg_scale}
        | {"seed": seed_of(k, params, seed), "job": children[k].id}
        for k, drawing in enumerate(drawings)
    ]
    run = {"mode": mode, "prompt": params.prompt, "drawings": rows}
    others.append({"job": "isi_record", "params": {"run": run}, "key": "history"})
    others = ctx.submit_all(others)
    gathered(children, ctx)
    results = ctx.gather(results)
    *sheets, _ = ctx.gather(others, allow_failed=True)
    for sheet in sheets:
        if sheet.error:
            ctx.log(f"There is no sheet: {sheet.error.get('message', '')}")
    return [output for child in [*results, *sheets] for output in child.outputs]


def requested(drawing: Drawing, number: int, source: Artifact | Child | None, params: Any, seed: int) -> dict[str, Any]:
    given = {name: getattr(params, name) for name in COMMON}
    given |= {"prompt": drawing.prompt, "cfg_scale": drawing.cfg_scale, "seed": seed_of(number, params, seed)}
    given |= {"model": params.model} if params.model else {}
    if source is None:
        return {"job": "txt2img", "params": given | params.more, "key": drawing.key}
    given["denoising_strength"] = params.denoising_strength
    return {"job": "img2img", "params": given | params.more, "inputs": {"image": source}, "key": drawing.key}


def seed_of(number: int, params: Any, seed: int) -> int:
    return (seed + (number if params.seeds == "counting" else 0)) % SEEDS


def fitted(image: Artifact, params: Any, ctx: Context) -> Artifact | Child:
    """The picture, or the job that brings it to the shape of width and height."""
    width, height = (image.facts.get(name) for name in ("width", "height"))
    if not (width and height):
        width, height = ctx.read(image).size
    if (
        params.fit == "resize"
        or not (params.width and params.height)
        or (width, height) == (params.width, params.height)
    ):
        return image
    across, down = width / params.width, height / params.height
    if params.fit == "extend":
        more = round(params.width * down) - width, round(params.height * across) - height
        left, up = max(0, more[0]) // 2, max(0, more[1]) // 2
        sides = {"left": left, "right": max(0, more[0]) - left, "up": up, "down": max(0, more[1]) - up}
        return (
            ctx.submit("extend", {"fill": "mirror"} | sides, {"image": image}, key="extend")
            if any(sides.values())
            else image
        )
    scale = min(across, down)
    scale = 1 if params.fit == "crop" and scale >= 1 else scale
    size = max(1, round(params.width * scale)), max(1, round(params.height * scale))
    box = {"left": (width - size[0]) // 2, "top": (height - size[1]) // 2, "width": size[0], "height": size[1]}
    return ctx.submit("crop", box, {"image": image}, key="crop")


def finished(children: list[Child], drawings: list[Drawing], params: Any, ctx: Context) -> list[Child]:
    """What comes after a drawing; the next drawing of a chain goes on without it."""
    steps = [("equalize", {"method": "channels"})] if params.equalize else []
    steps += [("upscale", {"model": params.upscaler, "scale": params.scale})] if params.scale != 1 else []
    for job, given in steps:
        children = ctx.submit_all(
            {"job": job, "params": given, "inputs": {"image": child}, "key": f"{drawing.key}/{job}"}
            for drawing, child in zip(drawings, children, strict=True)
        )
    return children


def gathered(children: list[Child], ctx: Context) -> None:
    """Waits for all, and shows the newest each time that some more are there."""
    part = math.ceil(len(children) / LOOKS)
    for end in range(part, len(children), part):
        (*_, newest) = ctx.gather(children[end - part : end])
        if ctx.wants_preview:
            ctx.preview(ctx.read(newest.outputs[-1]))
    ctx.gather(children)


def recorded(run: dict[str, Any]) -> dict[str, Any]:
    """The history of a run, under the sha256 of what was drawn."""
    return {"id": hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()} | run
