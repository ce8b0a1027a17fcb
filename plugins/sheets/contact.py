"""Many pictures on one page, with a title and captions."""

import math
import re
from dataclasses import dataclass
from typing import Any

import PIL.Image
import PIL.ImageDraw

from core.plugin import Context, InvalidParams

from .looks import Font, color_of, font_of, ink_on, lines_of

SMALLEST = 8  # pixels that the longer side of a cell has at least
LINES = 3  # of a caption or a title
PROMPT_ENDS = re.compile(r"\n(Negative prompt|Steps): ")


@dataclass
class Layout:
    """A page whose pictures are made smaller by `scale`; `size` is the whole page, the cells are (width, height)."""

    scale: float
    width: int
    height: int
    font: Font
    title: Font
    head: list[str]
    lines: list[list[str]]
    above: int
    below: int
    size: tuple[int, int]


def contact_sheet(images: list[PIL.Image.Image], params: Any, ctx: Context) -> tuple[PIL.Image.Image, dict[str, Any]]:
    """Row by row; smaller pictures stand in the middle of their cell, and none is made larger."""
    if not images:
        raise InvalidParams("a contact sheet needs pictures, got none.", field="images", hint="Give one or more.")
    background, captions = color_of(params.background), captions_of(images, params)
    columns = min(params.columns or math.ceil(math.sqrt(len(images))), len(images))
    rows = math.ceil(len(images) / columns)
    page = fitted(images, captions, columns, rows, params)
    sheet, ink = PIL.Image.new("RGB", page.size, background), ink_on(background)
    draw = PIL.ImageDraw.Draw(sheet)
    _write(draw, page.head, page.size[0] / 2, params.gutter, page.title, ink)
    for place, image in enumerate(images):
        ctx.raise_if_cancelled()
        x = params.gutter + place % columns * (page.width + params.gutter)
        y = params.gutter + page.above + place // columns * (page.height + page.below + params.gutter)
        small = (
            image if page.scale == 1 else image.resize(_scaled(image.size, page.scale), PIL.Image.Resampling.LANCZOS)
        )
        corner = x + (page.width - small.width) // 2, y + (page.height - small.height) // 2
        alpha = small.convert("RGBA") if "A" in small.getbands() or "transparency" in small.info else None
        sheet.paste(small.convert("RGB"), corner, alpha)
        _write(draw, page.lines[place], x + page.width / 2, y + page.height + page.font.size / 4, page.font, ink)
        ctx.progress(place + 1, len(images), "contact sheet")
    return sheet, {"columns": columns, "rows": rows}


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


def fitted(images: list[PIL.Image.Image], captions: list[str], columns: int, rows: int, params: Any) -> Layout:
    """The page with the largest cells for which it is not over max_side."""
    largest = tuple(max(image.size[side] for image in images) for side in (0, 1))
    scale = 1.0
    while max(largest) * scale >= min(SMALLEST, max(largest)):
        page = _layout(scale, largest, captions, columns, rows, params)
        over = [size - params.max_side for size in page.size]
        if max(over) <= 0:
            return page
        free = [columns * page.width - over[0], rows * page.height - over[1]]
        if min(free) <= 0:
            break
        scale *= min(0.995, free[0] / (columns * page.width), free[1] / (rows * page.height))
    raise InvalidParams(
        f"max_side: {len(images)} pictures do not fit into {params.max_side}x{params.max_side} pixels.",
        field="max_side", hint="Take a larger max_side, other columns, a smaller gutter or no captions.",
    )  # fmt: skip


def _layout(scale: float, largest: Any, captions: list[str], columns: int, rows: int, params: Any) -> Layout:
    width, height = _scaled(largest, scale)
    font, gutter = font_of(max(11, min(28, width // 16))), params.gutter
    title = font_of(font.size * 3 // 2)
    across = columns * (width + gutter) + gutter
    lines = [lines_of(caption, width, font, LINES) for caption in captions]
    head = lines_of(params.title, across - 2 * gutter, title, LINES)
    below, above = _high(max(map(len, lines)), font), _high(len(head), title)
    size = (across, gutter + above + rows * (height + below + gutter))
    return Layout(scale, width, height, font, title, head, lines, above, below, size)


def _high(lines: int, font: Font) -> int:
    return round((lines * 1.25 + 0.5) * font.size) if lines else 0


def _scaled(size: tuple[int, ...], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _write(draw: PIL.ImageDraw.ImageDraw, lines: list[str], x: float, y: float, font: Font, ink: Any) -> None:
    for number, line in enumerate(lines):
        draw.text((x, y + number * font.size * 1.25), line, ink, font, "ma")
