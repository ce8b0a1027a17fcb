"""The jobs of a run: the picture to begin with, the drawings, and what is done to them afterwards."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from core.plugin import Artifact, Child, Context, InvalidParams

from .grammar import one_line, parts_of

SEEDS = 2**32
MOST_CFG = 30
LOOKS = 20  # times that a preview of growing results is shown
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
    found = []
    for number, part in enumerate(parts_of(params.prompt, params.weights, params.weight_syntax), 1):
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
    common = {name: getattr(params, name) for name in COMMON}
    common |= {"model": params.checkpoint} if params.checkpoint else {}
    children: list[Child] = []
    history = []
    for number, drawing in enumerate(drawings):
        source = children[-1] if mode == "isi" and children else begin
        own = {"prompt": drawing.prompt, "cfg_scale": drawing.cfg_scale}
        own["seed"] = (seed + number * (params.seeds == "counting")) % SEEDS
        own |= {"denoising_strength": params.denoising_strength} if source else {}
        inputs = {"image": source} if source else {}
        name = "img2img" if source else "txt2img"
        children.append(ctx.submit(name, common | own | params.more, inputs, key=drawing.key))
        history.append({"job": children[-1].id, "weight": drawing.weight} | own)
    results = [finished(child, drawing.key, params, ctx) for child, drawing in zip(children, drawings, strict=True)]
    results = results[-1:] if mode == "isi" and params.keep == "last" else results
    sheet = []
    if params.sheet and len(results) > 1:
        captions = {"captions": [drawing.text for drawing in drawings]} if mode == "isi" else {}
        sheet.append(ctx.submit("contact_sheet", SHEET | captions, {"images": results}, key="sheet"))
    run = {"mode": mode, "prompt": params.prompt, "drawings": history}
    record = ctx.submit("isi_record", {"run": run}, key="history")
    gathered(children, ctx)
    return [output for child in ctx.gather([*results, *sheet, record])[:-1] for output in child.outputs]


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


def finished(child: Child, key: str, params: Any, ctx: Context) -> Child:
    """What comes after a drawing; the next drawing of a chain goes on without it."""
    if params.equalize:
        child = ctx.submit("equalize", {"method": "channels"}, {"image": child}, key=f"{key}/equalize")
    if params.scale != 1:
        enlarging = {"model": params.upscaler, "scale": params.scale}
        child = ctx.submit("upscale", enlarging, {"image": child}, key=f"{key}/upscale")
    return child


def gathered(children: list[Child], ctx: Context) -> None:
    """Waits for all, and shows the newest each time that some are there."""
    there = next((place for place, child in enumerate(children) if child.state != "done"), len(children))
    if 0 < there < len(children) and ctx.wants_preview:
        ctx.preview(ctx.read(children[there - 1].outputs[-1]))
    ctx.gather(children[: there + max(1, len(children) // LOOKS)])
    ctx.gather(children)


def recorded(run: dict[str, Any]) -> dict[str, Any]:
    """The history of a run, under the sha256 of what was drawn."""
    return {"id": hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()} | run
