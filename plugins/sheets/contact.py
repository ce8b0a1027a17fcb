"""Many pictures on one page, with a title and captions."""

import math
import re
from collections.abc import Iterator
from typing import Any

import PIL.Image
import PIL.ImageOps

from core.library.grids import grid
from core.plugin import Context, InvalidParams

from .looks import color_of, font_of, hex_of

PROMPT_ENDS = re.compile(r"\n(Negative prompt|Steps): ")


def contact_sheet(images: list[PIL.Image.Image], params: Any, ctx: Context) -> tuple[PIL.Image.Image, dict[str, Any]]:
    if not images:
        raise InvalidParams("a contact sheet needs pictures, got none.", field="images", hint="Give one or more.")
    background, captions = color_of(params.background), captions_of(images, params)
    columns = min(params.columns or math.ceil(math.sqrt(len(images))), len(images))
    size = tuple(max(image.size[side] for image in images) for side in (0, 1))
    inner = params.max_side - 2 * params.gutter
    sheet = inner > 0 and grid(
        told(images, ctx), columns, margin=params.gutter, captions=captions, title=params.title,
        background=hex_of(background), size=size, count=len(images), most_side=inner, font=font_of,
    )  # fmt: skip
    if not sheet or max(sheet.size) > inner:
        raise InvalidParams(
            f"max_side: {len(images)} pictures do not fit into {params.max_side}x{params.max_side} pixels.",
            field="max_side", hint="Take a larger max_side, other columns, a smaller gutter or no captions.",
        )  # fmt: skip
    facts = {"columns": columns, "rows": math.ceil(len(images) / columns)}
    return PIL.ImageOps.expand(sheet, params.gutter, background), facts


def told(images: list[PIL.Image.Image], ctx: Context) -> Iterator[PIL.Image.Image]:
    """One after the other, as they are drawn."""
    for number, image in enumerate(images):
        ctx.raise_if_cancelled()
        ctx.progress(number, len(images), "contact sheet")
        yield image


def captions_of(images: list[PIL.Image.Image], params: Any) -> list[str]:
    if params.label == "captions":
        if params.captions and len(params.captions) != len(images):
            raise InvalidParams(
                f"captions: got {len(params.captions)} for {len(images)} pictures.", field="captions",
                hint="Send one for each picture (an empty one leaves its place free), or none at all.",
            )  # fmt: skip
        return params.captions or [""] * len(images)
    if params.label == "number":
        return [str(number) for number in range(1, len(images) + 1)]
    texts = [str(image.info.get("parameters", "")) for image in images]
    if params.label == "seed":
        found = [re.findall(r"\bSeed: (\d+)", text) for text in texts]
        return [f"seed {seeds[-1]}" if seeds else "" for seeds in found]
    return [PROMPT_ENDS.split(text)[0] if params.label == "prompt" else "" for text in texts]
